"""An adapter on its base: the same answers as peft gives, found on this machine only, and nothing half of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from barograph.errors import CheckpointError
from barograph.evaluate.generate import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SaveCheckpoint = Callable[..., None]
IDS = torch.tensor([[2, 3, 4, 5, 6]])


@pytest.fixture
def trained(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> PreTrainedModel:
    """A model with an adapter whose B is not zero, saved: the base in `base`, the adapter in `adapter`."""
    save_checkpoint(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    model = get_peft_model(
        base, LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    )
    model.save_pretrained(tmp_path / "adapter")
    return model.eval()


def changed(folder: Path, **settings: object) -> None:
    """The adapter's config with other settings."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_a_merged_adapter_gives_the_logits_of_the_model_that_was_trained(
    tmp_path: Path, trained: PreTrainedModel
) -> None:
    with torch.inference_mode():
        loaded = load_checkpoint(tmp_path / "adapter")
        expected, found = trained(input_ids=IDS).logits, loaded.model(input_ids=IDS).logits
        without = load_checkpoint(tmp_path / "base").model(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (found - without).abs().max() > 0.01
    assert not any("lora" in name for name, _ in loaded.model.named_parameters())
    assert loaded.tokenizer.eos_token == "<eos>", "the base's tokenizer, where the adapter brings none"


def test_an_adapter_with_a_tensor_missing_is_refused_and_the_tensor_named(
    tmp_path: Path, trained: PreTrainedModel
) -> None:
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(weights)
    gone = sorted(tensors)[-1]
    del tensors[gone]
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"1 tensors of the adapter do not fit its base.*v_proj\.lora_B"):
        load_checkpoint(tmp_path / "adapter")


def test_an_adapter_of_another_rank_than_its_config_says_is_refused(tmp_path: Path, trained: PreTrainedModel) -> None:
    changed(tmp_path / "adapter", r=3)
    with pytest.raises(CheckpointError, match="cannot be put on its base"):
        load_checkpoint(tmp_path / "adapter")


def test_pickled_adapters_are_refused(tmp_path: Path, trained: PreTrainedModel) -> None:
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(weights), tmp_path / "adapter" / "adapter_model.bin")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"an adapter without adapter_model\.safetensors"):
        load_checkpoint(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "type PROMPT_TUNING"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "with megatron_config"),
        ({"layer_replication": [[0, 1], [0, 2]]}, "with layer_replication"),
    ],
)
def test_an_adapter_that_is_more_than_a_plain_lora_is_refused(
    tmp_path: Path, trained: PreTrainedModel, settings: dict[str, object], named: str
) -> None:
    changed(tmp_path / "adapter", **settings)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(tmp_path / "adapter")


@pytest.mark.parametrize("base", ["nobody/nothing", "/no/such/folder", "what is this?", None])
def test_an_adapter_whose_base_is_not_here_says_so(tmp_path: Path, trained: PreTrainedModel, base: str | None) -> None:
    changed(tmp_path / "adapter", base_model_name_or_path=base)
    with pytest.raises(CheckpointError, match=r"whose base model .* is not on this machine.*Merge the adapter first"):
        load_checkpoint(tmp_path / "adapter")


def test_an_adapter_on_an_adapter_is_refused(tmp_path: Path, trained: PreTrainedModel) -> None:
    (tmp_path / "base" / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="an adapter itself"):
        load_checkpoint(tmp_path / "adapter")


@pytest.mark.parametrize("text", ["", "[]", '{"peft_type": 7}', "{}"])
def test_a_config_that_says_nothing_is_refused(tmp_path: Path, trained: PreTrainedModel, text: str) -> None:
    (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json cannot be read"):
        load_checkpoint(tmp_path / "adapter")


def test_a_base_from_the_hub_is_taken_from_the_local_cache(
    tmp_path: Path, trained: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--some--base"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "base").rename(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    changed(tmp_path / "adapter", base_model_name_or_path="some/base")
    with torch.inference_mode():
        found = load_checkpoint(tmp_path / "adapter").model(input_ids=IDS).logits
        torch.testing.assert_close(found, trained(input_ids=IDS).logits, rtol=1e-4, atol=1e-5)

"""Generation from a checkpoint folder: padding changes nothing, limits are seen, pickles are refused."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file

from barograph.errors import CheckpointError
from barograph.evaluate.generate import LoadedCheckpoint, generate, incomplete, load_checkpoint, token_limit

SaveCheckpoint = Callable[..., None]
WORDS = ["<pad>", "<eos>", *"abcdefgh"]
PROMPTS = ["a", "a b c d e f g h", "c d", "h g f", "b b b b b"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: SaveCheckpoint) -> LoadedCheckpoint:
    folder = tmp_path_factory.mktemp("checkpoint-0")
    save_checkpoint(folder)
    return load_checkpoint(folder)


def test_an_answer_does_not_depend_on_the_prompts_it_shares_a_batch_with(loaded: LoadedCheckpoint) -> None:
    together = generate(loaded, PROMPTS, max_new_tokens=6)
    alone = [generate(loaded, [prompt], max_new_tokens=6)[0] for prompt in PROMPTS]
    assert [(a.text, a.tokens, a.prompt_tokens) for a in together] == [
        (a.text, a.tokens, a.prompt_tokens) for a in alone
    ]
    assert len({a.text for a in together}) > 1


def test_every_answer_is_the_argmax_of_a_plain_loop(loaded: LoadedCheckpoint) -> None:
    for prompt, answer in zip(PROMPTS, generate(loaded, PROMPTS, max_new_tokens=6, batch_size=2), strict=True):
        ids = [WORDS.index(letter) for letter in prompt.split()]
        written: list[int] = []
        while len(written) < 6 and 1 not in written:
            with torch.inference_mode():
                logits = loaded.model(input_ids=torch.tensor([ids + written])).logits
            written.append(int(logits[0, -1].argmax()))
        assert answer.finished is (1 in written)
        assert answer.tokens == len(written) - (1 in written)
        assert answer.text.split() == [WORDS[i] for i in written if i > 1]
        assert answer.prompt_tokens == len(ids)
        assert answer.generation_ms > 0


def test_an_answer_that_meets_the_limit_is_not_finished(loaded: LoadedCheckpoint) -> None:
    long = next(p for p in PROMPTS if generate(loaded, [p], max_new_tokens=8)[0].tokens >= 3)
    cut = generate(loaded, [long], max_new_tokens=2)[0]
    assert (cut.tokens, cut.finished) == (2, False)


def test_the_token_limit_holds_the_longest_target(loaded: LoadedCheckpoint) -> None:
    assert token_limit(loaded, ["a", "a b c"], slack=2) == 3 + 1 + 2


def test_pickled_weights_are_refused(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    save_checkpoint(tmp_path, safe=False)
    with pytest.raises(CheckpointError, match=r"no \.safetensors file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_an_incomplete_folder_is_a_checkpoint_error(
    tmp_path: Path, missing: str, save_checkpoint: SaveCheckpoint
) -> None:
    save_checkpoint(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(tmp_path)


def test_torn_weights_are_a_checkpoint_error(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    save_checkpoint(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_with_a_tensor_missing_is_refused_and_the_tensor_named(
    tmp_path: Path, save_checkpoint: SaveCheckpoint
) -> None:
    """transformers would fill it with random numbers and say so in a log."""
    save_checkpoint(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensors of the model.*model\.layers\.1\.mlp\.up_proj\.weight"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_with_a_tensor_of_another_shape_is_refused(
    tmp_path: Path, save_checkpoint: SaveCheckpoint
) -> None:
    save_checkpoint(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(8)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight \(\[8\], not \[16\]\)"):
        load_checkpoint(tmp_path)


def test_what_loading_reports_is_named_with_both_shapes() -> None:
    found = incomplete({"b", "a"}, {("c", (8,), (16,))})
    assert found == ["a", "b", "c ([8], not [16])"]
    assert incomplete(set(), set()) == []


def test_a_tied_output_layer_is_not_missing(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    save_checkpoint(tmp_path, tied=True)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path)
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight


def test_a_checkpoint_without_a_tokenizer_is_refused(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    """transformers would take the model type's tokenizer class with an empty vocabulary."""
    save_checkpoint(tmp_path)
    for file in tmp_path.glob("token*"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer: none of .*tokenizer\.json"):
        load_checkpoint(tmp_path)


def test_an_adapter_is_refused_with_what_to_do(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    save_checkpoint(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}')
    with pytest.raises(CheckpointError, match=r"an adapter \(adapter_config\.json\).*Merge the adapter first"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("trouble", ["none", "config.json", "tokenizers", "adapter"])
def test_no_folder_makes_us_look_anything_up_on_a_network(
    tmp_path: Path, trouble: str, save_checkpoint: SaveCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path)
    if trouble == "config.json":
        (tmp_path / "config.json").unlink()
    elif trouble == "tokenizers":
        for file in tmp_path.glob("token*"):
            file.unlink()
    elif trouble == "adapter":
        base = '{"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}'
        (tmp_path / "adapter_config.json").write_text(base)
        (tmp_path / "model.safetensors").rename(tmp_path / "adapter_model.safetensors")
    tried: list[object] = []

    def refuse(*asked: object, **_: object) -> NoReturn:
        tried.append(asked)
        raise OSError("there is no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with contextlib.suppress(CheckpointError):
        load_checkpoint(tmp_path)
    assert tried == []
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    assert tried != [], "the guard can fail"

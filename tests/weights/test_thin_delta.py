"""An adapter's change through its factors is the change that peft itself makes to the weights."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from barograph.errors import CheckpointError, UnsupportedFormat
from barograph.weights import drift_pass, open_checkpoint
from barograph.weights.adapter_config import adapter_config
from barograph.weights.thin_delta import ThinDelta, thin_deltas


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    rank=st.integers(1, 8),
    scale=st.floats(-4, 4),
    seed=st.integers(0, 2**32),
)
def test_squares_are_those_of_the_product(rows: int, columns: int, rank: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
    delta = ThinDelta(left=left, right=right, scale=scale)
    dense = scale * (left @ right)
    assert math.isclose(delta.squares, float(np.sum(dense**2)), rel_tol=1e-12, abs_tol=1e-300)
    assert math.isclose(delta.transposed.squares, delta.squares, rel_tol=1e-12, abs_tol=1e-300)


def test_factors_that_are_not_finite_have_no_norm() -> None:
    for bad in (math.nan, math.inf):
        delta = ThinDelta(left=np.full((3, 2), bad), right=np.ones((2, 3)), scale=1.0)
        assert not math.isfinite(delta.squares)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_the_product_with_a_stored_matrix_is_read_in_pieces(tmp_path: Path, make: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    matrix = make.stored(rng.standard_normal((700, 900)), dtype=dtype)
    make.write(tmp_path / "x", {"w": matrix})
    delta = ThinDelta(left=rng.standard_normal((700, 3)), right=rng.standard_normal((3, 900)), scale=0.5)
    wanted = float(np.sum(matrix.values.reshape(700, 900) * (0.5 * delta.left @ delta.right)))
    with open_checkpoint(tmp_path / "x") as checkpoint:
        assert math.isclose(delta.dot(checkpoint.tensors["w"]), wanted, rel_tol=1e-4, abs_tol=1e-2)


def model(**changes: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=False,
        **changes,
    )
    return LlamaForCausalLM(config)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # between peft and transformers
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "down_proj"], "r": 4, "lora_alpha": 16},
        {"target_modules": ["q_proj"], "r": 4, "lora_alpha": 3, "use_rslora": True},
        {
            "target_modules": ["q_proj", "v_proj"],
            "r": 4,
            "alpha_pattern": {"v_proj": 32},
            "rank_pattern": {"q_proj": 2},
        },
        {"target_modules": ["embed_tokens", "q_proj"], "r": 3, "lora_alpha": 5},
        {"target_modules": ["q_proj"], "r": 2, "modules_to_save": ["lm_head"]},
    ],
    ids=["plain", "rslora", "patterns", "embedding", "modules-to-save"],
)
def test_the_drift_of_a_real_adapter_is_that_of_the_merged_model(tmp_path: Path, settings: dict[str, Any]) -> None:
    base = model()
    base.save_pretrained(tmp_path / "base")
    before = {name: one.detach().clone().double() for name, one in base.state_dict().items()}
    adapted = get_peft_model(base, LoraConfig(**settings))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    adapted.save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload()
    after = {name: one.detach().double() for name, one in merged.state_dict().items()}
    with open_checkpoint(tmp_path / "base") as reference, open_checkpoint(tmp_path / "adapter") as adapter:
        done = drift_pass(adapter, reference=reference)
    assert done.summary.adapter
    assert {row.tensor for row in done.rows} == set(before)
    for row in done.rows:
        x, y = before[row.tensor], after[row.tensor]
        wanted = float(((y - x) ** 2).sum()), float((x**2).sum()), float((y**2).sum())
        found = (row.delta_squares, row.reference_squares, row.current_squares)
        # The merged weights were rounded to float32; the factors' product was not.
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-9), row.tensor
        moved = wanted[0] > 0.0
        assert (row.state == "adapted" or row.changed != 0) == moved, row.tensor


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "an adapter of type IA3"),
        ({"peft_type": "LORA", "use_dora": True}, "a DoRA adapter"),
        ({"peft_type": "LORA", "lora_bias": True}, "biases"),
        ({"peft_type": "LORA", "layer_replication": [[0, 2]]}, "layer replication"),
        ({"peft_type": "LORA", "target_parameters": ["x"]}, "target_parameters"),
        ({"peft_type": "LORA", "init_lora_weights": "pissa_niter_16"}, "initialised by pissa_niter_16"),
        ({"peft_type": "LORA", "alpha_pattern": {"(a+)+$": 4}}, "is a regular expression"),
    ],
)
def test_adapters_whose_delta_is_another_are_refused_by_name(config: dict[str, object], said: str) -> None:
    with pytest.raises(UnsupportedFormat, match="Merge the adapter") as found:
        adapter_config(config, where=Path("x/adapter_config.json"))
    assert said in str(found.value)


@pytest.mark.parametrize(
    "config", [{}, {"peft_type": 5}, {"peft_type": "LORA", "r": 0}, {"peft_type": "LORA", "r": "8"}]
)
def test_what_is_no_adapter_s_config_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="not the settings of an adapter"):
        adapter_config(config, where=Path("x"))


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"q.lora_A.weight": (2, 4)}, "has only A"),
        ({"q.lora_B.weight": (4, 2)}, "has only B"),
        ({"q.lora_A.weight": (2, 4), "q.lora_B.weight": (4, 3)}, "do not multiply"),
        ({"q.lora_A.weight": (2,), "q.lora_B.weight": (4, 2)}, "no matrix of weights"),
        ({"q.lora_A.weight": (2, 4), "q.lora_B.weight": (4, 2), "q.lora_magnitude_vector": (4,)}, "only LoRA's two"),
        ({"q.lora_A.weight": (2, 4, 3, 3), "q.lora_B.weight": (4, 2, 3, 3)}, "a convolution of its own"),
    ],
)
def test_factors_that_do_not_fit_are_refused(tmp_path: Path, make: Any, shapes: dict[str, Any], said: str) -> None:
    folder = tmp_path / "adapter"
    make.write(
        folder / "adapter_model.safetensors", {name: make.stored(np.ones(shape)) for name, shape in shapes.items()}
    )
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match=said):
        thin_deltas(checkpoint)

"""A real model, fine-tuned for a few steps: drift and stability are what float64 says, computed another way."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import numpy.typing as npt
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from barograph.analysis.layer_drift import LayerDrift, layer_drift
from barograph.analysis.weight_stability import weight_stability
from barograph.policy import load, parameter_stability
from barograph.train.smollm2 import smollm2
from barograph.weights import Pass, drift_pass, open_checkpoint

Tensors = Mapping[str, npt.NDArray[np.float64]]

STEPS, LENGTH, BATCH = 3, 64, 2
PARAMETERS, LAYERS = 134_515_008, 30

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),  # between peft and transformers
]


@pytest.fixture(scope="module")
def base() -> Path:
    """SmolLM2-135M-Instruct in bfloat16."""
    return smollm2(lambda _stage: None)


@pytest.fixture(scope="module", autouse=True)
def _quiet_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def trained(model: torch.nn.Module, tokenizer_of: Path, *, rate: float) -> None:
    """A few steps of AdamW on Python's own documentation."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of, local_files_only=True)
    ids = tokenizer(" ".join(topics.values())[:40_000])["input_ids"]
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=rate)
    for step in range(STEPS):
        first = step * BATCH * LENGTH
        batch = torch.tensor(ids[first : first + BATCH * LENGTH]).reshape(BATCH, LENGTH)
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def loaded(base: Path) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    assert isinstance(model, PreTrainedModel)
    return model


def stored(folder: Path) -> Tensors:
    """Every tensor of a folder in float64, by the format's own library."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= {name: one.double().numpy() for name, one in load_file(file).items()}
    return found


def by_block(deltas: Tensors) -> dict[int, float]:
    """Norm over each block, -1 for the rest."""
    squares: dict[int, float] = defaultdict(float)
    for name, values in deltas.items():
        found = re.search(r"\.layers\.(\d+)\.", name)
        squares[int(found[1]) if found else -1] += float(np.sum(values * values))
    return {block: math.sqrt(total) for block, total in squares.items()}


def read(current: Path, reference: Path) -> Pass:
    with open_checkpoint(current) as after, open_checkpoint(reference) as before:
        return drift_pass(after, reference=before)


def assert_norms(drift: LayerDrift, *, deltas: Tensors, before: Tensors, after: Tensors, tolerance: float) -> None:
    wanted = by_block(deltas), by_block(before), by_block(after)
    assert drift.summary.num_transformer_layers == LAYERS
    assert drift.total_params == PARAMETERS
    for layer in drift.layers:
        norms = [norms[layer.layer_idx] for norms in wanted]
        assert [layer.delta_norm, layer.reference_norm, layer.current_norm] == pytest.approx(norms, rel=tolerance)
        assert layer.relative_change == pytest.approx(norms[0] / norms[1], rel=tolerance)
    total = [math.sqrt(sum(norm**2 for norm in norms.values())) for norms in wanted]
    assert drift.total_relative_change == pytest.approx(total[0] / total[1], rel=tolerance)


def test_a_full_fine_tuning_moved_as_far_as_float64_says(base: Path, tmp_path: Path) -> None:
    model = loaded(base)
    trained(model, base, rate=5e-5)
    folder = tmp_path / f"checkpoint-{STEPS}"
    model.to(torch.bfloat16).save_pretrained(folder)
    before, after = stored(base), stored(folder)
    assert before.keys() == after.keys()
    done = read(folder, base)
    drift = layer_drift(done.rows, pattern_ratio=1.5)
    deltas = {name: after[name] - before[name] for name in before}
    assert_norms(drift, deltas=deltas, before=before, after=after, tolerance=1e-7)
    assert 1e-5 < drift.total_relative_change < 0.01
    changed = sum(int((delta != 0.0).sum()) for delta in deltas.values())
    assert drift.fraction_changed == pytest.approx(changed / PARAMETERS, rel=1e-3)
    for row in done.rows:
        sizes = np.abs(after[row.tensor])
        assert row.current_max == sizes.max()
        assert row.current_min == sizes[sizes > 0.0].min()
        assert row.current_zeros == int((sizes == 0.0).sum())
    judged = parameter_stability(weight_stability(done.rows), policy=load("default"))
    assert judged.summary.health_status == "healthy", judged.alerts


def test_a_lora_moved_as_far_as_the_formed_product_says(base: Path, tmp_path: Path) -> None:
    adapted = get_peft_model(
        loaded(base), LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"])
    )
    trained(adapted, base, rate=1e-3)
    folder = tmp_path / f"checkpoint-{STEPS}"
    adapted.save_pretrained(folder)
    before, factors = stored(base), stored(folder)
    deltas = {name: np.zeros_like(values) for name, values in before.items()}
    for name, a in factors.items():
        if name.endswith("lora_A.weight"):
            b = factors[name.replace("lora_A", "lora_B")]
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            deltas[f"{module}.weight"] = 2.0 * b @ a
    after = {name: before[name] + deltas[name] for name in before}
    drift = layer_drift(read(folder, base).rows, pattern_ratio=1.5)
    assert_norms(drift, deltas=deltas, before=before, after=after, tolerance=1e-7)
    assert drift.total_relative_change > 0.0

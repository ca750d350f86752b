"""Drift is a ratio of norms: of sums over blocks, NaN where there is no reference, and told as the document says."""

import json
import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.layer_drift import LayerDrift, drift_pattern, layer_drift
from barograph.errors import UsageError
from barograph.records import TensorPass

SAMPLE = """{
  "timestamp": "2025-11-25T02:54:38.597583",
  "reference_checkpoint": "Qwen3-0.6B",
  "current_checkpoint": "deployed",
  "current_step": null,
  "total_params": 596049920,
  "total_relative_change": 0.277703,
  "summary": {
    "num_transformer_layers": 28,
    "avg_relative_change": 0.285406,
    "max_drift_layer": 14,
    "max_drift_value": 0.351597,
    "min_drift_layer": 27,
    "min_drift_value": 0.113497,
    "top_layers_avg": 0.190713,
    "bottom_layers_avg": 0.288328,
    "pattern": "uniform"
  },
  "layers": [
    {
      "layer_idx": 0,
      "relative_change": 0.303384,
      "delta_norm": 49.6932,
      "reference_norm": 163.8,
      "current_norm": 169.27
    }
  ]
}"""
"""The document that users asked for, word for word."""


def row(name: str, *, delta: float, reference: float, current: float, elements: int = 10, bad: int = 0) -> TensorPass:
    """One compared tensor, by its norms."""
    return TensorPass(
        checkpoint="deployed",
        reference="Qwen3-0.6B",
        time=1764039278.597583,
        tensor=name,
        state="compared",
        elements=elements,
        delta_squares=delta**2,
        reference_squares=reference**2,
        current_squares=current**2,
        reference_nan=0,
        reference_infinite=0,
        current_nan=bad,
        current_infinite=0,
        changed=elements if delta else 0,
    )


def drift(rows: list[TensorPass], ratio: float = 1.5) -> LayerDrift:
    return layer_drift(rows, pattern_ratio=ratio)


def test_the_document_has_the_sample_s_keys_types_and_order() -> None:
    sample = json.loads(SAMPLE)
    change = dict.fromkeys(range(28), 0.29) | {0: 0.303384, 14: 0.351597, 27: 0.113497}
    rows = [row(f"model.layers.{i}.w", delta=100 * one, reference=100.0, current=110.0) for i, one in change.items()]
    rows[0] = row("model.layers.0.w", delta=49.6932, reference=163.8, current=169.27)
    rows.append(row("model.embed_tokens.weight", delta=1.0, reference=90.0, current=90.0, elements=596049920 - 280))
    document = json.loads(msgspec.json.encode(drift(rows)))
    for part, ours in ((sample, document), (sample["summary"], document["summary"])):
        assert list(ours)[: len(part)] == list(part)
        assert [type(value) for key, value in ours.items() if key in part] == [type(value) for value in part.values()]
    first = document["layers"][0]
    assert list(first)[:5] == list(sample["layers"][0])
    for key, value in sample["layers"][0].items():
        assert first[key] == pytest.approx(value, rel=1e-4)
    summary = document["summary"]
    for key in ("num_transformer_layers", "max_drift_layer", "min_drift_layer"):
        assert summary[key] == sample["summary"][key]
    assert summary["max_drift_value"] == pytest.approx(0.351597)
    assert summary["min_drift_value"] == pytest.approx(0.113497)
    assert document["total_params"] == sample["total_params"]
    assert document["timestamp"].startswith(sample["timestamp"])
    assert [layer["layer_idx"] for layer in document["layers"]] == [*range(28), -1]


def test_the_rule_wins_over_the_sample_that_breaks_it() -> None:
    summary = json.loads(SAMPLE)["summary"]
    assert drift_pattern(summary["top_layers_avg"], summary["bottom_layers_avg"], ratio=1.5) == "bottom_heavy"


@pytest.mark.parametrize(
    ("top", "bottom", "pattern"),
    [
        (3.0, 2.0, "uniform"),
        (3.0 + 1e-9, 2.0, "top_heavy"),
        (2.0, 3.0, "uniform"),
        (2.0, 3.1, "bottom_heavy"),
        (0.0, 0.0, "uniform"),
        (0.1, 0.0, "top_heavy"),
        (math.nan, 1.0, None),
        (1.0, math.inf, None),
    ],
)
def test_one_end_is_heavy_only_strictly_above_the_ratio(top: float, bottom: float, pattern: str | None) -> None:
    assert drift_pattern(top, bottom, ratio=1.5) == pattern


norms = st.floats(1e-3, 1e3)


@settings(deadline=None)
@given(st.lists(st.tuples(norms, norms, norms), min_size=1, max_size=12), st.floats(1e-3, 1e3))
def test_the_total_is_a_ratio_of_norms_over_everything(parts: list[tuple[float, float, float]], scale: float) -> None:
    rows = [
        row(f"layers.{i}.w", delta=d * scale, reference=r * scale, current=c * scale)
        for i, (d, r, c) in enumerate(parts)
    ]
    found = drift(rows)
    wanted = math.sqrt(sum(d * d for d, _, _ in parts)) / math.sqrt(sum(r * r for _, r, _ in parts))
    assert found.total_relative_change == pytest.approx(wanted, rel=1e-9)
    for layer, (d, r, c) in zip(found.layers, parts, strict=True):
        assert layer.relative_change == pytest.approx(d / r, rel=1e-9)
        assert layer.current_norm == pytest.approx(c * scale, rel=1e-9)
        assert -1.0 <= layer.cosine <= 1.0


@settings(deadline=None)
@given(st.floats(0.0, math.pi), st.floats(0.1, 10.0))
def test_the_cosine_tells_a_rotation_from_a_rescaling(angle: float, scale: float) -> None:
    moved = math.hypot(scale * math.cos(angle) - 1.0, scale * math.sin(angle))
    found = drift([row("layers.0.w", delta=moved, reference=1.0, current=scale)])
    assert found.cosine == pytest.approx(math.cos(angle), abs=1e-12)


def test_a_reference_of_norm_zero_gives_nan_and_never_zero() -> None:
    rows = [
        row("layers.0.w", delta=1.0, reference=0.0, current=1.0),
        row("layers.1.w", delta=0.0, reference=0.0, current=0.0),
    ]
    found = drift(rows)
    assert math.isnan(found.total_relative_change)
    assert all(math.isnan(layer.relative_change) for layer in found.layers)
    assert found.why["layers[0].relative_change"] == "the norm of the reference is zero"
    assert found.summary.pattern is None
    assert json.loads(msgspec.json.encode(found))["total_relative_change"] is None


def test_one_weight_that_is_no_number_has_no_norm_and_says_so() -> None:
    rows = [row(f"layers.{i}.w", delta=1.0, reference=2.0, current=2.0, bad=3 * (i == 1)) for i in range(4)]
    found = drift(rows)
    assert [math.isnan(layer.relative_change) for layer in found.layers] == [False, True, False, False]
    assert math.isnan(found.total_relative_change)
    assert math.isnan(found.summary.avg_relative_change)
    assert found.summary.max_drift_layer == 0
    assert found.why["total_relative_change"] == "3 weights of the checkpoint are NaN or infinite"
    assert found.why["summary.avg_relative_change"] == "layer 1 has no finite relative change"
    assert found.layers[1].reference_norm == 2.0


def null_paths(value: object, path: str = "") -> list[str]:
    """Where a document has null."""
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [one for key, item in value.items() for one in null_paths(item, f"{path}.{key}".lstrip("."))]
    if isinstance(value, list):
        return [one for place, item in enumerate(value) for one in null_paths(item, f"{path}[{place}]")]
    return []


@pytest.mark.parametrize(
    "rows",
    [
        [row("layers.0.w", delta=1.0, reference=0.0, current=1.0)],
        [row("layers.0.w", delta=1.0, reference=1.0, current=0.0)],
        [row("layers.0.w", delta=1.0, reference=1.0, current=1.0, bad=1)],
        [row("embed.weight", delta=1.0, reference=1.0, current=1.0)],
    ],
)
def test_every_null_has_its_reason(rows: list[TensorPass]) -> None:
    document = json.loads(msgspec.json.encode(drift(rows)))
    assert sorted(path for path in null_paths(document) if path != "current_step") == sorted(document["why"])


def test_quarters_are_of_the_layers_that_there_are() -> None:
    for count in (1, 2, 3, 4, 7, 8, 28, 30):
        rows = [row(f"layers.{i}.w", delta=float(i + 1), reference=1.0, current=1.0) for i in range(count)]
        quarter = max(1, count // 4)
        summary = drift(rows).summary
        assert summary.bottom_layers_avg == pytest.approx(sum(range(1, quarter + 1)) / quarter)
        assert summary.top_layers_avg == pytest.approx(sum(range(count - quarter + 1, count + 1)) / quarter)
        assert summary.num_transformer_layers == count


def test_what_is_on_one_side_is_named_and_in_no_norm() -> None:
    both = row("layers.0.w", delta=1.0, reference=2.0, current=2.0)
    others = [
        TensorPass(checkpoint="c", time=0.0, tensor=name, state=state, elements=elements, current_squares=9.0)  # type: ignore[arg-type]
        for name, state, elements in (("a", "missing", 7), ("b", "extra", 5), ("c", "reshaped", 3), ("d", "integer", 2))
    ]
    found = drift([both, *others])
    assert (found.missing, found.extra, found.reshaped) == (["a"], ["b"], ["c"])
    assert found.total_current_norm == 2.0
    assert (found.total_params, found.compared_params) == (10 + 5 + 3, 10)
    with pytest.raises(UsageError, match="no tensor is on both sides"):
        drift(others)


def test_layers_stand_in_the_order_of_their_numbers() -> None:
    rows = [row(f"layers.{i}.w", delta=1.0, reference=1.0, current=1.0) for i in (10, 9, 100, 2)]
    order = [layer.layer_idx for layer in drift([row("norm", delta=1.0, reference=1.0, current=1.0), *rows]).layers]
    assert order == [2, 9, 10, 100, -1]
    assert all(one < other for one, other in pairwise(order[:-1]))

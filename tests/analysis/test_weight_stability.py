"""Sizes of weights are those of numpy; what is not finite or all zero is never taken for a number."""

import json
import math
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.weight_stability import WeightStability, weight_stability
from barograph.errors import UsageError
from barograph.records import TensorPass


def row(
    name: str, *, norm: float = 2.0, largest: float = 1.0, smallest: float | None = 0.5, **more: object
) -> TensorPass:
    base = TensorPass(
        checkpoint="deployed",
        time=5.0,
        tensor=name,
        state="alone",
        dtype="F16",
        elements=10,
        rows=5,
        current_squares=norm**2,
        current_max=largest,
        current_min=smallest,
        current_nan=0,
        current_infinite=0,
        current_zeros=0,
        current_zero_rows=0,
    )
    return msgspec.structs.replace(base, **more)


def beside(name: str, *, reference: float, **more: object) -> TensorPass:
    """A tensor with its reference."""
    side = {"reference_max": 1.0, "reference_nan": 0, "reference_infinite": 0, "reference_zeros": 1}
    more = {
        "reference_squares": reference**2,
        "reference_zero_rows": 1,
        "state": "compared",
        "reference": "base",
        **side,
        **more,
    }
    return row(name, **more)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30))
def test_the_summary_is_over_all_blocks(norms: list[float]) -> None:
    found = weight_stability(
        [row(f"layers.{i}.w", norm=norm) for i, norm in enumerate(norms)] + [row("embed", norm=1e9)]
    )
    assert found.num_layers == len(norms)
    assert found.avg_weight_norm == pytest.approx(statistics.fmean(norms))
    assert found.std_weight_norm == pytest.approx(statistics.pstdev(norms), abs=1e-9)
    assert found.max_weight_norm == pytest.approx(max(norms))
    assert found.min_weight_norm == pytest.approx(min(norms))
    assert [layer.layer_idx for layer in found.layers] == [*range(len(norms)), -1]


def test_a_layer_is_all_of_its_tensors() -> None:
    rows = [
        row("layers.0.a", norm=3.0, largest=1.0, smallest=0.25),
        row("layers.0.b", norm=4.0, largest=2.0, smallest=None),
    ]
    layer = weight_stability(rows).layers[0]
    assert (layer.weight_norm, layer.max_abs_weight, layer.min_abs_weight) == (5.0, 2.0, 0.25)
    assert (layer.params, layer.rows) == (20, 10)
    assert layer.dtype_max_share == 2.0 / 65504.0


@pytest.mark.parametrize(
    ("nan", "infinite", "norm", "largest"),
    [(2, 0, math.nan, 1.0), (0, 3, math.inf, math.inf), (1, 1, math.nan, math.inf)],
)
def test_weights_that_are_no_numbers_are_counted_and_have_no_norm(
    nan: int, infinite: int, norm: float, largest: float
) -> None:
    found = weight_stability([row("layers.0.w", current_nan=nan, current_infinite=infinite), row("layers.1.w")])
    layer = found.layers[0]
    assert layer.non_finite == nan + infinite
    assert layer.weight_norm == norm or (math.isnan(layer.weight_norm) and math.isnan(norm))
    assert layer.max_abs_weight == largest
    assert not math.isfinite(found.avg_weight_norm)
    assert found.why["layers[0].weight_norm"] == f"{nan + infinite} weights are NaN or infinite"
    assert json.loads(msgspec.json.encode(found))["layers"][0]["weight_norm"] is None


def test_a_layer_of_zeros_has_no_smallest_weight() -> None:
    found = weight_stability(
        [row("layers.0.w", norm=0.0, largest=0.0, smallest=None, current_zeros=10, current_zero_rows=5)]
    )
    layer = found.layers[0]
    assert (layer.weight_norm, layer.zero_fraction, layer.zero_rows) == (0.0, 1.0, 5)
    assert math.isnan(layer.min_abs_weight)
    assert found.why["layers[0].min_abs_weight"] == "every weight is zero"


def test_growth_is_against_the_reference_where_there_is_one() -> None:
    found = weight_stability(
        [beside("layers.0.w", reference=4.0), row("layers.1.w"), beside("layers.2.w", reference=0.0)]
    )
    assert found.layers[0].norm_growth == 0.5
    assert found.layers[0].reference_zero_fraction == 0.1
    assert found.layers[1].norm_growth is None
    assert found.why["layers[1].norm_growth"] == "the reference was not read for every tensor of the layer"
    growth = found.layers[2].norm_growth
    assert growth is not None
    assert math.isnan(growth), "a norm over zero is no growth"


def test_maxima_by_kind_are_over_the_blocks() -> None:
    rows = [
        beside("layers.0.q_norm", reference=1.0, largest=3.0),
        beside("layers.1.q_norm", reference=1.0, largest=7.0, reference_max=2.5),
        row("norm", largest=9.0),
    ]
    found = {kind.kind: kind for kind in weight_stability(rows).kinds}
    assert list(found) == ["layers.*.q_norm", "norm"]
    norm = found["layers.*.q_norm"]
    assert (norm.max_abs_weight, norm.layer_idx, norm.reference_max_abs_weight) == (7.0, 1, 2.5)
    assert found["norm"].reference_max_abs_weight is None


def test_what_an_adapter_changes_has_a_norm_and_no_extremes() -> None:
    adapted = row(
        "layers.0.w", state="adapted", current_max=None, current_min=None, current_zeros=None, current_nan=None
    )
    layer = weight_stability([adapted]).layers[0]
    assert layer.weight_norm == 2.0
    assert math.isnan(layer.max_abs_weight)
    assert math.isnan(layer.zero_fraction)


def test_no_weights_are_an_error() -> None:
    rows = [TensorPass(checkpoint="c", time=0.0, tensor="ids", state="integer", elements=3)]
    with pytest.raises(UsageError, match="no weights were read"):
        weight_stability(rows)


def test_a_model_without_blocks_says_so() -> None:
    found: WeightStability = weight_stability([row("w")])
    assert found.num_layers == 0
    assert math.isnan(found.avg_weight_norm)
    assert found.why["summary.avg_weight_norm"] == "no tensor's name has a block's number"

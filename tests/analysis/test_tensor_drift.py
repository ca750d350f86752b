"""One tensor beside its reference: what numpy says, and null for what was not measured."""

import math

import numpy as np
import pytest

from barograph.analysis.tensor_drift import tensor_drift
from barograph.records import TensorPass


def row(**changes: object) -> TensorPass:
    given: dict[str, object] = {"checkpoint": "c", "time": 0.0, "tensor": "t", "state": "compared", "elements": 6}
    return TensorPass(**{**given, **changes})  # type: ignore[arg-type]


def compared(reference: list[float], current: list[float]) -> TensorPass:
    x, y = np.asarray(reference), np.asarray(current)
    return row(
        elements=len(current),
        dtype="F32",
        shape=[len(current)],
        delta_squares=float(((y - x) ** 2).sum()),
        reference_squares=float((x**2).sum()),
        current_squares=float((y**2).sum()),
        current_max=float(np.abs(y).max()),
        current_min=float(np.abs(y)[y != 0].min()),
        reference_nan=0,
        reference_infinite=0,
        current_nan=0,
        current_infinite=0,
        current_zeros=int((y == 0).sum()),
        changed=int((x != y).sum()),
    )


def test_its_numbers_are_those_of_numpy() -> None:
    (one,) = tensor_drift([compared([1.0, 2.0, 2.0, 0.0], [1.0, 2.5, 0.0, -1.0])])
    assert one.relative_change == pytest.approx(math.sqrt(0.25 + 4.0 + 1.0) / 3.0, rel=1e-15)
    assert one.delta_norm == pytest.approx(math.sqrt(5.25), rel=1e-15)
    assert (one.reference_norm, one.fraction_changed, one.zero_fraction) == (3.0, 0.75, 0.25)
    assert (one.max_abs_weight, one.min_abs_weight, one.non_finite) == (2.5, 1.0, 0)


def test_a_zero_reference_gives_no_ratio() -> None:
    (one,) = tensor_drift([compared([0.0, 0.0], [0.0, 1.0])])
    assert one.relative_change is None
    assert (one.delta_norm, one.reference_norm) == (1.0, 0.0)


def test_weights_that_are_no_numbers_have_no_norm_and_are_counted() -> None:
    bad = row(delta_squares=1.0, reference_squares=4.0, current_squares=9.0, current_nan=2, current_infinite=1,
              reference_nan=0, reference_infinite=0)  # fmt: skip
    (one,) = tensor_drift([bad])
    assert (one.non_finite, one.current_norm, one.delta_norm, one.relative_change) == (3, None, None, None)
    assert one.reference_norm == 2.0


def test_what_was_not_measured_is_null_and_not_zero() -> None:
    (missing,) = tensor_drift([row(state="missing", elements=6, reference_squares=1.0)])
    for field in ("relative_change", "delta_norm", "current_norm", "fraction_changed", "max_abs_weight", "non_finite"):
        assert getattr(missing, field) is None, field
    assert missing.reference_norm == 1.0


def test_an_empty_tensor_has_no_shares() -> None:
    (one,) = tensor_drift([row(elements=0, changed=0, current_zeros=0, current_nan=0)])
    assert (one.fraction_changed, one.zero_fraction, one.non_finite) == (None, None, 0)

"""Laws of the bias-corrected moving average, and pandas as its oracle."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis import MovingAverage, moving_average
from barograph.errors import UsageError

VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf])), max_size=300)
PAST = st.floats(0.0, 0.999)


def folded(values: list[float], past: float) -> list[float]:
    state, found = MovingAverage(past=past), []
    for value in values:
        state = state.update(value)
        found.append(state.value)
    return found


@given(VALUES, PAST)
def test_the_array_form_is_the_fold(values: list[float], past: float) -> None:
    whole = moving_average(np.array(values, dtype=np.float64), past=past)
    np.testing.assert_allclose(whole, folded(values, past), rtol=1e-9, atol=1e-6, equal_nan=True)


@given(VALUES, PAST)
def test_a_non_finite_value_never_enters_the_average(values: list[float], past: float) -> None:
    finite = [value for value in values if math.isfinite(value)]
    average = moving_average(np.array(values, dtype=np.float64), past=past)
    for place, value in enumerate(average):
        seen = [one for one in values[: place + 1] if math.isfinite(one)]
        assert math.isnan(value) if not seen else min(finite) - 1e-6 <= value <= max(finite) + 1e-6


@given(VALUES, st.floats(0.01, 1.0))
def test_it_is_the_adjusted_ewm_of_pandas_with_missing_values(values: list[float], share: float) -> None:
    missing = pd.Series([value if math.isfinite(value) else math.nan for value in values], dtype=float)
    wanted = missing.ewm(alpha=share, adjust=True, ignore_na=False).mean().to_numpy()
    found = moving_average(np.array(values, dtype=np.float64), past=1.0 - share)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-6, equal_nan=True)


@given(st.floats(-1e300, 1e300, allow_subnormal=False), PAST, st.integers(1, 200))
def test_a_constant_series_is_its_own_average(value: float, past: float, count: int) -> None:
    np.testing.assert_allclose(moving_average(np.full(count, value), past=past), value, rtol=1e-12, atol=1e-290)
    np.testing.assert_allclose(folded([value] * count, past), value, rtol=1e-12, atol=1e-290)


def test_no_past_follows_every_value() -> None:
    values = np.array([1.0, -2.0, 3.5])
    assert moving_average(values, past=0.0).tolist() == values.tolist()


def test_ten_fives_average_to_five_and_not_to_a_third_less() -> None:
    # Without the correction for the zero start it would be 5 (1 - 0.9^10) = 3.26.
    assert moving_average(np.full(10, 5.0), past=0.9)[-1] == pytest.approx(5.0, rel=1e-15)


def test_a_long_silence_does_not_lose_the_average() -> None:
    values = np.full(100_000, math.nan)
    values[0] = 7.0
    assert moving_average(values, past=0.5)[-1] == 7.0
    assert folded([7.0] + [math.nan] * 5_000 + [9.0], 0.5)[-2:] == [7.0, 9.0]


@pytest.mark.parametrize("past", [-0.1, 1.0, math.nan])
def test_a_weight_that_forgets_nothing_or_less_is_refused(past: float) -> None:
    with pytest.raises(UsageError, match="weight of the past"):
        moving_average(np.zeros(1), past=past)

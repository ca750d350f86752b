"""The moving average is that of pandas, whatever the cadence; NaN is counted and poisons nothing."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

from barograph.analysis.streaming import REFRESHED, StreamingLoss, StreamingRule, change_between, residual_noise
from barograph.analysis.trend import TrendRule, trend

RULE = StreamingRule(
    ema_alpha=0.1,
    window=50,
    trend_steps=1000,
    trend=TrendRule(min_blocks=20, max_blocks=100, min_block=5, confidence=0.95),
)
LOSSES = st.lists(st.floats(-5.0, 20.0) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=80)


def fold(losses: list[float], steps: list[int] | None = None) -> StreamingLoss:
    found = StreamingLoss(RULE)
    for step, loss in zip(steps or range(len(losses)), losses, strict=True):
        found.update(step, loss)
    return found


@given(LOSSES)
def test_the_moving_average_is_that_of_pandas_with_nan_left_out(losses: list[float]) -> None:
    series = pd.Series(losses).replace([math.inf], math.nan)
    expected = float(series.ewm(alpha=0.1, adjust=True).mean().iloc[-1])
    found = fold(losses)
    if math.isnan(expected):
        assert found.streaming_ce is None
    else:
        assert found.streaming_ce == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0.0, 10.0), min_size=2, max_size=40), st.integers(2, 20))
def test_a_curve_logged_at_every_nth_step_has_the_average_of_one_logged_at_each(
    losses: list[float], cadence: int
) -> None:
    sparse = fold(losses, [cadence * (place + 1) for place in range(len(losses))])
    dense = fold([loss for loss in losses for _ in range(cadence)])
    assert sparse.streaming_ce == pytest.approx(dense.streaming_ce, rel=1e-9, abs=1e-9)


def test_a_constant_loss_is_its_own_average_from_the_first_step_on() -> None:
    for count in (1, 2, 10):
        assert fold([5.0] * count).streaming_ce == pytest.approx(5.0, rel=1e-12)


def test_ten_thousand_nan_are_counted_and_the_next_loss_is_the_average() -> None:
    found = fold([2.0, *[math.nan] * 10_000])
    assert (found.streaming_ce, found.non_finite, found.finite, found.steps) == (2.0, 10_000, 1, 10_001)
    assert found.last is not None
    assert math.isnan(found.last)
    found.update(10_001, 7.0)
    assert found.streaming_ce == pytest.approx(7.0)


@given(LOSSES)
def test_variance_and_noise_are_of_the_last_finite_losses(losses: list[float]) -> None:
    finite = np.array([loss for loss in losses if math.isfinite(loss)])[-RULE.window :]
    found = fold(losses)
    assert found.variance == (pytest.approx(float(np.var(finite)), rel=1e-9) if len(finite) > 1 else None)
    assert (found.noise is None) == (len(finite) < 4)


@given(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=60), st.floats(-1.0, 1.0))
def test_a_slope_does_not_change_the_noise(values: list[float], slope: float) -> None:
    flat = np.array(values)
    assert residual_noise(flat + slope * np.arange(len(flat))) >= 0.0
    assert residual_noise(5.0 + slope * np.arange(len(flat), dtype=np.float64)) == pytest.approx(0.0, abs=1e-9)


def test_noise_on_a_level_curve_is_the_deviation_of_scipy_about_its_line() -> None:
    values = 2.0 + 0.1 * np.random.default_rng(1).standard_normal(50)
    line = np.polyfit([12.0, 37.0], [np.median(values[:25]), np.median(values[25:])], 1)
    expected = median_abs_deviation(values - np.polyval(line, np.arange(50)), scale="normal")
    assert residual_noise(values) == pytest.approx(float(expected), rel=1e-9)
    spiked = values.copy()
    spiked[30] = 50.0
    assert residual_noise(spiked) < 2.0 * residual_noise(values)


def test_the_trend_is_that_of_the_newest_losses_however_often_it_is_asked_for() -> None:
    steps = np.arange(2500)
    losses = 2.0 * np.exp(-1e-4 * steps) + 0.02 * np.random.default_rng(0).standard_normal(2500)
    every = RULE.trend_steps // REFRESHED
    often, once = StreamingLoss(RULE), StreamingLoss(RULE)
    for step, loss in enumerate(losses.tolist()[:2507]):
        often.update(step, loss)
        once.update(step, loss)
        known = often.trend
        assert (known is None) == (step + 1 < 100)
    at = 2500 - 2500 % every
    assert once.trend == often.trend == trend(steps[at - 1000 : at], losses[at - 1000 : at], rule=RULE.trend)
    assert once.trend is not None
    assert once.trend.word == "improving"


def test_a_step_that_goes_back_begins_a_new_trend_and_breaks_nothing() -> None:
    found = fold([2.0] * 500)
    assert found.reasons() == {}
    for step in range(100, 150):
        found.update(step, 1.0)
    assert "loss_trend" in found.reasons()
    for step in range(150, 300):
        found.update(step, 1.0)
    assert found.trend is not None
    assert found.trend.word == "stable"
    assert found.streaming_ce == pytest.approx(1.0, abs=1e-6)


def test_huge_losses_overflow_nothing() -> None:
    found = fold([1e308, -1e308, 1.5e308, 1e308, -1e308])
    assert found.streaming_ce is not None
    assert math.isfinite(found.streaming_ce)
    assert found.variance is None
    assert found.reasons()["loss_variance"] == "it is too large for a number"


def test_what_is_not_known_has_a_reason() -> None:
    assert StreamingLoss(RULE).reasons() == dict.fromkeys(
        (
            "streaming_ce",
            "loss_variance",
            "loss_noise",
            "loss_trend",
            "loss_change_per_1000",
            "loss_change_low",
            "loss_change_high",
            "loss_change",
            "loss_change_steps",
        ),
        "no loss has been seen yet",
    )
    assert fold([math.nan]).reasons()["streaming_ce"] == "none of 1 losses is finite"
    assert fold([1.0] * 40).reasons()["loss_trend"] == "a trend needs 100 losses, and there are 40"
    assert fold([1.0] * 100).reasons() == {}


@given(
    st.lists(st.floats(0.01, 100.0), min_size=1, max_size=300),
    st.floats(0.1, 10.0),
)
def test_a_change_is_that_of_the_ends_whatever_the_scale(losses: list[float], factor: float) -> None:
    steps = np.arange(len(losses)) * 3
    found = change_between(steps, np.array(losses))
    scaled = change_between(steps, factor * np.array(losses))
    assert found is not None
    assert scaled is not None
    assert found.steps == scaled.steps == 3 * (len(losses) - 1)
    assert found.ratio == pytest.approx(scaled.ratio, rel=1e-9, abs=1e-9)
    part = max(1, len(losses) // 10)
    ends = np.median(losses[-part:]) / np.median(losses[:part]) - 1.0
    assert found.ratio == pytest.approx(float(ends))


def test_a_curve_that_fell_and_stays_has_fallen() -> None:
    found = fold((0.005 + 4.0 * np.exp(-np.arange(400) / 5.0)).tolist()).change
    assert found is not None
    assert found.ratio < -0.9
    assert found.steps >= 380


def test_losses_of_zero_or_less_have_no_relative_change_and_say_so() -> None:
    found = fold([-1.0] * 200)
    assert found.trend is not None
    assert found.change is None
    assert found.reasons()["loss_change"] == "a loss of zero or less has no relative change"
    assert fold([1.0] * 50).change is None

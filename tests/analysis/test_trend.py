"""Trends: the slope of scipy, its interval, and words that noise does not fool."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import theilslopes

from barograph.analysis.trend import TrendRule, trend

Floats = NDArray[np.float64]
RULE = TrendRule(min_blocks=20, max_blocks=200, min_block=5, confidence=0.95)
SINGLE = TrendRule(min_blocks=4, max_blocks=1000, min_block=1, confidence=0.95)


@given(st.lists(st.floats(0.1, 10.0), min_size=8, max_size=60), st.integers(1, 50))
def test_slope_and_interval_are_those_of_scipy(losses: list[float], stride: int) -> None:
    steps = stride * np.arange(len(losses))
    found = trend(steps, np.array(losses), rule=SINGLE)
    slope, _, low, high = theilslopes(np.log(losses), steps, alpha=0.95)
    expected = [math.expm1(min(700.0, 1000.0 * one)) for one in (slope, low, high)]
    assert [found.change_per_1000, found.low, found.high] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_flat_noise_has_a_trend_no_more_often_than_the_confidence_says() -> None:
    words = [
        trend(np.arange(500), 2.5 + 0.1 * np.random.default_rng(seed).standard_normal(500), rule=RULE).word
        for seed in range(200)
    ]
    assert words.count("stable") >= 180


def test_a_slow_fall_and_a_slow_rise_are_seen_through_noise() -> None:
    steps = np.arange(1000)
    noise = 0.02 * np.random.default_rng(0).standard_normal(1000)
    falling = trend(steps, 2.0 * np.exp(-1e-4 * steps + noise), rule=RULE)
    assert falling.word == "improving"
    assert falling.change_per_1000 == pytest.approx(math.expm1(-0.1), abs=0.01)
    assert trend(steps, np.asarray(2.0 * np.exp(1e-4 * steps + noise), np.float64), rule=RULE).word == "degrading"


def test_the_change_is_per_step_and_not_per_point() -> None:
    losses = 2.0 * np.exp(-1e-3 * np.arange(1000))
    each = trend(np.arange(1000), losses, rule=RULE).change_per_1000
    tenth = trend(np.arange(1000)[::10], losses[::10], rule=SINGLE).change_per_1000
    assert each == pytest.approx(tenth, rel=1e-6)


def test_too_few_points_are_unknown_and_have_no_numbers() -> None:
    found = trend(np.arange(99), np.ones(99), rule=RULE)
    assert (found.word, found.change_per_1000, found.low, found.high) == ("unknown", None, None, None)


def test_points_that_are_no_numbers_are_left_out() -> None:
    losses: Floats = 2.0 * np.exp(-1e-3 * np.arange(400))
    holes = losses.copy()
    holes[::7] = math.nan
    assert trend(np.arange(400), holes, rule=RULE).word == "improving"
    assert trend(np.arange(400), np.full(400, math.nan), rule=RULE).word == "unknown"


def test_losses_below_zero_change_in_nats() -> None:
    found = trend(np.arange(200), np.linspace(-1.0, -1.199, 200), rule=RULE)
    assert (found.word, found.relative) == ("improving", False)
    assert found.change_per_1000 == pytest.approx(-1.0, rel=1e-9)


def test_a_constant_curve_is_stable() -> None:
    found = trend(np.arange(200), np.full(200, 2.0), rule=RULE)
    assert (found.word, found.change_per_1000) == ("stable", 0.0)

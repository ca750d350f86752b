"""Plateaus: a curve that still falls is none, one that rises is none, and a flat one is found."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from barograph.analysis.plateau import Plateau, PlateauResult, PlateauRule, slope_of

Floats = NDArray[np.float64]
EQUIVALENCE = PlateauRule(
    judged_by="equivalence",
    min_gain=0.01,
    steps=50,
    min_steps=100,
    share=0.25,
    horizon_share=0.25,
    confidence=0.95,
    warm_up_steps=20,
)
HALVES = replace(EQUIVALENCE, judged_by="halves", warm_up_steps=0)


def found(losses: Iterable[float], rule: PlateauRule) -> PlateauResult:
    fold = Plateau(rule)
    for step, loss in enumerate(losses):
        fold.update(step, loss)
    return fold.result


def noisy(curve: Floats, seed: int, noise: float = 0.01) -> list[float]:
    values: list[float] = (curve * (1.0 + noise * np.random.default_rng(seed).standard_normal(len(curve)))).tolist()
    return values


@given(st.lists(st.floats(0.1, 10.0), min_size=50, max_size=120))
def test_halves_compares_the_means_of_the_newest_losses(losses: list[float]) -> None:
    newest = losses[-50:]
    gain = 1.0 - sum(newest[25:]) / sum(newest[:25])
    result = found(losses, HALVES)
    assert result.expected_gain == pytest.approx(gain, abs=1e-9)
    assert result.plateau == (abs(gain) < 0.01) or abs(abs(gain) - 0.01) < 1e-9


def test_halves_does_not_call_a_rising_loss_a_plateau() -> None:
    result = found([1.0] * 25 + [1.3] * 25, HALVES)
    assert (result.plateau, result.rising) == (False, True)
    assert result.why == "the last 25 losses are on average 30.00% above the 25 before"


@pytest.mark.parametrize("rule", [HALVES, EQUIVALENCE])
def test_too_few_losses_say_nothing_and_say_so(rule: PlateauRule) -> None:
    assert found([], rule).plateau is None
    result = found([1.0] * 49, rule)
    assert (result.plateau, result.expected_gain) == (None, None)
    assert "that it needs" in result.why


@pytest.mark.parametrize("rule", [HALVES, EQUIVALENCE])
def test_losses_that_are_no_numbers_change_nothing(rule: PlateauRule) -> None:
    losses = noisy(np.linspace(3.0, 2.9, 400), 0)
    holes = [one for loss in losses for one in (loss, math.nan, math.inf)]
    fold = Plateau(rule)
    for place, loss in enumerate(holes):
        fold.update(place // 3, loss)
    assert fold.result == found(losses, rule)


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_a_power_law_from_11_to_3_is_never_a_plateau(noise: float) -> None:
    steps = np.arange(1, 3001, dtype=np.float64)
    curve = 11.0 * steps ** -(math.log(11.0 / 3.3) / math.log(3000.0))
    for seed in range(5):
        fold = Plateau(EQUIVALENCE)
        for step, loss in enumerate(noisy(curve, seed, noise)):
            fold.update(step, loss)
            assert not fold.result.plateau


def test_a_flat_curve_is_a_plateau_and_its_bound_says_so() -> None:
    for seed in range(10):
        result = found(noisy(np.full(1000, 2.5), seed), EQUIVALENCE)
        assert result.plateau is True
        assert result.expected_gain_high is not None
        assert result.expected_gain is not None
        assert result.expected_gain < result.expected_gain_high < 0.01
        assert result.horizon_steps == pytest.approx(0.25 * 980, rel=0.03)


def test_a_curve_that_falls_by_1_percent_in_100_steps_is_no_plateau_when_young() -> None:
    for seed in range(10):
        fold = Plateau(EQUIVALENCE)
        for step, loss in enumerate(noisy(5.0 * np.exp(-2e-4 * np.arange(400)), seed)):
            fold.update(step, loss)
            assert not fold.result.plateau


def test_a_diverging_curve_rises_and_is_no_plateau() -> None:
    result = found(noisy(2.0 * np.exp(1e-3 * np.arange(1000)), 0), EQUIVALENCE)
    assert (result.plateau, result.rising) == (False, True)


def test_the_gain_is_that_of_the_curve_whatever_the_cadence() -> None:
    curve = 3.0 * np.exp(-2e-4 * np.arange(4000))
    every = found(curve.tolist(), EQUIVALENCE)
    sparse = Plateau(EQUIVALENCE)
    for step in range(0, 4000, 10):
        sparse.update(step, float(curve[step]))
    expected = -math.expm1(-2e-4 * 1000.0)
    assert every.expected_gain == pytest.approx(expected, rel=0.03)
    assert sparse.result.expected_gain == pytest.approx(expected, rel=0.15)


def test_a_long_curve_is_kept_in_bounded_memory_and_still_judged() -> None:
    fold = Plateau(replace(EQUIVALENCE, warm_up_steps=0))
    for step in range(20_000):
        fold.update(step, 3.0 * math.exp(-1e-5 * step))
    assert fold.result.expected_gain == pytest.approx(-math.expm1(-1e-5 * 5000.0), rel=0.03)
    assert fold.result.steps == pytest.approx(5000, rel=0.03)


def test_losses_of_zero_or_less_have_no_relative_gain() -> None:
    result = found([-1.0] * 200, EQUIVALENCE)
    assert (result.plateau, result.why) == (None, "a loss of zero or less has no logarithm, so no relative gain")
    assert found([0.0] * 50, HALVES).plateau is None


@given(st.lists(st.floats(-10.0, 10.0), min_size=5, max_size=60))
def test_the_slope_is_that_of_least_squares(values: list[float]) -> None:
    x = np.arange(len(values), dtype=np.float64)
    line = slope_of(x, np.array(values))
    assert line is not None
    assert line.slope == pytest.approx(float(np.polyfit(x, values, 1)[0]), abs=1e-9)
    assert line.error >= 0.0


def test_the_error_covers_the_truth_and_grows_with_dependence() -> None:
    x = np.arange(200, dtype=np.float64)
    hits, errors = 0, []
    for seed in range(200):
        noise = np.random.default_rng(seed).standard_normal(200)
        line = slope_of(x, noise)
        assert line is not None
        hits += abs(line.slope) < 1.96 * line.error
        smooth = slope_of(x, np.convolve(noise, np.ones(4) / 2.0, "same"))
        assert smooth is not None
        errors.append(smooth.error / line.error)
    assert hits >= 175
    assert float(np.median(errors)) > 1.5


def test_points_of_one_step_have_no_slope() -> None:
    assert slope_of(np.ones(9), np.arange(9, dtype=np.float64)) is None


def test_a_slope_that_rises_by_noise_is_no_plateau() -> None:
    for seed in range(30):
        result = found(noisy(np.full(300, 0.005), seed, noise=0.3), EQUIVALENCE)
        assert result.expected_gain is not None
        assert not result.plateau
        assert result.rising == (result.expected_gain <= -EQUIVALENCE.min_gain)


def test_a_negative_gain_is_called_a_rise() -> None:
    rises = found(noisy(2.0 * np.exp(1e-3 * np.arange(1000)), 0), EQUIVALENCE)
    assert "raise it by 2" in rises.why
    assert "-" not in rises.why
    falls = found(noisy(2.0 * np.exp(-1e-3 * np.arange(1000)), 0), EQUIVALENCE)
    assert "lower it by 2" in falls.why

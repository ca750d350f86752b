"""The document about one curve: robust ends, noise that does not depend on how often one logs, and an honest sample."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from barograph.analysis.curve_parts import CurvePart, curve_of
from barograph.analysis.loss_curve import (
    CurveRule,
    LossCurve,
    convergence_v2,
    end_rise,
    loss_curve,
    sampled,
    smoothness_v2,
)
from barograph.analysis.spikes import SpikeRule
from barograph.analysis.trend import TrendRule

Floats = NDArray[np.float64]
RULE = CurveRule(
    rolling_window=10,
    spike_sigma=3.0,
    spikes=SpikeRule(window=50, min_window=20, sigma=7.0, min_ratio=1.10, tail=2.0, merge=5),
    trend=TrendRule(min_blocks=20, max_blocks=200, min_block=5, confidence=0.95),
    tail_share=0.25,
    loss_floor=0.01,
    rise_z=6.0,
)


def measured(losses: Floats, *, stride: int = 1, averaged: bool = False, metrics: tuple[str, ...] = ()) -> LossCurve:
    part = CurvePart(attempt=1, steps=stride * np.arange(1, len(losses) + 1), losses=losses)
    return loss_curve(curve_of([part], files=1, averaged=averaged, metrics=metrics), rule=RULE)


def decay(seed: int = 0, *, count: int = 1000, noise: float = 0.02) -> Floats:
    steps = np.arange(count)
    return (1.5 + 3.0 * np.exp(-steps / 200.0)) * (1.0 + noise * np.random.default_rng(seed).standard_normal(count))


def test_a_single_wild_first_or_last_point_moves_the_robust_ratio_little() -> None:
    losses = decay()
    wild = losses.copy()
    wild[[0, -1]] = 25.0
    assert convergence_v2(wild) == pytest.approx(convergence_v2(losses), rel=0.01)
    assert measured(wild).convergence_ratio == 1.0  # as the seed has it


@pytest.mark.parametrize("tau", [300.0, 1000.0, 6000.0])
def test_the_smoothness_of_means_depends_little_on_how_many_are_averaged(tau: float) -> None:
    steps = np.arange(20_000)
    losses = 1.5 + 3.0 * np.exp(-steps / tau) + 0.5 * np.random.default_rng(0).standard_normal(20_000)
    each = measured(losses, averaged=True).smoothness_v2
    for cadence in (5, 10, 50):
        means = losses.reshape(-1, cadence).mean(axis=1)
        found = measured(means, stride=cadence, averaged=True)
        assert found.cadence == cadence
        assert found.smoothness_v2 == pytest.approx(each, abs=0.08)


def test_the_smoothness_of_noise_is_none_and_of_a_clean_curve_all() -> None:
    assert smoothness_v2(decay(noise=0.0), cadence=1) > 0.999
    assert smoothness_v2(2.0 + 0.1 * np.random.default_rng(0).standard_normal(4000), cadence=1) < 0.05
    assert smoothness_v2(np.full(100, 2.0), cadence=1) == 0.0


def test_a_curve_that_ends_above_what_it_had_been_says_how_far() -> None:
    rising = np.concatenate([decay(noise=0.01)[:900], np.linspace(1.6, 8.0, 100)])
    found = end_rise(rising, floor=0.0, z=6.0)
    assert found is not None
    assert found.ratio > 4.0
    assert found.deviations > 20.0
    assert found.of_peak > 0.8
    again = end_rise(np.concatenate([np.full(300, 0.3), np.full(300, 1.3), np.full(300, 0.5)]), floor=0.0, z=6.0)
    assert again is not None
    assert again.ratio == pytest.approx(0.5 / 0.3)
    assert again.of_peak == pytest.approx(0.5 / 1.3)


@pytest.mark.parametrize("last", [5, 10, 20, 60, 200])
@pytest.mark.parametrize("count", [100, 1000])
def test_a_divergence_is_seen_however_soon_the_run_was_stopped(count: int, last: int) -> None:
    if last >= count:
        return
    losses = 1.6 * (1.0 + 0.02 * np.random.default_rng(0).standard_normal(count))
    losses[-last:] = np.linspace(1.7, 8.1, last)
    found = end_rise(losses, floor=0.01, z=6.0)
    assert found is not None
    assert found.ratio > 1.5
    assert found.deviations > 6.0


def test_a_curve_of_a_few_points_can_diverge_too() -> None:
    found = end_rise(
        np.array([2.0, 1.8, 1.6, 1.5, 1.4, 1.35, 1.3, 1.25, 1.22, 1.2, 1.2, 1.2, 50.0, 1e4, 1e5, 1e6]),
        floor=0.01,
        z=6.0,
    )
    assert found is not None
    assert found.ratio > 1000.0


def test_noise_alone_does_not_rise() -> None:
    for seed in range(50):
        for noise in (0.02, 0.1, 0.4):
            flat = 2.0 * np.exp(noise * np.random.default_rng(seed).standard_normal(400))
            found = end_rise(flat, floor=0.01, z=6.0)
            assert found is not None
            assert found.deviations < 6.0


def test_below_the_floor_losses_are_as_good_as_each_other() -> None:
    found = end_rise(np.concatenate([np.geomspace(2.0, 1e-4, 500), np.full(500, 4e-4)]), floor=0.01, z=6.0)
    assert found is not None
    assert found.ratio < 1.1


def test_constant_losses_have_no_rise_and_nothing_is_divided_by_zero() -> None:
    found = end_rise(np.full(50, 2.0), floor=0.01, z=6.0)
    assert found is not None
    assert (found.ratio, found.deviations) == (1.0, 0.0)
    assert end_rise(np.full(9, 2.0), floor=0.01, z=6.0) is None
    assert end_rise(np.full(50, -1.0), floor=0.01, z=6.0) is None


def test_too_few_points_have_no_ratio_and_not_one_of_zero() -> None:
    assert math.isnan(convergence_v2(np.ones(4)))
    assert math.isnan(smoothness_v2(np.ones(3), cadence=1))
    assert math.isnan(convergence_v2(np.empty(0)))


def test_losses_that_are_no_numbers_are_counted_located_and_kept() -> None:
    losses = decay()
    losses[[100, 400]] = [math.nan, math.inf]
    found = measured(losses)
    assert (found.losses.non_finite, found.non_finite_steps, found.non_finite_tail) == (2, [101, 401], False)
    losses[-1] = math.nan
    assert measured(losses).non_finite_tail
    gone = measured(np.full(50, math.nan))
    assert gone.losses.non_finite == 50
    assert math.isnan(gone.convergence_v2)
    assert gone.trend.word == "unknown"


def test_losses_of_exactly_zero_are_noticed() -> None:
    losses = decay()
    losses[[7, 9]] = 0.0
    assert (measured(losses).zero_loss, measured(losses).zero_loss_step) == (2, 8)


@pytest.mark.parametrize("name", ["reward", "train/reward", "rewards/format", "kl", "train/rewards/accuracy"])
def test_a_run_that_logs_rewards_is_not_judged_by_its_loss(name: str) -> None:
    found = measured(decay(), metrics=("lr", name))
    assert found.not_applicable == (
        f"the run logs {name}: in reinforcement learning the loss does not measure progress"
    )
    assert measured(decay(), metrics=("lr", "weird_reward_less")).not_applicable is None


def test_the_sample_keeps_ends_extremes_and_what_is_no_number() -> None:
    losses = decay(count=10_000)
    losses[3333], losses[7777], losses[5555] = 99.0, 0.001, math.nan
    points = dict(sampled(np.arange(10_000), losses, most=512))
    assert len(points) <= 512
    assert {0, 9999, 3333, 7777, 5555} <= set(points)


@given(
    st.lists(st.one_of(st.floats(0.0, 9.0), st.just(math.nan), st.just(-math.inf)), min_size=1, max_size=200),
    st.integers(8, 64),
)
def test_a_sample_is_of_the_curve_in_order_and_never_too_long(losses: list[float], most: int) -> None:
    steps, values = 3 * np.arange(len(losses)), np.array(losses)
    points = sampled(steps, values, most=most)
    assert len(points) <= most
    assert [step for step, _ in points] == sorted({step for step, _ in points})
    for step, loss in points:
        assert np.array_equal([loss], [values[step // 3]], equal_nan=True)
    assert points[0][0] == 0
    assert points[-1][0] == steps[-1]
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad) <= most - 2:
        assert {3 * int(place) for place in bad} <= {step for step, _ in points}
    finite = values[np.isfinite(values)]
    if len(bad) <= most - 4 and len(finite):
        assert {finite.min(), finite.max()} <= {loss for _, loss in points}


def test_512_points_of_1024_are_512_and_not_513() -> None:
    assert len(sampled(np.arange(1024), decay(count=1024), most=512)) == 512

"""Divergence: noise and falling losses have none, a loss that stays above where it was is found, and one that comes
back is over."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from barograph.analysis.divergence import Divergence, DivergenceRule, Rise

Floats = NDArray[np.float64]
RULE = DivergenceRule(
    first=3,
    start_losses=40,
    start_ratio=1.15,
    surge=10.0,
    min_recent=15,
    recent=20,
    block=50,
    rise_ratio=1.03,
    sigma=7.0,
    min_rise=0.02,
)


def rises(losses: Floats | list[float], norms: list[float] | None = None) -> list[Rise | None]:
    """What has risen after each loss."""
    fold, found = Divergence(RULE), []
    for step, loss in enumerate(losses):
        fold.update(step, float(loss), None if norms is None else norms[step])
        found.append(fold.rise)
    return found


def first_of(found: list[Rise | None]) -> int | None:
    return next((step for step, rise in enumerate(found) if rise is not None), None)


def noisy(level: Floats, *, seed: int, noise: float) -> Floats:
    return level * (1.0 + noise * np.random.default_rng(seed).standard_normal(len(level)))


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_flat_gaussian_noise_never_diverges_in_40_curves_of_500_losses(noise: float) -> None:
    assert [first_of(rises(noisy(np.full(500, 2.0), seed=seed, noise=noise))) for seed in range(40)] == [None] * 40


@given(seed=st.integers(0, 10_000), power=st.floats(0.1, 0.6), noise=st.floats(0.0, 0.1))
def test_a_power_law_never_diverges(seed: int, power: float, noise: float) -> None:
    level = 1.5 + 9.5 * (1.0 + np.arange(400) / 20.0) ** -power
    assert first_of(rises(noisy(level, seed=seed, noise=noise))) is None


@given(rise=st.floats(0.0, 0.08), steps=st.integers(10, 40))
def test_a_loss_that_rises_a_little_while_it_warms_up_does_not_diverge(rise: float, steps: int) -> None:
    up = np.linspace(1.0, 1.0 + rise, steps)
    level = 7.0 * np.concatenate([up, up[-1] * np.exp(-np.arange(200) / 40.0)])
    assert first_of(rises(noisy(level, seed=steps, noise=0.01))) is None


@given(seed=st.integers(0, 500), height=st.floats(1.5, 30.0), place=st.integers(5, 290))
def test_a_single_spike_is_no_divergence(seed: int, height: float, place: int) -> None:
    losses = noisy(np.full(300, 2.0), seed=seed, noise=0.02)
    losses[place] *= height
    assert first_of(rises(losses)) is None


@given(factor=st.floats(1.3, 5.0), seed=st.integers(0, 500))
def test_a_loss_that_jumps_after_its_first_three_and_stays_is_found_within_twenty(factor: float, seed: int) -> None:
    level = np.where(np.arange(60) < 3, 4.0, 4.0 * factor)
    found = rises(noisy(level, seed=seed, noise=0.02))
    assert first_of(found) == 3 + RULE.min_recent - 1
    (rise,) = {one.above for one in found if one is not None}
    assert rise == "start"


def test_one_sound_loss_is_enough_only_where_the_gradients_rose_too() -> None:
    losses = [4.65, 6.34, 7.08, 7.77, 7.4, 7.93, 6.78, 7.03, 8.46, 6.6, 6.11, 7.01, 6.59, 5.13, 6.11, 6.79, 5.36, 6.56]
    surge = [16.0, 22.0, 17.0, 93.0, 48.0, 25.0, 15.0, 12.0, 423.0] + [20.0] * 9
    calm = [16.0] * 18
    assert first_of(rises(losses)) is None
    assert first_of(rises(losses, calm)) is None
    found = rises(losses, surge)
    assert first_of(found) == 15
    rise = found[15]
    assert rise is not None
    assert (rise.level, rise.level_losses, rise.losses) == (4.65, 1, 15)
    assert rise.surge == pytest.approx(423.0 / 16.0)


@pytest.mark.parametrize(("factor", "noise", "within"), [(1.05, 0.01, 25), (1.3, 0.1, 35), (3.0, 0.2, 25)])
def test_a_lasting_rise_on_the_way_is_found_and_never_before_it(factor: float, noise: float, within: int) -> None:
    for seed in range(30):
        level = np.where(np.arange(400) < 200, 2.0, 2.0 * factor)
        at = first_of(rises(noisy(level, seed=seed, noise=noise)))
        assert at is not None
        assert 200 <= at < 200 + within


def test_the_standard_errors_are_those_of_welch_where_neighbours_are_not_alike() -> None:
    losses = noisy(np.where(np.arange(140) < 100, 2.0, 2.6), seed=1, noise=0.05)
    losses[50:100:2], losses[51:100:2] = np.sort(losses[50:100])[:25], np.sort(losses[50:100])[25:][::-1]
    losses[:50] += 1.0
    found = rises(losses)
    at = first_of(found)
    assert at is not None
    rise = found[at]
    assert rise is not None
    assert (rise.above, rise.level_step) == ("lowest", 99)
    newest = losses[at + 1 - rise.losses : at + 1]
    oracle = ttest_ind(newest, losses[50:100], equal_var=False).statistic
    assert rise.sigma == pytest.approx(float(oracle), rel=1e-9)


def test_losses_that_are_alike_count_for_fewer() -> None:
    random, alarms = np.random.default_rng(0), 0
    for _ in range(40):
        shocks, level = 0.04 * random.standard_normal(500), np.empty(500)
        level[0] = 0.0
        for step in range(1, 500):
            level[step] = 0.5 * level[step - 1] + shocks[step]
        alarms += first_of(rises(2.0 * (1.0 + level))) is not None
    assert alarms <= 2


def test_a_loss_that_comes_back_is_over_and_may_rise_again() -> None:
    level = np.concatenate([np.full(100, 2.0), np.full(60, 3.0), np.full(100, 2.0), np.full(60, 3.0)])
    on = [rise is not None for rise in rises(noisy(level, seed=3, noise=0.01))]
    changes = [step for step in range(1, len(on)) if on[step] != on[step - 1]]
    assert len(changes) == 3
    assert 100 < changes[0] < 125
    assert 160 < changes[1] <= 180 + 1
    assert 260 < changes[2] < 285


@given(
    places=st.sets(st.integers(0, 119), max_size=30),
    what=st.sampled_from([math.nan, math.inf, -math.inf]),
    seed=st.integers(0, 50),
)
def test_what_is_no_number_changes_nothing(places: set[int], what: float, seed: int) -> None:
    losses = noisy(np.where(np.arange(120) < 60, 2.0, 3.0), seed=seed, noise=0.02).tolist()
    with_them, without = Divergence(RULE), Divergence(RULE)
    for step, loss in enumerate(losses):
        if step in places:
            with_them.update(step, what)
        with_them.update(step, loss)
        without.update(step, loss)
        assert (with_them.rise, with_them.unknown) == (without.rise, without.unknown)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200), st.floats())
def test_whatever_comes_in_nothing_is_raised(losses: list[float], norm: float) -> None:
    fold = Divergence(replace(RULE, block=20))
    for step, loss in enumerate(losses):
        fold.update(step, loss, norm)
        assert fold.rise is None or fold.rise.mean > fold.rise.level


def test_what_cannot_be_said_says_why() -> None:
    fold = Divergence(RULE)
    for step in range(RULE.first + RULE.min_recent):
        assert fold.unknown == "fewer than 18 losses are known"
        fold.update(step, 2.0)
    assert not fold.unknown
    fold.update(18, 0.0)
    assert "zero or less" in fold.unknown
    for step in range(RULE.recent):
        fold.update(19 + step, 2.0)
    assert not fold.unknown


def test_a_rise_of_next_to_nothing_is_none() -> None:
    assert first_of(rises([0.001] * 100 + [0.01] * 100)) is None
    at = first_of(rises([1.0] * 100 + [1.1] * 100))
    assert at is not None
    assert 100 < at < 120

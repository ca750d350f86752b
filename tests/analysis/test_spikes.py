"""Spikes: the fold and the whole curve agree, noise has none, real jumps are found and are one episode each."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from barograph.analysis.spikes import SpikeRule, Spikes, median, spikes

Floats = NDArray[np.float64]
RULE = SpikeRule(window=50, min_window=20, sigma=7.0, min_ratio=1.10, tail=2.0, merge=5)
SMALL = SpikeRule(window=8, min_window=4, sigma=3.0, min_ratio=1.05, tail=1.5, merge=2)


def decay(seed: int, *, noise: float = 0.02, count: int = 1000) -> Floats:
    steps = np.arange(count)
    return (1.5 + 3.0 * np.exp(-steps / 200.0)) * (1.0 + noise * np.random.default_rng(seed).standard_normal(count))


def found(losses: Floats, rule: SpikeRule = RULE) -> list[tuple[int, int]]:
    return [(one.first_step, one.last_step) for one in spikes(np.arange(len(losses)), losses, rule=rule)]


@given(
    st.lists(
        st.one_of(st.floats(-3.0, 9.0), st.floats(0.5, 2.0), st.sampled_from([0.0, 1.0, math.nan, math.inf])),
        max_size=60,
    )
)
def test_point_by_point_gives_the_episodes_of_the_whole_curve(losses: list[float]) -> None:
    fold = Spikes(SMALL)
    hits = [fold.update(step, loss) for step, loss in enumerate(losses)]
    whole = spikes(np.arange(len(losses)), np.array(losses), rule=SMALL)
    assert fold.episodes == whole
    assert sum(hits) == sum(one.hits for one in whole)


@pytest.mark.parametrize("seed", range(3))
def test_also_on_long_curves_where_candidates_are_sought_first(seed: int) -> None:
    losses = decay(seed, noise=0.08, count=3000)
    losses[[700, 701, 1500]] *= 3.0
    fold = Spikes(RULE)
    for step, loss in enumerate(losses.tolist()):
        fold.update(step, loss)
    assert fold.episodes == spikes(np.arange(3000), losses, rule=RULE)


def test_gaussian_noise_has_no_spikes_in_40_curves_of_500_steps() -> None:
    for seed in range(40):
        flat = 2.5 * (1.0 + 0.05 * np.random.default_rng(seed).standard_normal(500))
        assert found(flat) == []


@pytest.mark.parametrize("ratio", [1.15, 1.3, 3.0])
def test_a_jump_is_found_where_it_is(ratio: float) -> None:
    hits = 0
    for seed in range(100):
        losses = decay(seed, noise=0.01)
        place = 100 + 8 * seed
        losses[place] *= ratio
        hits += (place, place) in found(losses)
    assert hits >= 95


def test_a_level_shift_and_a_divergence_are_one_episode_each() -> None:
    shift = decay(1)
    shift[600:] *= 2.0
    assert [first for first, _ in found(shift)] == [600]
    ramp = np.concatenate([decay(2)[:500], 2.0 * np.exp(np.linspace(0.1, 3.1, 60))])
    episodes = found(ramp)
    assert len(episodes) == 1
    assert 500 <= episodes[0][0] <= 510


def with_modes(seed: int, *, share: float, height: float = 2.0) -> Floats:
    """A mixture of tasks: some losses lie about another level."""
    random = np.random.default_rng(seed)
    high = random.random(500) < share
    return np.where(high, height, 1.0) * (1.0 + 0.05 * random.standard_normal(500))


def test_a_second_mode_of_the_noise_is_no_spike() -> None:
    for share, most in ((0.2, 2), (0.1, 40)):
        assert sum(len(found(with_modes(seed, share=share))) for seed in range(40)) <= most


def test_noise_with_a_heavy_tail_has_a_spike_in_five_hundred_at_most() -> None:
    curves = [
        2.0 * np.clip(1.0 + 0.03 * np.random.default_rng(seed).standard_t(3, 500), 0.05, None) for seed in range(40)
    ]
    assert sum(len(found(curve)) for curve in curves) <= 40


@given(seed=st.integers(0, 200), height=st.floats(1.5, 10.0))
def test_a_spike_above_the_second_mode_is_found_and_one_no_higher_than_it_is_not(seed: int, height: float) -> None:
    losses = with_modes(seed, share=0.0)
    losses[300:350:7] *= height
    losses[350] = 3.0 * height**2
    firsts = [first for first, _ in found(losses)]
    assert 350 in firsts
    assert len(firsts) <= 4, "the first two of them, before they are known to come again"


def test_the_newest_spike_does_not_hide_the_next_and_two_older_ones_do() -> None:
    losses = np.full(200, 2.0)
    losses[[100, 120, 140]] = 4.0
    assert found(losses) == [(100, 100), (120, 120)]
    losses[140] = 9.0
    assert found(losses) == [(100, 100), (120, 120), (140, 140)]


def test_a_spike_tells_its_peak_and_what_was_expected() -> None:
    losses = np.full(100, 2.0)
    losses[60:63] = [3.0, 5.0, 4.0]
    (one,) = spikes(10 * np.arange(100), losses, rule=RULE)
    assert (one.first_step, one.last_step, one.hits, one.peak_step, one.peak) == (600, 620, 3, 610, 5.0)
    assert one.expected == pytest.approx(2.0)


def test_a_fall_is_no_spike_and_neither_is_a_loss_that_is_no_number() -> None:
    losses = decay(3)
    losses[500] /= 10.0
    losses[700] = math.nan
    losses[800] = math.inf
    assert found(losses) == []


def test_a_small_rise_on_a_curve_without_noise_is_none() -> None:
    losses = np.full(200, 2.0)
    losses[100] = 2.19
    assert found(losses) == []
    losses[160] = 2.21
    assert found(losses) == [(160, 160)]


def test_losses_that_go_below_zero_are_judged_by_their_differences() -> None:
    losses = -1.0 + 0.01 * np.random.default_rng(0).standard_normal(200)
    losses[120] = 0.5
    assert (120, 120) in found(losses)


def test_too_few_points_say_nothing() -> None:
    assert found(np.array([1.0] * 19 + [50.0])) == []
    assert found(np.array([1.0] * 20 + [50.0])) == [(20, 20)]
    assert found(np.empty(0)) == []


def test_an_episode_goes_on_until_so_many_points_were_no_hits() -> None:
    fold, firing = Spikes(RULE), []
    for step, loss in enumerate([*([2.0] * 60), 9.0, *([2.0] * 10)]):
        fold.update(step, loss)
        firing.append(fold.firing)
    assert firing == [False] * 60 + [True] * RULE.merge + [False] * (11 - RULE.merge)


@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=60))
def test_the_median_is_that_of_numpy_to_the_bit(values: list[float]) -> None:
    assert median(np.array(values)) == np.median(values)
    assert math.isnan(median(np.array([*values, math.nan])))

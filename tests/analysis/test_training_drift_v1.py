"""The seed's five numbers, against its algorithm typed out again in plain loops."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barograph.analysis.training_drift_v1 import steep_rises, training_drift_v1

Floats = NDArray[np.float64]


def plain_rises(deltas: list[float], *, window: int, sigma: float) -> int:
    """Every rise beside the median of its neighbours' sizes, one at a time."""
    if not deltas:
        return 0
    if len(deltas) < window:
        typical = statistics.median(abs(delta) for delta in deltas)
        return 0 if typical == 0 else sum(delta > 0 and delta > sigma * typical for delta in deltas)
    count = 0
    for place, delta in enumerate(deltas):
        if delta > 0:
            near = range(max(0, place - window // 2), min(len(deltas), place + window // 2 + 1))
            others = [abs(deltas[other]) for other in near if other != place] or [abs(delta)]
            typical = statistics.median(others)
            count += typical == 0 or delta > sigma * typical
    return count


def plain_numbers(losses: list[float], *, window: int, sigma: float) -> tuple[float, float, float, float, int]:
    """final, initial, ratio, smoothness, events."""
    bad = sum(not math.isfinite(loss) for loss in losses)
    good = [loss for loss in losses if math.isfinite(loss)]
    if not good:
        return math.nan, math.nan, math.nan, 0.0, len(losses)
    filled, last = [], good[0]
    for loss in losses:
        last = loss if math.isfinite(loss) else last
        filled.append(last)
    deltas = [after - before for before, after in pairwise(filled)]
    spread = float(np.asarray(filled).var())
    jitter = float(np.asarray(deltas).var()) if deltas else 0.0
    smooth = max(0.0, 1.0 - jitter / spread) if spread > 0 else 0.0
    ratio = filled[-1] / filled[0] if filled[0] != 0 else math.inf
    return filled[-1], filled[0], ratio, smooth, bad + plain_rises(deltas, window=window, sigma=sigma)


def numbers(losses: Floats, *, window: int, sigma: float) -> tuple[float, float, float, float, int]:
    found = training_drift_v1(losses, rolling_window=window, spike_sigma=sigma)
    return (
        found.final_loss,
        found.initial_loss,
        found.convergence_ratio,
        found.smoothness,
        found.instability_events,
    )


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


LOSSES = st.one_of(
    st.floats(-10.0, 20.0, allow_nan=False),
    st.sampled_from([0.0, 1.0, 2.5, math.nan, math.inf, -math.inf]),
    st.floats(1e-6, 1e3),
)


@settings(max_examples=300)
@given(st.lists(LOSSES, min_size=1, max_size=80), st.integers(2, 25), st.sampled_from([0.5, 1.0, 3.0, 6.0]))
def test_any_curve_gives_the_numbers_of_the_plain_algorithm_bit_for_bit(
    losses: list[float], window: int, sigma: float
) -> None:
    found = numbers(np.array(losses), window=window, sigma=sigma)
    plain = plain_numbers(losses, window=window, sigma=sigma)
    assert all(map(same, found, plain)), (found, plain)


def curve(name: str, seed: int, count: int = 400) -> Floats:
    """Curves as training leaves them."""
    random, steps = np.random.default_rng(seed), np.arange(count)
    noise = random.standard_normal(count)
    shapes = {
        "exponential": 1.5 + 3.0 * np.exp(-steps / 80.0) + 0.02 * noise,
        "power law": 1.5 + 9.0 * (1.0 + steps) ** -0.4 + 0.05 * noise,
        "flat": np.full(count, 2.25),
        "quantised": np.round(2.0 + 0.0002 * noise, 4),
        "diverging": 1.6 * np.exp(steps / 200.0) + 0.02 * noise,
        "spiky": 2.0 + np.where(random.random(count) < 0.05, 3.0, 0.0) + 0.02 * noise,
        "through zero": 0.1 * noise,
        "level shift": np.where(steps < count // 2, 1.0, 9.0),
        "with NaN": np.where(random.random(count) < 0.1, np.nan, 2.0 + 0.1 * noise),
    }
    return shapes[name]


@pytest.mark.parametrize(
    "name",
    [
        *("exponential", "power law", "flat", "quantised", "diverging", "spiky", "through zero", "level shift"),
        "with NaN",
    ],
)
@pytest.mark.parametrize("window", [2, 3, 10, 11, 400])
def test_curves_of_every_shape(name: str, window: int) -> None:
    for seed in range(5):
        losses = curve(name, seed)
        found = numbers(losses, window=window, sigma=3.0)
        plain = plain_numbers(losses.tolist(), window=window, sigma=3.0)
        assert all(map(same, found, plain)), (seed, found, plain)


def test_golden_numbers_by_hand() -> None:
    assert numbers(np.array([4.0, 2.0, 1.0]), window=10, sigma=3.0) == (1.0, 4.0, 0.25, 1.0 - 0.25 / (14 / 9), 0)
    assert numbers(np.array([2.0] * 5), window=10, sigma=3.0) == (2.0, 2.0, 1.0, 0.0, 0)
    assert numbers(np.array([0.0, 1.0]), window=10, sigma=3.0)[2] == math.inf
    assert numbers(np.array([math.nan] * 3), window=10, sigma=3.0)[4] == 3


def test_the_oddities_of_the_seed_are_kept() -> None:
    short, long = np.array([1.0] * 5 + [9.0] * 4), np.array([1.0] * 20 + [9.0] * 20)
    assert numbers(short, window=10, sigma=3.0)[4] == 0
    assert numbers(long, window=10, sigma=3.0)[4] == 1
    assert numbers(np.array([-0.1, 5.0]), window=10, sigma=3.0)[2] == -50.0
    gap = np.array([math.nan, 3.0, math.nan, 5.0])
    assert numbers(gap, window=10, sigma=3.0)[1] == 3.0  # the first is filled from what follows


def test_a_window_of_ten_and_of_eleven_are_the_same_one() -> None:
    losses = curve("spiky", 3)
    assert numbers(losses, window=10, sigma=3.0) == numbers(losses, window=11, sigma=3.0)


def test_no_deltas_no_rises() -> None:
    assert steep_rises(np.empty(0), window=10, sigma=3.0) == 0

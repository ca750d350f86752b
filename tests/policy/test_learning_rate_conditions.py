"""Learning rates out of range, and how far a schedule has come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.policy import load
from barograph.policy.learning_rate_conditions import learning_rate_high, learning_rate_low, schedule_after

OURS, SEED = load("default").alerts, load("contract").alerts


@given(rates=st.lists(st.floats(0.0, 1.0), min_size=1))
def test_the_peak_is_the_greatest_so_far(rates: list[float]) -> None:
    schedule = None
    for step, rate in enumerate(rates):
        schedule = schedule_after(schedule, step, rate)
        schedule = schedule_after(schedule, step, math.nan)
    assert schedule is not None
    assert (schedule.step, schedule.rate, schedule.peak) == (len(rates) - 1, rates[-1], max(rates))
    assert schedule.share == pytest.approx(rates[-1] / max(rates)) if max(rates) else math.isnan(schedule.share)


@pytest.mark.parametrize(("rate", "seen"), [(1e-2, False), (1.1e-2, True), (math.inf, True), (math.nan, None)])
def test_a_high_rate(rate: float, seen: bool | None) -> None:
    assert learning_rate_high(1, rate, table=SEED.learning_rate_high).seen is seen


@pytest.mark.parametrize(
    ("step", "rate", "total", "seen"),
    [
        (1000, 1e-7, None, False),
        (1001, 1e-7, None, True),
        (1001, 1e-6, None, False),
        (1001, 1e-7, 1001, False),
        (1001, 1e-7, 2000, True),
        (1001, math.nan, None, None),
    ],
)
def test_a_low_rate_by_the_seed(step: int, rate: float, total: int | None, seen: bool | None) -> None:
    assert learning_rate_low(step, rate, total_steps=total, table=SEED.learning_rate_low).seen is seen


@pytest.mark.parametrize("peak", [5e-7, 1e-5, 2e-4])
def test_an_ordinary_cosine_is_never_too_low(peak: float) -> None:
    total = 5_000
    found = {
        learning_rate_low(
            step, peak * 0.5 * (1 + math.cos(math.pi * step / total)), total_steps=total, table=OURS.learning_rate_low
        ).seen
        for step in range(total + 1)
    }
    assert found == {False}
    assert learning_rate_low(2_000, 0.0, total_steps=total, table=OURS.learning_rate_low).seen

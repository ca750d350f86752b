"""Learning rates out of range, and how far a schedule has come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.policy import load
from barograph.policy.checked import Checked
from barograph.policy.learning_rate_conditions import (
    learning_rate_high,
    learning_rate_low,
    learning_rate_zero,
    schedule_after,
)

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
    assert learning_rate_low(2_000, 1e-9, total_steps=total, table=OURS.learning_rate_low).seen
    assert learning_rate_low(2_000, 0.0, total_steps=total, table=OURS.learning_rate_low).seen is False, (
        "said elsewhere"
    )


def zeros(first: int, last: int, *, total: int | None, before: float = 0.0) -> Checked:
    """What is said of a rate of zero from one step to another."""
    schedule = schedule_after(None, first - 1, before) if first > 1 else None
    for step in range(first, last + 1):
        schedule = schedule_after(schedule, step, 0.0)
    return learning_rate_zero(last, 0.0, schedule, total_steps=total, table=OURS.learning_rate_zero)


@given(first=st.integers(1, 3000), steps=st.integers(0, 100), total=st.none() | st.integers(1, 3000))
def test_a_rate_of_zero_is_told_after_so_many_steps_unless_it_came_with_the_end(
    first: int, steps: int, total: int | None
) -> None:
    found = zeros(first, first + steps, total=total, before=1e-4)
    at_the_end = total is not None and first >= 0.9 * total
    assert found.seen == (steps >= OURS.learning_rate_zero.steps and not at_the_end)
    if found.seen:
        assert found.title == f"The learning rate is 0 since step {first}"


def test_a_rate_of_zero_says_whether_it_was_ever_more_and_ends_with_another() -> None:
    assert "since step 1 and was never more" in zeros(1, 30, total=1200).text
    assert "never more" not in zeros(10, 60, total=None, before=1e-4).text
    table = OURS.learning_rate_zero
    schedule = schedule_after(schedule_after(None, 1, 0.0), 40, 1e-5)
    assert learning_rate_zero(40, 1e-5, schedule, total_steps=None, table=table).seen is False
    assert learning_rate_zero(40, math.nan, schedule, total_steps=None, table=table).seen is None


@pytest.mark.parametrize("steps", [[1, 2, 3], [0, 1, 2], [10, 20, 30], [500, 1000, 1500]])
def test_a_schedule_that_is_logged_from_its_first_steps_on_is_whole(steps: list[int]) -> None:
    schedule = None
    for step in steps:
        schedule = schedule_after(schedule, step, 1e-4)
    assert schedule is not None
    assert schedule.whole
    assert schedule.steady


@pytest.mark.parametrize("steps", [[11, 12, 13], [2, 3, 4], [20, 30, 40], [1500, 2000]])
def test_a_schedule_that_goes_on_from_a_checkpoint_is_not_whole_and_never_steady(steps: list[int]) -> None:
    schedule = None
    for step in steps:
        schedule = schedule_after(schedule, step, 1e-4)
    assert schedule is not None
    assert not schedule.whole
    assert not schedule.steady

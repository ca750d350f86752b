"""Measurements take their share of the wall time and no more, as often as that allows."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.collect.time_budget import LONGEST_WAIT, SHARE, TimeBudget, threads_seconds


@settings(deadline=None, max_examples=50)
@given(
    cost=st.floats(1e-5, 0.05),
    wall=st.floats(0.01, 3.0),
    fixed=st.floats(0.0, 0.004),
    part=st.floats(0.2, 1.0),
)
def test_what_is_spent_in_the_long_run_is_the_share(cost: float, wall: float, fixed: float, part: float) -> None:
    budget = TimeBudget({"layers": part})
    steps = 4_000
    made = 0
    for _ in range(steps):
        if budget.due("layers"):
            made += 1
            budget.measured("layers", cost)
        budget.spend(fixed * wall)
        budget.step(wall)
    allowed = part * (SHARE - fixed) * wall * steps
    assert budget.overhead_share == pytest.approx((made * cost + fixed * wall * steps) / (wall * steps))
    # One is made before a cost is known, and one is made every so many steps whatever it costs.
    assert made * cost <= allowed + (3 + steps / LONGEST_WAIT) * cost
    assert made * cost >= min(0.9 * allowed, 0.9 * steps * cost) - 3 * cost


def test_a_measurement_that_becomes_dear_is_made_less_often_and_a_cheap_one_again_more() -> None:
    budget = TimeBudget({"layers": 1.0})
    made = []
    for cost in (0.0001, 0.02, 0.0001):
        count = 0
        for _ in range(1_000):
            if budget.due("layers"):
                count += 1
                budget.measured("layers", cost)
            budget.step(0.1)
        made.append(count)
    assert made[0] > 900
    assert made[1] < 70
    assert made[2] > 900


def test_what_a_device_needs_counts_where_it_is_more() -> None:
    budget = TimeBudget({"layers": 1.0})
    made = 0
    for _ in range(1_000):
        if budget.due("layers"):
            made += 1
            budget.measured("layers", 0.0001, on_device_s=0.01)
        budget.step(0.1)
    assert made < 120


def test_the_time_of_threads_is_paid_from_the_same_purse() -> None:
    budget = TimeBudget({"layers": 1.0})
    made = 0
    for number in range(2_000):
        budget.threads_s = number * (SHARE * 0.1 - 0.0001)
        if budget.due("layers"):
            made += 1
            budget.measured("layers", 0.001)
        budget.step(0.1)
    assert 150 < made < 260
    assert budget.overhead_share is not None
    assert 0.9 * SHARE < budget.overhead_share <= 1.05 * SHARE


def test_where_nothing_is_left_a_measurement_is_still_made_now_and_then() -> None:
    budget = TimeBudget({"layers": 1.0})
    made = 0
    for _ in range(5 * LONGEST_WAIT):
        if budget.due("layers"):
            made += 1
            budget.measured("layers", 0.001)
        budget.spend(0.05)
        budget.step(0.1)
    assert 5 <= made <= 8


def test_no_share_is_known_before_the_first_step() -> None:
    assert TimeBudget({}).overhead_share is None


def test_the_time_of_our_threads_is_read_and_that_of_others_is_not() -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sum(range(1_000))

    before = threads_seconds()
    other = threading.Thread(target=work, name="theirs")
    ours = threading.Thread(target=work, name="barograph-test")
    other.start()
    try:
        stop.wait(0.1)
        assert threads_seconds() - before < 0.05
        ours.start()
        stop.wait(0.3)
        spent = threads_seconds() - before
    finally:
        stop.set()
        other.join()
        ours.join()
    assert 0.02 < spent < 0.4


def test_what_threads_take_is_charged_at_the_rate_of_lately_and_evened_out_at_each_look() -> None:
    """Looked at every hundredth step or at every step: as much is left for what is measured."""
    made = []
    for every in (1, 100):
        budget = TimeBudget({"layers": 1.0}, threads_rate=0.002)
        count = 0
        for number in range(5_000):
            if number % every == 0:
                budget.threads_s = number * 0.1 * 0.003
            if budget.due("layers"):
                count += 1
                budget.measured("layers", 0.001)
            budget.step(0.1)
        made.append(count)
    expected = 5_000 * 0.1 * (SHARE - 0.003) / 0.001
    assert made == [pytest.approx(expected, rel=0.1)] * 2

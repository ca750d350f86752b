"""A rest is as long as few entries take to come, one interval at least and four at most; a ring ends it."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from barograph.journal.rest import FEW, LONGEST, Rest


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_a_rest_stays_within_its_bounds_whatever_comes(entries: list[int]) -> None:
    rest = Rest(0.05)
    for count in entries:
        assert 0.05 <= rest.after(count) <= LONGEST * 0.05


@given(st.floats(0.1, 1_000.0), st.floats(0.001, 1.0))
def test_at_a_steady_rate_no_more_than_a_few_wait_or_one_interval(rate: float, interval: float) -> None:
    rest = Rest(interval)
    length = interval
    for _ in range(10):
        length = rest.after(int(rate * length))
    expected = min(max(FEW / rate, interval), LONGEST * interval)
    assert length <= 2.0 * expected, "a count is whole, a rate is not: it may be off by a few"


def test_after_a_rush_the_next_rest_is_one_interval() -> None:
    rest = Rest(0.05)
    assert [rest.after(0) for _ in range(3)] == [0.1, 0.2, 0.2]
    assert rest.after(FEW * LONGEST) == 0.05


def test_a_ring_ends_a_rest_and_one_before_it_is_not_forgotten() -> None:
    rest = Rest(0.05)
    rest.ring()
    rest.ring()
    began = time.monotonic()
    rest.take(20.0)
    threading.Timer(0.05, rest.ring).start()
    rest.take(20.0)
    assert time.monotonic() - began < 10.0
    rest.take(0.01)  # nobody rings: it ends by itself


def test_only_a_long_rest_is_cut_short() -> None:
    rest = Rest(0.05)
    rest.cut_short()
    began = time.monotonic()
    rest.take(0.1)
    assert time.monotonic() - began >= 0.1
    rest.after(0)
    rest.cut_short()
    rest.take(20.0)
    assert time.monotonic() - began < 10.0

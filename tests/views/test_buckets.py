"""Buckets: enough of them, never too many, and the same ones while a run grows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.rollup import rollup
from barograph.views.buckets import bucket_starts, bucket_width

STEPS = st.integers(0, 2**53)


def count(first: int, last: int, width: int) -> int:
    return last // width - first // width + 1


@given(STEPS, STEPS, st.integers(1, 4_000))
def test_there_are_never_more_buckets_than_asked_for(one: int, other: int, buckets: int) -> None:
    first, last = min(one, other), max(one, other)
    width = bucket_width(first, last, buckets=buckets)
    assert count(first, last, width) <= buckets


@given(st.integers(0, 10**9), st.integers(100, 4_000))
def test_at_most_a_quarter_of_the_buckets_is_left_over(last: int, buckets: int) -> None:
    width = bucket_width(0, last, buckets=buckets)
    if width > 3:
        assert count(0, last, width) >= 0.75 * buckets - 2


@given(st.integers(0, 10**6), st.integers(1, 4_000))
def test_a_short_series_has_one_bucket_per_step(first: int, buckets: int) -> None:
    assert bucket_width(first, first + buckets - 1, buckets=buckets) == 1


@given(st.integers(1, 10**6), st.integers(100, 4_000))
def test_a_growing_run_changes_its_width_rarely(start: int, buckets: int) -> None:
    lengths = [int(start * 1.02**power) for power in range(36)]  # twice as long in the end
    widths = [bucket_width(0, length, buckets=buckets) for length in lengths]
    assert widths == sorted(widths)
    assert len(set(widths)) <= 6


@settings(deadline=None)
@given(st.lists(st.integers(0, 1_000), max_size=60), st.integers(1, 100))
def test_rows_fall_into_the_buckets_of_their_first_steps(steps: list[int], width: int) -> None:
    at = np.array(sorted(steps), dtype=np.int64)
    starts = bucket_starts(rollup(at, np.zeros(len(at))), width=width)
    assert [one // width for one in at[starts].tolist()] == sorted({step // width for step in steps})

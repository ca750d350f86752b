"""So many at once, and then one for each span of time, whatever the clock does."""

import math

from hypothesis import given
from hypothesis import strategies as st

from barograph.policy.pace import Pace


@given(
    times=st.lists(st.floats(0.0, 1e4), max_size=200).map(sorted),
    burst=st.integers(1, 5),
    every_s=st.floats(0.1, 100.0),
)
def test_never_more_than_the_burst_and_one_for_each_span(times: list[float], burst: int, every_s: float) -> None:
    pace = Pace(burst=burst, every_s=every_s)
    allowed = [time for time in times if pace.may(time)]
    for first, begun in enumerate(allowed):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + (allowed[last] - begun) / every_s + 1e-6


def test_a_clock_that_is_set_back_fills_nothing_and_one_without_time_is_no_error() -> None:
    pace = Pace(burst=1, every_s=10.0)
    assert [pace.may(100.0), pace.may(50.0), pace.may(math.nan), pace.may(59.0), pace.may(61.0)] == [
        True,
        False,
        False,
        False,
        True,
    ]

"""Laws of the buckets: nothing that sticks out is lost."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from barograph.views.buckets import Buckets, bucketed

FLOATS = st.one_of(st.floats(-1e308, 1e308), st.sampled_from([math.nan, math.inf, -math.inf]))
POINTS = st.lists(st.tuples(st.integers(0, 5_000), FLOATS), max_size=120).map(
    lambda points: sorted(points, key=lambda point: point[0])
)
COUNTS = st.integers(1, 50)


def made(points: list[tuple[int, float]], buckets: int) -> Buckets:
    steps = np.array([step for step, _ in points], dtype=np.int64)
    return bucketed(steps, np.array([value for _, value in points], dtype=np.float64), buckets=buckets)


@given(POINTS, COUNTS)
def test_the_buckets_partition_the_points_in_order(points: list[tuple[int, float]], buckets: int) -> None:
    found = made(points, buckets)
    assert len(found.count) <= buckets
    assert found.count.sum() == len(points)
    assert all(found.count > 0)
    assert np.all(found.first <= found.step)
    assert np.all(found.step[:-1] < found.first[1:])


@given(POINTS, COUNTS)
def test_each_bucket_says_what_plain_python_says_of_its_points(points: list[tuple[int, float]], buckets: int) -> None:
    found = made(points, buckets)
    begin = 0
    for place, count in enumerate(found.count.tolist()):
        mine = points[begin : begin + count]
        begin += count
        finite = [value for _, value in mine if math.isfinite(value)]
        assert found.non_finite[place] == count - len(finite)
        assert (found.first[place], found.step[place], found.end[place]) == (mine[0][0], mine[-1][0], begin - 1)
        if not finite:
            assert math.isnan(found.minimum[place] + found.maximum[place] + found.mean[place] + found.last[place])
            continue
        assert (found.minimum[place], found.maximum[place]) == (min(finite), max(finite))
        assert found.last[place] == finite[-1]
        assert min(finite) <= found.mean[place] <= max(finite)
        wanted = math.fsum(value / len(finite) for value in finite)
        assert math.isclose(found.mean[place], wanted, rel_tol=1e-9, abs_tol=1e-9 * max(map(abs, finite)))


@given(POINTS, COUNTS)
def test_all_buckets_have_the_same_width_in_steps(points: list[tuple[int, float]], buckets: int) -> None:
    found = made(points, buckets)
    if points:
        origin, span = points[0][0], points[-1][0] - points[0][0] + 1
        width = -(-span // buckets)
        places = [(step - origin) // width for step, _ in points]
        assert [places.count(place) for place in sorted(set(places))] == found.count.tolist()


def test_fewer_steps_than_buckets_give_one_bucket_each() -> None:
    found = made([(5, 1.0), (6, 2.0), (9, 3.0)], 1_000)
    assert found.step.tolist() == [5, 6, 9]
    assert found.mean.tolist() == [1.0, 2.0, 3.0]


def test_the_greatest_steps_there_are_do_not_overflow() -> None:
    found = made([(0, 1.0), (2**63 - 1, 2.0)], 2)
    assert found.step.tolist() == [0, 2**63 - 1]

"""Laws of the algebra of spans: however points are grouped, the answer is that of all points at once."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barograph.analysis.rollup import (
    ALL,
    NOTHING,
    SMOOTHING,
    Carried,
    Rollup,
    averages,
    carried,
    combined,
    joined,
    rollup,
    thinned,
)

VALUES = st.one_of(
    st.floats(-1e3, 1e3),
    st.sampled_from(
        [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.7976931348623157e308, -1.7976931348623157e308, 5e-324]
    ),
)
SERIES = st.lists(VALUES, min_size=1, max_size=200)


def rows_of(values: list[float]) -> Rollup:
    return rollup(np.arange(len(values)), np.array(values))


def cuts(size: int, draw: st.DataObject) -> NDArray[np.intp]:
    inner = draw.draw(st.sets(st.integers(1, size - 1))) if size > 1 else set()
    return np.array([0, *sorted(inner)], dtype=np.intp)


def same(left: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(SERIES, st.data())
def test_a_row_says_of_its_points_what_numpy_says_of_them(values: list[float], data: st.DataObject) -> None:
    starts = cuts(len(values), data)
    found = combined(rows_of(values), starts)
    for place, own in enumerate(np.split(np.array(values), starts[1:])):
        finite = own[np.isfinite(own)]
        assert (found.count[place], found.finite[place]) == (len(own), len(finite))
        assert (found.lo[place], found.hi[place]) == (starts[place], starts[place] + len(own) - 1)
        if len(finite):
            assert found.minimum[place] == finite.min()
            assert found.maximum[place] == finite.max()
            assert found.last[place] == finite[-1]
            mean = float(sum(map(Fraction, finite)) / len(finite))
            assert found.mean[place] == pytest.approx(mean, rel=1e-9, abs=1e-300 + 1e-12 * np.abs(finite).max())
            assert finite.min() <= found.mean[place] <= finite.max()
        else:
            assert np.isnan([found.minimum[place], found.maximum[place], found.last[place], found.mean[place]]).all()


@settings(deadline=None)
@given(SERIES, st.data())
def test_joining_in_two_steps_is_joining_in_one(values: list[float], data: st.DataObject) -> None:
    finer = cuts(len(values), data)
    coarser = cuts(len(finer), data)
    twice = combined(combined(rows_of(values), finer), coarser)
    once = combined(rows_of(values), finer[coarser])
    for name in ("lo", "hi", "count", "finite", "minimum", "maximum", "last"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(once, name))
    small = np.abs(np.nan_to_num(np.array(values), posinf=0, neginf=0)).max() < 1e4
    if small:
        same(twice.mean, once.mean)
        same(twice.decayed, once.decayed)


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)), min_size=1, max_size=300), st.data())
def test_the_average_at_any_zoom_is_that_of_all_points(values: list[float], data: st.DataObject) -> None:
    starts = cuts(len(values), data)
    begin = data.draw(st.integers(0, len(starts) - 1))
    rows = combined(rows_of(values), starts)
    for weight, past in enumerate(SMOOTHING):
        # pandas' own moving average over the finite points alone
        wanted = pd.Series(values).ewm(alpha=1 - past, adjust=True, ignore_na=True).mean().to_numpy()
        before = carried(rows.part(slice(begin)), weight=weight)
        found = averages(rows.part(slice(begin, None)), weight=weight, before=before)
        ends = np.append(starts[1:], len(values))[begin:] - 1
        same(found, wanted[ends])


@settings(deadline=None)
@given(SERIES, st.integers(1, 20))
def test_thinning_is_combining_in_equal_groups(values: list[float], fan: int) -> None:
    rows = rows_of(values)
    whole = len(values) // fan * fan
    found, wanted = thinned(rows, fan), combined(rows.part(slice(whole)), np.arange(0, whole, fan))
    again, twice = (
        thinned(found, 2),
        combined(wanted.part(slice(len(wanted) // 2 * 2)), np.arange(0, len(wanted) - 1, 2)),
    )
    for one, other in ((found, wanted), (again, twice)):
        for name in ("lo", "hi", "count", "finite", "minimum", "maximum", "last"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        scale = 1e-12 * max([1.0, *(abs(value) for value in values if math.isfinite(value))])
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12, atol=scale)
        np.testing.assert_allclose(one.decayed, other.decayed, rtol=1e-9, atol=scale)


@given(SERIES, st.integers(0, len(SMOOTHING) - 1))
def test_the_sums_of_one_weight_are_those_among_all(values: list[float], weight: int) -> None:
    rows = rows_of(values)
    one = rollup(rows.lo, np.array(values), weights=(weight,))
    np.testing.assert_array_equal(one.decayed, rows.of_weights((weight,)).decayed)
    starts = np.zeros(1, dtype=np.intp)
    np.testing.assert_array_equal(combined(one, starts).decayed, combined(rows, starts).of_weights((weight,)).decayed)


def test_the_average_waits_for_the_first_finite_value_and_goes_on_over_what_is_none() -> None:
    found = averages(rows_of([math.nan, 2.0, math.inf, math.nan]), weight=1, before=Carried())
    assert math.isnan(found[0])
    assert found[1:].tolist() == [2.0, 2.0, 2.0]


def test_no_rows_are_no_rows() -> None:
    assert len(joined([])) == len(combined(NOTHING, np.empty(0, dtype=np.intp))) == len(thinned(NOTHING, 16)) == 0
    assert carried(NOTHING, weight=0) == Carried()
    assert NOTHING.weights == ALL


def test_a_million_points_behind_change_the_average_no_more_than_their_weight() -> None:
    rows = rows_of([1.0] * 1_000)
    late = averages(rows, weight=4, before=Carried(finite=1_000_000, decayed=3.0))
    wanted = 1.0 + 2.0 * np.power(0.999, np.arange(1, 1_001), dtype=np.float64)
    same(late, wanted)

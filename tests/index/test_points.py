"""Points come back as they were written, wherever they lie."""

import math
import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barograph.index import IndexDamaged
from barograph.index.database import open_empty
from barograph.index.points import (
    LOOSE_ROWS,
    PENDING_ROWS,
    NewPoints,
    add_points,
    delete_points,
    newest_points,
    series_points,
)

SCANS = st.lists(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 2**63 - 1), st.floats(allow_nan=True, allow_infinity=True)),
        max_size=5,
    ),
    max_size=12,
)


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    connection = open_empty()
    yield connection
    connection.close()


def new_points(scan: list[tuple[int, int, float]]) -> NDArray[np.void]:
    points = NewPoints()
    for place, (series, step, value) in enumerate(scan):
        points.update((series,), place=place, step=step, values=[value])
    return points.mixed()


@settings(deadline=None)
@given(SCANS, st.integers(1, 20))
def test_every_point_comes_back_bit_by_bit_in_its_order(scans: list[list[tuple[int, int, float]]], count: int) -> None:
    connection = open_empty()
    for number, scan in enumerate(scans):
        add_points(connection, new_points(scan), source=1, number=number)
    for series in (1, 2, 3):
        wanted = [(step, value) for scan in scans for one, step, value in scan if one == series]
        found = series_points(connection, series=series, source=1)
        assert found.steps.tolist() == [step for step, _ in wanted]
        assert found.values.tobytes() == np.array([value for _, value in wanted], dtype="<f8").tobytes()
        (newest,) = newest_points(connection, series=[series], source=1, count=count)
        assert newest.values.tobytes() == found.values[-count:].tobytes()
        assert newest.steps.tolist() == found.steps[-count:].tolist()
    connection.close()


def test_many_small_scans_become_few_rows_and_lose_nothing(empty: sqlite3.Connection) -> None:
    scans = 3 * PENDING_ROWS + 10
    for number in range(scans):
        add_points(empty, new_points([(1, number, float(number)), (2, number, math.nan)]), source=1, number=number)
    (pending,) = empty.execute("SELECT count(*) FROM pending").fetchone()
    (loose,) = empty.execute("SELECT count(*) FROM loose").fetchone()
    assert (pending, loose) == (10, 6)
    assert series_points(empty, series=1, source=1).steps.tolist() == list(range(scans))
    assert np.isnan(series_points(empty, series=2, source=1).values).sum() == scans
    (newest,) = newest_points(empty, series=[1], source=1, count=50)
    assert newest.steps.tolist() == list(range(scans - 50, scans))


def test_a_series_is_in_no_more_than_a_few_loose_rows(empty: sqlite3.Connection) -> None:
    scans = (LOOSE_ROWS + 3) * PENDING_ROWS
    for number in range(scans):
        add_points(empty, new_points([(1, number, float(number))]), source=1, number=number)
        (loose,) = empty.execute("SELECT count(*) FROM loose").fetchone()
        assert loose <= LOOSE_ROWS
    assert series_points(empty, series=1, source=1).values.tolist() == [float(number) for number in range(scans)]


def test_rows_with_and_without_a_metric_keep_their_order(empty: sqlite3.Connection) -> None:
    points = NewPoints()
    for place in range(300):
        series = (1, 2) if place % 3 == 0 else (1,)
        points.update(series, place=place, step=7, values=[float(place), -float(place)][: len(series)])
    add_points(empty, points.mixed(), source=1, number=1)
    assert series_points(empty, series=1, source=1).values.tolist() == [float(place) for place in range(300)]
    assert series_points(empty, series=2, source=1).values.tolist() == [-float(place) for place in range(0, 300, 3)]


def test_a_big_batch_goes_into_chunks_at_once(empty: sqlite3.Connection) -> None:
    points = NewPoints()
    for step in range(40_000):
        points.update((1, 2), place=step, step=step, values=[0.5, 1.5])
    add_points(empty, points.mixed(), source=1, number=1)
    assert empty.execute("SELECT count(*) FROM pending").fetchone() == (0,)
    assert len(series_points(empty, series=2, source=1).steps) == 40_000


def test_the_points_of_one_source_are_deleted_alone(empty: sqlite3.Connection) -> None:
    for source in (1, 2):
        add_points(empty, new_points([(1, source, 1.0)]), source=source, number=1)
    delete_points(empty, 1)
    assert len(series_points(empty, series=1, source=1).steps) == 0
    assert series_points(empty, series=1, source=2).steps.tolist() == [2]


def test_a_damaged_row_is_never_read_as_points(empty: sqlite3.Connection) -> None:
    add_points(empty, new_points([(1, 1, 1.0)]), source=1, number=1)
    empty.execute("UPDATE pending SET points = zeroblob(length(points))")
    with pytest.raises(IndexDamaged, match="checksum"):
        series_points(empty, series=1, source=1)

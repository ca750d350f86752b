"""Where the points of series lie: first as they came, then one block per series.

A live run adds a few points to each of its series several times a second. One row per point, or one growing row per
series, would touch a page of the database per series each time; so a scan's points go into `pending` as one row, all
series mixed. When a source has `PENDING_ROWS` such rows or `PENDING_POINTS` points, they are sorted into one `block`
per series. Blocks are never changed. Values are IEEE doubles, so NaN and the infinities are stored as they are, and a
point that does not exist is nowhere.

Everything that reads points goes through `series_points` and `newest_points`: a pyramid of aggregates can take the
place of the tables without anyone else noticing.
"""

import sqlite3
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.index.schema import check_row, row_sum

PENDING_ROWS = 256
PENDING_POINTS = 65_536

_MIXED = np.dtype([("series", "<i4"), ("step", "<i8"), ("value", "<f8")])
_ONE = np.dtype([("step", "<i8"), ("value", "<f8")])


class Points(Struct, frozen=True, kw_only=True):
    """Points of one series of one source, in the order of the file."""

    steps: Annotated[NDArray[np.int64], Meta(description="[points]")]
    values: Annotated[NDArray[np.float64], Meta(description="[points]; NaN and infinities are values.")]


class NewPoints:
    """A fold: the points that one batch of lines brings, all series mixed, in the order of the file."""

    def __init__(self) -> None:
        self.series: list[int] = []
        self.steps: list[int] = []
        self.values: list[float] = []

    def update(self, series: list[int], *, step: int, values: list[float]) -> None:
        """Adds one line's points: `series` and `values` belong together."""
        self.series += series
        self.steps += [step] * len(values)
        self.values += values


def add_points(connection: sqlite3.Connection, new: NewPoints, *, source: int, number: int) -> None:
    """Stores the points of a batch; part of the caller's transaction.

    `number` orders the rows of a source and must grow: the file's offset after the batch.
    """
    if not new.series:
        return
    points = np.empty(len(new.series), dtype=_MIXED)
    points["series"], points["step"], points["value"] = new.series, new.steps, new.values
    rows, size = connection.execute(
        "SELECT count(*), coalesce(sum(length(points)), 0) FROM pending WHERE source = ?", (source,)
    ).fetchone()
    if rows + 1 >= PENDING_ROWS or size // _MIXED.itemsize + len(points) >= PENDING_POINTS:
        waiting = list(_pending(connection, source))
        _seal(connection, np.concatenate([*waiting, points]), source=source, number=number)
        connection.execute("DELETE FROM pending WHERE source = ?", (source,))
        return
    data = points.tobytes()
    connection.execute("INSERT INTO pending VALUES (?, ?, ?, ?)", (source, number, data, row_sum(source, number, data)))


def delete_points(connection: sqlite3.Connection, source: int) -> None:
    """Forgets every point of a source; part of the caller's transaction."""
    connection.execute("DELETE FROM pending WHERE source = ?", (source,))
    connection.execute("DELETE FROM block WHERE source = ?", (source,))


def series_points(connection: sqlite3.Connection, *, series: int, source: int) -> Points:
    """All points of a series from one source, in the order of the file. Raises `IndexDamaged`."""
    parts = []
    query = "SELECT number, points, sum FROM block WHERE source = ? AND series = ? ORDER BY number"
    for number, data, said in connection.execute(query, (source, series)):
        check_row(source, series, number, data, said=said)
        parts.append(np.frombuffer(data, dtype=_ONE))
    for mixed in _pending(connection, source):
        parts.append(_of_one_series(mixed[mixed["series"] == series]))
    return _points(parts)


def newest_points(connection: sqlite3.Connection, *, series: int, source: int, count: int) -> Points:
    """The last `count` points of a series in one source (fewer if it has fewer), in the order of the file."""
    parts: list[NDArray[np.void]] = []
    found = 0
    for mixed in _pending(connection, source, newest_first=True):
        parts.append(_of_one_series(mixed[mixed["series"] == series]))
        found += len(parts[-1])
        if found >= count:
            break
    query = "SELECT number, points, sum FROM block WHERE source = ? AND series = ? ORDER BY number DESC"
    if found < count:
        for number, data, said in connection.execute(query, (source, series)):
            check_row(source, series, number, data, said=said)
            parts.append(np.frombuffer(data, dtype=_ONE))
            found += len(parts[-1])
            if found >= count:
                break
    found_points = _points(parts[::-1])
    return Points(steps=found_points.steps[-count:], values=found_points.values[-count:])


def _pending(connection: sqlite3.Connection, source: int, *, newest_first: bool = False) -> Iterator[NDArray[np.void]]:
    order = "DESC" if newest_first else "ASC"
    query = f"SELECT number, points, sum FROM pending WHERE source = ? ORDER BY number {order}"  # noqa: S608 - constants
    for number, data, said in connection.execute(query, (source,)):
        check_row(source, number, data, said=said)
        yield np.frombuffer(data, dtype=_MIXED)


def _seal(connection: sqlite3.Connection, points: NDArray[np.void], *, source: int, number: int) -> None:
    """One block per series of `points`."""
    ordered = points[np.argsort(points["series"], kind="stable")]
    starts = np.flatnonzero(np.append(True, ordered["series"][1:] != ordered["series"][:-1]))
    ones = _of_one_series(ordered)
    rows = []
    for start, end in zip(starts, np.append(starts[1:], len(ordered)), strict=True):
        series, data = int(ordered["series"][start]), ones[start:end].tobytes()
        rows.append((source, series, number, data, row_sum(source, series, number, data)))
    connection.executemany("INSERT INTO block VALUES (?, ?, ?, ?, ?)", rows)


def _of_one_series(mixed: NDArray[np.void]) -> NDArray[np.void]:
    ones = np.empty(len(mixed), dtype=_ONE)
    ones["step"], ones["value"] = mixed["step"], mixed["value"]
    return ones


def _points(parts: list[NDArray[np.void]]) -> Points:
    whole = np.concatenate(parts) if parts else np.empty(0, dtype=_ONE)
    return Points(steps=np.ascontiguousarray(whole["step"]), values=np.ascontiguousarray(whole["value"]))

"""Where the points of series lie, from the scan that brought them to the pyramid.

A live run adds a few points to each of its series many times a minute. One growing row per series would write a page of
the database per series each time; so points move in three steps, each a row that is written once:

    pending   the points of one scan, all series of a source mixed
    loose     the points of one series, sorted out of `PENDING_ROWS` scans or `PENDING_POINTS` points
    pyramid   whole chunks of one series, with rows above them (`pyramid`)

At most `LOOSE_ROWS` rows of a series are loose, and fewer than `CHUNK` points of it. Values are IEEE doubles, so NaN
and the infinities are stored as they are, and a point that does not exist is nowhere.
"""

import sqlite3
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.index import pyramid
from barograph.index.columns import decode_points, encode_points
from barograph.index.schema import check_row, row_sum

PENDING_ROWS = 32
PENDING_POINTS = 32_768
LOOSE_ROWS = 16

TIMES = 0
"""Stands for a series: the time of every row of a source, by step. Ids of series begin at 1."""

_MIXED = np.dtype([("series", "<i4"), ("step", "<i8"), ("value", "<f8")])


class Points(Struct, frozen=True, kw_only=True):
    """Points of one series."""

    steps: Annotated[NDArray[np.int64], Meta(description="[points]")]
    values: Annotated[NDArray[np.float64], Meta(description="[points]; NaN and infinities are values.")]


class Lines:
    """Lines of one batch that speak of the same series: one entry per line, and one value per line and series."""

    __slots__ = ("places", "steps", "values")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.steps: list[int] = []
        self.values: list[float] = []


class NewPoints:
    """A fold: the points that one batch of lines brings.

    Lines that speak of the same series are kept together: a log of a million lines has few such sets.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[int, ...], Lines] = {}

    def lines(self, series: tuple[int, ...]) -> Lines:
        """Where the lines that speak of these series are kept."""
        group = self._groups.get(series)
        if group is None:
            group = self._groups[series] = Lines()
        return group

    def update(self, series: tuple[int, ...], *, place: int, step: int, values: list[float]) -> None:
        """Adds the points of a line: `series` and `values` belong together; `place` orders lines, as an offset does."""
        group = self.lines(series)
        group.places.append(place)
        group.steps.append(step)
        group.values.extend(values)

    def mixed(self) -> NDArray[np.void]:
        """All of them, sorted by series; those of one series are in the order of the file."""
        if len(self._groups) == 1:
            ((series, only),) = self._groups.items()
            if len(set(series)) == len(series):  # as in most logs: whole columns, and nothing to sort
                return _columns(series, only.steps, only.values)
        parts, places = [np.empty(0, dtype=_MIXED)], [np.empty(0, dtype=np.int64)]
        for series, lines in self._groups.items():
            part = np.empty(len(lines.values), dtype=_MIXED)
            part["series"] = np.tile(np.array(series, dtype=np.int32), len(lines.steps))
            part["step"] = np.repeat(np.array(lines.steps, dtype=np.int64), len(series))
            part["value"] = lines.values
            parts.append(part)
            places.append(np.repeat(np.array(lines.places, dtype=np.int64), len(series)))
        whole = np.concatenate(parts)
        order = np.lexsort((np.concatenate(places), whole["series"]))  # stable; the last key is the first to sort by
        found: NDArray[np.void] = whole[order]
        return found


def _columns(series: tuple[int, ...], steps: list[int], values: list[float]) -> NDArray[np.void]:
    order = np.argsort(np.array(series))
    whole = np.empty(len(values), dtype=_MIXED)
    whole["series"] = np.repeat(np.array(series, dtype=np.int32)[order], len(steps))
    whole["step"] = np.tile(np.array(steps, dtype=np.int64), len(series))
    whole["value"] = np.array(values).reshape(len(steps), len(series)).T[order].ravel()
    return whole


def of_series(points: NDArray[np.void], series: int) -> Points:
    """Those of one series among points that are sorted by series."""
    begin, end = np.searchsorted(points["series"], [series, series + 1])
    own = points[begin:end]
    return Points(steps=np.ascontiguousarray(own["step"]), values=np.ascontiguousarray(own["value"]))


def merged(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Points that are sorted by series out of several such arrays; those of one series stay in the order given."""
    filled = [part for part in parts if len(part)]
    if len(filled) == 1:
        return filled[0]
    whole = np.concatenate([np.empty(0, dtype=_MIXED), *filled])
    found: NDArray[np.void] = whole[np.argsort(whole["series"], kind="stable")]
    return found


def add_points(connection: sqlite3.Connection, points: NDArray[np.void], *, source: int, number: int) -> None:
    """Stores the points of a batch, sorted by series as `NewPoints.mixed` gives them; part of the caller's transaction.

    `number` orders the rows of a source and must grow: the file's offset after the batch.
    """
    if not len(points):
        return
    rows, size = connection.execute(
        "SELECT count(*), coalesce(sum(length(points)), 0) FROM pending WHERE source = ?", (source,)
    ).fetchone()
    if rows + 1 >= PENDING_ROWS or size // _MIXED.itemsize + len(points) >= PENDING_POINTS:
        waiting = _pending(connection, source)
        connection.execute("DELETE FROM pending WHERE source = ?", (source,))
        _sort_out(connection, merged([waiting, points]), source=source, number=number)
        return
    data = points.tobytes()
    connection.execute("INSERT INTO pending VALUES (?, ?, ?, ?)", (source, number, data, row_sum(source, number, data)))


def delete_points(connection: sqlite3.Connection, source: int) -> None:
    """Forgets every point of a source; part of the caller's transaction."""
    connection.execute("DELETE FROM pending WHERE source = ?", (source,))
    connection.execute("DELETE FROM loose WHERE source = ?", (source,))
    pyramid.delete(connection, source)


def open_points(connection: sqlite3.Connection, *, series: int, source: int) -> Points:
    """The points of a series in one source that are in no chunk yet, in the order of the file."""
    waiting = _pending(connection, source)
    own = waiting[waiting["series"] == series]
    parts = [*_loose(connection, source, series), (own["step"], own["value"])]
    return Points(
        steps=np.concatenate([steps for steps, _ in parts]), values=np.concatenate([values for _, values in parts])
    )


def series_points(connection: sqlite3.Connection, *, series: int, source: int) -> Points:
    """Every point of a series in one source, in the order of the file; within a chunk, in that of the steps."""
    parts = [
        pyramid.points(connection, segment, 0, segment.points)
        for segment in pyramid.segments(connection, source=source, series=series)
    ]
    rest = open_points(connection, series=series, source=source)
    return Points(
        steps=np.concatenate([*(steps for steps, _ in parts), rest.steps]),
        values=np.concatenate([*(values for _, values in parts), rest.values]),
    )


def newest_points(connection: sqlite3.Connection, *, series: Sequence[int], source: int, count: int) -> list[Points]:
    """The last `count` points of each series in one source (fewer if it has fewer), as `series_points` orders them."""
    waiting = _pending(connection, source)
    waiting = waiting[np.argsort(waiting["series"], kind="stable")]
    return [_newest(connection, of_series(waiting, one), series=one, source=source, count=count) for one in series]


def _newest(connection: sqlite3.Connection, pending: Points, *, series: int, source: int, count: int) -> Points:
    """The same of one series, of which `pending` are the points that are not sorted out yet."""
    parts, missing = [(pending.steps, pending.values)], count - len(pending.steps)
    if missing > 0:
        for steps, values in reversed(_loose(connection, source, series)):
            parts.append((steps, values))
            missing -= len(steps)
    if missing > 0:
        for segment in reversed(pyramid.segments(connection, source=source, series=series)):
            if missing > 0:
                found = pyramid.points(connection, segment, max(0, segment.points - missing), segment.points)
                parts.append(found)
                missing -= len(found[0])
    return Points(
        steps=np.concatenate([steps for steps, _ in parts[::-1]])[-count:],
        values=np.concatenate([values for _, values in parts[::-1]])[-count:],
    )


def _pending(connection: sqlite3.Connection, source: int) -> NDArray[np.void]:
    parts = []
    query = "SELECT number, points, sum FROM pending WHERE source = ? ORDER BY number"
    for number, data, said in connection.execute(query, (source,)):
        check_row(source, number, data, said=said)
        parts.append(data)
    return np.frombuffer(b"".join(parts), dtype=_MIXED)


def _loose(
    connection: sqlite3.Connection, source: int, series: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    query = "SELECT number, points, sum FROM loose WHERE source = ? AND series = ? ORDER BY number"
    found = []
    for number, data, said in connection.execute(query, (source, series)):
        check_row(source, series, number, data, said=said)
        found.append(decode_points(data))
    return found


def _sort_out(connection: sqlite3.Connection, points: NDArray[np.void], *, source: int, number: int) -> None:
    """Out of the mixed points, which are sorted by series, those of each to where they belong."""
    starts = np.flatnonzero(np.append(True, points["series"][1:] != points["series"][:-1]))
    have = dict(
        connection.execute("SELECT series, count(*) FROM loose WHERE source = ? GROUP BY series", (source,)).fetchall()
    )
    rows = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(points)], strict=True):
        series = int(points["series"][start])
        steps = np.ascontiguousarray(points["step"][start:end])
        values = np.ascontiguousarray(points["value"][start:end])
        waiting = have.get(series, 0)
        if waiting + 1 >= LOOSE_ROWS or len(steps) >= pyramid.CHUNK // LOOSE_ROWS:
            steps, values = _into_chunks(connection, steps, values, source=source, series=series)
        if len(steps):
            data = encode_points(steps, values)
            rows.append((source, series, number, data, row_sum(source, series, number, data)))
    connection.executemany("INSERT INTO loose VALUES (?, ?, ?, ?, ?)", rows)


def _into_chunks(
    connection: sqlite3.Connection,
    steps: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    source: int,
    series: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Adds the loose points of a series to new ones, and whole chunks to the pyramid; what is left over."""
    waiting = _loose(connection, source, series)
    steps = np.concatenate([*(one for one, _ in waiting), steps])
    values = np.concatenate([*(one for _, one in waiting), values])
    connection.execute("DELETE FROM loose WHERE source = ? AND series = ?", (source, series))
    taken = pyramid.grow(connection, source=source, series=series, steps=steps, values=values)
    return steps[taken:], values[taken:]

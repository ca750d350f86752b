"""The chunk pyramid: points of one series of one source, and coarser rows above them, so that no chart reads them all.

Points lie in chunks of 4,096, sorted by step. Level 0 is the points; a row of level n stands for 16 rows of the level
below (`analysis.rollup`), 256 rows are a block. Chunks are never changed, rows never either; the last block of a level
is written again as rows join it. So everything up to point p of a segment is known at once from the number p:

    row i of level n      stands for the points  i 16^n  up to  (i + 1) 16^n
    block b of level 0    holds the points       b 4096  up to  (b + 1) 4096
    block b of level n    holds the rows         b 256   up to  (b + 1) 256

A read of points [begin, end) takes whole rows of the level it may take, and at both ends goes down the levels, so that
it is exact at any window and costs a few blocks more.

Steps may go back: a script logs an earlier step again without a new attempt. Within a chunk that is sorted away; one
that begins before the end of the one before it opens a new *segment*, with a pyramid of its own, and who reads merges
the segments by step.
"""

import sqlite3
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from barograph.analysis.rollup import Rollup, joined, rollup, thinned
from barograph.index.columns import (
    Column,
    decode_columns,
    decode_points,
    decode_rollup,
    encode_columns,
    encode_points,
    encode_rollup,
)
from barograph.index.schema import IndexDamaged, check_row, row_sum

CHUNK = 4_096
FAN = 16
BLOCK_ROWS = 256


_CHUNK = (
    "SELECT number, lo, data, sum FROM block WHERE source = ? AND series = ? AND segment = ? AND level = 0"
    " AND lo {} ? ORDER BY lo DESC, number DESC LIMIT 1"
)
_ODD_BLOCKS = (
    "SELECT first, data, sum FROM odd WHERE source = ? AND series = ? AND segment = ? AND first >= coalesce("
    "(SELECT max(first) FROM odd WHERE source = ? AND series = ? AND segment = ? AND first <= ?), 0) AND first < ?"
    " ORDER BY first"
)
_CHUNK_BEFORE, _CHUNK_UP_TO = _CHUNK.format("<"), _CHUNK.format("<=")


class Segment(Struct, frozen=True, kw_only=True):
    """A stretch of ascending steps of one series of one source."""

    source: Annotated[int, Meta(description="Row of the source.")]
    series: Annotated[int, Meta(description="Id of the series.")]
    number: Annotated[int, Meta(description="Order of the segments of a series in its file, from 0.")]
    first: Annotated[int, Meta(description="First step.")]
    last: Annotated[int, Meta(description="Last step.")]
    points: Annotated[int, Meta(description="How many, a multiple of `CHUNK`.")]
    newest: Annotated[float, Meta(description="Last finite value; NaN without any.")]


class OddPoints(Struct, frozen=True, kw_only=True):
    """Points that are NaN or infinite."""

    steps: Annotated[NDArray[np.int64], Meta(description="[points]")]
    values: Annotated[NDArray[np.float64], Meta(description="[points]")]
    after: Annotated[NDArray[np.float64], Meta(description="[points], last finite value of the source before; or NaN.")]


def grow(
    connection: sqlite3.Connection, *, source: int, series: int, steps: NDArray[np.int64], values: NDArray[np.float64]
) -> int:
    """Takes as many whole chunks of the points, in the order of the file, as there are; how many points those are."""
    taken = len(steps) // CHUNK * CHUNK
    steps, values = steps[:taken], values[:taken]
    if not np.all(steps[1:] >= steps[:-1]):
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    if taken:
        known = segments(connection, source=source, series=series)
        end = known[-1] if known else None
        if end is None or steps[0] < end.last:
            number = 0 if end is None else end.number + 1
            newest = float("nan") if end is None else end.newest
            end = Segment(
                source=source,
                series=series,
                number=number,
                first=int(steps[0]),
                last=int(steps[0]),
                points=0,
                newest=newest,
            )
        _append(connection, end, steps, values)
    return taken


def segments(connection: sqlite3.Connection, *, source: int, series: int) -> list[Segment]:
    """The segments of a series in one source, in the order of the file."""
    query = (
        "SELECT number, first, last, points, newest, sum FROM segment WHERE source = ? AND series = ? ORDER BY number"
    )
    found = []
    for number, first, last, points, newest, said in connection.execute(query, (source, series)):
        check_row(source, series, number, first, last, points, newest, said=said)
        value = float(np.frombuffer(newest, dtype="<f8")[0])
        found.append(
            Segment(source=source, series=series, number=number, first=first, last=last, points=points, newest=value)
        )
    return found


def delete(connection: sqlite3.Connection, source: int) -> None:
    """Forgets the segments of a source; part of the caller's transaction."""
    for table in ("segment", "block", "odd"):
        connection.execute(f"DELETE FROM {table} WHERE source = ?", (source,))  # noqa: S608 - the names are constants


def place(connection: sqlite3.Connection, segment: Segment, step: int, *, after: bool = False) -> int:
    """How many points of the segment have a lower step; with `after`, a lower one or that one."""
    if step < segment.first or (step == segment.first and not after):
        return 0
    if step > segment.last or (step == segment.last and after):
        return segment.points
    query = _CHUNK_UP_TO if after else _CHUNK_BEFORE
    row = connection.execute(query, (*_key(segment), step)).fetchone()
    if row is None:
        raise IndexDamaged("a chunk of points is missing")
    number, lo, data, said = row
    check_row(*_key(segment), 0, number, lo, data, said=said)
    steps, _ = decode_points(data)
    return int(number) * CHUNK + int(np.searchsorted(steps, step, side="right" if after else "left"))


def points(
    connection: sqlite3.Connection, segment: Segment, begin: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps and values of the points [begin, end), by step."""
    parts = [decode_points(data) for data in _blocks(connection, segment, level=0, begin=begin, end=end, size=CHUNK)]
    if not parts:
        return np.empty(0, dtype=np.int64), np.empty(0)
    inside = slice(begin % CHUNK, begin % CHUNK + end - begin)
    return np.concatenate([one for one, _ in parts])[inside], np.concatenate([one for _, one in parts])[inside]


def rows(
    connection: sqlite3.Connection, segment: Segment, begin: int, end: int, *, level: int, weights: tuple[int, ...]
) -> list[Rollup]:
    """Rows for exactly the points [begin, end), of `level` where whole ones fit and of lower levels at both ends."""
    if begin >= end:
        return []
    if level == 0:
        return [rollup(*points(connection, segment, begin, end), weights=weights)]
    size = FAN**level
    inner, outer = -(-begin // size), end // size
    if inner >= outer:
        return rows(connection, segment, begin, end, level=level - 1, weights=weights)
    found = _blocks(connection, segment, level=level, begin=inner, end=outer, size=BLOCK_ROWS)
    whole = joined([decode_rollup(data, weights=weights) for data in found])
    inside = slice(inner % BLOCK_ROWS, inner % BLOCK_ROWS + outer - inner)
    return [
        *rows(connection, segment, begin, inner * size, level=level - 1, weights=weights),
        whole.part(inside),
        *rows(connection, segment, outer * size, end, level=level - 1, weights=weights),
    ]


def odd_points(
    connection: sqlite3.Connection, segment: Segment, begin: int, end: int, *, limit: int
) -> list[OddPoints]:
    """The non-finite points among [begin, end), block by block: at least the first `limit` of them."""
    found: list[OddPoints] = []
    seen = 0
    if begin >= end:
        return found
    for first, data, said in connection.execute(_ODD_BLOCKS, (*_key(segment), *_key(segment), begin, end)):
        check_row(*_key(segment), first, data, said=said)
        at, steps, values, after = decode_columns(data)
        inside = (at >= begin) & (at < end)
        found.append(
            OddPoints(steps=steps[inside], values=values.view(np.float64)[inside], after=after.view(np.float64)[inside])
        )
        seen += len(found[-1].steps)
        if seen >= limit:
            break
    return found


def odd_among(steps: NDArray[np.int64], values: NDArray[np.float64], *, newest: float) -> OddPoints:
    """The non-finite ones of some points; `newest` is the last finite value before all of them, or NaN."""
    finite = np.isfinite(values)
    odd = np.flatnonzero(~finite)
    before = np.maximum.accumulate(np.where(finite, np.arange(len(values)), -1))[odd] if len(odd) else odd
    after = np.where(before >= 0, values[np.maximum(before, 0)], newest) if len(odd) else np.empty(0)
    return OddPoints(steps=steps[odd], values=values[odd], after=after)


def _append(
    connection: sqlite3.Connection, segment: Segment, steps: NDArray[np.int64], values: NDArray[np.float64]
) -> None:
    """Adds chunks, whose steps ascend from the segment's last one on, and the rows above them."""
    chunks, odds = [], [_open_odd_block(connection, segment)]
    newest = segment.newest
    for begin in range(0, len(steps), CHUNK):
        number = (segment.points + begin) // CHUNK
        part, own = steps[begin : begin + CHUNK], values[begin : begin + CHUNK]
        chunks.append((segment, 0, number, int(part[0]), encode_points(part, own)))
        finite = np.isfinite(own)
        if not finite.all():
            odd = odd_among(part, own, newest=newest)
            at = segment.points + begin + np.flatnonzero(~finite)
            odds.append([at, odd.steps, odd.values, odd.after])
        if finite.any():
            newest = float(own[np.flatnonzero(finite)[-1]])
    _store_blocks(connection, chunks)
    if len(odds) > 1:
        _store_odd(connection, segment, odds)
    level, have, new = 1, segment.points // FAN, thinned(rollup(steps, values), FAN)
    while len(new):
        new = _add_rows(connection, segment, new, level=level, have=have)
        level, have = level + 1, have // FAN
    grown = replace(segment, last=int(steps[-1]), points=segment.points + len(steps), newest=newest)
    cells = (*_key(grown), grown.first, grown.last, grown.points, np.array([newest], dtype="<f8").tobytes())
    connection.execute("INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*cells, row_sum(*cells)))


def _open_odd_block(connection: sqlite3.Connection, segment: Segment) -> list[Column]:
    """The columns of the last block of non-finite points if it has room, else empty ones."""
    query = (
        "SELECT first, data, sum FROM odd WHERE source = ? AND series = ? AND segment = ? ORDER BY first DESC LIMIT 1"
    )
    row = connection.execute(query, _key(segment)).fetchone()
    if row is not None:
        first, data, said = row
        check_row(*_key(segment), first, data, said=said)
        at, steps, values, after = decode_columns(data)
        if len(at) < BLOCK_ROWS:
            return [at, steps, values.view(np.float64), after.view(np.float64)]
    none, nothing = np.empty(0, dtype=np.int64), np.empty(0)
    return [none, none, nothing, nothing]


def _store_odd(connection: sqlite3.Connection, segment: Segment, parts: list[list[Column]]) -> None:
    """Writes non-finite points, those of the open block among them, into blocks."""
    columns: list[Column] = [np.concatenate(list(column)) for column in zip(*parts, strict=True)]
    rows = []
    for begin in range(0, len(columns[0]), BLOCK_ROWS):
        own = [column[begin : begin + BLOCK_ROWS] for column in columns]
        first, data = int(own[0][0]), encode_columns(own)
        rows.append((*_key(segment), first, data, row_sum(*_key(segment), first, data)))
    connection.executemany("INSERT OR REPLACE INTO odd VALUES (?, ?, ?, ?, ?, ?)", rows)


def _add_rows(connection: sqlite3.Connection, segment: Segment, new: Rollup, *, level: int, have: int) -> Rollup:
    """Adds rows to a level that has `have`; the rows that they make whole on the next level."""
    block = have // BLOCK_ROWS
    whole = new
    if have % BLOCK_ROWS:
        (open_block,) = _blocks(connection, segment, level=level, begin=have - 1, end=have, size=BLOCK_ROWS)
        whole = joined([decode_rollup(open_block), new])
    blocks = []
    for begin in range(0, len(whole), BLOCK_ROWS):
        part = whole.part(slice(begin, begin + BLOCK_ROWS))
        blocks.append((segment, level, block + begin // BLOCK_ROWS, int(part.lo[0]), encode_rollup(part)))
    _store_blocks(connection, blocks)
    grouped = have // FAN * FAN - block * BLOCK_ROWS
    return thinned(whole.part(slice(grouped, None)), FAN)


def _store_blocks(connection: sqlite3.Connection, blocks: list[tuple[Segment, int, int, int, bytes]]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (*_key(segment), level, number, lo, data, row_sum(*_key(segment), level, number, lo, data))
            for segment, level, number, lo, data in blocks
        ],
    )


def _blocks(
    connection: sqlite3.Connection, segment: Segment, *, level: int, begin: int, end: int, size: int
) -> list[bytes]:
    """The blocks that hold [begin, end) of a level; one that is not there is damage, and never a gap in a chart."""
    if begin >= end:
        return []
    first, last = begin // size, (end - 1) // size
    query = (
        "SELECT number, lo, data, sum FROM block WHERE source = ? AND series = ? AND segment = ? AND level = ?"
        " AND number BETWEEN ? AND ? ORDER BY number"
    )
    found = []
    for number, lo, data, said in connection.execute(query, (*_key(segment), level, first, last)):
        check_row(*_key(segment), level, number, lo, data, said=said)
        found.append(data)
    if len(found) != last - first + 1:
        raise IndexDamaged("a block of points is missing")
    return found


def _key(segment: Segment) -> tuple[int, int, int]:
    return segment.source, segment.series, segment.number

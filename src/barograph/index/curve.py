"""The curve of a series over the attempts of a run: rows for a window of steps, as coarse as a chart may be.

What is shown is what `analysis.attempts` says: nothing of an attempt from a newer one's beginning on, and of the few
steps that both have before it, the newer one's point. Each file's part is read from its pyramid; where parts overlap in
steps (an attempt's own steps went back, or two files of one attempt hold the same series) they are read point by point
and merged by step, so that what depends on their order, the last value and the moving average, is that of the points.
Only where more than `MIXED` points overlap are coarse rows merged instead. Every row holds only points that are shown
and lie in the window, so counts, least and greatest are exact.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from barograph.analysis.rollup import NOTHING, Rollup, joined, rollup
from barograph.index import points, pyramid
from barograph.index.pyramid import FAN, OddPoints, Segment
from barograph.records.quantities import Attempt, Step

LAST = 2**63 - 1
MIXED = 2_000_000
"""Most points that are merged one by one: a second's work."""
MOST_OVERLAPS = 64


class Part(Struct, frozen=True, kw_only=True):
    """What one journal file holds of a series, before anything is hidden."""

    source: Annotated[int, Meta(description="Row of the source.")]
    series: Annotated[int, Meta(description="Id of the series.")]
    attempt: Annotated[Attempt, Meta(description="Attempt of the file.")]
    segments: Annotated[list[Segment], Meta(description="What is in the pyramid.")]
    steps: Annotated[NDArray[np.int64], Meta(description="[points], steps of what is in no chunk yet; they ascend.")]
    values: Annotated[NDArray[np.float64], Meta(description="[points], their values.")]
    places: Annotated[dict[tuple[int, Step, bool], int], Meta(description="Places in segments that were looked up.")]


class Shown(Struct, frozen=True, kw_only=True):
    """A part of the curve with the steps of it that are shown."""

    part: Part
    """Where the points lie."""
    until: Annotated[Step, Meta(description="The last step that may be shown.")]
    without: Annotated[tuple[Step, ...], Meta(description="Steps that a newer attempt has as well; they ascend.")]


def parts_of(connection: sqlite3.Connection, sources: Sequence[tuple[int, Attempt]], *, series: int) -> list[Part]:
    """What the sources (row and attempt, oldest attempt first) hold of a series; those without any are left out."""
    found = []
    for source, attempt in sources:
        segments = pyramid.segments(connection, source=source, series=series)
        rest = points.open_points(connection, series=series, source=source)
        if segments or len(rest.steps):
            order = np.argsort(rest.steps, kind="stable")
            steps, values = rest.steps[order], rest.values[order]
            found.append(
                Part(
                    source=source,
                    series=series,
                    attempt=attempt,
                    segments=segments,
                    steps=steps,
                    values=values,
                    places={},
                )
            )
    return found


def shown_parts(
    connection: sqlite3.Connection, parts: Sequence[Part], *, hidden_from: Mapping[Attempt, Step]
) -> list[Shown]:
    """The parts with what is shown of each; `parts` is oldest attempt first, `hidden_from` that of `shown_until`."""
    found = []
    for part in parts:
        until = hidden_from.get(part.attempt, LAST) - 1 if part.attempt in hidden_from else LAST
        rivals = [other for other in parts if other.attempt > part.attempt]
        twice = [_steps_until(connection, other, until) for other in rivals]
        without = np.unique(np.concatenate(twice)).tolist() if twice else []
        found.append(Shown(part=part, until=until, without=tuple(without)))
    return found


def curve(
    connection: sqlite3.Connection,
    shown: Sequence[Shown],
    *,
    first: Step,
    last: Step,
    at_least: int,
    weights: tuple[int, ...] = (),
) -> Rollup:
    """Rows for the shown points with `first <= step <= last`, by first step.

    There are at least `at_least`, if there are so many points.
    """
    pieces = [piece for one in shown for piece in _pieces(connection, one, first, last)]
    points_shown = sum(piece.end - piece.begin for piece in pieces)
    level = 0
    while points_shown // FAN ** (level + 1) >= at_least:
        level += 1
    both = _overlaps(pieces) if level else []
    if both and sum(count_points(connection, [one.part for one in shown], first=a, last=z) for a, z in both) > MIXED:
        both = []
    found: list[Rollup] = []
    begin = first
    for low, high in both:
        apart = [piece for one in shown for piece in _pieces(connection, one, begin, low - 1)]
        mixed = [piece for one in shown for piece in _pieces(connection, one, low, high)]
        found += [_by_step(_read(connection, apart, level=level, weights=weights), weights)]
        found += [_by_step(_read(connection, mixed, level=0, weights=weights), weights)]
        begin = high + 1
    rest = pieces if not both else [piece for one in shown for piece in _pieces(connection, one, begin, last)]
    found += [_by_step(_read(connection, rest, level=level, weights=weights), weights)]
    return joined([part for part in found if len(part)] or [NOTHING.of_weights(weights)])


def _read(
    connection: sqlite3.Connection, pieces: Sequence["_Piece"], *, level: int, weights: tuple[int, ...]
) -> list[Rollup]:
    found: list[Rollup] = []
    for piece in pieces:
        if piece.segment is None:
            inside = slice(piece.begin, piece.end)
            found.append(rollup(piece.part.steps[inside], piece.part.values[inside], weights=weights))
        else:
            top = 0 if piece.raw else level
            found += pyramid.rows(connection, piece.segment, piece.begin, piece.end, level=top, weights=weights)
        if piece.without:
            found[-1] = found[-1].part(~np.isin(found[-1].lo, piece.without))
    return found


def _by_step(parts: Sequence[Rollup], weights: tuple[int, ...]) -> Rollup:
    rows = joined([part for part in parts if len(part)] or [NOTHING.of_weights(weights)])
    ascending = bool(np.all(rows.lo[1:] >= rows.lo[:-1]))
    return rows if ascending else rows.part(np.argsort(rows.lo, kind="stable"))


def _overlaps(pieces: Sequence["_Piece"]) -> list[tuple[Step, Step]]:
    """The windows of steps in which more than one piece may have points, ascending and apart."""
    found: list[tuple[Step, Step]] = []
    reached = -1
    for low, high in sorted((piece.low, piece.high) for piece in pieces):
        if low <= reached:
            window = (low, min(high, reached))
            if found and window[0] <= found[-1][1] + 1:
                window = (found[-1][0], max(found.pop()[1], window[1]))
            found.append(window)
        reached = max(reached, high)
    return found if len(found) <= MOST_OVERLAPS else [(found[0][0], found[-1][1])]


def count_points(connection: sqlite3.Connection, parts: Sequence[Part], *, first: Step, last: Step) -> int:
    """How many points of a window there are in all, hidden ones included."""
    return sum(piece.end - piece.begin for part in parts for piece in _spans(connection, part, first, last))


def odd_points(
    connection: sqlite3.Connection, shown: Sequence[Shown], *, first: Step, last: Step, limit: int
) -> OddPoints:
    """The first `limit` shown points in the window that are NaN or infinite, by step."""
    found: list[OddPoints] = []
    for one in shown:
        for piece in _pieces(connection, one, first, last):
            if piece.segment is None:
                newest = piece.part.segments[-1].newest if piece.part.segments else float("nan")
                before = pyramid.odd_among(piece.part.steps[: piece.end], piece.part.values[: piece.end], newest=newest)
                keep = before.steps >= piece.part.steps[piece.begin] if piece.end > piece.begin else slice(0)
                found.append(_kept(before, keep, piece.without))
            else:
                listed = pyramid.odd_points(connection, piece.segment, piece.begin, piece.end, limit=limit)
                found += [_kept(odd, slice(None), piece.without) for odd in listed]
    steps = np.concatenate([odd.steps for odd in found]) if found else np.empty(0, dtype=np.int64)
    order = np.argsort(steps, kind="stable")[:limit]
    return OddPoints(
        steps=steps[order],
        values=np.concatenate([odd.values for odd in found])[order] if found else np.empty(0),
        after=np.concatenate([odd.after for odd in found])[order] if found else np.empty(0),
    )


class _Piece(Struct, frozen=True, kw_only=True):
    """Consecutive points of a part: of one segment, or of what is in no chunk yet."""

    part: Part
    segment: Segment | None
    begin: int
    end: int
    low: Step
    high: Step
    raw: bool = False
    without: tuple[Step, ...] = ()


def _pieces(connection: sqlite3.Connection, one: Shown, first: Step, last: Step) -> list[_Piece]:
    """The shown points of a part in a window; where single steps are left out, point by point."""
    last = min(last, one.until)
    without = tuple(step for step in one.without if first <= step <= last)
    if not without:
        return _spans(connection, one.part, first, last)
    touched = [
        replace(piece, raw=True, without=without) for piece in _spans(connection, one.part, without[0], without[-1])
    ]
    before = _spans(connection, one.part, first, without[0] - 1)
    after = _spans(connection, one.part, without[-1] + 1, last)
    return [*before, *touched, *after]


def _spans(connection: sqlite3.Connection, part: Part, first: Step, last: Step) -> list[_Piece]:
    if first > last:
        return []
    found = []
    for segment in part.segments:
        begin = _place(connection, part, segment, first, after=False)
        end = _place(connection, part, segment, last, after=True)
        if begin < end:
            low, high = max(first, segment.first), min(last, segment.last)
            found.append(_Piece(part=part, segment=segment, begin=begin, end=end, low=low, high=high))
    begin = int(np.searchsorted(part.steps, first, side="left"))
    end = int(np.searchsorted(part.steps, last, side="right"))
    if begin < end:
        low, high = int(part.steps[begin]), int(part.steps[end - 1])
        found.append(_Piece(part=part, segment=None, begin=begin, end=end, low=low, high=high))
    return found


def _place(connection: sqlite3.Connection, part: Part, segment: Segment, step: Step, *, after: bool) -> int:
    """`pyramid.place`, which one chart asks for the same few steps again and again."""
    key = (segment.number, step, after)
    if key not in part.places:
        part.places[key] = pyramid.place(connection, segment, step, after=after)
    return part.places[key]


def _steps_until(connection: sqlite3.Connection, part: Part, until: Step) -> NDArray[np.int64]:
    """The steps of a part up to `until`; it is a newer attempt's, which has few or none of them."""
    found = [part.steps[: int(np.searchsorted(part.steps, until, side="right"))]]
    for segment in part.segments:
        end = pyramid.place(connection, segment, until, after=True)
        found.append(pyramid.points(connection, segment, 0, end)[0])
    return np.concatenate(found)


def _kept(odd: OddPoints, where: slice | NDArray[np.bool_], without: tuple[Step, ...]) -> OddPoints:
    steps, values, after = odd.steps[where], odd.values[where], odd.after[where]
    keep = ~np.isin(steps, without) if without else np.ones(len(steps), dtype=np.bool_)
    return OddPoints(steps=steps[keep], values=values[keep], after=after[keep])

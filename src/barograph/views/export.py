"""Every point of a run as text: CSV or JSON lines, a piece at a time, nothing left out and nothing averaged.

One line per point: `run, series, attempt, writer, step, time, value, shown`. Points of one file come in the order of
their steps (of its segments, where steps went back); `shown` is false for what a newer attempt has gone over again.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from barograph.errors import ExportBroken, IndexRebuilding, UnknownSeries
from barograph.index import Index, query
from barograph.index.query import Source
from barograph.index.walk import Page, Place, page
from barograph.records import codec
from barograph.records.quantities import Attempt, Number, RunId, Step, spelled
from barograph.views.summary import hidden_from
from barograph.views.times import iso

Format = Literal["csv", "jsonl"]

PAGE = 4_096
"""Points that are read and written at a time: a page takes a few milliseconds."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExportedPoint(Struct, frozen=True, kw_only=True):
    """One line of an export."""

    run: Annotated[RunId, Meta(description="Run id.")]
    series: Annotated[str, Meta(description="Series name.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that wrote it.")]
    writer: Annotated[str, Meta(description="`train` for rank 0, else `rankN` or the process's word.")]
    step: Annotated[Step, Meta(description="Optimizer step.")]
    time: Annotated[str | None, Meta(description="When it was logged, ISO 8601 UTC; null if not known.")]
    value: Annotated[Number, Meta(description="The value as it was logged, in full precision.")]
    shown: Annotated[bool, Meta(description="Whether charts show it: no newer attempt has gone over its step.")]


class Selection(Struct, frozen=True, kw_only=True):
    """Which points of a run."""

    names: Annotated[tuple[str, ...], Meta(description="Series; none stands for all.")] = ()
    first: Annotated[Step, Meta(description="First step.")] = 0
    last: Annotated[Step, Meta(description="Last step.")] = 2**63 - 1
    hidden: Annotated[bool, Meta(description="Whether points that charts do not show come too.")] = True


def export(index: Index, run: str, selection: Selection, *, form: Format) -> Iterator[bytes]:
    """The text of an export, of what was logged when it began and, where a file grows meanwhile, somewhat more.

    Raises `UnknownRun`, `UnknownSeries`, or `IndexRebuilding` while not everything is in the index, before the first
    piece is asked for; and `ExportBroken` later if a file is deleted or written anew: half of an export must not look
    like all of it.
    """
    with index.snapshot() as snapshot:
        known = query.series_names(snapshot, run)
        if not snapshot.ready:
            raise IndexRebuilding(
                "The index is being built, and an export has all points", advice="Ask again in a moment"
            )
    missing = [name for name in selection.names if name not in set(known)]
    if missing:
        raise UnknownSeries(
            f"Run {run!r} has no series {missing[0][:200]!r}",
            advice="It has not been logged yet, or under another name: the page of the run lists those that there are",
        )
    return _text(index, run, selection, names=selection.names or tuple(known), form=form)


def _text(index: Index, run: str, selection: Selection, *, names: Sequence[str], form: Format) -> Iterator[bytes]:
    if form == "csv":
        yield (",".join(ExportedPoint.__struct_fields__) + "\r\n").encode()
    for name in names:
        for file in _files(index, run, name):
            place: Place | None = Place()
            while place is not None:
                found, place = _points(index, file, selection, run=run, name=name, place=place)
                if found:
                    yield _csv(found) if form == "csv" else _lines(found)


class _File(Struct, frozen=True, kw_only=True):
    """One file of the run, and what charts show of a series in it."""

    path: str
    reading: int
    until: Step
    without: tuple[Step, ...]


def _files(index: Index, run: str, name: str) -> list[_File]:
    """The files that hold a series, oldest attempt first."""
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        shown = query.shown_series(snapshot, run, name, among=sources, hidden_from=hidden_from(sources))
    named = {one.id: one for one in sources}
    return [
        _File(
            path=named[one.part.source].path,
            reading=named[one.part.source].state.reading,
            until=one.until,
            without=one.without,
        )
        for one in shown
    ]


def _points(
    index: Index, file: _File, selection: Selection, *, run: str, name: str, place: Place
) -> tuple[list[ExportedPoint], Place | None]:
    """The next points of a series in a file, and where to go on."""
    with index.snapshot() as snapshot:
        source = next((one for one in query.sources(snapshot, run) if one.path == file.path), None)
        series = query.series_id(snapshot, run, name)
        if source is None or series is None or source.state.reading != file.reading:
            raise ExportBroken("a log was deleted or written anew while it was exported", where=file.path)
        found = page(snapshot, source, series=series, place=place, most=PAGE)
    return _exported(found, run, name, source, selection, file=file), found.next


def _exported(
    found: Page, run: str, name: str, source: Source, selection: Selection, *, file: _File
) -> list[ExportedPoint]:
    visible = (found.steps <= file.until) & ~np.isin(found.steps, np.array(file.without, dtype=np.int64))
    chosen = (found.steps >= selection.first) & (found.steps <= selection.last)
    if not selection.hidden:
        chosen &= visible
    return [
        ExportedPoint(
            run=run,
            series=name,
            attempt=source.state.attempt,
            writer=source.state.writer,
            step=step,
            time=iso(time),
            value=value if math.isfinite(value) else spelled(value),
            shown=seen,
        )
        for step, time, value, seen in zip(
            found.steps[chosen].tolist(),
            found.times[chosen].tolist(),
            found.values[chosen].tolist(),
            visible[chosen].tolist(),
            strict=True,
        )
    ]


def _lines(points: Sequence[ExportedPoint]) -> bytes:
    return b"".join(codec.encode_document(point, finite=True) + b"\n" for point in points)


def _csv(points: Sequence[ExportedPoint]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for point in points:
        writer.writerow(
            (
                point.run,
                _safe(point.series),
                point.attempt,
                point.writer,
                point.step,
                point.time or "",
                point.value,
                "true" if point.shown else "false",
            )
        )
    return text.getvalue().encode("utf-8", "replace")


def _safe(cell: str) -> str:
    """A name that a spreadsheet would take for a formula, made a text by an apostrophe; a NUL ends no cell."""
    cell = cell.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) or cell.startswith(_FORMULA) else cell

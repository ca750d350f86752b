"""Every point of a run as text: CSV or JSON lines, a piece at a time, nothing left out and nothing averaged.

One line per point: `run, series, attempt, writer, step, time, value, shown`. Points of one file come in the order of
their steps (of its segments, where steps went back); `shown` is false for what a newer attempt has gone over again.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from barograph.errors import UnknownSeries
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
    """The text of an export. Raises `UnknownRun` or `UnknownSeries` before the first piece is asked for."""
    with index.snapshot() as snapshot:
        known = query.series_names(snapshot, run)
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
        with index.snapshot() as snapshot:
            paths = [one.path for one in query.sources(snapshot, run)]
        for path in paths:
            place: Place | None = Place()
            while place is not None:
                found, place = _points(index, run, name, path, selection, place=place)
                if found:
                    yield _csv(found) if form == "csv" else _lines(found)


def _points(
    index: Index, run: str, name: str, path: str, selection: Selection, *, place: Place
) -> tuple[list[ExportedPoint], Place | None]:
    """The next points of a series in a file, and where to go on; a file that is gone has no more."""
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        source = next((one for one in sources if one.path == path), None)
        series = query.series_id(snapshot, run, name)
        if source is None or series is None:
            return [], None
        found = page(snapshot, source, series=series, place=place, most=PAGE)
        limits = hidden_from(sources)
        shown = query.shown_series(snapshot, run, name, among=sources, hidden_from=limits)
    twice = next((one.without for one in shown if one.part.source == source.id), ())
    return _exported(found, run, name, source, selection, limits=limits, twice=twice), found.next


def _exported(
    found: Page,
    run: str,
    name: str,
    source: Source,
    selection: Selection,
    *,
    limits: Mapping[Attempt, Step],
    twice: Sequence[Step],
) -> list[ExportedPoint]:
    until = limits.get(source.state.attempt)
    visible = ~np.isin(found.steps, np.array(twice, dtype=np.int64))
    if until is not None:
        visible &= found.steps < until
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
    """A name that a spreadsheet would take for a formula, made a text by an apostrophe."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell

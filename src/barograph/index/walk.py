"""Walks through every point of one series of one journal file, a page at a time, each page from a snapshot of its own.

Who takes long to read them (a download over a slow line) therefore holds no view of the index open, and sees what was
added meanwhile. Points move from what is loose into segments and never back, so a place among the segments stays good.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.index import points, pyramid
from barograph.index.curve import curve, parts_of, shown_parts
from barograph.index.query import Source
from barograph.index.snapshot import Snapshot


class Place(Struct, frozen=True, kw_only=True):
    """Where to go on: the points before it were read."""

    segment: int = 0
    """Order of the segment among those of the series in its file."""
    point: int = 0
    """Points of it that were read."""


class Page(Struct, frozen=True, kw_only=True):
    """Consecutive points of one series of one file, by step within each segment."""

    steps: Annotated[NDArray[np.int64], Meta(description="[points]")]
    values: Annotated[NDArray[np.float64], Meta(description="[points]; NaN and infinities are values.")]
    times: Annotated[
        NDArray[np.float64],
        Meta(description="[points], unix seconds; NaN where the row has none, or its step has several rows."),
    ]
    next: Annotated[Place | None, Meta(description="Where the next page begins; None after the last.")]


def page(snapshot: Snapshot, source: Source, *, series: int, place: Place, most: int) -> Page:
    """The next points of a series in a file; at least `most` of them, if there are so many and they are in segments."""
    connection = snapshot.connection
    known = pyramid.segments(connection, source=source.id, series=series)
    while place.segment < len(known) and place.point >= known[place.segment].points:
        if place.segment == len(known) - 1:
            break
        place = Place(segment=place.segment + 1)
    if place.segment < len(known) and place.point < known[place.segment].points:
        segment = known[place.segment]
        end = min(segment.points, place.point + most)
        steps, values = pyramid.points(connection, segment, place.point, end)
        return _page(snapshot, source, steps, values, following=Place(segment=place.segment, point=end))
    rest = points.open_points(connection, series=series, source=source.id)
    return _page(snapshot, source, rest.steps, rest.values, following=None)


def _page(
    snapshot: Snapshot,
    source: Source,
    steps: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    following: Place | None,
) -> Page:
    times = np.full(len(steps), np.nan)
    (rows_of_file,) = parts_of(snapshot.connection, [(source.id, source.state.attempt)], series=points.TIMES) or (None,)
    if rows_of_file is not None and len(rows_of_file.segments) <= 1 and len(steps):
        first, last = int(steps.min()), int(steps.max())
        shown = shown_parts(snapshot.connection, [rows_of_file], hidden_from={})
        rows = curve(snapshot.connection, shown, first=first, last=last, at_least=2**62)
        begin, end = np.searchsorted(rows.lo, steps, side="left"), np.searchsorted(rows.lo, steps, side="right")
        once = end - begin == 1  # which of several rows of one step a point belongs to is not known
        times[once] = rows.last[begin[once]]
    return Page(steps=steps, values=values, times=times, next=following)

"""The document of `GET /api/series`: series of a run, as charts need them.

A cursor is what a client holds already: the shape of its window (what was asked for, and which part of which file is
shown), the width of its buckets, the first step of its newest bucket, how many points it has before that, and how
finely its values are rounded. If all of it still holds, only that bucket and what follows is sent. A log only grows, so
an equal number of points before a step means that they are the same points.

What stands for several points is rounded: to five significant digits, and more where the values of the window lie so
close together that five would not tell them apart. A chart of a thousand buckets is then half as long on the way, and
no pixel of it differs.
"""

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.analysis.rollup import SMOOTHING, Rollup, averages, carried, combined, joined
from barograph.errors import IndexRebuilding, UnknownSeries, UsageError
from barograph.index import Index, Snapshot, query
from barograph.index.curve import LAST
from barograph.index.pyramid import OddPoints
from barograph.index.query import Source
from barograph.records.quantities import Attempt, Step, spelled
from barograph.views.buckets import bucket_starts, bucket_width
from barograph.views.documents import NonFinitePoint, Series, SeriesSet
from barograph.views.ranks import of_ranks, over_ranks
from barograph.views.summary import attempt_rows, hidden_from
from barograph.views.times import document_time, step_window

NON_FINITE = 1_000
"""Most non-finite points that are listed; the count is always that of all."""

DIGITS = 5
"""Significant digits of a value, and of the spread of all values in the window, that are kept at least."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a chart asks for, beside the names of its series."""

    first: Annotated[Step, Meta(description="First step of the window.")] = 0
    last: Annotated[Step, Meta(description="Last step of the window.")] = LAST
    since: Annotated[float | None, Meta(description="The same by time, unix seconds.")] = None
    until: Annotated[float | None, Meta(description="The same by time, unix seconds.")] = None
    buckets: Annotated[int, Meta(ge=1, description="At most so many.")] = 1_000
    smoothing: Annotated[float, Meta(description="0 for none, else one of `SMOOTHING`.")] = 0.0
    attempt: Annotated[Attempt | None, Meta(description="This attempt alone and whole; None is what is shown.")] = None
    times: Annotated[bool, Meta(description="Whether to tell the time of each bucket.")] = False
    ranks: Annotated[bool, Meta(description="Whether to compare the ranks.")] = False


def series_set(
    index: Index,
    run: str,
    names: Sequence[str],
    *,
    asked: Asked | None = None,
    cursors: Sequence[str] = (),
    now: float | None = None,
) -> SeriesSet:
    """The named series of a run; `cursors` are those of an earlier answer to the same question, in the same order.

    For each step the newest attempt's point is shown. The moving average is over the whole shown series, so it does
    not depend on the window. A name that the run does not have (yet) gives an empty series, unless it has none of them.
    Raises `UnknownRun`, `UnknownSeries`, or `UsageError` for a number out of range.
    """
    asked = asked or Asked()
    _check(asked)
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        chosen = [one for one in sources if asked.attempt in (None, one.state.attempt)]
        limits = hidden_from(sources) if asked.attempt is None else {}
        curves = [
            _Curve(snapshot, chosen, limits, asked, run=run, name=name, cursor=cursor)
            for name, cursor in zip(names, [*cursors, *[""] * len(names)], strict=False)
        ]
        if not any(curve.shown for curve in curves):
            _refuse(snapshot, run, names)
        found = [curve.document() for curve in curves]
        return SeriesSet(
            run=run,
            smoothing=asked.smoothing,
            attempts=attempt_rows(sources),
            series=found,
            timestamp=document_time(time.time() if now is None else now),
        )


def _check(asked: Asked) -> None:
    if asked.buckets < 1 or asked.smoothing not in (0.0, *SMOOTHING):
        ladder = ", ".join(str(weight) for weight in SMOOTHING)
        raise UsageError(
            f"{asked.buckets} buckets with smoothing {asked.smoothing} cannot be drawn",
            advice=f"Ask for at least one bucket, and a smoothing of 0 or one of {ladder}",
        )


def _refuse(snapshot: Snapshot, run: str, names: Sequence[str]) -> None:
    """Raises the error that says that none of the names is known, if none is: one may only be empty."""
    if any(query.series_id(snapshot, run, name) is not None for name in names):
        return
    what = ", ".join(repr(name[:100]) for name in names[:3])
    if not snapshot.ready and snapshot.root.is_dir():
        raise IndexRebuilding(
            f"The index is being built, and series {what} of run {run!r} is not in it yet",
            advice="Ask again in a moment",
        )
    raise UnknownSeries(
        f"Run {run!r} has no series {what}",
        advice="It has not been logged yet, or under another name: the page of the run lists those that there are",
    )


class _Curve:
    """One series in the window of a question, over one snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        sources: Sequence[Source],
        limits: Mapping[Attempt, Step],
        asked: Asked,
        *,
        run: str,
        name: str,
        cursor: str,
    ) -> None:
        self._snapshot, self._sources, self._name = snapshot, sources, name
        self.shown = query.shown_series(snapshot, run, name, among=sources, hidden_from=limits)
        self._times = (
            query.shown_times(snapshot, self.shown, among=sources, hidden_from=limits)
            if asked.times or asked.since is not None or asked.until is not None
            else []
        )
        self._of_ranks = of_ranks(snapshot, sources, limits, run=run, name=name) if asked.ranks else []
        self._asked = asked
        first, last = asked.first, asked.last
        if asked.since is not None or asked.until is not None:
            by_time = step_window(snapshot, self._times, since=asked.since, until=asked.until)
            first, last = max(first, by_time[0]), min(last, by_time[1])
        self._window = (first, last)
        self._first, self._last = query.extent(self.shown, first=first, last=last)
        self._width = bucket_width(self._first, self._last, buckets=asked.buckets)
        self._weights = () if asked.smoothing == 0.0 else (SMOOTHING.index(asked.smoothing),)
        self._cursor = cursor

    def document(self) -> Series:
        """The whole window, or what the cursor does not have of it."""
        held = self._held()
        begin = self._first if held is None else held
        rows = self._rows(begin, self._last, at_least=self._asked.buckets, weights=self._weights)
        whole = rows if held is None else self._rows(self._first, self._last, at_least=1)
        finest = _decimals(whole)
        buckets = combined(rows, bucket_starts(rows, width=self._width))
        exact = buckets.count == 1
        single = bool(exact.all())
        odd = query.odd_points(self._snapshot, self.shown, first=begin, last=self._last, limit=NON_FINITE)
        points = int(whole.count.sum())
        written = query.count_points(self._snapshot, self.shown, first=self._window[0], last=self._window[1])
        return Series(
            name=self._name,
            cursor=self._new_cursor(_last_clean_start(buckets, begin), finest=finest),
            partial=held is not None,
            from_step=0 if held is None else held,
            width=self._width,
            first=buckets.lo.tolist(),
            step=buckets.hi.tolist(),
            minimum=None if single else _numbers(buckets.minimum, exact=exact, finest=finest),
            maximum=None if single else _numbers(buckets.maximum, exact=exact, finest=finest),
            mean=None if single else _numbers(buckets.mean, exact=exact, finest=finest),
            last=_numbers(buckets.last, exact=exact, finest=finest),
            smoothed=self._smoothed(buckets, finest=finest),
            count=buckets.count.tolist(),
            non_finite_in_bucket=(buckets.count - buckets.finite).tolist(),
            non_finite=self._non_finite(odd, rows),
            non_finite_count=points - int(whole.finite.sum()),
            points=points,
            hidden_points=written - points,
            time=self._time_of(buckets) if self._asked.times else None,
            ranks=over_ranks(
                self._snapshot, self._of_ranks, buckets=buckets, width=self._width, begin=begin, window=self._window
            )
            if self._asked.ranks
            else None,
        )

    def _rows(self, first: Step, last: Step, *, at_least: int, weights: tuple[int, ...] = ()) -> Rollup:
        return query.curve(self._snapshot, self.shown, first=first, last=last, at_least=at_least, weights=weights)

    def _held(self) -> Step | None:
        """The step from which on the holder of the cursor needs buckets; None: all of them."""
        try:
            shape, width, step, before, finest = (int(part) for part in self._cursor.split("."))
        except ValueError:
            return None
        if (shape, width) != (self._shape(), self._width) or not self._first <= step <= self._last:
            return None
        if self._points_before(step) != before:
            return None
        return step if _decimals(self._rows(self._first, self._last, at_least=1)) == finest else None

    def _new_cursor(self, step: Step, *, finest: int) -> str:
        return f"{self._shape()}.{self._width}.{step}.{self._points_before(step)}.{finest}"

    def _points_before(self, step: Step) -> int:
        """Points of the series, of all ranks if they are asked for, before a step; those before the window as well,
        because the moving average goes back to the first."""
        curves = [self.shown, *(one.shown for one in self._of_ranks if one.rank)]
        return sum(query.count_points(self._snapshot, shown, first=0, last=step - 1) for shown in curves)

    def _shape(self) -> int:
        """A number of everything that buckets depend on beside the points that come at the end."""
        files = {one.id: (one.path, one.state.reading) for one in self._sources}
        parts = [(files[one.part.source], one.until, one.without) for one in self.shown]
        return zlib.crc32(repr((self._name, self._asked, self._first, parts)).encode("utf-8", "surrogatepass"))

    def _smoothed(self, buckets: Rollup, *, finest: int) -> list[float | None] | None:
        if not self._weights:
            return None
        (weight,) = self._weights
        start = int(buckets.lo[0]) if len(buckets) else 0
        past = self._rows(0, start - 1, at_least=1, weights=self._weights)
        found = averages(buckets, weight=weight, before=carried(past, weight=weight))
        # The average is carried over what is no number; drawn there, it would run on over a dead run.
        rounded = np.zeros(len(buckets), dtype=np.bool_)
        return _numbers(np.where(buckets.finite > 0, found, math.nan), exact=rounded, finest=finest)

    def _non_finite(self, odd: OddPoints, rows: Rollup) -> list[NonFinitePoint]:
        after = odd.after
        if np.isnan(after).any():  # the first points of a file: what is shown of an older attempt may know one
            before = self._rows(0, int(odd.steps.min()) - 1, at_least=1)
            if len(rows) == 0 or before.finite.any():
                rows = joined([before, rows.of_weights(()).part(rows.lo >= int(odd.steps.min()))])
            place = np.searchsorted(rows.hi, odd.steps, side="left") - 1
            known = np.maximum.accumulate(np.where(rows.finite > 0, np.arange(len(rows)), -1))
            earlier = np.where(place >= 0, known[np.maximum(place, 0)], -1)
            after = np.where(np.isnan(after) & (earlier >= 0), rows.last[np.maximum(earlier, 0)], after)
        return [
            NonFinitePoint(step=step, value=spelled(value), after=last)
            for step, value, last in zip(odd.steps.tolist(), odd.values.tolist(), _exactly(after), strict=True)
        ]

    def _time_of(self, buckets: Rollup) -> list[float | None]:
        """The time of the row at the last step of each bucket."""
        if not len(buckets):
            return []
        first, last = int(buckets.lo.min()), int(buckets.hi.max())
        rows = query.curve(self._snapshot, self._times, first=first, last=last, at_least=self._asked.buckets)
        place = np.searchsorted(rows.hi, buckets.hi, side="left")
        times = []
        for at, step in zip(place.tolist(), buckets.hi.tolist(), strict=True):
            if at < len(rows) and rows.hi[at] == step:
                times.append(float(rows.last[at]))
            else:  # a coarse row ends elsewhere: a series that is logged now and then
                own = query.curve(self._snapshot, self._times, first=step, last=step, at_least=LAST)
                times.append(float(own.last[-1]) if len(own) else math.nan)
        return [round(value, 3) if math.isfinite(value) else None for value in times]


def _numbers(values: NDArray[np.float64], *, exact: NDArray[np.bool_], finest: int) -> list[float | None]:
    """The values as JSON has them; what is not exact is rounded."""
    return _exactly(values if exact.all() else np.where(exact, values, _rounded(values, finest=finest)))


def _exactly(values: NDArray[np.float64]) -> list[float | None]:
    found: list[float | None] = values.tolist()
    if np.isfinite(values).all():
        return found
    return [value if value is not None and math.isfinite(value) else None for value in found]


def _last_clean_start(buckets: Rollup, begin: Step) -> Step:
    """The first step of the newest bucket of which no earlier one has a point: from there on, buckets can be sent again
    without saying anything twice. Coarse rows reach over the edges of buckets."""
    for place in range(len(buckets) - 1, 0, -1):
        if buckets.hi[place - 1] < buckets.lo[place]:
            return int(buckets.lo[place])
    return begin


def _decimals(rows: Rollup) -> int:
    """Decimals that the spread of all values asks for; may be negative."""
    known = rows.finite > 0
    if not known.any():
        return 0
    # Halved before they are subtracted: the spread of finite values need not be finite.
    half = float(rows.maximum[known].max()) / 2 - float(rows.minimum[known].min()) / 2
    return DIGITS - 1 - math.floor(math.log10(half) + math.log10(2)) if half > 0 else 0


def _rounded(values: NDArray[np.float64], *, finest: int) -> NDArray[np.float64]:
    """Each value to `DIGITS` significant digits or `finest` decimals, whichever is more: as the double that is nearest
    to that decimal number, so it prints as it reads."""
    size = np.floor(np.log10(np.abs(np.where(np.isfinite(values) & (values != 0.0), values, 1.0)))).astype(np.int64)
    places = np.maximum(DIGITS - 1 - size, finest)
    # Powers of ten up to 22 are exact doubles, so one multiplication or division by them rounds correctly; beyond 15
    # digits there is nothing to round.
    known = np.isfinite(values) & (np.abs(places) <= 22) & (places + size < 15)
    scale = np.power(10.0, np.where(known, np.abs(places), 0))
    safe = np.where(known, values, 0.0)
    scaled = np.where(places >= 0, np.round(safe * scale) / scale, np.round(safe / scale) * scale)
    found: NDArray[np.float64] = np.where(known, scaled, values)
    return found

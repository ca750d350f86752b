"""The document of `GET /api/series`: one series of a run, as a chart needs it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from barograph.analysis.attempts import shown_points
from barograph.analysis.moving_average import moving_average
from barograph.errors import UsageError
from barograph.index import Index, query
from barograph.index.points import Points
from barograph.index.query import AttemptPoints, Source
from barograph.records.quantities import Step
from barograph.views.buckets import bucketed
from barograph.views.documents import NonFinitePoint, Series
from barograph.views.summary import attempt_rows, hidden_from

NON_FINITE = 1_000
"""Most non-finite points that are listed; the count is always that of all."""

MOST_SMOOTHING = 0.999


def series(
    index: Index,
    run: str,
    name: str,
    *,
    first: Step | None = None,
    last: Step | None = None,
    buckets: int = 1_000,
    smoothing: float = 0.0,
) -> Series:
    """The points of a series with `first <= step <= last` in at most `buckets` buckets.

    For each step the newest attempt's point is shown. The moving average is over the whole shown series, so it does
    not depend on the window. Raises `UnknownRun`, `UnknownSeries`, or `UsageError` for a number out of range.
    """
    if buckets < 1 or not 0.0 <= smoothing <= MOST_SMOOTHING:
        raise UsageError(
            f"{buckets} buckets with smoothing {smoothing} cannot be drawn",
            advice=f"Ask for at least one bucket and a smoothing from 0 to {MOST_SMOOTHING}",
        )
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        points = query.series_points(snapshot, run, name)
    visible = shown(points, sources)
    steps, values = visible.steps, visible.values
    smoothed = moving_average(values, past=smoothing)
    before = _last_finite_before(values)
    window = slice(*(int(place) for place in _window(steps, first, last)))
    drawn = bucketed(steps[window], values[window], buckets=buckets)
    non_finite = np.flatnonzero(~np.isfinite(values[window]))
    in_window = np.count_nonzero(_within(points.steps, first, last))
    return Series(
        run=run,
        name=name,
        first=drawn.first.tolist(),
        step=drawn.step.tolist(),
        minimum=_numbers(drawn.minimum),
        maximum=_numbers(drawn.maximum),
        mean=_numbers(drawn.mean),
        last=_numbers(drawn.last),
        # The average is carried over what is no number; drawn there, it would run on over a dead run.
        smoothed=_numbers(np.where(np.isfinite(drawn.last), smoothed[window][drawn.end], math.nan)),
        count=drawn.count.tolist(),
        non_finite_in_bucket=drawn.non_finite.tolist(),
        non_finite=[
            NonFinitePoint(step=step, value=value, after=after)
            for step, value, after in zip(
                steps[window][non_finite[:NON_FINITE]].tolist(),
                values[window][non_finite[:NON_FINITE]].tolist(),
                _numbers(before[window][non_finite[:NON_FINITE]]),
                strict=True,
            )
        ],
        non_finite_count=len(non_finite),
        points=len(steps[window]),
        hidden_points=int(in_window) - len(steps[window]),
        smoothing=smoothing,
        attempts=attempt_rows(sources),
    )


def shown(points: AttemptPoints, sources: Sequence[Source]) -> Points:
    """The points of a series that a chart of the run shows, by step; `sources` are those of the run."""
    places = shown_points(points.steps, points.attempts, hidden_from=hidden_from(sources))
    return Points(steps=points.steps[places], values=points.values[places])


def _within(steps: NDArray[np.int64], first: Step | None, last: Step | None) -> NDArray[np.bool_]:
    return (steps >= (0 if first is None else first)) & (steps <= (2**63 - 1 if last is None else last))


def _window(steps: NDArray[np.int64], first: Step | None, last: Step | None) -> tuple[np.intp, np.intp]:
    """Places of the first point in the window and after the last, in ascending `steps`."""
    begin = np.searchsorted(steps, 0 if first is None else first, side="left")
    end = np.searchsorted(steps, 2**63 - 1 if last is None else last, side="right")
    return begin, max(begin, end)


def _last_finite_before(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At each point the last finite value up to it; NaN where there is none."""
    return moving_average(values, past=0.0)


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]

"""Spikes of a loss curve, as episodes: rises far above what the curve did just before.

A point is judged by the `window` finite points before it. The medians of the older and the newer half of them give a
line, which is drawn on to the point; the residuals of the window about that line give the noise:

    y = log(loss),  p = the line at the point,  s = 1.4826 median |r - median r|,  r = residuals of the window
    hit  if  (y - p) / s > sigma  and  loss > min_ratio exp(p)  and  y - p > tail max(r - median r)

Where the line falls below the median of the last five points, that median is p: a fast fall that slows down is no rise.

The scale is the median absolute deviation, which earlier spikes do not inflate (Rousseeuw & Croux 1993), and the window
looks back only, so that the same answer is had while training. Where the window or the point has a loss of zero or
less, y is the loss itself, and a hit is above p + (min_ratio - 1) |p|.

That deviation sees the bulk of the noise and not its tail. A mixture of tasks, one of them harder, has a second mode
far above the first, and every tenth batch of a healthy training would be a spike. So the window's own greatest residual
sets a bar too: a spike is a multiple of it. The newest episode is left out of that, or each spike would hide the next;
of several in one window the older ones count, and a curve that jumps again and again is taken for one with a tail.

Hits not more than `merge` points apart are one episode: a level shift and a divergence are one each. A loss that is no
number is no spike; it is counted elsewhere.

The fold `Spikes` sees one point at a time; `spikes` gives the same episodes for a whole curve at once.
"""

import math
from collections import deque
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.records.quantities import Count, Step

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

MAD_TO_SIGMA = 1.4826022185056018
"""1 / Phi^-1(3/4): the median absolute deviation of a normal distribution times this is its standard deviation."""

RECENT = 5
"""Points of whose median a hit must be above, besides the line."""

ROWS = 1 << 15
"""Windows that are looked at at a time."""


def median(values: Floats) -> float:
    """The median of `values: [values]`, one or more, NaN if one of them is: numpy's own to the bit, in a tenth of its
    time for a few dozen values, most of which goes into finding out what it was given."""
    ordered, half = np.sort(values), len(values) // 2
    if math.isnan(ordered[-1]):  # they are sorted to the end
        return math.nan
    return float(ordered[half]) if len(values) % 2 else float((ordered[half - 1] + ordered[half]) / 2.0)


class SpikeRule(Struct, frozen=True, kw_only=True):
    """What counts as a spike."""

    window: Annotated[int, Meta(ge=4, description="Finite points before a point that it is judged by.")]
    min_window: Annotated[int, Meta(ge=4, description="With fewer of them, a point is not judged.")]
    sigma: Annotated[float, Meta(gt=0.0, description="A hit is so many standard deviations above the line.")]
    min_ratio: Annotated[float, Meta(gt=1.0, description="And at least so many times what the line says.")]
    tail: Annotated[float, Meta(ge=0.0, description="And so many times as far above it as any point of the window.")]
    merge: Annotated[int, Meta(ge=1, description="Hits not more than so many points apart are one episode.")]


class Spike(Struct, frozen=True, kw_only=True):
    """One episode."""

    first_step: Annotated[Step, Meta(description="Step of its first hit.")]
    last_step: Annotated[Step, Meta(description="Step of its last hit.")]
    hits: Annotated[Count, Meta(description="Points that were hits.")]
    peak_step: Annotated[Step, Meta(description="Step of its greatest loss.")]
    peak: Annotated[float, Meta(description="That loss, nats.")]
    expected: Annotated[float, Meta(description="What the line said at the first hit, nats.")]


class Hit(Struct, frozen=True, kw_only=True):
    """A point that is a hit."""

    place: int
    """Its place among the finite points."""
    step: int
    """Its step."""
    loss: float
    """Its loss, nats."""
    expected: float
    """What the line said there, nats."""


class Span(Struct, frozen=True):
    """Where the newest episode lies among the finite points."""

    first: int
    """Place of its first hit."""
    last: int
    """Place of its newest."""


class Spikes:
    """A fold over the points of a curve: `episodes` so far, the last of which may go on."""

    def __init__(self, rule: SpikeRule) -> None:
        self._rule = rule
        self._window: deque[float] = deque(maxlen=rule.window)
        self._count = 0
        self._span: Span | None = None
        self.episodes: list[Spike] = []
        """Those that were found, oldest first."""
        self.hit: Hit | None = None
        """The newest hit."""

    @property
    def firing(self) -> bool:
        """Whether the newest episode may go on."""
        return self._span is not None and self._count - 1 - self._span.last < self._rule.merge

    def update(self, step: int, loss: float) -> bool:
        """Take one point in; whether it is a hit. One that is not finite changes nothing."""
        if not math.isfinite(loss):
            return False
        expected = None
        if len(self._window) >= self._rule.min_window and may_be_hit(self._window, loss, rule=self._rule):
            spared = within(self._span, self._count - len(self._window))
            expected = hit_above(np.array(self._window), loss, spared=spared, rule=self._rule)
        if expected is not None:
            hit = Hit(place=self._count, step=step, loss=loss, expected=expected)
            last = None if self._span is None else self._span.last
            self.episodes = joined(self.episodes, hit, last=last, merge=self._rule.merge)
            self._span, self.hit = span_after(self._span, self._count, merge=self._rule.merge), hit
        self._window.append(loss)
        self._count += 1
        return expected is not None


def spikes(steps: Steps, losses: Floats, *, rule: SpikeRule) -> list[Spike]:
    """The episodes of a curve; `steps: [points]` and `losses: [points]`, nats, in the order of steps."""
    finite = np.isfinite(losses)
    steps, losses = steps[finite], losses[finite]
    episodes: list[Spike] = []
    span: Span | None = None
    for place in _candidates(losses, rule=rule):
        first = max(0, place - rule.window)
        spared = within(span, first)
        expected = hit_above(losses[first:place], float(losses[place]), spared=spared, rule=rule)
        if expected is not None:
            hit = Hit(place=place, step=int(steps[place]), loss=float(losses[place]), expected=expected)
            episodes = joined(episodes, hit, last=None if span is None else span.last, merge=rule.merge)
            span = span_after(span, place, merge=rule.merge)
    return episodes


def may_be_hit(before: deque[float], loss: float, *, rule: SpikeRule) -> bool:
    """Whether `loss` is far enough above the last points to be worth a look: true wherever `hit_above` finds a hit.

    What a hit is above is never less than the median of the last five. This costs a fortieth of the whole look, and
    spares it at nearly every step.
    """
    if len(before) < RECENT:
        return True
    recent = sorted((before[-1], before[-2], before[-3], before[-4], before[-5]))[2]
    return recent < 0.0 or loss > rule.min_ratio * recent * (1.0 - 1e-9)


def hit_above(before: Floats, loss: float, *, spared: slice, rule: SpikeRule) -> float | None:
    """What the line through `before: [window]` says of the next point, if `loss` is a hit there; else None. The points
    `spared` of the window set no bar."""
    logs = loss > 0.0 and bool((before > 0.0).all())
    y, here = (np.log(before), math.log(loss)) if logs else (before, loss)
    half = len(y) // 2
    older, newer = median(y[:half]), median(y[half:])
    line = _line(older, newer, half=half, count=len(y))
    predicted = max(line.slope * len(y) + line.level, median(y[-RECENT:]))
    if here - predicted <= _least_rise(predicted, logs=logs, rule=rule):
        return None
    residuals = y - (line.slope * np.arange(len(y)) + line.level)
    residuals -= median(residuals)
    scale = MAD_TO_SIGMA * median(np.abs(residuals))
    residuals[spared] = 0.0
    if here - predicted <= max(rule.sigma * scale, rule.tail * float(residuals.max())):
        return None
    return math.exp(predicted) if logs else predicted


def within(span: Span | None, first: int) -> slice:
    """The newest episode as places of a window that begins at place `first`."""
    return slice(0) if span is None else slice(max(0, span.first - first), max(0, span.last + 1 - first))


def span_after(span: Span | None, place: int, *, merge: int) -> Span:
    """Where the newest episode lies once there is a hit at `place`."""
    return Span(place if span is None or place - span.last > merge else span.first, place)


def joined(episodes: list[Spike], hit: Hit, *, last: int | None, merge: int) -> list[Spike]:
    """The episodes with one more hit: part of the last one, or the first of a new one."""
    if last is None or hit.place - last > merge:
        new = Spike(
            first_step=hit.step,
            last_step=hit.step,
            hits=1,
            peak_step=hit.step,
            peak=hit.loss,
            expected=hit.expected,
        )
        return [*episodes, new]
    before = episodes[-1]
    higher = hit.loss > before.peak
    going_on = Spike(
        first_step=before.first_step,
        last_step=hit.step,
        hits=before.hits + 1,
        peak_step=hit.step if higher else before.peak_step,
        peak=hit.loss if higher else before.peak,
        expected=before.expected,
    )
    return [*episodes[:-1], going_on]


class _Line(Struct, frozen=True):
    slope: float
    level: float


def _line(older: float, newer: float, *, half: int, count: int) -> _Line:
    """Through the medians of the halves at the middle places of each; places count from the window's first point."""
    first, second = (half - 1) / 2, half + (count - half - 1) / 2
    slope = (newer - older) / (second - first)
    return _Line(slope, older - slope * first)


def _least_rise(predicted: float, *, logs: bool, rule: SpikeRule) -> float:
    return math.log(rule.min_ratio) if logs else (rule.min_ratio - 1.0) * abs(predicted)


def _candidates(losses: Floats, *, rule: SpikeRule) -> Iterator[int]:
    """Places that may be hits. Behind the first window, those that rise enough above the line; there are few."""
    count, window = len(losses), rule.window
    yield from range(min(rule.min_window, count), min(window, count))
    if count <= window:
        return
    half = window // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(losses)
    positive = losses > 0.0
    low = math.log(rule.min_ratio) * (1.0 - 1e-9)
    for begin in range(window, count, ROWS):
        end = min(begin + ROWS, count)
        part = slice(begin - window, end)
        if not positive[part].all():
            yield from range(begin, end)
            continue
        y = logs[part]
        older = _rolling_median(y, half)[: end - begin]
        newer = _rolling_median(y, window - half)[half : half + end - begin]
        first, second = (half - 1) / 2, half + (window - half - 1) / 2
        slope = (newer - older) / (second - first)
        predicted = slope * (window - first) + older
        yield from (begin + np.flatnonzero(y[window:] - predicted > low - 1e-12)).tolist()


def _rolling_median(y: Floats, width: int) -> Floats:
    """Median of every `width` neighbours, [len(y) - width + 1]."""
    rows = np.lib.stride_tricks.sliding_window_view(y, width)
    middle = (width - 1) // 2
    ordered = np.partition(rows, (middle, width // 2), axis=1)
    median: Floats = (ordered[:, middle] + ordered[:, width // 2]) / 2.0
    return median

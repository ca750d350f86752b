"""Spans of points as rows that can be joined without the points: the algebra under every chart.

A row stands for consecutive points of a series: its steps, how many there are and how many are finite, least, greatest,
mean and last finite value, and one decayed sum per weight w of the ladder `SMOOTHING`:

    S = sum of (1 - w) w^(n - i) x_i   over the n finite points x_1 .. x_n of the span

For a span followed by another one, S = w^n2 S1 + S2, so sums join like counts do, and the bias-corrected moving average
after any row is S / (1 - w^n) of everything up to it (Kingma & Ba 2015, Adam, section 3): the same number that a pass
over all points gives, at any zoom. Points that are NaN or infinite count and are otherwise passed over. The algebra is
associative up to rounding in float64; least, greatest, last and counts are exact.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace
from numpy.typing import NDArray

SMOOTHING = (0.6, 0.9, 0.97, 0.99, 0.999)
"""Weights of the past for which sums are kept: windows of 2.5, 10, 33, 100 and 1,000 points."""

ALL = tuple(range(len(SMOOTHING)))
"""Places of all weights."""

_PAST = np.array(SMOOTHING)
_KNOWN_POWERS = 4_097
_POWERS = _PAST[:, None] ** np.arange(_KNOWN_POWERS)


class Rollup(Struct, frozen=True, kw_only=True):
    """Rows, in the order of their points. What only finite values have is NaN in a row without any."""

    lo: Annotated[NDArray[np.int64], Meta(description="[rows], first step.")]
    hi: Annotated[NDArray[np.int64], Meta(description="[rows], last step.")]
    count: Annotated[NDArray[np.int64], Meta(description="[rows], points, non-finite ones included.")]
    finite: Annotated[NDArray[np.int64], Meta(description="[rows], finite points.")]
    minimum: Annotated[NDArray[np.float64], Meta(description="[rows], least finite value.")]
    maximum: Annotated[NDArray[np.float64], Meta(description="[rows], greatest finite value.")]
    mean: Annotated[NDArray[np.float64], Meta(description="[rows], mean of the finite values.")]
    last: Annotated[NDArray[np.float64], Meta(description="[rows], last finite value.")]
    decayed: Annotated[NDArray[np.float64], Meta(description="[weights, rows], the sums S.")]
    weights: Annotated[tuple[int, ...], Meta(description="Places in `SMOOTHING` of the weights that have sums here.")]

    def __len__(self) -> int:
        return len(self.lo)

    def part(self, where: slice | NDArray[np.bool_] | NDArray[np.intp]) -> "Rollup":
        """The rows that a slice, a mask or places name."""
        return Rollup(
            lo=self.lo[where],
            hi=self.hi[where],
            count=self.count[where],
            finite=self.finite[where],
            minimum=self.minimum[where],
            maximum=self.maximum[where],
            mean=self.mean[where],
            last=self.last[where],
            decayed=self.decayed[:, where],
            weights=self.weights,
        )

    def of_weights(self, weights: tuple[int, ...]) -> "Rollup":
        """The same rows with the sums of some weights only: the others would be joined for nothing."""
        if weights == self.weights:
            return self
        places = [self.weights.index(weight) for weight in weights]
        return replace(self, decayed=self.decayed[places], weights=weights)


class Carried(Struct, frozen=True, kw_only=True):
    """What was before a row, as far as moving averages need it."""

    finite: Annotated[int, Meta(description="Finite points before.")] = 0
    decayed: Annotated[float, Meta(description="S of all of them, for one weight.")] = 0.0


def rollup(steps: NDArray[np.int64], values: NDArray[np.float64], *, weights: tuple[int, ...] = ALL) -> Rollup:
    """One row per point; `steps: [points]` and `values: [points]` belong together."""
    finite = np.isfinite(values)
    known = values if finite.all() else np.where(finite, values, math.nan)
    return Rollup(
        lo=steps,
        hi=steps,
        count=np.ones(len(steps), dtype=np.int64),
        finite=finite.astype(np.int64),
        minimum=known,
        maximum=known,
        mean=known,
        last=known,
        decayed=(1.0 - _PAST[list(weights), None]) * (values if known is values else np.where(finite, values, 0.0)),
        weights=weights,
    )


NOTHING = rollup(np.empty(0, dtype=np.int64), np.empty(0))
"""No rows."""


def joined(parts: Sequence[Rollup]) -> Rollup:
    """The rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NOTHING
    return Rollup(
        lo=np.concatenate([part.lo for part in parts]),
        hi=np.concatenate([part.hi for part in parts]),
        count=np.concatenate([part.count for part in parts]),
        finite=np.concatenate([part.finite for part in parts]),
        minimum=np.concatenate([part.minimum for part in parts]),
        maximum=np.concatenate([part.maximum for part in parts]),
        mean=np.concatenate([part.mean for part in parts]),
        last=np.concatenate([part.last for part in parts]),
        decayed=np.concatenate([part.decayed for part in parts], axis=1),
        weights=parts[0].weights,
    )


def combined(rows: Rollup, starts: NDArray[np.intp]) -> Rollup:
    """One row per group of rows; `starts: [groups]` ascend strictly, the first is 0. No rows make no groups."""
    if len(rows) == 0:
        return rows
    ends = np.append(starts[1:], len(rows))
    finite = np.add.reduceat(rows.finite, starts)
    minimum, maximum = np.fmin.reduceat(rows.minimum, starts), np.fmax.reduceat(rows.maximum, starts)
    return Rollup(
        lo=np.minimum.reduceat(rows.lo, starts),
        hi=np.maximum.reduceat(rows.hi, starts),
        count=np.add.reduceat(rows.count, starts),
        finite=finite,
        minimum=minimum,
        maximum=maximum,
        mean=_means(rows, starts, ends, finite=finite, minimum=minimum, maximum=maximum),
        last=_lasts(rows, starts),
        decayed=_decayed(rows, starts, ends),
        weights=rows.weights,
    )


def thinned(rows: Rollup, fan: int) -> Rollup:
    """One row per `fan` rows; the rows that do not fill one at the end are left out.

    What `combined` gives, by way of whole columns where every point is finite: this is what building an index costs.
    """
    groups = len(rows) // fan
    rows = rows.part(slice(groups * fan))
    if not groups or not np.array_equal(rows.finite, rows.count):
        return combined(rows, np.arange(0, groups * fan, fan))
    shape = (groups, fan)
    count = rows.count.reshape(shape)
    total = count.sum(axis=1)
    minimum, maximum = rows.minimum.reshape(shape).min(axis=1), rows.maximum.reshape(shape).max(axis=1)
    mean = (rows.mean.reshape(shape) * (count / total[:, None])).sum(axis=1)
    later = total[:, None] - count.cumsum(axis=1)
    decayed = rows.decayed.reshape(-1, *shape)
    if (later == later[0]).all():  # as everywhere but where an odd number of points was missing
        factors = _PAST[list(rows.weights), None] ** later[0]
        sums = np.einsum("wgf,wf->wg", decayed, factors)
    else:
        sums = (decayed * _PAST[list(rows.weights), None, None] ** later).sum(axis=2)
    return Rollup(
        lo=rows.lo.reshape(shape).min(axis=1),
        hi=rows.hi.reshape(shape).max(axis=1),
        count=total,
        finite=total,
        minimum=minimum,
        maximum=maximum,
        mean=np.clip(mean, minimum, maximum),
        last=rows.last.reshape(shape)[:, -1],
        decayed=sums,
        weights=rows.weights,
    )


def carried(rows: Rollup, *, weight: int) -> Carried:
    """What follows from `rows` for those after them; `weight` is a place in `SMOOTHING`."""
    if len(rows) == 0:
        return Carried()
    whole = combined(rows.of_weights((weight,)), np.zeros(1, dtype=np.intp))
    return Carried(finite=int(whole.finite[0]), decayed=float(whole.decayed[0, 0]))


def averages(rows: Rollup, *, weight: int, before: Carried) -> NDArray[np.float64]:
    """[rows], the moving average of all finite points up to the end of each row; NaN before the first of them."""
    past = SMOOTHING[weight]
    seen = np.cumsum(rows.finite)
    decays = past**rows.finite
    totals = rows.decayed[rows.weights.index(weight)].copy()
    reach = 1
    while reach < len(rows):  # each sum takes in that of the `reach` rows before it: log2 of the rows passes
        totals[reach:] += decays[reach:] * totals[:-reach].copy()
        decays[reach:] *= decays[:-reach].copy()
        reach *= 2
    totals += past**seen * before.decayed
    mass = 1.0 - past ** (before.finite + seen)
    found = np.full(len(rows), math.nan)
    np.divide(totals, mass, out=found, where=mass > 0)
    return found


def _means(
    rows: Rollup,
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
    *,
    finite: NDArray[np.int64],
    minimum: NDArray[np.float64],
    maximum: NDArray[np.float64],
) -> NDArray[np.float64]:
    # Divided before they are added: the sum of finite values need not be finite.
    shares = rows.finite / np.repeat(np.maximum(finite, 1), ends - starts)
    weighted = np.where(rows.finite > 0, rows.mean, 0.0) * shares
    return np.where(finite > 0, np.clip(np.add.reduceat(weighted, starts), minimum, maximum), math.nan)


def _lasts(rows: Rollup, starts: NDArray[np.intp]) -> NDArray[np.float64]:
    places = np.maximum.reduceat(np.where(rows.finite > 0, np.arange(len(rows)), -1), starts)
    return np.where(places >= starts, rows.last[np.maximum(places, 0)], math.nan)


def _decayed(rows: Rollup, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.float64]:
    seen = np.cumsum(rows.finite)
    later = np.repeat(seen[ends - 1], ends - starts) - seen
    if len(later) and later.max() < _KNOWN_POWERS:
        factors = np.stack([_POWERS[weight][later] for weight in rows.weights]) if rows.weights else rows.decayed
    else:
        factors = _PAST[list(rows.weights), None] ** later
    sums: NDArray[np.float64] = np.add.reduceat(factors * rows.decayed, starts, axis=1)
    return sums

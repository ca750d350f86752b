"""Whether a curve falls, rises or stays: Theil-Sen slope of block means, with its confidence interval.

    y = log of the block means of the loss,  slope = median over i < j of (y_j - y_i) / (x_j - x_i)
    S = sum over i < j of sign(y_j - y_i),   Var S = n (n - 1) (2 n + 5) / 18, less what ties take away

The slope is that of Theil (1950) and Sen (1968), its interval that of Sen: with C = z sqrt(Var S) and N pairs, the
slopes at ranks (N - C) / 2 and (N + C) / 2. "improving" needs the whole interval below zero, "degrading" above; so the
two words are as rare on noise as the confidence says (Mann 1945, Kendall 1975). Points of a training curve depend on
each other, and the test assumes that they do not: so it is made of means of blocks that are longer than that
dependence, and never of a moving average, on which it finds a trend in two of three flat series.

Where a block mean is zero or less, y is the mean itself and the change is not relative.
"""

import math
from statistics import NormalDist
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.records.quantities import Count
from barograph.records.signals import TrendWord

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


class TrendRule(Struct, frozen=True, kw_only=True):
    """How a trend is measured."""

    min_blocks: Annotated[int, Meta(ge=4, description="Fewer blocks than this say nothing.")]
    max_blocks: Annotated[int, Meta(ge=4, le=1000, description="Most blocks; the cost grows with their square.")]
    min_block: Annotated[int, Meta(ge=1, description="Fewest points of a block.")]
    confidence: Annotated[float, Meta(gt=0.0, lt=1.0, description="Of the interval, two-sided.")]


class Trend(Struct, frozen=True, kw_only=True):
    """The trend of one curve; numbers are null where there were too few points."""

    word: Annotated[TrendWord, Meta(description="What the interval says.")]
    change_per_1000: Annotated[
        float | None, Meta(description="Relative change of the loss per 1,000 steps; -0.02 is 2 % less.")
    ]
    low: Annotated[float | None, Meta(description="Lower end of its interval.")]
    high: Annotated[float | None, Meta(description="Upper end of its interval.")]
    relative: Annotated[bool, Meta(description="Whether the change is relative; else it is in nats.")]
    blocks: Annotated[Count, Meta(description="Blocks that it was made of.")]


def trend(steps: Steps, losses: Floats, *, rule: TrendRule) -> Trend:
    """The trend of `losses: [points]`, nats, over `steps: [points]`, ascending; points that are not finite are left
    out."""
    finite = np.isfinite(losses)
    x, y = steps[finite].astype(np.float64), losses[finite]
    blocks = min(rule.max_blocks, len(y) // rule.min_block)
    if blocks < rule.min_blocks:
        return Trend(word="unknown", change_per_1000=None, low=None, high=None, relative=True, blocks=blocks)
    edges = np.linspace(0, len(y), blocks + 1).astype(np.int64)
    sizes = np.diff(edges)
    mean_x, mean_y = np.add.reduceat(x, edges[:-1]) / sizes, np.add.reduceat(y, edges[:-1]) / sizes
    relative = bool((mean_y > 0.0).all())
    values = np.log(mean_y) if relative else mean_y
    slope, low, high = _slopes(mean_x, values, confidence=rule.confidence)
    word: TrendWord = "improving" if high < 0.0 else "degrading" if low > 0.0 else "stable"
    change = [math.expm1(min(700.0, 1000.0 * one)) if relative else 1000.0 * one for one in (slope, low, high)]
    return Trend(word=word, change_per_1000=change[0], low=change[1], high=change[2], relative=relative, blocks=blocks)


def _slopes(x: Floats, y: Floats, *, confidence: float) -> tuple[float, float, float]:
    """Theil-Sen slope and the ends of its interval."""
    i, j = np.triu_indices(len(x), k=1)
    apart = x[j] - x[i]
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.sort(((y[j] - y[i]) / apart)[apart > 0.0])
    pairs = len(slopes)
    if not pairs:
        return 0.0, 0.0, 0.0
    count = len(y)
    ties = np.unique(y, return_counts=True)[1].astype(np.float64)
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18.0
    reach = NormalDist().inv_cdf(0.5 + confidence / 2.0) * math.sqrt(max(0.0, variance))
    lowest = max(0, round((pairs - reach) / 2.0) - 1)
    highest = min(pairs - 1, round((pairs + reach) / 2.0))
    return float(np.median(slopes)), float(slopes[lowest]), float(slopes[highest])

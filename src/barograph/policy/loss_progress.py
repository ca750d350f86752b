"""Where the loss of a training began, and whether it is below that now.

A trend is taken of the newest losses, and a training that has exploded falls from its own explosion: however much that
is, nothing is gained before the loss is below its beginning. That is the median of the first losses; but where those
rose at once, by far more than the noise of single losses, it is the very first of them, which no update had touched.
"""

import math
from statistics import median

from msgspec import Struct

FIRST = 10
"""Losses that a training begins with."""

RISE_SIGMA = 4.0
"""The first losses rose if their median is so many deviations of the noise above the very first."""

MARGIN_SIGMA = 0.5
"""A single loss is that uncertain: one is gained upon only by so many deviations."""


class Progress(Struct, frozen=True):
    """The loss now beside the loss at the beginning, nats."""

    began: float
    """What it began with."""
    now: float
    """Its moving average now."""
    rose: bool
    """Whether it rose at once, so that the first loss alone is what it began with."""
    gained: bool
    """Whether it is below its beginning."""


class LossBeginning:
    """A fold over the losses of one attempt: the first finite ones."""

    def __init__(self) -> None:
        self._first: list[float] = []

    def update(self, loss: float) -> None:
        """Take one loss in, nats; all but the first finite ones change nothing."""
        if len(self._first) < FIRST and math.isfinite(loss):
            self._first.append(loss)

    def progress(self, now: float | None, noise: float | None) -> Progress | None:
        """`now` is the moving average of the losses and `noise` the robust deviation of single ones, nats, None if not
        known; None while there are too few losses."""
        if now is None or len(self._first) < FIRST:
            return None
        first, usual, sigma = self._first[0], median(self._first), noise or 0.0
        rose = usual - first > RISE_SIGMA * sigma
        began = min(first, usual) if rose else usual
        return Progress(began, now, rose, now < began - (MARGIN_SIGMA * sigma if rose else 0.0))

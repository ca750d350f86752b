"""Whether a loss has stopped falling, by one of two rules.

**halves** is the rule of the first seed: the mean of the newer half of the last losses is less than `min_gain` below
that of the older half. It knows no noise and no future.

**equivalence** asks what is still to be gained: a line through the logarithm of the last losses, and the upper end of
the interval of its slope, drawn on over a horizon of steps to come.

    y = log loss,  b = least-squares slope over the last max(min_steps, share of the curve),  s = its standard error
    gain = 1 - exp(b H),   greatest gain = 1 - exp((b - z s) H)
    H = horizon_share * steps made, but not less than the steps of min_steps losses
    plateau  if  the greatest gain < min_gain  and  gain > -min_gain

This is one half of a test of equivalence (Schuirmann 1987): "no gain was seen" is not enough, a gain must be ruled out.
The other half is asked of the slope alone: a loss that is so noisy that its slope says "it rises", and whose greatest
gain is small only for that reason, has not been seen to stay.
Losses that follow each other depend on each other, so s is that of Newey & West (1987) with a Bartlett kernel and
floor(4 (n / 100)^(2/9)) lags, over means of blocks. The memory is bounded: when there are too many blocks, neighbours
are joined.

A loss that rises by `min_gain` or more is no plateau by either rule. Within one epoch a curve may be flat and fall at
its end, and a schedule may hold the learning rate and decay it later: neither is seen by looking at the losses alone.
"""

import math
from collections import deque
from itertools import islice
from statistics import NormalDist
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCKS = 1024
"""Blocks at which neighbours are joined: a curve is kept as 512 to 1,024 means."""

REFRESHED = 1.02
"""The line is drawn anew when the curve is so many times as long."""


class PlateauRule(Struct, frozen=True, kw_only=True):
    """What a plateau is."""

    judged_by: Annotated[Literal["halves", "equivalence"], Meta(description="Which rule.")]
    min_gain: Annotated[float, Meta(gt=0.0, lt=1.0, description="A relative gain below this is none.")]
    steps: Annotated[int, Meta(ge=4, description="halves: losses whose second half is compared with their first.")]
    min_steps: Annotated[int, Meta(ge=20, description="equivalence: fewest losses that the slope is taken of.")]
    share: Annotated[float, Meta(gt=0.0, le=1.0, description="Or this share of the curve so far, if that is more.")]
    horizon_share: Annotated[float, Meta(gt=0.0, description="The gain is over so many steps to come, as a share.")]
    confidence: Annotated[float, Meta(gt=0.5, lt=1.0, description="Of the upper bound of that gain, one-sided.")]
    warm_up_steps: Annotated[int, Meta(ge=0, description="First losses that are ignored.")]


class PlateauResult(Struct, frozen=True, kw_only=True):
    """What the rule says now."""

    plateau: Annotated[bool | None, Meta(description="Whether the loss stays; null if it cannot be said.")]
    expected_gain: Annotated[float | None, Meta(description="Relative gain; 0.01 is a loss 1 % lower.")]
    expected_gain_high: Annotated[float | None, Meta(description="Its upper bound; null for halves.")]
    rising: Annotated[bool, Meta(description="Whether the loss rises: that is no plateau.")]
    horizon_steps: Annotated[float | None, Meta(description="Steps to come that the gain is over; null for halves.")]
    steps: Annotated[int, Meta(description="Losses that it rests on.")]
    why: Annotated[str, Meta(description="In words, with the numbers; why it cannot be said, if so.")]


class Slope(Struct, frozen=True):
    """A least-squares line."""

    slope: float
    """Change of y for one of x."""
    error: float
    """Its standard error, by Newey & West."""


class Plateau:
    """A fold over the losses of one attempt."""

    def __init__(self, rule: PlateauRule) -> None:
        self._rule = rule
        self._last: deque[float] = deque(maxlen=rule.steps)
        self._curve = _Blocks()
        self._seen = 0
        self._first_step = 0
        self._next = rule.min_steps
        self._halves_at = -1
        self._result = _unknown("no loss has been seen yet")

    def update(self, step: int, loss: float) -> None:
        """Take one loss in, nats; one that is not finite changes nothing, and so do those of the warm-up."""
        if not math.isfinite(loss):
            return
        self._seen += 1
        if self._seen <= self._rule.warm_up_steps:
            return
        if self._rule.judged_by == "halves":
            self._last.append(loss)
            return
        if not self._curve.count:
            self._first_step = step
        self._curve.update(step, loss)
        if self._curve.count >= self._next:
            self._result = self._by_equivalence(step)
            self._next = math.ceil(self._curve.count * REFRESHED)

    @property
    def result(self) -> PlateauResult:
        """What the rule says of the losses so far."""
        if self._rule.judged_by == "halves":
            if self._halves_at != self._seen:
                self._result = self._by_halves()
                self._halves_at = self._seen
        elif self._curve.count < self._rule.min_steps:
            return _unknown(
                f"{self._curve.count} finite losses after the first {self._rule.warm_up_steps} of"
                f" {self._rule.min_steps} that it needs"
            )
        return self._result

    def _by_halves(self) -> PlateauResult:
        count, half = len(self._last), self._rule.steps // 2
        if count < self._rule.steps:
            return _unknown(f"{count} of the {self._rule.steps} losses that it needs")
        older = sum(islice(self._last, half)) / half  # not fsum, which raises where a sum is beyond a double
        newer = sum(islice(self._last, half, None)) / (count - half)
        if not (0.0 < older < math.inf and math.isfinite(newer)):
            return _unknown(f"the mean loss {older:.4g} has no share to gain")
        gain = (older - newer) / older
        rising = gain <= -self._rule.min_gain
        return PlateauResult(
            plateau=not rising and gain < self._rule.min_gain,
            expected_gain=gain,
            expected_gain_high=None,
            rising=rising,
            horizon_steps=None,
            steps=count,
            why=f"the last {count - half} losses are on average {abs(gain):.2%} {'below' if gain >= 0.0 else 'above'}"
            f" the {half} before",
        )

    def _by_equivalence(self, step: int) -> PlateauResult:
        wanted = max(self._rule.min_steps, math.ceil(self._rule.share * self._curve.count))
        tail = self._curve.newest(wanted)
        if not (tail.losses > 0.0).all():
            return _unknown("a loss of zero or less has no logarithm, so no relative gain")
        made = step - self._first_step + 1
        # Young curves would otherwise be asked for their next few steps only, in which no loss falls by much.
        horizon = max(self._rule.horizon_share, self._rule.min_steps / self._curve.count) * made
        line = slope_of(tail.steps, np.log(tail.losses))
        if line is None:
            return _unknown("the losses are all of one step")
        reach = NormalDist().inv_cdf(self._rule.confidence) * line.error
        gain, high = (0.0 - math.expm1(min(700.0, slope * horizon)) for slope in (line.slope, line.slope - reach))
        rising = gain <= -self._rule.min_gain
        return PlateauResult(
            plateau=not rising and high < self._rule.min_gain,
            expected_gain=gain,
            expected_gain_high=high,
            rising=rising,
            horizon_steps=horizon,
            steps=tail.count,
            why=f"by the last {tail.count} losses, the next {horizon:.0f} steps {_changed(gain)},"
            f" and at best {_changed(high)}",
        )


def slope_of(x: Floats, y: Floats) -> Slope | None:
    """The least-squares line through `y: [points]` over `x: [points]`, ascending; None if all x are the same.

    The error is that of Newey & West (1987), equation 5, for the slope alone: with u = (x - mean x) e and the weights
    1 - l / (lags + 1) of a Bartlett kernel, s^2 = (sum u^2 + 2 sum over lags of weight * sum u_t u_(t-l)) / (sum (x -
    mean x)^2)^2, times n / (n - 2) for the two numbers that the line took.
    """
    centred = x - x.mean()
    squares = float((centred**2).sum())
    count = len(x)
    if squares <= 0.0 or count < 3:
        return None
    slope = float((centred * y).sum()) / squares
    moments = centred * (y - y.mean() - slope * centred)
    lags = min(count - 1, math.floor(4.0 * (count / 100.0) ** (2.0 / 9.0)))
    total = float((moments**2).sum())
    for lag in range(1, lags + 1):
        total += 2.0 * (1.0 - lag / (lags + 1)) * float((moments[lag:] * moments[:-lag]).sum())
    return Slope(slope, math.sqrt(max(0.0, total) * count / (count - 2)) / squares)


class _Tail(Struct, frozen=True, kw_only=True):
    """The newest part of a curve."""

    steps: Floats
    losses: Floats
    count: int
    """Losses that its means are of."""


class _Blocks:
    """A curve as means of blocks of equal size; a fold with bounded memory."""

    def __init__(self) -> None:
        self.count = 0
        """Losses seen."""
        self._size = 1
        self._steps: list[float] = []
        self._losses: list[float] = []
        self._open_steps, self._open_losses, self._open = 0.0, 0.0, 0

    def update(self, step: int, loss: float) -> None:
        """Take one loss in."""
        self.count += 1
        self._open += 1
        # A running mean, as a sum may overflow.
        self._open_steps += (step - self._open_steps) / self._open
        self._open_losses += loss / self._open - self._open_losses / self._open
        if self._open < self._size:
            return
        self._steps.append(self._open_steps)
        self._losses.append(self._open_losses)
        self._open_steps, self._open_losses, self._open = 0.0, 0.0, 0
        if len(self._steps) == BLOCKS:
            self._steps = _halved(self._steps)
            self._losses = _halved(self._losses)
            self._size *= 2

    def newest(self, count: int) -> _Tail:
        """As few whole blocks as hold `count` losses; the open one is left out."""
        blocks = min(len(self._steps), math.ceil(count / self._size))
        return _Tail(
            steps=np.array(self._steps[-blocks:]), losses=np.array(self._losses[-blocks:]), count=blocks * self._size
        )


def _halved(values: list[float]) -> list[float]:
    """The means of neighbours."""
    return [0.5 * first + 0.5 * second for first, second in zip(values[::2], values[1::2], strict=True)]


def _changed(gain: float) -> str:
    """What a relative gain does to the loss, in words: a negative one is a rise."""
    return f"lower it by {gain:.2%}" if gain >= 0.0 else f"raise it by {-gain:.2%}"


def _unknown(why: str) -> PlateauResult:
    return PlateauResult(
        plateau=None,
        expected_gain=None,
        expected_gain_high=None,
        rising=False,
        horizon_steps=None,
        steps=0,
        why=why,
    )

"""The signal in a noisy loss, one step at a time: moving average, variance, noise and trend.

The moving average is an exponential one, corrected for its empty start (Kingma & Ba 2015, section 3). A loss that
stands for a gap of d steps has the weight of d steps, so a curve that is logged at every tenth step has the average of
one that is logged at each:

    w = 1 - (1 - alpha)^d,   n = (1 - w) n + w,   m = m + (w / n) (x - m)

n is the weight that all losses have so far; the first is taken to stand for as many steps as the second. A NaN or an
infinity is counted, ages what was before it, and is part of nothing: pandas `ewm(adjust=True)` does the same.

Variance and noise are those of the last losses. The noise is what is left about the line through the medians of their
two halves, 1.4826 median |r - median r| (Rousseeuw & Croux 1993): a trend or a spike does not enlarge it, as it does
the variance. The trend is made of the losses themselves and never of the average, on which every test finds one.
"""

import math
from collections import deque
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.analysis.spikes import MAD_TO_SIGMA, median
from barograph.analysis.trend import Trend, TrendRule, trend

Floats = NDArray[np.float64]

_CHANGE = ("loss_change", "loss_change_steps")

REFRESHED = 50
"""The trend is taken anew after one in so many of its losses."""


class StreamingRule(Struct, frozen=True, kw_only=True):
    """How the losses are smoothed."""

    ema_alpha: Annotated[float, Meta(gt=0.0, lt=1.0, description="Weight of one step's loss.")]
    window: Annotated[int, Meta(ge=4, description="Losses that variance and noise are taken of.")]
    trend_steps: Annotated[int, Meta(ge=20, description="Losses that the trend is taken of, the newest.")]
    trend: Annotated[TrendRule, Meta(description="How the trend is measured.")]


class Change(Struct, frozen=True, kw_only=True):
    """How much a loss changed, from the first tenth of some losses to the last."""

    ratio: Annotated[float, Meta(description="Relative change; -0.5 is half.")]
    steps: Annotated[int, Meta(description="Steps that it is over.")]
    step: Annotated[int | None, Meta(description="Step of the last of them.")] = None


class StreamingLoss:
    """A fold over the losses of one attempt.

    What is dear to compute is computed when it is asked for. The trend is that of the newest multiple of one in
    `REFRESHED` of its losses, so it is the same however often it is asked for.
    """

    def __init__(self, rule: StreamingRule) -> None:
        self._rule = rule
        self._every = max(1, rule.trend_steps // REFRESHED)
        self._window: deque[float] = deque(maxlen=rule.window)
        self._steps: deque[int] = deque(maxlen=rule.trend_steps + self._every)
        self._losses: deque[float] = deque(maxlen=rule.trend_steps + self._every)
        self._mean, self._weight = 0.0, 0.0
        self._trend: Trend | None = None
        self._trend_at = 0
        self._change: Change | None = None
        self.steps = 0
        """Losses seen, non-finite ones included."""
        self.finite = 0
        """Finite ones."""
        self.non_finite = 0
        """NaN or infinite ones; they are in no average."""
        self.last_step: int | None = None
        """Newest step."""
        self.last: float | None = None
        """Newest loss, finite or not; None before the first."""

    def update(self, step: int, loss: float) -> None:
        """Take one loss in, nats. A step that is not behind the newest one counts as the next one."""
        gap = 1 if self.last_step is None else max(1, step - self.last_step)
        if self.steps == self.finite == 1:
            self._weight = 1.0 - (1.0 - self._rule.ema_alpha) ** gap
        if self.last_step is not None and step < self.last_step:
            self._steps.clear()
            self._losses.clear()
            self._trend, self._trend_at = None, self.finite
        past = (1.0 - self._rule.ema_alpha) ** gap
        self._weight *= past
        self.steps += 1
        self.last_step, self.last = step, loss
        if not math.isfinite(loss):
            self.non_finite += 1
            return
        self._weight += 1.0 - past
        share = (1.0 - past) / self._weight
        # Two products, and not the difference times the share: that overflows for huge losses of both signs.
        self._mean = (1.0 - share) * self._mean + share * loss
        self.finite += 1
        self._window.append(loss)
        self._steps.append(step)
        self._losses.append(loss)

    @property
    def streaming_ce(self) -> float | None:
        """The moving average, nats; None before the first finite loss."""
        return self._mean if self.finite else None

    @property
    def variance(self) -> float | None:
        """Of the window's finite losses, nats squared; None below two. It is that of these losses and no estimate."""
        if len(self._window) < 2:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return _finite(float(np.var(np.array(self._window))))

    @property
    def noise(self) -> float | None:
        """Robust standard deviation about the window's line, nats; None below four losses."""
        if len(self._window) < 4:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return _finite(residual_noise(np.array(self._window)))

    @property
    def trend(self) -> Trend | None:
        """The trend of the newest losses; None while there are too few."""
        newer = self.finite % self._every
        at = self.finite - newer
        if at > self._trend_at:
            count = max(0, len(self._losses) - newer)
            first = max(0, count - self._rule.trend_steps)
            steps = np.array(self._steps, dtype=np.int64)[first:count]
            losses = np.array(self._losses)[first:count]
            found = trend(steps, losses, rule=self._rule.trend)
            self._trend = found if found.word != "unknown" else None
            self._change = None if self._trend is None else change_between(steps, losses)
            self._trend_at = at
        return self._trend

    @property
    def change(self) -> Change | None:
        """How much the loss changed over the losses of the trend; None without a trend, or if it is not relative."""
        return None if self.trend is None else self._change

    def reasons(self) -> dict[str, str]:
        """Field of `Signals` -> why this fold does not know it, for those that it does not know now."""
        nothing = f"none of {self.steps} losses is finite" if self.steps else "no loss has been seen yet"
        few = nothing if not self.finite else f"only {len(self._window)} finite losses so far"
        why = {}
        if self.streaming_ce is None:
            why["streaming_ce"] = nothing
        if self.variance is None:
            why["loss_variance"] = few if len(self._window) < 2 else "it is too large for a number"
        if self.noise is None:
            why["loss_noise"] = few if len(self._window) < 4 else "it is too large for a number"
        if self.trend is None:
            rule = self._rule.trend
            needed = rule.min_blocks * rule.min_block
            seen = f"a trend needs {needed} losses, and there are {len(self._losses)}"
            fields = ("loss_trend", "loss_change_per_1000", "loss_change_low", "loss_change_high", *_CHANGE)
            why.update(dict.fromkeys(fields, seen if self.finite else nothing))
        elif self.change is None:
            why.update(dict.fromkeys(_CHANGE, "a loss of zero or less has no relative change"))
        return why


def change_between(steps: NDArray[np.int64], losses: Floats) -> Change | None:
    """The change from the median of the first tenth of `losses: [losses]`, nats, to that of the last; None if one of
    them is zero or less. It is what was seen, and no slope: a curve that fell and stays has fallen."""
    part = max(1, len(losses) // 10)
    first, last = median(losses[:part]), median(losses[-part:])
    if not (first > 0.0 and last > 0.0 and math.isfinite(last / first)):
        return None
    return Change(ratio=last / first - 1.0, steps=int(steps[-1] - steps[0]), step=int(steps[-1]))


def residual_noise(losses: Floats) -> float:
    """Robust standard deviation of `losses: [losses]` (4 or more, nats) about the line through the medians of their
    older and their newer half."""
    count = len(losses)
    half = count // 2
    first, second = (half - 1) / 2, half + (count - half - 1) / 2
    older, newer = median(losses[:half]), median(losses[half:])
    residuals = losses - (older + (newer - older) * (np.arange(count) - first) / (second - first))
    return MAD_TO_SIGMA * median(np.abs(residuals - median(residuals)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Whether a loss stays above where it was: above what it began with, or above the lowest level that it had since.

**Of its beginning** there are few losses and no measure of the noise yet, so their ranks decide. Of k + n losses that
have one distribution, whatever that is, the first k are the k lowest with probability k! n! / (k + n)!: one in 816 for
3 and 15, one in 1,771 for 3 and 20. A second look takes the very first loss alone, before any update: a training that
diverges at once has no other sound one. That is one in 21 for 20, and no evidence by itself; it counts where the norm
of the gradients has risen many times over its first as well.

    risen  if  min(newest n) > max(first k)  and  mean(newest n) >= start_ratio mean(first k)

**Later** the newest losses are set beside the block of losses with the least mean so far, by Welch's t (1947), with the
variance of each. The median of deviations would be wrong here: the mean feels the tails of the noise, and so does its
error. A few spikes raise the mean and the variance together, and t stays near one.

    t = (mean - lowest mean) / sqrt((var / m + lowest var / block) (1 + r) / (1 - r))
    risen  if  t >= sigma  and  mean >= rise_ratio lowest mean,  for m = recent or m = block

Losses that follow each other may be alike, as where examples come in the order of their source; r, the correlation of
neighbours in the lowest block (not below zero), says how few independent ones they stand for (Bayley & Hammersley
1946). The least of many blocks lies some standard errors too low, and there is a look at every step, so sigma is far
above that of one comparison. Whether a rise came from the learning rate or from harder data cannot be seen here.

What has risen has come back when the mean of the newest `recent` losses is less than half as far above the level as the
ratio says. A NaN or an infinity changes nothing. A loss of zero or less has no relative level: nothing is said while
one is among the newest.
"""

import math
from collections import deque
from itertools import islice, pairwise
from typing import Annotated, Literal

from msgspec import Meta, Struct

MOST_ALIKE = 0.95
"""Of fifty losses no higher correlation can be told from a trend."""


class DivergenceRule(Struct, frozen=True, kw_only=True):
    """When a loss is above where it was."""

    first: Annotated[int, Meta(ge=2, description="First losses, whose level is that of the beginning.")]
    start_losses: Annotated[int, Meta(ge=1, description="The beginning is compared with until so many losses.")]
    start_ratio: Annotated[float, Meta(gt=1.0, description="Risen: the mean is so many times that of the beginning.")]
    surge: Annotated[float, Meta(gt=1.0, description="One first loss is enough where the norm rose so many times.")]
    min_recent: Annotated[int, Meta(ge=4, description="Fewer losses than this behind the beginning say nothing.")]
    recent: Annotated[int, Meta(ge=4, description="Newest losses that are compared, at most.")]
    block: Annotated[
        int, Meta(ge=4, description="Losses of a block; the lowest one is what later ones are set beside.")
    ]
    rise_ratio: Annotated[float, Meta(gt=1.0, description="Risen: the mean is so many times that of the lowest block.")]
    sigma: Annotated[float, Meta(gt=0.0, description="And so many standard errors above it.")]
    min_rise: Annotated[float, Meta(ge=0.0, description="A rise of fewer nats than this is none.")]


class Rise(Struct, frozen=True, kw_only=True):
    """A loss that is above where it was."""

    above: Annotated[Literal["start", "lowest"], Meta(description="What it is above: its beginning, or its lowest.")]
    level: Annotated[float, Meta(description="The mean loss there, nats.")]
    level_step: Annotated[int, Meta(description="The last step of that.")]
    level_losses: Annotated[int, Meta(description="Losses that this mean is of.")]
    mean: Annotated[float, Meta(description="The mean of the newest losses, nats.")]
    losses: Annotated[int, Meta(description="How many those are.")]
    sigma: Annotated[float | None, Meta(description="Standard errors between both; null for the beginning.")]
    surge: Annotated[float | None, Meta(description="Times that the gradients' norm rose, if it needed that.")]


class Level(Struct, frozen=True):
    """The mean of some losses, and how sure it is."""

    mean: float
    """Their mean, nats."""
    error: float
    """Its variance: that of the losses by their count."""
    losses: int
    """How many they are."""
    step: int
    """The last step of them."""
    greatest: float
    """The greatest of them, nats."""
    alike: float
    """The correlation of neighbours, 0 to below 1."""


class Divergence:
    """A fold over the losses of one attempt."""

    def __init__(self, rule: DivergenceRule) -> None:
        self._rule = rule
        self._newest: deque[float] = deque(maxlen=max(rule.block, rule.recent))
        self._start: list[Level] = []
        self._first: list[float] = []
        self._lowest: Level | None = None
        self._since_lowest = 0
        self._since_nothing = rule.recent
        self._first_norm: float | None = None
        self._greatest_norm = 0.0
        self.losses = 0
        """Finite losses above zero so far."""
        self.rise: Rise | None = None
        """What has risen and did not come back; None if nothing has."""

    def update(self, step: int, loss: float, gradient_norm: float | None = None) -> None:
        """Take one loss in, nats, with the newest norm of the gradients, where it is known."""
        if not math.isfinite(loss):
            return
        if loss <= 0.0:
            self._since_nothing = 0
            return
        self._since_nothing += 1
        self.losses += 1
        self._newest.append(loss)
        self._since_lowest += 1
        if self.losses <= self._rule.start_losses:
            self._begin(step, loss, gradient_norm)
        self.rise = self._going_on() if self.rise is not None else self._above_start() or self._above_lowest()
        if self.losses % self._rule.block == 0:
            self._look_for_lowest(step)

    @property
    def unknown(self) -> str:
        """Why nothing can be said now; empty if it can."""
        least = self._rule.first + self._rule.min_recent
        if self._since_nothing < self._rule.recent:
            return "a loss of zero or less has no relative level, and one is among the newest"
        return f"fewer than {least} losses are known" if self.rise is None and self.losses < least else ""

    def _begin(self, step: int, loss: float, norm: float | None) -> None:
        if norm is not None and norm > 0.0:
            if self._first_norm is None and self.losses <= self._rule.first and math.isfinite(norm):
                self._first_norm = norm
            self._greatest_norm = max(self._greatest_norm, norm)
        if self.losses <= self._rule.first:
            self._first.append(loss)
            if self.losses in (1, self._rule.first):
                self._start.append(_level(self._first, step))

    def _above_start(self) -> Rise | None:
        if self.losses > self._rule.start_losses:
            return None
        for start in reversed(self._start):
            count = min(self._rule.recent, self.losses - start.losses)
            surge = self._surge() if start.losses < self._rule.first else None
            if count < self._rule.min_recent or (surge is not None and surge < self._rule.surge):
                continue
            newest = self._last(count)
            mean = sum(newest) / count
            if min(newest) > start.greatest and self._is_above(mean, start, self._rule.start_ratio):
                return _rise("start", start, mean, count, surge=surge)
        return None

    def _above_lowest(self) -> Rise | None:
        lowest = self._lowest
        if lowest is None:
            return None
        for count in (self._rule.recent, self._rule.block):
            if self._since_lowest < count or self._is_back(lowest.mean, self._rule.rise_ratio):
                break
            newest = self._last(count)
            mean = sum(newest) / count
            fewer = (1.0 + lowest.alike) / (1.0 - lowest.alike)
            # The noise of the lowest block alone is a part of the error, and spares the rest at nearly every step.
            least = self._rule.sigma * math.sqrt(fewer * lowest.error)
            if mean - lowest.mean < least or not self._is_above(mean, lowest, self._rule.rise_ratio):
                continue
            error = math.sqrt(fewer * (_level(newest, 0).error + lowest.error))
            sigma = (mean - lowest.mean) / error if error > 0.0 else math.inf
            if sigma >= self._rule.sigma:
                return _rise("lowest", lowest, mean, count, sigma=sigma)
        return None

    def _going_on(self) -> Rise | None:
        """The rise as it stands; None once the newest losses are back."""
        rise = self.rise
        if rise is None:
            return None
        ratio = self._rule.start_ratio if rise.above == "start" else self._rule.rise_ratio
        if self._is_back(rise.level, ratio):
            return None
        count = min(self._rule.recent, self.losses - rise.level_losses)
        return Rise(
            above=rise.above,
            level=rise.level,
            level_step=rise.level_step,
            level_losses=rise.level_losses,
            mean=sum(self._last(count)) / count,
            losses=count,
            sigma=rise.sigma,
            surge=rise.surge,
        )

    def _is_back(self, level: float, ratio: float) -> bool:
        """Whether the newest losses are less than half as far above `level` as `ratio` says."""
        newest = self._last(min(self._rule.recent, self.losses - self._rule.first))
        return sum(newest) < (0.5 + 0.5 * ratio) * level * len(newest)

    def _is_above(self, mean: float, level: Level, ratio: float) -> bool:
        return math.isfinite(mean) and mean >= ratio * level.mean and mean - level.mean >= self._rule.min_rise

    def _look_for_lowest(self, step: int) -> None:
        block = self._last(self._rule.block)
        if self._lowest is None or sum(block) / len(block) < self._lowest.mean:
            self._lowest, self._since_lowest = _level(block, step), 0

    def _surge(self) -> float:
        """How many times its first value the norm of the gradients reached; 0 if it is not known."""
        return self._greatest_norm / self._first_norm if self._first_norm is not None else 0.0

    def _last(self, count: int) -> list[float]:
        return [*islice(self._newest, len(self._newest) - count, None)]


def _level(losses: list[float], step: int) -> Level:
    count = len(losses)
    mean = sum(losses) / count  # not fsum, which raises where a sum is beyond a double
    off = [one - mean for one in losses]
    squares = sum(one * one for one in off)
    beside = sum(one * other for one, other in pairwise(off))
    alike = min(MOST_ALIKE, max(0.0, beside / squares)) if 0.0 < squares < math.inf else 0.0
    return Level(mean, squares / max(1, count - 1) / count, count, step, max(losses), alike)


def _rise(
    above: Literal["start", "lowest"],
    level: Level,
    mean: float,
    count: int,
    *,
    sigma: float | None = None,
    surge: float | None = None,
) -> Rise:
    return Rise(
        above=above,
        level=level.mean,
        level_step=level.step,
        level_losses=level.losses,
        mean=mean,
        losses=count,
        sigma=sigma,
        surge=surge,
    )

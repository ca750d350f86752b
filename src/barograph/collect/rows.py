"""Makes the lines of `log` and `observe_step`, in the writer's thread, and counts what is left out of them."""

import logging
from collections.abc import Mapping

from barograph.collect.logged_values import NO_NUMBER, flat, kind_of, number
from barograph.collect.observed import Observed, Read, read
from barograph.collect.secrets import text_of
from barograph.records import Record, RejectedValue, Step

MOST_SAID = 1_000
"""Keys and types that are named one by one; all others are still counted."""

logger = logging.getLogger("barograph")


class Rows:
    """A fold over the rows of one attempt: their lines, and what was rejected on the way."""

    def __init__(self) -> None:
        self.rejected = 0
        """Values and rows that were left out because they were no numbers, or no steps."""
        self._said: set[tuple[str, str]] = set()

    def plain_step(self, step: int, at: float, values: Mapping[str, float], fills_loss: bool) -> list[Record]:
        """As `step`, in a fourth of its time, for values that are all plain numbers."""
        try:
            metrics = {
                key if type(key) is str and key.isascii() else text_of(key): float(value)
                for key, value in values.items()
            }
        except OverflowError:
            return self.step(step, at, values, fills_loss)
        return _step_lines(step, at, metrics, fills_loss)

    def step(self, step: int, at: float, values: Mapping[str, object], fills_loss: bool) -> list[Record]:
        """The line of one `log` call, and a line for each value that is none and was not named before."""
        metrics: dict[str, float] = {}
        refused: list[tuple[str, str]] = []
        for key, value in flat(values):
            try:
                metrics[key] = number(value)
            except NO_NUMBER:
                refused.append((key, kind_of(value)))
        # Only now, when no value can be on its way any more: what is rejected is counted once.
        said = [record for key, kind in refused for record in self.reject(key, kind, at, step)]
        return said + _step_lines(step, at, metrics, fills_loss)

    def observed(self, step: int, at: float, found: Read) -> list[Record]:
        """The line of one optimizer step."""
        said: list[Record] = []
        if found.unreadable is not None:
            said = self.reject("loss", found.unreadable, at, step)
        if found.loss is not None or found.metrics:
            said.append(Step(step=step, loss=found.loss, time=at, metrics=found.metrics))
        return said

    def read_and_observed(self, step: int, at: float, seen: Observed) -> list[Record]:
        """As `observed`, of what may still be on its way. Raises `NotYet`."""
        return self.observed(step, at, read(seen))

    def reject_call(self, method: str, why: str, at: float) -> list[Record]:
        """Count one call that recorded nothing, as a row that is left out."""
        return self._count(f"{method}()", why, at, None)

    def reject(self, key: str, kind: str, at: float, step: int | None) -> list[Record]:
        """Count one value or row that is left out; its line the first time that this key has this type."""
        said = self._count(key, kind, at, step)
        if said:
            logger.warning("barograph: %r is no number (%s) and is left out.", key, kind)
        return said

    def _count(self, key: str, kind: str, at: float, step: int | None) -> list[Record]:
        self.rejected += 1
        if (key, kind) in self._said or len(self._said) >= MOST_SAID:
            return []
        self._said.add((key, kind))
        return [RejectedValue(time=at, key=key, value_type=kind, step=step)]


def _step_lines(step: int, at: float, metrics: dict[str, float], fills_loss: bool) -> list[Record]:
    """The line of a step; none if nothing of it is a number."""
    loss = None
    if fills_loss:
        loss = metrics.pop("loss", None)
        loss = metrics.get("train/loss") if loss is None else loss
    return [Step(step=step, loss=loss, time=at, metrics=metrics)] if metrics or loss is not None else []

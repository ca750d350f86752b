"""The advice as it follows a training: derived anew as the steps go by, and written when it says something else."""

import re

from barograph.policy.advice import advice
from barograph.policy.situation import Situation
from barograph.policy.tables import Policy
from barograph.records.alerts import Advice, AdviceItem

DERIVED_STEPS = 100
"""Advice is never older than so many steps."""

DERIVED_SHARE = 0.02
"""Nor older than this share of the planned steps."""

WRITTEN_SHARE = 0.05
"""Advice whose numbers alone have changed is written anew after this share of the planned steps, or, where nobody knows
those, of the steps that were made."""

LEAST_STEPS = 10
"""But neither is done more often than this."""

_NUMBERS = re.compile(r"[-+]?\d(?:[\d.,]*\d)?(?:e[-+]?\d+)?%?")


class AdviceWatch:
    """A fold over what is known of a training."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._written: Advice | None = None
        self.newest: Advice | None = None
        """The newest, written or not; None before the first."""

    def stale(self, step: int, *, total_steps: int | None) -> bool:
        """Whether it is so old that it must be derived anew at `step`."""
        if self.newest is None or self.newest.step is None:
            return True
        share = DERIVED_STEPS if total_steps is None else DERIVED_SHARE * total_steps
        return step - self.newest.step >= max(LEAST_STEPS, min(DERIVED_STEPS, share))

    def update(self, now: Situation, *, time: float) -> Advice | None:
        """Derive it anew; the line to write, if it says another thing, or if its numbers are old."""
        items = advice(now, table=self._policy.advice)
        self.newest = Advice(time=time, step=now.step, items=items, policy=self._policy.name)
        before = self._written
        if before is not None and before.step is not None:
            since = now.step - before.step
            old = now.ended or since >= _rewritten_after(now.step, total_steps=now.total_steps)
            if _substance(before.items) == _substance(items) and (before.items == items or not old):
                return None
        self._written = self.newest
        return self.newest


def _rewritten_after(step: int, *, total_steps: int | None) -> float:
    if total_steps is None:
        return max(float(DERIVED_STEPS), WRITTEN_SHARE * step)
    return max(float(LEAST_STEPS), WRITTEN_SHARE * total_steps)


def _substance(items: list[AdviceItem]) -> list[tuple[str, str, list[str], str]]:
    """What advice says, without its numbers."""
    return [(one.action, one.confidence, one.subjects, _NUMBERS.sub("#", one.text)) for one in items]

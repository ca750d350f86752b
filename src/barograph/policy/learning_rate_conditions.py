"""Conditions of the learning rate, and how far its schedule has come."""

import math

from msgspec import Struct

from barograph.policy.alert_tables import LearningRateHighTable, LearningRateLowTable
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.quantities import spelled


class Schedule(Struct, frozen=True):
    """How far the learning rate has come."""

    step: int
    """Step of the newest learning rate."""
    rate: float
    """The newest learning rate."""
    peak: float
    """The greatest so far."""

    @property
    def share(self) -> float:
        """The newest as a share of the peak; NaN if the peak is zero."""
        return self.rate / self.peak if self.peak > 0.0 else math.nan


def schedule_after(before: Schedule | None, step: int, rate: float) -> Schedule | None:
    """The schedule with one more learning rate; one that is not finite changes nothing."""
    if not math.isfinite(rate):
        return before
    return Schedule(step, rate, rate if before is None else max(before.peak, rate))


def learning_rate_high(step: int, rate: float, *, table: LearningRateHighTable) -> Checked:
    """The learning rate is above the policy's bound."""
    if math.isnan(rate):
        return unknown(f"the learning rate is {spelled(rate)} at step {step}")
    if rate <= table.above:
        return NOT_SEEN
    return Checked(
        seen=True,
        title=f"The learning rate is {rate:.3g}",
        text=f"At step {step} the learning rate is {rate:.4g}, above {table.above:.4g}.",
        evidence={"learning_rate": rate, "above": table.above},
        step=step,
    )


def learning_rate_low(step: int, rate: float, *, total_steps: int | None, table: LearningRateLowTable) -> Checked:
    """The learning rate is below the policy's bound, neither while it warms up nor at the schedule's end."""
    if math.isnan(rate):
        return unknown(f"the learning rate is {spelled(rate)} at step {step}")
    if rate >= table.below or step <= table.after_step:
        return NOT_SEEN
    if total_steps is not None and step >= table.before_end_share * total_steps:
        return NOT_SEEN
    planned = "" if total_steps is None else f" of {total_steps}"
    return Checked(
        seen=True,
        title=f"The learning rate is {rate:.3g}",
        text=f"At step {step}{planned} the learning rate is {rate:.4g}, below {table.below:.4g}.",
        evidence={
            "learning_rate": rate,
            "below": table.below,
            "after_step": float(table.after_step),
            **({} if total_steps is None else {"total_steps": float(total_steps)}),
        },
        step=step,
    )

"""Conditions of the learning rate, and how far its schedule has come."""

import math

from msgspec import Struct

from barograph.policy.alert_tables import LearningRateHighTable, LearningRateLowTable, LearningRateZeroTable
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.quantities import spelled

STEADY_SHARE = 0.5
"""A rate above this share of its peak has hardly decayed."""


class Schedule(Struct, frozen=True):
    """How far the learning rate has come."""

    step: int
    """Step of the newest learning rate."""
    rate: float
    """The newest learning rate."""
    peak: float
    """The greatest so far, in this attempt."""
    whole: bool = True
    """Whether it was seen from its beginning. Of an attempt that goes on from a checkpoint it was not, and its peak may
    have been greater than any rate that was seen."""
    first_step: int | None = None
    """Step of the first learning rate; None is not known."""
    zero_since: int | None = None
    """Step since which the rate is exactly zero; None if it is not."""

    @property
    def share(self) -> float:
        """The newest as a share of the peak; NaN if the peak is zero."""
        return self.rate / self.peak if self.peak > 0.0 else math.nan

    @property
    def steady(self) -> bool:
        """Whether the rate is known to be near its peak still."""
        return self.whole and self.share > STEADY_SHARE


def schedule_after(before: Schedule | None, step: int, rate: float) -> Schedule | None:
    """The schedule with one more learning rate; one that is not finite changes nothing.

    It was seen from its beginning if the first rate came no later than the distance to the second: so it does where
    every tenth step is logged.
    """
    if not math.isfinite(rate):
        return before
    if before is None:
        return Schedule(step, rate, rate, step <= 1, step, step if rate == 0.0 else None)
    first = step if before.first_step is None else before.first_step
    whole = before.whole or (before.step == first and first <= step - first)
    since = (step if before.zero_since is None else before.zero_since) if rate == 0.0 else None
    return Schedule(step, rate, max(before.peak, rate), whole, first, since)


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
    """The learning rate is below the policy's bound, neither while it warms up nor at the schedule's end. What is said
    of one that is exactly zero says `learning_rate_zero`."""
    if math.isnan(rate):
        return unknown(f"the learning rate is {spelled(rate)} at step {step}")
    if rate == 0.0 or rate >= table.below or step <= table.after_step:
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


def learning_rate_zero(
    step: int, rate: float, schedule: Schedule | None, *, total_steps: int | None, table: LearningRateZeroTable
) -> Checked:
    """The learning rate is exactly zero for many steps, and did not become so at the schedule's end."""
    if math.isnan(rate):
        return unknown(f"the learning rate is {spelled(rate)} at step {step}")
    since = None if schedule is None else schedule.zero_since
    if rate != 0.0 or since is None or step - since < table.steps:
        return NOT_SEEN
    if total_steps is not None and since >= table.before_end_share * total_steps:
        return NOT_SEEN
    planned = "" if total_steps is None else f" of {total_steps}"
    before = " and was never more" if schedule is None or schedule.peak == 0.0 else ""
    return Checked(
        seen=True,
        title=f"The learning rate is 0 since step {since}",
        text=f"At step {step}{planned} the learning rate is exactly 0, as it is since step {since}{before}: no weight"
        " moves, and nothing is learned.",
        evidence={
            "learning_rate": rate,
            "since_step": float(since),
            "steps": float(table.steps),
            **({} if total_steps is None else {"total_steps": float(total_steps)}),
        },
        step=step,
    )

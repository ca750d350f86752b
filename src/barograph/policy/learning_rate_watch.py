"""What the learning rates of a training say: too high, too low, exactly zero, and how far their schedule has come."""

from barograph.policy.learning_rate_conditions import (
    Schedule,
    learning_rate_high,
    learning_rate_low,
    learning_rate_zero,
    schedule_after,
)
from barograph.policy.tables import Policy
from barograph.policy.watched_conditions import WatchedConditions


class LearningRateWatch:
    """A fold over learning rates; what it finds it tells the conditions."""

    def __init__(self, policy: Policy, conditions: WatchedConditions) -> None:
        self._alerts = policy.alerts
        self._conditions = conditions
        self.schedule: Schedule | None = None
        """The schedule as far as it has come; None before the first rate."""

    @property
    def rate(self) -> float | None:
        """The newest finite rate; None before the first."""
        return None if self.schedule is None else self.schedule.rate

    def update(self, step: int, time: float, rate: float, *, total_steps: int | None) -> None:
        """Take one learning rate in."""
        alerts = self._alerts
        self.schedule = schedule_after(self.schedule, step, rate)
        found = {
            "learning_rate_high": learning_rate_high(step, rate, table=alerts.learning_rate_high),
            "learning_rate_low": learning_rate_low(step, rate, total_steps=total_steps, table=alerts.learning_rate_low),
            "learning_rate_zero": learning_rate_zero(
                step, rate, self.schedule, total_steps=total_steps, table=alerts.learning_rate_zero
            ),
        }
        for name, checked in found.items():
            self._conditions.judge(name, checked, step=step, time=time)

"""The conditions that a training watches while it runs: the life of each, and what is to be written of them."""

from collections.abc import Callable, Iterable

from barograph.policy.alert_life import AlertLife
from barograph.policy.checked import SWITCHED_OFF, Checked
from barograph.policy.tables import Policy
from barograph.records.alerts import Alert, AlertCategory
from barograph.records.signals import ConditionWord

CATEGORIES: dict[str, AlertCategory] = {
    "non_finite_loss": "loss",
    "masked_loss": "loss",
    "loss_spike": "loss",
    "loss_diverged": "loss",
    "exploding_gradients": "gradients",
    "vanishing_gradients": "gradients",
    "dead_layers": "gradients",
    "gradient_imbalance": "gradients",
    "plateau": "loss",
    "non_finite_evaluation": "evaluation",
    "val_train_gap": "evaluation",
    "poor_calibration": "calibration",
    "constant_evaluation": "evaluation",
    "learning_rate_high": "learning_rate",
    "learning_rate_low": "learning_rate",
    "learning_rate_zero": "learning_rate",
    "throughput_degraded": "throughput",
    "gpu_memory": "hardware",
    "gpu_temperature": "hardware",
    "disk_full": "hardware",
    "run_silent": "run",
    "run_crashed": "run",
}
"""Condition -> what it is about, in the order of the policy's tables."""

_NO_LOSS = "no loss is recorded yet"
_NO_NORM = "no norm of the gradients is known"
_NO_LAYERS = "no layer's gradient is known"
_NO_EVALUATION = "no evaluation loss is logged"
_NO_RATE = "no learning rate is logged"
_NOT_ASKED = "the machine was not asked yet"

NOT_YET: dict[str, str] = {
    "non_finite_loss": _NO_LOSS,
    "masked_loss": _NO_LOSS,
    "loss_spike": _NO_LOSS,
    "loss_diverged": _NO_LOSS,
    "exploding_gradients": _NO_NORM,
    "vanishing_gradients": _NO_NORM,
    "dead_layers": _NO_LAYERS,
    "gradient_imbalance": _NO_LAYERS,
    "plateau": _NO_LOSS,
    "non_finite_evaluation": _NO_EVALUATION,
    "val_train_gap": _NO_EVALUATION,
    "poor_calibration": "no calibration error is logged (fixed_eval_ece)",
    "constant_evaluation": "no score of an evaluation is logged",
    "learning_rate_high": _NO_RATE,
    "learning_rate_low": _NO_RATE,
    "learning_rate_zero": _NO_RATE,
    "throughput_degraded": "the steps are not timed",
    "gpu_memory": _NOT_ASKED,
    "gpu_temperature": _NOT_ASKED,
    "disk_full": _NOT_ASKED,
}
"""Condition that a training watches -> why nothing is known of it at first."""


class WatchedConditions:
    """The lives of the conditions; `lines` are the alerts that are still to be written."""

    def __init__(self, policy: Policy, *, new_id: Callable[[], str]) -> None:
        self.lines: list[Alert] = []
        """Alerts to write, oldest first; whoever writes them empties it."""
        self.changed = False
        """Whether a condition's state changed; whoever tells of it sets it back."""
        self._reasons: dict[str, str] = {}
        self._off: frozenset[str] = frozenset()
        self._lives = {name: life_of(name, policy, new_id=new_id) for name in NOT_YET}
        for name, reason in NOT_YET.items():
            self.unknown(name, reason)
        self._off = frozenset(name for name in NOT_YET if not getattr(policy.alerts, name).enabled)
        self._reasons.update(dict.fromkeys(self._off, SWITCHED_OFF))

    def judge(self, name: str, checked: Checked, *, step: int | None, time: float, again: bool = False) -> None:
        """One look at a condition; `again`: what is seen was counted before, and more is known of it now. One that is
        switched off stays as it is."""
        life = self._lives[name]
        if (checked.seen is False and life.idle) or name in self._off:
            return
        if checked.seen is None:
            self.unknown(name, checked.reason)
            return
        before = life.word
        if before == "error":
            return
        step = checked.step if checked.step is not None else step
        if checked.seen:
            line = life.seen(
                step,
                time,
                checked.title,
                checked.text,
                checked.evidence,
                checked.subjects,
                again=again,
                recommendation=checked.recommendation,
                severity=checked.severity,
            )
        else:
            line = life.not_seen(step, time, more=checked.text, recommendation=checked.recommendation)
        self._reasons.pop(name, None)
        if line is not None:
            self.lines.append(line)
        self.changed = self.changed or life.word != before

    def unknown(self, name: str, reason: str) -> None:
        """Nothing is known of a condition now, and why."""
        life = self._lives[name]
        before = life.word
        if before != "error" and name not in self._off:
            life.no_data()
            self._reasons[name] = reason
            self.changed = self.changed or life.word != before

    def failed(self, name: str, reason: str) -> None:
        """What looks for a condition failed: it is not looked for any more."""
        if name in self._off:
            return
        self._lives[name].error()
        self._reasons[name] = reason
        self.changed = True

    def end(self, time: float) -> None:
        """Put what was counted and not yet written among the lines."""
        self.lines.extend(line for life in self._lives.values() if (line := life.end(time)) is not None)

    def current(self, name: str) -> Alert | None:
        """The open alert of a condition."""
        return self._lives[name].current

    def goes_on(self, name: str, time: float) -> bool:
        """Whether a condition that is seen at `time` would be the alert that there is, and no new one."""
        return self._lives[name].goes_on(time)

    def off(self, name: str) -> bool:
        """Whether the policy has switched a condition off."""
        return name in self._off

    @property
    def active(self) -> list[Alert]:
        """The open alerts, in the policy's order, as they stand now."""
        return [alert for life in self._lives.values() if (alert := life.current) is not None]

    def words(self) -> dict[str, ConditionWord]:
        """Condition -> its state."""
        return {name: life.word for name, life in self._lives.items()}

    def reasons(self) -> dict[str, str]:
        """`conditions.<name>` -> why nothing is known of it."""
        return {f"conditions.{name}": reason for name, reason in self._reasons.items()}


def life_of(name: str, policy: Policy, *, new_id: Callable[[], str]) -> AlertLife:
    """A new life of a condition, by the policy's table of that name."""
    table = getattr(policy.alerts, name)
    return AlertLife(name, CATEGORIES[name], table.life, table.recommendation, policy.name, new_id)


def fired(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """Condition -> its alert, of those that fire or recover."""
    return {alert.condition: alert for alert in alerts if alert.state in ("firing", "recovering")}

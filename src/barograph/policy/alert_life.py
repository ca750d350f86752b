"""The life of one alert: a condition that is seen becomes one, and is over when it stays unseen.

    ok -> pending -> firing -> recovering -> resolved
          seen,      seen      not seen      not seen `resolve_after` times in a row
          not yet    `fire_after` times
          enough     in a row

One condition has at most one open alert. Seen again within the cooldown of its end, it is the same alert: its id and
its count go on. A pending one that is not seen any more is resolved without ever having fired.

Every change of state gives a line, and so do the first subjects that are known. The count of an alert that goes on
would give one at each step: those come after 10 seconds and then after a tenth of the alert's age, so that one which
lasts for days has some hundred lines. Changes of state wait for 10 seconds too once one alert has had its first twenty
lines: a condition that comes and goes at every step fills no disk. Whoever sends notifications sends
one for the first `firing` line of an id, and one when an alert that was sent is resolved.

A condition of which nothing is known is `no_data`, one whose code failed is `error`; an open alert stays open
meanwhile, because not to know is not to be well.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from barograph.policy.alert_tables import Life
from barograph.records.alerts import Alert, AlertCategory, AlertStateWord
from barograph.records.quantities import AlertLevel
from barograph.records.signals import ConditionWord

EVERY_S = 10.0
"""Least seconds between lines of an alert that goes on."""

EVERY_SHARE = 0.1
"""Or this share of its age, if that is more and only its count has changed."""

AT_ONCE = 20
"""Lines of one alert that are written without waiting."""

MOST_SUBJECTS = 20


class AlertLife:
    """The fold over what was found of one condition."""

    def __init__(
        self,
        condition: str,
        category: AlertCategory,
        life: Life,
        recommendation: str,
        policy_name: str,
        new_id: Callable[[], str],
    ) -> None:
        self._condition = condition
        self._category: AlertCategory = category
        self._life = life
        self._recommendation = recommendation
        self._policy_name = policy_name
        self._new_id = new_id
        self._alert: Alert | None = None
        self._in_a_row = 0
        self._resolved_at = -math.inf
        self._without: ConditionWord | None = None
        self._lines = 0
        self._began_at = -math.inf
        self._written_at = -math.inf
        self._written_state: AlertStateWord | None = None
        self._unwritten = False
        self.idle = True
        """Whether not to see the condition would change nothing and write nothing."""

    @property
    def word(self) -> ConditionWord:
        """The state of the condition."""
        if self._without is not None:
            return self._without
        alert = self._alert
        return "ok" if alert is None or alert.state == "resolved" else alert.state

    @property
    def current(self) -> Alert | None:
        """The open alert as it stands now, its newest count included; None if there is none."""
        return self._alert if self.open else None

    @property
    def open(self) -> bool:
        """Whether there is an alert that is not resolved."""
        return self._alert is not None and self._alert.state != "resolved"

    def goes_on(self, time: float) -> bool:
        """Whether the condition, seen at `time`, would be the alert that there is and no new one."""
        if self._alert is None or self._alert.state != "resolved":
            return self._alert is not None
        # An end that is still to be written keeps its alert, or nobody would learn of it.
        return time - self._resolved_at <= self._life.cooldown_s or self._unwritten

    def resume(self, alert: Alert) -> None:
        """Go on with an alert that was recorded, as it stood; one that is resolved counts for the cooldown."""
        self._alert = alert
        self._in_a_row = alert.count if alert.state == "pending" else 0
        self._without = None
        self._lines, self._written_state, self._unwritten = 1, alert.state, False
        self._began_at = self._written_at = alert.time
        if alert.state == "resolved":
            self._resolved_at = alert.time
        self.idle = not self.open

    def no_data(self) -> None:
        """Nothing is known of the condition now. Only its word changes; what was seen in a row still counts."""
        if self._without != "error":
            self._without = "no_data"
        self.idle = False

    def error(self) -> None:
        """Its code failed: it is not looked for any more."""
        self._without = "error"
        self.idle = False

    def seen(
        self,
        step: int | None,
        time: float,
        title: str,
        text: str,
        evidence: dict[str, float],
        subjects: Sequence[str] = (),
        *,
        again: bool = False,
        recommendation: str = "",
        severity: AlertLevel | None = None,
    ) -> Alert | None:
        """The condition holds; the line to write, if one is due. `again`: this was counted, and more is known of it.
        `recommendation` and `severity`: in the place of the policy's, if they are given."""
        self._without = None
        self.idle = False
        before = self._alert if self.goes_on(time) else None
        if before is not None and before.state == "resolved":
            self._in_a_row = 0
        if before is None:
            self._in_a_row, self._lines, self._unwritten = 0, 0, False
            self._began_at, self._written_at = time, -math.inf
        one = 0 if again and self.open else 1
        self._in_a_row += one
        fired = before is not None and before.state in ("firing", "recovering")
        state: AlertStateWord = "firing" if fired or self._in_a_row >= self._life.fire_after else "pending"
        self._alert = Alert(
            time=time,
            title=title,
            text=text,
            level=severity or self._life.severity,
            step=step,
            id=before.id if before is not None else self._new_id(),
            condition=self._condition,
            category=self._category,
            state=state,
            recommendation=recommendation or self._recommendation,
            evidence=evidence,
            subjects=list(subjects[:MOST_SUBJECTS]),
            count=before.count + one if before is not None else 1,
            first_step=before.first_step if before is not None else step,
            policy=self._policy_name,
        )
        if state == "firing":
            self._in_a_row = 0
        changed = before is None or before.state != state or (bool(subjects) and not before.subjects)
        return self._line(time, changed=changed)

    def not_seen(self, step: int | None, time: float, *, more: str = "", recommendation: str = "") -> Alert | None:
        """The condition was looked for and does not hold; the line to write, if one is due. `more` is what follows from
        that for an alert that fired, and `recommendation` what to do about it now; empty changes nothing."""
        self._without = None
        alert = self._alert
        if alert is None or alert.state == "resolved":
            line = self._line(time, changed=False) if self._unwritten else None
            self.idle = not self._unwritten
            return line
        if alert.state == "firing":
            self._in_a_row = 0
        self._in_a_row += 1
        state: AlertStateWord = "recovering"
        if alert.state == "pending" or self._in_a_row >= self._life.resolve_after:
            state, self._resolved_at, self._in_a_row = "resolved", time, 0
        if alert.state == "firing":
            text = f"{alert.text} {more}".strip()
            alert = msgspec.structs.replace(alert, text=text, recommendation=recommendation or alert.recommendation)
        changed = state != alert.state
        self._alert = msgspec.structs.replace(alert, time=time, step=step, state=state)
        line = self._line(time, changed=changed) if changed or self._unwritten else None
        self.idle = state == "resolved" and not self._unwritten
        return line

    def end(self, time: float) -> Alert | None:
        """The last line of a training: what was counted or changed since the one before, if anything was."""
        if not self._unwritten or self._alert is None:
            return None
        self._alert = msgspec.structs.replace(self._alert, time=time)
        return self._written(self._alert, time)

    def _line(self, time: float, *, changed: bool) -> Alert | None:
        """The alert, if it may be written now; else it is remembered that it is still to be."""
        alert = self._alert
        if alert is None:
            return None
        wait = EVERY_S
        if alert.state == self._written_state:
            wait = max(wait, EVERY_SHARE * (time - self._began_at))
        since = time - self._written_at
        waited = since >= wait or since < -EVERY_S  # a clock may be set back
        if (changed and self._lines < AT_ONCE) or waited:
            return self._written(alert, time)
        self._unwritten = True
        return None

    def _written(self, alert: Alert, time: float) -> Alert:
        self._lines += 1
        self._written_at, self._written_state = time, alert.state
        self._unwritten = False
        return alert

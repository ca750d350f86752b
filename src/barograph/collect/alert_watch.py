"""What is wrong with a training, for a loop that asks: a watch that says of each thing when it begins to be so."""

import math
import time
from collections.abc import Mapping, Sequence

from barograph.analysis.layer_activity import LayerName, LayerValues
from barograph.collect.values_now import number_now, step_now
from barograph.policy.training_watch import TrainingWatch
from barograph.records import Alert

Statistics = dict[str, object]
"""Names, and numbers, words or nulls; under `why`, for each null, the reason."""

WHOLE_MODEL = LayerName("model", "")
"""Stands for all layers where one norm comes without a name."""

REMEMBERED = 1_000
"""Alerts that are over, of which it is remembered that they were told."""


class AlertWatch:
    """A watch over one training, which says of each thing that goes wrong that it began, and when it is over."""

    def __init__(self, watch: TrainingWatch) -> None:
        self._watch = watch
        self._next_step = 0
        self._newest: dict[str, Alert] = {}
        self._left_out = 0

    def check_all(
        self,
        step: int | None = None,
        loss: object = None,
        streaming_ce: object = None,
        gradient_norms: object = None,
        learning_rate: object = None,
        recent_losses: Sequence[object] | None = None,
        ece: object = None,
        *,
        ece_n: object = None,
        metrics: Mapping[str, object] | None = None,
    ) -> list[Statistics]:
        """Look at what is known of `step`; the alerts that began to fire with it.

        `gradient_norms` is a mapping of layers to norms before clipping, or one norm of all. `recent_losses` are those
        of the steps before, one each, the newest last (it may be this step's own): who looks only now and then gives
        them, and steps that were seen are not taken twice. `ece` is a calibration error and `ece_n` the answers that it
        was taken of; `metrics` are others that a watch knows, such as `eval/loss`. `streaming_ce` is taken because the
        seed's callers give it; trends and plateaus are found in the losses themselves, where they can be tested.
        """
        now = time.time()
        at = step_now(step, self._next_step)
        self._before(at, self._next_step, [] if recent_losses is None else recent_losses, now, loss=loss)
        self._next_step = at + 1
        norms = self._norms(gradient_norms)
        total = None if norms is None else math.hypot(*norms.values())
        said = list(
            self._watch.step(
                at, now, loss=self._taken(loss), gradient_norm=total, learning_rate=self._taken(learning_rate)
            )
        )
        if norms is not None and WHOLE_MODEL not in norms:
            values = LayerValues(names=tuple(norms), gradient=tuple(norms.values()), kind="lora")
            said += self._watch.layers(at, now, values)
        others = {"fixed_eval_ece": ece, "fixed_eval_n": ece_n, **(metrics or {})}
        known = {str(name): found for name, value in others.items() if (found := self._taken(value)) is not None}
        if known:
            said += self._watch.metrics(at, now, known)
        began = []
        for one in said:
            if isinstance(one, Alert):
                before = self._newest.get(one.id)
                if one.state == "firing" and (before is None or before.state == "pending"):
                    began.append(_alert(one))
                self._newest[one.id] = one
                if one.state == "resolved" and len(self._newest) > REMEMBERED:
                    del self._newest[one.id]
        return began

    def get_active_alerts(self) -> list[Statistics]:
        """The alerts that fire now, or stopped so lately that they are not over yet."""
        return [_alert(one) for one in self._watch.active if one.state != "pending"]

    def get_summary(self) -> Statistics:
        """How many alerts are open: `total`, `critical`, `warning`, `info`; `conditions`, each with its state, and
        `why`: for those without data, the reason. `advice` is what to do now, in words."""
        levels = [one.level for one in self._watch.active if one.state != "pending"]
        signals = self._watch.signals(max(0, self._next_step - 1), time.time())
        advice = self._watch.advice
        return {
            "total": len(levels),
            **{level: levels.count(level) for level in ("critical", "warning", "info")},
            "conditions": dict(signals.conditions),
            "advice": [] if advice is None else [item.text for item in advice.items],
            "left_out": self._left_out,
            "why": dict(signals.why),
        }

    def _before(self, at: int, first: int, losses: Sequence[object], now: float, *, loss: object) -> None:
        """Take in the losses of the steps from `first` to the one before `at`."""
        found = [number_now(one) for one in losses]
        newest = number_now(loss)
        if found and newest is not None and _same(found[-1], newest):
            del found[-1]  # it is this step's own
        for ago in range(min(len(found), at - first), 0, -1):
            self._watch.step(at - ago, now, loss=found[-ago])

    def _norms(self, given: object) -> dict[LayerName, float] | None:
        """Norms by layer; one of all layers is that of `WHOLE_MODEL`."""
        if given is None:
            return None
        if isinstance(given, Mapping):
            layers = {LayerName(str(name), ""): self._taken(norm) for name, norm in given.items()}
            return {name: norm for name, norm in layers.items() if norm is not None} or None
        if isinstance(given, list | tuple):
            return self._norms(dict(enumerate(given)))
        norm = self._taken(given)
        return None if norm is None else {WHOLE_MODEL: norm}

    def _taken(self, value: object) -> float | None:
        found = number_now(value)
        self._left_out += value is not None and found is None
        return found


def _same(one: float | None, other: float) -> bool:
    return one == other or (one is not None and math.isnan(one) and math.isnan(other))


def _alert(alert: Alert) -> Statistics:
    """An alert with the keys of the seed, and ours after them."""
    return {
        "severity": alert.level,
        "category": alert.category,
        "message": alert.title,
        "details": alert.text,
        "recommendation": alert.recommendation,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(alert.time)),
        "id": alert.id,
        "condition": alert.condition,
        "state": alert.state,
        "step": alert.step,
        "count": alert.count,
        "subjects": list(alert.subjects),
        "evidence": dict(alert.evidence),
    }

"""What to do now: to go on, to go back, to lower the learning rate, to look at layers, to stop; with what it rests on.

To stop is advised only when three things agree: no more than a negligible gain is to be expected of the training loss,
the learning rate has decayed (or the planned steps are made), and the evaluation loss has not fallen for some
evaluations. A schedule that still has learning rate to decay often gains most at its end, and an evaluation loss that
falls is what training is for.
"""

from collections.abc import Iterator

from barograph.policy import situation
from barograph.policy.alert_tables import AdviceTable
from barograph.policy.prospect import go_on
from barograph.policy.situation import Situation
from barograph.records.alerts import AdviceItem, Alert, Confidence

MOST_SUBJECTS = 20

_OF_LAYERS = ("dead_layers", "vanishing_gradients", "gradient_imbalance")


def advice(now: Situation, *, table: AdviceTable) -> list[AdviceItem]:
    """What to do, the most important first; at least one item, and not more than one of each action."""
    lost = [alert for alert in situation.no_numbers(now) if situation.is_lost(alert)]
    if lost:
        return [_go_back(now, lost[0]), *_inspect(now)]
    best = _best_checkpoint(now, table=table)
    lower, inspect = _lower(now, table=table), [*_inspect(now)]
    stop = _stop(now, table=table)
    if stop is not None:
        return [stop, *best, *lower, *inspect]
    onward = go_on(now, table=table, alone=not (best or lower))
    if lower and lower[0].confidence == "low":
        return [*best, *inspect, onward, *lower]
    return [*best, *lower, *inspect, onward]


def _go_back(now: Situation, alert: Alert) -> AdviceItem:
    first = now.step if alert.first_step is None else alert.first_step
    before = [save for save in now.saves if save.step < first]
    where = f"{before[-1].name}, the last checkpoint before it" if before else "the last checkpoint before it"
    ended = ", and the training ended so" if now.ended else ""
    sure = alert.count > 1 or "gradient_norm" in alert.evidence
    return AdviceItem(
        action="use_checkpoint",
        text=f"The loss is lost since step {first}{ended}: go on from {where}, with a lower learning rate.",
        confidence="high" if sure else "medium",
        because=[situation.of_alert(alert)],
        subjects=[before[-1].name] if before else [],
    )


def _stop(now: Situation, *, table: AdviceTable) -> AdviceItem | None:
    if (
        not situation.flat(now, table=table)
        or not situation.schedule_over(now, table=table)
        or situation.evaluation_falls(now, table=table)
    ):
        return None
    evaluated = now.evaluations.best is not None
    tail = "" if evaluated else " No evaluation loss is logged, so nothing says how the model does on other data."
    confidence: Confidence = "high" if evaluated else "low"
    return AdviceItem(
        action="stop",
        text=("Ended, and no more was to be gained" if now.ended else "Stop")
        + f": the training loss gains no more than {table.stop_after_gain_below:.1%}, the schedule is over"
        + (", and the evaluation loss falls no more." if evaluated else ".")
        + tail,
        confidence=confidence,
        because=[*situation.of_plateau(now), *situation.of_schedule(now), *situation.of_evaluations(now)],
    )


def _lower(now: Situation, *, table: AdviceTable) -> list[AdviceItem]:
    recent = situation.recent_spikes(now)
    named = [now.alerts[name] for name in ("exploding_gradients", "learning_rate_high") if name in now.alerts]
    alerts = [alert for alert in named if alert.state == "firing"]
    several = len(recent) >= table.lower_after_spikes
    if not (several or named) or situation.schedule_nearly_over(now, table=table):
        return []
    because = [situation.of_alert(alert) for alert in named]
    if several:
        because.append(f"{len(recent)} loss spikes, the newest at step {recent[-1]}")
    rate = "" if now.schedule is None else f"; it {'was' if now.ended else 'is'} {now.schedule.rate:.3g}"
    rate += "" if now.schedule is None else f" at step {now.schedule.step}"
    confidence: Confidence = "high" if alerts and several else "medium"
    if not alerts and (not several or situation.recovered(now)):
        confidence = "low"
    text = {
        "high": "Lower the learning rate, to a half or a third",
        "medium": "Lower the learning rate, to a half or a third",
        "low": "A lower learning rate may spare you more of these, though the training came back by itself",
    }
    start = "In the next training, with these settings: lower" if now.ended else "Lower"
    said = text[confidence] if confidence == "low" else text[confidence].replace("Lower", start, 1)
    return [
        AdviceItem(
            action="lower_learning_rate",
            text=f"{said}{rate}.",
            confidence=confidence,
            because=[*because, *situation.of_schedule(now)],
        )
    ]


def _best_checkpoint(now: Situation, *, table: AdviceTable) -> list[AdviceItem]:
    best, newest = now.evaluations.best, now.evaluations.newest
    gap = now.alerts.get("val_train_gap")
    if best is None or newest is None or best.step == newest.step:
        return []
    late = now.evaluations.since_best >= table.eval_patience
    if not late and gap is None:
        return []
    near = min(now.saves, key=lambda save: abs(save.step - best.step), default=None)
    name = f"the checkpoint nearest to step {best.step}" if near is None else near.name
    return [
        AdviceItem(
            action="use_checkpoint",
            text=f"Use {name}: the evaluation loss was least at step {best.step}, {best.loss:.4g}, and is"
            f" {newest.loss:.4g} at step {newest.step}.",
            confidence="high" if late and gap is not None else "medium",
            because=[*situation.of_evaluations(now), *([] if gap is None else [situation.of_alert(gap)])],
            subjects=[] if near is None else [near.name],
        )
    ]


def _inspect(now: Situation) -> Iterator[AdviceItem]:
    alerts = [now.alerts[name] for name in _OF_LAYERS if name in now.alerts]
    if "exploding_gradients" in now.alerts and now.alerts["exploding_gradients"].subjects:
        alerts.append(now.alerts["exploding_gradients"])
    layers = list(dict.fromkeys(layer for alert in alerts for layer in alert.subjects))[:MOST_SUBJECTS]
    if not alerts:
        return
    named = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
    yield AdviceItem(
        action="inspect_layers",
        text=f"Inspect {named or 'the layers'}: {alerts[0].title[:1].lower()}{alerts[0].title[1:]}.",
        confidence="high" if any(alert.condition == "dead_layers" for alert in alerts) else "medium",
        because=[situation.of_alert(alert) for alert in alerts],
        subjects=layers,
    )

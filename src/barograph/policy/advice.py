"""What to do now: to go on, to go back, to lower the learning rate, to look at layers, to stop; with what it rests on.

To stop is advised only when three things agree: no more than a negligible gain is to be expected of the training loss,
the learning rate has decayed (or the planned steps are made), and the evaluation loss has not fallen for some
evaluations. A schedule that still has learning rate to decay often gains most at its end, and an evaluation loss that
falls is what training is for.
"""

import math
from collections.abc import Iterator

from barograph.policy import situation
from barograph.policy.alert_tables import AdviceTable
from barograph.policy.prospect import go_on
from barograph.policy.situation import Situation
from barograph.records.alerts import AdviceItem, Alert, Confidence

MOST_SUBJECTS = 20

_OF_RATE = ("loss_diverged", "exploding_gradients", "learning_rate_high")
_OF_LAYERS = ("dead_layers", "vanishing_gradients", "gradient_imbalance")


def advice(now: Situation, *, table: AdviceTable) -> list[AdviceItem]:
    """What to do, the most important first; at least one item, and not more than one of each action."""
    lost = [alert for alert in situation.no_numbers(now) if situation.is_lost(alert)]
    if lost:
        return [_go_back(now, lost[0]), *_inspect(now)]
    items = [*_best_checkpoint(now, table=table), *_lower(now, table=table)]
    inspect = [*_inspect(now)]
    stop = _stop(now, table=table)
    if stop is not None:
        return [stop, *items, *inspect]
    onward = go_on(now, table=table, alone=not items)
    doubtful = [item for item in items if item.confidence == "low"]
    return [*(item for item in items if item not in doubtful), *inspect, onward, *doubtful]


def _go_back(now: Situation, alert: Alert) -> AdviceItem:
    first = now.step if alert.first_step is None else alert.first_step
    earlier = [save for save in now.saves if save.step < first]
    before = [save for save in earlier if save.sound]
    where = "the last checkpoint before it"
    if earlier and earlier[-1:] != before[-1:]:
        where += " whose evaluation was a number"
    where = f"go on from {f'{before[-1].name}, ' if before else ''}{where}, with a lower learning rate"
    if not earlier:
        where = (
            "no checkpoint from before it is known in this attempt: begin anew with a lower learning rate, and save"
            " more often"
        )
    ended = ", and the training ended so" if now.ended else ""
    sure = alert.count > 1 or "gradient_norm" in alert.evidence
    return AdviceItem(
        action="use_checkpoint",
        text=f"The loss is lost since step {first}{ended}: {where}.",
        confidence="high" if sure else "medium",
        because=[situation.of_alert(alert)],
        subjects=[before[-1].name] if before else [],
    )


def _stop(now: Situation, *, table: AdviceTable) -> AdviceItem | None:
    if (
        not situation.flat(now, table=table)
        or situation.untrained(now) is not None
        or situation.diverged(now) is not None
        or not situation.schedule_over(now, table=table)
        or situation.evaluation_falls(now, table=table)
    ):
        return None
    evaluated = now.evaluations.best is not None and situation.evaluation_speaks(now)
    known = "is logged" if now.evaluations.newest is None else "is a number"
    known = known if now.evaluations.best is None else "has changed since the first"
    tail = "" if evaluated else f" No evaluation loss {known}, so nothing says how the model does on other data."
    lost = situation.failed_evaluation(now)
    confidence: Confidence = "low" if not evaluated else "high" if lost is None else "medium"
    steady = now.schedule is not None and now.schedule.steady
    over = "the planned steps are nearly made" if steady else "the schedule is over"
    return AdviceItem(
        action="stop",
        text=("Ended, and no more was to be gained" if now.ended else "Stop")
        + f": the training loss gains no more than {table.stop_after_gain_below:.1%}, {over}"
        + (", and the evaluation loss falls no more." if evaluated else ".")
        + tail,
        confidence=confidence,
        because=[
            *situation.of_plateau(now),
            *situation.of_schedule(now),
            *situation.of_evaluations(now),
            *([] if lost is None else [situation.of_alert(lost)]),
        ],
    )


def _lower(now: Situation, *, table: AdviceTable) -> list[AdviceItem]:
    recent = situation.recent_spikes(now)
    named = [now.alerts[name] for name in _OF_RATE if name in now.alerts]
    alerts = [alert for alert in named if alert.state == "firing"]
    several = len(recent) >= table.lower_after_spikes
    lost = now.ended and situation.diverged(now) is not None
    if not (several or named) or (situation.schedule_nearly_over(now, table=table) and not lost):
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
    if best is None or newest is None or best.step == newest.step or newest.loss == best.loss:
        return []
    if situation.constant_evaluation(now) is not None:
        return []
    gap = now.alerts.get("val_train_gap")
    lost = None if math.isfinite(newest.loss) else situation.failed_evaluation(now)
    late = now.evaluations.since_best >= table.eval_patience
    if not late and gap is None and lost is None:
        return []
    sound = [save for save in now.saves if save.sound]
    near = min(sound, key=lambda save: abs(save.step - best.step), default=None)
    name = f"a checkpoint of about step {best.step}, if there is one" if near is None else near.name
    confidence: Confidence = "high" if late and gap is not None else "medium"
    if not (late or gap is not None or now.ended) and lost is not None and lost.count == 1:
        confidence = "low"  # one evaluation may have met one bad batch
    return [
        AdviceItem(
            action="use_checkpoint",
            text=f"Use {name}: the evaluation loss was least at step {best.step}, {best.loss:.4g}, and is"
            f" {situation.loss_in_words(newest.loss)} at step {newest.step}.",
            confidence=confidence,
            because=[
                *situation.of_evaluations(now),
                *(situation.of_alert(alert) for alert in (gap, lost) if alert is not None),
            ],
            subjects=[] if near is None else [near.name],
        )
    ]


def _inspect(now: Situation) -> Iterator[AdviceItem]:
    alerts = [now.alerts[name] for name in _OF_LAYERS if name in now.alerts]
    alerts = [alert for alert in alerts if alert is not situation.equal_rewards(now)]
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

"""What to do now: to go on, to go back, to lower the learning rate, to look at layers, to stop; with what it rests on.

To stop is advised only when three things agree: no more than a negligible gain is to be expected of the training loss,
the learning rate has decayed (or the planned steps are made), and the evaluation loss has not fallen for some
evaluations. A schedule that still has learning rate to decay often gains most at its end, and an evaluation loss that
falls is what training is for.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.plateau import PlateauResult
from barograph.policy.alert_tables import AdviceTable
from barograph.policy.evaluation_conditions import Evaluations
from barograph.policy.learning_rate_conditions import Schedule
from barograph.records.alerts import AdviceItem, Alert, Confidence
from barograph.records.signals import TrendWord

RECENT_STEPS = 1000
RECENT_SHARE = 0.25
"""Spikes count within the last thousand steps, or the last quarter of them if that is more."""

MOST_SUBJECTS = 20

_OF_LAYERS = ("dead_layers", "vanishing_gradients", "gradient_imbalance")
_LOST = ("non_finite_loss", "masked_loss")


class Save(Struct, frozen=True):
    """A checkpoint that was saved."""

    step: int
    """Its step."""
    name: str
    """What its folder is called."""


class Situation(Struct, frozen=True, kw_only=True):
    """What is known of a training when advice is asked for."""

    step: Annotated[int, Meta(description="Newest step.")]
    total_steps: Annotated[int | None, Meta(description="Planned steps; null if not known.")]
    alerts: Annotated[Mapping[str, Alert], Meta(description="Condition -> its alert, of those that fire.")]
    schedule: Annotated[Schedule | None, Meta(description="Learning rate; null if none was seen.")]
    evaluations: Annotated[Evaluations, Meta(description="Evaluation losses.")]
    plateau: Annotated[PlateauResult | None, Meta(description="What is to be gained; null if that failed.")]
    trend: Annotated[TrendWord, Meta(description="Direction of the loss.")]
    change_per_1000: Annotated[float | None, Meta(description="Relative change of the loss per 1,000 steps.")]
    spikes: Annotated[Sequence[int], Meta(description="First steps of the newest spikes, oldest first.")]
    saves: Annotated[Sequence[Save], Meta(description="Checkpoints, oldest first.")]
    own: Annotated[Alert | None, Meta(description="Newest alert of the training's own.")] = None
    own_count: Annotated[int, Meta(description="How many of those there were.")] = 0


def advice(now: Situation, *, table: AdviceTable) -> list[AdviceItem]:
    """What to do, the most important first; at least one item."""
    lost = [now.alerts[name] for name in _LOST if name in now.alerts]
    if lost:
        return [_go_back(now, lost[0]), *_inspect(now)]
    items = [*_lower(now, table=table), *_best_checkpoint(now, table=table), *_inspect(now)]
    stop = _stop(now, table=table)
    return [stop, *items] if stop is not None else [*items, _go_on(now, table=table)]


def schedule_over(now: Situation, *, table: AdviceTable) -> bool:
    """Whether no learning rate is left to decay: the planned steps are made, or it is a small share of its peak. With
    neither known, nothing says that it is over."""
    if now.total_steps is not None and now.step >= now.total_steps:
        return True
    return now.schedule is not None and now.schedule.share <= table.decayed_share


def evaluation_falls(now: Situation, *, table: AdviceTable) -> bool:
    """Whether the best evaluation loss is so new that it may fall further; of no evaluation at all, no."""
    return now.evaluations.count > 0 and now.evaluations.since_best < table.eval_patience


def flat(now: Situation, *, table: AdviceTable) -> bool:
    """Whether the training loss is expected to gain next to nothing."""
    if now.plateau is None or not now.plateau.plateau:
        return False
    gain = now.plateau.expected_gain_high
    gain = now.plateau.expected_gain if gain is None else gain
    return gain is not None and gain < table.stop_after_gain_below


def _go_back(now: Situation, alert: Alert) -> AdviceItem:
    first = now.step if alert.first_step is None else alert.first_step
    before = [save for save in now.saves if save.step < first]
    where = f"{before[-1].name}, the last checkpoint before it" if before else "the last checkpoint before it"
    return AdviceItem(
        action="use_checkpoint",
        text=f"The loss is lost since step {first}: go on from {where}, with a lower learning rate.",
        confidence="high",
        because=[_of(alert)],
        subjects=[before[-1].name] if before else [],
    )


def _stop(now: Situation, *, table: AdviceTable) -> AdviceItem | None:
    if not flat(now, table=table) or not schedule_over(now, table=table) or evaluation_falls(now, table=table):
        return None
    evaluated = now.evaluations.best is not None
    tail = "" if evaluated else " No evaluation loss is logged, so nothing says how the model does on other data."
    confidence: Confidence = "high" if evaluated else "low"
    return AdviceItem(
        action="stop",
        text=f"Stop: the training loss gains no more than {table.stop_after_gain_below:.1%}, the schedule is over"
        + (", and the evaluation loss falls no more." if evaluated else ".")
        + tail,
        confidence=confidence,
        because=[*_of_plateau(now), *_of_schedule(now), *_of_evaluations(now)],
    )


def _lower(now: Situation, *, table: AdviceTable) -> Iterator[AdviceItem]:
    since = now.step - max(RECENT_STEPS, RECENT_SHARE * now.step)
    recent = [step for step in now.spikes if step >= since]
    alerts = [now.alerts[name] for name in ("exploding_gradients", "learning_rate_high") if name in now.alerts]
    if len(recent) < table.lower_after_spikes and not alerts:
        return
    because = [_of(alert) for alert in alerts]
    if len(recent) >= table.lower_after_spikes:
        because.append(f"{len(recent)} loss spikes, the newest at step {recent[-1]}")
    rate = "" if now.schedule is None else f"; it is {now.schedule.rate:.3g} now"
    yield AdviceItem(
        action="lower_learning_rate",
        text=f"Lower the learning rate, to a half or a third{rate}.",
        confidence="high" if len(because) > 1 else "medium",
        because=[*because, *_of_schedule(now)],
    )


def _best_checkpoint(now: Situation, *, table: AdviceTable) -> Iterator[AdviceItem]:
    best, newest = now.evaluations.best, now.evaluations.newest
    gap = now.alerts.get("val_train_gap")
    if best is None or newest is None or best.step == newest.step:
        return
    late = now.evaluations.since_best >= table.eval_patience
    if not late and gap is None:
        return
    near = min(now.saves, key=lambda save: abs(save.step - best.step), default=None)
    name = f"the checkpoint nearest to step {best.step}" if near is None else near.name
    yield AdviceItem(
        action="use_checkpoint",
        text=f"Use {name}: the evaluation loss was least at step {best.step}, {best.loss:.4g}, and is {newest.loss:.4g}"
        f" at step {newest.step}.",
        confidence="high" if late and gap is not None else "medium",
        because=[*_of_evaluations(now), *([] if gap is None else [_of(gap)])],
        subjects=[] if near is None else [near.name],
    )


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
        because=[_of(alert) for alert in alerts],
        subjects=layers,
    )


def _go_on(now: Situation, *, table: AdviceTable) -> AdviceItem:
    because = [*_of_trend(now), *_of_plateau(now), *_of_schedule(now), *_of_evaluations(now), *_of_own(now)]
    falls = evaluation_falls(now, table=table) and now.evaluations.count > 1
    confidence: Confidence = "medium"
    if flat(now, table=table) and not schedule_over(now, table=table):
        text = "Continue: the training loss is flat, and the learning rate has not decayed yet."
    elif flat(now, table=table) and evaluation_falls(now, table=table):
        text = "Continue: the training loss is flat, and the evaluation loss may still fall."
    elif now.trend == "improving" or falls:
        text, confidence = "Continue: " + ("the loss falls." if not falls else "the evaluation loss falls."), "high"
    elif now.trend == "degrading":
        text, confidence = "Continue, and watch the evaluation loss: the training loss rises.", "low"
    elif now.trend == "stable":
        text = "Continue: nothing says that the loss has stopped falling for good."
    else:
        text, confidence = "Continue: too little is known yet to say more.", "low"
    return AdviceItem(action="continue", text=text, confidence=confidence, because=because or [f"step {now.step}"])


def _of(alert: Alert) -> str:
    since = "" if alert.first_step is None else f" since step {alert.first_step}"
    return f"alert {alert.condition}{since}, seen {alert.count} time{'s' if alert.count != 1 else ''}: {alert.title}"


def _of_plateau(now: Situation) -> Iterator[str]:
    if now.plateau is not None and now.plateau.plateau is not None:
        yield f"at step {now.step}, {now.plateau.why}"


def _of_schedule(now: Situation) -> Iterator[str]:
    if now.schedule is not None:
        rate = now.schedule
        yield f"learning rate {rate.rate:.3g} at step {rate.step}, {rate.share:.0%} of its peak {rate.peak:.3g}"
    if now.total_steps is not None:
        yield f"step {now.step} of {now.total_steps}"


def _of_evaluations(now: Situation) -> Iterator[str]:
    best, newest = now.evaluations.best, now.evaluations.newest
    if best is not None and newest is not None:
        yield (
            f"evaluation loss {newest.loss:.4g} at step {newest.step}, least {best.loss:.4g} at step {best.step},"
            f" {now.evaluations.since_best} evaluations ago"
        )


def _of_trend(now: Situation) -> Iterator[str]:
    if now.change_per_1000 is not None:
        yield f"the loss changes by {now.change_per_1000:+.2%} per 1,000 steps up to step {now.step}: {now.trend}"


def _of_own(now: Situation) -> Iterator[str]:
    if now.own is not None:
        at = "" if now.own.step is None else f" at step {now.own.step}"
        yield f"{now.own_count} alerts of the training's own, the newest{at}: {now.own.title}"

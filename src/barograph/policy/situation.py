"""What is known of a training when advice is asked for, and what follows from it: whether its schedule is over, whether
the loss still falls, and which of its records say so."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.streaming import Change
from barograph.policy.alert_tables import AdviceTable
from barograph.policy.evaluation_conditions import Evaluations
from barograph.policy.learning_rate_conditions import Schedule
from barograph.policy.logged_names import is_evaluation_loss
from barograph.policy.loss_progress import Progress
from barograph.records.alerts import Alert
from barograph.records.quantities import spelled
from barograph.records.signals import TrendWord

RECENT_STEPS = 1000
RECENT_SHARE = 0.25
"""Spikes count within the last thousand steps, or the last quarter of them if that is more."""

NEW_STEPS = 3
"""A spike of fewer steps may be over with the next one."""

NEARLY_OVER = 0.9
"""From this share of the planned steps on, nothing is said of a learning rate that ends anyway: of one that is not
known to be as high as ever."""

_LOST = ("non_finite_loss", "masked_loss")


class Save(Struct, frozen=True):
    """A checkpoint that was saved."""

    step: int
    """Its step."""
    name: str
    """What its folder is called."""
    sound: bool = True
    """False if the newest evaluation up to its step had a loss that is no number."""


class Situation(Struct, frozen=True, kw_only=True):
    """What is known of a training when advice is asked for."""

    step: Annotated[int, Meta(description="Newest step.")]
    total_steps: Annotated[int | None, Meta(description="Planned steps; null if not known.")]
    alerts: Annotated[Mapping[str, Alert], Meta(description="Condition -> its alert, of those that fire.")]
    schedule: Annotated[Schedule | None, Meta(description="Learning rate; null if none was seen.")]
    evaluations: Annotated[Evaluations, Meta(description="Evaluation losses.")]
    plateau: Annotated[PlateauResult | None, Meta(description="What is to be gained; null if that failed.")]
    trend: Annotated[TrendWord, Meta(description="Direction of the loss.")]
    change: Annotated[Change | None, Meta(description="What the loss changed by, by its trend; null if not known.")]
    spikes: Annotated[Sequence[int], Meta(description="First steps of the newest spikes, oldest first.")]
    saves: Annotated[Sequence[Save], Meta(description="Checkpoints, oldest first.")]
    own: Annotated[Alert | None, Meta(description="Newest alert of the training's own.")] = None
    own_count: Annotated[int, Meta(description="How many of those there were.")] = 0
    ended: Annotated[bool, Meta(description="Whether the training is over.")] = False
    progress: Annotated[Progress | None, Meta(description="The loss beside its beginning; null if not known.")] = None
    plateau_step: Annotated[int | None, Meta(description="Step at which the plateau was looked for.")] = None


def is_lost(alert: Alert) -> bool:
    """Whether an alert of a loss that is no number says that the weights are lost: not if gradients of that step were
    numbers, and not once a loss is a number again, which lost weights never give."""
    return alert.state == "firing" and not untouched(alert)


def schedule_nearly_over(now: Situation, *, table: AdviceTable) -> bool:
    """Whether the learning rate falls so low by itself that nobody need lower it; one that is still near its peak does
    not, however few steps are left."""
    if now.schedule is not None and now.schedule.steady:
        return False
    late = now.total_steps is not None and now.step >= NEARLY_OVER * now.total_steps
    return late or schedule_over(now, table=table)


def schedule_over(now: Situation, *, table: AdviceTable) -> bool:
    """Whether no learning rate is left to decay: the planned steps are made, or it is a small share of its peak. With
    neither known, nothing says that it is over. Of an attempt that goes on from a checkpoint the peak may have been
    greater, and the share only smaller."""
    if now.total_steps is not None and now.step >= now.total_steps:
        return True
    return now.schedule is not None and now.schedule.share <= table.decayed_share


def evaluation_falls(now: Situation, *, table: AdviceTable) -> bool:
    """Whether the best evaluation loss is so new that it may fall further; of none that is a number, no."""
    return now.evaluations.count > 0 and now.evaluations.since_best < table.eval_patience


def constant_evaluation(now: Situation) -> Alert | None:
    """The alert of an evaluation loss that never changes, while it fires."""
    alert = now.alerts.get("constant_evaluation")
    if alert is None or alert.state != "firing" or not any(map(is_evaluation_loss, alert.subjects)):
        return None
    return alert


def evaluation_speaks(now: Situation) -> bool:
    """Whether evaluation losses say anything of the model: there are some, and not the same one again and again."""
    return constant_evaluation(now) is None and (now.evaluations.changed or now.evaluations.count == 1)


def untrained(now: Situation) -> Alert | None:
    """The alert that says that nothing is trained at all: the learning rate is zero, or every layer is dead."""
    dead = now.alerts.get("dead_layers")
    if "learning_rate_zero" in now.alerts:
        return now.alerts["learning_rate_zero"]
    every = dead is not None and dead.evidence.get("dead_layers") == dead.evidence.get("total_layers", 0.0)
    return dead if every else None


def diverged(now: Situation) -> Alert | None:
    """The alert of a loss that stays above where it was, while it fires."""
    alert = now.alerts.get("loss_diverged")
    return alert if alert is not None and alert.state == "firing" else None


def equal_rewards(now: Situation) -> Alert | None:
    """The alert of gradients that are zero because all rewards of a group are equal."""
    alert = now.alerts.get("vanishing_gradients")
    return alert if alert is not None and "equal_rewards_share" in alert.evidence else None


def evaluation_fell(now: Situation) -> bool:
    """Whether the newest evaluation loss is the least of several."""
    newest = now.evaluations.newest
    least = now.evaluations.count > 1 and now.evaluations.since_best == 0
    return least and newest is not None and math.isfinite(newest.loss)


def failed_evaluation(now: Situation) -> Alert | None:
    """The alert of evaluations whose loss is no number, while it fires."""
    alert = now.alerts.get("non_finite_evaluation")
    return alert if alert is not None and alert.state == "firing" else None


def flat(now: Situation, *, table: AdviceTable) -> bool:
    """Whether the training loss is expected to gain next to nothing."""
    if now.plateau is None or not now.plateau.plateau:
        return False
    gain = now.plateau.expected_gain_high
    gain = now.plateau.expected_gain if gain is None else gain
    return gain is not None and gain < table.stop_after_gain_below


def no_numbers(now: Situation) -> list[Alert]:
    """The alerts of losses that were no numbers."""
    return [now.alerts[name] for name in _LOST if name in now.alerts]


def untouched(alert: Alert) -> bool:
    """Whether the gradients of the newest such step were numbers, so that no NaN came into the weights."""
    norm = alert.evidence.get("gradient_norm")
    return norm is not None and math.isfinite(norm)


def recent_spikes(now: Situation) -> list[int]:
    """First steps of the spikes that still count."""
    since = now.step - max(RECENT_STEPS, RECENT_SHARE * now.step)
    return [step for step in now.spikes if step >= since]


def recovered(now: Situation) -> bool:
    """Whether the loss falls again after its spikes; one that began just now has still to show it."""
    alert = now.alerts.get("loss_spike")
    lasts = alert is not None and alert.state == "firing" and now.step - max(now.spikes, default=0) >= NEW_STEPS
    return now.trend == "improving" and not lasts


def of_alert(alert: Alert) -> str:
    """The alert as a phrase."""
    since = "" if alert.first_step is None else f" since step {alert.first_step}"
    return f"alert {alert.condition}{since}, seen {alert.count} time{'s' if alert.count != 1 else ''}: {alert.title}"


def of_plateau(now: Situation) -> Iterator[str]:
    """What is still to be gained, if that can be said."""
    if now.plateau is not None and now.plateau.plateau is not None:
        step = now.step if now.plateau_step is None else now.plateau_step
        yield f"at step {step}, {now.plateau.why}"


def of_schedule(now: Situation) -> Iterator[str]:
    """The newest learning rate, and how many of the planned steps are made."""
    if now.schedule is not None:
        rate = now.schedule
        of = f"{rate.share:.0%} of its peak{'' if rate.whole else ' in this attempt'} {rate.peak:.3g}"
        beside = of if rate.peak > 0.0 else "and never more"
        yield f"learning rate {rate.rate:.3g} at step {rate.step}, {beside}"
    if now.total_steps is not None:
        yield f"step {now.step} of {now.total_steps}"


def of_evaluations(now: Situation) -> Iterator[str]:
    """The newest evaluation loss and the least."""
    best, newest = now.evaluations.best, now.evaluations.newest
    if best is not None and newest is not None:
        yield (
            f"evaluation loss {loss_in_words(newest.loss)} at step {newest.step}, least {best.loss:.4g} at step"
            f" {best.step}, {now.evaluations.since_best} evaluations ago"
        )


def loss_in_words(loss: float) -> str:
    """A loss, which may be no number."""
    return f"{loss:.4g}" if math.isfinite(loss) else spelled(loss)


def of_trend(now: Situation) -> Iterator[str]:
    """What the loss changed by."""
    if now.change is not None:
        change = now.change
        step = now.step if change.step is None else change.step
        yield f"the loss changed by {change.ratio:+.2%} over the {change.steps:,} steps up to step {step}"


def of_beginning(now: Situation) -> Iterator[str]:
    """What the loss began with, where it is not below that, or rose above it."""
    progress = now.progress
    if progress is not None and (progress.rose or not progress.gained):
        yield f"the loss is {progress.now:.4g} on average at step {now.step}, and began with {progress.began:.4g}"


def of_own(now: Situation) -> Iterator[str]:
    """The newest alert of the training's own."""
    if now.own is not None:
        at = "" if now.own.step is None else f" at step {now.own.step}"
        yield f"{now.own_count} alerts of the training's own, the newest{at}: {now.own.title}"

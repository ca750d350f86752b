"""Why to go on with a training, in a sentence, and what happened on its way; of one that is over, what there was still
to gain."""

import math
from collections.abc import Iterator

from msgspec import Struct

from barograph.analysis.streaming import Change
from barograph.policy import situation
from barograph.policy.alert_tables import AdviceTable
from barograph.policy.loss_progress import Progress
from barograph.policy.situation import Situation
from barograph.records.alerts import AdviceItem, Confidence

ABOVE = 1.1
"""A loss this many times that of the beginning has risen above it."""


def go_on(now: Situation, *, table: AdviceTable, alone: bool) -> AdviceItem:
    """The advice to go on; of a training that is over, what it was worth to go on with it. `alone`: whether nothing
    else is advised, without which it is not that sure."""
    because = [
        *situation.of_trend(now),
        *situation.of_beginning(now),
        *situation.of_plateau(now),
        *situation.of_schedule(now),
        *situation.of_evaluations(now),
        *situation.of_own(now),
        *(situation.of_alert(alert) for alert in situation.no_numbers(now)),
        *(
            situation.of_alert(alert)
            for alert in (
                situation.failed_evaluation(now),
                situation.constant_evaluation(now),
                situation.untrained(now),
                situation.diverged(now),
                situation.equal_rewards(now),
            )
            if alert is not None
        ),
    ]
    reason = _reason(now, table=table)
    text, confidence = reason.going, reason.confidence
    if now.ended:
        planned = "" if now.total_steps is None else f" of {now.total_steps:,}"
        text = f"Ended at step {now.step:,}{planned}. {reason.ended}"
    remarks = [*_remarks(now, table=table)]
    if (remarks or not alone) and confidence == "high":
        confidence = "medium"
    return AdviceItem(
        action="continue",
        text=" ".join([text, *remarks]),
        confidence=confidence,
        because=because or [f"step {now.step}"],
    )


class _Reason(Struct, frozen=True):
    """Why to go on."""

    going: str
    """While it trains."""
    ended: str
    """Of a training that is over."""
    confidence: Confidence
    """How sure it is."""


def _reason(now: Situation, *, table: AdviceTable) -> _Reason:
    labels = [alert for alert in situation.no_numbers(now) if alert.state == "firing"]
    if labels:
        return _Reason(
            "Continue, but look at the labels of the newest batches first.",
            "Look at the labels before you train again.",
            "medium" if labels[0].count == 1 else "low",
        )
    newest = situation.evaluation_fell(now)
    late = situation.evaluation_speaks(now) and not situation.evaluation_falls(now, table=table)
    untrained = situation.untrained(now)
    if untrained is not None:
        said = f"{untrained.title[:1].lower()}{untrained.title[1:]}, and nothing is learned"
        return _Reason(
            f"Continue only once that is mended: {said}.",
            f"Look at the settings before you train again: {said}.",
            "medium",
        )
    diverged = situation.diverged(now)
    if diverged is not None:
        said = f"{diverged.title[:1].lower()}{diverged.title[1:]}"
        return _Reason(
            f"Continue only for a reason of yours: {said}.",
            f"{diverged.title}: compare an earlier checkpoint before you use the last one.",
            "low",
        )
    behind = now.progress is not None and not now.progress.gained
    if now.progress is not None and behind and (now.trend == "improving" or now.progress.rose):
        numbers = f"{now.progress.now:.4g} on average, and it began with {now.progress.began:.4g}"
        return _Reason(
            f"Continue only for a reason of yours: the loss is not below where it began ({numbers}).",
            f"The loss is not below where it began ({numbers}): nothing was gained.",
            "low",
        )
    if "plateau" in now.alerts or (now.plateau is not None and now.plateau.plateau):
        return _flat(now, table=table)
    if now.trend == "improving" and late:
        return _Reason(
            "Continue only for a reason of yours: the training loss falls, and the evaluation loss does not.",
            "The training loss still fell, and the evaluation loss did not: more steps would not have helped.",
            "low",
        )
    if now.trend == "improving":
        fell = "the loss falls" if now.change is None else _fell(now.change, now.progress)
        ended = "The loss still fell" if now.change is None else f"{fell[:1].upper()}{fell[1:]}"
        if now.plateau is not None and now.plateau.expected_gain is not None and now.plateau.expected_gain <= 0.0:
            # It fell over all that the trend is of, and its newest part says that it will not.
            return _Reason(
                f"Continue: {fell}, though by the newest losses it falls no more.",
                f"{ended}; by the newest losses it fell no more.",
                "medium",
            )
        return _Reason(f"Continue: {fell}.", f"{ended}: a longer training may gain more.", "high")
    if newest:
        ended = "The evaluation loss still fell: a longer training may gain more."
        return _Reason("Continue: the evaluation loss falls.", ended, "high")
    if now.trend == "degrading":
        return _Reason(
            "Continue, and watch the evaluation loss: the training loss rises.",
            "The training loss rose at the end: compare an earlier checkpoint before you use the last one.",
            "low",
        )
    if now.trend == "stable":
        return _Reason(
            "Continue: nothing says that the loss has stopped falling for good.",
            "The loss hardly changed at the end, and nothing says that it had stopped falling for good.",
            "medium",
        )
    return _Reason("Continue: too little is known yet to say more.", "Too little is known of it to say more.", "low")


def _flat(now: Situation, *, table: AdviceTable) -> _Reason:
    """The training loss falls no more: what else may come."""
    ended = "The training loss did not fall any more"
    if situation.evaluation_falls(now, table=table):
        going = "Continue: the training loss is flat, and the evaluation loss may still fall."
        return _Reason(going, f"{ended}, and the evaluation loss still might.", "medium")
    if situation.schedule_over(now, table=table):
        going = "Continue only if an evaluation says so: the training loss hardly falls, and the schedule is over."
        return _Reason(going, f"{ended}, and the schedule was over.", "low")
    if now.schedule is None:
        going = (
            "Continue for now, and look at an evaluation: the training loss is flat, and no learning rate is"
            " logged that would say whether its schedule is over."
        )
        return _Reason(going, f"{ended}.", "low")
    if not now.schedule.whole:
        going = (
            "Continue for now, and look at an evaluation: the training loss is flat, and how far the learning rate has"
            " decayed is not known from this attempt alone."
        )
        return _Reason(going, f"{ended}.", "low")
    going = "Continue: the training loss is flat, and the learning rate has not decayed yet."
    return _Reason(going, f"{ended}; the learning rate had not decayed yet.", "medium")


def _remarks(now: Situation, *, table: AdviceTable) -> Iterator[str]:
    """What happened on the way and is over."""
    for alert in situation.no_numbers(now):
        at = f"{alert.count} times since" if alert.count > 1 else "at"
        when = f"The loss was no number {at} step {alert.first_step}"
        if alert.state == "firing":
            yield f"{when}, and the gradients were: the weights are untouched."
        else:
            yield f"{when}, and is a number again: the weights are not lost."
    lost = situation.failed_evaluation(now)
    if lost is not None:
        since = f"since step {lost.first_step}" if lost.count > 1 else f"at step {lost.first_step}"
        loss = "its loss was" if now.ended else "its loss is"
        yield f"Look at the evaluation: {loss} no number {since}."
    constant = situation.constant_evaluation(now)
    if constant is not None:
        yield f"Look at the evaluation: {constant.title}."
    rewards = situation.equal_rewards(now)
    if rewards is not None:
        share = rewards.evidence["equal_rewards_share"]
        yield f"Look at the reward: it is equal in {share:.0%} of the groups, and the gradients are zero."
    recent = situation.recent_spikes(now)
    if len(recent) >= table.lower_after_spikes and situation.recovered(now):
        yield f"It came back after each of {len(recent)} spikes, the newest at step {recent[-1]}."


def _fell(change: Change, progress: Progress | None) -> str:
    """The change of a falling loss in words, over what was seen; where it fell from above its own beginning, only what
    it is below that."""
    fall = -change.ratio
    if fall <= 0.0:
        return "the loss falls"
    if progress is not None and progress.began > 0.0 and _fell_from_above(change, progress):
        return f"the loss is {1.0 - progress.now / progress.began:.1%} below where it began, after a rise"
    digits = 2 if fall >= 0.985 else 0 if fall >= 0.1 else 1
    # A loss that is not zero did not fall by all of itself.
    shown = min(fall, 0.9999) if fall < 1.0 else fall
    return f"the loss fell by {shown:.{digits}%} over the last {change.steps:,} steps"


def _fell_from_above(change: Change, progress: Progress) -> bool:
    """Whether the losses that the change is of began above those that the training began with."""
    start = progress.now / (1.0 + change.ratio) if change.ratio > -1.0 else math.inf
    return progress.rose or start > ABOVE * progress.began

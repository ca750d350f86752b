"""Conditions of the loss: not a number, hidden by a trainer, a spike, a plateau."""

import math
from collections import deque

from msgspec import Struct
from msgspec.structs import replace

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.spikes import SpikeRule, Spikes
from barograph.policy.alert_tables import LossSpikeTable, NonFiniteLossTable
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.quantities import spelled

NOT_PROGRESS = "the loss of reinforcement learning is no measure of progress: look at the reward and the KL divergence"
"""Why spikes and plateaus of such a loss say nothing (it may be zero at most steps)."""


SOUND_AGAIN = "The losses after it are numbers again: the weights are not lost."
"""What is said of a loss that was no number, once one is."""


def non_finite_loss(
    step: int,
    loss: float,
    gradient_norm: float | None = None,
    *,
    table: NonFiniteLossTable,
    processes: int = 1,
) -> Checked:
    """The loss of a step is NaN or infinite. `gradient_norm` is that of the same step; None is not known. Where it is a
    number, the optimizer put no NaN into the weights: the mean over no labels at all is NaN, and its gradient is 0.

    Of several `processes` each has a loss of its own, and all have one gradient: where that is no number although the
    loss is one, the loss of another process was none, or the backward pass overflowed.
    """
    if math.isfinite(loss) and processes > 1 and gradient_norm is not None and not math.isfinite(gradient_norm):
        word = spelled(gradient_norm)
        return Checked(
            seen=True,
            title=f"The gradients are {word}, and the loss of this process is a number",
            text=f"The loss of step {step} is {loss:.4g} in this process, and the norm of the gradients of all"
            f" {processes} is {word}: the batch of another process made it, or an overflow in the backward pass."
            " Unless the optimizer left this step out, the weights are lost.",
            evidence={"loss": loss, "gradient_norm": gradient_norm, "processes": float(processes)},
            step=step,
        )
    if math.isfinite(loss):
        return Checked(seen=False, text=SOUND_AGAIN, recommendation=table.recommendation_untouched)
    word = spelled(loss)
    evidence = {"loss": loss} if gradient_norm is None else {"loss": loss, "gradient_norm": gradient_norm}
    recommendation = ""
    if gradient_norm is None:
        after = "the norm of its gradients is not known. If they are no numbers either, the weights are lost"
    elif math.isfinite(gradient_norm):
        recommendation = table.recommendation_untouched
        after = f"the norm of its gradients is {gradient_norm:.4g}, so the weights are untouched by it"
        if math.isnan(loss):
            after += "; the batch probably had no label (all labels -100)"
    else:
        after = f"the norm of its gradients is {spelled(gradient_norm)}: unless the optimizer left this step out,"
        after += " the weights are lost"
    return Checked(
        seen=True,
        title=f"The loss is {word}",
        text=f"The loss of step {step} is {word}, and {after}.",
        evidence=evidence,
        recommendation=recommendation,
        step=step,
    )


def masked_loss(step: int, loss: float | None, gradient_norm: float | None) -> Checked:
    """A loss of exactly zero with gradients that are no numbers: what `logging_nan_inf_filter` makes of NaN."""
    if loss is None:
        return unknown("no loss is recorded")
    if loss != 0.0:
        return NOT_SEEN
    if gradient_norm is None:
        return unknown(f"the loss of step {step} is 0.0, and the norm of its gradients is not known")
    if math.isfinite(gradient_norm):
        return NOT_SEEN
    word = spelled(gradient_norm)
    return Checked(
        seen=True,
        title="A loss that is no number was written as 0.0",
        text=f"At step {step} the loss is exactly 0.0 and the norm of the gradients is {word}:"
        " the trainer has put 0.0 where the loss was no number.",
        evidence={"loss": loss, "gradient_norm": gradient_norm},
        step=step,
    )


class Episode(Struct, frozen=True, kw_only=True):
    """Hits of a loss that are so close to each other that they are one spike."""

    first_step: int
    """Step of the first hit."""
    last_step: int
    """Step of the newest."""
    hits: int
    """How many there were."""
    peak: float
    """The greatest loss of them, nats."""
    peak_step: int
    """Its step."""
    expected: float
    """What the losses before that step pointed to, nats."""


class LossSpikes:
    """A fold over the losses: whether each is a spike by the policy's rule, and the episodes so far.

    What is said of a spike is said of its peak, whatever came after it; and where one alert has several spikes, of the
    greatest of them.
    """

    def __init__(self, table: LossSpikeTable) -> None:
        self._table = table
        rule = SpikeRule(
            window=table.window,
            min_window=table.min_window,
            sigma=table.sigma,
            min_ratio=table.min_ratio,
            tail=table.tail,
            merge=table.merge,
        )
        self._rule = rule if table.judged_by == "robust" else None
        self._robust = None if self._rule is None else Spikes(self._rule)
        self._before: deque[float] = deque(maxlen=table.mean_of)
        self._since_hit: int | None = None
        self._seen = 0
        self._newest: Episode | None = None
        self._greatest: Episode | None = None
        self._of_alert = 0
        self.episodes = 0
        """Episodes so far."""
        self.newest: deque[int] = deque(maxlen=64)
        """First steps of the newest episodes, oldest first."""

    def begin_anew(self) -> None:
        """The curve begins again somewhere else: losses are not compared with those before. Episodes still count."""
        self._robust = None if self._rule is None else Spikes(self._rule)
        self._before.clear()
        self._since_hit = None
        self._seen = 0

    def forget_alert(self) -> None:
        """The next spike is an alert of its own, which says nothing of those before."""
        self._greatest, self._of_alert = None, 0

    def update(self, step: int, loss: float) -> Checked:
        """Take one loss in. One that is not finite changes nothing and is no spike."""
        if not math.isfinite(loss):
            return NOT_SEEN
        self._seen += 1
        return self._by_ratio(step, loss) if self._robust is None else self._by_line(self._robust, step, loss)

    def _by_line(self, fold: Spikes, step: int, loss: float) -> Checked:
        if not fold.update(step, loss) or fold.hit is None:
            least = self._table.min_window
            return NOT_SEEN if self._seen > least else unknown(f"fewer than {least} losses are known")
        del fold.episodes[:-1]  # a training may have any number of them
        return self._hit(step, loss, expected=fold.hit.expected, began=fold.episodes[-1].hits == 1)

    def _by_ratio(self, step: int, loss: float) -> Checked:
        table, before = self._table, self._before
        full, mean = len(before) == table.mean_of, sum(before) / max(1, len(before))
        before.append(loss)
        if not full:
            return unknown(f"fewer than {table.mean_of} losses are known")
        if mean <= 0.0:
            return unknown(f"the mean of the last {table.mean_of} losses is {mean:.4g}, and twice that is no rise")
        self._since_hit = None if self._since_hit is None else self._since_hit + 1
        if loss <= table.ratio * mean:
            return NOT_SEEN
        began = self._since_hit is None or self._since_hit > table.merge
        self._since_hit = 0
        return self._hit(step, loss, expected=mean, began=began)

    def _hit(self, step: int, loss: float, *, expected: float, began: bool) -> Checked:
        before = None if began else self._newest
        if before is None:
            self.episodes += 1
            self._of_alert += 1
            self.newest.append(step)
            now = Episode(first_step=step, last_step=step, hits=1, peak=loss, peak_step=step, expected=expected)
        else:
            now = replace(before, last_step=step, hits=before.hits + 1)
            if loss > before.peak:
                now = replace(now, peak=loss, peak_step=step, expected=expected)
        self._newest = now
        greatest = self._greatest
        if greatest is None or greatest.first_step == now.first_step or now.peak > greatest.peak:
            greatest = self._greatest = now
        return self._said(step, greatest, newest=now)

    def _said(self, step: int, spike: Episode, *, newest: Episode) -> Checked:
        table, several = self._table, max(1, self._of_alert)
        robust = table.judged_by == "robust"
        times = f"{_times(spike.peak / spike.expected)} times the " if spike.expected > 0.0 else "where "
        pointed = "that the losses before it pointed to" if spike.expected > 0.0 else "was to be expected"
        text = f"The loss of step {spike.peak_step} is {spike.peak:.4g}, {times}{spike.expected:.4g} {pointed}."
        if spike.hits > 1:
            text += f" It was high at {spike.hits} steps, from step {spike.first_step} to step {spike.last_step}."
        if several > 1:
            text += f" This is the greatest of {several} spikes; the newest"
            text += " of them, too." if newest == spike else f" reached {newest.peak:.4g} at step {newest.peak_step}."
        return Checked(
            seen=True,
            title=f"The loss jumped to {spike.peak:.4g} at step {spike.peak_step} ({spike.expected:.4g} expected)",
            text=text,
            evidence={
                "peak": spike.peak,
                "peak_step": float(spike.peak_step),
                "expected": spike.expected,
                "episodes": float(several),
                "last_step": float(step),
                **({"sigma": table.sigma, "min_ratio": table.min_ratio} if robust else {"ratio": table.ratio}),
            },
            step=step,
        )


def plateau(result: PlateauResult, *, min_gain: float, before: str = "") -> Checked:
    """The loss does not fall any more, by the rule that made `result`; `before` says how it came there."""
    if result.plateau is None:
        return unknown(result.why)
    if not result.plateau:
        return NOT_SEEN
    evidence = {"min_gain": min_gain, "steps": float(result.steps)}
    for name in ("expected_gain", "expected_gain_high", "horizon_steps"):
        value = getattr(result, name)
        if value is not None:
            evidence[name] = value
    return Checked(
        seen=True,
        title="The loss does not fall any more",
        text=f"{result.why[:1].upper()}{result.why[1:]}.{before and ' '}{before}",
        evidence=evidence,
    )


def _times(ratio: float) -> str:
    """A ratio as a person says it."""
    return f"{ratio:.2f}" if ratio < 10.0 else f"{ratio:,.0f}" if ratio < 1e6 else f"{ratio:.3g}"

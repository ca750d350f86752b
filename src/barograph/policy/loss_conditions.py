"""Conditions of the loss: not a number, hidden by a trainer, a spike, a plateau."""

import math
from collections import deque

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.spikes import SpikeRule, Spikes
from barograph.policy.alert_tables import LossSpikeTable
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.quantities import spelled

NOT_PROGRESS = "the loss of reinforcement learning is no measure of progress: look at the reward and the KL divergence"
"""Why spikes and plateaus of such a loss say nothing (it may be zero at most steps)."""


def non_finite_loss(step: int, loss: float) -> Checked:
    """The loss of a step is NaN or infinite."""
    if math.isfinite(loss):
        return NOT_SEEN
    word = spelled(loss)
    return Checked(
        seen=True,
        title=f"The loss is {word}",
        text=f"The loss of step {step} is {word}: the weights of this step, or of the ones after it, are lost.",
        evidence={"loss": loss},
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


class LossSpikes:
    """A fold over the losses: whether each is a spike by the policy's rule, and the episodes so far."""

    def __init__(self, table: LossSpikeTable) -> None:
        self._table = table
        rule = SpikeRule(
            window=table.window,
            min_window=table.min_window,
            sigma=table.sigma,
            min_ratio=table.min_ratio,
            merge=table.merge,
        )
        self._robust = Spikes(rule) if table.judged_by == "robust" else None
        self._before: deque[float] = deque(maxlen=table.mean_of)
        self._since_hit: int | None = None
        self._seen = 0
        self.episodes = 0
        """Episodes so far."""
        self.newest: deque[int] = deque(maxlen=64)
        """First steps of the newest episodes, oldest first."""

    def update(self, step: int, loss: float) -> Checked:
        """Take one loss in. One that is not finite changes nothing and is no spike."""
        if not math.isfinite(loss):
            return NOT_SEEN
        self._seen += 1
        return self._by_ratio(step, loss) if self._robust is None else self._by_line(self._robust, step, loss)

    def _by_line(self, fold: Spikes, step: int, loss: float) -> Checked:
        hit = fold.update(step, loss)
        if not hit:
            least = self._table.min_window
            return NOT_SEEN if self._seen > least else unknown(f"fewer than {least} losses are known")
        del fold.episodes[:-1]  # a training may have any number of them
        episode = fold.episodes[-1]
        if episode.first_step == step:
            self._began(step)
        return self._spike(step, loss, expected=episode.expected, first_step=episode.first_step)

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
        if self._since_hit is None or self._since_hit > table.merge:
            self._began(step)
        self._since_hit = 0
        return self._spike(step, loss, expected=mean, first_step=self.newest[-1])

    def _began(self, step: int) -> None:
        self.episodes += 1
        self.newest.append(step)

    def _spike(self, step: int, loss: float, *, expected: float, first_step: int) -> Checked:
        table = self._table
        times = f", {loss / expected:.2f} times what was expected" if expected > 0.0 else ""
        since = "" if first_step == step else f" It has been high since step {first_step}."
        robust = table.judged_by == "robust"
        return Checked(
            seen=True,
            title=f"The loss jumped to {loss:.4g} at step {step}",
            text=f"The loss of step {step} is {loss:.4g}{times}; those before it let expect {expected:.4g}.{since}",
            evidence={
                "loss": loss,
                "expected": expected,
                "episodes": float(self.episodes),
                **({"sigma": table.sigma, "min_ratio": table.min_ratio} if robust else {"ratio": table.ratio}),
            },
            step=step,
        )


def plateau(step: int, result: PlateauResult, *, min_gain: float) -> Checked:
    """The loss does not fall any more, by the rule that made `result`."""
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
        text=f"{result.why[:1].upper()}{result.why[1:]}.",
        evidence=evidence,
        step=step,
    )

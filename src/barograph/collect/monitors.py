"""The four monitors that a training loop of one's own can ask, by the names that the first seed gave them.

    monitor = create_lora_monitor(model)          gradients, weights and updates, one row a layer
    tracker = create_streaming_tracker()          the smoothed loss and its trend
    manager = create_alerts_manager()             what is wrong, and what to do about it
    throughput = create_throughput_monitor()      tokens per second

They stand alone: no run is opened and nothing is written. They are made of the folds that `TrainerCallback` and
`Run.watch` use, which need no call in the loop and make no device wait; these read their values at once, so a model on
a GPU is waited for. Thresholds are those of the policy `contract`, the seed's own, unless another one is named. What is
no number (a text, a tensor of several elements) is left out and counted; NaN and the infinities are numbers.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from barograph.analysis.layer_activity import LayerActivity, LayerRow, LayerValues
from barograph.analysis.streaming import StreamingLoss
from barograph.analysis.throughput import StepTiming, Throughput
from barograph.collect.alert_watch import AlertWatch, Statistics
from barograph.collect.values_now import delivered, number_now, step_now
from barograph.errors import UsageError
from barograph.policy import load, rules
from barograph.policy.tables import Policy
from barograph.policy.training_watch import TrainingWatch

if TYPE_CHECKING:
    import torch

    from barograph.collect.gradients import LayerGradients


def create_lora_monitor(model: "torch.nn.Module", *, policy: str | Path = "contract") -> "LoraMonitor":
    """A monitor of every adapter of `model`; of every transformer block and module, if it has no adapters."""
    from barograph.collect.gradients import LayerGradients
    from barograph.collect.layer_columns import columns, not_available

    reason = not_available(model)
    found = None if reason else columns(model)
    return LoraMonitor(
        LayerActivity(rules.layer_activity(load(policy))),
        gradients=LayerGradients(found) if found else None,
        changes=LayerGradients(found) if found else None,
        reason=reason or "",
    )


def create_streaming_tracker(ema_alpha: float | None = None, *, policy: str | Path = "contract") -> "StreamingTracker":
    """A tracker of the loss. `ema_alpha` is the weight of one step's loss, 0.1 in both policies."""
    made = load(policy)
    if ema_alpha is not None:
        made = _changed(made, streaming={"ema_alpha": ema_alpha})
    return StreamingTracker(StreamingLoss(rules.streaming(made)))


def create_alerts_manager(*, policy: str | Path = "contract", total_steps: int | None = None) -> "AlertWatch":
    """A watch for everything that a loop can tell; `total_steps` are those that are planned, where that is known."""
    return AlertWatch(TrainingWatch(load(policy), total_steps=total_steps))


def create_throughput_monitor(
    window_size: int | None = None,
    *,
    policy: str | Path = "contract",
    clock: Callable[[], float] = time.monotonic,
) -> "ThroughputMonitor":
    """A monitor of the pace. `window_size` is the number of steps that the current rate is taken of, 50 in both
    policies; `clock` gives seconds that never go back."""
    made = load(policy)
    if window_size is not None:
        made = _changed(made, throughput={"window": window_size})
    return ThroughputMonitor(Throughput(rules.throughput(made)), clock=clock)


class LoraMonitor:
    """A fold over the layers of one model, asked after the backward pass and before the optimizer's step."""

    def __init__(
        self,
        activity: LayerActivity,
        *,
        gradients: "LayerGradients | None",
        changes: "LayerGradients | None",
        reason: str,
    ) -> None:
        """`gradients` and `changes` are None, and `reason` says why, where the model cannot be measured."""
        self._activity = activity
        self._gradients = gradients
        self._changes = changes
        self._reason = reason
        self._before = False
        self._next_step = 0

    def collect_gradients(self, step: int | None = None) -> dict[str, float | None]:
        """Module -> norm of its gradient as it is now, A and B of an adapter together; None where there is none.

        What the weights changed since the call before is taken as well: a step's update, if every step is collected.
        """
        at = step_now(step, self._next_step)
        self._next_step = at + 1
        if self._gradients is None or self._changes is None:
            self._activity.update(at, LayerValues(available=False, reason=self._reason))
            return {}
        self._gradients.take()
        found = delivered(self._gradients.after_step())
        if self._before:
            changed = delivered(self._changes.after_step())
            found = msgspec.structs.replace(found, weight=changed.weight, update=changed.update)
        self._changes.before_step()
        self._before = True
        self._activity.update(at, found)
        return {row.module: _float(row.current_grad_norm) for row in self._activity.rows()}

    def get_layer_stats(self) -> dict[str, Statistics]:
        """Module -> `mean_grad_norm`, `max_grad_norm`, `current_grad_norm`, `mean_update`, `max_update`,
        `current_update`, `num_updates`, and the other fields of `LayerRow`; null is not measured."""
        return {row.module: _statistics(row) for row in self._activity.rows()}

    def get_summary(self) -> Statistics:
        """`total_layers`, `active_layers`, `dead_layers`, `top_active_layers` and the other fields of `LayerSummary`;
        `sentence` is "24/28 layers active, 4 dead"."""
        return msgspec.structs.asdict(self._activity.summary())


class StreamingTracker:
    """A fold over the losses of one training."""

    def __init__(self, fold: StreamingLoss) -> None:
        self._fold = fold
        self._next_step = 0
        self._entropy: float | None = None
        self._left_out = 0

    def update_loss(self, current_loss: object, step: int | None = None) -> Statistics:
        """Take the loss of a step in (default: one more than the last one's), and say what is known now."""
        at = step_now(step, self._next_step)
        self._next_step = at + 1
        loss = number_now(current_loss)
        if loss is None:
            self._left_out += 1
        else:
            self._fold.update(at, loss)
        return self.get_statistics()

    def update_token_entropy(self, entropy: object) -> None:
        """Take in the mean entropy of the predicted tokens, nats; what is no number is left out."""
        found = number_now(entropy)
        if found is None:
            self._left_out += 1
        else:
            self._entropy = found

    def get_statistics(self) -> Statistics:
        """`streaming_ce`, `loss_variance`, `loss_noise`, `loss_trend`, `loss_change_per_1000` and `token_entropy` as
        records of signals have them, the newest `loss`, and how many losses were `num_updates`, `non_finite` and
        `left_out`."""
        fold = self._fold
        trend = fold.trend
        why = fold.reasons()
        if self._entropy is None:
            why["token_entropy"] = "update_token_entropy was not called"  # noqa: S105 - no password
        return {
            "loss": fold.last,
            "streaming_ce": fold.streaming_ce,
            "loss_variance": fold.variance,
            "loss_noise": fold.noise,
            "loss_trend": "unknown" if trend is None else trend.word,
            "loss_change_per_1000": None if trend is None else trend.change_per_1000,
            "token_entropy": self._entropy,
            "num_updates": fold.steps,
            "non_finite": fold.non_finite,
            "left_out": self._left_out,
            "why": why,
        }


class ThroughputMonitor:
    """A fold over the steps of one training: how fast it goes."""

    def __init__(self, fold: Throughput, *, clock: Callable[[], float]) -> None:
        self._fold = fold
        self._clock = clock
        self._since: float | None = None
        self._next_step = 0
        self._left_out = 0

    def start(self) -> None:
        """The first step begins now, or training goes on after a pause, which then counts for nothing."""
        self._since = self._clock()

    def update(self, num_tokens: object, step: int | None = None) -> Statistics:
        """A step with so many tokens has ended. The time since the call before is its own; without a call before, and
        without `start`, nobody knows how long it took, and it only starts the clock."""
        now = self._clock()
        at = step_now(step, self._next_step)
        self._next_step = at + 1
        tokens = number_now(num_tokens)
        self._left_out += tokens is None
        if self._since is not None:
            self._fold.update(at, time.time(), StepTiming(tokens=tokens, seconds=now - self._since))
        self._since = now
        return self.get_statistics()

    def get_statistics(self, total_steps: int | None = None) -> Statistics:
        """`tokens_per_sec`, `tokens_per_sec_avg`, `tokens_per_sec_ema`, `tokens_per_sec_baseline`, `throughput_trend`
        and `seconds_per_step` as records of signals have them; `eta_s` to the end of `total_steps`; `num_updates`."""
        fold = self._fold
        asked = ("tokens_per_sec", "tokens_per_sec_avg", "tokens_per_sec_ema", "tokens_per_sec_baseline")
        reasons = fold.reasons(total_steps=total_steps)
        names = {*asked, "throughput_trend", "seconds_per_step", "eta_s"}
        return {
            "tokens_per_sec": fold.current,
            "tokens_per_sec_avg": fold.average,
            "tokens_per_sec_ema": fold.ema,
            "tokens_per_sec_baseline": fold.baseline,
            "throughput_trend": fold.trend,
            "seconds_per_step": fold.seconds_per_step,
            "eta_s": fold.eta_s(total_steps, self._next_step),
            "num_updates": fold.steps,
            "left_out": self._left_out,
            "why": {name: reason for name, reason in reasons.items() if name in names},
        }


def _changed(policy: Policy, **tables: Mapping[str, object]) -> Policy:
    """A policy with other values, checked as those of a file are. Raises `UsageError`."""
    made = msgspec.to_builtins(policy)
    for table, values in tables.items():
        made[table] |= values
    try:
        return msgspec.convert(made, Policy)
    except msgspec.ValidationError as error:
        raise UsageError(f"a monitor cannot be made so: {error}", advice="Correct that argument") from error


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))


def _statistics(row: LayerRow) -> Statistics:
    return {**msgspec.structs.asdict(row), "current_grad_norm": _float(row.current_grad_norm)}

"""What listens inside a Hugging Face Trainer while it trains: loss, gradients, tokens, times, batches; in one place,
and longer for it, because all of it is about the same window, which begins, ends, is lost or forgotten as one.

Everything that it needs is taken where it passes by: `training_step` (loss, batch, model), `get_batch_samples` (the
wait for data) and the accelerator's `clip_grad_norm_` (norms before clipping: gradients that a hook of transformers
sees are clipped already, and where their norm is NaN, clipping has made all of them NaN). What each of the collectors
does is behind a boundary of its own: one that fails is left out, and the others go on. Around them all stands a last
boundary, so that nothing of ours can end a training: not even what holds them together.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from barograph.analysis.throughput import StepTiming
from barograph.collect.batches import KEPT, Decode, KeptBatches
from barograph.collect.gradients import LayerGradients
from barograph.collect.label_share import LabelShare, shares
from barograph.collect.layer_columns import columns, not_available
from barograph.collect.logged_values import copied_value
from barograph.collect.observed import Held, Observed
from barograph.collect.rank_outcomes import RankOutcomes, asked_for
from barograph.collect.raw_loss import RawLoss, Trainer
from barograph.collect.run import Run
from barograph.collect.stand_in import StandIn
from barograph.collect.step_times import StepTimes
from barograph.collect.time_budget import TimeBudget
from barograph.collect.token_statistics import TokenSampler, TokenStatistics
from barograph.collect.trained_model import device_name, model_size, precision
from barograph.records import Batch

LAYERS = "layers"
TOKENS = "token_statistics"
RAW_LOSS = "raw_loss"
NORM = "gradient_norm"
TIMES = "step_times"
BATCHES = "batches"
BUDGET = "time_budget"
STEP = "step"
MONITOR = "monitor"
"""What the last boundary is called."""

MOST_IN_VAIN = 3
"""Forward passes without logits, one after another, after which nobody looks for them any more."""

SHARDED = frozenset({"FSDP", "DEEPSPEED", "MEGATRON_LM"})
"""What accelerate calls trainings whose gradients lie in shards."""


STEP_ARGUMENTS = ("model", "inputs", "num_items_in_batch")
"""What a Trainer gives its `training_step`, in this order or by name."""


class Guarded(Protocol):
    """The boundary to the training loop."""

    def __call__(self, collector: str, act: Callable[..., object], *arguments: object) -> float:
        """Seconds that `act(*arguments)` took; 0 for a collector that is left out. Raises nothing."""
        ...


class TrainerMonitor:
    """Owns what stands in a trainer's methods, from construction to `remove`."""

    def __init__(
        self, trainer: Trainer, run: Run, *, guarded: Guarded, everything: bool, all_ranks: bool = False
    ) -> None:
        """`everything=False`: the raw loss and nothing else. `all_ranks`: whether each of several ranks measures."""
        self._run = run
        self._guarded = guarded
        self._everything = everything
        self._budget: TimeBudget = run.budget
        self._raw_loss = RawLoss()
        self._shares = shares(trainer)
        self._label_share: LabelShare | None = None
        if self._shares.shared:
            shifted = bool(getattr(trainer, "_loss_shifts_labels", False))
            self._label_share = LabelShare(self._shares.ranks, shifted=shifted)
        self._times = StepTimes()
        self._sampler = TokenSampler()
        self._batches = KeptBatches(_decode(trainer))
        self._outcomes: RankOutcomes | None = None
        if self._shares.ranks > 1:
            rank = getattr(getattr(trainer, "accelerator", None), "process_index", 0)
            self._outcomes = RankOutcomes(rank=rank, ranks=self._shares.ranks)
        self._asked_for = functools.partial(asked_for, kept=self._batches, outcomes=self._outcomes, all_ranks=all_ranks)
        self._layers: LayerGradients | None = None
        self._scaler: object = None
        self._accumulation = trainer.args.gradient_accumulation_steps
        self._step = trainer.state.global_step + 1
        self._micro_batches = 0
        self._tokens: torch.Tensor | int = 0
        self._examples = 0
        self._longest = 0
        self._norm: Held | None = None
        self._returned_norm: object = None
        self._max_norm: float | None = None
        self._take_layers = self._look_at_tokens = False
        self._token_reason: str | None = None
        self._looked_in_vain = 0
        self._timing: StepTiming | None = None
        self._statistics: TokenStatistics | None = None
        self._spent_s = 0.0
        self._stepped_at: float | None = None
        self._stand_ins = [
            StandIn(trainer, "training_step", before=self._begins, after=self._ends, failed=self._failed)
        ]
        if everything:
            self._guarded(TIMES, self._listen_to_data, trainer)
            self._guarded(NORM, self._listen_to_clipping, trainer)

    def begin(self, trainer: Trainer, model: object) -> None:
        """Say what is measured, and of which layers; to be called once, before the first step."""
        step = f"{type(trainer).__name__}.training_step"
        detail = f"The sum over the micro-batches of what {step} returns. {self._shares.detail}"
        self._run.collector(RAW_LOSS, running=True, detail=detail.rstrip())
        if self._everything:
            self._guarded(LAYERS, self._choose_layers, trainer, model)
            self._guarded("mfu", self._measure_model, model)
            self._run.collector(BATCHES, running=True, detail=f"Batches of {KEPT}, by reference, for alerts.")

    def remove(self) -> None:
        """Put back all that was there."""
        for one in reversed(self._stand_ins):
            one.remove()
        self._raw_loss.take()
        self._guarded(TOKENS, self._sampler.disarm)

    @property
    def asked_for(self) -> Callable[[int], Batch | None]:
        """Makes the record of the batch of a step; it holds no model."""
        return self._asked_for

    def window_is_lost(self) -> None:
        """An epoch ended in the middle of a window, which then makes no step."""
        try:
            self._lose_window()
        except Exception as error:  # noqa: BLE001 - the last boundary to the training loop
            self._failed(error)

    def unfinished(self) -> Observed | None:
        """The losses of a window that is complete, though its step was never made; None if it is not complete."""
        parts, labels = self._raw_loss.take(), None if self._label_share is None else self._label_share.take()
        if not parts or len(parts) != self._accumulation:
            return None
        return Observed(losses=tuple(copied_value(part) for part in parts), labels=labels)

    def optimizer_begins(self, step: int) -> None:
        """The gradients of `step` are complete, and clipped."""
        try:
            self._step_begins(step)
        except Exception as error:  # noqa: BLE001 - the last boundary to the training loop
            self._failed(error)

    def optimizer_ends(self, step: int) -> None:
        """The optimizer's step is made."""
        try:
            self._step_made(step)
        except Exception as error:  # noqa: BLE001 - the last boundary to the training loop
            self._failed(error)

    def step_ends(self) -> None:
        """The step is complete."""
        try:
            self._step_is_over()
        except Exception as error:  # noqa: BLE001 - the last boundary to the training loop
            self._failed(error)

    def left_out(self, collector: str, reason: str) -> None:
        """A collector failed and is not asked any more: say which signals have no source now."""
        if collector == LAYERS:
            self._layers = None
            self._run.layers_unavailable(reason)
        elif collector == TOKENS:
            self._sampler.disarm()
            self._run.unavailable("token_entropy", reason)
            self._run.unavailable("top1_probability", reason)
        elif collector == TIMES:
            self._run.unavailable("tokens_per_sec", reason)
        elif collector == NORM:
            self._run.unavailable("gradient_norm", reason)
        elif collector == BUDGET:  # what costs something is measured when it allows it
            for one in (LAYERS, TOKENS):
                self.left_out(one, reason)
        elif collector == MONITOR:
            self.remove()
            for one in (LAYERS, TOKENS, TIMES, NORM):
                self.left_out(one, reason)

    def _failed(self, error: Exception) -> None:
        """What nobody else caught: nothing is listened to any more."""
        self._guarded(MONITOR, _raised, error)

    def _times_failed(self, error: Exception) -> None:
        self._guarded(TIMES, _raised, error)

    def _lose_window(self) -> None:
        self._raw_loss.take()
        if self._label_share is not None:
            self._label_share.take()
        self._forget_window()
        self._guarded(TIMES, self._times.window_is_lost)

    def _step_begins(self, step: int) -> None:
        self._guarded(BUDGET, self._pay)
        if self._take_layers and self._layers is not None:
            self._guarded(LAYERS, self._before_step)
        if self._everything:
            self._spent_s += self._guarded(TIMES, self._take_times)
            if self._look_at_tokens:
                self._spent_s += self._guarded(TOKENS, self._take_statistics)
        self._spent_s += self._guarded(STEP, self._observe, step)
        self._step = step + 1
        self._forget_window()

    def _step_made(self, step: int) -> None:
        if self._everything:
            self._guarded(TIMES, self._times.optimizer_ends)
        if self._layers is not None:
            self._guarded(LAYERS, self._after_step, step)

    def _step_is_over(self) -> None:
        if self._everything:
            try:
                self._times.step_ends()
            except Exception as error:  # noqa: BLE001 - as where clipping begins
                self._times_failed(error)
            self._guarded(BATCHES, self._record_batches)

    def _record_batches(self) -> None:
        if self._run.wants_batches:
            self._run.record_batches(self._asked_for)

    def _pay(self) -> None:
        """Count what was spent since the step before, and share out what may be spent now."""
        now = time.perf_counter()
        spent, self._spent_s = self._spent_s, 0.0
        self._budget.spend(spent)
        if self._stepped_at is not None:
            self._budget.step(now - self._stepped_at)
        self._stepped_at = now

    def _listen_to_data(self, trainer: object) -> None:
        if not hasattr(trainer, "get_batch_samples"):
            raise LookupError("this Trainer has no get_batch_samples: when it waits for data is not known")
        times = self._times
        self._stand_ins.append(
            StandIn(
                trainer,
                "get_batch_samples",
                before=lambda arguments, named: times.data_asked(),
                after=lambda result: times.data_there(),
                failed=self._times_failed,
            )
        )
        detail = "Tokens, wait for data, passes and optimizer of every step."
        if self._shares.ranks > 1:
            detail += f" Of this rank alone, one of {self._shares.ranks}: the others' tokens are not known here."
        self._run.collector(TIMES, running=True, detail=detail)

    def _listen_to_clipping(self, trainer: object) -> None:
        accelerator = getattr(trainer, "accelerator", None)
        if not hasattr(accelerator, "clip_grad_norm_"):
            raise LookupError("this Trainer has no accelerator whose clip_grad_norm_ could be heard")
        self._scaler = getattr(accelerator, "scaler", None)
        self._stand_ins.append(
            StandIn(
                accelerator,
                "clip_grad_norm_",
                before=self._clipping_begins,
                after=self._clipping_ends,
                failed=self._failed,
            )
        )
        detail = "What the accelerator's clip_grad_norm_ returns: the norm of all gradients before clipping."
        self._run.collector(NORM, running=True, detail=detail)

    def _choose_layers(self, trainer: object, model: object) -> None:
        accelerator = getattr(trainer, "accelerator", None)
        kind = getattr(accelerator, "distributed_type", None)
        word = str(getattr(kind, "value", kind))
        if not isinstance(model, torch.nn.Module):
            reason: str | None = "The Trainer gave no model."
        elif word in SHARDED:
            reason = f"Not available: {word} keeps parameters and gradients in shards."
        else:
            reason = not_available(model)
        if reason is not None or not isinstance(model, torch.nn.Module):
            self._run.layers_unavailable(reason or "The Trainer gave no model.")
            return
        found = columns(model)
        self._layers = LayerGradients(found)
        what = "adapters" if found.kind == "lora" else "blocks"
        frozen = f" {found.frozen} more are frozen." if found.frozen else ""
        self._run.collector(
            LAYERS,
            running=True,
            detail=f"Norms of gradients before clipping, weights and updates of {len(found.names)} columns ({what}), "
            "as often as one hundredth of the wall time allows. Updates of tensors of more than 65,536 elements are "
            f"estimated from about so many of them.{frozen}",
        )

    def _measure_model(self, model: object) -> None:
        if isinstance(model, torch.nn.Module):
            self._run.model_size(model_size(model), device=device_name(model), precision=precision(model))

    def _begins(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        if len(arguments) == len(STEP_ARGUMENTS):  # as the Trainer calls it
            model, inputs, of_all = arguments
        else:
            given = {**dict(zip(STEP_ARGUMENTS, arguments, strict=False)), **named}
            model, inputs, of_all = (given.get(name) for name in STEP_ARGUMENTS)
        spent = 0.0
        if self._label_share is not None:
            spent += self._guarded(RAW_LOSS, self._label_share.update, inputs, of_all)
        if self._everything:
            spent += self._guarded(TIMES, self._count, inputs)
            spent += self._guarded(BATCHES, self._batches.update, self._step, inputs)
            if self._micro_batches == 0:
                self._guarded(BUDGET, self._choose_what_is_due)
                if self._look_at_tokens:
                    self._guarded(TOKENS, self._arm, model)
        self._micro_batches += 1
        self._spent_s += spent

    def _choose_what_is_due(self) -> None:
        self._take_layers = self._layers is not None and self._budget.due(LAYERS)
        self._look_at_tokens = self._looked_in_vain < MOST_IN_VAIN and self._budget.due(TOKENS)

    def _ends(self, loss: object) -> None:
        self._spent_s += self._guarded(RAW_LOSS, self._raw_loss.update, loss)
        if self._look_at_tokens:
            self._guarded(TOKENS, self._sampler.disarm)

    def _clipping_begins(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        try:
            self._times.clips()
        except Exception as error:  # noqa: BLE001 - a boundary that takes no time of its own
            self._times_failed(error)
        self._guarded(NORM, self._remember_limit, arguments, named)
        if self._take_layers and self._layers is not None:
            self._guarded(LAYERS, self._take_once)

    def _clipping_ends(self, total: object) -> None:
        self._spent_s += self._guarded(NORM, self._remember_norm, total)

    def _remember_limit(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        limit = named.get("max_norm", arguments[1] if len(arguments) > 1 else None)
        self._max_norm = float(limit) if isinstance(limit, float | int) and math.isfinite(limit) else None

    def _remember_norm(self, total: object) -> None:
        if total is not None:
            self._norm, self._returned_norm = copied_value(total), total

    def _scale(self) -> torch.Tensor | None:
        """What a loss scaler has multiplied the gradients with, which are not divided by it yet."""
        scale = getattr(self._scaler, "_scale", None)
        return scale if isinstance(scale, torch.Tensor) else None

    def _count(self, inputs: object) -> None:
        self._times.micro_batch()
        ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
        if not isinstance(ids, torch.Tensor) or not isinstance(inputs, Mapping) or ids.dim() != 2:
            return
        mask = inputs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.shape == ids.shape:
            self._tokens = mask.sum() if not self._examples else self._tokens + mask.sum()
        else:
            self._tokens += ids.numel()
        self._examples += ids.shape[0]
        self._longest = max(self._longest, ids.shape[1])

    def _arm(self, model: object) -> None:
        if not self._sampler.arm(model):
            self._say_token_reason()

    def _say_token_reason(self) -> None:
        reason = self._sampler.why
        if reason is not None and reason != self._token_reason:
            self._token_reason = reason
            self._run.collector(TOKENS, running=False, detail=reason)
            self._run.unavailable("token_entropy", reason)
            self._run.unavailable("top1_probability", reason)

    def _take(self, layers: LayerGradients) -> None:
        layers.take(self._scale(), scaled=self._scaler is not None)

    def _take_once(self) -> None:
        if self._layers is not None and not self._layers.taken:
            self._take(self._layers)

    def _before_step(self) -> None:
        self._take_once()  # nobody clipped: the gradients are as the backward passes left them
        if self._layers is not None:
            self._layers.before_step()

    def _after_step(self, step: int) -> None:
        layers = self._layers
        if layers is not None and layers.taken:
            self._run.observe_layers(step, layers.after_step())
            self._budget.measured(LAYERS, layers.seconds, on_device_s=layers.on_device_s)

    def _take_times(self) -> None:
        self._timing = self._times.optimizer_begins(
            batch_size=self._examples or None, sequence_length=self._longest or None
        )

    def _take_statistics(self) -> None:
        found = self._sampler.take()
        self._say_token_reason()
        self._looked_in_vain = 0 if found is not None else self._looked_in_vain + 1
        self._budget.measured(TOKENS, self._sampler.seconds)
        if found is not None and self._token_reason is None:
            self._token_reason = ""
            self._run.collector(TOKENS, running=True, detail="Of 16 positions with a label, at sampled steps.")
        self._statistics = found

    def _observe(self, step: int) -> None:
        parts = self._raw_loss.take()
        labels = None if self._label_share is None else self._label_share.take()
        if self._outcomes is not None and self._everything:
            norm = None if self._scaler is not None else self._returned_norm
            self._guarded(BATCHES, self._outcomes.update, step, parts, norm)
        losses = tuple(copied_value(part) for part in parts)
        timing, statistics = self._timing, self._statistics
        if losses or timing is not None:
            seen = Observed(
                losses=losses,
                labels=labels if losses else None,
                gradient_norm=self._norm,
                max_norm=self._max_norm,
                scaled=self._scaler is not None,
                tokens=copied_value(self._tokens) if self._examples else None,
                timing=timing,
                token_entropy=None if statistics is None else copied_value(statistics.entropy),
                top1_probability=None if statistics is None else copied_value(statistics.top1_probability),
            )
            self._run.observe(step, seen)

    def _forget_window(self) -> None:
        self._micro_batches = self._examples = self._longest = 0
        self._tokens = 0
        self._norm = self._max_norm = self._returned_norm = None
        self._timing = self._statistics = None
        self._take_layers = self._look_at_tokens = False


def _raised(error: Exception) -> None:
    raise error


def _decode(trainer: object) -> Decode | None:
    tokenizer = getattr(trainer, "processing_class", None) or getattr(trainer, "tokenizer", None)
    decode = getattr(tokenizer, "decode", None)
    return decode if callable(decode) else None

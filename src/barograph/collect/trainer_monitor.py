"""What listens inside a Hugging Face Trainer while it trains: loss, gradients, tokens, times, batches.

Everything that it needs is taken where it passes by: `training_step` (loss, batch, model), `get_batch_samples` (the
wait for data) and the accelerator's `clip_grad_norm_` (norms before clipping: gradients that a hook of transformers
sees are clipped already, and where their norm is NaN, clipping has made all of them NaN). What each of the collectors
does is behind a boundary of its own: one that fails is left out, and the others go on.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch

from barograph.analysis.model_flops import ModelSize, Precision
from barograph.collect.batches import KEPT, Decode, KeptBatches
from barograph.collect.gradients import LayerGradients
from barograph.collect.layer_columns import columns, not_available
from barograph.collect.logged_values import copied_value
from barograph.collect.observed import Held, Observed
from barograph.collect.raw_loss import RawLoss, Trainer
from barograph.collect.run import Run
from barograph.collect.stand_in import StandIn
from barograph.collect.step_times import StepTimes
from barograph.collect.time_budget import TimeBudget
from barograph.collect.token_statistics import TokenSampler

LAYERS = "layers"
TOKENS = "token_statistics"
RAW_LOSS = "raw_loss"
NORM = "gradient_norm"
TIMES = "step_times"
BATCHES = "batches"
STEP = "step"

MOST_IN_VAIN = 3
"""Forward passes without logits, one after another, after which nobody looks for them any more."""

SHARDED = frozenset({"FSDP", "DEEPSPEED", "MEGATRON_LM"})
"""What accelerate calls trainings whose gradients lie in shards."""


class Guarded(Protocol):
    """The boundary to the training loop."""

    def __call__(self, collector: str, act: Callable[..., None], *arguments: object) -> float:
        """Seconds that `act(*arguments)` took; 0 for a collector that is left out. Raises nothing."""
        ...


class TrainerMonitor:
    """Owns what stands in a trainer's methods, from construction to `remove`."""

    def __init__(self, trainer: Trainer, run: Run, *, guarded: Guarded, everything: bool) -> None:
        """`everything=False`: the raw loss and nothing else."""
        self._run = run
        self._guarded = guarded
        self._everything = everything
        self._budget: TimeBudget = run.budget
        self._raw_loss = RawLoss()
        self._times = StepTimes()
        self._sampler = TokenSampler()
        self._batches = KeptBatches(_decode(trainer))
        self._layers: LayerGradients | None = None
        self._scaler: object = None
        self._accumulation = trainer.args.gradient_accumulation_steps
        self._step = trainer.state.global_step + 1
        self._micro_batches = 0
        self._tokens: torch.Tensor | int = 0
        self._examples = 0
        self._longest = 0
        self._norm: Held | None = None
        self._max_norm: float | None = None
        self._take_layers = self._look_at_tokens = False
        self._token_reason: str | None = None
        self._looked_in_vain = 0
        self._stepped_at: float | None = None
        self._stand_ins = [StandIn(trainer, "training_step", before=self._begins, after=self._ends)]
        if everything:
            self._guarded(TIMES, self._listen_to_data, trainer)
            self._guarded(NORM, self._listen_to_clipping, trainer)

    def begin(self, trainer: Trainer, model: object) -> None:
        """Say what is measured, and of which layers; to be called once, before the first step."""
        step = f"{type(trainer).__name__}.training_step"
        detail = f"The sum over the micro-batches of what {step} returns."
        self._run.collector(RAW_LOSS, running=True, detail=detail)
        if self._everything:
            self._guarded(LAYERS, self._choose_layers, trainer, model)
            self._guarded("mfu", self._measure_model, model)
            self._run.collector(BATCHES, running=True, detail=f"Batches of {KEPT}, by reference, for alerts.")

    def remove(self) -> None:
        """Put back all that was there."""
        for one in reversed(self._stand_ins):
            one.remove()
        self._sampler.disarm()
        self._raw_loss.take()

    @property
    def kept_batches(self) -> KeptBatches:
        """The newest batches."""
        return self._batches

    def window_is_lost(self) -> None:
        """An epoch ended in the middle of a window, which then makes no step."""
        self._raw_loss.take()
        self._forget_window()
        self._times.window_is_lost()

    def unfinished(self) -> "tuple[torch.Tensor | float, ...]":
        """The losses of a window that is complete, though its step was never made; empty if it is not complete."""
        parts = self._raw_loss.take()
        return parts if len(parts) == self._accumulation else ()

    def optimizer_begins(self, step: int) -> None:
        """The gradients of `step` are complete, and clipped."""
        now = time.perf_counter()
        if self._stepped_at is not None:
            self._budget.step(now - self._stepped_at)
        self._stepped_at = now
        if self._take_layers and self._layers is not None:
            self._guarded(LAYERS, self._before_step)
        spent = self._guarded(STEP, self._observe, step)
        self._step = step + 1
        self._forget_window()
        self._budget.spend(spent)

    def optimizer_ends(self, step: int) -> None:
        """The optimizer's step is made."""
        self._times.optimizer_ends()
        if self._layers is not None and self._layers.taken:
            self._guarded(LAYERS, self._after_step, step)

    def step_ends(self) -> None:
        """The step is complete."""
        self._times.step_ends()
        if self._everything and self._run.wants_batches:
            self._guarded(BATCHES, self._run.record_batches, self._batches.record)

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
            )
        )
        self._run.collector(TIMES, running=True, detail="Tokens, wait for data, passes and optimizer of every step.")

    def _listen_to_clipping(self, trainer: object) -> None:
        accelerator = getattr(trainer, "accelerator", None)
        if not hasattr(accelerator, "clip_grad_norm_"):
            raise LookupError("this Trainer has no accelerator whose clip_grad_norm_ could be heard")
        self._scaler = getattr(accelerator, "scaler", None)
        self._stand_ins.append(
            StandIn(accelerator, "clip_grad_norm_", before=self._clipping_begins, after=self._clipping_ends)
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
        self._run.collector(
            LAYERS,
            running=True,
            detail=f"Norms of gradients before clipping, weights and updates of {len(found.names)} columns ({what}), "
            "as often as one hundredth of the wall time allows. Updates of tensors of more than 65,536 elements are "
            "estimated from about so many of them.",
        )

    def _measure_model(self, model: object) -> None:
        if isinstance(model, torch.nn.Module):
            self._run.model_size(model_size(model), device=_device_name(model), precision=_precision(model))

    def _begins(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        if not self._everything:
            return
        self._times.micro_batch()
        model = arguments[0] if arguments else named.get("model")
        inputs = arguments[1] if len(arguments) > 1 else named.get("inputs")
        spent = self._guarded(BATCHES, self._batches.update, self._step, inputs)
        spent += self._guarded(TIMES, self._count, inputs)
        if self._micro_batches == 0:
            self._take_layers = self._layers is not None and self._budget.due(LAYERS)
            self._look_at_tokens = self._looked_in_vain < MOST_IN_VAIN and self._budget.due(TOKENS)
            if self._look_at_tokens:
                self._guarded(TOKENS, self._arm, model)
        self._micro_batches += 1
        self._budget.spend(spent)

    def _ends(self, loss: object) -> None:
        spent = self._guarded(RAW_LOSS, self._raw_loss.update, loss)
        if self._look_at_tokens:
            self._sampler.disarm()
        self._budget.spend(spent)

    def _clipping_begins(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        self._times.clips()
        self._guarded(NORM, self._remember_limit, arguments, named)
        if self._take_layers and self._layers is not None and not self._layers.taken:
            self._guarded(LAYERS, self._take, self._layers)

    def _clipping_ends(self, total: object) -> None:
        self._budget.spend(self._guarded(NORM, self._remember_norm, total))

    def _remember_limit(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        limit = named.get("max_norm", arguments[1] if len(arguments) > 1 else None)
        self._max_norm = float(limit) if isinstance(limit, float | int) and math.isfinite(limit) else None

    def _remember_norm(self, total: object) -> None:
        if total is not None:
            self._norm = copied_value(total)

    def _scale(self) -> torch.Tensor | None:
        """What a loss scaler has multiplied the gradients with, which are not divided by it yet."""
        scale = getattr(self._scaler, "_scale", None)
        return scale if isinstance(scale, torch.Tensor) else None

    def _count(self, inputs: object) -> None:
        ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
        if not isinstance(ids, torch.Tensor) or not isinstance(inputs, Mapping) or ids.dim() != 2:
            return
        mask = inputs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.shape == ids.shape:
            self._tokens = self._tokens + mask.sum()
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

    def _before_step(self) -> None:
        assert self._layers is not None
        if not self._layers.taken:  # nobody clipped: the gradients are as the backward passes left them
            self._take(self._layers)
        self._layers.before_step()

    def _after_step(self, step: int) -> None:
        assert self._layers is not None
        self._run.observe_layers(step, self._layers.after_step())
        self._budget.measured(LAYERS, self._layers.seconds, on_device_s=self._layers.on_device_s)

    def _observe(self, step: int) -> None:
        losses = tuple(copied_value(part) for part in self._raw_loss.take())
        if not self._everything:
            if losses:
                self._run.observe(step, Observed(losses=losses))
            return
        timing = self._times.optimizer_begins(batch_size=self._examples or None, sequence_length=self._longest or None)
        statistics = self._sampler.take()
        if self._look_at_tokens:
            self._say_token_reason()
            self._looked_in_vain = 0 if statistics is not None else self._looked_in_vain + 1
            self._budget.measured(TOKENS, self._sampler.seconds)
        if statistics is not None and self._token_reason is None:
            self._token_reason = ""
            self._run.collector(TOKENS, running=True, detail="Of 16 positions with a label, at sampled steps.")
        seen = Observed(
            losses=losses,
            gradient_norm=self._norm,
            max_norm=self._max_norm,
            scaled=self._scaler is not None,
            tokens=copied_value(self._tokens) if self._examples else None,
            timing=timing,
            token_entropy=None if statistics is None else copied_value(statistics.entropy),
            top1_probability=None if statistics is None else copied_value(statistics.top1_probability),
        )
        if losses or timing is not None:
            self._run.observe(step, seen)

    def _forget_window(self) -> None:
        self._micro_batches = self._examples = self._longest = 0
        self._tokens = 0
        self._norm = self._max_norm = None
        self._look_at_tokens = False


def model_size(model: torch.nn.Module) -> ModelSize:
    """What decides the arithmetic of a model: its parameters, adapters apart, and its shape."""
    own = trained = adapters = 0
    for name, one in model.named_parameters():
        if ".lora_" in name:
            adapters += one.numel()
        else:
            own += one.numel()
            trained += one.numel() if one.requires_grad else 0
    config = getattr(model, "config", None)
    layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    return ModelSize(
        parameters=max(1, own),
        adapter_parameters=adapters + trained if adapters else None,
        layers=layers if isinstance(layers, int) and layers > 0 else None,
        hidden_size=hidden if isinstance(hidden, int) and hidden > 0 else None,
    )


def _device_name(model: torch.nn.Module) -> str | None:
    device = next((one.device for one in model.parameters()), None)
    return torch.cuda.get_device_name(device) if device is not None and device.type == "cuda" else None


def _precision(model: torch.nn.Module) -> Precision | None:
    """The type that matrices are multiplied in: that of autocast would be known inside the step only."""
    kinds: Iterable[torch.dtype] = (one.dtype for one in model.parameters() if one.dim() == 2)
    names: dict[torch.dtype, Precision] = {
        torch.bfloat16: "bfloat16",
        torch.float16: "float16",
        torch.float32: "float32",
    }
    return names.get(next(iter(kinds), torch.int8))


def _decode(trainer: object) -> Decode | None:
    tokenizer = getattr(trainer, "processing_class", None) or getattr(trainer, "tokenizer", None)
    decode = getattr(tokenizer, "decode", None)
    return decode if callable(decode) else None

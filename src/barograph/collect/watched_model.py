"""A PyTorch model that is watched from the steps of its optimizer, without a change to the loop that trains it.

Gradients are read when the optimizer's step begins: as the loop left them, so after its own clipping. The step they
belong to is the one after the step that was logged last, one more for each step of the optimizer since.

A model may have several optimizers, each for some of its parameters. They step one after another, and together make one
step of the training: a round, which begins with the first of them, and with any that steps for the second time. What
belongs to an optimizer is measured around its own step, and all of a round is one row. The round is complete when all
parameters had their turn, or else all optimizers of the round before; at the latest when the next one begins.
"""

import time
import weakref
from collections.abc import Callable
from typing import Protocol

import torch
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from barograph.collect.gradients import LayerGradients
from barograph.collect.layer_columns import Columns, columns, not_available, only, used
from barograph.collect.layer_norms import LayerNorms, together
from barograph.collect.observed import TOKENS
from barograph.collect.time_budget import TimeBudget
from barograph.errors import UsageError

LAYERS = "layers"


class Recorded(Protocol):
    """The part of a run that this uses."""

    @property
    def budget(self) -> TimeBudget:
        """What collecting may cost."""

    @property
    def next_step(self) -> int:
        """The step after the one that was logged last."""

    def observe_layers(self, step: int, norms: LayerNorms) -> None:
        """Record one collection."""

    def layers_unavailable(self, reason: str) -> None:
        """The norms cannot be had."""

    def unavailable(self, name: str, reason: str) -> None:
        """Nor can this."""

    def collector(self, name: str, *, running: bool, detail: str) -> None:
        """Say whether a collector runs."""

    def collector_failed(self, name: str, error: BaseException) -> None:
        """A collector raised."""


class WatchedModel:
    """Owns the hooks on the optimizer of one model, from construction to `remove`."""

    def __init__(self, run: Recorded, model: object, optimizer: object, *, every: int | None) -> None:
        """Raises `UsageError` for what is no model and no optimizer."""
        if not isinstance(model, torch.nn.Module):
            raise UsageError(f"watch was given a {type(model).__name__}", advice="Pass a torch.nn.Module")
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise UsageError(f"watch was given a {type(optimizer).__name__}", advice="Pass a torch.optim.Optimizer")
        if every is not None and (type(every) is not int or every < 1):
            raise UsageError(f"every={every!r} is no number of steps", advice="Pass 1 or more, or leave it out")
        self._run = weakref.ref(run)
        self._budget: TimeBudget = run.budget
        self._every = every
        self._since = 0
        self._stepped_at: float | None = None
        self._newest = -1
        self._unlogged = 0
        self._step = 0
        self._round: set[int] = set()
        self._round_before: set[int] = set()
        self._collecting = False
        self._left: set[int] = set()
        self._taken: list[LayerNorms] = []
        self._seconds = self._on_device_s = 0.0
        self._found: Columns | None = None
        self._parts: weakref.WeakKeyDictionary[Optimizer, LayerGradients] = weakref.WeakKeyDictionary()
        self._parameters: frozenset[int] = frozenset()
        self._hooks: list[Callable[[], None]] = []
        reason = not_available(model)
        if reason is not None:
            run.layers_unavailable(reason)
            return
        found = columns(model)
        self._trained = len(found.parameters)
        if optimizer is not None:
            found = used(only(found, _ids(optimizer)))
        if not found.parameters:
            run.layers_unavailable("The optimizer that watch was given has no parameter of the model that is trained.")
            return
        self._found = found
        self._parameters = frozenset(id(one) for one in found.parameters)
        if optimizer is not None:
            before = optimizer.register_step_pre_hook(self._step_begins)
            after = optimizer.register_step_post_hook(self._step_ends)
        else:
            before = register_optimizer_step_pre_hook(self._step_begins)
            after = register_optimizer_step_post_hook(self._step_ends)
        self._hooks = [before.remove, after.remove]
        detail = f"Norms of gradients as the optimizer gets them, weights and updates of {len(found.names)} columns."
        run.collector(LAYERS, running=True, detail=detail)
        run.unavailable("tokens_per_sec", f"run.watch() does not see batches: log the tokens of a step as {TOKENS!r}")
        run.unavailable("token_entropy", "run.watch() does not see logits")
        run.unavailable("top1_probability", "run.watch() does not see logits")

    def remove(self) -> None:
        """Take the hooks away, and record what was collected until now."""
        while self._hooks:
            self._hooks.pop()()
        run = self._run()
        if run is not None and self._found is not None:
            self._complete(run)
        self._found = None

    def _step_begins(self, optimizer: Optimizer, arguments: object, named: object) -> None:
        found, run = self._found, self._run()
        if found is None or run is None or not self._ours(optimizer):
            return
        try:
            if not self._round or id(optimizer) in self._round:
                self._complete(run)
                self._begin_round(run)
            self._round.add(id(optimizer))
            if self._collecting:
                part = self._parts.get(optimizer)
                if part is None:
                    part = self._parts[optimizer] = LayerGradients(only(found, _ids(optimizer)))
                # Optimizers that divide by the scale of a GradScaler themselves are given it for the step.
                scale, skipped = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
                scaled = scale is not None or skipped is not None
                part.take(_tensor(scale), scaled=scaled, skipped=_tensor(skipped))
                part.before_step()
        except Exception as error:  # noqa: BLE001 - the user's training goes on whatever happens in here
            self._leave_out(run, error)

    def _step_ends(self, optimizer: Optimizer, arguments: object, named: object) -> None:
        part, run = self._parts.get(optimizer) if self._collecting else None, self._run()
        if part is None or run is None or not part.taken:
            return
        try:
            self._taken.append(part.after_step())
            self._seconds += part.seconds
            self._on_device_s += part.on_device_s
            self._left -= _ids(optimizer)
            if not self._left or (self._round_before and self._round >= self._round_before):
                self._complete(run)
        except Exception as error:  # noqa: BLE001 - as above
            self._leave_out(run, error)

    def _ours(self, optimizer: Optimizer) -> bool:
        """Whether it trains this model: the hooks for all optimizers hear of others as well."""
        return any(id(one) in self._parameters for group in optimizer.param_groups for one in group["params"][:1])

    def _begin_round(self, run: Recorded) -> None:
        """The next step of the training begins: find the one that it will be logged as, and whether it is measured."""
        if run.next_step != self._newest:
            self._newest, self._unlogged = run.next_step, 0
        else:
            self._unlogged += 1
        self._step = run.next_step + self._unlogged
        self._round_before, self._round = self._round, set()
        now = time.perf_counter()
        if self._stepped_at is not None:
            self._budget.step(now - self._stepped_at)
        self._stepped_at = now
        self._since += 1
        due = self._budget.due(LAYERS) if self._every is None else self._since >= self._every
        self._collecting = due or self._budget.wanted(LAYERS)
        if self._collecting:
            self._since = 0
            self._left = set(self._parameters)

    def _complete(self, run: Recorded) -> None:
        """Record what of a collection was taken, if one is under way."""
        taken, self._taken, self._collecting = self._taken, [], False
        if taken:
            whole = not self._left and len(self._parameters) == self._trained
            run.observe_layers(self._step, together(taken, whole=whole))
            self._budget.measured(LAYERS, self._seconds, on_device_s=self._on_device_s)
            self._seconds = self._on_device_s = 0.0

    def _leave_out(self, run: Recorded, error: Exception) -> None:
        self._taken = []
        self.remove()
        run.collector_failed(LAYERS, error)
        run.layers_unavailable(f"{type(error).__name__}: see the failed collector")


def _ids(optimizer: Optimizer) -> set[int]:
    return {id(one) for group in optimizer.param_groups for one in group["params"]}


def _tensor(value: object) -> torch.Tensor | None:
    return value if isinstance(value, torch.Tensor) else None

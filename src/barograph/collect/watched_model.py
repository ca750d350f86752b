"""A PyTorch model that is watched from the steps of its optimizer, without a change to the loop that trains it.

Gradients are read when the optimizer's step begins: as the loop left them, so after its own clipping. The step they
belong to is the one after the step that was logged last, one more for each step of the optimizer since.
"""

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from barograph.collect.gradients import LayerGradients
from barograph.collect.layer_columns import columns, not_available
from barograph.collect.time_budget import TimeBudget
from barograph.errors import UsageError

if TYPE_CHECKING:
    from barograph.collect.layer_norms import LayerNorms

LAYERS = "layers"


class Recorded(Protocol):
    """The part of a run that this uses."""

    @property
    def budget(self) -> TimeBudget:
        """What collecting may cost."""

    @property
    def next_step(self) -> int:
        """The step after the one that was logged last."""

    def observe_layers(self, step: int, norms: "LayerNorms") -> None:
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
        self._layers: LayerGradients | None = None
        self._parameters: frozenset[int] = frozenset()
        self._hooks: list[Callable[[], None]] = []
        reason = not_available(model)
        if reason is not None:
            run.layers_unavailable(reason)
            return
        found = columns(model)
        self._layers = LayerGradients(found)
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
        run.unavailable("tokens_per_sec", "run.watch() does not see batches: their tokens are not known")
        run.unavailable("token_entropy", "run.watch() does not see logits")
        run.unavailable("top1_probability", "run.watch() does not see logits")

    def remove(self) -> None:
        """Take the hooks away."""
        while self._hooks:
            self._hooks.pop()()
        self._layers = None

    def _step_begins(self, optimizer: Optimizer, arguments: object, named: object) -> None:
        layers, run = self._layers, self._run()
        if layers is None or run is None or not self._ours(optimizer):
            return
        try:
            now = time.perf_counter()
            if self._stepped_at is not None:
                self._budget.step(now - self._stepped_at)
            self._stepped_at = now
            self._since += 1
            if self._budget.due(LAYERS) if self._every is None else self._since >= self._every:
                self._since = 0
                layers.take()
                layers.before_step()
        except Exception as error:  # noqa: BLE001 - the user's training goes on whatever happens in here
            self._leave_out(run, error)

    def _step_ends(self, optimizer: Optimizer, arguments: object, named: object) -> None:
        layers, run = self._layers, self._run()
        if layers is None or run is None or not self._ours(optimizer):
            return
        try:
            step = self._step(run)
            if layers.taken:
                run.observe_layers(step, layers.after_step())
                self._budget.measured(LAYERS, layers.seconds, on_device_s=layers.on_device_s)
        except Exception as error:  # noqa: BLE001 - as above
            self._leave_out(run, error)

    def _ours(self, optimizer: Optimizer) -> bool:
        """Whether it trains this model: the hooks for all optimizers hear of others as well."""
        return any(id(one) in self._parameters for group in optimizer.param_groups for one in group["params"][:1])

    def _step(self, run: Recorded) -> int:
        """The step that this one of the optimizer will be logged as."""
        if run.next_step != self._newest:
            self._newest, self._unlogged = run.next_step, 0
        else:
            self._unlogged += 1
        return run.next_step + self._unlogged

    def _leave_out(self, run: Recorded, error: Exception) -> None:
        self.remove()
        run.collector_failed(LAYERS, error)
        run.layers_unavailable(f"{type(error).__name__}: see the failed collector")

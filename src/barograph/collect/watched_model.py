"""A PyTorch model that is watched from the steps of its optimizer, without a change to the loop that trains it.

Gradients are read when the optimizer's step begins: as the loop left them, so after its own clipping. Which step they
belong to, `StepNumbers` finds from what the loop logs.

A model may have several optimizers, each for some of its parameters. They step one after another, and together make one
step of the training: a round, which begins with the first of them, with any that steps for the second time, and with
the first one after a log. What belongs to an optimizer is measured around its own step, and all of a round is one row.
The round is complete when all parameters had their turn; at the latest when the next one begins, since an optimizer may
leave rounds out.

Several models may be watched beside each other, each with rounds and names of its own; what may be spent on measuring
goes round among them.
"""

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from barograph.collect.layer_columns import Columns, columns, not_available, only, under, used
from barograph.collect.layer_norms import LayerNorms, together
from barograph.collect.live_folds import LOGGED_LOSS
from barograph.collect.model_names import given_name, model_name, unwrapped
from barograph.collect.observed import TOKENS
from barograph.collect.optimizer_parts import OptimizerParts, ids
from barograph.collect.step_numbers import StepNumbers
from barograph.collect.time_budget import TimeBudget
from barograph.errors import UsageError

LAYERS = "layers"

LONG_UNHEARD = 50
"""Logged steps after which an optimizer that was not heard is told of."""

PATIENCE = 100
"""Steps of all models for which one that has not stepped since is let go first."""

_Hook = Callable[[Optimizer, object, object], None]

_LOSSES = frozenset(LOGGED_LOSS)


class Recorded(Protocol):
    """The part of a run that this uses."""

    @property
    def budget(self) -> TimeBudget:
        """What collecting may cost."""

    @property
    def next_step(self) -> int:
        """The step after the one that was logged last."""

    def observe_layers(self, step: int, norms: LayerNorms, *, at: float | None = None) -> None:
        """Record one collection, taken `at` seconds since 1970."""

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

    def __init__(
        self,
        run: Recorded,
        model: object,
        optimizer: object,
        *,
        every: int | None,
        name: str | None = None,
        beside: "Sequence[WatchedModel]" = (),
    ) -> None:
        """`beside`: the models that the run watches, which this one may become one of; it is looked at at every step.
        Raises `UsageError` for what is no model and no optimizer, and for a model or a name that is watched already."""
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
        self._model = weakref.ref(unwrapped(model))
        self._beside = beside
        self.name = _name(model, name, beside)
        """What it is called beside others; empty for the one that the run is about."""
        self._collector = f"{LAYERS} of {self.name}" if self.name else LAYERS
        self._since = 0
        self._rounds = self._measured_at = self._stepped_at = 0
        self._began_at: float | None = None
        self._unheard = 0
        self._numbers = StepNumbers(self._record)
        self._round: set[int] = set()
        self._collecting = False
        self._left: set[int] = set()
        self._taken: list[LayerNorms] = []
        self._seconds = self._on_device_s = 0.0
        self._said: set[str] = set()
        self._found: Columns | None = None
        self._newest_gradient: tuple[torch.Tensor, torch.Tensor, int] | None = None
        self._hooks: list[Callable[[], None]] = []
        reason = not_available(model)
        if reason is not None:
            self._cannot(run, reason)
            return
        found = columns(model)
        self._trained = len(found.parameters)
        if optimizer is not None:
            found = used(only(found, ids(optimizer)))
        if not found.parameters:
            self._cannot(run, "The optimizer that watch was given has no parameter of the model that is trained.")
            return
        self._found = found = under(found, self.name) if self.name else found
        self._parts = OptimizerParts(found)
        # In an optimizer's step that is compiled the hooks are called, and not compiled themselves.
        begins, ends = (_disabled(one) for one in (self._step_begins, self._step_ends))
        if optimizer is not None:
            before = optimizer.register_step_pre_hook(begins)
            after = optimizer.register_step_post_hook(ends)
        else:
            before = register_optimizer_step_pre_hook(begins)
            after = register_optimizer_step_post_hook(ends)
        self._hooks = [before.remove, after.remove]
        self._runs(run)
        if self.name:
            return
        run.unavailable("tokens_per_sec", f"run.watch() does not see batches: log the tokens of a step as {TOKENS!r}")
        run.unavailable("token_entropy", "run.watch() does not see logits")
        run.unavailable("top1_probability", "run.watch() does not see logits")

    def remove(self) -> None:
        """Take the hooks away, and record what was collected until now."""
        while self._hooks:
            self._hooks.pop()()
        self._end()

    @property
    def began(self) -> bool:
        """Whether it could be watched at all."""
        return self._found is not None or self._rounds > 0

    def of(self, model: torch.nn.Module) -> bool:
        """Whether this is `model`, wrapped or not, and is watched still."""
        return self._found is not None and self._model() is unwrapped(model)

    def logged(self, step: int, values: Mapping[str, object]) -> None:
        """The loop logs `values` as those of `step`: the optimizer's steps are numbered by it."""
        if self._found is None:
            return
        nested = values.get("train")
        loss = not _LOSSES.isdisjoint(values) or (isinstance(nested, Mapping) and "loss" in nested)
        self._numbers.logged(step, loss=loss, new_gradients=self._has_new_gradients)
        if not self._numbers.began:
            self._unheard += 1
            run = self._run()
            if self._unheard == LONG_UNHEARD and run is not None:
                self._cannot(
                    run,
                    f"Not one step of the model's optimizer was heard while {LONG_UNHEARD} steps were logged: give "
                    "watch the model, and the optimizer if one is given, that are trained in this process.",
                )

    def _step_begins(self, optimizer: Optimizer, arguments: object, named: object) -> None:
        found, run = self._found, self._run()
        if found is None or run is None:
            return
        try:
            if not self._parts.has(optimizer):
                return
            if not self._round or id(optimizer) in self._round or self._numbers.log_came:
                self._complete(run)
                self._begin_round(run)
            self._round.add(id(optimizer))
            if self._collecting:
                part = self._parts.of(optimizer)
                # Optimizers that divide by the scale of a GradScaler themselves are given it for the step.
                scale, skipped = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
                scaled = scale is not None or skipped is not None
                part.gradients.take(_tensor(scale), scaled=scaled, skipped=_tensor(skipped))
                part.gradients.before_step()
        except Exception as error:  # noqa: BLE001 - the user's training goes on whatever happens in here
            self._leave_out(run, error)

    def _step_ends(self, optimizer: Optimizer, arguments: object, named: object) -> None:
        found, run = self._found, self._run()
        if found is None or run is None:
            return
        try:
            if id(optimizer) not in self._round:
                return
            if not self._numbers.certain:
                self._remember_gradient(found)
            part = self._parts.known(optimizer) if self._collecting else None
            if part is None or not part.gradients.taken:
                return
            self._taken.append(part.gradients.after_step())
            self._seconds += part.gradients.seconds
            self._on_device_s += part.gradients.on_device_s
            self._left -= part.parameters
            if part.gradients.unread:
                self._without_norm(
                    run, "a gradient is sparse, and to add its entries up the device would be waited for"
                )
            if not self._left:
                self._complete(run)
        except Exception as error:  # noqa: BLE001 - as above
            self._leave_out(run, error)

    def _begin_round(self, run: Recorded) -> None:
        """The next step of the training begins: find out whether it is measured."""
        if self._unheard >= LONG_UNHEARD:
            self._unheard = 0
            self._runs(run)
        self._numbers.step_begins(run.next_step)
        self._round = set()
        now = time.perf_counter()
        others = [one for one in self._beside if one is not self]
        # Steps of several models lie one behind another, and the time between them counts once.
        before = max((one._began_at for one in (self, *others) if one._began_at is not None), default=None)
        if before is not None:
            self._budget.step(now - before)
        self._began_at = now
        self._rounds += 1
        everything = self._rounds + sum(one._rounds for one in others)
        self._stepped_at = everything
        self._since += 1
        if self._every is not None:
            due = self._since >= self._every
        else:
            waits = any(
                one._measured_at < self._measured_at and everything - one._stepped_at < PATIENCE for one in others
            )
            due = self._rounds == 1 or (self._budget.due(LAYERS) and not waits)  # the first step, whatever it costs
        self._collecting = due or self._budget.wanted(LAYERS)
        if self._collecting:
            self._since = 0
            self._measured_at = everything
            self._left = set(self._parts.parameters)

    def _complete(self, run: Recorded) -> None:
        """What of a collection was taken is one row, if one is under way."""
        taken, self._taken, self._collecting = self._taken, [], False
        if taken:
            whole = not self._left and len(self._parts.parameters) == self._trained
            if not whole:
                self._without_norm(run, "not all parameters of the model that are trained were updated at this step")
            self._budget.measured(LAYERS, self._seconds, on_device_s=self._on_device_s)
            self._seconds = self._on_device_s = 0.0
            self._numbers.take(together(taken, whole=whole, model=self.name))

    def _record(self, step: int, at: float, norms: LayerNorms) -> None:
        run = self._run()
        if run is not None:
            run.observe_layers(step, norms, at=at)

    def _without_norm(self, run: Recorded, reason: str) -> None:
        """Say once why a step has no norm of all gradients."""
        if reason not in self._said and not self.name:
            self._said.add(reason)
            run.unavailable("gradient_norm", reason)

    def _remember_gradient(self, found: Columns) -> None:
        """One gradient as the step left it, until it is known whether the loop logs before its steps or after."""
        own = next((one for one in found.parameters if one.grad is not None), None)
        self._newest_gradient = None if own is None or own.grad is None else (own, own.grad, own.grad._version)

    def _has_new_gradients(self) -> bool:
        """Whether there are gradients that the optimizer's newest step has not had."""
        if self._found is None:
            return False
        if not self._numbers.began:
            return any(one.grad is not None for one in self._found.parameters)
        if self._newest_gradient is None:
            return False
        (own, was, version), self._newest_gradient = self._newest_gradient, None
        return own.grad is not None and (own.grad is not was or was._version != version)

    def _runs(self, run: Recorded) -> None:
        assert self._found is not None
        detail = (
            f"Norms of gradients as the optimizer gets them, weights and updates of {len(self._found.names)} columns."
        )
        run.collector(self._collector, running=True, detail=detail)

    def _cannot(self, run: Recorded, reason: str) -> None:
        """The norms of this model cannot be had."""
        if self.name:
            run.collector(self._collector, running=False, detail=reason)
        else:
            run.layers_unavailable(reason)

    def _end(self) -> None:
        run = self._run()
        if run is not None and self._found is not None:
            self._complete(run)
            self._numbers.close()
        self._found = None

    def _leave_out(self, run: Recorded, error: Exception) -> None:
        """After `error` the hooks do nothing any more. They stay: torch goes through all hooks at this moment, and may
        not lose one meanwhile."""
        self._taken = []
        self._end()
        run.collector_failed(self._collector, error)
        self._cannot(run, f"{type(error).__name__}: see the failed collector")


def _name(model: torch.nn.Module, given: str | None, beside: Sequence[WatchedModel]) -> str:
    """What the model is called: as it is said, or after its class beside others, or nothing. Raises `UsageError`."""
    beside = [one for one in beside if one.began]
    taken = {one.name for one in beside}
    if given is not None:
        return given_name(given, taken)
    if any(one.of(model) for one in beside):
        raise UsageError(
            f"this {type(unwrapped(model)).__name__} is watched already",
            advice="Leave the optimizer out to hear of all that it has, or give a name to watch a part of it apart",
        )
    return model_name(model, taken) if beside else ""


def _disabled(hook: _Hook) -> _Hook:
    """`hook`, not to be compiled."""
    found: _Hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]  # torch's
    return found


def _tensor(value: object) -> torch.Tensor | None:
    return value if isinstance(value, torch.Tensor) else None

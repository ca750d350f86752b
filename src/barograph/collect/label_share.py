"""The loss of a rank's own tokens, where several ranks share one mean over their label tokens.

With `average_tokens_across_devices`, which is on by default, a Trainer divides the token losses of each rank by the
label tokens of all ranks (`num_items_in_batch`), and multiplies by the number of ranks, because the gradients of the
ranks are averaged. What `training_step` returns then is

    sum of own token losses * ranks / label tokens of all ranks

which says how many of the tokens this rank happened to have, more than how well they were predicted: where lengths
differ it varies ten times as much as the loss. Divided by this rank's share of the tokens,

    own label tokens * ranks / label tokens of all ranks

it is the mean loss of its own label tokens, as one process would have it. Both counts are there already: own labels are
counted on their device, as the Trainer counts them, and the count of all ranks is an argument of `training_step`. No
rank asks another for anything, and nothing is read before the loss is.
"""

import dis
import inspect
from collections.abc import Mapping

import torch
from msgspec import Struct

from barograph.collect.logged_values import copied_value
from barograph.collect.observed import Labels
from barograph.collect.stand_in import own_attribute
from barograph.errors import UsageError

IGNORED = -100
"""The label of a token that is in no loss."""

ARGUMENT = "num_items_in_batch"

_DIVIDE = frozenset({"transformers.trainer", "trl.trainer.sft_trainer"})
"""Modules whose own `compute_loss` divides by that count, and whose `training_step` leaves it so."""

_SIZES = ("get_tp_size", "get_cp_size", "get_sp_size")
"""Tensor, context and sequence parallelism: ranks that have parts of one batch."""


class Shares(Struct, frozen=True, kw_only=True):
    """What is known of the losses of a Trainer's ranks."""

    ranks: int
    """How many train together."""
    shared: bool
    """Whether the loss of a rank is divided by the label tokens of all of them."""
    detail: str
    """What the loss of a rank is; empty where there is one rank."""


def shares(trainer: object) -> Shares:
    """How the losses of `trainer` are divided among its ranks."""
    ranks = getattr(getattr(trainer, "accelerator", None), "num_processes", 1)
    if type(ranks) is not int or ranks <= 1:
        return Shares(ranks=1, shared=False, detail="")
    whose = f"Of the batches of this rank, one of {ranks}"
    if not getattr(getattr(trainer, "args", None), "average_tokens_across_devices", False):
        return Shares(ranks=ranks, shared=False, detail=f"{whose}.")
    returned = (
        f"{whose}, as it is returned: where it is divided by the tokens of all ranks it says how many this one had"
    )
    split = [name for name in _SIZES if getattr(trainer, name, lambda: 1)() != 1]
    if split:
        return Shares(ranks=ranks, shared=False, detail=f"{returned}, and the ranks share batches ({split[0]}).")
    for method in ("training_step", "compute_loss"):
        owner = _own_way(trainer, method)
        if owner is not None:
            why = f"{owner}.{method} does not hand {ARGUMENT} on"
            return Shares(ranks=ranks, shared=False, detail=f"{returned}, and {why}, so that this is not known.")
    return Shares(ranks=ranks, shared=True, detail=f"{whose}: the mean over its own label tokens.")


class LabelShare:
    """A fold over the micro-batches of one window: how many of the label tokens are this rank's."""

    def __init__(self, ranks: int, *, shifted: bool) -> None:
        """`shifted`: the loss looks one token ahead, so that the first label of an example is in none."""
        self._ranks = ranks
        self._shifted = shifted
        self._own: torch.Tensor | None = None
        self._of_all: object = None

    def update(self, inputs: object, of_all: object) -> None:
        """Take one micro-batch in; `of_all` counts the label tokens of the whole window and of all ranks, and is None
        where the Trainer does not divide by it. Raises `UsageError` for labels that cannot be counted."""
        if of_all is None:
            return
        labels = inputs.get("shift_labels") if isinstance(inputs, Mapping) else None
        if labels is None:
            labels = inputs.get("labels") if isinstance(inputs, Mapping) else None
            if self._shifted and isinstance(labels, torch.Tensor):
                labels = labels[..., 1:]
        if not isinstance(labels, torch.Tensor):
            raise UsageError(
                f"the Trainer divides the loss by {ARGUMENT}, and the batch has no tensor of labels to count:"
                f" {type(labels).__name__}",
                advice="Set average_tokens_across_devices=False, and the loss is that of each rank",
            )
        count = labels.ne(IGNORED).sum()
        self._own = count if self._own is None else self._own + count
        self._of_all = of_all

    def take(self) -> Labels | None:
        """The counts of the window that ends here; None where its loss is not divided by them."""
        own, of_all = self._own, self._of_all
        self._own = self._of_all = None
        if own is None:
            return None
        return Labels(own=copied_value(own), of_all=copied_value(of_all), ranks=self._ranks)


def _own_way(trainer: object, method: str) -> str | None:
    """The class whose `method` may leave out what the Trainer's own does; None if all of them hand the count on."""
    if own_attribute(trainer, method) is not None:
        return "a function in the place of " + type(trainer).__name__
    for owner in type(trainer).__mro__:
        function = vars(owner).get(method)
        if function is not None and owner.__module__ in _DIVIDE:
            return None
        if function is not None and not _hands_on(function):
            return owner.__name__
    return None


def _hands_on(function: object) -> bool:
    """Whether a method calls `super()` and uses the count, by its name or among the arguments that have none."""
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    if code is None or "super" not in code.co_names:
        return False
    flags, arguments = code.co_flags, code.co_argcount + code.co_kwonlyargcount
    collected = bool(flags & inspect.CO_VARARGS) + bool(flags & inspect.CO_VARKEYWORDS)
    counted = {ARGUMENT, *code.co_varnames[arguments : arguments + collected]}
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("LOAD"):
            names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
            if not counted.isdisjoint(names):
                return True
    return False

"""The raw loss of every optimizer step of a Hugging Face `Trainer`, taken inside the step.

What the Trainer logs is no observation: `logs["loss"]` is a mean over `logging_steps` steps and over all ranks, and
with `logging_nan_inf_filter` (on by default) a NaN is replaced by the mean of the steps before it. So we look at what
`training_step` returns, which is what the Trainer itself adds up: already divided by the number of micro-batches, or
by the tokens of the whole window, so that the sum over the micro-batches of a window is the loss of its step.

`training_step` is wrapped on the one trainer that trains (`stand_in.py`), so that whatever a subclass overrides is seen
(`compute_loss`, `training_step` with or without `super()`, TRL's trainers). A forward hook was tried and misses losses
that a subclass computes; wrapping `Trainer.training_step` on the class misses a subclass that never calls it.

With several ranks this is the loss of this rank's own batches. Where the Trainer averages tokens over devices it is
divided by the tokens of all ranks; `label_share.py` takes that out of it.
"""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from barograph.collect.device_values import is_tensor
from barograph.collect.stand_in import own_attribute
from barograph.errors import UsageError

if TYPE_CHECKING:
    import torch

LONGEST_WINDOW = 65_536
"""Micro-batches without an optimizer step after which nobody can be listening any more."""


class Callbacks(Protocol):
    """The part of transformers' `CallbackHandler` that we read."""

    callbacks: Sequence[object]


class Window(Protocol):
    """The training argument that says how many micro-batches make a step."""

    gradient_accumulation_steps: int


class Progress(Protocol):
    """How many steps a trainer has made."""

    global_step: int


class Trainer(Protocol):
    """The part of transformers' `Trainer` that we use."""

    args: Window
    state: Progress
    callback_handler: Callbacks
    training_step: "Callable[..., torch.Tensor]"
    train: Callable[..., object]


def training_frame(callback: object) -> FrameType | None:
    """The innermost running method of the trainer that holds `callback`; None if no such method is running.

    No callback argument holds the trainer, so the stack is searched for it: a `self` with a `callback_handler`. Only
    the instances' own attributes are looked at, never computed ones. The locals of functions that are no methods are
    not touched, because reading them makes a copy that lives as long as the function runs: the user's `del trainer`
    in it would free nothing.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self") if frame.f_code.co_varnames[:1] == ("self",) else None
        callbacks = getattr(own_attribute(owner, "callback_handler"), "callbacks", ())
        if any(one is callback for one in callbacks):
            return frame
        frame = frame.f_back
    return None


class RawLoss:
    """A fold over what `training_step` returned: the losses of the micro-batches of one window."""

    def __init__(self) -> None:
        self._parts: list[torch.Tensor | float] = []

    def update(self, loss: object) -> None:
        """Take the loss of one micro-batch. Raises `UsageError` for what is no number and no tensor of one element.

        A tensor is copied on its device at once: a captured CUDA graph writes the next loss over this one.
        """
        if len(self._parts) >= LONGEST_WINDOW:
            raise UsageError(f"{LONGEST_WINDOW} micro-batches without an optimizer step: was the callback removed?")
        if isinstance(loss, float | int):
            self._parts.append(loss)
        elif is_tensor(loss) and loss.numel() == 1:
            self._parts.append(loss.detach().clone())
        else:
            shape = getattr(loss, "shape", None)
            seen = type(loss).__name__ if shape is None else f"{type(loss).__name__} of shape {list(shape)}"
            raise UsageError(f"training_step returned {seen}, not a tensor of one element")

    def take(self) -> "tuple[torch.Tensor | float, ...]":
        """The losses of the window that ends here, one per micro-batch; a new window begins."""
        parts = tuple(self._parts)
        self._parts.clear()
        return parts

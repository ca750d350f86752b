"""Which steps of a rank went wrong by its own batch, and which by another rank's.

The ranks of a training share their gradients and nothing else: a batch of rank 1 that makes a NaN makes the gradients
of all ranks NaN in the same step, and their weights, and so the loss of every rank from the next step on. By its own
loss rank 0 would be accused one step late, and its examples with it. So whoever asks for the examples of a step hears
of this rank's only where its own loss was no number before the gradients were, or where they were numbers.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from barograph.collect.batches import KEPT_STEPS, KeptBatches
from barograph.collect.device_values import HostValue, is_tensor
from barograph.records import Batch

if TYPE_CHECKING:
    import torch


class _Outcome(Struct):
    """What became of a step."""

    step: int
    losses: "Sequence[HostValue | float]"
    norm: "HostValue | float | None"


class RankOutcomes:
    """A fold over the steps of one rank of several."""

    def __init__(self, *, rank: int, ranks: int) -> None:
        self._rank = rank
        self._ranks = ranks
        self._steps: deque[_Outcome] = deque(maxlen=KEPT_STEPS)

    def update(self, step: int, losses: "Sequence[torch.Tensor | float]", norm: object) -> None:
        """Keep the losses of this rank's micro-batches, and the norm of the gradients of all ranks; None is not
        known, or is none of an overflow that a loss scaler brings about."""
        held = _held(norm) if is_tensor(norm) or isinstance(norm, float) else None
        self._steps.append(_Outcome(step, [_held(one) for one in losses], held))

    def not_ours(self, step: int) -> str:
        """Why the batch of this rank is not what made `step` go wrong; empty if it may be. Waits for a device."""
        before = next((one for one in self._steps if one.step == step - 1), None)
        at = next((one for one in self._steps if one.step == step), None)
        if at is None:
            return ""
        if not all(math.isfinite(_read(one)) for one in at.losses):
            lost = before is not None and _broken(before)
            return f"the gradients of step {step - 1} were no numbers already, so the weights were lost" if lost else ""
        if not _broken(at):
            return ""
        return (
            f"the loss of rank {self._rank} is a number in this step, and the gradients of all {self._ranks} ranks are"
            " none: the batch of another rank made them so, or an overflow in the backward pass;"
            " TrainerCallback(all_ranks=True) records that batch"
        )


def asked_for(step: int, *, kept: KeptBatches, outcomes: RankOutcomes | None, all_ranks: bool) -> Batch | None:
    """The examples of `step`, or why there are none; None where another rank, which watches too, has the right ones.

    `outcomes` is None where one rank trains alone. Waits for a device.
    """
    why = "" if outcomes is None else outcomes.not_ours(step)
    if not why:
        return kept.record(step)
    return None if all_ranks else Batch(step=step, time=time.time(), examples=[], why=why)


def _broken(outcome: _Outcome) -> bool:
    return outcome.norm is not None and not math.isfinite(_read(outcome.norm))


def _held(value: "torch.Tensor | float") -> "HostValue | float":
    """A copy that is read by waiting for it, apart from the one that the writer's thread reads."""
    return HostValue(value) if is_tensor(value) else value


def _read(held: "HostValue | float") -> float:
    return held.read() if isinstance(held, HostValue) else held

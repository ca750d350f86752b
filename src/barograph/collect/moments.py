"""Sums of the optimizer's second moments, read at a save, when the step has ended and a moment more does not matter."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from barograph.records import OptimizerMoments

if TYPE_CHECKING:
    import torch

SECOND_MOMENT = "exp_avg_sq"
"""What Adam and its relatives call it."""
WRAPPERS = re.compile(r"^module\.|(?<![^.])_orig_mod\.")
"""What DistributedDataParallel and torch.compile put into the names of parameters."""


def optimizer_moments(step: int, model: object, optimizer: object) -> OptimizerMoments | str | None:
    """The sums over each parameter, in float64; or why there are none. None before the first step, when no optimizer
    has any yet.

    All of a device are added up before one copy brings them over.
    """
    import torch

    state = getattr(optimizer, "state", None)
    if not isinstance(model, torch.nn.Module) or not isinstance(state, Mapping):
        return "The trainer gave no model, or no optimizer."
    if step == 0 and not state:
        return None
    kind = type(getattr(optimizer, "optimizer", optimizer)).__name__
    found = dict(_second_moments(model, state))
    if not found:
        return f"{kind} keeps no second moments of whole parameters; sharded and 8-bit optimizers are not read."
    sums: dict[str, float] = {}
    for device in {moment.device for moment in found.values()}:
        names = [name for name, moment in found.items() if moment.device == device]
        totals = torch.stack([found[name].sum(dtype=_double(device)) for name in names])
        sums |= dict(zip(names, map(float, totals.tolist()), strict=True))
    bad = {name: int((~torch.isfinite(found[name])).sum()) for name in found if not _is_finite(sums[name])}
    return OptimizerMoments(
        step=step,
        time=time.time(),
        optimizer=kind,
        sums={name: sums[name] for name in found},
        elements={name: moment.numel() for name, moment in found.items()},
        without=sum(bool(state.get(one)) for one in model.parameters()) - len(found),
        non_finite={name: count for name, count in bad.items() if count},
    )


def _second_moments(model: "torch.nn.Module", state: Mapping[object, object]) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Parameter's name and its second moments, of those that are whole and on a device."""
    import torch

    for name, parameter in model.named_parameters():
        kept = state.get(parameter)
        moment = kept.get(SECOND_MOMENT) if isinstance(kept, Mapping) else None
        if isinstance(moment, torch.Tensor) and moment.shape == parameter.shape and moment.is_floating_point():
            yield WRAPPERS.sub("", name), moment.detach()


def _double(device: "torch.device") -> "torch.dtype":
    """float64, or the most that the device has."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def _is_finite(value: float) -> bool:
    return value - value == 0.0

"""Numbers that live on a device, read without making the training step wait.

Reading a tensor on a GPU stops the step until the GPU is done. So the value is copied on the device into a slot that
was allocated before, from there without blocking into pinned host memory, and an event marks the end of the copy. The
writer's thread reads the host memory once the event has passed; until then it is `NotYet`.

torch is never imported here: a tensor brings its own methods, and with it torch is loaded already.
"""

import sys
from collections import deque
from typing import TYPE_CHECKING

from barograph.journal import NotYet

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

SLOTS = 256
"""Slots allocated per device at first use; more are made one by one if the writer's thread falls behind."""


class HostValue:
    """A copy of a tensor in host memory, or on a device that offers no events."""

    def __init__(self, tensor: "torch.Tensor") -> None:
        self._tensor = _local(tensor).detach().clone()

    def read(self) -> float:
        """The number, the same at every call."""
        return float(self._tensor)


class CudaValue:
    """A copy that is on its way from a CUDA device to pinned memory."""

    def __init__(self, tensor: "torch.Tensor") -> None:
        source = _local(tensor).detach()
        self._free = _free_slots(source.device)
        try:
            self._slot = self._free.popleft()
        except IndexError:
            self._slot = _Slot(source.device)
        self._slot.begin(source)
        self._value: float | None = None

    def read(self) -> float:
        """The number, the same at every call. Raises `NotYet` while the device has not delivered it."""
        if self._value is None:
            if not self._slot.event.query():
                raise NotYet
            self._value = float(self._slot.host)
            self._free.append(self._slot)
        return self._value


DeviceValue = HostValue | CudaValue
"""A number that may still be on its way."""


class _Slot:
    """One float on the device, one in pinned memory, and the event between them."""

    def __init__(self, device: "torch.device") -> None:
        torch = sys.modules["torch"]
        # A tensor made in inference mode could not be written to outside of it, and slots are used again and again.
        with torch.inference_mode(False):
            self.on_device = torch.empty((), dtype=torch.float64, device=device)
            self.host = torch.empty((), dtype=torch.float64, pin_memory=True)
        self.event = torch.cuda.Event()

    def begin(self, source: "torch.Tensor") -> None:
        self.on_device.copy_(source.reshape(()))
        self.host.copy_(self.on_device, non_blocking=True)
        self.event.record(sys.modules["torch"].cuda.current_stream(source.device))


_FREE: "dict[torch.device, deque[_Slot]]" = {}


def device_value(tensor: "torch.Tensor") -> DeviceValue:
    """A copy of a tensor of one element, made now and readable later."""
    return CudaValue(tensor) if tensor.device.type == "cuda" else HostValue(tensor)


def is_tensor(value: object) -> "TypeIs[torch.Tensor]":
    """Whether `value` is a torch tensor; False where torch was never imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _local(tensor: "torch.Tensor") -> "torch.Tensor":
    """The local part of a distributed tensor: reading the whole would be a collective call in the wrong thread."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor


def _free_slots(device: "torch.device") -> "deque[_Slot]":
    if device not in _FREE:
        _FREE[device] = deque(_Slot(device) for _ in range(SLOTS))
    return _FREE[device]

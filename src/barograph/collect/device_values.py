"""Numbers that live on a device, read without making the training step wait.

Reading a tensor on a GPU stops the step until the GPU is done. So the value is copied on the device into a slot that
was allocated before, and from there, without blocking, into pinned host memory, between two copies of a ticket that no
earlier value of the slot had. The writer's thread looks only at that memory: the value is there when both tickets are,
and until then it is `NotYet`. Asking an event instead would be a CUDA call beside the training thread, which can
invalidate a CUDA graph that is being captured there.

Several values together (`DeviceVector`) go the same way, but a copy of many bytes may arrive in any order. So the host
memory is first filled with a NaN that no arithmetic makes, and the values are there when none of it is left.

Only a value that is long overdue is asked for by its event: after an error of the device nothing arrives any more, and
whoever waits for it would hold up everything behind it, the last line of the run as well. A capture does not meet that
question: it begins by waiting for the device, so that what was given before it has arrived.

torch is never imported here: a tensor brings its own methods, and with it torch is loaded already.
"""

import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from barograph.journal import NotYet

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

SLOTS = 256
"""Slots allocated per device at first use; more are made one by one if the writer's thread falls behind."""


PATIENCE_S = 5.0
"""Seconds after which the device is asked for a value that has not arrived; less than a run waits at its end."""


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
        """Raises `RuntimeError` while a CUDA graph is captured: what is recorded in it has no value yet."""
        if sys.modules["torch"].cuda.is_current_stream_capturing():
            raise RuntimeError("a CUDA graph is being captured, so that the tensor has no value yet")
        source = _local(tensor).detach()
        self._free = _free_slots(source.device)
        try:
            self._slot = self._free.popleft()
        except IndexError:
            self._slot = _Slot(source.device)
        self._ticket = self._slot.begin(source)
        self._asked_at = time.monotonic()
        self._value: float | None = None

    def read(self) -> float:
        """The number, the same at every call. Raises `NotYet` while the device has not delivered it, and
        `RuntimeError` when it never will."""
        if self._value is None:
            self._value = delivered(self._slot.host, self._ticket)
            if self._value is None:
                self._overdue()
                raise NotYet
            self._free.append(self._slot)
        return self._value

    def _overdue(self) -> None:
        """After `PATIENCE_S`, and then as seldom again, ask the device; it raises what is wrong with it."""
        now = time.monotonic()
        if now - self._asked_at >= PATIENCE_S:
            self._asked_at = now
            if self._slot.event.query() and delivered(self._slot.host, self._ticket) is None:
                raise RuntimeError("the device says that it delivered a value, and it is not there")


DeviceValue = HostValue | CudaValue
"""A number that may still be on its way."""


class HostVector:
    """A copy of a tensor of several elements in host memory, or on a device that offers no events."""

    def __init__(self, tensor: "torch.Tensor") -> None:
        self._tensor = _local(tensor).detach().clone()

    def read(self) -> list[float]:
        """The numbers, the same at every call."""
        return [float(one) for one in self._tensor.reshape(-1).tolist()]


class CudaVector:
    """A copy of several numbers that is on its way from a CUDA device to pinned memory."""

    def __init__(self, tensor: "torch.Tensor") -> None:
        """Raises `RuntimeError` while a CUDA graph is captured: what is recorded in it has no value yet."""
        if sys.modules["torch"].cuda.is_current_stream_capturing():
            raise RuntimeError("a CUDA graph is being captured, so that the tensor has no value yet")
        source = _local(tensor).detach()
        self._free = _FREE_VECTORS.setdefault((source.device, source.numel()), deque())
        try:
            self._slot = self._free.popleft()
        except IndexError:
            self._slot = _VectorSlot(source.device, source.numel())
        self._slot.begin(source)
        self._asked_at = time.monotonic()
        self._values: list[float] | None = None

    def read(self) -> list[float]:
        """The numbers, the same at every call. Raises `NotYet` while the device has not delivered them all, and
        `RuntimeError` when it never will."""
        if self._values is None:
            if not complete(self._slot.host):
                self._overdue()
                raise NotYet
            self._values = [float(one) for one in self._slot.host.tolist()]
            self._free.append(self._slot)
        return self._values

    def _overdue(self) -> None:
        """As that of `CudaValue`."""
        now = time.monotonic()
        if now - self._asked_at >= PATIENCE_S:
            self._asked_at = now
            if self._slot.event.query() and not complete(self._slot.host):
                raise RuntimeError("the device says that it delivered the values, and they are not there")


DeviceVector = HostVector | CudaVector
"""Numbers that may still be on their way."""

ABSENT = 0x7FF8_0BAD_CAFE_F00D
"""Bits of the NaN that stands where no value has arrived: arithmetic makes NaNs without a payload."""


def complete(host: "torch.Tensor") -> bool:
    """Whether every value of `host: [value]` (float64) has arrived."""
    return not bool((host.view(sys.modules["torch"].int64) == ABSENT).any())


def delivered(host: "torch.Tensor", ticket: float) -> float | None:
    """The value in `host: [ticket, value, ticket]`; None while not both tickets are this one.

    Whichever end of the memory is written first, the value is complete when both ends are; it is read after them.
    """
    first, _, last = host.tolist()
    return float(host[1]) if first == last == ticket else None


class _Slot:
    """Three numbers on the device, three in pinned memory, and the event after the copy from here to there."""

    def __init__(self, device: "torch.device") -> None:
        torch = sys.modules["torch"]
        # A tensor made in inference mode could not be written to outside of it, and slots are used again and again.
        with torch.inference_mode(False):
            self.on_device = torch.zeros(3, dtype=torch.float64, device=device)
            self.middle = self.on_device[1]
            # Pinned memory is the host's, whatever the user's default device is.
            self.host = torch.zeros(3, dtype=torch.float64, device="cpu", pin_memory=True)
        self.event = torch.cuda.Event()
        self.ticket = 0.0

    def begin(self, source: "torch.Tensor") -> float:
        """Send the value of `source` on its way; returns its ticket."""
        self.ticket += 1.0
        self.on_device.fill_(self.ticket)
        self.middle.copy_(source.reshape(()))
        self.host.copy_(self.on_device, non_blocking=True)
        self.event.record(sys.modules["torch"].cuda.current_stream(source.device))
        return self.ticket


class _VectorSlot:
    """As many numbers on the device as in pinned memory, and the event after the copy from here to there."""

    def __init__(self, device: "torch.device", count: int) -> None:
        torch = sys.modules["torch"]
        with torch.inference_mode(False):
            self.on_device = torch.zeros(count, dtype=torch.float64, device=device)
            self.host = torch.zeros(count, dtype=torch.float64, device="cpu", pin_memory=True)
            self._bits = self.host.view(torch.int64)
        self.event = torch.cuda.Event()

    def begin(self, source: "torch.Tensor") -> None:
        """Send the values of `source` on their way."""
        self._bits.fill_(ABSENT)
        self.on_device.copy_(source.reshape(-1))
        self.host.copy_(self.on_device, non_blocking=True)
        self.event.record(sys.modules["torch"].cuda.current_stream(source.device))


_FREE_VECTORS: "dict[tuple[torch.device, int], deque[_VectorSlot]]" = {}
_FREE: "dict[torch.device, deque[_Slot]]" = {}


def device_value(tensor: "torch.Tensor") -> DeviceValue:
    """A copy of a tensor of one element, made now and readable later."""
    return CudaValue(tensor) if tensor.device.type == "cuda" else HostValue(tensor)


def device_vector(tensor: "torch.Tensor") -> DeviceVector:
    """A copy of a tensor of several elements, made now and readable later; they are read as float64."""
    return CudaVector(tensor) if tensor.device.type == "cuda" else HostVector(tensor)


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

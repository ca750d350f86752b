"""Stand-ins for what a test machine does not have: each is small, and does what the real thing does where it is used.

They are shipped, so that code that is built on barograph can be tested without a GPU as well.
"""

import threading
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct, field


class FakeNvmlError(Exception):
    """What `FakeNvml` raises; stands for `pynvml.NVMLError`."""


class FakeMemory(Struct, frozen=True):
    """Bytes in use and in all."""

    used: int
    """Bytes; what the driver keeps for itself included."""
    total: int
    """Bytes."""


class FakeUtilisation(Struct, frozen=True):
    """Percent of the last moments."""

    gpu: int
    """Percent of the time in which a kernel ran."""


class FakeGpu(Struct, frozen=True, kw_only=True):
    """One GPU of `FakeNvml`. What is None, the GPU does not tell: NVML says "Not Supported"."""

    name: str | bytes | None = "NVIDIA H200"
    """Product name; older versions of the library say it as bytes."""
    temperature: int | None = 41
    """Degrees Celsius."""
    slowdown_temperature: int | None = 90
    """Degrees Celsius at which it slows down."""
    utilisation: int | None = 87
    """Percent."""
    memory: FakeMemory | None = field(default_factory=lambda: FakeMemory(70_000_000_000, 140_000_000_000))
    """Its memory."""
    power_mw: int | None = 350_000
    """Power draw, milliwatts."""
    power_limit_mw: int | None = 700_000
    """Power limit, milliwatts."""
    fan: int | None = None
    """Percent; GPUs of data centres have no fan."""
    lost: bool = False
    """It fell off the bus: not even its handle can be had."""


class FakeNvml:
    """Stands for the module `pynvml`: the functions of `barograph.collect.nvml.Nvml`, over GPUs that are only told.

    As the real one, every function raises `NVMLError` before `nvmlInit` and after the last `nvmlShutdown`, both of
    which count; `index` is refused beyond the last GPU; a question that a GPU cannot answer raises.
    """

    NVMLError: type[Exception] = FakeNvmlError
    NVML_TEMPERATURE_GPU = 0
    NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 1

    def __init__(self, *gpus: FakeGpu, trouble: str | None = None, hangs: threading.Event | None = None) -> None:
        """`trouble`: what `nvmlInit` says instead of connecting, as "Driver Not Loaded". `hangs`: every question waits
        until it is set, as a driver does whose GPU does not answer."""
        self.gpus = list(gpus)
        self.trouble = trouble
        self.connections = 0
        """Calls of `nvmlInit` that no `nvmlShutdown` has undone."""
        self._hangs = hangs

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name for it, as all that follow
        """Connect to the driver."""
        if self.trouble is not None:
            raise FakeNvmlError(self.trouble)
        self.connections += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        """Let go of it."""
        self._connected()
        self.connections -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """How many GPUs there are."""
        self._connected()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> int:  # noqa: N802
        """What the other functions want."""
        self._connected()
        if not 0 <= index < len(self.gpus):
            raise FakeNvmlError("Invalid Argument")
        if self.gpus[index].lost:
            raise FakeNvmlError("GPU is lost")
        return index

    def nvmlDeviceGetName(self, handle: object, /) -> str | bytes:  # noqa: N802
        """Product name."""
        name: str | bytes | None = self._gpu(handle).name
        if name is None:
            raise FakeNvmlError("Not Supported")
        return name

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int, /) -> int:  # noqa: N802
        """Degrees Celsius."""
        return _told({self.NVML_TEMPERATURE_GPU: self._gpu(handle).temperature}.get(sensor))

    def nvmlDeviceGetTemperatureThreshold(self, handle: object, threshold: int, /) -> int:  # noqa: N802
        """Degrees Celsius."""
        known: Mapping[int, int | None] = {
            self.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN: self._gpu(handle).slowdown_temperature
        }
        return _told(known.get(threshold))

    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> FakeUtilisation:  # noqa: N802
        """Percent."""
        return FakeUtilisation(_told(self._gpu(handle).utilisation))

    def nvmlDeviceGetMemoryInfo(self, handle: object, /) -> FakeMemory:  # noqa: N802
        """Bytes."""
        return _told(self._gpu(handle).memory)

    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int:  # noqa: N802
        """Milliwatts."""
        return _told(self._gpu(handle).power_mw)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, /) -> int:  # noqa: N802
        """Milliwatts."""
        return _told(self._gpu(handle).power_limit_mw)

    def nvmlDeviceGetFanSpeed(self, handle: object, /) -> int:  # noqa: N802
        """Percent."""
        return _told(self._gpu(handle).fan)

    def _connected(self) -> None:
        if self._hangs is not None:
            self._hangs.wait()
        if not self.connections:
            raise FakeNvmlError("Uninitialized")

    def _gpu(self, handle: object) -> FakeGpu:
        self._connected()
        assert isinstance(handle, int)
        return self.gpus[handle]


_Value = TypeVar("_Value")


def _told(value: _Value | None) -> _Value:
    if value is None:
        raise FakeNvmlError("Not Supported")
    return value

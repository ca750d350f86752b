"""Every NVIDIA GPU of this machine, asked through NVML, the driver's own library.

A quantity that a GPU cannot tell (an H200 has no fan) is null with what the driver said of it. A GPU that cannot be
asked at all, such as one that fell off the bus, keeps its place in the list, all null. A machine without a GPU has
none; one that has a GPU, and no driver that would speak for it, is not the same.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from barograph.records.signals import Gpu, Hardware

PCI = Path("/sys/bus/pci/devices")
"""A folder for each device on the bus, on Linux."""

_MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
_DISPLAY, _ACCELERATOR = "0x03", "0x12"
"""First digits of the PCI class of graphics cards, and of accelerators without a screen."""

GB = 1e9

_VRAM = ("vram_used_gb", "vram_total_gb", "vram_pct")

_Answer = TypeVar("_Answer")


class Memory(Protocol):
    """What NVML answers about memory."""

    @property
    def used(self) -> int:
        """Bytes; what the driver keeps for itself included."""

    @property
    def total(self) -> int:
        """Bytes."""


class Utilisation(Protocol):
    """What NVML answers about the last moments."""

    @property
    def gpu(self) -> int:
        """Percent of the time in which a kernel ran."""


class Nvml(Protocol):
    """The part of the module `pynvml` that is used here; `barograph.testing.FakeNvml` is another one.

    Every function raises `NVMLError`, or a class derived from it, where the driver does not answer.
    """

    @property
    def NVMLError(self) -> type[Exception]: ...  # noqa: N802 - the library's name for it
    @property
    def NVML_TEMPERATURE_GPU(self) -> int: ...  # noqa: N802 - as above
    @property
    def NVML_TEMPERATURE_THRESHOLD_SLOWDOWN(self) -> int: ...  # noqa: N802 - as above

    def nvmlInit(self) -> None: ...  # noqa: N802 - as above
    def nvmlShutdown(self) -> None: ...  # noqa: N802 - as above
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802 - as above
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> object: ...  # noqa: N802 - as above
    def nvmlDeviceGetName(self, handle: object, /) -> str | bytes: ...  # noqa: N802 - as above
    def nvmlDeviceGetTemperature(self, handle: object, sensor: int, /) -> int: ...  # noqa: N802 - as above
    def nvmlDeviceGetTemperatureThreshold(self, handle: object, threshold: int, /) -> int: ...  # noqa: N802 - as above
    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> Utilisation: ...  # noqa: N802 - as above
    def nvmlDeviceGetMemoryInfo(self, handle: object, /) -> Memory: ...  # noqa: N802 - as above
    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int: ...  # noqa: N802 - as above
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, /) -> int: ...  # noqa: N802 - as above
    def nvmlDeviceGetFanSpeed(self, handle: object, /) -> int: ...  # noqa: N802 - as above


class Gpus:
    """Owns the connection to the driver, from the first question that it answers to `close`.

    Making one costs milliseconds, and where no other process keeps the driver awake, seconds; so it is kept.
    """

    def __init__(self, find: Callable[[], Nvml | None], *, pci: Path = PCI) -> None:
        """`find` brings the library, with the first question; None from it is a machine without the Python package."""
        self._find = find
        self._pci = pci
        self._nvml: Nvml | None = None
        self._open = False

    def ask(self) -> Hardware:
        """`Hardware.gpus` and its reasons, now. May take long: a driver may hang."""
        now = time.time()
        nvml = self._nvml = self._nvml or self._find()
        if nvml is None:
            return _without_driver(now, "the Python package nvidia-ml-py is not installed", pci=self._pci)
        try:
            if not self._open:
                nvml.nvmlInit()
                self._open = True
        except nvml.NVMLError as error:
            return _without_driver(now, f"NVML: {error}", pci=self._pci)
        try:
            why: dict[str, str] = {}
            found = [_gpu(nvml, index, why) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            self.close()  # a driver that was loaded anew answers only a new connection
            return Hardware(time=now, why={"gpus": f"NVML: {error}"})
        return Hardware(time=now, gpus=found, why=why)

    def close(self) -> None:
        """Let go of the driver; the next question connects again."""
        if self._open and self._nvml is not None:
            self._open = False
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()


def installed_nvml() -> Nvml | None:
    """The module `pynvml`; None where it is not installed, or does not load."""
    try:
        import pynvml
    except (ImportError, OSError):
        return None
    found: Nvml = pynvml
    return found


def graphics_on_bus(pci: Path = PCI) -> list[str] | None:
    """Makers of the GPUs on the bus, a word for each; None where the machine does not show its bus."""
    found = []
    try:
        for device in sorted(pci.iterdir()):
            maker, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
            if kind.startswith((_DISPLAY, _ACCELERATOR)) and maker in _MAKERS:
                found.append(_MAKERS[maker])
    except OSError:
        return None
    return found


def _without_driver(now: float, problem: str, *, pci: Path) -> Hardware:
    """Where NVML cannot be asked: no GPUs if the bus has none, else null with the reason."""
    found = graphics_on_bus(pci)
    if found == []:
        return Hardware(time=now, gpus=[])
    if found is None or "NVIDIA" in found:
        seen = "" if found is None else ", though a GPU of NVIDIA is on the bus"
        return Hardware(time=now, why={"gpus": problem + seen})
    return Hardware(time=now, why={"gpus": f"there is a GPU of {found[0]}, and only those of NVIDIA can be asked"})


def _gpu(nvml: Nvml, index: int, why: dict[str, str]) -> Gpu:
    """One GPU; adds to `why` what it does not tell."""

    def ask(question: Callable[[], _Answer], *fields: str) -> _Answer | None:
        try:
            return question()
        except nvml.NVMLError as error:
            why.update({f"gpus.{index}.{field}" if field else f"gpus.{index}": f"NVML: {error}" for field in fields})
            return None

    def number(field: str, question: Callable[[], float]) -> float | None:
        return ask(lambda: float(question()), field)

    handle = ask(lambda: nvml.nvmlDeviceGetHandleByIndex(index), "")
    if handle is None:
        return Gpu(index=index, **dict.fromkeys(Gpu.__struct_fields__[1:]))
    slowdown, sensor = nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN, nvml.NVML_TEMPERATURE_GPU
    name = ask(lambda: nvml.nvmlDeviceGetName(handle), "name")
    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle), *_VRAM)
    if memory is not None and not memory.total:  # one that shares the memory of the processor
        memory = None
        why.update({f"gpus.{index}.{field}": "NVML: it says that there is no memory" for field in _VRAM})
    return Gpu(
        index=index,
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
        temp_c=number("temp_c", lambda: nvml.nvmlDeviceGetTemperature(handle, sensor)),
        temp_limit_c=number("temp_limit_c", lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, slowdown)),
        util_pct=number("util_pct", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        vram_used_gb=None if memory is None else memory.used / GB,
        vram_total_gb=None if memory is None else memory.total / GB,
        vram_pct=None if memory is None else 100.0 * memory.used / memory.total,
        power_w=number("power_w", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        power_limit_w=number("power_limit_w", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        fan_pct=number("fan_pct", lambda: nvml.nvmlDeviceGetFanSpeed(handle)),
    )

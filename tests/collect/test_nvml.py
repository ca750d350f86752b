"""GPUs are told as their driver tells them, and what it does not tell is null with the reason."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.nvml import Gpus, Nvml, graphics_on_bus, installed_nvml
from barograph.records.signals import Gpu
from barograph.testing import FakeGpu, FakeMemory, FakeNvml

MAYBE = st.none() | st.integers(0, 10**6)


def device_on_bus(pci: Path, name: str, *, vendor: str, kind: str) -> None:
    (pci / name).mkdir(parents=True)
    (pci / name / "vendor").write_text(vendor + "\n")
    (pci / name / "class").write_text(kind + "\n")


def only(gpus: list[Gpu] | None) -> Gpu:
    assert gpus is not None
    (one,) = gpus
    return one


def test_every_quantity_is_in_its_unit() -> None:
    found = Gpus(lambda: FakeNvml(FakeGpu(fan=30))).ask()
    assert only(found.gpus) == Gpu(
        index=0,
        name="NVIDIA H200",
        temp_c=41.0,
        temp_limit_c=90.0,
        util_pct=87.0,
        vram_used_gb=70.0,
        vram_total_gb=140.0,
        vram_pct=50.0,
        power_w=350.0,
        power_limit_w=700.0,
        fan_pct=30.0,
    )
    assert found.why == {}


@given(
    st.builds(
        FakeGpu,
        name=st.none() | st.text() | st.binary(),
        temperature=MAYBE,
        slowdown_temperature=MAYBE,
        utilisation=MAYBE,
        memory=st.none() | st.builds(FakeMemory, st.integers(0, 10**12), st.integers(0, 10**12)),
        power_mw=MAYBE,
        power_limit_mw=MAYBE,
        fan=MAYBE,
        lost=st.booleans(),
    )
)
def test_what_is_null_has_a_reason_and_what_is_not_has_none(gpu: FakeGpu) -> None:
    found = Gpus(lambda: FakeNvml(FakeGpu(), gpu)).ask()
    assert found.gpus is not None
    one = found.gpus[1]
    fields = Gpu.__struct_fields__[1:]
    missing = {f"gpus.1.{name}" for name in fields if getattr(one, name) is None}
    said = {name for name in found.why if name.startswith("gpus.1")}
    assert said == ({"gpus.1"} if gpu.lost else missing)
    if gpu.lost:
        assert missing == {f"gpus.1.{name}" for name in fields}
    assert found.gpus[0].temp_c == 41.0


def test_a_gpu_that_fell_off_the_bus_keeps_its_place() -> None:
    found = Gpus(lambda: FakeNvml(FakeGpu(), FakeGpu(lost=True), FakeGpu())).ask()
    assert found.gpus is not None
    assert [(gpu.index, gpu.name) for gpu in found.gpus] == [(0, "NVIDIA H200"), (1, None), (2, "NVIDIA H200")]
    assert found.why["gpus.1"] == "NVML: GPU is lost"


def test_a_name_in_bytes_is_a_name() -> None:
    assert only(Gpus(lambda: FakeNvml(FakeGpu(name=b"Tesla V100"))).ask().gpus).name == "Tesla V100"


def test_the_driver_is_connected_to_once_and_let_go() -> None:
    nvml = FakeNvml(FakeGpu())
    gpus = Gpus(lambda: nvml)
    for _ in range(3):
        gpus.ask()
    assert nvml.connections == 1
    gpus.close()
    gpus.close()
    assert nvml.connections == 0
    assert only(gpus.ask().gpus).name == "NVIDIA H200"


def test_a_driver_that_was_loaded_anew_is_connected_to_again() -> None:
    nvml = FakeNvml(FakeGpu())
    gpus = Gpus(lambda: nvml)
    gpus.ask()
    nvml.connections = 0
    lost = gpus.ask()
    assert (lost.gpus, lost.why) == (None, {"gpus": "NVML: Uninitialized"})
    assert only(gpus.ask().gpus).name == "NVIDIA H200"


def test_no_gpu_is_an_empty_list_and_not_a_null(tmp_path: Path) -> None:
    assert Gpus(FakeNvml).ask().gpus == []
    device_on_bus(tmp_path, "0000:00:02.0", vendor="0x8086", kind="0x030000")  # the screen's own
    device_on_bus(tmp_path, "0000:00:1f.0", vendor="0x10de", kind="0x040300")  # sound
    for find in (no_package, driver_not_loaded):
        found = Gpus(find, pci=tmp_path).ask()
        assert (found.gpus, found.why) == ([], {})


def no_package() -> Nvml | None:
    return None


def driver_not_loaded() -> Nvml | None:
    return FakeNvml(trouble="Driver Not Loaded")


@pytest.mark.parametrize(
    ("find", "said"),
    [(no_package, "the Python package nvidia-ml-py is not installed"), (driver_not_loaded, "NVML: Driver Not Loaded")],
)
def test_a_gpu_that_nobody_can_ask_is_null_with_the_reason(tmp_path: Path, find: object, said: str) -> None:
    assert callable(find)
    nothing_known = Gpus(find, pci=tmp_path / "no_bus").ask()
    assert (nothing_known.gpus, nothing_known.why) == (None, {"gpus": said})
    device_on_bus(tmp_path, "0000:17:00.0", vendor="0x10de", kind="0x030200")
    on_bus = Gpus(find, pci=tmp_path).ask()
    assert (on_bus.gpus, on_bus.why) == (None, {"gpus": f"{said}, though a GPU of NVIDIA is on the bus"})


def test_a_gpu_of_another_maker_is_named(tmp_path: Path) -> None:
    device_on_bus(tmp_path, "0000:c1:00.0", vendor="0x1002", kind="0x120000")
    found = Gpus(driver_not_loaded, pci=tmp_path).ask()
    assert found.gpus is None
    assert found.why == {"gpus": "there is a GPU of AMD, and only those of NVIDIA can be asked"}
    assert graphics_on_bus(tmp_path) == ["AMD"]


def contract(nvml: Nvml) -> None:
    """What is relied on, of the real library as of the fake one."""
    with pytest.raises(nvml.NVMLError):
        nvml.nvmlDeviceGetCount()
    nvml.nvmlInit()
    nvml.nvmlInit()
    nvml.nvmlShutdown()
    count = nvml.nvmlDeviceGetCount()
    with pytest.raises(nvml.NVMLError):
        nvml.nvmlDeviceGetHandleByIndex(count)
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        assert isinstance(nvml.nvmlDeviceGetName(handle), str | bytes)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        assert 0 <= memory.used <= memory.total
        with suppress(nvml.NVMLError):  # a GPU need not tell the rest
            assert 0 <= nvml.nvmlDeviceGetUtilizationRates(handle).gpu <= 100
        with suppress(nvml.NVMLError):
            assert 0 < nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU) < 200
        with suppress(nvml.NVMLError):
            slowdown = nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            assert 0 < nvml.nvmlDeviceGetTemperatureThreshold(handle, slowdown) < 200
        with suppress(nvml.NVMLError):
            assert nvml.nvmlDeviceGetPowerUsage(handle) > 1000
        with suppress(nvml.NVMLError):
            assert nvml.nvmlDeviceGetEnforcedPowerLimit(handle) > 1000
        with suppress(nvml.NVMLError):
            assert nvml.nvmlDeviceGetFanSpeed(handle) >= 0
    nvml.nvmlShutdown()
    with pytest.raises(nvml.NVMLError):
        nvml.nvmlDeviceGetCount()


def test_the_fake_library_keeps_the_contract() -> None:
    contract(FakeNvml(FakeGpu(), FakeGpu()))


def test_the_real_library_keeps_the_contract() -> None:
    nvml = installed_nvml()
    assert nvml is not None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        pytest.skip(f"no driver here: {error}")
    nvml.nvmlShutdown()
    contract(nvml)

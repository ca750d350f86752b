"""The machine is told as the system tells it, and a source that hangs or fails takes only its own fields with it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from barograph.collect.hardware import HardwareSampler, Question, Source, disk_question
from barograph.records import codec
from barograph.records.signals import Hardware
from barograph.testing import FakeGpu, FakeNvml

MACHINE = {
    *("cpu_pct", "load", "process_cpu_pct", "process_ram_gb"),
    *("ram_used_gb", "ram_total_gb", "swap_used_gb", "swap_total_gb"),
}
DISK = {"disk_used_gb", "disk_total_gb", "disk_free_gb"}


@contextmanager
def sampling(sampler: HardwareSampler) -> Iterator[HardwareSampler]:
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()


def awaited(sampler: HardwareSampler, enough: Callable[[Hardware], bool]) -> Hardware:
    deadline = time.monotonic() + 20.0
    while not enough(found := sampler.newest(7)):
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def complete(found: Hardware) -> bool:
    return all(getattr(found, name) is not None for name in {*MACHINE, *DISK, "gpus"})


def meminfo() -> dict[str, int]:
    """What the kernel says of the memory, bytes."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


def asks(answer: Callable[[], Hardware], *fields: str) -> Question:
    return Question(fields=fields, ask=answer)


def test_before_the_first_answer_everything_is_null_with_a_reason(tmp_path: Path) -> None:
    found = HardwareSampler(tmp_path, nvml=FakeNvml).newest(None)
    assert set(found.why) == {*MACHINE, *DISK, "gpus"}
    assert all(getattr(found, name) is None for name in found.why)


def test_it_says_what_the_kernel_says(tmp_path: Path) -> None:
    with sampling(HardwareSampler(tmp_path, every_s=0.1, nvml=lambda: FakeNvml(FakeGpu(fan=1)))) as sampler:
        found = awaited(sampler, complete)
    kernel = meminfo()
    assert found.why == {}
    assert found.step == 7
    assert found.time == pytest.approx(time.time(), abs=5.0)
    assert found.ram_total_gb == kernel["MemTotal"] / 1e9
    assert found.ram_used_gb == pytest.approx((kernel["MemTotal"] - kernel["MemAvailable"]) / 1e9, abs=2.0)
    assert found.swap_total_gb == kernel["SwapTotal"] / 1e9
    assert found.load == pytest.approx(float(Path("/proc/loadavg").read_text().split()[0]), abs=2.0)
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert found.process_ram_gb == pytest.approx(int(resident.split()[1]) * 1024 / 1e9, rel=0.2)
    disk = psutil.disk_usage(str(tmp_path))
    assert found.disk_total_gb == disk.total / 1e9
    assert found.disk_free_gb == pytest.approx(disk.free / 1e9, abs=1.0)
    assert found.disk_used_gb == pytest.approx(disk.used / 1e9, abs=1.0)
    assert found.gpus is not None
    assert codec.decode_line(codec.encode_line(found)).record == found


def test_the_first_use_of_the_processor_is_a_measurement_and_not_a_zero(tmp_path: Path) -> None:
    working = threading.Event()

    def work() -> None:
        while not working.is_set():
            sum(range(1000))

    busy = threading.Thread(target=work)
    busy.start()
    try:
        with sampling(HardwareSampler(tmp_path, every_s=100.0, nvml=FakeNvml)) as sampler:
            found = awaited(sampler, complete)
    finally:
        working.set()
        busy.join()
    assert found.process_cpu_pct is not None
    assert found.process_cpu_pct > 10.0
    assert found.cpu_pct is not None
    assert 0.0 < found.cpu_pct <= 100.0


def test_the_disk_is_that_of_the_folder_above_while_the_run_has_none(tmp_path: Path) -> None:
    found = disk_question(tmp_path / "runs" / "sft").ask()
    assert found.disk_total_gb == psutil.disk_usage(str(tmp_path)).total / 1e9


def test_a_driver_that_hangs_takes_only_the_gpus_and_nobody_waits(tmp_path: Path) -> None:
    hangs = threading.Event()
    try:
        sampler = HardwareSampler(tmp_path, every_s=0.1, nvml=lambda: FakeNvml(FakeGpu(), hangs=hangs))
        with sampling(sampler):
            found = awaited(sampler, lambda now: "not answered for" in now.why.get("gpus", "") and now.load is not None)
            asked = time.perf_counter()
            sampler.newest(1)
            assert time.perf_counter() - asked < 0.05
            assert [thread.name for thread in threading.enumerate()].count("barograph-gpus") == 1
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 2.0
        assert found.gpus is None
        assert set(found.why) == {"gpus"}
    finally:
        hangs.set()


def test_an_answer_that_is_too_old_is_not_told(tmp_path: Path) -> None:
    hangs = threading.Event()
    answers = iter([0.5, 0.5])

    def once() -> Hardware:
        for load in answers:
            return Hardware(time=0.0, load=load)
        hangs.wait()
        return Hardware(time=0.0, load=0.7)

    source = Source("slow", (asks(once, "load"),), every_s=0.1)
    try:
        with sampling(HardwareSampler(tmp_path, sources=(source,))) as sampler:
            assert awaited(sampler, lambda now: now.load is not None).load == 0.5
            stale = awaited(sampler, lambda now: now.load is None)
            assert stale.why["load"].startswith("it has not answered for")
            hangs.set()
            assert awaited(sampler, lambda now: now.load is not None).load == 0.7
    finally:
        hangs.set()


def test_a_source_that_raises_says_so_and_is_asked_again(tmp_path: Path) -> None:
    answers = iter([None, None, None])

    def broken() -> Hardware:
        if next(answers, 1) is None:
            raise PermissionError(13, "Permission denied", "/proc/stat")
        return Hardware(time=0.0, cpu_pct=12.5)

    source = Source(
        "broken", (asks(broken, "cpu_pct"), asks(lambda: Hardware(time=0.0, load=1.5), "load")), every_s=0.1
    )
    with sampling(HardwareSampler(tmp_path, sources=(source,))) as sampler:
        found = awaited(sampler, lambda now: now.load is not None)
        assert found.cpu_pct is None
        assert "Permission denied" in found.why["cpu_pct"]
        assert awaited(sampler, lambda now: now.cpu_pct is not None).why == {}


def test_the_driver_is_let_go_at_the_end(tmp_path: Path) -> None:
    nvml = FakeNvml(FakeGpu())
    with sampling(HardwareSampler(tmp_path, every_s=0.1, nvml=lambda: nvml)) as sampler:
        awaited(sampler, lambda now: now.gpus is not None)
        assert nvml.connections == 1
    assert nvml.connections == 0


def test_stopping_what_was_never_started_is_no_error(tmp_path: Path) -> None:
    HardwareSampler(tmp_path, nvml=FakeNvml).stop()

"""The machines of a run: what they said, and why there is nothing where they did not."""

import time
from pathlib import Path

import msgspec
import pytest

from barograph.errors import UnknownRun
from barograph.index import Index, Indexer
from barograph.records import Banner, Hardware, Record, Step
from barograph.records.codec import encode_line
from barograph.records.signals import Gpu
from barograph.views import live_status, series_set, system_status, throughput_samples
from barograph.views.monitor_documents import Queues, SystemHost, SystemStatus

NOW = time.time()


def gpu(index: int, *, used: float | None = 40.0) -> Gpu:
    return Gpu(
        index=index,
        name="H200",
        temp_c=60.0,
        temp_limit_c=90.0,
        util_pct=99.0,
        vram_used_gb=used,
        vram_total_gb=80.0,
        vram_pct=None if used is None else used / 0.8,
        power_w=300.0,
        power_limit_w=700.0,
        fan_pct=None,
    )


def log(root: Path, *records: Record, writer: str = "train") -> Index:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-000001-20260101T000000.jsonl"
    with path.open("ab") as file:
        begins = Banner(run="r", attempt=1, writer=writer, time=NOW, host=f"{writer}er")
        file.write(b"".join(encode_line(record) for record in (begins, *records)))
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def without_a_reason(document: SystemStatus) -> list[str]:
    hosts = {"training_host": document.hosts.training_host, "inference_host": document.hosts.inference_host}
    nulls = [f"hosts.{name}.{field}" for name, host in hosts.items() for field in nulls_of(host)]
    nulls += [f"queues.{field}" for field in nulls_of(document.queues)]
    return sorted({*nulls} ^ document.why.keys())


def nulls_of(part: SystemHost | Queues) -> list[str]:
    return [field for field in part.__struct_fields__ if getattr(part, field) is None]


def test_every_null_and_nothing_else_has_a_reason(tmp_path: Path) -> None:
    nothing = system_status(Index(tmp_path), now=NOW)
    assert nothing.run is None
    assert without_a_reason(nothing) == []
    assert set(nothing.why.values()) >= {"there is no run", "no evaluating process has written to this run"}
    silent = log(tmp_path, Step(step=1, loss=1.0, time=NOW))
    assert without_a_reason(system_status(silent, now=NOW)) == []
    some = log(tmp_path, Hardware(time=NOW, cpu_pct=12.5, gpus=[], why={"ram_used_gb": "a disk hangs"}))
    document = system_status(some, now=NOW)
    assert without_a_reason(document) == []
    assert document.why["hosts.training_host.ram_gb"] == "a disk hangs"
    assert document.hosts.training_host.gpus == [], "none is not the same as not measured"


def test_both_machines_are_told_with_every_gpu(tmp_path: Path) -> None:
    log(tmp_path, Hardware(time=NOW, gpus=[gpu(0), gpu(1)], disk_used_gb=30.0, disk_total_gb=120.0))
    index = log(tmp_path, Hardware(time=NOW, gpus=[gpu(0)], load=0.5), writer="evaluate")
    hosts = system_status(index, now=NOW).hosts
    assert [one.index for one in hosts.training_host.gpus or ()] == [0, 1]
    assert (hosts.training_host.disk_pct, hosts.training_host.name) == (25.0, "trainer")
    assert (hosts.inference_host.load, hosts.inference_host.name) == (0.5, "evaluateer")
    live = live_status(index, "r", now=NOW)
    assert (live.inference_host.load, len(live.training_host.gpus or ())) == (0.5, 2)


def test_the_document_is_small_with_eight_gpus_each(tmp_path: Path) -> None:
    log(tmp_path, Hardware(time=NOW, gpus=[gpu(n) for n in range(8)]))
    index = log(tmp_path, Hardware(time=NOW, gpus=[gpu(n) for n in range(8)]), writer="evaluate")
    assert len(msgspec.json.encode(system_status(index, now=NOW))) < 8_000


def test_an_unknown_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun):
        system_status(log(tmp_path, Step(step=1, loss=1.0, time=NOW)), "other")


def test_hardware_is_a_series_at_the_step_at_which_it_was_asked(tmp_path: Path) -> None:
    samples = [Hardware(time=NOW + n, step=10, cpu_pct=float(n), gpus=[gpu(0)]) for n in range(3)]
    index = log(tmp_path, Step(step=10, loss=1.0, time=NOW), *samples)
    (cpu,) = series_set(index, "r", ["hardware/cpu_pct"]).series
    assert cpu.points == 3, "a machine that is asked more often than steps are made keeps every answer"
    assert cpu.last == [2.0]
    (vram,) = series_set(index, "r", ["hardware/gpu0/vram_pct"]).series
    assert vram.last == [50.0]


def test_a_sample_has_the_memory_of_the_fullest_gpu_at_or_before_its_step(tmp_path: Path) -> None:
    steps = [
        Step(
            step=n,
            loss=1.0,
            time=NOW + n,
            metrics={"throughput/tokens": 100.0 * n, "throughput/step_seconds": 0.5, "throughput/batch_size": 8.0},
        )
        for n in range(1, 6)
    ]
    index = log(tmp_path, *steps[:2], Hardware(time=NOW, step=2, gpus=[gpu(0), gpu(1, used=60.0)]), *steps[2:])
    document = throughput_samples(index, "r", limit=4, now=NOW)
    assert [one.step for one in document.samples] == [2, 3, 4, 5], "the newest, oldest first"
    assert [one.tokens_per_sec for one in document.samples] == [400.0, 600.0, 800.0, 1000.0]
    assert [one.vram_used_gb for one in document.samples] == [60.0] * 4
    assert [one.batch_size for one in document.samples] == [8] * 4
    assert all(one.timestamp is not None for one in document.samples)
    assert document.why == {"sequence_length": "the batches do not say it"}


def test_without_a_gpu_or_a_rate_the_samples_say_why(tmp_path: Path) -> None:
    assert throughput_samples(Index(tmp_path), now=NOW).why == {"samples": "there is no run"}
    index = log(tmp_path, Step(step=1, loss=1.0, time=NOW), Hardware(time=NOW, gpus=[]))
    assert throughput_samples(index, "r", now=NOW).why == {"samples": "attempt 1 has logged no throughput yet"}
    index = log(tmp_path, Step(step=2, loss=1.0, time=NOW, metrics={"throughput/step_seconds": 5.0}))
    found = throughput_samples(index, "r", now=NOW)
    assert (found.samples[0].vram_pct, found.samples[0].tokens_per_sec) == (None, None)
    assert found.why["vram_pct"] == "this machine has no GPU"

"""Speed, GPUs and disk: what cannot be asked is not well, and one bad GPU among good ones is found."""

import pytest

from barograph.analysis.throughput import StepTiming, Throughput
from barograph.policy import load, rules
from barograph.policy.machine_conditions import disk_full, gpu_memory, gpu_temperature, throughput_degraded
from barograph.records import Hardware
from barograph.records.signals import Gpu

OURS, SEED = load("default").alerts, load("contract").alerts


def gpu(index: int = 0, *, temp: float | None = 60.0, vram: float | None = 50.0, limit: float | None = 90.0) -> Gpu:
    return Gpu(
        index=index,
        name="A GPU",
        temp_c=temp,
        temp_limit_c=limit,
        util_pct=99.0,
        vram_used_gb=None if vram is None else 0.8 * vram,
        vram_total_gb=80.0,
        vram_pct=vram,
        power_w=None,
        power_limit_w=None,
        fan_pct=None,
    )


def sample(*gpus: Gpu) -> Hardware:
    return Hardware(time=1.0, step=5, gpus=list(gpus))


def test_one_full_gpu_among_many_is_named() -> None:
    found = gpu_memory(sample(gpu(0), gpu(1, vram=96.0), gpu(2, vram=None)), table=SEED.gpu_memory)
    assert found.seen
    assert found.subjects == ("GPU 1",)
    assert found.evidence == {"gpu0_vram_pct": 50.0, "gpu1_vram_pct": 96.0, "pct_above": 95.0}
    assert gpu_memory(sample(gpu(vram=95.0)), table=SEED.gpu_memory).seen is False


@pytest.mark.parametrize(
    ("temp", "limit", "seeds", "ours"),
    [
        (80.0, 90.0, False, False),
        (81.0, 90.0, True, False),
        (87.0, 90.0, True, True),
        (87.0, None, True, False),
        (96.0, None, True, True),
    ],
)
def test_a_gpu_is_hot_by_the_seeds_bound_or_near_its_own(
    temp: float, limit: float | None, seeds: bool, ours: bool
) -> None:
    hot = sample(gpu(temp=temp, limit=limit))
    assert gpu_temperature(hot, table=SEED.gpu_temperature).seen is seeds
    assert gpu_temperature(hot, table=OURS.gpu_temperature).seen is ours


def test_a_machine_without_gpus_and_one_that_cannot_be_asked_are_told_apart() -> None:
    none = gpu_memory(sample(), table=OURS.gpu_memory)
    unasked = gpu_memory(Hardware(time=1.0, why={"gpus": "the driver hangs"}), table=OURS.gpu_memory)
    silent = gpu_temperature(sample(gpu(temp=None)), table=OURS.gpu_temperature)
    assert (none.seen, unasked.seen, silent.seen) == (None, None, None)
    assert (none.reason, unasked.reason) == ("this machine has no GPU", "the driver hangs")
    assert silent.reason == "no GPU tells its temperature"


@pytest.mark.parametrize(
    ("used", "free", "seen"), [(960.0, 9.0, True), (960.0, 40.0, False), (900.0, 9.0, True), (50.0, 5.0, False)]
)
def test_a_disk_is_full_by_share_and_by_what_is_left(used: float, free: float, seen: bool) -> None:
    disk = Hardware(time=1.0, disk_used_gb=used, disk_total_gb=1000.0, disk_free_gb=free)
    assert disk_full(disk, table=OURS.disk_full).seen is seen


def test_a_disk_that_nobody_asked_is_not_empty() -> None:
    found = disk_full(Hardware(time=1.0, why={"disk_used_gb": "the disk hangs"}), table=OURS.disk_full)
    assert (found.seen, found.reason) == (None, "the disk hangs")


def timed(*seconds: float, tokens: float | None = 1000.0, policy: str = "contract") -> Throughput:
    fold = Throughput(rules.throughput(load(policy)))
    for step, one in enumerate(seconds):
        fold.update(step, None, StepTiming(tokens=tokens, seconds=one, data_wait_s=0.25 * one))
    return fold


def test_a_run_is_slow_below_the_seeds_share_of_its_baseline() -> None:
    table = SEED.throughput_degraded
    slow = throughput_degraded(99, timed(*[1.0] * 50, *[2.0] * 50), table=table)
    assert slow.seen
    assert slow.evidence["share"] == pytest.approx(0.5)
    assert "25% of a step waits for data" in slow.text
    assert throughput_degraded(99, timed(*[1.0] * 50, *[1.6] * 50), table=table).seen is False
    assert throughput_degraded(1, timed(), table=table).seen is None
    assert throughput_degraded(99, timed(*[1.0] * 99, tokens=None), table=table).seen is None


def test_by_a_median_a_few_slow_steps_are_none_and_many_are() -> None:
    table = OURS.throughput_degraded
    some = [1.0] * 130 + [50.0, 1.0, 1.0] * 70
    assert throughput_degraded(340, timed(*some, policy="default"), table=table).seen is False
    assert throughput_degraded(340, timed(*some), table=SEED.throughput_degraded).seen, "a sum of seconds is slow"
    slow = throughput_degraded(400, timed(*[1.0] * 130, *[2.0] * 220, policy="default"), table=table)
    assert slow.seen
    assert slow.evidence["share"] == pytest.approx(0.5)
    assert "median of the last 200 steps" in slow.text
    early = throughput_degraded(150, timed(*[1.0] * 150, policy="default"), table=table)
    assert (early.seen, early.reason) == (None, "the tokens of fewer than 200 steps are known")

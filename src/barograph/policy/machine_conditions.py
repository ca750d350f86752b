"""Conditions of speed and machine: throughput, memory and temperature of GPUs, disk."""

from collections.abc import Callable

from barograph.analysis.throughput import Throughput
from barograph.policy.alert_tables import (
    DiskFullTable,
    GpuMemoryTable,
    GpuTemperatureTable,
    ThroughputDegradedTable,
)
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.signals import Gpu, Hardware


def throughput_degraded(step: int, fold: Throughput, *, table: ThroughputDegradedTable) -> Checked:
    """The run is slower than it was, in tokens a second; by a median only if the bound of that is slow enough too."""
    baseline, current = fold.baseline, fold.current
    if baseline is None or current is None:
        reasons = fold.reasons()
        return unknown(reasons.get("tokens_per_sec") or reasons.get("tokens_per_sec_baseline", "it is not known"))
    fastest, of = current, ""
    if table.judged_by == "median":
        usual = fold.token_time(confidence=table.confidence)
        if usual is None:
            return unknown(f"the tokens of fewer than {table.steps} steps are known")
        if usual.least <= 0.0:
            return NOT_SEEN
        current, fastest = 1.0 / usual.median, 1.0 / usual.least
        of = f" (median of the last {usual.steps} steps; at best {fastest:.4g})"
    if baseline <= 0.0 or fastest >= table.below_share * baseline:
        return NOT_SEEN
    data_wait_share = fold.data_wait_share
    share = current / baseline
    waits = "" if data_wait_share is None else f" {data_wait_share:.0%} of a step waits for data."
    return Checked(
        seen=True,
        title=f"Training runs at {share:.0%} of its speed",
        text=f"At step {step} it makes {current:.4g} tokens/s{of}, and early in this attempt it made {baseline:.4g}:"
        f" below {table.below_share:.0%} of that.{waits}",
        evidence={
            "tokens_per_sec": current,
            "baseline_tokens_per_sec": baseline,
            "share": share,
            "below_share": table.below_share,
            **({"highest_tokens_per_sec": fastest} if table.judged_by == "median" else {}),
            **({} if data_wait_share is None else {"data_wait_share": data_wait_share}),
        },
        step=step,
    )


def gpu_memory(sample: Hardware, *, table: GpuMemoryTable) -> Checked:
    """The memory of a GPU is nearly full."""

    def full(gpu: Gpu) -> str | None:
        if gpu.vram_pct is None or not gpu.vram_pct > table.pct_above:
            return None
        of = "" if gpu.vram_total_gb is None else f" of {gpu.vram_total_gb:.1f} GB"
        return f"{gpu.vram_pct:.1f} %{of} in use"

    return _of_gpus(
        sample,
        known=lambda gpu: gpu.vram_pct,
        said=full,
        title="is nearly full",
        subject="memory",
        unit="vram_pct",
        evidence={"pct_above": table.pct_above},
    )


def gpu_temperature(sample: Hardware, *, table: GpuTemperatureTable) -> Checked:
    """A GPU is above the policy's temperature, or so near its own limit that it slows down."""

    def hot(gpu: Gpu) -> str | None:
        if gpu.temp_c is None:
            return None
        limit = gpu.temp_limit_c if table.below_limit_c > 0.0 else None
        if not gpu.temp_c > table.above_c and (limit is None or gpu.temp_c < limit - table.below_limit_c):
            return None
        own = "" if gpu.temp_limit_c is None else f"; it slows down at {gpu.temp_limit_c:.0f}"
        return f"{gpu.temp_c:.0f} degrees Celsius{own}"

    return _of_gpus(
        sample,
        known=lambda gpu: gpu.temp_c,
        said=hot,
        title="is too high",
        subject="temperature",
        unit="temp_c",
        evidence={"above_c": table.above_c, "below_limit_c": table.below_limit_c},
    )


def disk_full(sample: Hardware, *, table: DiskFullTable) -> Checked:
    """The run's disk is nearly full, both as a share and in what is left."""
    used, total, free = sample.disk_used_gb, sample.disk_total_gb, sample.disk_free_gb
    if used is None or total is None or total <= 0.0:
        missing = "disk_used_gb" if used is None else "disk_total_gb"
        return unknown(sample.why.get(missing, "the disk cannot be asked"))
    left = total - used if free is None else free
    # What is free for this user and what is in use: some file systems keep a share for the system.
    pct = 100.0 * used / (used + left) if used + left > 0.0 else 100.0
    if pct <= table.pct_above or left >= table.free_below_gb:
        return NOT_SEEN
    return Checked(
        seen=True,
        title=f"The disk is {pct:.0f} % full",
        text=f"The run's disk is {pct:.1f} % full: {left:.2f} GB of {total:.1f} GB are left.",
        evidence={
            "disk_pct": pct,
            "free_gb": left,
            "pct_above": table.pct_above,
            "free_below_gb": table.free_below_gb,
        },
        step=sample.step,
    )


def _of_gpus(
    sample: Hardware,
    *,
    known: Callable[[Gpu], float | None],
    said: Callable[[Gpu], str | None],
    title: str,
    subject: str,
    unit: str,
    evidence: dict[str, float],
) -> Checked:
    """One condition over all GPUs: it holds if it holds for one."""
    if sample.gpus is None:
        return unknown(sample.why.get("gpus", "the GPUs cannot be asked"))
    if not sample.gpus:
        return unknown("this machine has no GPU")
    if all(known(gpu) is None for gpu in sample.gpus):
        return unknown(sample.why.get("gpus", f"no GPU tells its {subject}"))
    found = {f"GPU {gpu.index}": text for gpu in sample.gpus if (text := said(gpu)) is not None}
    if not found:
        return NOT_SEEN
    values = {f"gpu{gpu.index}_{unit}": value for gpu in sample.gpus if (value := known(gpu)) is not None}
    return Checked(
        seen=True,
        title=f"The {subject} of {', '.join(found)} {title}",
        text="; ".join(f"{name}: {text}" for name, text in found.items()) + ".",
        evidence={**values, **evidence},
        subjects=tuple(found),
        step=sample.step,
    )

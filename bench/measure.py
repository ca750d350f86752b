"""What every benchmark here shares: the conditions of a measurement, its spread, its targets, and where it is written.

A figure is a median of the medians of several repetitions, because a repetition that met a busy moment shifts as a
whole. Repetitions of what is compared alternate, so that a busy minute meets all of them.
"""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PACKAGES = ("msgspec", "numpy", "torch", "transformers", "trackio", "tensorboard", "typer", "litestar")

Spread = dict[str, float | int | list[float]]


def conditions(*packages: str) -> dict[str, object]:
    """Command, commit, hardware, load, versions and UTC date of the measurement that begins now."""
    script = Path(sys.argv[0]).resolve()
    return {
        "command": shlex.join(["python", f"bench/{script.name}", *sys.argv[1:]]),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "hardware": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
            "load_average_before": round(os.getloadavg()[0], 2),
        },
        "versions": versions(packages or PACKAGES),
    }


def commit() -> str | None:
    """HEAD, with `-dirty` if the sources or the benchmarks differ from it; None outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", "../src", ".", ":!results")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-dirty" if changed else head


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Versions of Python, barograph and `packages`; None for what is not installed."""
    import barograph

    found: dict[str, str | None] = {"python": platform.python_version(), "barograph": barograph.__version__}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def spread(repetitions: Sequence[Sequence[float]]) -> Spread:
    """Each percentile is the median of the repetitions' own; `min` and `max` are over all of them.

    Raises `ValueError` for a repetition without a value.
    """
    if not repetitions or not all(repetitions):
        raise ValueError(f"repetitions of {[len(one) for one in repetitions]} values have no spread")
    ordered = [sorted(one) for one in repetitions]
    medians = [statistics.median(one) for one in ordered]
    return {
        "median": statistics.median(medians),
        "p10": statistics.median([percentile(one, 0.10) for one in ordered]),
        "p90": statistics.median([percentile(one, 0.90) for one in ordered]),
        "p99": statistics.median([percentile(one, 0.99) for one in ordered]),
        "mean": statistics.median([statistics.fmean(one) for one in ordered]),
        "min": min(one[0] for one in ordered),
        "max": max(one[-1] for one in ordered),
        "values_per_repetition": min(len(one) for one in ordered),
        "medians_of_repetitions": [round(one, 4) for one in medians],
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def target(claim: str, measured: float, at_most: float) -> dict[str, object]:
    """One bar and whether it was met."""
    return {"claim": claim, "measured": measured, "at_most": at_most, "met": measured <= at_most}


def child(script: str, specification: Mapping[str, object], *, timeout: float = 120.0) -> dict[str, object]:
    """What a fresh process of `script`, given `specification` as its only argument, printed as its last line of JSON.

    The settings of barograph and trackio in the environment do not reach it, and it may not ask the network.
    Raises `RuntimeError` with its errors if it failed.
    """
    line = [sys.executable, script, "--child", json.dumps(specification)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, env=environment())
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} {specification} exited with {done.returncode}:\n{done.stderr[-4000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def environment() -> dict[str, str]:
    """The environment for a measured process: no setting of a tracker, no network, one thread for arithmetic."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("BAROGRAPH_", "TRACKIO_"))}
    return {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def write(result: Mapping[str, object]) -> None:
    """Write `results/<script>.json` and print the targets."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{Path(sys.argv[0]).stem}.json"
    path.write_text(json.dumps(_rounded(result), indent=1) + "\n")
    for one in result.get("targets", ()):  # type: ignore[attr-defined]
        word = "met   " if one["met"] else "MISSED"
        print(f"  {word} {one['claim']}: {one['measured']:.4g} (at most {one['at_most']:.4g})")
    print(f"  written to bench/results/{path.name}")


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print `rows` in columns."""
    texts = [list(header), *[[_text(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    print(f"\n{title}")
    for row in texts:
        first, rest = row[0].ljust(widths[0]), zip(row[1:], widths[1:], strict=True)
        print("  " + "  ".join([first, *[cell.rjust(width) for cell, width in rest]]))


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str:
    line = ["git", "-C", str(HERE), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

"""What a root of thousands of runs costs: the first scan, a scan without news, one line, and compressing old journals.

    python bench/many_runs.py [--runs N] [--repetitions N]

All runs but ten are finished and old. Each has one journal file of 20 steps with three values, a banner and its end.
"""

import argparse
import os
import random
import tempfile
import threading
import time
from pathlib import Path

from measure import conditions, percentile, spread, table, target, write

LIVE = 10
STEPS = 20
LINES = 100
SEALED = 500
"""Journal files that are compressed while lines come in."""
NOT_SHOWN = [
    "A cold disk: every file was written just before, and lies in memory.",
    "Network file systems, where each question for a folder or a file is a round trip.",
    "Large journals: what a first scan takes then is the reading of their lines.",
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=5_000)
    arguments.add_argument("--repetitions", type=int, default=3)
    given = arguments.parse_args()
    stated = conditions("msgspec", "watchfiles", "zstandard", "numpy")
    found: dict[str, list[list[float]]] = {}
    for _ in range(given.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            live = make_runs(root, given.runs)
            for name, values in {**scans(root, live), **lines(root, live)}.items():
                found.setdefault(name, []).append(values)
    cases = {name: spread(values) for name, values in found.items()}
    p95 = {
        name: sorted(percentile(sorted(one), 0.95) for one in values)[len(values) // 2]
        for name, values in found.items()
    }
    targets = [
        target(
            "a scan without news, share of the longest pause of 1 s", cases["scan without news"]["median"] / 1e3, 0.1
        ),
        target("first scan, s", cases["first scan"]["median"] / 1e3, 10.0),
        target("a line of a live run, p95 in ms", p95["line"], 150.0),
        target("a line while journals are compressed, p95 in ms", p95["line, while compressing"], 300.0),
    ]
    rows = [[name, one["median"], p95[name], one["max"]] for name, one in cases.items()]
    table(f"{given.runs} runs, ms", ["", "median", "p95", "max"], rows)
    write(
        {
            "conditions": stated,
            "runs": given.runs,
            "ms": cases,
            "p95_ms": p95,
            "targets": targets,
            "not_shown": NOT_SHOWN,
        }
    )


def make_runs(root: Path, count: int) -> list[Path]:
    """Old runs under `root`; returns the journal files of the live ones."""
    from barograph.records import Banner, RunComplete
    from barograph.records.codec import encode_line

    head = encode_line(Banner(run="run", attempt=1, writer="train", time=1e9))
    body = head + b"".join(line(step) for step in range(STEPS))
    end = encode_line(RunComplete(time=2e9, exit_code=0))
    old, live = time.time() - 86_400.0, []
    for number in range(count):
        path = root / f"run-{number:05d}" / "logs" / "train-000001-20260101T000000.jsonl"
        path.parent.mkdir(parents=True)
        alive = number < LIVE
        path.write_bytes(body if alive else body + end)
        if alive:
            live.append(path)
        else:
            os.utime(path, (old, old))
            os.utime(path.parent, (old, old))
    os.utime(root, (old, old))
    return live


def scans(root: Path, live: list[Path]) -> dict[str, list[float]]:
    """Milliseconds of scans, without a follower."""
    from barograph.index import Indexer

    found: dict[str, list[float]] = {}

    def scan(name: str, runs: list[str] | None = None) -> None:
        began = time.perf_counter()
        indexer.scan(runs)
        found.setdefault(name, []).append(1e3 * (time.perf_counter() - began))

    with Indexer(root) as indexer:
        scan("first scan")
        time.sleep(2.1)  # until the folders of the live runs have been quiet for a while
        scan("second scan")
        for _ in range(10):
            scan("scan without news")
        for step in range(10):
            append(live[0], STEPS + step)
            scan("scan with one line")
        for step in range(10):
            append(live[0], STEPS + 10 + step)
            scan("scan of one run", [live[0].parts[-3]])
    began = time.perf_counter()
    with Indexer(root) as indexer:
        indexer.scan()
    found["opened again and scanned"] = [1e3 * (time.perf_counter() - began)]
    return found


def lines(root: Path, live: list[Path]) -> dict[str, list[float]]:
    """Milliseconds from the disk into the index, before and while old journals are compressed."""
    from barograph.index import Follower, ScanResult

    came = threading.Event()
    path = live[1]

    def note(found: ScanResult) -> None:
        if path.parts[-3] in found.runs:
            came.set()

    def measured(count: int, first: int) -> list[float]:
        times = []
        for step in range(first, first + count):
            came.clear()
            began = time.perf_counter()
            append(path, step)
            assert came.wait(20.0)
            times.append(1e3 * (time.perf_counter() - began))
            time.sleep(random.uniform(0.01, 0.05))
        return times

    append(path, 99)
    with Follower(root, on_change=note):
        assert came.wait(60.0)  # the first scan
        time.sleep(1.0)
        quiet = measured(LINES, 100)
    young = time.time() - 60.0
    for folder in sorted(root.glob("run-*"))[LIVE + SEALED :]:
        for journal in folder.glob("logs/*.jsonl"):
            os.utime(journal, (young, young))
    busy: list[float] = []
    append(path, 999)
    came.clear()
    with Follower(root, on_change=note, seal_after_s=3_600.0):
        assert came.wait(60.0)
        began = time.perf_counter()
        while len(list(root.glob("*/logs/*.zst"))) < SEALED:
            busy += measured(10, 1_000 + len(busy))
            assert time.perf_counter() - began < 120.0
    return {"line": quiet, "line, while compressing": busy}


def append(path: Path, step: int) -> None:
    with path.open("ab") as file:
        file.write(line(step))


def line(step: int) -> bytes:
    from barograph.records import Step
    from barograph.records.codec import encode_line

    return encode_line(Step(step=step, loss=1.0 / (step + 1), time=1e9 + step, metrics={"lr": 1e-4, "grad_norm": 1.0}))


if __name__ == "__main__":
    main()

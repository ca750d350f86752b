"""How long a journal line takes from the disk into the index: with file events, and with polling alone.

    python bench/follow_latency.py [--lines N] [--repetitions N]

A line is written to a journal file; the clock stops when the follower says that the run changed, which it does after
the commit. The pauses between lines are random, so that no line is in step with the poll.
"""

import argparse
import random
import tempfile
import threading
import time
from pathlib import Path

from measure import conditions, percentile, spread, table, target, write

WAYS = {"file events and poll": True, "poll alone": False}
PAUSE_S = (0.01, 0.15)
AT_MOST_MS = {"file events and poll": 50.0, "poll alone": 300.0}
NOT_SHOWN = [
    "Network file systems, where events of other machines do not come: there the poll counts.",
    "The 50 ms that the writer collects lines for, and what the browser needs after the commit.",
    "Roots of thousands of runs: bench/many_runs.py.",
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--lines", type=int, default=200)
    arguments.add_argument("--repetitions", type=int, default=3)
    given = arguments.parse_args()
    stated = conditions("msgspec", "watchfiles", "numpy")
    found = {way: [] for way in WAYS}
    idle = {way: [] for way in WAYS}
    for _ in range(given.repetitions):
        for way, events in WAYS.items():
            latencies, share = follow(given.lines, events=events)
            found[way].append(latencies)
            idle[way].append(share)
    cases = {
        way: {
            "lines": sum(len(one) for one in repetitions),
            "ms": spread(repetitions),
            "p95_ms": sorted(percentile(sorted(one), 0.95) for one in repetitions)[len(repetitions) // 2],
            "idle_share_of_a_core": min(idle[way]),
        }
        for way, repetitions in found.items()
    }
    targets = [target(f"{way}: p95 in ms", one["p95_ms"], AT_MOST_MS[way]) for way, one in cases.items()]
    result = {"conditions": stated, "cases": cases, "targets": targets, "not_shown": NOT_SHOWN}
    rows = [
        [way, one["lines"], one["ms"]["median"], one["p95_ms"], one["ms"]["max"], one["idle_share_of_a_core"]]
        for way, one in cases.items()
    ]
    table("From the disk into the index", ["ms", "lines", "median", "p95", "max", "idle, cores"], rows)
    write(result)


def follow(lines: int, *, events: bool) -> tuple[list[float], float]:
    """Milliseconds of each line, and the share of a core that the follower takes when nothing happens."""
    from barograph.index import Follower, ScanResult, query
    from barograph.records import Step
    from barograph.records.codec import encode_line

    came = threading.Event()
    values = {f"layers.{index // 4}.{index % 4}/grad_norm": 0.1 * index for index in range(12)}

    def note(found: ScanResult) -> None:
        if found.changed:
            came.set()

    def line(step: int) -> bytes:
        return encode_line(Step(step=step, loss=1.0 / (step + 1), time=time.time(), metrics=values))

    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run" / "logs" / "train-000001-20260101T000000.jsonl"
        path.parent.mkdir(parents=True)
        path.write_bytes(line(0))
        with Follower(Path(folder), on_change=note, events=events) as follower, path.open("ab", buffering=0) as file:
            assert came.wait(10.0)
            time.sleep(1.0)
            for step in range(1, lines + 1):
                came.clear()
                written = time.perf_counter()
                file.write(line(step))
                assert came.wait(10.0)
                found.append(1e3 * (time.perf_counter() - written))
                time.sleep(random.uniform(*PAUSE_S))
            with follower.index.snapshot() as snapshot:
                assert len(query.series_points(snapshot, "run", "loss").steps) == lines + 1
            used = time.process_time()
            time.sleep(2.0)
            share = (time.process_time() - used) / 2.0
    return found, share


if __name__ == "__main__":
    main()

"""What a SIGKILL costs: steps and milliseconds of logging that are not in the journal afterwards.

    python bench/survives_kill.py [--repetitions N]

A child logs 12 scalars a step and kills itself: at once after the last call of `log`, or 0.25 s later. The time of
every call lies in memory that outlives it, so the parent knows what was logged, and reads back what was kept.
"""

import argparse
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from pathlib import Path

from measure import conditions, environment, spread, table, target, write

SCALARS = 12
INTERVAL_MS = 50.0
LATER_S = 0.25
PACES = {
    "paced, 10 ms": {"pace_s": 0.01, "steps": 60},
    "flat out, 1,000 steps": {"pace_s": 0.0, "steps": 1_000},
    "flat out, 10,000 steps": {"pace_s": 0.0, "steps": 10_000},
    "flat out, 50,000 steps": {"pace_s": 0.0, "steps": 50_000},
}
WITHOUT_BAR = "flat out, 50,000 steps"
"""Logs faster than the writer's thread can follow, as no training does: shown, so that the limit is known."""

DELAYS = {"at once": 0.0, "0.25 s later": LATER_S}
NOT_SHOWN = [
    "Loss of power or a crash of the kernel: there the last fdatasync counts, at most a second old.",
    "A killed process on a network file system, or a full disk.",
    "Longer bursts without pause: calls wait for the writer's thread, and beyond 100,000 the oldest go, counted.",
    "The first moments of a run: every child waits until its file is open before it logs.",
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=20)
    arguments.add_argument("--child", type=json.loads)
    given = arguments.parse_args()
    if given.child is not None:
        log_and_die(**given.child)
    result = {"conditions": conditions("msgspec"), **kill_all(given.repetitions), "not_shown": NOT_SHOWN}
    show(result)
    write(result)


def kill_all(repetitions: int) -> dict[str, object]:
    found: dict[str, list[dict]] = {f"{pace}, {delay}": [] for pace in PACES for delay in DELAYS}
    for phase in phases(repetitions):
        for pace, load in PACES.items():
            for delay, seconds in DELAYS.items():
                found[f"{pace}, {delay}"].append(killed({**load, "delay_s": seconds, "phase_s": phase}))
    cases = {name: summary(outcomes) for name, outcomes in found.items()}
    barred = [name for name in cases if not name.startswith(WITHOUT_BAR)]
    later = [name for name in barred if name.endswith("0.25 s later")]
    at_once = [name for name in barred if name.endswith("at once")]
    bars = [target(f"{name}: steps lost, worst", cases[name]["steps_lost"]["max"], 0) for name in later]
    bars += [target(f"{name}: ms lost, p90", cases[name]["ms_lost"]["p90"], INTERVAL_MS) for name in at_once]
    damage = sum(one["damage"] for one in cases.values())
    bars += [target("lines that cannot be read, gaps among the kept steps", damage, 0)]
    return {"cases": cases, "targets": bars}


def phases(repetitions: int) -> list[float]:
    """Seconds to wait before the loop, evenly over one interval of the writer's timer, in an order of chance."""
    evenly = [INTERVAL_MS / 1e3 * (index + 0.5) / repetitions for index in range(repetitions)]
    random.Random(1).shuffle(evenly)
    return evenly


def summary(outcomes: list[dict]) -> dict[str, object]:
    return {
        "repetitions": len(outcomes),
        "steps_logged": outcomes[0]["logged"],
        "steps_lost": spread([[one["lost"] for one in outcomes]]),
        "ms_lost": spread([[one["ms_lost"] for one in outcomes]]),
        "steps_lost_beyond_interval": spread([[one["lost_beyond_interval"] for one in outcomes]]),
        "every_steps_lost": [one["lost"] for one in outcomes],
        "every_ms_lost": [one["ms_lost"] for one in outcomes],
        "torn_tails": sum(one["torn"] > 0 for one in outcomes),
        "damage": sum(one["bad"] + one["gaps"] for one in outcomes),
    }


def killed(load: dict[str, float]) -> dict[str, float]:
    """One child's end, and what its journal kept."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times = folder / "times"
        times.write_bytes(bytes(8 * (int(load["steps"]) + 1)))
        line = [sys.executable, __file__, "--child", json.dumps({**load, "folder": name})]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment())
        if done.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the child was to be killed, but ended with {done.returncode}:\n{done.stderr[-4000:]}")
        called = memoryview(times.read_bytes()).cast("d").tolist()
        return outcome(folder, called)


def outcome(root: Path, times: list[float]) -> dict[str, float]:
    """`times`: when each call of `log` returned, in seconds; the last entry is the moment before the kill."""
    from barograph.journal import TailReader, layout
    from barograph.records import Step

    *called, killed_at = times
    kept: list[int] = []
    bad, torn, more = 0, 0, True
    with TailReader(root, layout.journal_files(root / "run")[0].path) as reader:
        while more:
            batch = reader.read()
            more, bad, torn = batch.more, bad + len(batch.bad), batch.torn
            kept += [entry.record.step for entry in batch.entries if isinstance(entry.record, Step)]
    lost = len(called) - len(kept)
    oldest_lost = called[len(kept)] if lost else called[-1]
    within_interval = len(called) - bisect_right(called, called[-1] - INTERVAL_MS / 1e3)
    return {
        "logged": len(called),
        "lost": lost,
        "ms_lost": 1e3 * (called[-1] - oldest_lost),
        "lost_beyond_interval": max(0, lost - within_interval),
        "killed_after_s": killed_at - called[-1],
        "bad": bad,
        "torn": torn,
        "gaps": int(kept != list(range(len(kept)))),
    }


def log_and_die(*, folder: str, steps: int, pace_s: float, delay_s: float, phase_s: float) -> None:
    """In a child: log, note when each call returned, wait for `delay_s`, and die as no handler can notice."""
    import barograph

    run = barograph.init("bench", run_id="run", dir=folder)
    run.flush()
    with (Path(folder) / "times").open("r+b") as file:
        times = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")
    values = {f"layers.{index // 4}.{index % 4}/grad_norm": 0.1 * index for index in range(SCALARS)}
    time.sleep(phase_s)
    began = time.monotonic()
    for step in range(steps):
        if pace_s:
            time.sleep(max(0.0, began + step * pace_s - time.monotonic()))
        run.log(values, step)
        times[step] = time.monotonic()
    if delay_s:
        time.sleep(delay_s)
    times[steps] = time.monotonic()
    os.kill(os.getpid(), signal.SIGKILL)


def show(result: dict) -> None:
    words = ("median", "p90", "max")
    rows = [
        [
            name,
            one["repetitions"],
            one["steps_logged"],
            *[one["steps_lost"][word] for word in words],
            *[one["ms_lost"][word] for word in words],
            one["steps_lost_beyond_interval"]["max"],
            one["torn_tails"],
        ]
        for name, one in result["cases"].items()
    ]
    header = ["killed", "times", "logged", "steps lost", "p90", "max", "ms lost", "p90", "max", "beyond 50 ms", "torn"]
    table("Lost to SIGKILL (median, p90, max)", header, rows)
    print()


if __name__ == "__main__":
    main()

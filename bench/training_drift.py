"""How long judging a loss curve takes, beside seed 004's code, and how often the verdict is right.

    python bench/training_drift.py [--repetitions N] [--seeds N]

- Logs of 10,000 and of a million steps, as others write them (145 MB, no checksums), are read and judged: the five
  numbers of the seed alone, then everything. Beside them the same log with our checksums, and the seed's algorithm,
  typed out again here in its own order of work: every line through `json`, a Python loop with a median per rise.
  Each is a process of its own, and they alternate; memory is the process's peak.
- `barograph check` on a small log, as a whole process.
- Verdicts under `default` over generated curves of 1,000 steps: healthy ones pass, and what is wrong is named.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from measure import child, conditions, environment, spread, table, target, write

SIZES = {"10,000 steps": 10_000, "1,000,000 steps": 1_000_000}
STEPS = 1_000
NOT_SHOWN = [
    "A cold disk: every log is in the system's page cache.",
    "Logs with many broken lines, which are looked at line by line.",
    "How often the verdict is right on real curves: these are generated.",
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=7)
    arguments.add_argument("--seeds", type=int, default=200)
    arguments.add_argument("--child", type=json.loads)
    given = arguments.parse_args()
    if given.child is not None:
        print(json.dumps(CHILDREN[given.child.pop("what")](**given.child)))
        return
    about = conditions("numpy", "msgspec")
    with tempfile.TemporaryDirectory(prefix="barograph-bench-") as folder:
        times = {name: timed(Path(folder), size, given.repetitions) for name, size in SIZES.items()}
        command = command_times(Path(folder), given.repetitions)
    named = verdicts(given.seeds)
    result = {
        "conditions": about,
        "times": times,
        "check_command_s": command,
        "verdicts": named,
        "targets": targets(times, command, named),
        "not_shown": NOT_SHOWN,
    }
    show(result)
    write(result)


def targets(times: dict, command: dict, named: dict) -> list[dict[str, object]]:
    small, large = times["10,000 steps"], times["1,000,000 steps"]
    return [
        target("10,000 steps, read and judged, s", small["everything_s"]["median"], 0.020),
        target("1,000,000 steps, the seed's five numbers, s", large["five_numbers_s"]["median"], 0.7),
        target("1,000,000 steps, the seed's five numbers, peak MB", large["five_numbers_mb"], 200.0),
        target("`barograph check` on a small log, whole process, s", command["median"], 0.5),
        *(
            target(f"share of curves not judged as they should be: {name}", 1.0 - one["right"], 0.05)
            for name, one in named.items()
        ),
    ]


def timed(folder: Path, size: int, repetitions: int) -> dict[str, object]:
    """Seconds of each way over one log of that size, in processes that alternate."""
    plain, summed = folder / f"{size}.jsonl", folder / f"{size}-summed.jsonl"
    write_logs(size, plain, summed)
    ways = {
        "five_numbers": {"what": "ours", "path": str(plain), "everything": False},
        "everything": {"what": "ours", "path": str(plain), "everything": True},
        "five_numbers_with_checksums": {"what": "ours", "path": str(summed), "everything": False},
        "everything_with_checksums": {"what": "ours", "path": str(summed), "everything": True},
        "seed": {"what": "seed", "path": str(plain)},
    }
    seconds: dict[str, list[list[float]]] = {name: [] for name in ways}
    memory: dict[str, float] = {}
    numbers: dict[str, list[float]] = {}
    for _ in range(repetitions if size < 100_000 else max(3, repetitions // 2)):
        for name, way in ways.items():
            found = child(__file__, dict(way), timeout=300)
            seconds[name].append(found["seconds"])
            memory[name] = max(memory.get(name, 0.0), found["peak_mb"])
            numbers[name] = found["numbers"]
    if numbers["five_numbers"] != numbers["seed"]:
        raise RuntimeError(f"ours {numbers['five_numbers']}, the seed {numbers['seed']}")
    ratio = statistics.median(min(one) for one in seconds["seed"]) / statistics.median(
        min(one) for one in seconds["five_numbers"]
    )
    return {
        "mb": plain.stat().st_size / 1e6,
        "seed_over_five_numbers": ratio,
        **{f"{name}_s": spread(one) for name, one in seconds.items()},
        **{f"{name}_mb": one for name, one in memory.items()},
    }


def write_logs(size: int, plain: Path, summed: Path) -> None:
    """The same curve twice: as others log it, and in our own journal's lines."""
    from barograph.records import Step, codec

    random = np.random.default_rng(0)
    losses = (1.5 + 3.0 * np.exp(-np.arange(size) / (size / 5))) * (1.0 + 0.02 * random.standard_normal(size))
    with plain.open("w") as theirs, summed.open("wb") as ours:
        theirs.write('{"type": "banner"}\n')
        for step, loss in enumerate(losses.tolist()):
            row = {"type": "step", "step": step, "loss": loss, "lr": 1e-4, "grad_norm": 1.234567, "tokens": 123456}
            theirs.write(json.dumps({**row, "timestamp": "2026-01-01T00:00:00.000"}) + "\n")
            ours.write(codec.encode_line(Step(step=step, loss=loss, time=1.0, metrics={"lr": 1e-4, "grad_norm": 1.2})))


def ours(path: str, everything: bool) -> dict[str, object]:
    """Ours over one log: read, joined, and judged; the first time also pays for what is loaded."""
    from barograph.analysis.curve_parts import CurvePart, curve_of
    from barograph.analysis.loss_curve import loss_curve
    from barograph.analysis.training_drift_v1 import training_drift_v1
    from barograph.journal.losses import read_losses
    from barograph.policy import curve_rule, load, training_drift

    policy, place, seconds = load(), Path(path), []
    for _ in range(3):
        began = time.perf_counter()
        found = read_losses(place.parent, place)
        curve = curve_of([CurvePart(attempt=1, steps=found.steps, losses=found.losses)], files=1, averaged=False)
        if everything:
            drift = loss_curve(curve, rule=curve_rule(policy))
            training_drift(drift, policy=policy, now=0.0)
        else:
            drift = training_drift_v1(curve.merged_losses, rolling_window=10, spike_sigma=3.0)
        seconds.append(time.perf_counter() - began)
    names = ("final_loss", "initial_loss", "convergence_ratio", "smoothness", "instability_events")
    return {"seconds": seconds, "peak_mb": peak_mb(), "numbers": [float(getattr(drift, name)) for name in names]}


def seed(path: str) -> dict[str, object]:
    """The seed's order of work, typed out again: all lines into a dict, then a median for every rise."""
    began = time.perf_counter()
    curve: dict[int, float] = {}
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if isinstance(row, dict) and row.get("type") == "step":
                loss = float(row["loss"])
                curve[int(row["step"])] = loss if math.isfinite(loss) else math.inf
    losses = np.array([loss for _, loss in sorted(curve.items())])
    deltas = np.diff(losses)
    sizes = np.abs(deltas)
    events = 0
    for place in range(deltas.size):
        if deltas[place] > 0.0:
            low, high = max(0, place - 5), min(deltas.size, place + 6)
            others = np.ones(high - low, dtype=bool)
            others[place - low] = False
            typical = float(np.median(sizes[low:high][others]))
            events += typical == 0.0 or float(deltas[place]) > 3.0 * typical
    smooth = max(0.0, 1.0 - float(deltas.var()) / float(losses.var()))
    first, last = float(losses[0]), float(losses[-1])
    seconds = [time.perf_counter() - began]
    return {"seconds": seconds, "peak_mb": peak_mb(), "numbers": [last, first, last / first, smooth, float(events)]}


def command_times(folder: Path, repetitions: int) -> dict[str, object]:
    """Whole processes of `barograph check` on a run of 1,000 steps."""
    logs = folder / "small" / "logs"
    logs.mkdir(parents=True)
    write_logs(1_000, folder / "small.jsonl", logs / "train-000001-20260101T000000.jsonl")
    line = [sys.executable, "-m", "barograph", "check", str(folder / "small")]
    seconds = []
    for _ in range(repetitions):
        began = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment())
        seconds.append(time.perf_counter() - began)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
    return spread([seconds])


def verdicts(seeds: int) -> dict[str, dict[str, float]]:
    """Share of generated curves that get the verdict, and the finding, that they should."""
    from barograph.analysis.curve_parts import CurvePart, curve_of
    from barograph.analysis.loss_curve import loss_curve
    from barograph.policy import curve_rule, load, training_drift

    policy = load()
    rule = curve_rule(policy)
    found: dict[str, dict[str, float]] = {}
    for name, (make, word, finding) in CURVES.items():
        right = 0
        for one in range(seeds):
            curve = curve_of(make(one, CurvePart), files=1, averaged=False)
            judged = training_drift(loss_curve(curve, rule=rule), policy=policy, now=0.0)
            named = not finding or finding in [told.name for told in judged.findings]
            right += judged.verdict.verdict == word and named
        found[name] = {"right": right / seeds, "curves": seeds}
    return found


def part(losses: np.ndarray, kind: type) -> list:
    return [kind(attempt=1, steps=np.arange(len(losses)), losses=losses)]


def noisy(shape: np.ndarray, one: int) -> np.ndarray:
    return shape * (1.0 + 0.02 * np.random.default_rng(one).standard_normal(len(shape)))


def exponential(one: int) -> np.ndarray:
    tau = np.random.default_rng(one + 10_000).uniform(50, 400)
    return noisy(1.5 + 3.0 * np.exp(-np.arange(STEPS) / tau), one)


def power_law(one: int) -> np.ndarray:
    power = np.random.default_rng(one + 10_000).uniform(0.2, 0.6)
    return noisy(1.5 + 9.0 * (1.0 + np.arange(STEPS)) ** -power, one)


def diverging(one: int) -> np.ndarray:
    return noisy(1.6 * np.exp(np.clip(np.arange(STEPS) / 500 - 1, 0, None) * math.log(10.4 / 1.6)), one)


def with_change(one: int, factor: float) -> np.ndarray:
    losses = exponential(one)
    losses[np.random.default_rng(one + 20_000).integers(60, STEPS - 1)] *= factor
    return losses


def flat(one: int) -> np.ndarray:
    return np.full(STEPS, 1.0 + one / 100)


def resumed(one: int, kind: type) -> list:
    losses = exponential(one)
    return [
        kind(attempt=1, steps=np.arange(STEPS // 2), losses=losses[: STEPS // 2]),
        kind(attempt=2, steps=np.arange(300, 400), losses=losses[300:400]),
    ]


CURVES = {
    "healthy, exponential": (lambda one, kind: part(exponential(one), kind), "PASS", ""),
    "healthy, power law": (lambda one, kind: part(power_law(one), kind), "PASS", ""),
    "divergence 1.6 -> 10.4": (lambda one, kind: part(diverging(one), kind), "FAIL", "divergence"),
    "one NaN step": (lambda one, kind: part(with_change(one, math.nan), kind), "WARN", "non_finite_loss"),
    "a spike of 1.3": (lambda one, kind: part(with_change(one, 1.3), kind), "WARN", "loss_spike"),
    "dead flat": (lambda one, kind: part(flat(one), kind), "WARN", "flat"),
    "a resume with a ghost tail": (resumed, "PASS", "ghost_tail"),
}
"""What is made, the verdict that it should get, and the finding that should name it."""


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


CHILDREN = {"ours": ours, "seed": seed}


def show(result: dict) -> None:
    words = ("median", "p10", "p90", "min")
    for name, one in result["times"].items():
        rows = [
            [way.removesuffix("_s"), *(spreads[word] for word in words), one[f"{way.removesuffix('_s')}_mb"]]
            for way, spreads in one.items()
            if way.endswith("_s")
        ]
        title = f"{name}, {one['mb']:.3g} MB; the seed takes {one['seed_over_five_numbers']:.3g} times the five numbers"
        table(title, ["seconds", *words, "peak MB"], rows)
    table(
        "Verdicts under default",
        ["curves", "right", "of"],
        [[name, one["right"], one["curves"]] for name, one in result["verdicts"].items()],
    )
    print()


if __name__ == "__main__":
    main()

"""What importing barograph adds to a training script's start, and how long `barograph --help` takes.

    python bench/import_time.py [--repetitions N]

Each figure is from fresh processes that alternate with their baseline. What counts is timed inside the process, after
what a training script has imported anyway; the difference of whole processes is beside it as a check.

`import torch` leaves Python's garbage collector on the brink of its first full collection (about 0.1 s), which then
falls on whoever is imported next. It is timed apart, and the target is on what is left; both are in the table.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import child, conditions, environment, spread, table, target, write

BASES = {
    "python alone": "pass",
    "torch": "import torch",
    "torch, transformers": "import torch, transformers",
}
TRAINER = ("transformers' Trainer", "from transformers import Trainer, TrainingArguments")
TRAINER_REPETITIONS = 3
BAROGRAPH = ("import barograph", "barograph.init")
SHOWN = ("median", "p10", "p90", "min")
NOT_SHOWN = [
    "A first start after an installation: every process finds compiled bytecode and files in the system's cache.",
    "`barograph.init` called: only the name is resolved, which imports what it needs.",
    "A slow or networked file system.",
    "Imports of others that come after ours, each of which passes our import hook where it is installed.",
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=15)
    arguments.add_argument("--child", type=json.loads)
    given = arguments.parse_args()
    if given.child is not None:
        print(json.dumps(timed_imports(**given.child)))
        return
    result = {"conditions": conditions(), **compare(given.repetitions), "not_shown": NOT_SHOWN}
    show(result)
    write(result)


def compare(repetitions: int) -> dict[str, object]:
    imports = {name: extra(base, BAROGRAPH, repetitions) for name, base in BASES.items()}
    name, base = TRAINER
    resolved = ("import barograph", "barograph.init", "barograph.TrainerCallback")
    imports[name] = extra(base, resolved, min(repetitions, TRAINER_REPETITIONS))
    command = help_times(repetitions)
    bars = [
        target(f"import and resolve on top of {name}, ms", imports[name]["without_collection_ms"]["median"], 50.0)
        for name in imports
    ]
    bars += [
        target(f"{name} --help, whole process, ms", one["median"], 250.0)
        for name, one in command.items()
        if one is not None and name != "python -c pass"
    ]
    return {"imports": imports, "help_ms": command, "targets": bars}


def extra(base: str, statements: tuple[str, ...], repetitions: int) -> dict[str, object]:
    """Milliseconds of `statements` after `base` in one process, and how much longer that process takes than without."""
    child(__file__, {"base": base, "statements": statements})  # writes bytecode, warms the system's cache
    found, with_ours, without = [], [], []
    for _ in range(repetitions):
        began = time.perf_counter()
        child(__file__, {"base": base, "statements": []})
        between = time.perf_counter()
        found.append(child(__file__, {"base": base, "statements": statements}))
        without.append(1e3 * (between - began))
        with_ours.append(1e3 * (time.perf_counter() - between))
    differences = [one - other for one, other in zip(with_ours, without, strict=True)]
    return {
        "base": base,
        "base_ms": spread([[one["base_ms"] for one in found]]),
        "ours_ms": spread([[sum(one["statements_ms"]) for one in found]]),
        "without_collection_ms": spread([[sum(one["statements_ms"]) - one["collection_ms"] for one in found]]),
        "collection_ms": spread([[one["collection_ms"] for one in found]]),
        "each_ms": {
            statement: spread([[one["statements_ms"][index] for one in found]])
            for index, statement in enumerate(statements)
        },
        "process_difference_ms": {"median": statistics.median(differences), **spread([differences])},
        "modules_added": found[0]["modules_added"],
        "repetitions": repetitions,
    }


def help_times(repetitions: int) -> dict[str, object]:
    """Wall time of whole processes, in milliseconds; None for a console script that is not installed."""
    script = Path(sys.executable).parent / "barograph"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -m barograph": [sys.executable, "-m", "barograph", "--help"],
    }
    if script.is_file():
        commands["barograph"] = [str(script), "--help"]
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repetitions + 1):
        for name, line in commands.items():
            began = time.perf_counter()
            subprocess.run(line, capture_output=True, check=True, timeout=60, env=environment())
            if number:  # the first one writes bytecode
                taken[name].append(1e3 * (time.perf_counter() - began))
    return {"barograph": None, **{name: spread([values]) for name, values in taken.items()}}


def timed_imports(*, base: str, statements: list[str]) -> dict[str, object]:
    """In a child: milliseconds of `base`, and of each of `statements` after it."""
    names: dict[str, object] = {}
    began = time.perf_counter()
    exec(base, names)
    base_ms = 1e3 * (time.perf_counter() - began)
    before, taken, collection = len(sys.modules), [], FullCollections()
    gc.callbacks.append(collection.update)
    for statement in statements:
        began = time.perf_counter()
        exec(statement, names)
        taken.append(1e3 * (time.perf_counter() - began))
    return {
        "base_ms": base_ms,
        "statements_ms": taken,
        "collection_ms": collection.ms,
        "modules_added": len(sys.modules) - before,
    }


class FullCollections:
    """A running sum of what the garbage collector's full passes took."""

    def __init__(self) -> None:
        self.ms = 0.0
        self._began = 0.0

    def update(self, phase: str, about: dict[str, int]) -> None:
        if about["generation"] == 2 and phase == "start":
            self._began = time.perf_counter()
        elif about["generation"] == 2:
            self.ms += 1e3 * (time.perf_counter() - self._began)


def show(result: dict) -> None:
    rows = []
    for name, one in result["imports"].items():
        rows.append(
            [
                name,
                one["repetitions"],
                one["base_ms"]["median"],
                *[one["without_collection_ms"][word] for word in SHOWN],
                one["ours_ms"]["median"],
                one["process_difference_ms"]["median"],
                one["modules_added"],
            ]
        )
        rows += [
            [f"  {statement}", "", "", "", "", "", "", each["median"], "", ""]
            for statement, each in one["each_ms"].items()
        ]
    header = ["on top of", "times", "base", "ours", *SHOWN[1:], "with full collection", "processes differ", "modules"]
    table("Importing barograph, milliseconds", header, rows)
    rows = [
        [name, *([one[word] for word in SHOWN] if one else ["not installed", "", "", ""])]
        for name, one in result["help_ms"].items()
    ]
    table("--help, whole process, milliseconds", ["command", *SHOWN], rows)
    print()


if __name__ == "__main__":
    main()

"""What one `log` call costs the training loop: in a tight loop beside other trackers, and inside a Trainer's step.

    python bench/log_latency.py [--repetitions N]

Each repetition of each case is a fresh process; the cases alternate. Only the call is timed: the dict is made before.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from measure import child, conditions, percentile, spread, table, target, write

NARROW, WIDE = 12, 200
CALLS = {
    ("barograph", NARROW): 40_000,
    ("barograph", WIDE): 8_000,
    ("trackio", NARROW): 20_000,
    ("trackio", WIDE): 3_000,
    ("tensorboard", NARROW): 2_000,
    ("tensorboard", WIDE): 150,
}
TENSOR = "barograph, one a 0-d tensor"
TRAINER_STEPS = 150
WARM_UP = 20
SHOWN = ("median", "p10", "p90", "p99", "mean", "min")
NOT_SHOWN = [
    "Trackers over a network or with their servers: all three write local files here.",
    "A GPU: a tensor there costs an asynchronous copy on the device, which this machine cannot show.",
    "Logging from several threads at once.",
    "Cold caches in the tight loop; the Trainer's step shows them, and `an empty call` there what they cost anyone.",
    "Other trackers inside the Trainer's step.",
    "Waits for the interpreter's lock outside of the timed calls; the writer's CPU share of wall time bounds them.",
    "The function that stands around training_step between two hooks: one Python call, about 0.1 us.",
]

Log = Callable[[dict[str, float], int], object]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=5)
    arguments.add_argument("--child", type=json.loads)
    given = arguments.parse_args()
    if given.child is not None:
        measured = in_trainer() if given.child["tool"] == "trainer" else tight_loop(**given.child)
        print("\n" + json.dumps(measured))
        return
    result = {"conditions": conditions(), **compare(given.repetitions), "not_shown": NOT_SHOWN}
    show(result)
    write(result)


def compare(repetitions: int) -> dict[str, object]:
    cases = [*CALLS, (TENSOR, NARROW)]
    found: dict[tuple[str, int], list[dict]] = {case: [] for case in cases}
    trained: list[dict] = []
    for number in range(repetitions):
        turned = number % len(cases)
        for tool, width in cases[turned:] + cases[:turned]:
            found[tool, width].append(child(__file__, {"tool": tool, "width": width}))
        trained.append(child(__file__, {"tool": "trainer"}))
    loop = {f"{tool}, {width}": tight_loop_summary(found[tool, width]) for tool, width in cases}
    trainer = trainer_summary(trained)
    ratios = {
        f"{tool}, {width}": loop[f"{tool}, {width}"]["call_us"]["median"]
        / loop[f"barograph, {width}"]["call_us"]["median"]
        for tool, width in CALLS
        if tool != "barograph"
    }
    bars = [
        target("12 scalars, tight loop, median us", loop[f"barograph, {NARROW}"]["call_us"]["median"], 1.5),
        target("200 scalars, tight loop, median us", loop[f"barograph, {WIDE}"]["call_us"]["median"], 8.0),
        target("12 scalars in a Trainer's step, median us", trainer["log_us"][str(NARROW)]["median"], 10.0),
        target("200 scalars in a Trainer's step, median us", trainer["log_us"][str(WIDE)]["median"], 20.0),
    ]
    return {"tight_loop": loop, "times_barograph": ratios, "trainer": trainer, "targets": bars}


def tight_loop_summary(found: list[dict]) -> dict[str, object]:
    return {
        "call_us": {
            **spread([one["call_us"] for one in found]),
            "mean": statistics.median([one["mean_us"] for one in found]),
            "values_per_repetition": found[0]["calls"],
        },
        "close_s": spread([[one["close_s"] for one in found]]),
        "calls": found[0]["calls"],
        "scalars_stored": [one["stored"] for one in found],
        "scalars_logged": found[0]["logged"],
        "empty_timer_us": statistics.median([one["empty_timer_us"] for one in found]),
    }


def trainer_summary(found: list[dict]) -> dict[str, object]:
    modes = found[0]["modes"]
    hooks = sorted({name for one in found for name in one["modes"]["callback only"]["hooks_us"]})
    only = [one["modes"]["callback only"] for one in found]
    return {
        "model": found[0]["model"],
        "step_ms": {mode: spread([one["modes"][mode]["step_ms"] for one in found]) for mode in modes},
        "log_us": {
            str(width): spread([one["modes"][f"log {width}"]["log_us"] for one in found]) for width in (NARROW, WIDE)
        },
        "empty_call_us": spread([one["log_us"] for one in only]),
        "hooks_us_per_step": spread([one["hooks_us_per_step"] for one in only]),
        "hooks_us_each": {
            name: spread([one["hooks_us"][name] for one in only if name in one["hooks_us"]]) for name in hooks
        },
        "hooks_share_of_step_percent": {
            "of_medians": statistics.median(
                [statistics.median(one["hooks_us_per_step"]) / 10 / statistics.median(one["step_ms"]) for one in only]
            ),
            "of_sums": statistics.median([sum(one["hooks_us_per_step"]) / 10 / sum(one["step_ms"]) for one in only]),
        },
        "writer_cpu_percent_of_wall": {
            mode: spread([[one["modes"][mode]["writer_cpu_percent"] for one in found]]) for mode in modes
        },
        "empty_timer_us": statistics.median([one["empty_timer_us"] for one in found]),
    }


def show(result: dict) -> None:
    rows = [
        [
            name,
            *[one["call_us"][word] for word in SHOWN],
            one["close_s"]["median"],
            result["times_barograph"].get(name, ""),
        ]
        for name, one in result["tight_loop"].items()
    ]
    table("Tight loop, microseconds a call", ["tracker, scalars", *SHOWN, "close s", "x ours"], rows)
    trainer = result["trainer"]
    rows = [[f"run.log of {width}", *[one[word] for word in SHOWN]] for width, one in trainer["log_us"].items()]
    rows += [["an empty call", *[trainer["empty_call_us"][word] for word in SHOWN]]]
    rows += [["all our hooks in a step", *[trainer["hooks_us_per_step"][word] for word in SHOWN]]]
    rows += [[f"  {name}", *[one[word] for word in SHOWN]] for name, one in trainer["hooks_us_each"].items()]
    table("Inside a Trainer's step, microseconds", ["what", *SHOWN], rows)
    rows = [
        [mode, trainer["step_ms"][mode]["median"], share["median"]]
        for mode, share in trainer["writer_cpu_percent_of_wall"].items()
    ]
    table("The writer's thread", ["mode", "step ms", "CPU % of wall"], rows)
    share = trainer["hooks_share_of_step_percent"]
    print(f"\n  our hooks: {share['of_medians']:.2f} % of the step by medians, {share['of_sums']:.2f} % by sums\n")


def tight_loop(tool: str, width: int) -> dict[str, object]:
    """In a child: log as fast as it goes, dict made outside of the timed part, then close and count what was stored."""
    tensor = tool == TENSOR
    calls = CALLS["barograph" if tensor else tool, width]
    names = [f"layers.{index // 4}.{index % 4}/grad_norm" for index in range(width)]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        log, close, stored = OPEN["barograph" if tensor else tool](Path(folder))
        call_us = timed_calls(log, names, calls=calls + WARM_UP, tensor=tensor)[WARM_UP:]
        began = time.perf_counter()
        close()
        close_s = time.perf_counter() - began
        return {
            "call_us": quantiles(call_us),
            "mean_us": statistics.fmean(call_us),
            "close_s": close_s,
            "calls": calls,
            "logged": (calls + WARM_UP) * width,
            "stored": stored(),
            "empty_timer_us": empty_timer_us(),
        }


def timed_calls(log: Log, names: list[str], *, calls: int, tensor: bool) -> list[float]:
    scalar = None
    if tensor:
        import torch

        scalar = torch.tensor(0.5)
    clock, taken = time.perf_counter_ns, []
    for step in range(calls):
        values = {name: 0.1 * index + step for index, name in enumerate(names)}
        if scalar is not None:
            values[names[0]] = scalar
        began = clock()
        log(values, step)
        taken.append((clock() - began) / 1e3)
    return taken


def quantiles(values: list[float], *, most: int = 2_001) -> list[float]:
    """At most `most` evenly spaced order statistics: what a spread but its mean needs, without forty thousand numbers
    of JSON. The extremes are among them."""
    if len(values) <= most:
        return values
    ordered = sorted(values)
    return [ordered[round(index * (len(ordered) - 1) / (most - 1))] for index in range(most)]


def empty_timer_us() -> float:
    """Median of what is measured when nothing is: it is in every figure, not subtracted."""
    clock = time.perf_counter_ns
    taken = []
    for _ in range(20_000):
        began = clock()
        taken.append((clock() - began) / 1e3)
    return percentile(sorted(taken), 0.5)


def open_barograph(folder: Path) -> tuple[Log, Callable[[], object], Callable[[], int]]:
    import barograph
    from barograph.journal import TailReader, layout, metrics_of
    from barograph.records import Columns, Step

    run = barograph.init("bench", dir=folder)
    run.flush()

    def stored() -> int:
        headers: dict[str, list[str]] = {}
        count, more = 0, True
        with TailReader(folder, layout.journal_files(run.directory)[0].path) as reader:
            while more:
                batch = reader.read()
                more = batch.more
                for entry in batch.entries:
                    if isinstance(entry.record, Columns):
                        headers[entry.record.id] = entry.record.names
                    elif isinstance(entry.record, Step):
                        count += len(metrics_of(entry.record, headers))
        return count

    return run.log, run.finish, stored


def open_trackio(folder: Path) -> tuple[Log, Callable[[], object], Callable[[], int]]:
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    run = trackio.init("bench", name="one", embed=False, auto_log_gpu=False, auto_log_cpu=False)

    def stored() -> int:
        with contextlib.closing(sqlite3.connect(next(folder.glob("*.db")))) as database:
            rows = database.execute("SELECT metrics FROM metrics").fetchall()
        return sum(len(json.loads(row[0])) for row in rows)

    return run.log, trackio.finish, stored


def open_tensorboard(folder: Path) -> tuple[Log, Callable[[], object], Callable[[], int]]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def stored() -> int:
        return sum(len(list(RawEventFileLoader(str(path)).Load())) - 1 for path in folder.glob("events*"))

    return log, writer.close, stored


OPEN = {"barograph": open_barograph, "trackio": open_trackio, "tensorboard": open_tensorboard}


def in_trainer() -> dict[str, object]:
    """In a child: three trainings of a small model; ours alone, and with a user's callback that logs 12 or 200."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    modes = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        for mode, width in (("callback only", 0), (f"log {NARROW}", NARROW), (f"log {WIDE}", WIDE)):
            modes[mode] = one_training(Path(folder) / mode.replace(" ", "-"), width)
    model = "Qwen3, 4 layers of width 128, 4 x 32 tokens, float32 on one CPU thread; logging_steps=1"
    return {"modes": modes, "model": model, "empty_timer_us": empty_timer_us()}


def one_training(folder: Path, width: int) -> dict[str, object]:
    import torch
    import transformers

    import barograph

    timers = Timers()

    class Timed(barograph.TrainerCallback):
        """Ours, with a timer around each hook and around what `training_step` makes it do."""

        def _guarded(self, collector: str, act: Callable[..., None], *given: object) -> float:
            return timers.around("training_step", super()._guarded, collector, act, *given)

    for name in [name for name in dir(transformers.TrainerCallback) if name.startswith("on_")]:
        setattr(Timed, name, timed_hook(timers, name, getattr(barograph.TrainerCallback, name)))

    ours = Timed(dir=folder)
    names = [f"layers.{index // 4}.{index % 4}/grad_norm" for index in range(width or NARROW)]
    log_us: list[float] = []
    marks: list[float] = []
    cpu: list[float] = []

    class User(transformers.TrainerCallback):
        """A user's callback: logs inside the step, and marks where steps begin."""

        def on_step_begin(self, args: object, state: object, control: object, **others: object) -> None:
            marks.append(time.perf_counter())
            cpu.append(cpu_of(ours.run.writer._thread))
            timers.next_step()

        def on_step_end(self, args: object, state: object, control: object, **others: object) -> None:
            values = {name: 0.1 * index + state.global_step for index, name in enumerate(names)}
            log = ours.run.log if width else nothing
            began = time.perf_counter_ns()
            log(values, state.global_step)
            log_us.append((time.perf_counter_ns() - began) / 1e3)

    trainer(folder, [ours, User()], torch, transformers).train()
    hooks_us, per_step = timers.results(WARM_UP)
    return {
        "log_us": log_us[WARM_UP:],
        "step_ms": [1e3 * (after - before) for before, after in pairwise(marks[WARM_UP:])],
        "hooks_us": hooks_us,
        "hooks_us_per_step": per_step,
        "writer_cpu_percent": 100 * (cpu[-1] - cpu[WARM_UP]) / (marks[-1] - marks[WARM_UP]),
    }


def nothing(values: dict[str, float], step: int) -> None:
    """What a `log` that does nothing costs at the same place: the floor of every figure there."""


class Timers:
    """A running sum of what was spent in our hooks, by hook and step; nested hooks count once, for the outermost."""

    def __init__(self) -> None:
        self._inside = False
        self._steps: list[dict[str, float]] = []

    def next_step(self) -> None:
        self._steps.append({})

    def around(self, name: str, act: Callable[..., object], *given: object, **named: object) -> object:
        if self._inside or not self._steps:
            return act(*given, **named)
        self._inside = True
        began = time.perf_counter_ns()
        try:
            return act(*given, **named)
        finally:
            taken = (time.perf_counter_ns() - began) / 1e3
            self._inside = False
            self._steps[-1][name] = self._steps[-1].get(name, 0.0) + taken

    def results(self, skip: int) -> tuple[dict[str, list[float]], list[float]]:
        """Microseconds of each hook, and of all together, one value per step; the last step's end is no step's."""
        kept = self._steps[skip:-1]
        names = {name for step in kept for name in step}
        by_hook = {name: [step[name] for step in kept if name in step] for name in names}
        return by_hook, [sum(step.values()) for step in kept]


def timed_hook(timers: Timers, name: str, hook: Callable[..., object]) -> Callable[..., object]:
    def timed(self: object, *given: object, **named: object) -> object:
        return timers.around(name, hook, self, *given, **named)

    return timed


def trainer(folder: Path, callbacks: list, torch: object, transformers: object) -> object:
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=64,
    )
    rows = torch.randint(0, 512, (64, 32))
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=TRAINER_STEPS,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    return transformers.Trainer(
        model=transformers.Qwen3ForCausalLM(config),
        args=arguments,
        callbacks=callbacks,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
    )


def cpu_of(thread: threading.Thread) -> float:
    """Seconds of CPU time that `thread` has used."""
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


if __name__ == "__main__":
    main()

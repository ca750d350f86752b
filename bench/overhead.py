"""What everything together costs a training: hooks and threads as a share of wall time, and pairs with and without.

    python bench/overhead.py [--pairs N] [--steps N] [--smollm2] [--repetitions N]

Each model is one process, at one thread of arithmetic. In it the same training is begun again and again from the same
weights and batches, in turn with and without the callback, so that a busy minute meets both; the losses of each pair
must be the same, bit for bit. Hooks are timed from outside: each method that transformers calls, and each that stands
in the trainer's own. Threads are what the kernel says that they used of the processor.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import child, conditions, percentile, spread, table, target, write

TENSORS = 392
"""LoRA on the seven linear layers of 28 blocks, A and B: 392 tensors."""

VALUES = 200
NOT_SHOWN = [
    "Several processes that train together, sharded or not.",
    "Disks and networks that are slow: the file lies on this machine's disk.",
    "The share of a run of hours: hooks and threads cost the same, their beginning is spread over more.",
    "Time that our threads hold the interpreter's lock while the training waits for it: only the pairs have it.",
]

Measured = dict[str, object]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pairs", type=int, default=20)
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--smollm2", action="store_true", help="LoRA of SmolLM2-135M beside the demo's model")
    arguments.add_argument("--repetitions", type=int, default=5)
    arguments.add_argument("--child", type=json.loads)
    given = arguments.parse_args()
    if given.child is not None:
        measured = CHILDREN[given.child["what"]](**given.child["with"])
        print("\n" + json.dumps(measured))
        return
    result: Measured = {"conditions": conditions("torch", "transformers", "peft", "numpy", "msgspec", "tensorboard")}
    result["norms"] = norms_summary([asked("norms", {}) for _ in range(given.repetitions)])
    result["log_200"] = {
        tool: spread([asked("log", {"tool": tool})["call_us"] for _ in range(given.repetitions)])
        for tool in ("barograph", "tensorboard")
    }
    result["trainings"] = {
        "demo": training_summary(asked("train", {"model": "demo", "pairs": given.pairs, "steps": given.steps}))
    }
    if given.smollm2:
        found = asked("train", {"model": "smollm2", "pairs": given.pairs, "steps": 4})
        result["trainings"]["smollm2"] = training_summary(found)
    result["targets"] = targets(result)
    result["not_shown"] = NOT_SHOWN
    show(result)
    write(result)


def asked(what: str, given: Measured) -> Measured:
    return child(__file__, {"what": what, "with": given}, timeout=3600.0)


def targets(result: Measured) -> list[Measured]:
    found = [
        target("norms of 392 LoRA tensors, times one bare _foreach_norm", result["norms"]["ratio"]["median"], 1.3),
        target("200 layer values logged, caller's median us", result["log_200"]["barograph"]["median"], 10.0),
    ]
    for model, one in result["trainings"].items():
        found.append(target(f"{model}: hooks and threads, percent of wall", one["overhead_percent"]["total"], 1.0))
        found.append(target(f"{model}: pairs whose losses differ", one["pairs_that_differ"], 0.0))
    return found


def norms_summary(found: list[Measured]) -> Measured:
    return {
        "tensors": TENSORS,
        "bare_us": spread([one["bare_us"] for one in found]),
        "ours_us": spread([one["ours_us"] for one in found]),
        "ratio": spread([one["ratios"] for one in found]),
        "whole_collection_us": spread([one["whole_us"] for one in found]),
    }


def training_summary(found: Measured) -> Measured:
    differences = sorted(found["slower_percent"])
    return {
        "model": found["model"],
        "step_ms": spread([found["step_ms"]]),
        "overhead_percent": found["overhead_percent"],
        "layer_collections": found["collections"],
        "pairs": len(differences),
        "pairs_that_differ": found["pairs_that_differ"],
        "slower_percent": {
            "median": statistics.median(differences),
            "interval_95": interval(differences),
            "each": differences,
        },
    }


def interval(values: list[float], *, draws: int = 10_000) -> list[float]:
    """Of the median, by 10,000 draws of as many pairs with replacement (percentile bootstrap)."""
    generator = random.Random(7)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return [percentile(medians, 0.025), percentile(medians, 0.975)]


def show(result: Measured) -> None:
    rows = [[name, one["median"], one["p10"], one["p90"]] for name, one in result["norms"].items() if name != "tensors"]
    rows += [[f"log 200, {tool}, us", one["median"], one["p10"], one["p90"]] for tool, one in result["log_200"].items()]
    table("Norms and values", ["", "median", "p10", "p90"], rows)
    rows = [
        [
            name,
            one["step_ms"]["median"],
            one["overhead_percent"]["hooks"],
            one["overhead_percent"]["threads"],
            one["slower_percent"]["median"],
            "{:.2f} to {:.2f}".format(*one["slower_percent"]["interval_95"]),
        ]
        for name, one in result["trainings"].items()
    ]
    table("Trainings", ["", "step ms", "hooks %", "threads %", "slower %", "95 % interval"], rows)


def norms() -> Measured:
    """In a child: ours and the bare call in turn."""
    import torch

    from barograph.collect.gradients import LayerGradients
    from barograph.collect.layer_columns import columns

    torch.set_num_threads(1)
    model = lora_like(torch)
    layers = LayerGradients(columns(model))
    gradients = [one.grad for one in model.parameters()]
    bare, ours, whole = [], [], []
    for number in range(230):
        for act, taken in turned(number, (lambda: torch._foreach_norm(gradients), bare), (layers.take, ours)):
            began = time.perf_counter()
            act()
            taken.append((time.perf_counter() - began) * 1e6)
        began = time.perf_counter()
        layers.take()
        layers.before_step()
        layers.after_step()
        whole.append((time.perf_counter() - began) * 1e6)
    bare, ours, whole = bare[30:], ours[30:], whole[30:]
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    return {"bare_us": bare, "ours_us": ours, "ratios": ratios, "whole_us": whole}


def turned(
    number: int, *cases: tuple[Callable[[], object], list[float]]
) -> tuple[tuple[Callable[[], object], list[float]], ...]:
    return cases if number % 2 else cases[::-1]


def lora_like(torch: object, width: int = 576, rank: int = 8) -> object:
    """A module with the names and shapes of adapters, and gradients."""
    model = torch.nn.Module()
    for number in range(TENSORS // 2):
        adapter = torch.nn.Module()
        adapter.lora_A = torch.nn.ParameterDict({"default": torch.randn(rank, width)})
        adapter.lora_B = torch.nn.ParameterDict({"default": torch.randn(width, rank)})
        model.add_module(f"q{number}", adapter)
    for one in model.parameters():
        one.grad = torch.randn_like(one)
    return model


def log(tool: str) -> Measured:
    """In a child: one call with 200 values, a step of two milliseconds apart."""
    names = [f"layers/model.layers.{number // 8}.m{number % 8}/gradient_norm" for number in range(VALUES)]
    values = {name: float(number) for number, name in enumerate(names)}
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        if tool == "barograph":
            import barograph

            run = barograph.init("bench", dir=folder)
            call, close = run.log, run.finish
        else:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(folder)

            def call(values: dict[str, float], step: int) -> None:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)

            close = writer.close
        for step in range(300):
            began = time.perf_counter()
            call(values, step)
            taken.append((time.perf_counter() - began) * 1e6)
            time.sleep(0.002)
        close()
    return {"call_us": taken[20:]}


def train(model: str, pairs: int, steps: int) -> Measured:
    """In a child: pairs of trainings, and one longer one whose hooks and threads are timed."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    begin = {"demo": demo_training, "smollm2": smollm2_training}[model](steps)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        begin(None, steps)
        slower, differ, step_ms = [], 0, []
        for number in range(pairs):
            seconds, losses = {}, {}
            for ours in (True, False) if number % 2 else (False, True):
                root = Path(folder) / f"{number}-{ours}" if ours else None
                seconds[ours], losses[ours] = begin(root, steps)
            slower.append(100.0 * (statistics.median(seconds[True]) / statistics.median(seconds[False]) - 1.0))
            step_ms += [one * 1e3 for one in seconds[False]]
            differ += losses[True] != losses[False]
        with timed() as spent:
            seconds, _ = begin(Path(folder) / "long", max(10, 8 * steps))
        wall = sum(seconds)
        collections = spent["collections"]
        hooks, threads = 100.0 * spent["hooks_s"] / wall, 100.0 * spent["threads_s"] / wall
    return {
        "model": begin.__doc__,
        "slower_percent": slower,
        "pairs_that_differ": differ,
        "step_ms": step_ms,
        "overhead_percent": {"hooks": hooks, "threads": threads, "total": hooks + threads, "wall_s": wall},
        "collections": collections,
    }


def demo_training(steps: int) -> Callable[[Path | None, int], tuple[list[float], list[float]]]:
    from barograph.train.mixture import DEMO
    from barograph.train.student import small_student

    student = small_student(DEMO, seed=1)

    def begin(root: Path | None, count: int) -> tuple[list[float], list[float]]:
        """The demo's Qwen3 of 0.9 M parameters, 32 examples a step, all weights, one CPU thread."""
        return one_training(student, DEMO, root, count)

    return begin


def smollm2_training(steps: int) -> Callable[[Path | None, int], tuple[list[float], list[float]]]:
    from barograph.train.mixture import DEMO
    from barograph.train.smollm2 import smollm2
    from barograph.train.student import Lora, pretrained_student

    student = pretrained_student(smollm2(lambda stage: None), lora=Lora(), seed=1)

    def begin(root: Path | None, count: int) -> tuple[list[float], list[float]]:
        """SmolLM2-135M with LoRA of rank 8 on all linear layers, 8 examples a step, float32, one CPU thread."""
        return one_training(student, DEMO, root, count)

    return begin


def one_training(student: object, mixture: object, root: Path | None, steps: int) -> tuple[list[float], list[float]]:
    """Seconds and losses of each step, from the weights that the student has now; it keeps them."""
    import torch
    from transformers import PrinterCallback, TrainerCallback, TrainingArguments

    import barograph
    from barograph.train.dataset import TaskDataset
    from barograph.train.sft import InOrderTrainer

    kept = {name: one.detach().clone() for name, one in student.model.state_dict().items()}
    seconds: list[float] = []

    class Clock(TrainerCallback):
        """From the begin of one step to that of the next."""

        began = 0.0

        def on_step_begin(self, *_: object, **__: object) -> None:
            now = time.perf_counter()
            if self.began:
                seconds.append(now - self.began)
            self.began = now

        def on_train_end(self, *_: object, **__: object) -> None:
            seconds.append(time.perf_counter() - self.began)

    with tempfile.TemporaryDirectory() as output:
        torch.manual_seed(3)
        arguments = TrainingArguments(
            output_dir=output,
            max_steps=steps,
            per_device_train_batch_size=student.batch,
            learning_rate=1e-4,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
        )
        callbacks = [Clock()] if root is None else [Clock(), barograph.TrainerCallback(dir=root)]
        trainer = InOrderTrainer(
            model=student.model,
            args=arguments,
            train_dataset=TaskDataset(student.tokenizer, mixture, seed=5, length=4096, block=student.block),
            data_collator=student.collator,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    student.model.load_state_dict(kept)
    return seconds, losses


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Times each hook of ours and each method that stands in the trainer's, from outside, and our threads."""
    import barograph
    from barograph.collect.gradients import LayerGradients
    from barograph.collect.stand_in import StandIn
    from barograph.collect.token_statistics import TokenSampler

    spent = {"hooks_s": 0.0, "threads_s": 0.0, "collections": 0.0}
    depth = threading.local()

    def wrapped(act: Callable[..., object]) -> Callable[..., object]:
        def timer(*given: object, **named: object) -> object:
            if getattr(depth, "inside", False):
                return act(*given, **named)
            depth.inside = True
            began = time.perf_counter()
            try:
                return act(*given, **named)
            finally:
                spent["hooks_s"] += time.perf_counter() - began
                depth.inside = False

        return timer

    kind = barograph.TrainerCallback
    outside = {"on_train_begin", "on_train_end", "on_init_end"}
    before = {name: getattr(kind, name) for name in vars(kind) if name.startswith("on_") and name not in outside}
    stand_in, look, take, end = StandIn.__init__, TokenSampler._look, LayerGradients.take, kind.on_train_end

    def construct(
        self: StandIn, owner: object, name: str, *, failed: object, before: object = None, after: object = None
    ) -> None:
        stand_in(
            self,
            owner,
            name,
            failed=failed,
            before=None if before is None else wrapped(before),
            after=None if after is None else wrapped(after),
        )

    def counted(self: LayerGradients, *given: object, **named: object) -> None:
        spent["collections"] += 1
        take(self, *given, **named)

    def ends(self: object, *given: object, **named: object) -> None:
        spent["threads_s"] = threads_s()
        end(self, *given, **named)

    for name, act in before.items():
        setattr(kind, name, wrapped(act))
    StandIn.__init__, TokenSampler._look, LayerGradients.take, kind.on_train_end = (
        construct,
        wrapped(look),
        counted,
        ends,
    )
    try:
        yield spent
    finally:
        for name, act in before.items():
            setattr(kind, name, act)
        StandIn.__init__, TokenSampler._look, LayerGradients.take, kind.on_train_end = stand_in, look, take, end


def threads_s() -> float:
    """Processor seconds of our threads that live now, by the kernel."""
    found = 0
    for one in threading.enumerate():
        if one.name.startswith("barograph"):
            found += int(Path(f"/proc/self/task/{one.native_id}/schedstat").read_text().split()[0])
    return found / 1e9


CHILDREN = {"norms": norms, "log": log, "train": train}

if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()

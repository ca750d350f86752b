"""In a real Trainer: norms before clipping, adapters, tokens, times, alerts, the batch that did it, and the stop."""

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch.utils.data import SequentialSampler
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainerState, TrainingArguments

import barograph
from barograph.analysis.layer_activity import layer_of
from barograph.collect.run import Run
from barograph.errors import PolicyError, UsageError
from barograph.journal import TailReader, layout
from barograph.journal.wide_rows import metrics_of
from barograph.records import (
    Alert,
    Batch,
    Collector,
    CollectorFailed,
    Columns,
    Hardware,
    Record,
    RunComplete,
    Signals,
    Step,
)

Example = dict[str, torch.Tensor]
Kind = TypeVar("Kind")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny_model(layers: int = 2) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config)


def examples(count: int = 24) -> list[Example]:
    tokens = torch.randint(3, 32, (count, 8), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row.clone(), "attention_mask": torch.ones_like(row)} for row in tokens]


class Ordered(Trainer):  # type: ignore[misc]  # transformers is not typed
    """A Trainer that takes the examples in their order."""

    def _get_train_sampler(self, *_: object) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def trainer_of(
    folder: Path, *callbacks: object, kind: type[Trainer] = Ordered, model: object = None, **changes: object
) -> Trainer:
    settings: dict[str, object] = {
        "output_dir": str(folder / "out"),
        "max_steps": 6,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
    }
    return kind(
        model=tiny_model() if model is None else model,
        args=TrainingArguments(**{**settings, **changes}),
        train_dataset=examples(),
        callbacks=list(callbacks),
    )


def records(root: Path) -> list[Record]:
    found: list[Record] = []
    for run in layout.run_directories(root):
        for file in layout.journal_files(run):
            with TailReader(run, file.path) as reader:
                batch = reader.read(1 << 30)
            assert (batch.bad, batch.torn) == ([], 0)
            found += [entry.record for entry in batch.entries]  # type: ignore[misc]  # all of known kinds
    return found


def of_kind(kind: type[Kind], root: Path) -> list[Kind]:
    return [one for one in records(root) if isinstance(one, kind)]


def rows(root: Path) -> list[tuple[int, float | None, dict[str, float]]]:
    """Step, loss and metrics of every step line, wide ones with their names."""
    found, headers = [], {}
    for one in records(root):
        if isinstance(one, Columns):
            headers[one.id] = one.names
        elif isinstance(one, Step):
            found.append((one.step, one.loss, metrics_of(one, headers)))
    return found


def losses(root: Path) -> list[tuple[int, float]]:
    return [(step, loss) for step, loss, _ in rows(root) if loss is not None]


def series(root: Path, name: str) -> dict[int, float]:
    return {step: metrics[name] for step, _, metrics in rows(root) if name in metrics}


def logged(trainer: Trainer) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in trainer.state.log_history if "loss" in row]


class EveryStep(barograph.TrainerCallback):
    """Measures at every step, whatever it costs."""

    def on_step_begin(self, *_: object, **__: object) -> None:
        assert self.run is not None
        self.run.budget._cost.clear()


class Witness(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Takes the norms that it can see: after clipping."""

    def __init__(self) -> None:
        self.norms: list[dict[str, float]] = []
        self.before: list[dict[str, torch.Tensor]] = []
        self.updates: list[dict[str, float]] = []

    def on_pre_optimizer_step(self, *_: object, model: torch.nn.Module, **__: object) -> None:
        named = dict(model.named_parameters())
        self.norms.append({name: float(one.grad.norm()) for name, one in named.items() if one.grad is not None})
        self.before.append({name: one.detach().clone() for name, one in named.items()})

    def on_optimizer_step(self, *_: object, model: torch.nn.Module, **__: object) -> None:
        before = self.before[-1]
        self.updates.append(
            {name: float((one.detach() - before[name]).norm()) for name, one in model.named_parameters()}
        )


def together(norms: dict[str, float], prefix: str) -> float:
    return math.sqrt(sum(norm**2 for name, norm in norms.items() if name.startswith(prefix)))


def test_norms_of_blocks_are_those_before_clipping_and_the_factor_is_recorded(tmp_path: Path) -> None:
    witness = Witness()
    callbacks = EveryStep(dir=tmp_path / "runs"), witness
    trainer = trainer_of(tmp_path, *callbacks, max_grad_norm=0.1)
    trainer.train()
    root = tmp_path / "runs"
    total, factor = series(root, "train/gradient_norm"), series(root, "train/clip_factor")
    assert list(total) == list(factor) == [1, 2, 3, 4, 5, 6]
    told = {row["step"]: row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row}
    assert total == pytest.approx(told)
    for step in range(1, 7):
        assert factor[step] == pytest.approx(0.1 / (total[step] + 1e-6))
        for block in ("model.layers.0", "model.layers.1", "lm_head"):
            gradient = series(root, f"layers/{block}/gradient_norm")
            update = series(root, f"layers/{block}/update_norm")
            clipped = together(witness.norms[step - 1], f"{block}.")
            assert gradient[step] * factor[step] == pytest.approx(clipped, rel=1e-4)
            assert update[step] == pytest.approx(together(witness.updates[step - 1], f"{block}."), rel=1e-4)
            weight = witness.before[step - 1]
            expected = math.sqrt(
                sum(float(one.norm()) ** 2 for name, one in weight.items() if name.startswith(f"{block}."))
            )
            assert series(root, f"layers/{block}/weight_norm")[step] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_without_clipping_the_norms_are_the_same_and_no_factor_is_told(tmp_path: Path, accumulation: int) -> None:
    witness = Witness()
    callbacks = EveryStep(dir=tmp_path / "runs"), witness
    trainer_of(tmp_path, *callbacks, max_grad_norm=0.0, max_steps=3, gradient_accumulation_steps=accumulation).train()
    found = series(tmp_path / "runs", "layers/model.layers.0/gradient_norm")
    assert found == pytest.approx({n + 1: together(witness.norms[n], "model.layers.0.") for n in range(3)}, rel=1e-5)
    assert series(tmp_path / "runs", "train/clip_factor") == {}
    tokens = series(tmp_path / "runs", "throughput/tokens")
    assert tokens == dict.fromkeys((1, 2, 3), 16.0 * accumulation)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_one_module_with_two_parts_and_a_zero_b_is_not_dead(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"), model=model).train()
    root = tmp_path / "runs"
    found = {layer_of(name) for _, _, metrics in rows(root) for name in metrics if name.startswith("layers/")}
    parts = {(one.name.module, one.name.part) for one in found if one is not None}
    modules = {f"model.layers.{block}.self_attn.{name}_proj" for block in (0, 1) for name in "qv"}
    assert parts == {(module, part) for module in modules for part in "AB"}
    first = "layers/model.layers.0.self_attn.q_proj"
    assert series(root, f"{first}/A/gradient_norm")[1] == 0.0, "the gradient of A is zero as long as B is"
    assert series(root, f"{first}/B/gradient_norm")[1] > 0.0
    assert series(root, f"{first}/B/weight_norm")[1] == 0.0
    assert series(root, f"{first}/A/gradient_norm")[6] > 0.0
    assert not [one for one in of_kind(Alert, root) if one.condition == "dead_layers"]
    (run,) = layout.run_directories(root)
    document = json.loads((run / "status" / "training_status.json").read_bytes())
    assert document["status"] == "completed"
    assert document["lora_summary"]["total_layers"] == 4
    assert document["lora_summary"]["kind"] == "lora"
    assert set(document["lora_stats"]) == modules


def test_tokens_times_and_statistics_of_every_step_are_recorded(tmp_path: Path) -> None:
    trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"), gradient_accumulation_steps=2).train()
    root = tmp_path / "runs"
    steps = list(range(1, 7))
    assert list(series(root, "throughput/tokens").values()) == [32.0] * 6
    for part in ("step", "data_wait", "forward_backward"):
        assert list(series(root, f"throughput/{part}_seconds")) == steps
    assert list(series(root, "throughput/optimizer_seconds")) == steps[1:], "that of the step before"
    entropy, top1 = series(root, "train/token_entropy"), series(root, "train/top1_probability")
    assert list(entropy) == list(top1) == steps
    assert all(0.0 < one < math.log(32) + 1e-3 for one in entropy.values())
    last = of_kind(Signals, root)[-1]
    assert last.step == 6
    assert last.token_entropy == entropy[6]
    assert last.gradient_norm is not None
    assert last.tokens_per_sec_avg is not None
    assert last.overhead_share is not None
    assert {one.name for one in of_kind(Collector, root) if one.running} >= {
        "raw_loss",
        "layers",
        "gradient_norm",
        "step_times",
        "token_statistics",
        "batches",
    }


class Slow(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Takes its time where no step is made."""

    def on_step_end(self, *_: object, **__: object) -> None:
        time.sleep(0.05)

    def on_log(self, *_: object, **__: object) -> None:
        time.sleep(0.05)


def test_what_happens_between_steps_is_in_no_step(tmp_path: Path) -> None:
    trainer_of(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"), Slow()).train()
    seconds = list(series(tmp_path / "runs", "throughput/step_seconds").values())
    assert sorted(seconds)[2] < 0.05


class Unlucky(Ordered):
    """Its loss is no number at step 4."""

    def compute_loss(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().compute_loss(*given, **named)
        return loss * math.nan if self.state.global_step == 3 else loss


class Patient(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Waits after each step until the folds have seen it."""

    def __init__(self, callback: barograph.TrainerCallback) -> None:
        self.callback = callback

    def on_log(self, *_: object, **__: object) -> None:
        if self.callback.run is not None:
            assert self.callback.run.flush()


@pytest.mark.parametrize("patient", [True, False])
def test_a_nan_names_its_layer_its_step_and_the_examples_it_came_from(tmp_path: Path, *, patient: bool) -> None:
    """Whether the alert is raised while training goes on, or only at its end."""
    callback = EveryStep(dir=tmp_path / "runs")
    others = (Patient(callback),) if patient else ()
    trainer_of(tmp_path, callback, *others, kind=Unlucky).train()
    root = tmp_path / "runs"
    assert math.isnan(dict(losses(root))[4])
    alert = next(one for one in of_kind(Alert, root) if one.condition == "non_finite_loss")
    assert (alert.level, alert.state, alert.first_step) == ("critical", "firing", 4)
    assert alert.recommendation
    batch = next(one for one in of_kind(Batch, root) if one.step == 4)
    expected = [
        hashlib.sha256(one["input_ids"].numpy().astype("<i8").tobytes()).hexdigest()[:16] for one in examples()[6:8]
    ]
    assert [one.hash for one in batch.examples] == expected
    assert [one.tokens for one in batch.examples] == [8, 8]


class OneBadLayer(Ordered):
    """From step 3 on, the gradients of one block are no numbers before they are clipped."""

    def training_step(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*given, **named)
        if self.state.global_step == 2:
            self.model.model.layers[1].mlp.up_proj.weight.grad[0, 0] = math.nan
        return loss


def test_clipping_that_makes_every_gradient_a_nan_does_not_hide_the_bad_layer(tmp_path: Path) -> None:
    trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"), kind=OneBadLayer, max_steps=3).train()
    root = tmp_path / "runs"
    assert math.isnan(series(root, "train/gradient_norm")[3])
    assert math.isnan(series(root, "layers/model.layers.1/gradient_norm")[3])
    assert math.isfinite(series(root, "layers/model.layers.0/gradient_norm")[3])
    alert = next(one for one in of_kind(Alert, root) if one.condition == "exploding_gradients")
    assert alert.state in {"pending", "firing"}
    assert math.isnan(series(root, "layers/model.layers.0/update_norm")[3]), "the step has spread it"


class HalfPrecision(Ordered):
    """Trains as in fp16, with a real loss scaler; at some steps the gradients overflow, and it leaves them out."""

    overflows: frozenset[int] = frozenset({0, 1, 4})

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        self.accelerator.native_amp = True

    def training_step(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*given, **named)
        if self.state.global_step in self.overflows:
            for one in self.model.parameters():
                one.grad.mul_(math.inf)
        return loss


class NeverFinite(HalfPrecision):
    """No scale is small enough."""

    overflows = frozenset(range(100))


@pytest.mark.parametrize("logging_steps", [1, 50])
def test_steps_that_a_loss_scaler_leaves_out_raise_no_alert(tmp_path: Path, logging_steps: int) -> None:
    trainer = trainer_of(
        tmp_path, EveryStep(dir=tmp_path / "runs"), kind=HalfPrecision, max_steps=30, logging_steps=logging_steps
    )
    trainer.train()
    root = tmp_path / "runs"
    assert trainer.accelerator.scaler.get_scale() == 2.0**13
    assert not of_kind(Alert, root)
    assert not of_kind(CollectorFailed, root)
    norms = series(root, "layers/model.layers.0/gradient_norm")
    assert {1, 2, 5}.isdisjoint(norms), "what was left out is no collection"
    assert norms
    assert all(map(math.isfinite, norms.values()))
    assert [step for step, norm in series(root, "train/gradient_norm").items() if not math.isfinite(norm)] == [1, 2, 5]


def test_overflow_that_does_not_end_raises_an_alert(tmp_path: Path) -> None:
    trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"), kind=NeverFinite, max_steps=25, logging_steps=50).train()
    alert = next(one for one in of_kind(Alert, tmp_path / "runs") if one.category == "gradients")
    assert alert.first_step == 20


def test_an_alert_has_the_layers_measured_at_one_of_the_next_steps(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")

    class Thrifty(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
        """As if the layers had cost so much that they are not due for long."""

        def on_step_begin(self, *_: object, **__: object) -> None:
            assert callback.run is not None
            callback.run.budget._cost["layers"] = callback.run.budget._cost.get("layers", 0.0) + 1e3
            callback.run.budget._saved["layers"] = -1e3

    trainer_of(tmp_path, callback, Thrifty(), Patient(callback), kind=Unlucky, max_steps=9).train()
    found = series(tmp_path / "runs", "layers/model.layers.0/gradient_norm")
    assert list(found) == [5], "step 4 is the bad one"


@pytest.mark.parametrize("asked", [None, "stop"])
def test_an_alert_stops_the_training_only_where_that_is_asked_for(tmp_path: Path, asked: str | None) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs", on_alert=asked)
    trainer = trainer_of(tmp_path, callback, Patient(callback), kind=Unlucky, max_steps=12)
    trainer.train()
    assert trainer.state.global_step == (5 if asked else 12)
    (end,) = of_kind(RunComplete, tmp_path / "runs")
    assert end.exit_code == 0
    if asked:
        assert end.reason == "stopped by on_alert: The loss is NaN (step 4)"
    else:
        assert end.reason is None
    said = [one for one in of_kind(Collector, tmp_path / "runs") if one.name == "on_alert"]
    assert [one.running for one in said] == ([True] if asked else [])


def test_conditions_that_are_not_chosen_stop_nothing(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs", on_alert="stop", stop_on=("loss_spike",))
    trainer = trainer_of(tmp_path, callback, Patient(callback), kind=Unlucky, max_steps=8)
    trainer.train()
    assert trainer.state.global_step == 8


def test_words_that_are_not_known_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="on_alert='halt' is not known"):
        barograph.TrainerCallback(on_alert="halt")
    with pytest.raises(UsageError, match="stop_on names 'nan', which is no condition"):
        barograph.TrainerCallback(on_alert="stop", stop_on=("nan",))
    with pytest.raises(PolicyError):
        barograph.TrainerCallback(policy=tmp_path / "none.toml")


def test_without_the_monitor_only_what_is_observed_is_recorded(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs", monitor=False)
    trainer = trainer_of(tmp_path, callback, kind=Unlucky)
    trainer.train()
    assert not of_kind(Alert, tmp_path / "runs")
    assert not of_kind(Signals, tmp_path / "runs")
    assert all(metrics == {} for _, loss, metrics in rows(tmp_path / "runs") if loss is not None)
    assert len(losses(tmp_path / "runs")) == 6
    (run,) = layout.run_directories(tmp_path / "runs")
    assert not (run / "status").exists()


class Sharded(Ordered):
    """Says that its gradients lie in shards."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        from accelerate.utils import DistributedType

        self.pretends = DistributedType.DEEPSPEED

    def train(self, *given: object, **named: object) -> object:
        self.add_callback(Pretends(self))
        return super().train(*given, **named)


class Pretends(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Calls the training DeepSpeed's while it begins, and what it is while it trains."""

    def __init__(self, trainer: Sharded) -> None:
        self.trainer = trainer
        self.state = trainer.accelerator.state
        self.real = self.state.distributed_type
        trainer.callback_handler.callbacks.insert(0, Before(self))

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.state.distributed_type = self.real


class Before(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """The first to hear that training begins."""

    def __init__(self, pretends: Pretends) -> None:
        self.pretends = pretends

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.pretends.state.distributed_type = self.pretends.trainer.pretends


def test_gradients_in_shards_are_not_available_and_never_dead(tmp_path: Path) -> None:
    trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"), kind=Sharded).train()
    said = [one for one in of_kind(Collector, tmp_path / "runs") if one.name == "layers"]
    assert [(one.running, one.detail) for one in said] == [
        (False, "Not available: DEEPSPEED keeps parameters and gradients in shards.")
    ]
    last = of_kind(Signals, tmp_path / "runs")[-1]
    assert last.conditions["dead_layers"] == "no_data"
    assert "DEEPSPEED" in last.why["conditions.dead_layers"]
    assert not [name for _, _, metrics in rows(tmp_path / "runs") for name in metrics if name.startswith("layers/")]


def fails(*_: object, **__: object) -> None:
    raise RuntimeError("not today")


BROKEN = {
    "layers": ("barograph.collect.gradients.LayerGradients.take", "layers"),
    "before the step": ("barograph.collect.gradients.LayerGradients.before_step", "layers"),
    "after the step": ("barograph.collect.gradients.LayerGradients.after_step", "layers"),
    "columns": ("barograph.collect.trainer_monitor.columns", "layers"),
    "batches": ("barograph.collect.batches.KeptBatches.update", "batches"),
    "tokens": ("barograph.collect.token_statistics.TokenSampler.arm", "token_statistics"),
    "norm": ("barograph.collect.trainer_monitor.TrainerMonitor._remember_norm", "gradient_norm"),
    "count": ("barograph.collect.trainer_monitor.TrainerMonitor._count", "step_times"),
    "data asked": ("barograph.collect.step_times.StepTimes.data_asked", "step_times"),
    "clips": ("barograph.collect.step_times.StepTimes.clips", "step_times"),
    "times": ("barograph.collect.step_times.StepTimes.optimizer_begins", "step_times"),
    "optimizer ends": ("barograph.collect.step_times.StepTimes.optimizer_ends", "step_times"),
    "step ends": ("barograph.collect.step_times.StepTimes.step_ends", "step_times"),
    "window": ("barograph.collect.step_times.StepTimes.window_is_lost", "step_times"),
    "disarm": ("barograph.collect.token_statistics.TokenSampler.disarm", "token_statistics"),
    "due": ("barograph.collect.time_budget.TimeBudget.due", "time_budget"),
    "paid": ("barograph.collect.time_budget.TimeBudget.step", "time_budget"),
    "spent": ("barograph.collect.time_budget.TimeBudget.spend", "time_budget"),
    "wanted": ("barograph.collect.run.Run.wants_batches", "batches"),
    "seen": ("barograph.collect.trainer_monitor.Observed", "step"),
    "micro-batch": ("barograph.collect.trainer_monitor.TrainerMonitor._begins", "monitor"),
    "size": ("barograph.collect.trainer_monitor.model_size", "mfu"),
    "watch": ("barograph.collect.live_folds.LiveFolds._step", "alerts"),
    "status": ("barograph.collect.live_watch.LiveWatch._document", "status"),
}


OFTEN = {"layers", "batches", "watch", "clips", "paid", "micro-batch"}
"""Those that every run of the tests breaks; the others are alike, and take as long."""


@pytest.mark.parametrize(
    "broken", [one if one in OFTEN else pytest.param(one, marks=pytest.mark.slow) for one in BROKEN]
)
def test_a_collector_that_raises_is_left_out_once_and_training_is_bit_identical(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reference = trainer_of(tmp_path)
    reference.train()
    target, name = BROKEN[broken]
    monkeypatch.setattr(target, property(fails) if target.endswith("wants_batches") else fails)
    trainer = trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"))
    with caplog.at_level(logging.WARNING, logger="barograph"):
        trainer.train()
    assert logged(trainer) == logged(reference)
    for one, other in zip(trainer.model.parameters(), reference.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert losses(tmp_path / "runs") == logged(trainer)
    failed = [one for one in of_kind(CollectorFailed, tmp_path / "runs") if one.name == name]
    assert len(failed) == 1
    assert "not today" in failed[0].error


def test_a_disk_that_blocks_blocks_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, blocked = os.write, threading.Event()

    def write(descriptor: int, content: bytes) -> int:
        if threading.current_thread().name == "barograph-journal" and not blocked.is_set():
            blocked.wait(10.0)
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write)
    callback = EveryStep(dir=tmp_path / "runs")
    ended: list[float] = []

    class Ends(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
        def on_step_end(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
            if state.global_step == 6:
                ended.append(time.monotonic())
                blocked.set()

    began = time.monotonic()
    trainer = trainer_of(tmp_path, callback, Ends())
    trainer.train()
    assert ended[0] - began < 5.0
    assert losses(tmp_path / "runs") == logged(trainer)


def test_what_stood_in_the_trainers_methods_is_gone_after_training(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, EveryStep(dir=tmp_path / "runs"))
    trainer.train()
    assert not {"training_step", "get_batch_samples"} & set(vars(trainer))
    assert "clip_grad_norm_" not in vars(trainer.accelerator)
    assert not trainer.model._forward_hooks
    assert not [one for one in threading.enumerate() if one.name.startswith("barograph")]


def test_a_large_model_is_measured_within_the_budget(tmp_path: Path) -> None:
    """Nothing forces a measurement here: what is spent is what the steps allow."""
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer_of(tmp_path, callback, max_steps=60, logging_steps=10).train()
    measured = series(tmp_path / "runs", "layers/model.layers.0/gradient_norm")
    assert min(measured) == 1, "the first step is measured, whatever it costs"
    assert len(measured) < 60


def test_the_machine_is_recorded_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barograph.collect.live_watch.PULSE_S", 0.02)
    monkeypatch.setattr("barograph.collect.live_watch.EVERY_S", 0.05)
    run = barograph.init("p", dir=tmp_path)
    assert isinstance(run, Run)
    for step in range(20):
        run.log({"loss": 1.0}, step=step)
        time.sleep(0.03)
    run.finish()
    samples = of_kind(Hardware, tmp_path)
    assert samples
    assert samples[-1].ram_total_gb is not None
    assert samples[-1].step is not None
    assert np.isfinite(samples[-1].disk_free_gb or math.nan)

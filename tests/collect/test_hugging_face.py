"""What a run says of a training with transformers' Trainer: identity, banner, series, checkpoints, and its end."""

import copy
import gc
import json
import logging
import math
import os
import pickle
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

import barograph
from barograph.collect import integration
from barograph.collect.hugging_face import KEPT_ROWS
from barograph.collect.trainer_facts import series_name, stored_run_id
from barograph.errors import UsageError
from barograph.journal import layout
from barograph.records import Banner, Checkpoint, Collector, RunComplete, Step, codec

ROOT = Path(__file__).resolve().parents[2]
Example = dict[str, torch.Tensor]


def tiny_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config)


def examples(count: int = 24) -> list[Example]:
    tokens = torch.randint(3, 32, (count, 8), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row.clone()} for row in tokens]


def tiny_trainer(folder: Path, *callbacks: object, kind: type[Trainer] = Trainer, **changes: object) -> Trainer:
    settings: dict[str, object] = {
        "output_dir": str(folder / "out"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    return kind(
        model=tiny_model(),
        args=TrainingArguments(**{**settings, **changes}),
        train_dataset=examples(),
        eval_dataset=examples(4),
        callbacks=list(callbacks),
    )


def only_run(root: Path) -> Path:
    (run,) = layout.run_directories(root)
    return run


def records(run: Path, *, attempt: int = 1, writer: str = "train") -> list[object]:
    """The journal of one attempt of one writer."""
    files = [file for file in layout.journal_files(run) if (file.attempt, file.writer) == (attempt, writer)]
    return [codec.decode_line(line).record for file in files for line in file.path.read_bytes().splitlines()]


def banner(run: Path, *, attempt: int = 1) -> Banner:
    first = records(run, attempt=attempt)[0]
    assert isinstance(first, Banner)
    return first


def rows(run: Path, *, attempt: int = 1, writer: str = "train") -> list[Step]:
    return [one for one in records(run, attempt=attempt, writer=writer) if isinstance(one, Step)]


def ending(run: Path, *, attempt: int = 1) -> RunComplete:
    last = records(run, attempt=attempt)[-1]
    assert isinstance(last, RunComplete)
    return last


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("BAROGRAPH_")]:
        monkeypatch.delenv(name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@given(st.text())
def test_a_series_name_says_its_split_and_loses_nothing(key: str) -> None:
    split, rest = series_name(key).split("/", 1)
    assert key == (rest if split == "train" else f"{split}_{rest}")
    assert series_name(f"eval_{key}") == f"eval/{key}"
    assert series_name(f"test_{key}") == f"test/{key}"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, None),
        ({"barograph": {"args": {}, "attributes": {"run_id": "run-1"}}}, "run-1"),
        ({"barograph": {"attributes": {"run_id": "../../etc"}}}, None),
        ({"barograph": {"attributes": {"run_id": 7}}}, None),
        ({"barograph": [1, 2]}, None),
    ],
)
def test_a_checkpoint_names_its_run_or_is_ignored(stored: dict[str, object], expected: str | None) -> None:
    state = SimpleNamespace(global_step=1, max_steps=2, is_hyper_param_search=False, stateful_callbacks=stored)
    assert stored_run_id(state) == expected


def test_a_training_is_told_from_banner_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative folders, logging every second step, evaluation and saving every third."""
    monkeypatch.chdir(tmp_path)
    callback = barograph.TrainerCallback(
        "sft", dir="runs", group="tries", config={"note": "first", "api_key": "sk-very-secret"}
    )
    trainer = tiny_trainer(
        Path(),
        callback,
        max_steps=6,
        logging_steps=2,
        eval_strategy="steps",
        eval_steps=3,
        save_strategy="steps",
        save_steps=3,
        hub_token="hf_very_secret",
        hub_model_id="user/model",
    )
    trainer.train()
    assert callback.run is None

    run = only_run(tmp_path / "runs")
    told = banner(run)
    assert (told.project, told.group, told.rank, told.attempt, told.total_steps) == ("sft", "tries", 0, 1, 6)
    assert (told.device, told.model_name, told.model_path) == ("cpu", "LlamaForCausalLM", None)
    assert (told.output_dir, told.resumed_from) == (str(tmp_path / "out"), None)
    assert told.config is not None
    assert "very-secret" not in told.config
    assert "very_secret" not in told.config
    config = json.loads(told.config)
    assert config["note"] == "first"
    assert config["training_arguments"]["per_device_train_batch_size"] == 2
    assert config["training_arguments"]["hub_model_id"] == "user/model"

    loss_rows = [row for row in rows(run) if row.loss is not None]
    assert [row.step for row in loss_rows] == [1, 2, 3, 4, 5, 6]
    assert not any("train/loss" in row.metrics for row in loss_rows)
    logged = [row for row in rows(run) if "train/loss" in row.metrics]
    evaluated = [row for row in rows(run) if "eval/loss" in row.metrics]
    assert [(row.step, row.loss) for row in logged] == [(2, None), (4, None), (6, None)]
    assert [(row.step, row.loss) for row in evaluated] == [(3, None), (6, None)]
    assert set(logged[0].metrics) == {"train/loss", "train/grad_norm", "train/learning_rate", "train/epoch"}
    history = {row["step"]: row for row in trainer.state.log_history if "loss" in row}
    assert [row.metrics["train/loss"] for row in logged] == [history[step]["loss"] for step in (2, 4, 6)]

    saved = [one for one in records(run) if isinstance(one, Checkpoint)]
    assert [(one.step, one.path) for one in saved] == [(n, str(tmp_path / f"out/checkpoint-{n}")) for n in (3, 6)]
    assert all((Path(one.path) / "model.safetensors").is_file() for one in saved)

    end = ending(run)
    assert (end.exit_code, end.step, end.reason) == (0, 6, None)
    assert {"train_runtime", "train_samples_per_second", "total_flos", "train_loss"} <= set(end.summary)
    assert not any("train/train_runtime" in row.metrics for row in rows(run))


def test_an_evaluation_after_training_has_a_journal_of_its_own(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"))
    trainer.train()
    measured = trainer.evaluate()
    trainer.predict(examples(4))
    run = only_run(tmp_path / "runs")
    evaluated, predicted = rows(run, writer="evaluate")
    assert (evaluated.step, evaluated.loss, evaluated.metrics["eval/loss"]) == (2, None, measured["eval_loss"])
    assert (predicted.step, predicted.loss) == (2, None)
    assert predicted.metrics["test/loss"] == pytest.approx(measured["eval_loss"], rel=0.5)
    assert ending(run).exit_code == 0


def test_an_evaluation_before_training_is_recorded_at_its_step(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"))
    measured = trainer.evaluate(metric_key_prefix="eval")
    trainer.log({"test_score": {"easy": 0.5}, "test_note": "a text"})
    trainer.train()
    run = only_run(tmp_path / "runs")
    evaluated, scored = [row for row in rows(run) if row.step == 0]
    assert (evaluated.loss, evaluated.metrics["eval/loss"]) == (None, measured["eval_loss"])
    assert scored.metrics == {"test/score/easy": 0.5, "train/epoch": 0.0}
    assert [row.step for row in rows(run) if row.loss is not None] == [1, 2]
    assert rows(run, writer="evaluate") == []


def test_an_evaluation_before_a_resumed_training_hides_nothing_of_what_was_trained(tmp_path: Path) -> None:
    """A step 0 in the training's own file would make the second attempt begin there."""
    tiny_trainer(
        tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"), max_steps=2, save_strategy="steps", save_steps=2
    ).train()
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"), max_steps=3)
    measured = trainer.evaluate()
    trainer.train(resume_from_checkpoint=str(tmp_path / "out/checkpoint-2"))
    run = only_run(tmp_path / "runs")
    assert min(row.step for row in rows(run, attempt=2)) == 3
    (apart,) = rows(run, attempt=2, writer="evaluate")
    assert (apart.step, apart.metrics["eval/loss"]) == (0, measured["eval_loss"])


def test_evaluations_without_a_training_are_kept_up_to_a_bound_and_without_a_run(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path, callback)
    for step in range(KEPT_ROWS + 5):
        callback.on_log(trainer.args, trainer.state, trainer.control, logs={"eval_n": step})
    assert not (tmp_path / "runs").exists()
    trainer.train()
    kept = [row.metrics["eval/n"] for row in rows(only_run(tmp_path / "runs")) if "eval/n" in row.metrics]
    assert kept == list(range(5, KEPT_ROWS + 5))


class FailsOnce(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Its first training ends in an error."""

    def compute_loss(self, *given: object, **named: object) -> torch.Tensor:
        if not hasattr(self, "failed"):
            self.failed = True
            raise ValueError("once")
        loss: torch.Tensor = super().compute_loss(*given, **named)
        return loss


@pytest.mark.parametrize("trained", ["never", "once", "failed"])
@pytest.mark.parametrize("ours", [False, True])
def test_model_and_trainer_are_freed_at_once_as_without_us(tmp_path: Path, trained: str, *, ours: bool) -> None:
    """Without the help of the collector of cycles, and although the callback lives on."""
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path, *[callback] * ours, kind=FailsOnce if trained == "failed" else Trainer)
    if trained == "failed":
        with pytest.raises(ValueError, match="once"):
            trainer.train()
        gc.collect()  # what a traceback held is not what is tested
    elif trained == "once":
        trainer.train()
    watched = [weakref.ref(trainer), weakref.ref(trainer.model)]
    gc.disable()
    try:
        del trainer
        assert [one() for one in watched] == [None, None]
    finally:
        gc.enable()
    assert callback.run is None


def test_the_callback_is_freed_at_once_too(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path, callback)
    trainer.train()
    watched = weakref.ref(callback)
    gc.disable()
    try:
        del trainer, callback
        assert watched() is None
    finally:
        gc.enable()


class CopiesItself(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Copies the trainer's callbacks in the middle of training."""

    def __init__(self, *originals: object) -> None:
        self.originals = originals
        self.copies: list[object] = []

    def on_step_end(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        if state.global_step == 1:
            self.copies = [copy.deepcopy(one) for one in self.originals]
            self.copies += [pickle.loads(pickle.dumps(one)) for one in self.originals]


def test_a_copy_made_while_training_has_the_settings_and_no_run(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs", run_id="first", config={"note": "kept"})
    copies = CopiesItself(callback)
    tiny_trainer(tmp_path, callback, copies).train()
    assert [row.step for row in rows(tmp_path / "runs/first") if row.loss is not None] == [1, 2]
    assert len(copies.copies) == 2
    for attempt, copied in enumerate(copies.copies, start=2):
        assert isinstance(copied, barograph.TrainerCallback)
        assert copied.run is None
        tiny_trainer(tmp_path, copied).train()
        config = banner(tmp_path / "runs/first", attempt=attempt).config
        assert config is not None
        assert json.loads(config)["note"] == "kept"


def test_a_copied_trainer_trains_itself_and_not_the_original(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"))
    copied = copy.deepcopy(trainer)
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    copied.train()
    assert copied.state.global_step == 2
    assert trainer.state.global_step == 0
    assert all(torch.equal(*pair) for pair in zip(before, trainer.model.parameters(), strict=True))
    assert [row.step for row in rows(only_run(tmp_path / "runs")) if row.loss is not None] == [1, 2]


def test_a_resumed_training_is_the_second_attempt_of_its_run(tmp_path: Path) -> None:
    first = tiny_trainer(
        tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"), max_steps=4, save_strategy="steps", save_steps=2
    )
    first.train()
    checkpoint = tmp_path / "out/checkpoint-2"
    second = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"), max_steps=4)
    second.train(resume_from_checkpoint=str(checkpoint))

    run = only_run(tmp_path / "runs")
    assert (banner(run).attempt, banner(run).resumed_from) == (1, None)
    assert (banner(run, attempt=2).attempt, banner(run, attempt=2).resumed_from) == (2, str(checkpoint))
    once = [(row.step, row.loss) for row in rows(run) if row.loss is not None]
    again = [(row.step, row.loss) for row in rows(run, attempt=2) if row.loss is not None]
    assert [step for step, _ in once] == [1, 2, 3, 4]
    assert again == once[2:], "the resumed steps are the same steps"


@pytest.mark.parametrize("restore", [False, True])
def test_a_checkpoint_made_without_us_can_be_resumed_and_saved_with_us(tmp_path: Path, *, restore: bool) -> None:
    tiny_trainer(tmp_path, max_steps=2, save_strategy="steps", save_steps=1).train()
    for resumed_at in (1, 2):
        trainer = tiny_trainer(
            tmp_path,
            barograph.TrainerCallback(dir=tmp_path / "runs", config={"kept": True}),
            max_steps=4,
            save_strategy="steps",
            save_steps=1,
            restore_callback_states_from_checkpoint=restore,
        )
        trainer.train(resume_from_checkpoint=str(tmp_path / f"out/checkpoint-{resumed_at}"))
    run = only_run(tmp_path / "runs")
    assert [row.step for row in rows(run, attempt=2) if row.loss is not None] == [3, 4]
    config = banner(run, attempt=2).config
    assert config is not None
    assert json.loads(config)["kept"] is True


def test_the_run_is_named_by_argument_then_environment_then_run_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAROGRAPH_DIR", str(tmp_path / "runs"))
    tiny_trainer(tmp_path, barograph.TrainerCallback(), max_steps=1, run_name="my run/1").train()
    assert banner(tmp_path / "runs/my-run-1").name == "my run/1"
    monkeypatch.setenv("BAROGRAPH_RUN_ID", "from-env")
    tiny_trainer(tmp_path, barograph.TrainerCallback(), max_steps=1, run_name="my run/1").train()
    tiny_trainer(tmp_path, barograph.TrainerCallback(run_id="given"), max_steps=1, run_name="my run/1").train()
    monkeypatch.delenv("BAROGRAPH_RUN_ID")
    tiny_trainer(tmp_path, barograph.TrainerCallback(), max_steps=1).train()
    names = {run.name for run in layout.run_directories(tmp_path / "runs")}
    assert names > {"my-run-1", "from-env", "given"}
    (generated,) = names - {"my-run-1", "from-env", "given"}
    assert generated.startswith("run-")


def test_training_anew_from_step_zero_is_another_run(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs"), max_steps=1)
    trainer.train()
    trainer.train()
    first, second = layout.run_directories(tmp_path / "runs")
    assert ending(first).exit_code == ending(second).exit_code == 0


class Fragile(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Ends in the middle of its second step."""

    error: BaseException = ValueError("labels of another planet")

    def compute_loss(self, *given: object, **named: object) -> torch.Tensor:
        if self.state.global_step == 1:
            raise self.error
        loss: torch.Tensor = super().compute_loss(*given, **named)
        return loss


@pytest.mark.parametrize("error", [ValueError("labels of another planet"), KeyboardInterrupt(), SystemExit(3)])
def test_a_training_that_fails_has_crashed_at_once_and_the_error_is_the_users(
    tmp_path: Path, error: BaseException
) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path, callback, kind=Fragile)
    trainer.error = error
    with pytest.raises(type(error)) as raised:
        trainer.train()
    assert raised.value is error
    end = ending(only_run(tmp_path / "runs"))
    assert (end.exit_code, end.step) == (1, 1)
    assert end.reason is not None
    assert end.reason.startswith(type(error).__name__)
    assert callback.run is None
    assert "training_step" not in vars(trainer)


class Strict(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Its second loss is not a number, and its clipping refuses that."""

    def compute_loss(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().compute_loss(*given, **named)
        return loss + math.nan if self.state.global_step == 1 else loss

    def _clip_grad_norm(self, model: object) -> None:
        if self.state.global_step == 1:
            raise RuntimeError("the norm is not finite")


def test_the_loss_that_made_training_fail_is_recorded_though_its_step_was_never_made(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path, callback, kind=Strict, gradient_accumulation_steps=2)
    with pytest.raises(RuntimeError, match="the norm is not finite"):
        trainer.train()
    run = only_run(tmp_path / "runs")
    curve = [(row.step, row.loss) for row in rows(run) if row.loss is not None]
    assert [step for step, _ in curve] == [1, 2]
    assert math.isfinite(curve[0][1])
    assert math.isnan(curve[1][1])
    assert ending(run).reason == "RuntimeError: the norm is not finite"


class Greedy(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Runs out of memory at its second step unless the batch is small."""

    def compute_loss(self, model: object, inputs: Example, **named: object) -> torch.Tensor:
        if self.state.global_step == 1 and len(inputs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. (a rehearsal)")
        loss: torch.Tensor = super().compute_loss(model, inputs, **named)
        return loss


@pytest.mark.slow
def test_a_restart_with_a_smaller_batch_is_another_attempt(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    tiny_trainer(tmp_path, callback, kind=Greedy, auto_find_batch_size=True, max_steps=3).train()
    run = only_run(tmp_path / "runs")
    assert ending(run).reason == "training began again before it had ended"
    assert [row.step for row in rows(run, attempt=2) if row.loss is not None] == [1, 2, 3]
    assert ending(run, attempt=2).exit_code == 0


def test_a_user_callback_beside_report_to_gives_one_run_the_users(tmp_path: Path) -> None:
    integration.install()
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs", run_id="mine"), max_steps=1)
    trainer.callback_handler.callbacks.insert(1, barograph.TrainerCallback(dir=tmp_path / "runs", run_id="default"))
    trainer.train()
    assert only_run(tmp_path / "runs").name == "mine"
    assert [row.step for row in rows(only_run(tmp_path / "runs")) if row.loss is not None] == [1]


def test_a_callback_that_cannot_find_its_trainer_says_so_and_can_be_told(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path)
    trainer.state.stateful_callbacks = {}
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    callback.on_log(trainer.args, trainer.state, trainer.control, logs={"loss": 2.5})
    callback.attach(trainer)
    callback.attach(trainer)
    trainer.current_gradient_accumulation_steps = 1
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    batch = {key: torch.stack([one[key] for one in examples(2)]) for key in ("input_ids", "labels")}
    loss = trainer.training_step(trainer.model, batch)
    callback.on_pre_optimizer_step(trainer.args, trainer.state, trainer.control)
    callback.on_train_end(trainer.args, trainer.state, trainer.control)
    run = only_run(tmp_path / "runs")
    said = [one for one in records(run) if isinstance(one, Collector) and one.name == "raw_loss"]
    assert [one.running for one in said] == [False, True]
    assert said[0].detail.startswith("No trainer was found on the stack: call attach(trainer).")
    assert [(row.step, row.loss) for row in rows(run)] == [(0, 2.5), (1, loss.item())]


def test_attach_refuses_what_is_no_trainer() -> None:
    with pytest.raises(UsageError, match="attach\\(\\) was given a dict, which has no training_step and train"):
        barograph.TrainerCallback().attach({})  # type: ignore[arg-type]  # the mistake that is tested


def test_attaching_and_being_found_counts_a_loss_once(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = tiny_trainer(tmp_path, callback)
    callback.attach(trainer)
    trainer.train()
    history = [(row["step"], row["loss"]) for row in trainer.state.log_history if "loss" in row]
    assert [(row.step, row.loss) for row in rows(only_run(tmp_path / "runs")) if row.loss is not None] == history


def test_a_disabled_callback_writes_nothing_and_wraps_nothing(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs", mode="disabled")
    tiny_trainer(tmp_path, callback).train()
    assert not (tmp_path / "runs").exists()


def test_a_run_that_may_not_be_continued_leaves_training_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs", run_id="taken")).train()
    trainer = tiny_trainer(tmp_path, barograph.TrainerCallback(dir=tmp_path / "runs", run_id="taken", resume="never"))
    with caplog.at_level(logging.WARNING, logger="barograph"):
        trainer.train()
    assert trainer.state.global_step == 2
    assert "resume='never', but the run 'taken' exists" in caplog.text
    assert [file.attempt for file in layout.journal_files(tmp_path / "runs/taken")] == [1]


RANKS = """
import sys, torch
torch.set_num_threads(1)
import barograph
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32))
tokens = torch.randint(3, 32, (24, 8), generator=torch.Generator().manual_seed(1))
data = [{"input_ids": row, "labels": row.clone()} for row in tokens]
args = TrainingArguments(output_dir=sys.argv[1] + "/out", max_steps=3, per_device_train_batch_size=2, logging_steps=1,
    save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, ddp_backend=sys.argv[2] or None)
trainer = Trainer(model=model, args=args, train_dataset=data)
trainer.add_callback(barograph.TrainerCallback(dir=sys.argv[1] + "/runs"))
trainer.train()
print([row["loss"] for row in trainer.state.log_history if "loss" in row])
"""


@pytest.mark.slow
def test_every_rank_writes_its_own_losses_and_rank_0_the_rest(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(tmp_path), "gloo"],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=100)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    run = only_run(tmp_path / "runs")
    mine = [row.loss for row in rows(run) if row.loss is not None]
    others = [row.loss for row in rows(run, writer="rank1")]
    assert None not in others
    assert all(row.metrics == {} for row in rows(run, writer="rank1"))
    means = [(one + (other or 0.0)) / 2 for one, other in zip(mine, others, strict=True)]
    assert means == pytest.approx(json.loads(outputs[0].splitlines()[-1]), rel=1e-6)


@pytest.mark.slow
def test_a_script_that_dies_in_training_has_crashed_though_the_callback_came_late(tmp_path: Path) -> None:
    """`add_callback` comes after the trainer was made, so only the end of the process tells."""
    script = RANKS.replace("trainer.train()", "data[:] = [None] * 24\ntrainer.train()")
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), ""],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    end = ending(only_run(tmp_path / "runs"))
    assert end.exit_code == 1
    assert end.reason is not None
    assert end.reason.startswith("TypeError")
    assert end.step is None

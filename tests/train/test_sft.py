"""The trainer, whole: a few real steps, its checkpoints, its callbacks, its reproducibility, its end by the clock."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from barograph.evaluate.generate import generate, load_checkpoint
from barograph.train.__main__ import threads_to_use
from barograph.train.dataset import Part, TaskDataset, collate, texts
from barograph.train.mixture import DEMO
from barograph.train.sft import train, trial_step_seconds
from barograph.train.small_qwen3 import small_qwen3
from barograph.train.student import Student, small_student
from barograph.train.tokenizer import train_tokenizer

INCREMENTS = (Part(task="binary", level="1", regime="plain_sft", weight=1.0),)


def student(seed: int = 0) -> Student:
    return small_student(INCREMENTS, seed=seed)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Seen(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """What a caller's callback is told."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.saves: list[int] = []
        self.planned: list[int] = []
        self.closing: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.planned.append(state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **kwargs: object,
    ) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])
        if "train_runtime" in logs:
            self.closing = logs

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        self.saves.append(state.global_step)


def train_steps(folder: Path, *, seed: int = 0, steps: int = 4) -> Seen:
    seen = Seen()
    train(
        student(seed),
        output_dir=folder,
        mixture=INCREMENTS,
        seconds=math.inf,
        max_steps=steps,
        seed=seed,
        checkpoints=2,
        callbacks=[seen],
    )
    return seen


def test_checkpoints_begin_with_the_untrained_model_and_end_with_the_last_step(tmp_path: Path) -> None:
    seen = train_steps(tmp_path)
    assert seen.saves == [0, 2, 4]
    assert len(seen.losses) == 4
    assert seen.planned == [4]
    for step in seen.saves:
        folder = tmp_path / f"checkpoint-{step}"
        loaded = load_checkpoint(folder)
        assert generate(loaded, ["4 bits: increment(0111) = ?\n"], max_new_tokens=3)[0].prompt_tokens > 10
        assert json.loads((folder / "trainer_state.json").read_text())["global_step"] == step
    untrained = load_checkpoint(tmp_path / "checkpoint-0")
    fresh = small_qwen3(untrained.tokenizer, seed=0).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in untrained.model.state_dict().items())


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(tmp_path: Path) -> None:
    once, again = train_steps(tmp_path / "a", steps=2), train_steps(tmp_path / "b", steps=2)
    other = train_steps(tmp_path / "c", steps=2, seed=1)
    assert once.losses == again.losses
    assert once.losses != other.losses


def test_the_clock_ends_the_training_and_the_last_model_is_saved(tmp_path: Path) -> None:
    began, seen = time.monotonic(), Seen()
    taught = student()
    trained = train(
        taught, output_dir=tmp_path, mixture=INCREMENTS, seconds=2.0, seed=0, checkpoints=1, callbacks=[seen]
    )
    assert time.monotonic() - began >= 2.0
    assert trained.steps == len(seen.losses) >= 1
    assert 1 <= seen.planned[0] < 10_000
    expected = trained.steps * taught.batch / seen.closing["train_runtime"]
    assert math.isclose(seen.closing["train_samples_per_second"], expected, rel_tol=0.01)
    assert trained.final_checkpoint.name == f"checkpoint-{trained.steps}"
    assert (trained.final_checkpoint / "model.safetensors").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({"checkpoint-0", f"checkpoint-{trained.steps}"})


class StopsAtOnce(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """A caller's callback that ends the training after its first step."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        control.should_training_stop = True


def test_a_callback_may_stop_the_training_and_the_newest_checkpoint_is_named(tmp_path: Path) -> None:
    trained = train(
        student(),
        output_dir=tmp_path,
        mixture=INCREMENTS,
        seconds=math.inf,
        max_steps=50,
        seed=0,
        callbacks=[StopsAtOnce()],
    )
    assert (trained.steps, trained.final_checkpoint.name) == (1, "checkpoint-0")
    assert (trained.final_checkpoint / "model.safetensors").is_file()


def test_the_model_has_under_three_million_parameters_and_learns_a_batch() -> None:
    tokenizer = train_tokenizer(texts(DEMO, seed=0, count=200))
    model = small_qwen3(tokenizer, seed=0)
    assert sum(p.numel() for p in model.parameters()) < 3_000_000
    examples = TaskDataset(tokenizer, INCREMENTS, seed=0, length=8, block=8)
    batch = collate([examples[index] for index in range(8)], pad=tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = model(**batch).loss
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0]


def test_a_trial_step_leaves_the_model_as_it_was() -> None:
    tokenizer = train_tokenizer(texts(INCREMENTS, seed=0, count=50))
    model = small_qwen3(tokenizer, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    examples = TaskDataset(tokenizer, INCREMENTS, seed=0, length=2, block=2)
    batch = collate([examples[0], examples[1]], pad=tokenizer.pad_token_id)
    assert trial_step_seconds(model, batch) > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("offered", "taken"), [(1, 1), (2, 1), (4, 2), (9, 4)])
def test_half_of_the_cores_are_left_for_evaluation_and_the_server(offered: int, taken: int) -> None:
    assert threads_to_use(offered) == taken

"""The raw loss of every optimizer step, whatever the Trainer logs, and a training that does not notice us."""

import errno
import gc
import logging
import math
import os
import resource
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import SequentialSampler
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

import barograph
from barograph.collect import raw_loss
from barograph.collect.raw_loss import RawLoss
from barograph.errors import UsageError
from barograph.journal import layout
from barograph.records import Collector, CollectorFailed, Step, codec

Example = dict[str, torch.Tensor]


def tiny_model(dropout: float = 0.0) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        attention_dropout=dropout,
    )
    return LlamaForCausalLM(config)


def examples(count: int) -> list[Example]:
    """Random tokens; every example has another number of labels, so that a mean of means is not the mean."""
    tokens = torch.randint(3, 32, (count, 8), generator=torch.Generator().manual_seed(1))
    made = []
    for index, row in enumerate(tokens):
        labels = row.clone()
        labels[: index % 6] = -100
        made.append({"input_ids": row, "labels": labels})
    return made


def arguments(folder: Path, **changes: object) -> TrainingArguments:
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
    }
    return TrainingArguments(**{**settings, **changes})


class Ordered(Trainer):  # type: ignore[misc]  # transformers is not typed
    """A Trainer that takes the examples in their order."""

    def _get_train_sampler(self, *_: object) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def records(folder: Path) -> list[object]:
    """Everything that the runs under `folder` recorded."""
    found: list[object] = []
    for run in layout.run_directories(folder):
        for file in layout.journal_files(run):
            found += [codec.decode_line(line).record for line in file.path.read_bytes().splitlines()]
    return found


def losses(folder: Path) -> list[tuple[int, float]]:
    """The points of the loss curve, in the order of the journal."""
    return [(one.step, one.loss) for one in records(folder) if isinstance(one, Step) and one.loss is not None]


def logged(trainer: Trainer) -> list[tuple[int, float]]:
    """What the Trainer itself says of its loss."""
    return [(row["step"], row["loss"]) for row in trainer.state.log_history if "loss" in row]


def assert_same_curve(one: list[tuple[int, float]], other: list[tuple[int, float]]) -> None:
    """The same steps, and losses that differ by the rounding of a float32 sum at most."""
    assert [step for step, _ in one] == [step for step, _ in other]
    assert [loss for _, loss in one] == pytest.approx([loss for _, loss in other], rel=1e-6)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@given(st.lists(st.lists(st.floats(), min_size=1, max_size=5), max_size=5))
def test_each_window_holds_its_own_micro_batches_and_no_other(windows: list[list[float]]) -> None:
    fold = RawLoss()
    for window in windows:
        for loss in window:
            fold.update(torch.tensor(loss, dtype=torch.float64))
        taken = fold.take()
        assert [repr(float(part)) for part in taken] == [repr(loss) for loss in window]
    assert fold.take() == ()


@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]), st.integers(1, 64))
def test_a_loss_is_kept_as_it_was(dtype: torch.dtype, eighths: int) -> None:
    fold = RawLoss()
    weight = torch.tensor(eighths / 8, dtype=dtype, requires_grad=True)
    returned = weight * 1
    fold.update(returned)
    with torch.no_grad():
        returned.fill_(-1)
    (part,) = fold.take()
    assert isinstance(part, torch.Tensor)
    assert (float(part), part.dtype) == (eighths / 8, dtype)


def test_a_loss_that_waits_to_be_read_keeps_no_graph_alive() -> None:
    fold = RawLoss()
    activations = torch.ones(4, requires_grad=True) * 2
    fold.update(activations.exp().sum())
    watched = weakref.ref(activations)
    del activations
    gc.collect()
    assert watched() is None
    assert float(fold.take()[0]) == pytest.approx(4 * math.exp(2))


class Loop:
    """Looks like a trainer on the stack."""

    callback_handler = None


def test_the_stack_is_searched_without_a_copy_of_the_locals_of_functions() -> None:
    """Such a copy would keep alive what the user deletes in a function that is still running."""
    loop = Loop()
    assert raw_loss.training_frame(object()) is None
    watched = weakref.ref(loop)
    gc.disable()
    try:
        del loop
        assert watched() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (None, "training_step returned NoneType, not a tensor of one element"),
        (torch.zeros(3), r"training_step returned Tensor of shape \[3\], not a tensor of one element"),
        ("0.5", "training_step returned str, not a tensor of one element"),
    ],
)
def test_what_is_no_loss_is_refused_with_what_it_was(loss: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RawLoss().update(loss)


def test_a_window_that_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_loss, "LONGEST_WINDOW", 2)
    fold = RawLoss()
    fold.update(1.0)
    fold.update(2.0)
    with pytest.raises(UsageError, match="2 micro-batches without an optimizer step: was the callback removed"):
        fold.update(3.0)


def test_accumulated_micro_batches_add_up_to_the_loss_of_a_plain_loop(tmp_path: Path) -> None:
    """11 micro-batches an epoch in windows of 4, 4 and 3; token means over whole windows; plain SGD."""
    data = examples(22)
    args = arguments(
        tmp_path,
        max_steps=-1,
        num_train_epochs=2,
        gradient_accumulation_steps=4,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        logging_steps=4,
    )
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    Ordered(model=tiny_model(), args=args, train_dataset=data, callbacks=[callback]).train()

    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    expected = []
    for _ in range(2):
        for begin in range(0, 22, 8):
            tokens = torch.stack([example["input_ids"] for example in data[begin : begin + 8]])
            labels = torch.stack([example["labels"] for example in data[begin : begin + 8]])
            logits = model(input_ids=tokens).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimizer.step()
            expected.append(loss.item())

    assert [step for step, _ in losses(tmp_path / "runs")] == [1, 2, 3, 4, 5, 6]
    assert [loss for _, loss in losses(tmp_path / "runs")] == pytest.approx(expected, rel=1e-5)


class EndsEpochEarly(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Ends the first epoch in the middle of its second window."""

    def __init__(self) -> None:
        self.windows = 0

    def on_step_begin(self, *_: object, **__: object) -> None:
        self.windows += 1

    def on_substep_end(self, args: object, state: object, control: TrainerControl, **_: object) -> None:
        control.should_epoch_stop = self.windows == 2


def test_micro_batches_of_a_window_that_made_no_step_are_in_no_loss(tmp_path: Path) -> None:
    """With a learning rate of 0 the first windows of both epochs have the same loss."""
    args = arguments(tmp_path, max_steps=-1, num_train_epochs=2, gradient_accumulation_steps=4, learning_rate=0.0)
    callbacks = [barograph.TrainerCallback(dir=tmp_path / "runs"), EndsEpochEarly()]
    Ordered(model=tiny_model(), args=args, train_dataset=examples(24), callbacks=callbacks).train()
    curve = losses(tmp_path / "runs")
    assert [step for step, _ in curve] == [1, 2, 3, 4]
    assert curve[1][1] == curve[0][1]


def test_every_step_has_its_loss_where_the_trainer_logs_a_mean_of_three(tmp_path: Path) -> None:
    means = Trainer(model=tiny_model(), args=arguments(tmp_path, logging_steps=3), train_dataset=examples(12))
    means.add_callback(barograph.TrainerCallback(dir=tmp_path / "runs"))
    means.train()
    each = Trainer(model=tiny_model(), args=arguments(tmp_path), train_dataset=examples(12))
    each.train()
    assert losses(tmp_path / "runs") == logged(each)
    raw = [loss for _, loss in losses(tmp_path / "runs")]
    assert_same_curve(logged(means), [(3, sum(raw[:3]) / 3), (6, sum(raw[3:]) / 3)])


class Unlucky(Ordered):
    """Its loss is not a number at step 3 and infinite at step 5; gradients and weights stay finite."""

    def compute_loss(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().compute_loss(*given, **named)
        return loss + {2: math.nan, 4: math.inf}.get(self.state.global_step, 0.0)


def test_a_nan_that_the_trainer_hides_is_seen(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = Unlucky(model=tiny_model(), args=arguments(tmp_path), train_dataset=examples(12), callbacks=[callback])
    trainer.train()
    assert all(math.isfinite(loss) for _, loss in logged(trainer)), "the Trainer shows no trace of it"
    seen = dict(losses(tmp_path / "runs"))
    assert math.isnan(seen[3])
    assert seen[5] == math.inf
    assert all(math.isfinite(seen[step]) for step in (1, 2, 4, 6))
    assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())


class OwnLoss(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Computes its loss itself, so that no hook on the model sees it."""

    def compute_loss(self, model: LlamaForCausalLM, inputs: Example, **_: object) -> torch.Tensor:
        logits: torch.Tensor = model(input_ids=inputs["input_ids"]).logits
        return logits.logsumexp(-1).mean() + 40.0


class OwnStep(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Never calls the Trainer's own step."""

    def training_step(self, model: LlamaForCausalLM, inputs: Example, *_: object) -> torch.Tensor:
        model.train()
        loss: torch.Tensor = model(**inputs).loss * 0.5
        self.accelerator.backward(loss)
        return loss.detach()


class ScaledStep(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Calls the Trainer's step and reports something else."""

    def training_step(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*given, **named)
        return loss * 3


@pytest.mark.parametrize("kind", [Trainer, OwnLoss, OwnStep, ScaledStep])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_whatever_a_subclass_overrides_its_own_loss_is_recorded(
    tmp_path: Path, kind: type[Trainer], accumulation: int
) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    args = arguments(tmp_path, max_steps=3, gradient_accumulation_steps=accumulation)
    trainer = kind(model=tiny_model(), args=args, train_dataset=examples(24), callbacks=[callback])
    trainer.train()
    assert_same_curve(losses(tmp_path / "runs"), logged(trainer))
    assert len(logged(trainer)) == 3
    assert "training_step" not in vars(trainer), "after training the trainer is as it was"


def test_a_loss_in_bfloat16_is_recorded(tmp_path: Path) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    model = tiny_model().to(torch.bfloat16)
    trainer = Trainer(model=model, args=arguments(tmp_path), train_dataset=examples(12), callbacks=[callback])
    trainer.train()
    assert losses(tmp_path / "runs") == logged(trainer)


def test_a_trainer_of_trl_is_seen_too(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from trl import SFTConfig, SFTTrainer

    vocabulary = {"<pad>": 0, "<eos>": 1, **{str(token): token for token in range(2, 32)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
    from datasets import Dataset

    data = Dataset.from_list([{"input_ids": example["input_ids"].tolist()} for example in examples(24)])
    args = SFTConfig(**{**arguments(tmp_path, max_steps=3).to_dict(), "gradient_accumulation_steps": 2, "bf16": False})
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = SFTTrainer(
        model=tiny_model(), args=args, train_dataset=data, processing_class=tokenizer, callbacks=[callback]
    )
    trainer.train()
    assert_same_curve(losses(tmp_path / "runs"), logged(trainer))
    assert len(logged(trainer)) == 3


def trained(folder: Path, callback: barograph.TrainerCallback | None) -> tuple[list[tuple[int, float]], list[bytes]]:
    """Logged losses and final weights, bit for bit, of a training with dropout."""
    trainer = Trainer(model=tiny_model(dropout=0.2), args=arguments(folder), train_dataset=examples(12))
    if callback is not None:
        trainer.add_callback(callback)
    trainer.train()
    return logged(trainer), [weight.detach().numpy().tobytes() for weight in trainer.model.parameters()]


class Vandal(barograph.TrainerCallback):
    """Removes the run's folder in the middle of training."""

    def on_step_end(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        if state.global_step == 3:
            assert self.run is not None
            assert self.run.flush()
            shutil.rmtree(self.run.directory)


def failing_write(error: Exception) -> Callable[[int, bytes], int]:
    """`os.write` that fails in the journal's thread only."""
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        if threading.current_thread().name == "barograph-journal":
            raise error
        return real(descriptor, content)

    return write


@pytest.mark.parametrize("trouble", ["none", "not a folder", "removed", "full", "broken disk", "broken writer"])
def test_training_is_bit_identical_with_us_without_us_and_when_we_fail(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barograph.collect.run._CLOSE_S", 0.2)
    without = trained(tmp_path, None)
    root = tmp_path / "runs"
    callback = barograph.TrainerCallback(dir=root)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if trouble == "not a folder":
        root.write_text("a file where the root should be")
    elif trouble == "removed":
        callback = Vandal(dir=root)
    elif trouble == "full":
        callback = barograph.TrainerCallback(dir=root, config={str(n): "x" * 10_000 for n in range(20)})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    elif trouble == "broken disk":
        monkeypatch.setattr(os, "write", failing_write(OSError(errno.EIO, "Input/output error")))
    elif trouble == "broken writer":
        monkeypatch.setattr(os, "write", failing_write(RuntimeError("nobody thought of this")))
    try:
        assert trained(tmp_path, callback) == without
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (losses(root) == without[0]) is (trouble == "none"), "the trouble was real"


class Strange(torch.Tensor):
    """A loss that cannot be asked for its size."""

    def numel(self) -> int:
        raise RuntimeError("no size today")


class StrangeStep(Trainer):  # type: ignore[misc]  # transformers is not typed
    """From its third step on it returns losses that cannot be copied."""

    def training_step(self, *given: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*given, **named)
        return loss if self.state.global_step < 2 else loss.as_subclass(Strange)


def test_a_loss_that_cannot_be_taken_detaches_us_once_and_the_logged_loss_steps_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = barograph.TrainerCallback(dir=tmp_path / "runs")
    trainer = StrangeStep(model=tiny_model(), args=arguments(tmp_path), train_dataset=examples(12))
    trainer.add_callback(callback)
    with caplog.at_level(logging.WARNING, logger="barograph"):
        trainer.train()
    reference = Trainer(model=tiny_model(), args=arguments(tmp_path), train_dataset=examples(12))
    reference.train()
    assert logged(trainer) == logged(reference)
    assert losses(tmp_path / "runs") == logged(trainer)
    (failed,) = [one for one in records(tmp_path / "runs") if isinstance(one, CollectorFailed)]
    assert failed.name == "raw_loss"
    assert "RuntimeError" in failed.error
    assert "no size today" in failed.error
    said = [one for one in records(tmp_path / "runs") if isinstance(one, Collector) and one.name == "raw_loss"]
    assert [one.running for one in said] == [True, False]
    assert said[1].detail.startswith("RuntimeError: no size today. The loss of the curve is what the Trainer logs")
    assert len([entry for entry in caplog.records if "raw_loss" in entry.getMessage()]) == 1


def test_a_compiled_model_has_no_more_graphs_and_no_more_breaks(tmp_path: Path) -> None:
    import torch._dynamo.utils as dynamo

    counted = []
    for callback in (None, barograph.TrainerCallback(dir=tmp_path / "runs")):
        torch._dynamo.reset()
        dynamo.counters.clear()
        args = arguments(tmp_path, max_steps=3, torch_compile=True, torch_compile_backend="eager")
        trainer = Trainer(model=tiny_model(), args=args, train_dataset=examples(12))
        if callback is not None:
            trainer.add_callback(callback)
        trainer.train()
        counted.append({name: dict(counts) for name, counts in dynamo.counters.items()})
    torch._dynamo.reset()
    assert counted[0]["stats"]["unique_graphs"] >= 1, "the model was compiled at all"
    assert counted[0] == counted[1]
    assert len(losses(tmp_path / "runs")) == 3

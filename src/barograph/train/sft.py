"""The reference trainer: supervised fine-tuning on the tasks, of a whole model or of an adapter, by the Hugging Face
Trainer."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, SequentialSampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from barograph.train.dataset import Batch, Part, TaskDataset
from barograph.train.pace import Pace, PaceCallback, UntrainedCheckpoint
from barograph.train.student import Student

EPOCH = 131_072
"""Examples until the data repeat; two minutes of the small model see about a third."""


class Trained(Struct, frozen=True, kw_only=True):
    """What a training came to."""

    steps: Annotated[int, Meta(description="Optimizer steps taken.")]
    final_checkpoint: Annotated[Path, Meta(description="Folder of the last checkpoint, with the tokenizer.")]


class InOrderTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """A Trainer that takes the examples in the dataset's order, which is random already."""

    def get_train_dataloader(self) -> DataLoader[object]:
        """The dataset in order; shuffling would tear its blocks of like lengths apart."""
        return self.accelerator.prepare(  # type: ignore[no-any-return]  # accelerate is untyped
            DataLoader(
                self.train_dataset,
                batch_size=self.args.train_batch_size,
                sampler=SequentialSampler(self.train_dataset),
                collate_fn=self.data_collator,
            )
        )


def train(
    student: Student,
    *,
    output_dir: Path,
    mixture: Sequence[Part],
    seconds: float,
    seed: int,
    max_steps: int = sys.maxsize,
    checkpoints: int = 10,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Teach `student` until `seconds` of wall time or `max_steps` are used up, or a callback stops it.

    Writes `checkpoint-0`, the model as it came, and `checkpoints` more, evenly over the time, the last at the end; each
    has weights as safetensors, those of the adapter if there is one, and the tokenizer. With `max_steps` alone the run
    is reproducible: the learning rate then follows the steps.
    """
    pace = Pace(seconds=seconds, max_steps=max_steps, warm_up_steps=student.warm_up_steps)
    trained = [parameter for parameter in student.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=student.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    dataset = TaskDataset(student.tokenizer, mixture, seed=seed, length=EPOCH, block=student.block)
    trial = student.collator([dataset[index] for index in range(student.batch)])
    plan = PaceCallback(pace, checkpoints=checkpoints, step_seconds=trial_step_seconds(student.model, trial))
    trainer = InOrderTrainer(
        model=student.model,
        args=_arguments(output_dir, seed=seed, max_steps=max_steps, batch=student.batch),
        train_dataset=dataset,
        data_collator=student.collator,
        processing_class=student.tokenizer,
        optimizers=(optimizer, LambdaLR(optimizer, pace.learning_rate_share)),
        callbacks=[plan, *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(UntrainedCheckpoint(trainer))
    trainer.train()
    return Trained(steps=int(trainer.state.global_step), final_checkpoint=output_dir / f"checkpoint-{plan.last_save}")


def trial_step_seconds(model: PreTrainedModel, batch: Batch) -> float:
    """Seconds of a forward and a backward pass, the second of two; the model stays as it was.

    The first pass pays for allocations and kernels that the first training step would else pay for.
    """
    for _ in range(2):
        began = time.perf_counter()
        model(**batch).loss.backward()
        model.zero_grad()
    return time.perf_counter() - began


def _arguments(output_dir: Path, *, seed: int, max_steps: int, batch: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(output_dir),
        # The callback of the pace ends the training; the Trainer wants a number all the same.
        max_steps=min(max_steps, 10**9),
        per_device_train_batch_size=batch,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        save_only_model=True,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=seed,
    )

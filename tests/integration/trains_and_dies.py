"""A training script as a user would write it: a tiny model, the Hugging Face Trainer, our callback.

usage: trains_and_dies.py OUTPUT_DIR RUNS_DIR [--resume] [--unwatched LOSSES.json]
"""

import argparse
import json
import time
from pathlib import Path
from typing import ClassVar

import torch
from torch.utils.data import Dataset
from transformers import Qwen3Config, Qwen3ForCausalLM, Trainer, TrainerCallback, TrainingArguments

STEPS = 30
SAVE_EVERY = 10


class Tokens(Dataset[dict[str, torch.Tensor]]):
    """Random but fixed sequences of 16 tokens."""

    def __init__(self) -> None:
        self._rows = torch.randint(0, 64, (128, 16), generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self._rows[index], "labels": self._rows[index]}


class Slow(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Gives whoever wants to kill this process the time to do so."""

    def on_step_end(self, *_: object, **__: object) -> None:
        time.sleep(0.05)


class OwnLosses(Trainer):  # type: ignore[misc]  # transformers is untyped here
    """Keeps each step's loss itself, as an oracle that owes nothing to barograph."""

    losses: ClassVar[list[float]] = []

    def training_step(self, *arguments: object, **named: object) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*arguments, **named)
        self.losses.append(float(loss))
        return loss


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--unwatched", type=Path)
    chosen = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=64, num_key_value_heads=1, head_dim=16, **shape))
    arguments = TrainingArguments(
        output_dir=str(chosen.output_dir),
        max_steps=STEPS,
        save_steps=SAVE_EVERY,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        logging_steps=5,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=3,
    )
    if chosen.unwatched:
        trainer: Trainer = OwnLosses(model=model, args=arguments, train_dataset=Tokens())
    else:
        import barograph

        watching = barograph.TrainerCallback(project="whole path", run_id="whole-path", dir=chosen.runs)
        trainer = Trainer(model=model, args=arguments, train_dataset=Tokens(), callbacks=[watching, Slow()])
    trainer.train(resume_from_checkpoint=True if chosen.resume else None)
    if chosen.unwatched:
        chosen.unwatched.write_text(json.dumps(OwnLosses.losses))


if __name__ == "__main__":
    main()

"""Train the demo's model: python -m barograph.train --base-dir D --run-id ID --seconds S."""

import argparse
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

# Read when transformers is imported: the model comes from a folder, and nothing is looked up on a hub.
os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})

import msgspec
import torch
from transformers.utils import logging

import barograph
from barograph.train.mixture import DEMO, SHORT
from barograph.train.sft import train
from barograph.train.student import Lora, pretrained_student, small_student


def threads_to_use(offered: int) -> int:
    """Half of the threads that torch would take, at least one: the demo evaluates and serves on the same machine.

    With as many threads as cores, one other busy process makes a step five times slower instead of twice: the threads
    wait for each other in every operation.
    """
    return max(1, offered // 2)


def main() -> None:
    """Train as the command line says, watched by barograph's callback."""
    parser = argparse.ArgumentParser(prog="python -m barograph.train", description=__doc__)
    parser.add_argument("--base-dir", type=Path, required=True, help="folder that holds the runs")
    parser.add_argument("--run-id", required=True, help="name of the run's folder")
    parser.add_argument("--seconds", type=float, required=True, help="wall time to train for")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data")
    parser.add_argument("--model", type=Path, help="folder of a model to go on from; default: a small one, untrained")
    parser.add_argument("--lora", action="store_true", help="train an adapter on that model, not the model itself")
    parser.add_argument("--output-dir", type=Path, help="folder for checkpoints; default: checkpoints/ in the run")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    chosen = parser.parse_args()
    if chosen.lora and chosen.model is None:
        parser.error("--lora needs --model: an adapter on random weights has nothing to adapt")
    signal.signal(signal.SIGTERM, _stop)
    if chosen.with_parent:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    logging.disable_progress_bar()
    torch.set_num_threads(threads_to_use(torch.get_num_threads()))
    lora = Lora() if chosen.lora else None
    if chosen.model is None:
        student, mixture, checkpoints = small_student(DEMO, seed=chosen.seed), DEMO, 10
    else:
        # Every checkpoint takes the evaluation half a minute; one of the whole model takes half a gigabyte as well.
        student, mixture, checkpoints = pretrained_student(chosen.model, lora=lora, seed=chosen.seed), SHORT, 4
    train(
        student,
        output_dir=chosen.output_dir or chosen.base_dir / chosen.run_id / "checkpoints",
        mixture=mixture,
        seconds=chosen.seconds,
        seed=chosen.seed,
        checkpoints=checkpoints,
        callbacks=[
            barograph.TrainerCallback(
                project="demo",
                run_id=chosen.run_id,
                dir=chosen.base_dir,
                config={} if lora is None else {"lora": {**msgspec.to_builtins(lora), "target_modules": "all-linear"}},
            )
        ],
    )


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave the training by an exception, so that the journal says how it ended."""
    raise SystemExit(f"stopped by {signal.Signals(number).name}")


def _end_with(parent: int) -> None:
    """In a thread: wait until `parent` is gone, then stop as if asked to."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()

"""Two processes that train one model: whose loss is recorded, and whose batch is accused."""

import hashlib
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from barograph.journal import TailReader, layout
from barograph.records import Alert, Batch, Collector, Record, Step

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, math, sys, torch
torch.set_num_threads(1)
import barograph
from torch.utils.data import SequentialSampler
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

folder, accumulation, bad_step, all_ranks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "all"
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64))
generator = torch.Generator().manual_seed(1)
data = []
for place in range(96):
    length = int(torch.randint(3, 50, (1,), generator=generator))
    row = torch.randint(3, 32, (length,), generator=generator)
    data.append({"input_ids": row, "labels": row if place % 8 else torch.full_like(row, -100)})

def collate(rows):
    width = max(len(row["input_ids"]) for row in rows)
    padded = {name: torch.full((len(rows), width), fill) for name, fill in
              (("input_ids", 0), ("labels", -100), ("attention_mask", 0))}
    for place, row in enumerate(rows):
        length = len(row["input_ids"])
        padded["attention_mask"][place, :length] = 1
        for name in ("input_ids", "labels"):
            padded[name][place, :length] = row[name]
    return padded

class Told(Trainer):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.sums = {}

    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch=num_items_in_batch)
        step = self.state.global_step + 1
        if step == bad_step and self.args.process_index == 1:
            loss = loss * math.nan
        with torch.no_grad():
            labels = inputs["labels"][:, 1:].flatten()
            each = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1).double(), labels,
                                                     ignore_index=-100, reduction="sum")
            before = self.sums.get(step, (0.0, 0))
            self.sums[step] = (before[0] + float(each), before[1] + int(labels.ne(-100).sum()))
        return (loss, outputs) if return_outputs else loss

args = TrainingArguments(output_dir=folder + "/out", max_steps=8, per_device_train_batch_size=1, logging_steps=1,
    gradient_accumulation_steps=accumulation, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
    ddp_backend="gloo", learning_rate=1e-2)
trainer = Told(model=model, args=args, train_dataset=data, data_collator=collate)
trainer.add_callback(barograph.TrainerCallback(dir=folder + "/runs", all_ranks=all_ranks))
trainer.train()
logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
print("told " + json.dumps({"sums": [trainer.sums[step] for step in sorted(trainer.sums)], "logged": logged}))
"""


def trained(folder: Path, *words: object) -> list[dict[str, list[object]]]:
    """What both ranks say of their training."""
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
            [sys.executable, "-c", SCRIPT, str(folder), *map(str, words)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=100)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    told = [next(line for line in output.splitlines() if line.startswith("told ")) for output in outputs]
    return [json.loads(line.removeprefix("told ")) for line in told]


def records(root: Path, writer: str) -> list[Record]:
    (run,) = layout.run_directories(root)
    (file,) = [one for one in layout.journal_files(run) if one.writer == writer]
    with TailReader(run, file.path) as reader:
        return [entry.record for entry in reader.read(1 << 30).entries]  # type: ignore[misc]  # all of known kinds


def losses(root: Path, writer: str) -> dict[int, float]:
    return {one.step: one.loss for one in records(root, writer) if isinstance(one, Step) and one.loss is not None}


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 3])
def test_each_rank_records_the_mean_of_its_own_tokens_whatever_the_others_have(
    tmp_path: Path, accumulation: int
) -> None:
    told = trained(tmp_path, accumulation, 0, "one")
    found = [losses(tmp_path / "runs", writer) for writer in ("train", "rank1")]
    for rank, said in zip(found, told, strict=True):
        sums: list[tuple[float, int]] = said["sums"]  # type: ignore[assignment]  # as the script prints them
        expected = {step: total / count for step, (total, count) in enumerate(sums, start=1) if count}
        assert rank == pytest.approx(expected, rel=1e-5), "and a step without a label has no loss"
    if accumulation == 1:
        assert len(found[0]) < 8
    for step, logged in enumerate(told[0]["logged"], start=1):
        counts = [said["sums"][step - 1][1] for said in told]  # type: ignore[index]  # as the script prints them
        means = [rank.get(step, 0.0) for rank in found]
        weighted = sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)
        assert weighted == pytest.approx(logged, rel=1e-5)
    collectors = [one for one in records(tmp_path / "runs", "train") if isinstance(one, Collector)]
    details = [one.detail for one in collectors if one.name == "raw_loss"]
    assert "the mean over its own label tokens" in details[-1]


def hash_of(place: int) -> str:
    """The name of the only example of a rank's batch, from the data that the script makes."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(place + 1):
        length = int(torch.randint(3, 50, (1,), generator=generator))
        row = torch.randint(3, 32, (length,), generator=generator)
    return hashlib.sha256(np.asarray(row, dtype="<i8").tobytes()).hexdigest()[:16]


@pytest.mark.slow
@pytest.mark.parametrize("all_ranks", [False, True])
def test_a_nan_of_another_rank_accuses_its_batch_and_not_that_of_rank_0(tmp_path: Path, *, all_ranks: bool) -> None:
    trained(tmp_path, 1, 4, "all" if all_ranks else "one")
    root = tmp_path / "runs"
    mine = [one for one in records(root, "train") if isinstance(one, Alert | Batch)]
    assert min(one.first_step or 0 for one in mine if isinstance(one, Alert) and one.level == "critical") == 4
    batches = [one for one in mine if isinstance(one, Batch)]
    assert all(one.examples == [] for one in batches)
    assert math.isnan(losses(root, "rank1")[4])
    assert math.isfinite(losses(root, "train")[4])
    if all_ranks:
        assert batches == [], "the rank whose loss was no number has recorded its own"
        guilty = [one for one in records(root, "rank1") if isinstance(one, Batch)]
        assert [(one.step, [example.hash for example in one.examples]) for one in guilty] == [(4, [hash_of(7)])]
    else:
        assert batches
        assert all("batch of another rank" in one.why or "weights were lost" in one.why for one in batches)

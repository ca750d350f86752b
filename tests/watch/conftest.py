"""Small checkpoints, journals that speak of them, and a listener that remembers."""

import json
import math
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec import Struct

from barograph.policy import load
from barograph.records import Banner, Checkpoint, Record, Step, codec
from barograph.watch import PlannedJob
from barograph.watch.watcher import Settings, Watcher
from barograph.weights import Pass


def save(folder: Path, tensors: Mapping[str, object], *, name: str = "model.safetensors") -> Path:
    """A float32 checkpoint, written byte by byte. Returns `folder`."""
    header: dict[str, object] = {}
    body = b""
    for tensor, values in tensors.items():
        array = np.asarray(values, np.float32)
        size = 4 * math.prod(array.shape)
        header[tensor] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(body), len(body) + size]}
        body += array.tobytes()
    text = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + body)
    return folder


def model(scale: float = 1.0) -> dict[str, object]:
    """Four blocks and an embedding; `scale` moves the blocks."""
    blocks = {f"model.layers.{i}.w.weight": scale * (1.0 + i) * np.ones((4, 8)) for i in range(4)}
    return {"model.embed_tokens.weight": np.ones((16, 8)), **blocks}


def log(root: Path, *records: Record, run: str = "r", writer: str = "train", attempt: int = 1) -> Path:
    """Lines of a run's journal."""
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-{attempt:06d}-20260101T000000.jsonl"
    banner = [] if path.exists() else [Banner(run=run, attempt=attempt, writer=writer, time=time.time())]
    with path.open("ab") as file:
        for record in (*banner, *records):
            file.write(codec.encode_line(record))
    return path


def spoken(folder: Path, step: int) -> list[Record]:
    """What a run says when it saved a checkpoint."""
    return [Step(step=step, loss=1.0, time=time.time()), Checkpoint(step=step, time=time.time(), path=str(folder))]


class Heard:
    """Remembers what a watcher told."""

    def __init__(self) -> None:
        self.ended_jobs: list[tuple[str, str | None]] = []
        self.passes: list[Pass] = []
        self.after: Callable[[], None] = lambda: None

    def planned(self, jobs: Sequence[PlannedJob]) -> None:
        """Not remembered."""

    def started(self, job: PlannedJob) -> Callable[[int], Callable[[int], None]]:
        return lambda total: lambda count: None

    def ended(self, job: PlannedJob, done: Pass | None, failure: str | None) -> None:
        self.ended_jobs.append((job.candidate.name, failure))
        if done is not None:
            self.passes.append(done)
        self.after()


def watch_once(root: Path, **settings: object) -> Heard:
    """What one watcher did that reads what there is."""
    heard = Heard()
    with Watcher(root, Settings(policy=load(), quiet_s=0.0, **settings), heard) as watcher:  # type: ignore[arg-type]
        watcher.run_once()
    return heard


class Watching(Struct, frozen=True):
    """What tests of the watcher are made with."""

    save: Callable[..., Path] = save
    model: Callable[..., dict[str, object]] = model
    log: Callable[..., Path] = log
    spoken: Callable[[Path, int], list[Record]] = spoken
    once: Callable[..., Heard] = watch_once
    heard: type[Heard] = Heard


@pytest.fixture(scope="session")
def watching() -> Watching:
    """`save`, `model`, `log`, `spoken`, `once`, `heard`."""
    return Watching()

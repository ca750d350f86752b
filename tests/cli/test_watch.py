"""`barograph watch` and `barograph serve --watch` from the outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from barograph.records import Banner, Checkpoint, Record, codec

WriteWeights = Callable[..., Path]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "barograph", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


def watch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("watch", *arguments), capture_output=True, text=True, timeout=110, check=False, env=environment()
    )


@pytest.fixture
def output(tmp_path: Path, write_weights: WriteWeights) -> Path:
    """A folder of two checkpoints, as a trainer of other people leaves it."""
    for step in (9, 10):
        folder = write_weights(tmp_path / "output" / f"checkpoint-{step}", {"model.layers.0.w": step * np.ones((3, 3))})
        for place in (folder / "model.safetensors", folder):
            os.utime(place, (step, step))  # long ago: nobody is still writing to it
    return tmp_path / "output"


def test_once_reads_what_there_is_and_exits(tmp_path: Path, output: Path) -> None:
    done = watch("--once", "--base-dir", tmp_path / "runs", "--checkpoints", output)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("output checkpoint-9: compared with nothing: it is the run's first checkpoint")
    assert lines[1].startswith("output checkpoint-10: moved 11.1 % from checkpoint-9, weights healthy")
    assert lines[2] == "2 checkpoints read, 0 could not be"
    document = json.loads((tmp_path / "runs" / "output" / "status" / "layer_drift.json").read_text())
    assert document["total_relative_change"] == pytest.approx(1 / 9)
    assert document["current_step"] == 10
    again = watch("--once", "--base-dir", tmp_path / "runs", "--checkpoints", output)
    assert again.stdout.splitlines() == ["0 checkpoints read, 0 could not be"]


def test_one_that_cannot_be_read_is_exit_code_1_and_one_line(tmp_path: Path, output: Path) -> None:
    (output / "checkpoint-10" / "model.safetensors").write_bytes(b"\xff" * 64)
    os.utime(output / "checkpoint-10" / "model.safetensors", (10, 10))
    done = watch("--once", "--base-dir", tmp_path / "runs", "--checkpoints", output)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("output checkpoint-10: could not be read: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--checkpoints", "nothing"), "--checkpoints is not a folder"),
        (("--reference", "nothing"), "there is no such checkpoint"),
        (("--policy", "nothing"), "cannot be read"),
        (("--every", "0"), "--every"),
        (("--base-dir", os.devnull), "--base-dir is not a folder"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(tmp_path: Path, arguments: tuple[str, str], said: str) -> None:
    done = watch("--once", *(() if "--base-dir" in arguments else ("--base-dir", tmp_path / "runs")), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_second_watcher_says_who_the_first_one_is(tmp_path: Path) -> None:
    with _running("watch", "--base-dir", tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("barograph watches ")
        second = watch("--once", "--base-dir", tmp_path)
        assert second.returncode == 2
        assert f"process {first.pid} watches this root already" in second.stderr
        first.send_signal(signal.SIGINT)
        said, _ = first.communicate(timeout=30)
        assert first.returncode == 0
        assert said.splitlines()[-1] == "0 checkpoints read, 0 could not be"


def test_serve_watches_too_and_takes_its_watcher_along(tmp_path: Path, write_weights: WriteWeights) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    folder = write_weights(tmp_path / "checkpoint-5", {"model.layers.0.w": np.ones((3, 3))})
    with _running("serve", "--watch", "--port", 0, "--base-dir", root, "--policy", "contract") as server:
        assert server.stdout is not None
        url = server.stdout.readline().split(" at ")[1].split()[0].rstrip("/")
        (root / "r" / "logs").mkdir(parents=True)
        now = time.time()
        records: tuple[Record, ...] = (
            Banner(run="r", attempt=1, writer="train", time=now),
            Checkpoint(step=5, time=now, path=str(folder)),
        )
        lines = b"".join(codec.encode_line(record) for record in records)
        (root / "r" / "logs" / "train-000001-20260101T000000.jsonl").write_bytes(lines)
        assert server.stdout.readline().startswith("r checkpoint-5: ")
        document = _document(f"{url}/status/parameter_stability.json?run=r")
        assert (document["checkpoint"], document["policy"]) == ("checkpoint-5", "contract")
        deadline = time.monotonic() + 20.0
        states: list[object] = []
        while states != ["analysed"] and time.monotonic() < deadline:  # its last line comes a moment after the word
            rows = _document(f"{url}/api/checkpoints?run=r")["checkpoints"]
            assert isinstance(rows, list)
            states = [row["state"] for row in rows]
        assert states == ["analysed"]
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
        assert server.returncode == 0
    assert watch("--once", "--base-dir", root).returncode == 0  # the lock is free again


def _document(url: str) -> dict[str, object]:
    deadline = time.monotonic() + 20.0
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                found = json.loads(answer.read())
            assert isinstance(found, dict)
            return found
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


class _running:  # noqa: N801 - used like a function
    """A command that runs, and is ended with the block."""

    def __init__(self, *arguments: object) -> None:
        self._process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        )

    def __enter__(self) -> "subprocess.Popen[str]":
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

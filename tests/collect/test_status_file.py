"""The newest document is on the disk within a second or so, and a disk that blocks blocks nobody."""

import json
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from barograph.collect.status_file import NAME, StatusFile


class Document(msgspec.Struct):
    """Stands for the document that a run has."""

    step: int
    loss: float = 1.0


def written(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "status" / NAME).read_bytes())
    return found


def awaited(enough: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not enough():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_last_document_is_always_written(tmp_path: Path) -> None:
    status = StatusFile(tmp_path)
    for step in range(1000):
        status.offer(Document(step=step))
    assert status.close(10.0)
    assert written(tmp_path) == {"step": 999, "loss": 1.0}


def test_no_more_than_one_a_period_is_written(tmp_path: Path) -> None:
    times: list[float] = []

    def note(_run: Path, _name: str, _content: bytes) -> None:
        times.append(time.monotonic())

    status = StatusFile(tmp_path, every_s=0.1, replace=note)
    ends = time.monotonic() + 0.55
    step = 0
    while time.monotonic() < ends:
        status.offer(Document(step=(step := step + 1)))
        time.sleep(0.001)
    status.close(10.0)
    gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
    assert len(times) >= 3
    assert all(gap > 0.09 for gap in gaps), gaps


def test_a_nan_is_a_null_and_the_document_is_json(tmp_path: Path) -> None:
    status = StatusFile(tmp_path)
    status.offer(Document(step=1, loss=float("nan")))
    assert status.close(10.0)
    assert written(tmp_path) == {"step": 1, "loss": None}


def test_a_disk_that_blocks_blocks_nobody_and_keeps_nothing_waiting(tmp_path: Path) -> None:
    blocked, entered = threading.Event(), threading.Event()
    contents: list[bytes] = []

    def block(_run: Path, _name: str, content: bytes) -> None:
        entered.set()
        blocked.wait(20.0)
        contents.append(content)

    status = StatusFile(tmp_path, every_s=0.01, replace=block)
    slowest = 0.0
    for step in range(2000):
        began = time.perf_counter()
        status.offer(Document(step=step))
        slowest = max(slowest, time.perf_counter() - began)
        if step == 0:
            assert entered.wait(10.0)
    assert slowest < 0.1
    began = time.monotonic()
    assert not status.close(0.1)
    assert time.monotonic() - began < 1.0
    blocked.set()
    awaited(lambda: len(contents) == 2)
    assert [json.loads(content)["step"] for content in contents] == [0, 1999]


def test_what_cannot_be_written_is_said_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "status").write_text("in the way")
    status = StatusFile(tmp_path, every_s=0.01)
    for step in range(5):
        status.offer(Document(step=step))
        awaited(lambda: status.trouble is not None)
        time.sleep(0.02)
    assert caplog.text.count("cannot be written") == 1
    (tmp_path / "status").unlink()
    status.offer(Document(step=7))
    awaited(lambda: status.trouble is None)
    assert status.close(10.0)
    assert written(tmp_path)["step"] == 7


def test_a_folder_that_comes_late_is_written_into_and_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = StatusFile(tmp_path / "run", every_s=0.3)
    status.offer(Document(step=1))
    awaited(lambda: status.trouble is not None)
    (tmp_path / "run").mkdir()
    awaited(lambda: status.trouble is None)
    assert written(tmp_path / "run")["step"] == 1
    assert status.close(10.0)
    assert caplog.text == ""


def test_the_end_tries_once_more(tmp_path: Path) -> None:
    status = StatusFile(tmp_path / "run", every_s=100.0)
    status.offer(Document(step=1))
    awaited(lambda: status.trouble is not None)
    (tmp_path / "run").mkdir()
    assert status.close(10.0)
    assert written(tmp_path / "run")["step"] == 1


def test_what_is_offered_after_the_end_is_left_out(tmp_path: Path) -> None:
    status = StatusFile(tmp_path)
    assert status.close()
    status.offer(Document(step=1))
    assert list(tmp_path.iterdir()) == []

"""Who may index, where the index lies, and what others see meanwhile."""

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.errors import RootBusy
from barograph.index import Follower, Index, IndexDamaged, Indexer, ScanResult, query
from barograph.index.lock import RootLock
from barograph.index.place import shared_place, writable_place
from barograph.records import Step
from barograph.records.codec import encode_line

FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def log(root: Path, *steps: int) -> Path:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / "train-000001-20260101T000000.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(encode_line(Step(step=step, loss=1.0, time=1.0)) for step in steps))
    return path


def steps(index: Index) -> list[int]:
    with index.snapshot() as snapshot:
        if query.run_names(snapshot) != ["r"] or "loss" not in query.series_names(snapshot, "r"):
            return []
        return [int(step) for step in query.series_points(snapshot, "r", "loss").steps]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.01)


def test_one_process_indexes_and_the_error_names_it(tmp_path: Path) -> None:
    with (
        Indexer(tmp_path) as indexer,
        pytest.raises(RootBusy, match=f"process {os.getpid()} indexes this root already") as caught,
    ):
        Indexer(tmp_path)
    assert caught.value.advice is not None
    assert indexer.place.notice is None
    Indexer(tmp_path).close()


@FORKS
def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        Indexer(tmp_path)
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    with pytest.raises(RootBusy, match=str(child)):
        Indexer(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    Indexer(tmp_path).close()
    os.close(ready)
    os.close(tell)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep me")
    (tmp_path / "index.lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        RootLock(tmp_path)
    assert target.read_text() == "keep me"


@pytest.mark.parametrize("obstacle", ["file", "link"])
def test_where_the_folder_cannot_be_made_the_index_is_private_and_says_so(tmp_path: Path, obstacle: str) -> None:
    root = tmp_path / "root"
    log(root, 1)
    if obstacle == "file":
        (root / ".barograph").write_text("in the way")
    else:
        (tmp_path / "elsewhere").mkdir()
        (root / ".barograph").symlink_to(tmp_path / "elsewhere")
    indexer = Indexer(root)
    indexer.scan()
    assert steps(Index(root, place=indexer.place)) == [1]
    assert indexer.place.notice is not None
    assert str(indexer.place.folder) in indexer.place.notice
    indexer.close()
    assert not indexer.place.folder.exists()
    assert not (tmp_path / "elsewhere").exists() or list((tmp_path / "elsewhere").iterdir()) == []


@FORKS
def test_a_root_that_may_only_be_read_is_indexed_all_the_same() -> None:
    root = Path(tempfile.mkdtemp(prefix="barograph-test-"))
    log(root, 1, 2)
    for folder in (root, root / "r", root / "r" / "logs"):
        folder.chmod(0o555)
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        with Indexer(root) as indexer:
            indexer.scan()
            right = steps(Index(root, place=indexer.place)) == [1, 2] and indexer.place.notice is not None
        os._exit(0 if right else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for folder in (root, root / "r", root / "r" / "logs"):
        folder.chmod(0o755)
    assert code == 0
    assert not (root / ".barograph").exists()
    shutil.rmtree(root)


def test_a_reader_creates_nothing(tmp_path: Path) -> None:
    log(tmp_path, 1)
    with Index(tmp_path).snapshot() as snapshot:
        assert (query.run_names(snapshot), snapshot.ready) == ([], False)
    assert not (tmp_path / ".barograph").exists()
    assert shared_place(tmp_path).folder == writable_place(tmp_path).folder


def test_a_follower_keeps_up_and_tells_what_moved(tmp_path: Path) -> None:
    log(tmp_path, 1)
    told: list[ScanResult] = []
    with Follower(tmp_path, every_s=0.01, on_change=told.append) as follower:
        wait_for(lambda: steps(follower.index) == [1])
        assert follower.indexing
        log(tmp_path, 2)
        wait_for(lambda: steps(follower.index) == [1, 2])
        wait_for(lambda: len(told) >= 2)
        assert {run for one in told for run in one.runs} == {"r"}
    Indexer(tmp_path).close()


def test_a_second_follower_reads_and_takes_over(tmp_path: Path) -> None:
    log(tmp_path, 1)
    told: list[ScanResult] = []
    first = Follower(tmp_path, every_s=0.01)
    wait_for(lambda: first.indexing)
    with Follower(tmp_path, every_s=0.01, on_change=told.append) as second:
        wait_for(lambda: steps(second.index) == [1])
        wait_for(lambda: bool(told))
        assert not second.indexing
        log(tmp_path, 2)
        wait_for(lambda: steps(second.index) == [1, 2])
        first.close()
        wait_for(lambda: second.indexing)
        log(tmp_path, 3)
        wait_for(lambda: steps(second.index) == [1, 2, 3])


def test_a_follower_outlives_the_deletion_of_everything_it_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log(tmp_path, 1)
    with caplog.at_level(logging.WARNING), Follower(tmp_path, every_s=0.01) as follower:
        wait_for(lambda: steps(follower.index) == [1])
        shutil.rmtree(tmp_path / ".barograph", ignore_errors=True)
        log(tmp_path, 2)
        wait_for(lambda: steps(follower.index) == [1, 2])
    assert len(caplog.records) <= 1


def test_what_a_reader_finds_damaged_the_indexer_builds_again(tmp_path: Path) -> None:
    log(tmp_path, 1)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        indexer._connection.execute("UPDATE pending SET points = zeroblob(length(points))")
        with pytest.raises(IndexDamaged, match="checksum"):
            steps(Index(tmp_path))
        assert indexer.scan().rebuilt == "a reader found it damaged"
        assert steps(Index(tmp_path)) == [1]
        assert indexer.scan().rebuilt is None

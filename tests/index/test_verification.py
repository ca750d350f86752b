"""A large index is in use before it was checked, and what the check finds is built again."""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest

from barograph.errors import IndexRebuilding
from barograph.index import Follower, Index, IndexDamaged, Indexer, database, query, snapshot
from barograph.index.database import verify_file
from barograph.index.place import REBUILD
from barograph.records import Alert, Step
from barograph.records.codec import encode_line


@pytest.fixture
def root(tmp_path: Path) -> Path:
    logs = tmp_path / "r" / "logs"
    logs.mkdir(parents=True)
    lines = [encode_line(Step(step=step, loss=1.0, time=1.0)) for step in range(500)]
    lines += [encode_line(Alert(time=1.0, title=f"alert {place}")) for place in range(3)]
    (logs / "train-000001-20260101T000000.jsonl").write_bytes(b"".join(lines))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
    return tmp_path


def lose_a_row(root: Path) -> None:
    """Takes a row out in a way that no checksum of a row can tell: its index entry is gone, as after a lost write."""
    connection = sqlite3.connect(root / ".barograph" / "index.sqlite")
    connection.execute("PRAGMA writable_schema = ON")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'one_event'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    file = root / ".barograph" / "index.sqlite"
    content = bytearray(file.read_bytes())
    begin = (page - 1) * size
    content[begin + 3 : begin + 5] = (int.from_bytes(content[begin + 3 : begin + 5]) - 1).to_bytes(2)
    file.write_bytes(bytes(content))


def alerts(root: Path) -> int:
    with Index(root).snapshot() as snapshot:
        return len(query.events(snapshot, "r", Alert))


def test_a_lost_row_is_found_by_the_check_and_by_nothing_else(root: Path) -> None:
    verify_file(root / ".barograph" / "index.sqlite", stopped=lambda: False)
    lose_a_row(root)
    assert alerts(root) == 2
    with pytest.raises(IndexDamaged):
        verify_file(root / ".barograph" / "index.sqlite", stopped=lambda: False)


def test_what_the_check_finds_is_built_again_while_readers_go_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "VERIFIED_AT_ONCE", 0)
    lose_a_row(root)
    with Follower(root, every_s=0.02):
        deadline = time.monotonic() + 10
        seen = 2
        while seen != 3 and time.monotonic() < deadline:
            time.sleep(0.02)
            with suppress(IndexRebuilding):
                seen = alerts(root)
        assert seen == 3
    assert not (root / ".barograph" / REBUILD).exists()


def test_a_small_index_is_checked_before_it_is_used(root: Path) -> None:
    lose_a_row(root)
    with Indexer(root) as indexer:
        assert indexer.verified
        assert indexer.scan().rebuilt is not None
    assert alerts(root) == 3


def test_a_check_can_be_ended(root: Path) -> None:
    asked: list[int] = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 2

    verify_file(root / ".barograph" / "index.sqlite", stopped=stopped)
    assert 3 <= len(asked) <= 5


def test_without_an_index_there_is_nothing_to_check(tmp_path: Path) -> None:
    verify_file(tmp_path / "index.sqlite", stopped=lambda: False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["empty", "other version"])
def test_a_file_that_became_no_index_under_its_follower_is_replaced(
    root: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MADE_WITHIN_S", 0.1)
    file = root / ".barograph" / "index.sqlite"
    with Follower(root, every_s=0.02) as follower:
        log = Path(f"{file}-wal")
        while not (follower.indexing and log.exists()):
            time.sleep(0.01)
        if how == "empty":
            for name in (file, log):
                os.truncate(name, 0)
        else:
            connection = sqlite3.connect(file)
            connection.execute("PRAGMA user_version = 7")
            connection.close()
        deadline, seen = time.monotonic() + 10, 0
        while seen != 3 and time.monotonic() < deadline:
            time.sleep(0.05)
            with suppress(IndexRebuilding, IndexDamaged):
                seen = alerts(root)
        assert seen == 3

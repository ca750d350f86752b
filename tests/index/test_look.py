"""A look that says "as it was" is never wrong about a name or a byte that came, went or changed."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.index.look import Look, folder_now, look
from barograph.index.root_folders import RootFolders
from barograph.index.source import identity
from barograph.journal.seal import seal

NAME = "train-000001-20260101T000000.jsonl"


def aged(path: Path) -> None:
    os.utime(path, (time.time() - 60.0, time.time() - 60.0))


def looked(logs: Path) -> Look:
    folder = folder_now(logs)
    assert folder is not None
    paths = [path.with_name(path.name.removesuffix(".zst")) for path in logs.iterdir()]
    return look(folder, [(path, identity(path)) for path in paths], until=time.monotonic() + 60.0)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.replace(path)
    aged(path.parent)


def linked(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a line more": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "another line": lambda path: path.write_bytes(b"other"),
    "touched": lambda path: path.touch(),
    "shorter": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "replaced": replaced,
    "a new file": lambda path: path.with_name("new").touch(),
    "another name": lambda path: path.rename(path.with_name("new")),
    "compressed": lambda path: seal(path.parent, path, expected=path.stat()),
    "the folder removed": lambda path: shutil.rmtree(path.parent),
    "the folder a link": linked,
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_seen(tmp_path: Path, what: str) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / NAME).write_bytes(b"a line")
    aged(logs / NAME)
    aged(logs)
    before = looked(logs)
    assert before.is_as_it_was(time.monotonic())
    CHANGES[what](logs / NAME)
    assert not before.is_as_it_was(time.monotonic())


def test_a_folder_that_changed_a_moment_ago_is_listed_again_and_every_folder_is_now_and_then(tmp_path: Path) -> None:
    assert not looked(tmp_path).is_as_it_was(time.monotonic())
    aged(tmp_path)
    settled = looked(tmp_path)
    assert settled.is_as_it_was(time.monotonic())
    assert not settled.is_as_it_was(settled.until)
    os.utime(tmp_path, (time.time() + 9e4, time.time() + 9e4))  # a clock that is ahead
    assert not looked(tmp_path).is_as_it_was(time.monotonic())


def test_a_root_is_listed_once_it_changed(tmp_path: Path) -> None:
    for name in ("b", "a", ".barograph", "no name"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    folders = RootFolders(tmp_path)
    assert folders.update()
    assert list(folders.names) == ["a", "b"]
    assert folders.update()  # it changed a moment ago
    aged(tmp_path)
    assert folders.update()
    assert not folders.update()
    (tmp_path / "c").mkdir()
    assert folders.update()
    assert list(folders.names) == ["a", "b", "c"]
    assert not folders.is_run("a")
    (tmp_path / "a" / "logs").mkdir()
    assert (folders.is_run("a"), folders.is_run("link"), folders.is_run("file")) == (True, False, False)
    assert not folders.itself
    (tmp_path / "logs").mkdir()
    folders.update()
    assert folders.itself

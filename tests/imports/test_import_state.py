"""What a run remembers of its import."""

from pathlib import Path

import pytest

from barograph.errors import ImportFailed, RootBusy, WriteError
from barograph.imports.import_state import ImportState, lock_run, read_state, write_state
from barograph.imports.imported_log import SourceMark


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    mark = SourceMark(path="/x", size=3, head="00", head_bytes=3)
    state = ImportState(source="/x", format="table", mapping={"step": "iter"}, marks=[mark], rows=2, last_time=1.5)
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state


def test_a_run_without_it_is_no_import(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "absent") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 200_000, b"\xff", b'{"source": 1}'])
def test_a_damaged_one_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "import.json").write_bytes(content)
    with pytest.raises(ImportFailed, match="is damaged"):
        read_state(tmp_path)


def test_one_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "config" / "import.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ImportFailed, match="cannot be read"):
        read_state(tmp_path)


def test_a_run_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(WriteError, match="the run cannot be written"):
        lock_run(tmp_path / "run")
    with pytest.raises(WriteError, match="cannot be written"):
        write_state(tmp_path / "absent", ImportState(source="", format="", mapping={}))


def test_the_lock_is_held_by_one(tmp_path: Path) -> None:
    lock_run(tmp_path)
    with pytest.raises(RootBusy):
        lock_run(tmp_path)

"""A status document is whole at every moment, however many write it, and is written through no link."""

import json
import threading
from pathlib import Path

import pytest

from barograph.errors import UnsafePath
from barograph.journal.status_document import replace_status_document


def test_whoever_reads_sees_one_of_the_documents_whole(tmp_path: Path) -> None:
    name, done = "training_status.json", threading.Event()
    replace_status_document(tmp_path, name, json.dumps({"writer": -1, "filling": ""}).encode())

    def write(writer: int) -> None:
        for _ in range(100):
            content = json.dumps({"writer": writer, "filling": "x" * 50_000 * (writer + 1)})
            replace_status_document(tmp_path, name, content.encode())

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]

    def watch() -> None:
        for thread in writers:
            thread.join()
        done.set()

    for thread in writers:
        thread.start()
    watcher = threading.Thread(target=watch)
    watcher.start()
    seen = set()
    while not done.is_set():
        found = json.loads((tmp_path / "status" / name).read_bytes())
        assert len(found["filling"]) == 50_000 * (found["writer"] + 1)
        seen.add(found["writer"])
    watcher.join()
    assert seen - {-1} != set()
    assert [path.name for path in (tmp_path / "status").iterdir()] == [name]


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "status").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath):
        replace_status_document(tmp_path / "run", "a.json", b"{}")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "status" / "a.json").symlink_to(tmp_path / "precious")
    replace_status_document(tmp_path, "a.json", b"{}")
    assert (tmp_path / "precious").read_text() == "keep"
    assert (tmp_path / "status" / "a.json").read_bytes() == b"{}"
    assert not (tmp_path / "status" / "a.json").is_symlink()


def test_a_run_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_status_document(tmp_path / "gone", "a.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_put_in_place_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "status" / "a.json").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_status_document(tmp_path, "a.json", b"{}")
    assert [path.name for path in (tmp_path / "status").iterdir()] == ["a.json"]

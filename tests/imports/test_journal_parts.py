"""The files that an import writes: gone on with, or begun where that cannot be."""

import os
from pathlib import Path

import pytest

from barograph.errors import WriteError
from barograph.imports.journal_parts import JournalPart, WriterKey, present
from barograph.journal import layout
from barograph.journal.seal import seal
from barograph.records import Banner, Step

KEY = WriterKey(1, "train")


def banner(part: int) -> Banner:
    return Banner(run="x", attempt=1, writer="train", time=0.0, part=part)


def write(run: Path, *steps: int, known: dict[str, int]) -> dict[str, int]:
    """Append rows; what is known then."""
    (run / layout.LOGS).mkdir(parents=True, exist_ok=True)
    part = JournalPart(run, KEY, banner=banner, known=known)
    for step in steps:
        part.append(Step(step=step, time=0.0))
    part.flush(sync=True)
    size = part.size
    part.close()
    return {**known, part.path.name: size}


def test_a_known_file_is_gone_on_with_and_one_of_others_is_not_touched(tmp_path: Path) -> None:
    known = write(tmp_path, 1, known={})
    assert write(tmp_path, 2, known=known).keys() == known.keys()
    (file,) = layout.journal_files(tmp_path)
    assert file.path.read_text().count('"type":"step"') == 2
    assert file.path.read_text().count('"type":"banner"') == 1
    write(tmp_path, 3, known={})
    first, second = layout.journal_files(tmp_path)
    assert '"part":2' in second.path.read_text()
    assert first.path.read_text().count('"type":"step"') == 2


def test_a_compressed_file_is_present_and_another_one_is_begun(tmp_path: Path) -> None:
    known = write(tmp_path, 1, known={})
    (file,) = layout.journal_files(tmp_path)
    seal(tmp_path, file.path, expected=file.path.stat())
    assert present(tmp_path, known)
    assert len(write(tmp_path, 2, known=known)) == 2


def test_a_file_that_was_cut_or_removed_is_not_present(tmp_path: Path) -> None:
    known = write(tmp_path, 1, known={})
    (file,) = layout.journal_files(tmp_path)
    assert present(tmp_path, known)
    os.truncate(file.path, 10)
    assert not present(tmp_path, known)
    file.path.unlink()
    assert not present(tmp_path, known)


def test_a_run_without_its_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="the journal cannot be written"):
        JournalPart(tmp_path / "absent", KEY, banner=banner, known={})


def test_an_open_file_is_not_compressed(tmp_path: Path) -> None:
    (tmp_path / layout.LOGS).mkdir()
    part = JournalPart(tmp_path, KEY, banner=banner, known={})
    part.flush()
    with pytest.raises(WriteError):
        seal(tmp_path, part.path, expected=part.path.stat())
    part.close()

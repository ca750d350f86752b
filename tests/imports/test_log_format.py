"""The beginning of a file, by which its format is told."""

from pathlib import Path

import pytest

from barograph.errors import ImportFailed
from barograph.imports.log_format import LOOKED_AT, children, sample_of


def test_a_sample_is_bounded_and_holds_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'torn"}\n\xff\n' + b'{"step": 1}\n' * 10_000)
    sample = sample_of(path)
    assert len(sample.objects) == LOOKED_AT - 2
    assert sample.texts[0] == 'torn"}'
    assert len(sample.head) <= 65_536
    assert not sample.is_document


@pytest.mark.parametrize("text", ['{"a": 1}', '\ufeff {\n "a": 1\n}\n', '{"a": [\n{"b": 1},\n{"c": 2}\n]}'])
def test_one_object_is_a_document_on_one_line_or_on_several(tmp_path: Path, text: str) -> None:
    (tmp_path / "log").write_text(text, encoding="utf-8")
    assert sample_of(tmp_path / "log").is_document


def test_what_lies_in_a_folder_is_listed_by_name(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / name).touch()
    assert [path.name for path in children(tmp_path)] == ["a", "b"]
    with pytest.raises(ImportFailed, match="the folder cannot be read: Not a directory"):
        children(tmp_path / "a")

"""The objects of a file of JSON lines, and where those that are none lie."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.imports.imported_log import Refusals
from barograph.imports.json_lines import objects_in
from barograph.imports.source_file import SourceFile

OBJECTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5), max_size=3), max_size=8
)


def read(path: Path) -> tuple[list[dict[str, object]], Refusals]:
    refused = Refusals()
    with SourceFile(path) as file:
        return [found for _, found in objects_in(file, refused)], refused


@given(objects=OBJECTS, ascii_only=st.booleans(), ends=st.sampled_from(["", "\n", "\r\n", "\n\n"]))
def test_what_was_written_is_read_also_without_a_last_newline(
    tmp_path_factory: pytest.TempPathFactory, objects: list[dict[str, object]], ascii_only: bool, ends: str
) -> None:
    path = tmp_path_factory.mktemp("lines") / "log"
    lines = [json.dumps(one, ensure_ascii=ascii_only) for one in [{"first": 1}, *objects]]
    path.write_text("\n".join(lines) + ends, encoding="utf-8", newline="")
    found, refused = read(path)
    assert found == [{"first": 1}, *objects]
    assert (refused.count, refused.torn) == (0, [])


def test_a_torn_last_line_is_waited_for_and_a_broken_one_before_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"a": 1}\n{"b"\n[1]\n{"c": 2')
    found, refused = read(tmp_path / "log")
    assert found == [{"a": 1}]
    assert [one.place for one in refused.examples] == ["line 2, byte 9", "line 3, byte 14"]
    assert refused.torn == ["log"]

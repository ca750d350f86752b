"""Text tables: separators, quotes, line breaks in cells, and quotes that are never closed."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.imports.delimited import separator_of, table_rows
from barograph.imports.imported_log import Refusals
from barograph.imports.source_file import SourceFile

CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cc", "Zs", "Zl", "Zp"])
    | st.just("\n"),
    max_size=8,
).map(str.strip)


def rows(path: Path) -> tuple[list[list[str]], Refusals]:
    refused = Refusals()
    with SourceFile(path) as file:
        return [row.cells for row in table_rows(file, refused)], refused


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=10), st.sampled_from(",;\t|"))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], separator: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table"
    whole = [["step", "loss", "note"], *table]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(whole)
    found, refused = rows(path)
    plain = [[cell.replace("\n\n", "\n") for cell in row] for row in found]
    wanted = [[cell.replace("\n\n", "\n") for cell in row] for row in whole]
    if not any("\n\n" in cell for row in whole for cell in row):
        assert plain == wanted
    assert refused.count == 0


def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,2\n3,"4\n' + "".join(f"{n},{n}\n" for n in range(5, 200)))
    found, refused = rows(path)
    assert found == [["a", "b"], ["1", "2"], *([str(n), str(n)] for n in range(5, 200))]
    assert (refused.count, refused.examples[0].place) == (1, "line 3, byte 8")


@pytest.mark.parametrize(
    ("head", "separator"),
    [("a,b", ","), ("a;b,c;d", ";"), ("a\tb", "\t"), ("a|b", "|"), ('"a,b";c', ";"), ("abc", None)],
)
def test_the_separator_is_what_makes_most_cells(head: str, separator: str | None) -> None:
    assert separator_of(head) == separator

"""The rows of a text table: which character separates its cells, and cells in quotes that hold it or line breaks."""

import csv
from collections.abc import Iterator
from itertools import chain

from msgspec import Struct

from barograph.imports.imported_log import Refusals
from barograph.imports.source_file import SourceFile, SourceLine

SEPARATORS = ",;\t|"
_QUOTE = '"'
_MOST_LINES = 50
"""Lines that one row may have; a quote that is never closed costs no more than these."""


class TableRow(Struct, frozen=True, gc=False):
    """One row of a table."""

    line: SourceLine
    """The line that it begins on."""
    cells: list[str]
    """What is in it."""
    whole: bool
    """Whether its last line has its newline."""


def separator_of(head: str) -> str | None:
    """What separates the cells of the first row; None if nothing does."""
    best = max(SEPARATORS, key=lambda separator: len(_cells(head, separator) or ()))
    return best if len(_cells(head, best) or ()) > 1 else None


def table_rows(file: SourceFile, refused: Refusals) -> Iterator[TableRow]:
    """Every row, the head first. What cannot be read is refused, and nothing comes if the head has no two cells."""
    separator: str | None = None
    for text, line, whole in _joined(file, refused):
        if separator is None:
            separator = separator_of(text)
            if separator is None:
                return
        found = _cells(text, separator)
        if found is None:
            refused.update(file.path.name, place=line.place, reason="a quote is not closed, or follows what is not one")
        else:
            yield TableRow(line, found, whole)


def _joined(file: SourceFile, refused: Refusals) -> Iterator[tuple[str, SourceLine, bool]]:
    """Lines, joined while a quote is open; if it stays open, its line comes alone and the others by themselves."""
    lines = file.lines()
    waiting: list[SourceLine] = []
    while True:
        begin = waiting.pop(0) if waiting else next(lines, None)
        if begin is None:
            return
        text = _text(begin, file, refused)
        if text is None:
            continue
        taken: list[SourceLine] = []
        joined, whole = text, begin.whole
        rest = chain(list(waiting), lines)
        while joined.count(_QUOTE) % 2 and len(taken) < _MOST_LINES and (line := next(rest, None)) is not None:
            taken.append(line)
            joined, whole = f"{joined}\n{line.data.decode('utf-8', 'replace')}", line.whole
        if joined.count(_QUOTE) % 2:
            waiting = taken + waiting[len(taken) :]
            yield text, begin, begin.whole
        else:
            waiting = waiting[len(taken) :]
            yield joined, begin, whole


def _text(line: SourceLine, file: SourceFile, refused: Refusals) -> str | None:
    try:
        return line.text()
    except ValueError as error:
        said = f"no UTF-8: {error.reason}" if isinstance(error, UnicodeDecodeError) else str(error)
        refused.update(file.path.name, place=line.place, reason=said)
        return None


def _cells(text: str, separator: str) -> list[str] | None:
    """The cells of one row; None if its quotes are wrong."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator, strict=True), [])]
    except csv.Error:
        return None

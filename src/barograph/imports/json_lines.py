"""The objects of a file with one JSON object per line; what is none is refused, counted and located."""

from collections.abc import Iterator

from barograph.imports import cells
from barograph.imports.imported_log import Refusals
from barograph.imports.source_file import SourceFile, SourceLine


def objects_in(file: SourceFile, refused: Refusals) -> Iterator[tuple[SourceLine, dict[str, object]]]:
    """Each line with its object. A last line without its newline counts if it is whole JSON, else it is torn."""
    for line in file.lines():
        try:
            found = cells.object_of(line.text())
        except ValueError as error:
            if line.whole or line.problem is not None:
                refused.update(file.path.name, place=line.place, reason=_said(error))
            else:
                refused.torn.append(file.path.name)
            continue
        yield line, found


def _said(error: ValueError) -> str:
    return f"no UTF-8: {error.reason}" if isinstance(error, UnicodeDecodeError) else str(error)

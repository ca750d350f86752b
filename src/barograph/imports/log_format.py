"""What a format of logs is: how a file of it is told by its content, where it lies in a folder, how it is read."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from msgspec import Struct

from barograph.errors import ImportFailed
from barograph.imports import cells
from barograph.imports.imported_log import ImportedLog
from barograph.imports.source_file import Progress, SourceFile

LOOKED_AT = 50
"""Lines by which a log is told."""


class Sample(Struct, frozen=True, kw_only=True):
    """The beginning of a file, by which its format is told."""

    objects: tuple[dict[str, object], ...]
    """Those of its first lines that are a JSON object each; those with a key twice left out."""
    texts: tuple[str, ...]
    """Its first lines that are text."""
    head: str
    """Its first 64 KB, with a mark where they are no UTF-8."""

    @property
    def is_document(self) -> bool:
        """Whether it can be one JSON object over several lines, or on one line."""
        return self.head.lstrip("\ufeff \t\r\n").startswith("{") and len(self.objects) <= 1


class Wanted(Struct, frozen=True, kw_only=True):
    """What to read, and how."""

    source: Path
    """What was named, absolute."""
    files: tuple[Path, ...]
    """The files, as the format found them."""
    mapping: Mapping[str, str]
    """Columns that the user named for `step`, `loss` or `time`."""
    progress: Progress | None
    """Is told of bytes read."""


class LogFormat(Struct, frozen=True, kw_only=True):
    """One format of logs."""

    name: str
    """What users call it."""
    files_in: Callable[[Path], Sequence[Path]]
    """The files of it in a folder, by name alone."""
    recognises: Callable[[Sample], bool]
    """Whether a file is of it."""
    read: Callable[[Wanted], ImportedLog]
    """Reads it. Raises `ImportFailed`."""
    mapped: bool = False
    """Whether a user can say which column is which."""


def sample_of(path: Path) -> Sample:
    """The beginning of a file. Raises `ImportFailed`."""
    texts, objects = [], []
    with SourceFile(path) as file:
        for line in islice(file.lines(), LOOKED_AT):
            try:
                text = line.text()
            except ValueError:
                continue
            texts.append(text)
            try:
                objects.append(cells.object_of(text))
            except ValueError:
                continue
        head = file.head.decode("utf-8", "replace")
    return Sample(objects=tuple(objects), texts=tuple(texts), head=head)


def children(folder: Path) -> list[Path]:
    """What lies in a folder, by name. Raises `ImportFailed`."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ImportFailed(f"the folder cannot be read: {error.strerror}", where=str(folder)) from error

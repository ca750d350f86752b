"""From what makers return to bytes of whole lines, each one that a reader takes."""

from collections.abc import Iterable

from barograph.journal.line_limit import fitting_lines
from barograph.journal.wide_rows import WideRows
from barograph.records import Banner, Record, Step, codec

Made = Record | Iterable[Record] | None
"""What a maker returns."""


def records(made: Made) -> list[Record]:
    """The records of what a maker returned; a generator is run to its end, so that it may still raise."""
    if type(made) is list:  # nearly always, and much faster to tell
        return made
    if made is None:
        return []
    if isinstance(made, Iterable):
        return list(made)
    return [made]


class RecordLines:
    """A fold over the records of one journal: their lines."""

    def __init__(self) -> None:
        self._wide = WideRows()

    def update(self, said: list[Record]) -> bytes:
        """The lines that say the records; wide rows with their header before them where one is due."""
        lines: list[bytes] = []
        for record in said:
            if type(record) is Step:
                for row in self._wide.update(record):
                    lines += fitting_lines(row)
            else:
                lines += fitting_lines(record)
        return lines[0] if len(lines) == 1 else b"".join(lines)

    def headers(self) -> bytes:
        """The headers that rows still to be written may refer to."""
        return b"".join(codec.encode_line(header) for header in self._wide.headers())

    def head(self, banner: Banner) -> bytes:
        """What a new file begins with."""
        return b"".join(fitting_lines(banner)) + self.headers()

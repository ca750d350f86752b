r"""Reads a journal file that may still be growing, from any position on.

Five things can end or spoil a line, and each has its own state, because each needs another reaction:

- *torn*: the last line has no newline yet. Normal while a writer lives, or after it was killed. Nothing is consumed;
  the next read starts at the same offset again.
- *bad*: a whole line that cannot be read. It is skipped, counted, and located.
- *unknown*: a whole, well-formed line of a kind from another version. It is kept.
- *damaged*: a part of a compressed file that cannot be read. It is passed over like a bad line.
- *too long*: a line of more than 1 MB. It is refused without being held in memory; while its end is not in sight the
  position remembers where it began.

A file that was compressed is read through its seek table, by the same offsets.

A reader that stops anywhere and goes on later from its `Position` returns what one uninterrupted read would have.
"""

from pathlib import Path

import msgspec

from barograph.errors import DamagedArchive, LineError
from barograph.journal.content import Content
from barograph.journal.open_content import open_content
from barograph.records import Record, codec
from barograph.records.codec import Unknown

LINE_LIMIT = 1_000_000
"""Bytes, without the newline; a longer line is refused."""

_EMPTY = (b"", b"\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a file to go on reading."""

    offset: int = 0
    """The next byte to read."""
    overlong_from: int | None = None
    """Where the line began whose excess is being skipped; None outside such a line."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One line that was read."""

    offset: int
    """Its first byte; with the file, its identity."""
    length: int
    """Its bytes, without the newline."""
    record: Record | Unknown
    """What it says."""
    checked: bool
    """Whether it carried a checksum."""


class BadLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that was refused."""

    offset: int
    """Its first byte."""
    length: int
    """Its bytes, without the newline."""
    reason: str
    """`checksum`, `not_json`, `no_type`, `wrong_type` or `too_long`; `damaged` for a part of an archive."""
    detail: str
    """What was seen."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one read found."""

    entries: list[Entry]
    """Lines that were read, in order."""
    bad: list[BadLine]
    """Lines that were refused, in order."""
    position: Position
    """Where the next read begins."""
    torn: int
    """Bytes of an unfinished last line; 0 if the file ends in a newline, or its end was not reached."""
    more: bool
    """Whether the file held more than this read was allowed to take."""


class TailReader:
    """Owns one open journal file and the position in it."""

    def __init__(
        self, root: Path, path: Path, position: Position | None = None, *, line_limit: int = LINE_LIMIT
    ) -> None:
        """Opens `path`, a regular file inside `root`, or its archive; raises `OSError` or a `JournalError`."""
        self.path = path
        self.position = position or Position()
        self._line_limit = line_limit
        self._content: Content | None = open_content(root, path)

    @property
    def size(self) -> int:
        """Bytes of the file, uncompressed."""
        assert self._content is not None, f"{self.path} was closed"
        return self._content.size

    def read(self, limit: int = 2 << 20) -> Batch:
        """Everything that is whole within the next `limit` bytes (at least one line's limit is taken)."""
        assert self._content is not None, f"{self.path} was closed"
        limit = max(limit, self._line_limit + 1)
        base = self.position.offset
        try:
            found = self._content.read(limit, base)
            chunk, more = found.data, found.more
            if more and len(chunk) < limit and b"\n" not in chunk:
                self._content.read(1, base + len(chunk))  # the line runs into damage: this raises
        except DamagedArchive as damage:
            return self._pass_over(damage)
        bad: list[BadLine] = []
        begin = 0
        overlong = self.position.overlong_from
        if overlong is not None:
            newline = chunk.find(b"\n")
            if newline < 0:
                self.position = Position(offset=base + len(chunk), overlong_from=overlong)
                torn = 0 if more else self.position.offset - overlong
                return Batch(entries=[], bad=[], position=self.position, torn=torn, more=more)
            bad.append(self._too_long(overlong, base + newline - overlong))
            begin = newline + 1
        end = chunk.rfind(b"\n") + 1
        entries = self._lines(chunk[begin:end], base + begin, bad) if end > begin else []
        rest = len(chunk) - max(end, begin)
        if rest > self._line_limit:
            self.position = Position(offset=base + len(chunk), overlong_from=base + max(end, begin))
        else:
            self.position = Position(offset=base + max(end, begin))
        return Batch(entries=entries, bad=bad, position=self.position, torn=0 if more else rest, more=more)

    def close(self) -> None:
        """Closes the file; the position stays readable. A second call does nothing."""
        if self._content is not None:
            self._content.close()
            self._content = None

    def __enter__(self) -> "TailReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pass_over(self, damage: DamagedArchive) -> Batch:
        """What cannot be read, with the beginning of the line that runs into it, as one bad line."""
        assert damage.end is not None, "only an archive without a seek table has no end of damage, and is never open"
        offset, overlong = self.position.offset, self.position.overlong_from
        begin = offset if overlong is None else overlong
        line = BadLine(offset=begin, length=damage.end - begin, reason="damaged", detail=f"damaged: {damage}"[:300])
        self.position = Position(offset=damage.end)
        return Batch(entries=[], bad=[line], position=self.position, torn=0, more=damage.end < self.size)

    def _lines(self, text: bytes, offset: int, bad: list[BadLine]) -> list[Entry]:
        """Reads whole lines; `text` ends in a newline and begins at `offset` of the file."""
        entries: list[Entry] = []
        add, decode_checked, limit = entries.append, codec.decode_checked, self._line_limit
        for line in text[:-1].split(b"\n"):
            length = len(line)
            if length > limit:
                bad.append(self._too_long(offset, length))
            elif (record := decode_checked(line)) is not None:  # a rebuild reads millions of them
                add(Entry(offset, length, record, True))
            elif line not in _EMPTY:
                try:
                    decoded = codec.decode_line(line if offset else line.removeprefix(_BYTE_ORDER_MARK))
                except LineError as error:
                    bad.append(BadLine(offset=offset, length=length, reason=error.reason, detail=error.problem[:300]))
                else:
                    add(Entry(offset, length, decoded.record, decoded.checked))
            offset += length + 1
        return entries

    def _too_long(self, offset: int, length: int) -> BadLine:
        detail = f"too_long: {length} bytes, the limit is {self._line_limit}"
        return BadLine(offset=offset, length=length, reason="too_long", detail=detail)

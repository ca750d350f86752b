"""One file of another tool, opened without believing it: a regular file, no link, read in pieces.

What is named may be a FIFO, a device, a folder, a pointer of Git LFS, an archive, or one line of a gigabyte. A line
over 1 MB is passed over and never held in memory. The file is read as far as it reached when it was opened; what a
writer appends meanwhile is for the next time.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from barograph.errors import ImportFailed, NothingYet, UnsafePath
from barograph.imports.imported_log import SourceMark, plain
from barograph.journal import layout
from barograph.journal.reader import LINE_LIMIT

DOCUMENT_LIMIT = 256_000_000
"""Bytes of a file that is one JSON document; a log of two million rows is no longer."""
HEAD_BYTES = 65_536
_PIECE = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Run: git lfs pull"),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it first, with gunzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it first, with zstd -d"),
    (b"PK\x03\x04", "a zip archive", "Unpack it first"),
    (b"SQLite format 3\0", "an SQLite database", "Export what you need of it as CSV"),
    (b"\xff\xfe", "text in UTF-16", "Save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16", "Save it as UTF-8"),
)

Progress = Callable[[int], None]


class SourceLine(Struct, frozen=True, gc=False):
    """One line of a file."""

    number: int
    """From 1 on."""
    offset: int
    """Its first byte."""
    data: bytes
    """Without its ending; empty if it was passed over."""
    whole: bool
    """Whether it has its newline."""
    problem: str | None = None
    """Why it was passed over."""

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"line {self.number}, byte {self.offset}"

    def text(self) -> str:
        """Its text. Raises `ValueError` if it was passed over, or is no UTF-8."""
        if self.problem is not None:
            raise ValueError(self.problem)
        return self.data.decode("utf-8")


class SourceFile:
    """Owns the descriptor of one file of another tool."""

    def __init__(self, path: Path, *, progress: Progress | None = None) -> None:
        """Opens `path`. `progress` is told of bytes. Raises `ImportFailed`, or `NothingYet` for an empty file."""
        self.path = path
        self._progress = progress
        self._descriptor = _opened(path)
        try:
            status = os.fstat(self._descriptor)
            self.size = status.st_size
            self.modified = status.st_mtime
            self.head = os.pread(self._descriptor, min(HEAD_BYTES, self.size), 0)
        except OSError as error:
            os.close(self._descriptor)
            raise _unreadable(path, error) from error
        try:
            self._refuse_other_kinds()
        except ImportFailed:
            os.close(self._descriptor)
            raise

    def mark(self) -> SourceMark:
        """What tells this version of the file from another."""
        digest = hashlib.sha256(self.head).hexdigest()
        return SourceMark(path=plain(str(self.path)), size=self.size, head=digest, head_bytes=len(self.head))

    def lines(self) -> Iterator[SourceLine]:
        """Every line that is not empty; those of more than 1 MB, or of NUL bytes, with their problem alone."""
        number, offset, passed, carry = 0, 0, 0, b""
        for piece in self._pieces():
            *ended, rest = piece.split(b"\n")
            for part in ended:
                number += 1
                data = carry + part
                length = passed + len(data)
                if line := _line(number, offset, data, length=length, whole=True):
                    yield line
                offset, passed, carry = offset + length + 1, 0, b""
            carry += rest
            if len(carry) > LINE_LIMIT:
                passed, carry = passed + len(carry), b""
        if line := _line(number + 1, offset, carry, length=passed + len(carry), whole=False):
            yield line

    def document(self) -> str:
        """The whole text. Raises `ImportFailed` for one over the limit, and for what is no UTF-8."""
        if self.size > DOCUMENT_LIMIT:
            raise ImportFailed(
                f"the document has {self.size:,} bytes; the limit is {DOCUMENT_LIMIT:,}", where=str(self.path)
            )
        try:
            return b"".join(self._pieces()).removeprefix(_BYTE_ORDER_MARK).rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ImportFailed(
                f"no UTF-8: {error.reason}", where=f"{self.path}, byte {error.start}", advice="Save it as UTF-8"
            ) from error

    def __enter__(self) -> "SourceFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _pieces(self) -> Iterator[bytes]:
        at = 0
        while at < self.size:
            try:
                piece = os.pread(self._descriptor, min(_PIECE, self.size - at), at)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if not piece:  # it was cut meanwhile
                return
            at += len(piece)
            if self._progress is not None:
                self._progress(len(piece))
            yield piece

    def _refuse_other_kinds(self) -> None:
        if not self.head.strip():
            raise NothingYet("the file is empty", where=str(self.path))
        for magic, what, advice in _OTHER_KINDS:
            if self.head.startswith(magic):
                raise ImportFailed(f"this is {what}", where=str(self.path), advice=advice)


def _line(number: int, offset: int, data: bytes, *, length: int, whole: bool) -> SourceLine | None:
    """The line, None if it is empty."""
    if length > LINE_LIMIT:
        return SourceLine(number, offset, b"", whole, f"too long: {length:,} bytes, the limit is {LINE_LIMIT:,}")
    if offset == 0:
        data = data.removeprefix(_BYTE_ORDER_MARK)
    data = data.rstrip(b"\r")
    if not data.strip():
        return None
    if not data.strip(b"\0"):
        return SourceLine(number, offset, b"", whole, f"{length:,} NUL bytes, as a machine leaves that lost its power")
    return SourceLine(number, offset, data, whole)


def _opened(path: Path) -> int:
    try:
        return layout.open_regular(path.parent, path)
    except UnsafePath as error:
        if path.is_symlink():
            raise ImportFailed(
                "this is a link, and links are not followed",
                where=str(path),
                advice=f"Name what it leads to: {path.readlink()}",
            ) from error
        what = "a folder where a file must be" if path.is_dir() else "not a regular file"
        raise ImportFailed(f"{what}, so it is not read", where=str(path)) from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ImportFailed:
    said = getattr(error, "strerror", None) or str(error)
    return ImportFailed(f"it cannot be read: {said}", where=str(path)[:300])

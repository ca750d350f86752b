"""The journal files that an import writes: one per attempt and writer, gone on with where the last import left it."""

import fcntl
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from barograph.errors import WriteError
from barograph.journal import layout
from barograph.journal.append_file import SYNC_S, AppendFile
from barograph.journal.record_lines import RecordLines
from barograph.records import Banner, Record
from barograph.records.quantities import Attempt

_BATCH_BYTES = 1 << 20


class WriterKey(Struct, frozen=True, order=True):
    """Whose file it is."""

    attempt: Attempt
    """Attempt of the run."""
    writer: str
    """`train`, or `rankN`."""


class JournalPart:
    """Owns one journal file that an import appends to: whole lines, or none."""

    def __init__(self, run: Path, key: WriterKey, *, banner: Callable[[int], Banner], known: Mapping[str, int]) -> None:
        """Goes on in the newest file of `known`, if it is one of `key` and ends in a newline; else begins another one,
        with `banner(part)`. Raises `WriteError`."""
        self._lines = RecordLines()
        self._waiting: list[bytes] = []
        self._size = 0
        own = [file for file in layout.journal_files(run) if file.attempt == key.attempt and file.writer == key.writer]
        try:
            descriptor = None
            if own and own[-1].path.name in known and not own[-1].archived:
                self.path, descriptor = own[-1].path, _appended(run, own[-1].path)
            if descriptor is None:
                descriptor, self.path = layout.create_journal(run, writer=key.writer, attempt=key.attempt)
                self._waiting.append(self._lines.head(banner(len(own) + 1)))
        except OSError as error:
            raise WriteError(
                f"the journal cannot be written: {error.strerror}", where=str(run / layout.LOGS)
            ) from error
        self._descriptor = descriptor
        self._file = AppendFile(descriptor, self.path, sync_after=SYNC_S)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptor).st_size

    def append(self, record: Record) -> None:
        """One more record; it is in the file after `flush`. Raises `WriteError`."""
        lines = self._lines.update([record])
        self._waiting.append(lines)
        self._size += len(lines)
        if self._size >= _BATCH_BYTES:
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Write what waits. Raises `WriteError`; lines that were written stay."""
        batch = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if batch:
            _, trouble = self._file.write(batch)
            if trouble is not None:
                raise WriteError(
                    trouble, where=str(self.path), advice="Import it again: what is written does not come twice"
                )
        if not self._file.sync(force=sync):
            raise WriteError("the disk did not take what was written", where=str(self.path))

    def close(self) -> None:
        """Closes the file; what was not flushed is not written."""
        self._file.close()


def present(run: Path, known: Mapping[str, int]) -> bool:
    """Whether every journal file that an import remembers is there, as it was or compressed, and was not cut."""
    for name, size in known.items():
        path = run / layout.LOGS / name
        with suppress(OSError):
            if path.lstat().st_size >= size:
                continue
        if not layout.archive_of(path).is_file():
            return False
    return True


def _appended(run: Path, path: Path) -> int | None:
    """A descriptor of an existing file for appending; None where its last line is not whole, or a sealer holds it."""
    os.close(layout.open_regular(run, path))  # refuses links on the way
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # no locks here, so that nothing is ever sealed
        pass
    if size and os.pread(descriptor, 1, size - 1) == b"\n":
        return descriptor
    os.close(descriptor)
    return None

"""One journal file that is being written: whole lines or nothing, synced once a second, and still the one it was."""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

SYNC_S = 1.0
"""Seconds between two syncs, and between two looks at what others did to the file."""

CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What `fdatasync` says where the file system has no such thing: nothing failed, and nothing can be done."""


class AppendFile:
    """One open journal file: appends whole lines, or cuts back to the last whole one."""

    def __init__(self, descriptor: int, path: Path, *, sync_after: float) -> None:
        """Takes over `descriptor`; the first sync comes `sync_after` seconds from now, the others once a second."""
        self.path = path
        self.synced = False
        self._descriptor = descriptor
        self._size = 0
        self._dirty = False
        self._checked_at = time.monotonic()
        self._sync_at = self._checked_at + sync_after

    def write(self, batch: bytes) -> tuple[int, str | None]:
        """Append `batch`; returns how many bytes of whole lines are in the file now, and what went wrong."""
        try:
            written = os.write(self._descriptor, batch)
        except OSError as error:
            return 0, str(error)
        whole = written if written == len(batch) else batch.rfind(b"\n", 0, written) + 1
        self._size += whole
        self._dirty = True
        if whole == written == len(batch):
            return whole, None
        try:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - (written - whole))
        except OSError as error:
            return whole, f"short write of {written} of {len(batch)} bytes, and no way back: {error}"
        return whole, f"short write: {written} of {len(batch)} bytes; is the disk full, or the file at a size limit?"

    def sync(self, *, force: bool = False, patience: float = 0.0) -> bool:
        """fdatasync if something was written and a second, and `patience` s, have passed; False if the disk refused."""
        now = time.monotonic()
        if not self._dirty or (now < self._sync_at + patience and not force):
            return True
        self._sync_at, self._dirty = now + SYNC_S, False
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            return error.errno in CANNOT_SYNC
        self.synced = True
        return True

    def checked_long_ago(self) -> bool:
        """Whether the last call of `usable` is a second old, so that a removed file is noticed soon."""
        return time.monotonic() - self._checked_at >= SYNC_S

    def usable(self) -> bool:
        """Whether the file still has a name, its size is what was written, and the descriptor works."""
        self._checked_at = time.monotonic()
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return status.st_nlink > 0 and status.st_size == self._size

    def close(self) -> None:
        """Closes the descriptor, whatever it says."""
        with suppress(OSError):
            os.close(self._descriptor)

"""Who indexes a root, or watches it: the process that holds the lock on a file there; the
kernel lets go of it when that one dies."""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from barograph.errors import RootBusy

WATCH = "watch.lock"
"""Name of the file that the watcher of a root locks."""


class RootLock:
    """Owns one lock in the private folder of a root, from construction until `close`."""

    def __init__(self, folder: Path, *, name: str = "index.lock", does: str = "indexes") -> None:
        """Takes the lock `name`; raises `RootBusy` if another process, or another owner in this one, has it.

        `does` says in that error what the holder of the lock does with the root.
        """
        self.path = folder / name
        self._does = does
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self.path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise RootBusy("the lock is no regular file", where=str(self.path), advice="Remove it")
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise

    def still_valid(self) -> bool:
        """Whether the file that is locked is still the one that others would lock: it may have been deleted."""
        mine = os.fstat(self._descriptor)
        with suppress(OSError):
            there = self.path.lstat()
            return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
        return False

    def close(self) -> None:
        """Lets go; the file stays, because deleting it would let two others lock two files."""
        os.close(self._descriptor)

    def _take(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            raise RootBusy(
                f"process {holder or 'unknown'} {self._does} this root already",
                where=str(self.path.parent),
                advice="Let it do so, or stop it first",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)


def is_held(folder: Path, *, name: str) -> bool:
    """Whether a living process holds the lock `name`; nothing is created, and nobody is disturbed."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False

"""Whether folders and files are still as they were: what makes a look at thousands of finished runs cheap.

A folder's modification time changes with every name in it that comes, goes or is replaced. But clocks of file systems
are coarse: a name that comes within the same tick as the one before leaves the same time behind. So a listing counts
only once the folder has been quiet for a while, and even then it is made again now and then.
"""

import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from barograph.index.source import Identity
from barograph.journal.layout import archive_of

SETTLED_S = 2.0
"""Seconds that a folder must have been quiet before its listing; the coarsest clock of a file system ticks every 2."""

AGAIN_S = 60.0
"""Longest time that a listing counts without being made again: for file systems whose clocks are not to be trusted."""


class Folder(Struct, frozen=True, kw_only=True):
    """A folder as it was before it was listed."""

    path: str
    """Where it is."""
    device: int
    """Number of its file system."""
    inode: int
    """Number of the folder in it."""
    changed_ns: int
    """Its modification time, nanoseconds since 1970."""
    settled: bool
    """Whether it had been quiet long enough then for its listing to count."""

    def is_as_it_was(self) -> bool:
        """Whether a listing made then would be the same now."""
        try:
            seen = os.lstat(self.path)
        except OSError:
            return False
        return (
            self.settled
            and seen.st_mtime_ns == self.changed_ns
            and seen.st_ino == self.inode
            and seen.st_dev == self.device
        )


class File(Struct, frozen=True, kw_only=True):
    """A journal file as it was when it was last read."""

    path: str
    """Where it lies, compressed or not."""
    device: int
    """Number of its file system."""
    inode: int
    """Number of the file in it."""
    size: int
    """Bytes."""
    changed_ns: int
    """Its modification time, nanoseconds since 1970."""

    def is_as_it_was(self) -> bool:
        """Whether there is nothing to be read in it."""
        try:
            seen = os.lstat(self.path)
        except OSError:
            return False
        return (
            seen.st_size == self.size
            and seen.st_mtime_ns == self.changed_ns
            and seen.st_ino == self.inode
            and seen.st_dev == self.device
        )


class Look(Struct, frozen=True, kw_only=True):
    """What one look at a run found: the folder of its logs, and every journal file in it."""

    folder: Folder
    """Its logs."""
    files: tuple[File, ...]
    """Its journal files."""
    until: float
    """Monotonic time from which on it is no longer enough to compare."""

    def is_as_it_was(self, now: float) -> bool:
        """Whether nothing of the run changed; `now` is monotonic."""
        return now < self.until and self.folder.is_as_it_was() and all(file.is_as_it_was() for file in self.files)


def folder_now(path: Path) -> Folder | None:
    """A folder as it is; None if it is none, or may not be looked at."""
    try:
        seen = path.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(seen.st_mode):
        return None
    settled = seen.st_mtime_ns + int(SETTLED_S * 1e9) < time.time_ns()
    return Folder(path=str(path), device=seen.st_dev, inode=seen.st_ino, changed_ns=seen.st_mtime_ns, settled=settled)


def look(folder: Folder, files: Iterable[tuple[Path, Identity]], *, until: float) -> Look:
    """The look that found `folder` and, by their logical paths, `files`."""
    found = [
        File(
            path=str(archive_of(path) if identity.archived else path),
            device=identity.device,
            inode=identity.inode,
            size=identity.size,
            changed_ns=identity.changed_ns,
        )
        for path, identity in files
    ]
    return Look(folder=folder, files=tuple(found), until=until)

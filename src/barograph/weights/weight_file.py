"""One open file of weights: read at given places, and checked for having stayed what it was.

Files are read with `pread`. A mapped file that someone cuts kills the process that looks at it; here it is an error
that says so.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from barograph.errors import CheckpointChanged, CheckpointError

FILE_MISSING = "A checkpoint that is still being written is complete later; otherwise copy or save it again"


class WeightFile(Struct, frozen=True, kw_only=True):
    """A regular file that is open for reading."""

    path: Path
    """Where it was opened."""
    descriptor: int
    """The open file."""
    size: int
    """Bytes when it was opened."""
    modified_ns: int
    """Time of its last change when it was opened."""
    identity: tuple[int, int]
    """Device and inode: the same for hard links of one file."""

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill `target` from `offset` on; raises `CheckpointChanged` where the file ends before it should."""
        done, size = 0, len(target)
        while done < size:
            try:
                count = os.preadv(self.descriptor, [target[done:] if done else target], offset + done)
            except OSError as error:
                raise CheckpointError(f"cannot be read: {error.strerror}", where=self._at(offset + done)) from error
            if count == 0:
                raise CheckpointChanged(
                    f"the file ends at byte {offset + done}; it had {self.size}",
                    where=str(self.path),
                    advice="It was cut while it was read; analyse it again when nobody writes to it",
                )
            done += count

    def read(self, count: int, offset: int) -> bytes:
        """`count` bytes from `offset` on."""
        target = bytearray(count)
        self.read_into(memoryview(target), offset)
        return bytes(target)

    def must_be_unchanged(self) -> None:
        """Raise `CheckpointChanged` if the file was written to since it was opened."""
        now = os.fstat(self.descriptor)
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified_ns):
            raise CheckpointChanged(
                f"the file changed while it was read: {self.size} bytes before, {now.st_size} after",
                where=str(self.path),
                advice="Analyse it again when nobody writes to it",
            )

    def _at(self, offset: int) -> str:
        return f"{self.path}, byte {offset}"


@contextmanager
def opened(path: Path) -> Iterator[WeightFile]:
    """The file, open until the block ends. Raises `CheckpointError` for what is not there or no regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(f"cannot be opened: {said}", where=str(path), advice=FILE_MISSING) from error
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            raise CheckpointError("not a regular file", where=str(path), advice="Name a folder or a file of weights")
        yield WeightFile(
            path=path,
            descriptor=descriptor,
            size=now.st_size,
            modified_ns=now.st_mtime_ns,
            identity=(now.st_dev, now.st_ino),
        )
    finally:
        os.close(descriptor)


def must_stay_inside(path: Path, folder: Path) -> None:
    """Raise `CheckpointError` if `path`, followed through links, leaves `folder`.

    The cache of the Hugging Face hub is the one exception: there, `snapshots/<revision>/x` links to `blobs/<hash>` of
    the same repository.
    """
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise CheckpointError(f"cannot be followed: {error}", where=str(path), advice=FILE_MISSING) from error
    if real.is_relative_to(home):
        return
    if home.parent.name == "snapshots" and real.parent == home.parent.parent / "blobs":
        return
    raise CheckpointError(
        f"a link that leads out of the checkpoint, to {real}",
        where=str(path),
        advice="Copy the file into the folder if it belongs there",
    )

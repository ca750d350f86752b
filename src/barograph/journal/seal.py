"""Compresses one journal file that nobody will write to again, and removes the original.

The archive is written beside it under a draft name, synced, read back and compared, given the original's times and
mode, and only then renamed; the original goes last. Whatever dies in between leaves the original, or the whole archive,
or both: then the original is the one that counts, and the next call compares the two and removes it.

While this goes on the original is locked; a writer holds a lock of its own on the file it writes, so neither begins
where the other is. A file that changed meanwhile, by whoever knows no locks, stays as it is.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import zstandard

from barograph.errors import DamagedArchive, WriteError
from barograph.journal.append_file import CANNOT_SYNC
from barograph.journal.archive import FRAME_BYTES, MOST_FRAMES, SEEKABLE, SKIPPABLE, Archive
from barograph.journal.layout import archive_of, open_folder, open_regular_in

DRAFT = ".draft"
LEVEL = 3


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """One journal file that was compressed."""

    before: int
    """Bytes of the original."""
    after: int
    """Bytes of the archive."""


def seal(root: Path, path: Path, *, expected: os.stat_result, go_on: Callable[[], bool] = lambda: True) -> Sealed:
    """Replaces the journal file `path` by its archive; `expected` is how it was when it was found to be complete.

    `go_on` is asked between frames. Raises `WriteError` if the file is not what it was, is held by a writer, or has
    another archive already; `UnsafePath` or `OSError` as the disk says. The original is then still there.
    """
    folder = open_folder(root, path.parent)
    try:
        original = open_regular_in(folder, path)
        try:
            _lock(original, path)
            return _Sealing(folder, original, path, expected=expected, go_on=go_on).run()
        finally:
            os.close(original)
    finally:
        os.close(folder)


def frames(descriptor: int, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file, cut after the last newline of each 64 KiB; where it has none, after all."""
    offset = 0
    while offset < size:
        piece = os.pread(descriptor, min(FRAME_BYTES, size - offset), offset)
        if not piece:
            raise WriteError("it became shorter while it was compressed")
        if offset + len(piece) < size:
            piece = piece[: piece.rfind(b"\n") + 1] or piece
        yield piece
        offset += len(piece)


class _Sealing:
    """One journal file on its way into its archive; every name is looked up in the open folder."""

    def __init__(
        self, folder: int, original: int, path: Path, *, expected: os.stat_result, go_on: Callable[[], bool]
    ) -> None:
        self._folder = folder
        self._original = original
        self._path = path
        self._archive = archive_of(path)
        self._draft = archive_of(path).with_name(archive_of(path).name + DRAFT)
        self._expected = expected
        self._go_on = go_on

    def run(self) -> Sealed:
        self._must_be_unchanged()
        try:
            standing = open_regular_in(self._folder, self._archive)
        except FileNotFoundError:
            self._make()
        else:
            # Of a call that died before it removed the original; or somebody else's.
            try:
                self._must_hold_the_same(standing, str(self._archive))
            except DamagedArchive as error:
                raise WriteError(
                    f"an archive that cannot be read lies beside it: {error}", where=str(self._path)
                ) from error
        size = os.stat(self._archive.name, dir_fd=self._folder, follow_symlinks=False).st_size
        self._must_be_unchanged()
        os.unlink(self._path.name, dir_fd=self._folder)
        _sync_folder(self._folder)
        return Sealed(before=self._expected.st_size, after=size)

    def _make(self) -> None:
        name = self._draft.name
        with suppress(FileNotFoundError):  # of a call that died
            os.unlink(name, dir_fd=self._folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        draft = os.open(name, flags, 0o600, dir_fd=self._folder)
        try:
            try:
                self._compress(draft)
                self._look_like_the_original(draft)
                os.fsync(draft)
                self._must_hold_the_same(os.dup(draft), str(self._draft))
            finally:
                os.close(draft)
            self._must_be_unchanged()
            os.rename(name, self._archive.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
            raise
        _sync_folder(self._folder)

    def _compress(self, draft: int) -> None:
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        entries = bytearray()
        count = 0
        for piece in frames(self._original, self._expected.st_size):
            if not self._go_on():
                raise WriteError("asked to stop", where=str(self._path))
            packed = compressor.compress(piece)
            _write(draft, packed)
            entries += len(packed).to_bytes(4, "little") + len(piece).to_bytes(4, "little")
            count += 1
            if count > MOST_FRAMES:
                raise WriteError(
                    f"it is too large for one archive: more than {MOST_FRAMES} frames", where=str(self._path)
                )
        foot = count.to_bytes(4, "little") + b"\0" + SEEKABLE.to_bytes(4, "little")
        head = SKIPPABLE.to_bytes(4, "little") + (len(entries) + len(foot)).to_bytes(4, "little")
        _write(draft, head + entries + foot)

    def _look_like_the_original(self, draft: int) -> None:
        """Whoever could read the journal can read its archive, and it is as old."""
        status = self._expected
        with suppress(PermissionError):  # ours is not the owner's process: the file is then ours
            os.fchown(draft, status.st_uid, status.st_gid)
        os.fchmod(draft, stat.S_IMODE(status.st_mode))
        os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _must_hold_the_same(self, descriptor: int, where: str) -> None:
        """Reads the archive of `descriptor`, and closes it; raises `WriteError` or `DamagedArchive`."""
        archive = Archive(descriptor, where=where)
        try:
            offset = 0
            same = archive.size == self._expected.st_size
            while same and offset < archive.size and self._go_on():
                data = archive.read(FRAME_BYTES, offset).data
                same = os.pread(self._original, len(data), offset) == data
                offset += len(data)
        finally:
            archive.close()
        if not same or offset < archive.size:
            raise WriteError("its archive does not hold what it holds", where=where)

    def _must_be_unchanged(self) -> None:
        name = os.stat(self._path.name, dir_fd=self._folder, follow_symlinks=False)
        for seen in (name, os.fstat(self._original)):
            if _identity(seen) != _identity(self._expected):
                raise WriteError("it is not what it was when it was found to be complete", where=str(self._path))


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WriteError("a writer has it open", where=str(path)) from None


def _sync_folder(descriptor: int) -> None:
    """Makes the names in a folder survive the machine, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]

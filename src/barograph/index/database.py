"""Opens the SQLite file of an index: for writing by the one process that indexes, for reading by everyone."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from barograph.index.schema import IndexDamaged, create, decode_text, is_damage, is_ours, verify

BUSY_S = 5.0
VERIFIED_AT_ONCE = 32 * 1024 * 1024


class Opened(Struct, frozen=True, kw_only=True):
    """A connection for writing."""

    connection: sqlite3.Connection
    """In autocommit mode; use `transaction`."""
    replaced: Annotated[str | None, Meta(description="Why the index that was there could not be used, if so.")]
    verified: Annotated[
        bool, Meta(description="Whether every row was checked; else `verify_file` is still to be called.")
    ]


def open_for_writing(path: Path) -> Opened:
    """The index at `path`; a missing, broken or foreign one is replaced by an empty one.

    One of up to `VERIFIED_AT_ONCE` bytes is checked from end to end. A larger one would keep its readers waiting for
    seconds: it is to be checked while they read, and until then every row is checked when it is read.
    """
    try:
        if not path.exists():
            return Opened(connection=create_anew(path), replaced=None, verified=True)
        small = path.lstat().st_size <= VERIFIED_AT_ONCE
        return Opened(connection=_open_ours(path, whole=small), replaced=None, verified=small)
    except IndexDamaged as error:
        reason = error.problem
    except sqlite3.DatabaseError as error:
        if not is_damage(error) and not path.is_dir():
            raise
        reason = str(error)
    return Opened(connection=create_anew(path), replaced=reason, verified=True)


def verify_file(path: Path, *, stopped: Callable[[], bool]) -> None:
    """Checks every row of the index at `path` beside whoever writes it; raises `IndexDamaged` at what is wrong.

    Ends early when `stopped` says so, and when the file was replaced meanwhile. About a second per GB.
    """
    connection = open_for_reading(path)
    if connection is None:
        return
    try:
        connection.set_progress_handler(stopped, 100_000)
        verify(connection, stopped=stopped)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise IndexDamaged(f"SQLite says: {error}") from error
        if not stopped():
            raise
    finally:
        connection.close()


def create_anew(path: Path) -> sqlite3.Connection:
    """An empty index at `path`; whatever was there is removed, a folder of that name is moved aside."""
    # The database goes first: a reader that comes in between finds nothing, and never a new log beside an old file.
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
        try:
            name.unlink(missing_ok=True)
        except OSError:
            name.rename(_free_name(name))
    connection = _connect(f"file:{_quoted(path)}?mode=rwc")
    try:
        connection.execute("PRAGMA page_size = 8192")
        _prepare(connection)
        create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            connection.execute("ROLLBACK")
        raise


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """The index at `path` in a read transaction: one unchanging view of it. None if there is none of this version.

    Raises `sqlite3.Error` if it is there and cannot be read.
    """
    before = inode(path)
    if before is None:
        return None
    connection = _connect(f"file:{_quoted(path)}?mode=ro")
    try:
        connection.execute("BEGIN")
        # The first read fixes the view. If the file was replaced meanwhile, the log may be that of its successor.
        if is_ours(connection) and inode(path) == before:
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def open_empty() -> sqlite3.Connection:
    """An index without rows, to read from while there is no real one."""
    connection = _connect(":memory:")
    create(connection)
    return connection


def inode(path: Path) -> tuple[int, int] | None:
    """Device and number of the regular file at `path`; None if there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _open_ours(path: Path, *, whole: bool) -> sqlite3.Connection:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if os.path.lexists(name) and inode(name) is None:
            raise IndexDamaged(f"{name.name} is no regular file")
    connection = _connect(f"file:{_quoted(path)}?mode=rw")
    try:
        if not is_ours(connection):
            raise IndexDamaged("it is no index of this version")
        _prepare(connection)
        if whole:
            verify(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    # The owner of a connection may hand it from one thread to another; it never uses it in two at once.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
    connection.text_factory = decode_text
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit survives the process at once; after a power cut the last ones may be missing and are read again.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16384")
    # Pages of 8 kB until the log is written back: a chunk's open blocks change several times in between.
    connection.execute("PRAGMA wal_autocheckpoint = 4096")


def _quoted(path: Path) -> str:
    return path.as_uri().removeprefix("file://")


def _free_name(path: Path) -> Path:
    number = 1
    while os.path.lexists(f"{path}.aside-{number}"):
        number += 1
    return Path(f"{path}.aside-{number}")

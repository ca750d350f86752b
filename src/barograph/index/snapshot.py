"""Reads an index: one unchanging view at a time, from any thread or process."""

import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from barograph.index.database import inode, open_empty, open_for_reading
from barograph.index.place import REBUILD, Place, shared_place
from barograph.index.schema import IndexDamaged, is_damage

MADE_WITHIN_S = 2.0
"""Seconds after which a file that has no version yet will not get one."""
WAITING = 4
"""Connections that are kept open between snapshots: opening one costs more than most questions."""


class Snapshot:
    """One view of the index, for the functions of `query`; it does not change while it is open."""

    def __init__(self, connection: sqlite3.Connection, *, root: Path, ready: bool) -> None:
        self.connection = connection
        self.root = root
        self.ready = ready


class Index:
    """Where to read the index of a root. Every snapshot has a connection to itself; a few wait for the next one."""

    def __init__(self, root: Path, *, place: Place | None = None) -> None:
        """`place` is that of an `Indexer` of this process whose index is private; else the root's own is read."""
        self.place = place or shared_place(root)
        self._waiting: deque[tuple[tuple[int, int], sqlite3.Connection]] = deque()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A view of the index as of now. Without an index, or while it is built, `ready` is false.

        Raises `IndexDamaged` if what is read turns out to be damaged; the indexing process is told to rebuild.
        """
        opened = inode(self.place.database)
        connection: sqlite3.Connection | None = None
        try:
            connection = self._connection(opened)
            if connection is None:
                self._ask_if_foreign(opened)
                connection = open_empty()
            (complete,) = connection.execute("SELECT complete FROM about").fetchone()
            yield Snapshot(connection, root=self.place.root, ready=bool(complete))
            if opened is not None and connection.in_transaction and len(self._waiting) < WAITING:
                connection.execute("ROLLBACK")
                self._waiting.append((opened, connection))
                connection = None
        except IndexDamaged:
            self._ask_for_rebuild(opened)
            raise
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._ask_for_rebuild(opened)
            raise IndexDamaged(
                f"the index cannot be read: {error}", where=str(self.place.database), advice="It is built again"
            ) from error
        finally:
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Closes the connections that wait; the next snapshot opens one."""
        with suppress(IndexError):
            while True:
                self._waiting.pop()[1].close()

    def _connection(self, now: tuple[int, int] | None) -> sqlite3.Connection | None:
        """A connection to the file that is there now, in a read transaction; None if there is no index in it."""
        with suppress(IndexError):
            while True:
                opened, connection = self._waiting.pop()
                if opened == now:
                    connection.execute("BEGIN")
                    return connection
                connection.close()
        return open_for_reading(self.place.database)

    def _ask_if_foreign(self, opened: tuple[int, int] | None) -> None:
        """Has a file that is no index of this version replaced, unless someone may just be making it one."""
        with suppress(OSError):
            if opened is not None and time.time() - self.place.database.lstat().st_mtime > MADE_WITHIN_S:
                self._ask_for_rebuild(opened)

    def _ask_for_rebuild(self, opened: tuple[int, int] | None) -> None:
        # A file that was replaced under the reader looks damaged and is not.
        if opened is not None and inode(self.place.database) == opened:
            with suppress(OSError):
                (self.place.folder / REBUILD).touch()

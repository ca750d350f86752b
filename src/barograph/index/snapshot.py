"""Reads an index: one unchanging view at a time, from any thread or process."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from barograph.index.database import inode, open_empty, open_for_reading
from barograph.index.place import REBUILD, Place, shared_place
from barograph.index.schema import IndexDamaged, is_damage


class Snapshot:
    """One view of the index, for the functions of `query`; it does not change while it is open."""

    def __init__(self, connection: sqlite3.Connection, *, root: Path, ready: bool) -> None:
        self.connection = connection
        self.root = root
        self.ready = ready


class Index:
    """Where to read the index of a root. It holds nothing open; every snapshot has its own connection."""

    def __init__(self, root: Path, *, place: Place | None = None) -> None:
        """`place` is that of an `Indexer` of this process whose index is private; else the root's own is read."""
        self.place = place or shared_place(root)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A view of the index as of now. Without an index, or while it is built, `ready` is false.

        Raises `IndexDamaged` if what is read turns out to be damaged; the indexing process is told to rebuild.
        """
        opened = inode(self.place.database)
        connection: sqlite3.Connection | None = None
        try:
            connection = open_for_reading(self.place.database)
            if connection is None:
                connection = open_empty()
            (complete,) = connection.execute("SELECT complete FROM about").fetchone()
            yield Snapshot(connection, root=self.place.root, ready=bool(complete))
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

    def _ask_for_rebuild(self, opened: tuple[int, int] | None) -> None:
        # A file that was replaced under the reader looks damaged and is not.
        if opened is not None and inode(self.place.database) == opened:
            with suppress(OSError):
                (self.place.folder / REBUILD).touch()

"""Follows every journal file of every run under a root into the index.

A scan looks at each file's inode, size and time, and reads on where the index says it stopped. The rows of a batch and
the offset after it are committed together, so the index is at any moment the fold of a prefix of every file: a process
that dies anywhere leaves an index from which the next one goes on. If a file of a run shrank, was replaced, begins with
other bytes than before, or vanished, the run is forgotten and read again; so is everything if the index is damaged.
"""

import shutil
import sqlite3
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from barograph.errors import RootBusy, UnsafePath
from barograph.index import rows
from barograph.index.database import create_anew, inode, open_for_writing, transaction
from barograph.index.follow_file import follow_file, goes_on
from barograph.index.lock import IndexLock
from barograph.index.place import REBUILD, Place, writable_place
from barograph.index.rows import Stored
from barograph.index.schema import IndexDamaged, is_damage
from barograph.index.source import identity
from barograph.index.unread import irregular_files, unread_runs, unreadable
from barograph.journal.layout import JournalFile, journal_files, names_a_run, run_directories

NOTICES = 20
"""Most notices about the files of one run, or about the root."""


class ScanResult(Struct, frozen=True, kw_only=True):
    """What one scan found."""

    changed: Annotated[tuple[str, ...], Meta(description="Runs that have new lines, files or notices.")]
    gone: Annotated[tuple[str, ...], Meta(description="Runs that are not there any more.")]
    rebuilt: Annotated[str | None, Meta(description="Why the index was thrown away and built again, if it was.")] = None


class _Run:
    """What the database has of a run, kept in memory so that a scan without news asks the database nothing."""

    def __init__(self, connection: sqlite3.Connection, number: int) -> None:
        self.id = number
        self.sources: dict[str, Stored] = rows.load_sources(connection, number)
        self.notices: frozenset[str] = rows.load_notices(connection, number)


class Indexer:
    """Owns the lock of a root and the one connection that writes its index."""

    def __init__(self, root: Path, *, place: Place | None = None) -> None:
        """Raises `RootBusy` if another process indexes this root. Nothing is read before the first `scan`."""
        self.place = place or writable_place(root)
        self._owns_folder = place is None and self.place.notice is not None
        self._lock = IndexLock(self.place.folder)
        try:
            opened = open_for_writing(self.place.database)
        except BaseException:
            self._lock.close()
            raise
        self._connection = opened.connection
        self._replaced = opened.replaced
        self._inode = inode(self.place.database)
        self._runs = self._load()
        self._notices = rows.load_notices(self._connection, rows.ROOT)

    def scan(self) -> ScanResult:
        """Brings the index up to date with the journals; a damaged or deleted one is built again within this call.

        Raises `RootBusy` if the lock file was deleted, since another process may hold its successor: make a new
        `Indexer`. An error of SQLite that is no damage (a full disk) is raised, and the next scan tries again.
        """
        if not self._lock.still_valid():
            raise RootBusy("the index folder was deleted while it was in use", where=str(self.place.folder))
        if reason := self._reason_to_rebuild():
            self._rebuild(reason)
        try:
            result = self._scan()
        except (sqlite3.DatabaseError, IndexDamaged) as error:
            if isinstance(error, sqlite3.Error) and not is_damage(error):
                self._runs = self._load()
                self._notices = rows.load_notices(self._connection, rows.ROOT)
                raise
            self._rebuild(str(error))
            result = self._scan()
        result = replace(result, rebuilt=self._replaced)
        self._replaced = None
        return result

    def close(self) -> None:
        """Closes the index and lets go of the lock; a private index that was made for this is deleted."""
        self._connection.close()
        self._lock.close()
        if self._owns_folder:
            shutil.rmtree(self.place.folder, ignore_errors=True)

    def __enter__(self) -> "Indexer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> dict[str, _Run]:
        return {name: _Run(self._connection, number) for name, number in rows.load_runs(self._connection).items()}

    def _reason_to_rebuild(self) -> str | None:
        if (self.place.folder / REBUILD).exists():
            return "a reader found it damaged"
        if self._inode is None or inode(self.place.database) != self._inode:
            return "its file was deleted or replaced"
        return None

    def _rebuild(self, reason: str) -> None:
        self._connection.close()
        self._connection = create_anew(self.place.database)
        self._inode = inode(self.place.database)
        self._replaced = reason
        self._runs, self._notices = {}, frozenset()
        (self.place.folder / REBUILD).unlink(missing_ok=True)

    def _scan(self) -> ScanResult:
        changed, found = [], set()
        for folder in run_directories(self.place.root):
            if not names_a_run(folder.name):
                continue  # it could not be named in a request; `unread_runs` says so
            found.add(folder.name)
            if self._scan_run(folder):
                changed.append(folder.name)
        gone = [name for name in self._runs if name not in found]
        for name in gone:
            with transaction(self._connection):
                rows.forget_run(self._connection, self._runs[name].id)
            del self._runs[name]
        self._store_root_notices(frozenset(sorted(unread_runs(self.place.root))[:NOTICES]))
        if not rows.is_complete(self._connection):
            with transaction(self._connection):
                rows.set_complete(self._connection)
        return ScanResult(changed=tuple(changed), gone=tuple(gone))

    def _scan_run(self, folder: Path) -> bool:
        """Whether anything of the run changed."""
        files = {str(file.path.relative_to(self.place.root)): file for file in journal_files(folder)}
        changed = folder.name not in self._runs
        if changed:
            with transaction(self._connection):
                number = rows.add_run(self._connection, folder.name)
            self._runs[folder.name] = _Run(self._connection, number)
        run = self._runs[folder.name]
        notices = irregular_files(folder, {file.path.name for file in files.values()})
        if any(not self._is_still_there(path, one, files) for path, one in run.sources.items()):
            self._forget(run)
            changed = True
        for path, file in files.items():
            try:
                changed |= self._scan_file(run, path, file)
            except FileNotFoundError:
                continue  # deleted since it was listed; the next scan does not list it
            except (OSError, UnsafePath) as error:
                notices.add(unreadable(path, error))
                run.sources = rows.load_sources(self._connection, run.id)
        changed |= self._store_notices(run, frozenset(sorted(notices)[:NOTICES]))
        return changed

    def _is_still_there(self, path: str, stored: Stored, files: dict[str, JournalFile]) -> bool:
        """Whether a file that was read before is there and has lost nothing; one that cannot be read counts so."""
        if path not in files:
            return False
        try:
            seen = identity(files[path].path.lstat())
            return seen == stored.state.identity or goes_on(
                stored.state, seen, root=self.place.root, path=files[path].path
            )
        except FileNotFoundError:
            return False
        except (OSError, UnsafePath):
            return True

    def _scan_file(self, run: _Run, path: str, file: JournalFile) -> bool:
        """Reads what is new in a file; whether there was anything."""
        seen = identity(file.path.lstat())
        known = run.sources.get(path)
        if known is not None and seen == known.state.identity:
            return False
        run.sources[path] = follow_file(
            self._connection, file, root=self.place.root, run=run.id, known=known, identity=seen
        )
        return True

    def _store_notices(self, run: _Run, notices: frozenset[str]) -> bool:
        if notices == run.notices:
            return False
        with transaction(self._connection):
            rows.store_notices(self._connection, run.id, notices)
            rows.touch_run(self._connection, run.id)
        run.notices = notices
        return True

    def _store_root_notices(self, notices: frozenset[str]) -> None:
        if notices != self._notices:
            with transaction(self._connection):
                rows.store_notices(self._connection, rows.ROOT, notices)
            self._notices = notices

    def _forget(self, run: _Run) -> None:
        with transaction(self._connection):
            rows.forget_sources(self._connection, run.id)
            rows.touch_run(self._connection, run.id)
        run.sources = {}

"""Follows every journal file of every run under a root into the index.

A scan looks at each file's inode, size and time, and reads on where the index says it stopped. The rows of a batch and
the offset after it are committed together, so the index is at any moment the fold of a prefix of every file: a process
that dies anywhere leaves an index from which the next one goes on. If a file of a run shrank, was replaced, begins with
other bytes than before, or vanished, the run is forgotten and read again; so is everything if the index is damaged. A
file that was compressed is the same file: its path without `.zst` and the offsets in it are what the index knows.

A run in which nothing changed costs one question for its folder and one for each of its files.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from barograph.errors import DamagedArchive, JournalError, RootBusy
from barograph.index import rows
from barograph.index.change import FILES, Change, ScanResult
from barograph.index.database import create_anew, inode, open_for_writing, transaction
from barograph.index.follow_file import follow_file, goes_on
from barograph.index.lock import RootLock
from barograph.index.look import AGAIN_S, Folder, Look, folder_now, look
from barograph.index.place import REBUILD, Place, writable_place
from barograph.index.root_folders import RootFolders
from barograph.index.rows import Stored
from barograph.index.schema import IndexDamaged, is_damage
from barograph.index.source import Identity, identity
from barograph.index.unread import irregular_files, unread_runs, unreadable
from barograph.journal.layout import LOGS, JournalFile, journal_files, names_a_run

NOTICES = 20
"""Most notices about the files of one run, or about the root."""


class Complete(Struct, frozen=True, kw_only=True):
    """A journal file that nobody will write to any more, and that is not compressed yet."""

    path: Path
    """Where it lies."""
    identity: Identity
    """How it was when it was read to its end."""


class _Refused(Struct, frozen=True, kw_only=True):
    """An archive that cannot be opened."""

    identity: Identity
    """How it was when that was tried."""
    error: DamagedArchive
    """What was wrong."""


class _Run:
    """What the database has of a run, kept in memory so that a scan without news asks the database nothing."""

    def __init__(self, connection: sqlite3.Connection, number: int) -> None:
        self.id = number
        self.sources: dict[str, Stored] = rows.load_sources(connection, number)
        self.notices: frozenset[str] = rows.load_notices(connection, number)
        self.refused: dict[str, _Refused] = {}
        """Archives that cannot be opened, by path: they are not tried again until they change."""
        self.look: Look | None = None
        """What the last scan found; None if it must be scanned again in any case."""

    @property
    def grown_ns(self) -> int:
        """When any file of it last grew, nanoseconds since 1970; 0 without files."""
        return max((stored.state.grown_ns for stored in self.sources.values()), default=0)


class Indexer:
    """Owns the lock of a root and the one connection that writes its index."""

    def __init__(self, root: Path, *, place: Place | None = None) -> None:
        """Raises `RootBusy` if another process indexes this root. Nothing is read before the first `scan`."""
        self.place = place or writable_place(root)
        self._owns_folder = place is None and self.place.notice is not None
        self._lock = RootLock(self.place.folder)
        try:
            opened = open_for_writing(self.place.database)
        except BaseException:
            self._lock.close()
            raise
        self._connection = opened.connection
        self._replaced = opened.replaced
        self.verified = opened.verified
        """Whether every row of the index was checked when it was opened; else that is still to be done."""
        self._inode = inode(self.place.database)
        self._runs = self._load()
        self._notices = rows.load_notices(self._connection, rows.ROOT)
        self._folders = RootFolders(self.place.root)
        self._found: set[str] = set()

    def scan(self, runs: Iterable[str] | None = None) -> ScanResult:
        """Brings the index up to date with the journals; a damaged or deleted one is built again within this call.

        `runs` names the only ones that are looked at; None is every run, and the root itself. Raises `RootBusy` if the
        lock file was deleted, since another process may hold its successor: make a new `Indexer`. An error of SQLite
        that is no damage (a full disk) is raised, and the next scan tries again.
        """
        if not self._lock.still_valid():
            raise RootBusy("the index folder was deleted while it was in use", where=str(self.place.folder))
        if reason := self._reason_to_rebuild():
            self._rebuild(reason)
            runs = None
        try:
            result = self._scan() if runs is None else self._scan_some(runs)
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

    def folders_to_watch(self, *, live_s: float, most: int) -> list[Path]:
        """The root, and at most `most` folders in which something may happen soon: the logs of runs that grew within
        `live_s` seconds, newest first, and folders without logs yet."""
        since = time.time_ns() - int(live_s * 1e9)
        live = [(run.grown_ns, name) for name, run in self._runs.items() if run.grown_ns >= since]
        found = [self._folder(name) / LOGS for _, name in sorted(live, reverse=True)]
        if not self._folders.itself:
            found += [self.place.root / name for name in self._folders.names if name not in self._found]
        return [self.place.root, *found[:most]]

    def complete_files(self, *, quiet_s: float) -> list[Complete]:
        """Journal files to which nobody will write any more: they say so, or a newer attempt exists; and nobody has for
        `quiet_s` seconds. Silence alone is no end. Oldest first."""
        before = time.time_ns() - int(quiet_s * 1e9)
        found = []
        for run in self._runs.values():
            newest = max((stored.state.attempt for stored in run.sources.values()), default=0)
            for path, stored in run.sources.items():
                state = stored.state
                ended = state.complete is not None or state.attempt < newest
                if ended and not state.identity.archived and 0 <= state.identity.changed_ns < before:
                    found.append(Complete(path=self.place.root / path, identity=state.identity))
        return sorted(found, key=lambda one: one.identity.changed_ns)

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
        self._runs, self._notices, self._found = {}, frozenset(), set()
        (self.place.folder / REBUILD).unlink(missing_ok=True)

    def _scan(self) -> ScanResult:
        changed, found = [], set()
        listed = self._folders.update()
        complete = rows.is_complete(self._connection)
        now = time.monotonic()
        for name in self._names(newest_first=not complete):
            run = self._runs.get(name)
            if run is not None and run.look is not None and run.look.is_as_it_was(now):
                found.add(name)
            elif self._is_run(name):
                found.add(name)
                if what := self._scan_run(name):
                    changed.append(Change(run=name, what=tuple(sorted(what))))
        gone = [name for name in self._runs if name not in found]
        for name in gone:
            self._forget_run(name)
        if listed or found != self._found:
            self._store_root_notices(frozenset(sorted(unread_runs(self.place.root))[:NOTICES]))
        self._found = found
        if not complete:
            with transaction(self._connection):
                rows.set_complete(self._connection)
        return ScanResult(changed=tuple(sorted(changed, key=lambda change: change.run)), gone=tuple(gone))

    def _scan_some(self, names: Iterable[str]) -> ScanResult:
        changed, gone = [], []
        for name in sorted(set(names)):
            if names_a_run(name) and self._is_run(name):
                if what := self._scan_run(name):
                    changed.append(Change(run=name, what=tuple(sorted(what))))
                self._found.add(name)
            elif name in self._runs:
                self._forget_run(name)
                gone.append(name)
        return ScanResult(changed=tuple(changed), gone=tuple(gone))

    def _names(self, *, newest_first: bool) -> list[str]:
        """What may be the name of a run, by name; or those whose logs changed last first, who is looked at now."""
        if self._folders.itself:
            return [self.place.root.name] if names_a_run(self.place.root.name) else []
        if not newest_first:
            return list(self._folders.names)
        seen = {name: folder_now(self._folder(name) / LOGS) for name in self._folders.names}
        return sorted(seen, key=lambda name: (-folder.changed_ns if (folder := seen[name]) else 0, name))

    def _folder(self, name: str) -> Path:
        return self.place.root if self._folders.itself else self.place.root / name

    def _is_run(self, name: str) -> bool:
        return name == self.place.root.name if self._folders.itself else self._folders.is_run(name)

    def _scan_run(self, name: str) -> set[str]:
        """What changed of the run, in the words of `Change.what`."""
        folder = self._folder(name)
        logs = folder_now(folder / LOGS)
        files = {str(file.path.relative_to(self.place.root)): file for file in journal_files(folder)}
        what = set()
        if name not in self._runs:
            what.add(FILES)
            with transaction(self._connection):
                number = rows.add_run(self._connection, name)
            self._runs[name] = _Run(self._connection, number)
        run = self._runs[name]
        run.look = None
        notices = irregular_files(folder, {file.place.name for file in files.values()})
        if any(not self._is_still_there(run, path, files) for path in run.sources):
            self._forget(run)
            what.add(FILES)
        as_read = 0
        for path, file in files.items():
            try:
                what |= self._scan_file(run, path, file)
                as_read += 1
            except FileNotFoundError:
                continue  # deleted since it was listed; the next scan does not list it
            except DamagedArchive as error:
                notices.add(unreadable(path, error))
                as_read += 1
            except (OSError, JournalError) as error:
                notices.add(unreadable(path, error))
                run.sources = rows.load_sources(self._connection, run.id)
        if self._store_notices(run, frozenset(sorted(notices)[:NOTICES])):
            what.add(FILES)
        if logs is not None and as_read == len(files):
            run.look = self._look(run, logs, files)
        return what

    def _look(self, run: _Run, logs: Folder, files: dict[str, JournalFile]) -> Look:
        """What was found, to be compared with next time."""
        seen = {path: stored.state.identity for path, stored in run.sources.items()}
        seen |= {path: refused.identity for path, refused in run.refused.items()}
        found = [(file.path, seen[path]) for path, file in files.items()]
        # Not all of a root's runs are to be listed again at the same time.
        return look(logs, found, until=time.monotonic() + AGAIN_S * (1 + run.id % 16 / 16))

    def _is_still_there(self, run: _Run, path: str, files: dict[str, JournalFile]) -> bool:
        """Whether a file that was read before is there and has lost nothing; one that cannot be read counts so."""
        if path not in files:
            return False
        state = run.sources[path].state
        try:
            seen = identity(files[path].path)
            return seen == state.identity or goes_on(state, seen, root=self.place.root, path=files[path].path)
        except FileNotFoundError:
            return False
        except (OSError, JournalError):
            return True

    def _scan_file(self, run: _Run, path: str, file: JournalFile) -> set[str]:
        """Reads what is new in a file; what that was, in the words of `Change.what`."""
        seen = identity(file.path)
        known = run.sources.get(path)
        refused = run.refused.pop(path, None)
        if known is not None and seen == known.state.identity:
            return set()
        try:
            if refused is not None and refused.identity == seen:
                raise refused.error.with_traceback(None)
            followed = follow_file(self._connection, file, root=self.place.root, run=run.id, known=known, identity=seen)
        except DamagedArchive as error:
            run.refused[path] = _Refused(identity=seen, error=error)
            raise
        run.sources[path] = followed.stored
        return followed.what if known is not None else {*followed.what, FILES}

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

    def _forget_run(self, name: str) -> None:
        with transaction(self._connection):
            rows.forget_run(self._connection, self._runs[name].id)
        del self._runs[name]
        self._found.discard(name)

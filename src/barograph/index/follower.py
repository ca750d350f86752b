"""The thread that keeps an index up to date, or watches another process do it.

Whoever gets the lock indexes. The others read, look for news in the index itself, and take over when the lock is free.

News come twice: by file events for the runs that are alive, which are looked at at once and alone; and by a poll that
looks at every run, a few times a second, because events may be late, few, or missing.
"""

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from barograph.errors import BarographError, RootBusy
from barograph.index.change import ANY, Change, ScanResult
from barograph.index.database import inode
from barograph.index.file_events import ANYWHERE, FileEvents
from barograph.index.indexer import Indexer
from barograph.index.place import writable_place
from barograph.index.query import revisions
from barograph.index.sealer import Sealer
from barograph.index.snapshot import Index
from barograph.index.verification import Verification
from barograph.journal.layout import LOGS, PRIVATE

TAKE_OVER_S = 2.0
COMPLAIN_S = 60.0
BUSY_SHARE = 0.1
"""Share of the time that scans without news should take: a root of thousands of runs is looked at less often."""
LONGEST_PAUSE_S = 1.0
"""Longest pause for the sake of that share: a live run must not look silent because nobody looks."""
REST = 2.0
"""Pause after a look for the sake of an event, in times what it took: many runs at once are taken together."""
LIVE_S = 600.0
"""A run whose files grew within so many seconds is watched for events; the poll finds the others, which then are."""
MOST_WATCHED = 256
"""Most folders watched; the kernel has a limit that others need as well."""
LONGEST_REST_S = 0.25
"""Longest such pause."""
SEAL_AFTER_S = 7 * 86_400.0
"""Seconds without a change after which a complete journal file is compressed."""
SEAL_EVERY_S = 60.0
"""Seconds between two looks for such files."""
WATCH_AGAIN_S = 5.0
"""Seconds after which the watched folders are chosen anew, if no news came before."""

logger = logging.getLogger("barograph")


def pause_after(idle_s: float, *, every_s: float) -> float:
    """Seconds until the next scan of everything; `idle_s` is what one takes that finds no news, `every_s` the least.

    What a scan with news took says nothing of what the next one will take: the first scan of a root reads everything.
    """
    return max(every_s, min(LONGEST_PAUSE_S, idle_s / BUSY_SHARE))


def runs_of(paths: set[str], *, root: Path) -> set[str] | None:
    """The runs that changed paths lie in; None if it may be any: a path in the root itself, or the root is one run."""
    names = set()
    for path in paths:
        try:
            parts = Path(path).relative_to(root).parts
        except ValueError:
            return None
        if parts[:1] == (PRIVATE,):
            continue
        if len(parts) < 2 or parts[0] == LOGS:
            return None
        names.add(parts[0])
    return names


class Follower:
    """Owns the indexing thread of a root, from construction until `close`."""

    def __init__(
        self,
        root: Path,
        *,
        every_s: float = 0.25,
        on_change: Callable[[ScanResult], None] | None = None,
        events: bool = True,
        seal_after_s: float = SEAL_AFTER_S,
    ) -> None:
        """`on_change` is called in the thread after each scan that found news; it must not block. Without `events` it
        only polls, every `every_s` seconds or less often."""
        self._place = writable_place(root)
        if self._place.notice is not None:
            logger.warning("barograph: %s", self._place.notice)
        self.index = Index(root, place=self._place)
        """Where to read."""
        self._every_s = every_s
        self._on_change = on_change
        self._stopping = False
        self._wake = threading.Event()
        self._events = FileEvents(self._wake) if events else None
        self._sealer = Sealer(self._place.root) if self._place.notice is None else None
        self._seal_after_s = seal_after_s
        self._next_seal = 0.0
        self._next_watch = 0.0
        self._idle_s = 0.0
        self._indexer: Indexer | None = None
        self._verification: Verification | None = None
        self._revisions: dict[str, int] = {}
        self._seen: tuple[int, int] | None = None
        self._next_try = 0.0
        self._complained = -COMPLAIN_S
        self._thread = threading.Thread(target=self._run, name="barograph-index", daemon=True)
        self._thread.start()

    @property
    def indexing(self) -> bool:
        """Whether this process is the one that indexes."""
        return self._indexer is not None

    def close(self) -> None:
        """Ends the thread after the scan it is in."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        if self._events is not None:
            self._events.close()
        if self._sealer is not None:
            self._sealer.close()
        if self._verification is not None:
            self._verification.close()
        if self._place.notice is not None:
            shutil.rmtree(self._place.folder, ignore_errors=True)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        next_poll = 0.0
        while not self._stopping:
            self._wake.clear()
            paths = self._events.take() if self._events is not None else set()
            began = time.monotonic()
            runs = self._named(paths) if began < next_poll else None
            news = False
            if runs is None and paths:
                self._next_watch = 0.0  # something in the root itself: there may be another folder to watch
            if runs is None or runs:
                try:
                    news = self._look(runs)
                except Exception as error:  # noqa: BLE001 - the thread's one boundary: it must outlive a bad disk
                    self._complain(error)
            took = time.monotonic() - began
            if runs is None:
                self._idle_s = min(took, self._idle_s) if news else took
                next_poll = time.monotonic() + pause_after(self._idle_s, every_s=self._every_s)
            elif runs:
                time.sleep(min(REST * took, LONGEST_REST_S))
            self._wake.wait(max(0.0, next_poll - time.monotonic()))
        self.index.close()  # first: whoever closes last writes the log back, and one that only reads cannot
        if self._indexer is not None:
            self._indexer.close()

    def _look(self, runs: set[str] | None) -> bool:
        """Whether there was news, in these runs or in any."""
        if self._indexer is None and time.monotonic() >= self._next_try:
            self._take_over()
        indexer = self._indexer
        found = self._news() if indexer is None else self._scan(indexer, runs)
        news = bool(found.changed or found.gone or found.rebuilt)
        if self._on_change is not None and news:
            self._on_change(found)
        self._watch(found)
        if indexer is not None:
            self._seal(indexer)
        return news

    def _named(self, paths: set[str]) -> set[str] | None:
        """The runs that events speak of; None for any."""
        if self._indexer is not None:
            return runs_of(paths, root=self._place.root)
        # Another process indexes: what it commits is first in the log of the database.
        return None if paths & {f"{self._place.database}-wal", ANYWHERE} else set()

    def _watch(self, found: ScanResult) -> None:
        """Now and then says where events are wanted, and at once if there was news where none were."""
        now = time.monotonic()
        if self._events is None:
            return
        if now < self._next_watch and (
            self._indexer is None or all(self._events.watches(self._place.root / run / LOGS) for run in found.runs)
        ):
            return
        self._next_watch = now + WATCH_AGAIN_S
        if self._indexer is None:
            self._events.watch([self._place.folder])
        else:
            self._events.watch(self._indexer.folders_to_watch(live_s=LIVE_S, most=MOST_WATCHED))

    def _seal(self, indexer: Indexer) -> None:
        """Now and then, gives the sealer the files that are complete."""
        now = time.monotonic()
        if self._sealer is not None and now >= self._next_seal and self._sealer.idle:
            self._next_seal = now + min(SEAL_EVERY_S, max(self._every_s, self._seal_after_s))
            self._sealer.offer(indexer.complete_files(quiet_s=self._seal_after_s))

    def _take_over(self) -> None:
        self._next_try = time.monotonic() + TAKE_OVER_S
        try:
            self._place.folder.mkdir(exist_ok=True)
            self._indexer = Indexer(self._place.root, place=self._place)
        except RootBusy:
            return
        if not self._indexer.verified and self._verification is None:
            self._verification = Verification(self._place)

    def _scan(self, indexer: Indexer, runs: set[str] | None) -> ScanResult:
        try:
            return indexer.scan(runs)
        except (BarographError, sqlite3.Error, OSError):
            # Begin again from what is on disk: the lock may be lost, or the connection stuck.
            self._indexer = None
            self._next_try = 0.0
            indexer.close()
            raise

    def _news(self) -> ScanResult:
        """What another process's index says that it did not say before."""
        now = inode(self._place.database)
        with self.index.snapshot() as snapshot:
            found = revisions(snapshot)
        before, self._revisions = self._revisions, found
        was, self._seen = self._seen, now
        anew = was is not None and now != was  # its revisions count from the beginning again
        changed = [run for run, revision in found.items() if anew or before.get(run) != revision]
        return ScanResult(
            changed=tuple(Change(run=run, what=ANY) for run in changed),
            gone=tuple(run for run in before if run not in found),
            rebuilt="another process built it again" if anew else None,
        )

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained >= COMPLAIN_S:
            self._complained = time.monotonic()
            logger.warning("barograph: indexing failed and is tried again: %s: %s", type(error).__name__, error)

"""The thread that keeps an index up to date, or watches another process do it.

Whoever gets the lock indexes. The others read, look for news in the index itself, and take over when the lock is free.
"""

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from barograph.errors import BarographError, RootBusy
from barograph.index.indexer import Indexer, ScanResult
from barograph.index.place import writable_place
from barograph.index.query import revisions
from barograph.index.snapshot import Index

TAKE_OVER_S = 2.0
COMPLAIN_S = 60.0
BUSY_SHARE = 0.1
"""Share of the time that scans without news should take: a root of thousands of runs is looked at less often."""
LONGEST_PAUSE_S = 1.0
"""Longest pause for the sake of that share: a live run must not look silent because nobody looks."""

logger = logging.getLogger("barograph")


def pause_after(took_s: float, *, every_s: float, news: bool) -> float:
    """Seconds until the next scan, after one that took `took_s`; `every_s` is the least.

    A scan that found news says nothing of what the next one will take: the first scan of a root reads everything.
    """
    return every_s if news else max(every_s, min(LONGEST_PAUSE_S, took_s / BUSY_SHARE))


class Follower:
    """Owns the indexing thread of a root, from construction until `close`."""

    def __init__(
        self, root: Path, *, every_s: float = 0.25, on_change: Callable[[ScanResult], None] | None = None
    ) -> None:
        """`on_change` is called in the thread after each scan that found news; it must not block."""
        self._place = writable_place(root)
        if self._place.notice is not None:
            logger.warning("barograph: %s", self._place.notice)
        self.index = Index(root, place=self._place)
        """Where to read."""
        self._every_s = every_s
        self._on_change = on_change
        self._stop = threading.Event()
        self._indexer: Indexer | None = None
        self._revisions: dict[str, int] = {}
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
        self._stop.set()
        self._thread.join()
        if self._place.notice is not None:
            shutil.rmtree(self._place.folder, ignore_errors=True)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            began, news = time.monotonic(), False
            try:
                news = self._look()
            except Exception as error:  # noqa: BLE001 - the thread's one boundary: it must outlive a bad disk
                self._complain(error)
            pause = pause_after(time.monotonic() - began, every_s=self._every_s, news=news)
        if self._indexer is not None:
            self._indexer.close()

    def _look(self) -> bool:
        """Whether there was news."""
        if self._indexer is None and time.monotonic() >= self._next_try:
            self._take_over()
        found = self._news() if self._indexer is None else self._scan(self._indexer)
        news = bool(found.changed or found.gone or found.rebuilt)
        if self._on_change is not None and news:
            self._on_change(found)
        return news

    def _take_over(self) -> None:
        self._next_try = time.monotonic() + TAKE_OVER_S
        try:
            self._place.folder.mkdir(exist_ok=True)
            self._indexer = Indexer(self._place.root, place=self._place)
        except RootBusy:
            return

    def _scan(self, indexer: Indexer) -> ScanResult:
        try:
            return indexer.scan()
        except (BarographError, sqlite3.Error, OSError):
            # Begin again from what is on disk: the lock may be lost, or the connection stuck.
            self._indexer = None
            self._next_try = 0.0
            indexer.close()
            raise

    def _news(self) -> ScanResult:
        """What another process's index says that it did not say before."""
        with self.index.snapshot() as snapshot:
            found = revisions(snapshot)
        before, self._revisions = self._revisions, found
        return ScanResult(
            changed=tuple(run for run, revision in found.items() if before.get(run) != revision),
            gone=tuple(run for run in before if run not in found),
        )

    def _complain(self, error: Exception) -> None:
        if time.monotonic() - self._complained >= COMPLAIN_S:
            self._complained = time.monotonic()
            logger.warning("barograph: indexing failed and is tried again: %s: %s", type(error).__name__, error)

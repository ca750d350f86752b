"""Journal files beside those of the training: what another process adds to runs that are not its own.

A watcher writes what it read of checkpoints, a server that an alert was seen: a file per run, attempt and process word,
opened by the first record and closed when it rests. The files of the training are never touched.
"""

import os
import socket
import time
from pathlib import Path

from barograph.journal import layout
from barograph.journal.writer import JournalWriter
from barograph.records import Banner, Record, RunComplete
from barograph.records.quantities import Attempt


class SideJournals:
    """Owns the side files of one process under one root, from construction until `close`. Not for several threads."""

    def __init__(self, root: Path, *, writer: str, itself: str | None = None) -> None:
        """`writer`: the word in the files' names; `itself`: the run that `root` is, if it is no folder of runs."""
        self._root = root
        self._word = writer
        self._itself = itself
        self._writers: dict[tuple[str, Attempt], JournalWriter] = {}
        self._used: dict[tuple[str, Attempt], float] = {}

    def folder(self, run: str) -> Path:
        """Where a run lies."""
        return self._root if run == self._itself else self._root / run

    def append(self, run: str, attempt: Attempt, record: Record) -> JournalWriter:
        """Queue one record; returns the writer, whose `flush` tells whether the disk has it."""
        writer = self.writer(run, attempt)
        writer.append(None, itself, record)
        return writer

    def writer(self, run: str, attempt: Attempt) -> JournalWriter:
        """The writer of one run and attempt, opened if need be. Raises `OSError` if its folder cannot be."""
        key = (run, attempt)
        if key not in self._writers:
            folder = self.folder(run)
            (folder / layout.LOGS).mkdir(parents=True, exist_ok=True)
            banner = Banner(
                run=run,
                attempt=attempt,
                writer=self._word,
                time=time.time(),
                pid=os.getpid(),
                host=socket.gethostname(),
            )
            self._writers[key] = JournalWriter(folder, lambda: banner)
        self._used[key] = time.monotonic()
        return self._writers[key]

    def rest(self, idle_s: float) -> None:
        """Close the files that nothing was written to for so long; the next record opens another one."""
        before = time.monotonic() - idle_s
        for key in [key for key, used in self._used.items() if used <= before]:
            del self._used[key]
            writer = self._writers.pop(key)
            writer.append(None, itself, RunComplete(time=time.time(), exit_code=0))
            writer.close()

    def close(self) -> None:
        """Close every file."""
        self.rest(0.0)


def itself(record: Record) -> Record:
    """The maker of a record that is made already."""
    return record

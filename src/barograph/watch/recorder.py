"""Writes what the watcher does into the journals of runs: a file per run and attempt, open while there is work."""

import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from barograph.errors import WriteError
from barograph.journal import JournalWriter, layout
from barograph.records import Banner, Job, Record, RunComplete
from barograph.records.jobs import JobState
from barograph.records.quantities import Attempt
from barograph.watch.plan import PlannedJob
from barograph.weights import Pass

WRITER = "watch"
WRITE_S = 60.0
"""Seconds that the disk gets to take what was seen, before that counts as lost."""
TICK_S = 0.005
"""Seconds between two looks of a writer at its queue: each pass waits for two of them."""
AT_ONCE = 1000
"""Rows that are handed over at a time: the writer's queue holds more."""


class Recorder:
    """Owns the journal files of one watcher, from construction until `close`."""

    def __init__(self, root: Path, *, itself: str | None) -> None:
        """`itself`: the name of the run that `root` is, if it is one and no folder of runs."""
        self._root = root
        self._itself = itself
        self._writers: dict[tuple[str, Attempt], JournalWriter] = {}
        self._used: dict[tuple[str, Attempt], float] = {}

    def folder(self, run: str) -> Path:
        """Where a run lies."""
        return self._root if run == self._itself else self._root / run

    def job(
        self,
        job: PlannedJob,
        state: JobState,
        *,
        seconds: float | None = None,
        reason: str | None = None,
        again: bool = False,
    ) -> None:
        """A job changed its state."""
        one = job.candidate
        record = Job(
            id=job.id,
            work="weights",
            state=state,
            time=time.time(),
            checkpoint=one.name,
            path=one.path,
            step=one.step,
            stamp=one.stamp,
            reference=None if job.reference is None else job.reference.name,
            priority=job.priority,
            seconds=seconds,
            reason=reason,
            again=again,
        )
        self._writer(one.run, one.attempt).append(None, _itself, record)

    def weights(self, job: PlannedJob, done: Pass) -> None:
        """What one pass saw: its rows, then its summary. Raises `WriteError` if the disk does not take them."""
        writer = self._writer(job.candidate.run, job.candidate.attempt)
        for place in range(0, len(done.rows), AT_ONCE):
            self._write(writer, done.rows[place : place + AT_ONCE])
        self._write(writer, [done.summary])

    def rest(self, idle_s: float) -> None:
        """Close the files that nothing was written to for so long; the next job opens another one."""
        before = time.monotonic() - idle_s
        for key in [key for key, used in self._used.items() if used <= before]:
            del self._used[key]
            _end(self._writers.pop(key))

    def close(self) -> None:
        """Close every file."""
        self.rest(0.0)

    def _write(self, writer: JournalWriter, records: Iterable[Record]) -> None:
        for record in records:
            writer.append(None, _itself, record)
        if not writer.flush(WRITE_S):
            raise WriteError(writer.trouble or "the disk is too slow", where=str(writer.path or self._root))

    def _writer(self, run: str, attempt: Attempt) -> JournalWriter:
        key = (run, attempt)
        self._used[key] = time.monotonic()
        if key not in self._writers:
            folder = self.folder(run)
            (folder / layout.LOGS).mkdir(parents=True, exist_ok=True)
            banner = Banner(
                run=run, attempt=attempt, writer=WRITER, time=time.time(), pid=os.getpid(), host=socket.gethostname()
            )
            self._writers[key] = JournalWriter(folder, lambda: banner, interval=TICK_S)
        return self._writers[key]


def _end(writer: JournalWriter) -> None:
    writer.append(None, _itself, RunComplete(time=time.time(), exit_code=0))
    writer.close()


def _itself(record: Record) -> Record:
    return record

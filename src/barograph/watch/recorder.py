"""Writes what the watcher does into the journals of runs: a file per run and attempt, open while there is work."""

import time
from collections.abc import Iterable
from pathlib import Path

from barograph.errors import WriteError
from barograph.journal import JournalWriter
from barograph.journal.side_journals import SideJournals, itself
from barograph.records import Job, Record
from barograph.records.jobs import JobState
from barograph.watch.plan import PlannedJob
from barograph.weights import Pass

WRITER = "watch"
WRITE_S = 60.0
"""Seconds that the disk gets to take what was seen, before that counts as lost."""
AT_ONCE = 1000
"""Rows that are handed over at a time: the writer's queue holds more."""


class Recorder:
    """Owns the journal files of one watcher, from construction until `close`."""

    def __init__(self, root: Path, *, itself: str | None) -> None:
        """`itself`: the name of the run that `root` is, if it is one and no folder of runs."""
        self._root = root
        self._journals = SideJournals(root, writer=WRITER, itself=itself)

    def folder(self, run: str) -> Path:
        """Where a run lies."""
        return self._journals.folder(run)

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
        self._journals.append(one.run, one.attempt, record)

    def weights(self, job: PlannedJob, done: Pass) -> None:
        """What one pass saw: its rows, then its summary. Raises `WriteError` if the disk does not take them."""
        writer = self._journals.writer(job.candidate.run, job.candidate.attempt)
        for place in range(0, len(done.rows), AT_ONCE):
            self._write(writer, done.rows[place : place + AT_ONCE])
        self._write(writer, [done.summary])

    def rest(self, idle_s: float) -> None:
        """Close the files that nothing was written to for so long; the next job opens another one."""
        self._journals.rest(idle_s)

    def close(self) -> None:
        """Close every file."""
        self._journals.close()

    def _write(self, writer: JournalWriter, records: Iterable[Record]) -> None:
        for record in records:
            writer.append(None, itself, record)
        if not writer.flush(WRITE_S):
            raise WriteError(writer.trouble or "the disk is too slow", where=str(writer.path or self._root))

"""Writes an imported log as an ordinary run, and goes on where it stopped when the log has grown.

The rows that are in the journal are remembered by their number and their digest (`import_state`). A log that begins
with the same rows has grown, and what follows them is appended; one that does not was written anew, and becomes further
attempts of the run. So it does not matter whether a tool appends to its log or replaces it, nor in what portions it
grows. Times are no part of the digest, because many of them are made up.

Lines are appended first and remembered afterwards. Where a process dies in between, the next import counts the lines
beyond what is remembered, and leaves out as many rows.
"""

import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from barograph.errors import BarographError, JournalError, WriteError
from barograph.imports.import_state import ImportState, lock_run, read_state, write_state
from barograph.imports.imported_log import ImportedLog, Row, plain
from barograph.imports.journal_parts import JournalPart, WriterKey, present
from barograph.journal import Position, TailReader, layout
from barograph.records import Banner, Checkpoint, Heartbeat, RunComplete, Step
from barograph.records.quantities import Attempt, Count, Seconds

ROW_S = 1.0
"""Seconds from one row to the next in a log that says nothing of times."""
_TOLD = 1000
"""Rows after which progress is told."""


class Added(Struct, frozen=True, kw_only=True):
    """What one update appended."""

    rows: Count
    """Rows of the log."""
    attempts: Count
    """Attempts that were begun."""
    checkpoints: Count
    """Checkpoints."""
    endings: Count
    """Attempts that ended."""
    rewritten: bool
    """Whether the log was written anew since the last time."""

    @property
    def nothing(self) -> bool:
        """Whether all was in the run already."""
        return not (self.rows or self.checkpoints or self.endings)


class ImportedRun:
    """Owns the run that one log is imported into, its open files and its lock, from construction until `close`."""

    def __init__(self, run: Path) -> None:
        """Raises `RootBusy`, `WriteError`, and `ImportFailed` if what the run remembers cannot be read."""
        self.folder = run
        self._lock = lock_run(run)
        self._parts: dict[WriterKey, JournalPart] = {}
        try:
            self._state = read_state(run)
        except BarographError:
            os.close(self._lock)
            raise

    def update(self, log: ImportedLog, *, progress: Callable[[int], None] | None = None) -> Added:
        """Append what is new; `progress` is told of rows. Raises `WriteError`: what was appended until then stays."""
        try:
            return self._updated(log, progress or _nobody)
        except OSError as error:
            self._close_parts()
            raise WriteError(f"the run cannot be written: {error.strerror}", where=str(self.folder)) from error
        except BarographError:
            self._close_parts()  # lines that still wait would come twice
            raise

    def _updated(self, log: ImportedLog, progress: Callable[[int], None]) -> Added:
        state = self._state
        if state is None or not present(self.folder, state.journal):
            self._close_parts()
            state = _fresh(log)
        written = _Written(self.folder, state.journal)
        digests = _digests(log.rows, first=state.rows)
        begin = _begins_at(log, state, digests)
        if begin is None:
            state = msgspec.structs.replace(_fresh(log), last_time=state.last_time)
            written.steps.clear()
        before = len(state.attempts)
        self._state = state = self._with_attempts(log, state)
        new = log.rows[begin or 0 :]
        times = _times(new, log, after=state.last_time)
        count = 0
        for place, (row, moment) in enumerate(zip(new, times, strict=True)):
            key = WriterKey(state.attempts[row.attempt - 1], row.writer)
            if written.steps[key] > 0 and not log.snapshot:
                written.steps[key] -= 1
                continue
            self._part(key, log, moment).append(Step(step=row.step, loss=row.loss, time=moment, metrics=row.metrics))
            count += 1
            if place % _TOLD == 0:
                progress(_TOLD)
        last_time = times[-1] if times else state.last_time
        saved = self._checkpoints(log, {*state.checkpoints, *written.checkpoints})
        ended = self._endings(log, {*state.ended, *written.ended}, last_time=last_time or log.modified)
        for part in self._parts.values():
            part.flush(sync=True)
        self._remember(
            source=plain(str(log.source)),
            format=log.format,
            mapping=_plain_mapping(log),
            marks=list(log.marks),
            rows=len(log.rows),
            digest=digests.whole,
            ended=[*state.ended, *written.ended, *ended],
            checkpoints=[*state.checkpoints, *written.checkpoints, *saved],
            last_step=log.rows[-1].step,
            last_time=last_time,
        )
        return Added(
            rows=count,
            attempts=len(state.attempts) - before,
            checkpoints=len(saved),
            endings=len(ended),
            rewritten=begin is None,
        )

    def beat(self) -> None:
        """Say that whoever writes the log may be alive: for a log that is followed and has just grown."""
        if self._state is not None and self._state.attempts:
            part = self._parts.get(WriterKey(self._state.attempts[-1], layout.TRAIN))
            if part is not None:
                part.append(Heartbeat(time=time.time(), step=self._state.last_step))
                part.flush()
                self._remember()

    def close(self) -> None:
        """Close the files and let go of the lock."""
        self._close_parts()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close_parts(self) -> None:
        for part in self._parts.values():
            part.close()
        self._parts.clear()

    def _remember(self, **changes: object) -> None:
        """Replace what the run remembers, the sizes of the open files with it."""
        assert self._state is not None
        sizes = {part.path.name: part.size for part in self._parts.values()}
        self._state = msgspec.structs.replace(self._state, journal={**self._state.journal, **sizes}, **changes)
        write_state(self.folder, self._state)

    def _with_attempts(self, log: ImportedLog, state: ImportState) -> ImportState:
        """The state with an attempt of the run for every attempt of the log; claimed and remembered before use."""
        missing = max(row.attempt for row in log.rows) - len(state.attempts)
        if missing <= 0:
            return state
        launch = secrets.token_hex(8)
        claimed = [layout.claim_attempt(self.folder, launch_id=launch, now=time.time()) for _ in range(missing)]
        state = msgspec.structs.replace(state, attempts=[*state.attempts, *claimed])
        write_state(self.folder, state)
        return state

    def _part(self, key: WriterKey, log: ImportedLog, moment: Seconds) -> JournalPart:
        """The file of an attempt's writer; a new one is remembered before anything but its banner is in it."""
        assert self._state is not None
        part = self._parts.get(key)
        if part is None:
            known = self._state.journal
            part = JournalPart(
                self.folder,
                key,
                banner=lambda number: _banner(self.folder, key, log, part=number, begun=moment),
                known=known,
            )
            self._parts[key] = part
            if part.path.name not in known:
                part.flush()
                self._remember()
        return part

    def _append(self, attempt: Attempt, log: ImportedLog, record: Checkpoint | RunComplete) -> None:
        self._part(WriterKey(attempt, layout.TRAIN), log, record.time).append(record)

    def _checkpoints(self, log: ImportedLog, known: set[str]) -> list[str]:
        """Append the checkpoints that are new, with the newest attempt; their paths."""
        assert self._state is not None
        new = {path: one for one in log.checkpoints if (path := plain(str(one.path))) not in known}
        for path, one in new.items():
            self._append(self._state.attempts[-1], log, Checkpoint(step=one.step, time=one.time, path=path))
        return list(new)

    def _endings(self, log: ImportedLog, known: set[Attempt], *, last_time: Seconds) -> list[Attempt]:
        """Append the endings that are new; the attempts that ended."""
        assert self._state is not None
        steps = {row.attempt: row.step for row in log.rows if row.writer == layout.TRAIN}
        ended = []
        for one in log.endings:
            attempt = self._state.attempts[one.attempt - 1]
            if attempt not in known:
                complete = RunComplete(
                    time=last_time,
                    exit_code=one.exit_code,
                    step=steps.get(one.attempt),
                    reason=one.reason,
                    summary=one.summary,
                )
                self._append(attempt, log, complete)
                ended.append(attempt)
        return ended


def _nobody(count: int) -> None:
    """Is told of progress, and does nothing with it."""


class _Written:
    """What is in the journal beyond what an import remembers, because it died in between."""

    def __init__(self, run: Path, known: dict[str, Count]) -> None:
        self.steps: Counter[WriterKey] = Counter()
        self.checkpoints: list[str] = []
        self.ended: list[Attempt] = []
        for file in layout.journal_files(run):
            size = known.get(file.path.name)
            if size is not None and not file.archived:
                self._read(run, file, size)

    def _read(self, run: Path, file: layout.JournalFile, size: int) -> None:
        try:
            with TailReader(run, file.path, Position(offset=size)) as reader:
                more = True
                while more:
                    batch = reader.read()
                    more = batch.more
                    for entry in batch.entries:
                        self._take(file, entry.record)
        except (OSError, JournalError):  # it is gone: nothing is in it
            return

    def _take(self, file: layout.JournalFile, record: object) -> None:
        if isinstance(record, Step):
            self.steps[WriterKey(file.attempt, file.writer)] += 1
        elif isinstance(record, Checkpoint):
            self.checkpoints.append(record.path)
        elif isinstance(record, RunComplete):
            self.ended.append(file.attempt)


def _fresh(log: ImportedLog) -> ImportState:
    return ImportState(source=plain(str(log.source)), format=log.format, mapping=_plain_mapping(log))


def _plain_mapping(log: ImportedLog) -> dict[str, str]:
    return {key: plain(column) for key, column in log.mapping.items()}


class _Digests(Struct, frozen=True, kw_only=True):
    """SHA-256 of rows, in hex."""

    begin: str | None
    """Of the first ones; None if there are fewer."""
    whole: str
    """Of all."""


def _begins_at(log: ImportedLog, state: ImportState, digests: _Digests) -> int | None:
    """Rows of the log that are in the journal; None if it was written anew."""
    if not state.rows:
        return 0
    if log.snapshot:
        if digests.whole == state.digest:
            return len(log.rows)
        went_back = state.last_step is not None and log.rows[-1].step < state.last_step
        return None if went_back or set(state.attempts[-1:]) & set(state.ended) else 0
    return state.rows if digests.begin == state.digest else None


def _digests(rows: Sequence[Row], *, first: Count) -> _Digests:
    """Of the first rows, and of all; NaN has its bits in them, as everything else but the times."""
    found = hashlib.sha256()
    encode = msgspec.msgpack.Encoder().encode
    begin = found.hexdigest() if not first else None
    for place, row in enumerate(rows, start=1):
        names = [name.encode("utf-8", "surrogatepass") for name in row.metrics]
        found.update(encode((row.attempt, row.writer, row.step, row.loss, names, list(row.metrics.values()))))
        if place == first:
            begin = found.hexdigest()
    return _Digests(begin=begin, whole=found.hexdigest())


def _times(rows: Sequence[Row], log: ImportedLog, *, after: Seconds | None) -> list[Seconds]:
    """A time for every row: its own, or one between what was known before and the last change of the file."""
    count, end = len(rows), log.modified
    if after is not None:
        width = max(0.0, end - after) / max(1, count)
        made = (after + width * place for place in range(1, count + 1))
    else:
        begin = log.began if log.began is not None else end - ROW_S * (count - 1)
        width = (end - begin) / max(1, count - 1)
        made = (begin + width * place for place in range(count))
    return [moment if row.time is None else row.time for row, moment in zip(rows, made, strict=True)]


def _banner(run: Path, key: WriterKey, log: ImportedLog, *, part: Count, begun: Seconds) -> Banner:
    config = {"imported_from": plain(str(log.source)), "format": log.format}
    if log.averaged:
        config["logged_loss"] = "mean"
    if log.mapping:
        config |= {f"{name}_column": plain(column) for name, column in log.mapping.items()}
    rank = key.writer.removeprefix("rank")
    return Banner(
        run=run.name,
        attempt=key.attempt,
        writer=key.writer,
        time=begun,
        part=part,
        part_reason=None if part == 1 else "imported later",
        rank=int(rank) if rank.isdigit() else 0,
        model_name=log.model_name,
        output_dir=str(log.checkpoints[-1].path.parent) if log.checkpoints else None,
        total_steps=log.total_steps,
        imported=log.format,
        config=msgspec.json.encode(config).decode(),
    )

"""Follows a run and evaluates each checkpoint that its journal names, oldest first.

The journal is the only contact with the training process: a `checkpoint` line says that a folder is complete. Answers
and their exact match go into a journal file of this process, with the attempt that saved the checkpoint, so that a
resume hides the results of checkpoints that it overtook together with their steps.
"""

import logging
import math
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from barograph.analysis.exact_match import exact_match
from barograph.collect.hardware import EVERY_S, HardwareSampler
from barograph.errors import JournalError
from barograph.evaluate.answers import answers
from barograph.evaluate.probe_set import ProbeSet
from barograph.journal import JournalWriter, TailReader, layout
from barograph.journal.writer import described
from barograph.records import Banner, Checkpoint, CollectorFailed, ExactMatch, Record, RunComplete

WRITER = "evaluate"
CONFIDENCE = 0.95
POLL_S = 0.5

logger = logging.getLogger("barograph")


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that the journal names."""

    attempt: int
    """Attempt that saved it."""
    checkpoint: Checkpoint
    """What the journal says of it."""


class Saves:
    """A fold over the training journal of a run: the checkpoints that were saved, and whether training is over."""

    def __init__(self, root: Path, run: Path) -> None:
        self._root = root
        self._run = run
        self._readers: dict[Path, TailReader] = {}
        self._complete: dict[int, bool] = {}

    @property
    def over(self) -> bool:
        """Whether the newest attempt said that it is complete."""
        return bool(self._complete) and self._complete[max(self._complete)]

    def update(self) -> list[Saved]:
        """Read on in every training file; returns the checkpoints that are new."""
        found = []
        for file in layout.journal_files(self._run):
            if file.writer != layout.TRAIN:
                continue
            self._complete.setdefault(file.attempt, False)
            for record in self._new_records(file.path):
                if isinstance(record, Checkpoint):
                    found.append(Saved(attempt=file.attempt, checkpoint=record))
                elif isinstance(record, RunComplete):
                    self._complete[file.attempt] = True
        return sorted(found, key=lambda saved: (saved.attempt, saved.checkpoint.step))

    def close(self) -> None:
        """Close every file."""
        for reader in self._readers.values():
            reader.close()

    def _new_records(self, path: Path) -> list[object]:
        if path not in self._readers:
            try:
                self._readers[path] = TailReader(self._root, path)
            except (OSError, JournalError) as error:
                logger.warning("barograph: %s cannot be followed: %s", path.name, error)
                return []
        records: list[object] = []
        more = True
        while more:
            batch = self._readers[path].read()
            records += [entry.record for entry in batch.entries]
            more = batch.more
        return records


def follow(
    root: Path,
    run: Path,
    probes: ProbeSet,
    *,
    until: Callable[[], bool],
    done: Callable[[list[ExactMatch]], None],
) -> None:
    """Evaluate the run's checkpoints as they are saved, until training is over and all are done, or `until` says so.

    `done` is called with the results of each checkpoint. A checkpoint that vanished, cannot be loaded or cannot be
    asked is recorded as `collector_failed` and passed over.
    """
    saves = Saves(root, run)
    writers: dict[int, JournalWriter] = {}
    machine = HardwareSampler(run)
    machine.start()
    told_at = -math.inf
    exit_code = 1
    try:
        while not until():
            over = saves.over
            fresh = saves.update()
            for saved in fresh:
                if until():
                    break
                writer = writers.get(saved.attempt) or _writer(run, saved.attempt)
                writers[saved.attempt] = writer
                done(_evaluate(saved, probes, writer))
            if writers and time.monotonic() - told_at >= EVERY_S:
                # Without a step: these numbers are of this machine, and the series of a run are of the one that trains.
                writers[max(writers)].append(None, _itself, machine.newest(None))
                told_at = time.monotonic()
            if over and not fresh:
                break
            time.sleep(POLL_S)
        exit_code = 0
    finally:
        saves.close()
        machine.stop()
        for writer in writers.values():
            writer.append(None, _itself, RunComplete(time=time.time(), exit_code=exit_code))
            writer.close()


def _evaluate(saved: Saved, probes: ProbeSet, writer: JournalWriter) -> list[ExactMatch]:
    step, path = saved.checkpoint.step, Path(saved.checkpoint.path)
    try:
        given = answers(path, probes, step=step)
        results = exact_match(given, confidence=CONFIDENCE, time=time.time())
    except Exception as error:  # noqa: BLE001 - a checkpoint's files are anyone's; the later ones are judged all the same
        said = described(error)
        logger.warning("barograph: %s was not evaluated: %s", path.name, said)
        writer.append(step, _itself, CollectorFailed(time=time.time(), name=WRITER, error=said, step=step))
        return []
    for record in [*given, *results]:
        writer.append(step, _itself, record)
    return results


def _writer(run: Path, attempt: int) -> JournalWriter:
    banner = Banner(
        run=run.name,
        attempt=attempt,
        writer=WRITER,
        time=time.time(),
        pid=os.getpid(),
        host=socket.gethostname(),
    )
    return JournalWriter(run, lambda: banner)


def _itself(record: Record) -> Record:
    return record

"""Where the steps of a run go on that is begun again."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from barograph.collect.launch import Launch
from barograph.errors import BarographError
from barograph.journal import Position, TailReader, layout
from barograph.journal.layout import JournalFile
from barograph.records import Step

TAILS = (1 << 16, 1 << 21)
"""Bytes that are read from a file's end: mostly the first is enough; the second holds the longest lines."""

MOST_FILES = 50
"""Files without a step that are passed over; each is an attempt that ended before its first."""


def next_step(run: Path, launch: Launch) -> int:
    """One more than the newest step that earlier launches wrote for rank 0; 0 where there is none to be read.

    Reads the end of one file, as a rule: what lies before it is older, as steps are appended.
    """
    files = [file for file in layout.journal_files(run) if file.writer == layout.TRAIN]
    if not files:
        return 0
    # Asked after the files were listed: an attempt is claimed before its first file, so none of this launch slips in.
    ours = layout.attempt_of_launch(run, launch_id=launch.id, not_before=launch.begun - 5.0)
    earlier = [file for file in files if ours is None or file.attempt < ours]
    newest = _newest_step(run, earlier[-MOST_FILES:])
    return 0 if newest is None else newest + 1


def _newest_step(run: Path, files: Sequence[JournalFile]) -> int | None:
    for file in reversed(files):
        for tail in TAILS:
            with suppress(OSError, BarographError):
                steps = _steps_at_end(run, file.path, tail)
                if steps:
                    return max(steps)
    return None


def _steps_at_end(run: Path, path: Path, tail: int) -> list[int]:
    """The steps in the last `tail` bytes; the line that begins before them reads as a bad one."""
    with TailReader(run, path) as reader:
        reader.position = Position(offset=max(0, reader.size - tail))
        entries = reader.read(tail).entries
    return [entry.record.step for entry in entries if isinstance(entry.record, Step)]

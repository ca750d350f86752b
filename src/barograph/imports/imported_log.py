"""What was read from a log of another tool: its rows, what was refused of it, and what it says of the training."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from barograph.analysis.curve_parts import CurvePart, split_where_it_goes_back
from barograph.journal import layout
from barograph.records.quantities import Attempt, Count, Seconds, Step

EXAMPLES = 20
"""Refused lines that are described; all are counted."""
MOST_ATTEMPTS = 100
"""A log whose steps go back more often is not that of a training that was resumed."""


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """One row of a log."""

    step: Step
    """Optimizer step."""
    loss: float | None = None
    """Training loss, nats; None where the row has none. NaN and infinities are values."""
    time: Seconds | None = None
    """When it was logged; None where the log does not say."""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    """Whatever else is a number."""
    attempt: Attempt = 1
    """Which start of the training it belongs to; 1, 2, ... in the order of their first rows."""
    writer: str = layout.TRAIN
    """`train`, or `rankN` for another process that wrote into the same log."""


class SavedCheckpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint folder that lies beside the log."""

    step: Step
    """The step that its name says."""
    path: Path
    """The folder, absolute."""
    time: Seconds
    """When it was last changed."""


class Ending(Struct, frozen=True, kw_only=True):
    """The log says that an attempt ended."""

    attempt: Attempt
    """Which one."""
    exit_code: int | None = None
    """0 if it says that training ended well, None if it does not say how."""
    reason: str | None = None
    """What ended it, in its words."""
    summary: dict[str, float] = msgspec.field(default_factory=dict)
    """Single values of the whole attempt."""


class SourceMark(Struct, frozen=True, kw_only=True):
    """What tells one version of a file from another."""

    path: str
    """Absolute."""
    size: Count
    """Bytes when it was read."""
    head: str
    """SHA-256 of its first bytes, in hex."""
    head_bytes: Count
    """How many bytes these were."""


class Located(Struct, frozen=True, kw_only=True):
    """One line, row or file that was refused."""

    file: str
    """Name of the file."""
    place: str
    """Where in it: `line 3, byte 120`, or `log_history[3]`."""
    reason: str
    """What was wrong, and the value seen."""


class ImportedLog(Struct, frozen=True, kw_only=True):
    """A log of another tool, read."""

    format: str
    """Which format it was recognised as."""
    source: Path
    """What was named: a file or a folder, absolute."""
    marks: tuple[SourceMark, ...]
    """The files that were read."""
    modified: Seconds
    """When the newest of them was last changed."""
    rows: list[Row]
    """In the order of the log."""
    averaged: bool = False
    """Whether a loss is the mean since the row before it."""
    snapshot: bool = False
    """Whether the rows are only what was logged last, not all that ever was."""
    began: Seconds | None = None
    """When training began, where the log says so."""
    model_name: str | None = None
    """Short name of the model."""
    total_steps: Step | None = None
    """Steps that are planned."""
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    """By step."""
    endings: tuple[Ending, ...] = ()
    """Attempts that ended, where the log says so."""
    notes: tuple[str, ...] = ()
    """Sentences that a user should read."""
    bad: Count = 0
    """Lines that were refused."""
    examples: tuple[Located, ...] = ()
    """The first of them."""
    torn: Count = 0
    """Files whose last line is not finished; such a line is not refused, but waited for."""
    mapping: dict[str, str] = msgspec.field(default_factory=dict)
    """Which column was taken for `step`, `loss` and `time`, where that was guessed or said."""


class Refusals:
    """A fold over what is refused of a log: all is counted, the first is described."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[Located] = []
        self.torn: list[str] = []
        """Files whose last line is not finished."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of it, in sentences."""
        return [f"The last line of {name} is not finished; it is read once it is." for name in self.torn]

    def update(self, file: str, *, place: str, reason: str) -> None:
        """One more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(Located(file=file, place=place, reason=reason[:300]))


def plain(text: str) -> str:
    """A text that JSON can hold: bytes of a file name that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def curve_parts(log: ImportedLog) -> list[CurvePart]:
    """The losses of a log, for whoever judges its curve: one part per attempt, oldest first."""
    by_attempt: dict[Attempt, tuple[list[int], list[float]]] = {}
    for row in log.rows:
        if row.loss is not None and row.writer == layout.TRAIN:
            steps, losses = by_attempt.setdefault(row.attempt, ([], []))
            steps.append(row.step)
            losses.append(row.loss)
    return [
        CurvePart(attempt=attempt, steps=np.array(steps, np.int64), losses=np.array(losses, np.float64))
        for attempt, (steps, losses) in sorted(by_attempt.items())
    ]


def with_attempts(rows: Sequence[Row], runs: Sequence[str] | None = None) -> list[Row]:
    """The rows of one file with their attempts: a new one begins where the steps of losses go back.

    `runs: [rows]` names the training that each row is of, where a column says so; each has attempts of its own. What
    a row's attempt is does not depend on the rows after it. After `MOST_ATTEMPTS` no further one begins.
    """
    named = [""] * len(rows) if runs is None else runs
    places: dict[str, list[int]] = {}
    for place, run in enumerate(named):
        places.setdefault(run, []).append(place)
    begins = [begin for own in places.values() for begin in _begins(rows, own)]
    numbers = {begin: number for number, begin in enumerate(sorted(begins)[:MOST_ATTEMPTS], start=1)}
    current: dict[str, Attempt] = {}
    found = []
    for place, (row, run) in enumerate(zip(rows, named, strict=True)):
        current[run] = attempt = numbers.get(place, current.get(run, MOST_ATTEMPTS))
        found.append(row if attempt == row.attempt else msgspec.structs.replace(row, attempt=attempt))
    return found


def _begins(rows: Sequence[Row], own: Sequence[int]) -> list[int]:
    """Places among `own`, those of one training, at which an attempt begins."""
    points = [place for place in own if rows[place].loss is not None and rows[place].writer == layout.TRAIN]
    steps = np.array([rows[place].step for place in points], np.int64)
    parts = split_where_it_goes_back(steps, np.zeros(len(points)), attempt=1)
    edges = np.cumsum([len(part.steps) for part in parts])[:-1]
    return [own[0], *(points[edge] for edge in edges.tolist())]

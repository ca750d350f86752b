"""What the lines of one journal file mean for the index: points, events, column headers, and the file's new state."""

import math
import re
from collections.abc import Callable
from itertools import pairwise

import msgspec
from msgspec.structs import replace

from barograph.analysis.finite_losses import finite_losses, joined_losses
from barograph.errors import LineError
from barograph.index.points import NewPoints
from barograph.index.source import Mark, NewestLoss, SourceState
from barograph.journal.reader import Batch
from barograph.journal.wide_rows import metrics_of
from barograph.records import (
    Answer,
    Banner,
    Columns,
    ConfigUpdate,
    ExactMatch,
    Heartbeat,
    LostRecords,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Step,
    codec,
)
from barograph.records.codec import Unknown

LOSS = "loss"

EXAMPLES = 5
"""How many refused lines of one file are described."""

REJECTED_EXAMPLES = 3
"""How many rejected values of one file are named."""

_RANK = re.compile(r"rank(\d+)")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is kept whole, because it is no point of a series."""

    offset: int
    """Its first byte in the file."""
    kind: str
    """Its `type`."""
    line: bytes
    """The record as a journal line of ours, checksum included."""


class SourceFold:
    """A fold over the batches of one file. What `update` finds is collected in `points`, `events` and `headers`."""

    def __init__(
        self,
        state: SourceState,
        *,
        path: str,
        known_headers: dict[str, list[str]],
        series_id: Callable[[str], int],
    ) -> None:
        """`series_id` gives the id of a series name and makes one if need be; `path` is for descriptions."""
        self.state = state
        self.points = NewPoints()
        self.events: list[Event] = []
        self.headers: dict[str, list[str]] = {}
        self._path = path
        self._known_headers = known_headers
        self._series_id = series_id
        self._prefix = series_prefix(state.writer)
        self._ids: dict[str, int] = {}
        self._steps: list[Step] = []
        self._losses: list[tuple[int, float]] = []
        self._last_time = state.last_time

    def update(self, batch: Batch) -> None:
        """Takes one batch in; what an earlier one left in `points`, `events` and `headers` is forgotten."""
        self.points, self.events, self.headers, self._steps, self._losses = NewPoints(), [], {}, [], []
        bad = [(line.offset, line.detail) for line in batch.bad]
        good = unchecked = unknown = 0
        for entry in batch.entries:
            unchecked += not entry.checked
            if isinstance(entry.record, Unknown):
                unknown += 1
                continue
            try:
                self._take(entry.record, entry.offset)
                good += 1
            except LineError as error:
                bad.append((entry.offset, error.problem))
        state = _with_losses(_with_steps(self.state, self._steps), self._losses)
        room = EXAMPLES - len(state.examples)
        examples = tuple(f"{self._path}, byte {offset}: {detail}"[:500] for offset, detail in sorted(bad)[:room])
        self.state = replace(
            state,
            position=batch.position,
            torn=batch.torn,
            good=state.good + good,
            bad=state.bad + len(bad),
            unchecked=state.unchecked + unchecked,
            unknown=state.unknown + unknown,
            examples=state.examples + examples,
            last_time=self._last_time,
        )

    def _take(self, record: Record, offset: int) -> None:
        if isinstance(record, Step):
            self._take_step(record)
        elif isinstance(record, Columns):
            self._known_headers[record.id] = self.headers[record.id] = record.names
        elif isinstance(record, Heartbeat):
            self._last_time = record.time
            self.state = replace(self.state, heartbeat_step=record.step)
        elif isinstance(record, Answer):
            # Read, but not kept: there are thousands, and what follows from them has lines of its own.
            self._last_time = record.time
        else:
            if isinstance(record, ExactMatch):
                name = f"exact_match/{record.task}/{record.level}/{record.regime}"
                self.points.update([self._series_id(name)], step=record.step, values=[record.exact_match])
            kind = str(record.__struct_config__.tag)
            self.events.append(Event(offset=offset, kind=kind, line=codec.encode_line(record)))
            self._last_time = record.time
            self.state = _with_event(self.state, record)

    def _take_step(self, record: Step) -> None:
        metrics = metrics_of(record, self._known_headers)
        names = list(metrics)
        values = list(metrics.values())
        if record.loss is not None:
            names.append(LOSS)
            values.append(record.loss)
        ids = self._ids
        try:
            series = [ids[name] for name in names]
        except KeyError:
            ids |= {name: self._series_id(self._prefix + name) for name in names if name not in ids}
            series = [ids[name] for name in names]
        self.points.update(series, step=record.step, values=values)
        self._steps.append(record)
        self._losses += [(record.step, value) for name, value in zip(names, values, strict=True) if name == LOSS]
        self._last_time = record.time


def series_prefix(writer: str) -> str:
    """What the names of a writer's series begin with: the values of another rank are not those of the run."""
    rank = _RANK.fullmatch(writer)
    return f"rank/{int(rank[1])}/" if rank else ""


def _with_steps(state: SourceState, steps: list[Step]) -> SourceState:
    """The state after the step lines of a batch."""
    if not steps:
        return state
    least, greatest = min(line.step for line in steps), max(line.step for line in steps)
    least_loss = min((line.step for line in steps if line.loss is not None), default=None)
    first, newest = steps[0], steps[-1]
    loss = next(
        (NewestLoss(step=line.step, value=line.loss) for line in reversed(steps) if line.loss is not None), None
    )
    return replace(
        state,
        first_step=least if state.first_step is None else min(least, state.first_step),
        last_step=greatest if state.last_step is None else max(greatest, state.last_step),
        first_loss=min((step for step in (state.first_loss, least_loss) if step is not None), default=None),
        ascending=state.ascending and first.step >= (state.last_step or 0) and _ascend(steps),
        first_mark=state.first_mark or Mark(step=first.step, time=first.time),
        newest_mark=Mark(step=newest.step, time=newest.time),
        newest_loss=loss or state.newest_loss,
    )


def _ascend(steps: list[Step]) -> bool:
    return all(before.step <= after.step for before, after in pairwise(steps))


def _with_losses(state: SourceState, losses: list[tuple[int, float]]) -> SourceState:
    """The state after the losses of a batch: the points of the series `loss`, by step and value."""
    if not losses:
        return state
    found = finite_losses((step for step, _ in losses), (loss for _, loss in losses))
    bad = [step for step, loss in losses if not math.isfinite(loss)]
    if state.least_non_finite is not None:
        bad.append(state.least_non_finite)
    return replace(state, losses=joined_losses([state.losses, found]), least_non_finite=min(bad, default=None))


def _with_event(state: SourceState, record: Record) -> SourceState:
    """The state after a line that is neither a step nor a heartbeat."""
    if isinstance(record, Banner):
        total_steps = state.total_steps if record.total_steps is None else record.total_steps
        return replace(state, banner=replace(record, config=None, versions={}), total_steps=total_steps)
    if isinstance(record, ConfigUpdate) and record.total_steps is not None:
        return replace(state, total_steps=record.total_steps)
    if isinstance(record, Pause):
        return replace(state, pause=record)
    if isinstance(record, RunComplete):
        return replace(state, complete=replace(record, summary={}))
    if isinstance(record, LostRecords):
        return replace(state, lost=state.lost + record.count)
    if isinstance(record, RejectedValue):
        room = REJECTED_EXAMPLES - len(state.rejected_examples)
        examples = state.rejected_examples + (_described(record),)[:room]
        return replace(state, rejected=state.rejected + 1, rejected_examples=examples)
    return state


def _described(rejected: RejectedValue) -> str:
    """What was rejected, in a few words; a row whose step was none has no step to name."""
    if rejected.key == "step" and rejected.step is None:
        return f"a whole row, for its step ({rejected.value_type[:100]})"
    return f"{rejected.key[:100]!r} ({rejected.value_type[:100]})"

"""What the lines of one journal file mean for the index: points, events, column headers, and the file's new state."""

import math
import re
from collections.abc import Callable

import msgspec
import numpy as np
from msgspec.structs import replace

from barograph.analysis.finite_losses import finite_losses, joined_losses
from barograph.errors import LineError
from barograph.index.points import TIMES, NewPoints
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


class _Rows:
    """The step lines of one batch, as far as the state of their file depends on them."""

    def __init__(self) -> None:
        self.first: Step | None = None
        self.newest: Step | None = None
        self.steps: list[int] = []
        self.loss_steps: list[int] = []
        self.losses: list[float] = []


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
        self._by_name: dict[str, int] = {}
        self._ids: dict[tuple[tuple[str, ...], bool], tuple[int, ...]] = {}
        self._rows = _Rows()
        self._last_time = state.last_time

    def update(self, batch: Batch) -> None:
        """Takes one batch in; what an earlier one left in `points`, `events` and `headers` is forgotten."""
        self.points, self.events, self.headers, self._rows = NewPoints(), [], {}, _Rows()
        bad = [(line.offset, line.detail) for line in batch.bad]
        good = unchecked = unknown = 0
        take_step = self._take_step
        for entry in batch.entries:
            unchecked += not entry.checked
            record = entry.record
            try:
                if isinstance(record, Step):  # first: nearly all lines are
                    take_step(record)
                elif isinstance(record, Unknown):
                    unknown += 1
                    continue
                else:
                    self._take(record, entry.offset)
                good += 1
            except LineError as error:
                bad.append((entry.offset, error.problem))
        state = _with_losses(_with_rows(self.state, self._rows), self._rows)
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
        """A line that is no row."""
        if isinstance(record, Columns):
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
                self.points.update(
                    (TIMES, self._series_id(name)), step=record.step, values=[record.time, record.exact_match]
                )
            kind = str(record.__struct_config__.tag)
            self.events.append(Event(offset=offset, kind=kind, line=codec.encode_line(record)))
            self._last_time = record.time
            self.state = _with_event(self.state, record)

    def _take_step(self, record: Step) -> None:
        metrics = metrics_of(record, self._known_headers)
        names = tuple(metrics)
        values = [*metrics.values(), record.time]
        rows = self._rows
        if record.loss is not None:
            values.append(record.loss)
            rows.loss_steps.append(record.step)
            rows.losses.append(record.loss)
        if LOSS in metrics:
            rows.loss_steps.append(record.step)
            rows.losses.append(metrics[LOSS])
        key = (names, record.loss is not None)
        series = self._ids.get(key)
        if series is None:
            series = self._ids[key] = self._ids_of(names, with_loss=record.loss is not None)
        self.points.update(series, step=record.step, values=values)
        rows.steps.append(record.step)
        rows.first = rows.first or record
        rows.newest = record
        self._last_time = record.time

    def _ids_of(self, names: tuple[str, ...], *, with_loss: bool) -> tuple[int, ...]:
        """The series of a line's values, in their order."""
        for name in (*names, LOSS) if with_loss else names:
            if name not in self._by_name:
                self._by_name[name] = self._series_id(self._prefix + name)
        known = tuple(self._by_name[name] for name in names)
        return (*known, TIMES, self._by_name[LOSS]) if with_loss else (*known, TIMES)


def series_prefix(writer: str) -> str:
    """What the names of a writer's series begin with: the values of another rank are not those of the run."""
    rank = _RANK.fullmatch(writer)
    return f"rank/{int(rank[1])}/" if rank else ""


def _with_rows(state: SourceState, rows: _Rows) -> SourceState:
    """The state after the step lines of a batch."""
    first, newest = rows.first, rows.newest
    if first is None or newest is None:
        return state
    steps = np.array(rows.steps)
    least, greatest = int(steps.min()), int(steps.max())
    firsts = [state.first_loss, min(rows.loss_steps, default=None)]
    loss = NewestLoss(step=rows.loss_steps[-1], value=rows.losses[-1]) if rows.losses else state.newest_loss
    return replace(
        state,
        first_step=least if state.first_step is None else min(least, state.first_step),
        last_step=greatest if state.last_step is None else max(greatest, state.last_step),
        first_loss=min((step for step in firsts if step is not None), default=None),
        first_mark=state.first_mark or Mark(step=first.step, time=first.time),
        newest_mark=Mark(step=newest.step, time=newest.time),
        newest_loss=loss,
    )


def _with_losses(state: SourceState, rows: _Rows) -> SourceState:
    """The state after the losses of a batch: the points of the series `loss`."""
    if not rows.losses:
        return state
    found = finite_losses(rows.loss_steps, rows.losses)
    bad = [found.first_step] if found.first_step is not None else []
    if found.non_finite > 1:
        bad = [step for step, loss in zip(rows.loss_steps, rows.losses, strict=True) if not math.isfinite(loss)]
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

"""What the lines of one journal file mean for the index: points, events, column headers, and the file's new state."""

import re
from collections.abc import Callable

import msgspec
import numpy as np
from msgspec.structs import replace

from barograph.analysis.finite_losses import finite_losses, joined_losses
from barograph.errors import LineError
from barograph.index.points import TIMES, Lines, NewPoints, Points, merged, of_series
from barograph.index.source import Mark, NewestLoss, SourceState
from barograph.journal.reader import Batch
from barograph.journal.wide_rows import metrics_of
from barograph.records import (
    Answer,
    Banner,
    Columns,
    ConfigUpdate,
    ExactMatch,
    Hardware,
    Heartbeat,
    LostRecords,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Signals,
    Step,
    codec,
)
from barograph.records.codec import Unknown

LOSS = "loss"

EXAMPLES = 5
"""How many refused lines of one file are described."""

REJECTED_EXAMPLES = 3
"""How many rejected values of one file are named."""

_OF_MACHINE = ("cpu_pct", "process_cpu_pct", "process_ram_gb", "ram_used_gb", "swap_used_gb", "disk_used_gb")
_OF_GPU = ("temp_c", "util_pct", "vram_used_gb", "vram_pct", "power_w", "fan_pct")

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
        self.points = NewPoints().mixed()
        self.events: list[Event] = []
        self.headers: dict[str, list[str]] = {}
        self._path = path
        self._known_headers = known_headers
        self._series_id = series_id
        self._prefix = series_prefix(state.writer)
        self._by_name: dict[str, int] = {}
        self._begin_batch()
        self._last_time = state.last_time

    def update(self, batch: Batch) -> None:
        """Takes one batch in; what an earlier one left in `points`, `events` and `headers` is forgotten."""
        self.events, self.headers = [], {}
        self._begin_batch()
        bad = [(line.offset, line.detail) for line in batch.bad]
        good = unchecked = unknown = 0
        take_step = self._take_step
        for entry in batch.entries:
            unchecked += not entry.checked
            record = entry.record
            try:
                if isinstance(record, Step):  # first: nearly all lines are
                    take_step(record, entry.offset)
                elif isinstance(record, Unknown):
                    unknown += 1
                    continue
                else:
                    self._take(record, entry.offset)
                good += 1
            except LineError as error:
                bad.append((entry.offset, error.problem))
        rows = self._rows.mixed()
        self.points = merged([rows, self._scores.mixed()])
        state = _with_losses(
            _with_rows(self.state, of_series(rows, TIMES)), of_series(rows, self._by_name.get(LOSS, -1))
        )
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
        elif isinstance(record, Signals):
            # The newest is all that anybody asks for: a line replaces the one before.
            self._last_time = record.time
            self.state = replace(self.state, signals=record)
        elif isinstance(record, Hardware):
            self._take_hardware(record, offset)
        else:
            if isinstance(record, ExactMatch):
                name = f"exact_match/{record.task}/{record.level}/{record.regime}"
                series, values = (TIMES, self._series_id(name)), [record.time, record.exact_match]
                self._scores.update(series, place=offset, step=record.step, values=values)
            kind = str(record.__struct_config__.tag)
            self.events.append(Event(offset=offset, kind=kind, line=codec.encode_line(record)))
            self._last_time = record.time
            self.state = _with_event(self.state, record)

    def _take_hardware(self, record: Hardware, offset: int) -> None:
        """The newest is kept whole, and every one gives a point to the series of each number that it has."""
        self._last_time = record.time
        self.state = replace(self.state, hardware=record)
        numbers = hardware_series(record)
        if record.step is not None and numbers:
            # Without a time of its own: the row that logged this step has one, and a step should have one time.
            series = tuple(self._series_id(self._prefix + name) for name in numbers)
            self._scores.update(series, place=offset, step=record.step, values=list(numbers.values()))

    def _take_step(self, record: Step, offset: int) -> None:
        metrics = record.metrics if record.columns is None else metrics_of(record, self._known_headers)
        loss = record.loss
        names = tuple(metrics)
        known = self._without_loss if loss is None else self._with_loss
        lines = known.get(names)
        if lines is None:
            lines = known[names] = self._rows.lines(self._ids_of(names, with_loss=loss is not None))
        lines.places.append(offset)
        lines.steps.append(record.step)
        values = lines.values
        values.extend(metrics.values())
        values.append(record.time)
        if loss is not None:
            values.append(loss)
        self._last_time = record.time

    def _begin_batch(self) -> None:
        self._rows, self._scores = NewPoints(), NewPoints()
        self._with_loss: dict[tuple[str, ...], Lines] = {}
        self._without_loss: dict[tuple[str, ...], Lines] = {}

    def _ids_of(self, names: tuple[str, ...], *, with_loss: bool) -> tuple[int, ...]:
        """The series of a line's values, in their order."""
        for name in (*names, LOSS) if with_loss else names:
            if name not in self._by_name:
                self._by_name[name] = self._series_id(self._prefix + name)
        known = tuple(self._by_name[name] for name in names)
        return (*known, TIMES, self._by_name[LOSS]) if with_loss else (*known, TIMES)


def hardware_series(record: Hardware) -> dict[str, float]:
    """Series -> number of what a machine said; what it did not say has no point."""
    found = {f"hardware/{name}": getattr(record, name) for name in _OF_MACHINE}
    for gpu in record.gpus or ():
        found |= {f"hardware/gpu{gpu.index}/{name}": getattr(gpu, name) for name in _OF_GPU}
    return {name: value for name, value in found.items() if value is not None}


def series_prefix(writer: str) -> str:
    """What the names of a writer's series begin with: the values of another rank are not those of the run."""
    rank = _RANK.fullmatch(writer)
    return f"rank/{int(rank[1])}/" if rank else ""


def _with_rows(state: SourceState, times: Points) -> SourceState:
    """The state after the step lines of a batch, of which `times` has the steps and the times."""
    if not len(times.steps):
        return state
    least, greatest = int(times.steps.min()), int(times.steps.max())
    return replace(
        state,
        first_step=least if state.first_step is None else min(least, state.first_step),
        last_step=greatest if state.last_step is None else max(greatest, state.last_step),
        first_mark=state.first_mark or Mark(step=int(times.steps[0]), time=float(times.values[0])),
        newest_mark=Mark(step=int(times.steps[-1]), time=float(times.values[-1])),
    )


def _with_losses(state: SourceState, losses: Points) -> SourceState:
    """The state after the losses of a batch."""
    if not len(losses.steps):
        return state
    found = finite_losses(losses.steps, losses.values)
    bad = losses.steps[~np.isfinite(losses.values)]
    least = int(losses.steps.min())
    least_bad = [int(bad.min())] if len(bad) else []
    if state.least_non_finite is not None:
        least_bad.append(state.least_non_finite)
    return replace(
        state,
        first_loss=least if state.first_loss is None else min(least, state.first_loss),
        newest_loss=NewestLoss(step=int(losses.steps[-1]), value=float(losses.values[-1])),
        losses=joined_losses([state.losses, found]),
        least_non_finite=min(least_bad, default=None),
    )


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

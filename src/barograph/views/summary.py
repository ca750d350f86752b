"""What several documents say of a run: its state, its attempts, its row in the list. Read from its sources alone."""

import math
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.attempts import AttemptSteps, begins_at, shown_until
from barograph.analysis.run_state import RunState, WriterSigns, run_state
from barograph.index import Snapshot, query
from barograph.index.query import Source
from barograph.index.source import Mark, NewestLoss, SourceState
from barograph.journal.layout import TRAIN
from barograph.records import Banner
from barograph.records.quantities import Attempt, Step
from barograph.views.documents import AttemptRow, RunRow
from barograph.views.notices import notices_of
from barograph.views.times import iso


class NewestAttempt(Struct, frozen=True, kw_only=True):
    """The newest attempt of the rank-0 training writer, over all its parts."""

    attempt: Annotated[Attempt, Meta(description="Its number.")]
    parts: Annotated[list[SourceState], Meta(description="Its files, oldest first; at least one.")]
    grown_ns: Annotated[int, Meta(description="When one of them last grew, nanoseconds since 1970.")]
    behind: Annotated[bool, Meta(description="Whether there may be more in them than was read.")]

    @property
    def banner(self) -> Banner | None:
        """The newest banner."""
        return next((part.banner for part in reversed(self.parts) if part.banner is not None), None)

    @property
    def mark(self) -> Mark | None:
        """The newest step line."""
        return next((part.newest_mark for part in reversed(self.parts) if part.newest_mark is not None), None)

    @property
    def first_mark(self) -> Mark | None:
        """The first step line."""
        return next((part.first_mark for part in self.parts if part.first_mark is not None), None)

    @property
    def loss(self) -> NewestLoss | None:
        """The newest loss."""
        return next((part.newest_loss for part in reversed(self.parts) if part.newest_loss is not None), None)

    @property
    def total_steps(self) -> Step | None:
        """Planned steps."""
        return next((part.total_steps for part in reversed(self.parts) if part.total_steps is not None), None)

    @property
    def current_step(self) -> Step | None:
        """Step of the newest step line, else the one that the newest heartbeat names."""
        if self.mark is not None:
            return self.mark.step
        return next((part.heartbeat_step for part in reversed(self.parts) if part.heartbeat_step is not None), None)

    @property
    def last_time(self) -> float | None:
        """Time of the newest line."""
        return next((part.last_time for part in reversed(self.parts) if part.last_time is not None), None)

    def silent_s(self, now: float) -> float:
        """Seconds since one of its files last grew, by this machine's clock: the writer's may be wrong."""
        return max(0.0, now - self.grown_ns / 1e9)


def newest_attempt(sources: Sequence[Source]) -> NewestAttempt | None:
    """The newest attempt that trained; None if none did. `sources` are in the order of `query.sources`."""
    training = [source for source in sources if source.state.writer == TRAIN]
    if not training:
        return None
    newest = [source for source in training if source.state.attempt == training[-1].state.attempt]
    return NewestAttempt(
        attempt=training[-1].state.attempt,
        parts=[source.state for source in newest],
        grown_ns=max(source.grown_ns for source in newest),
        behind=any(source.behind for source in newest),
    )


def state_of(newest: NewestAttempt | None, *, now: float, crashed_after_s: float) -> RunState:
    """What the run is doing.

    Silence is that of the files, not of the index: a run whose lines wait to be read is not called crashed, since they
    may say that it completed.
    """
    if newest is None:
        return run_state(None, crashed_after_s=crashed_after_s)
    began = next((part.banner.time for part in newest.parts if part.banner is not None), None)
    pause = next((part.pause for part in reversed(newest.parts) if part.pause is not None), None)
    paused = pause if pause is not None and pause.paused else None
    complete = newest.parts[-1].complete
    signs = WriterSigns(
        attempt=newest.attempt,
        began=began,
        silent_s=newest.silent_s(now),
        last_time=newest.last_time,
        paused_at=paused.time if paused else None,
        pause_reason=paused.reason if paused else None,
        ended_at=complete.time if complete else None,
        exit_code=complete.exit_code if complete else None,
        end_reason=complete.reason if complete else None,
        imported=newest.banner.imported if newest.banner else None,
    )
    state = run_state(signs, crashed_after_s=crashed_after_s)
    if state.state == "crashed" and complete is None and newest.behind:
        reason = f"Attempt {newest.attempt} fell silent, and its newest lines are not read yet"
        return RunState(state="idle", since=state.since, reason=reason)
    return state


def hidden_from(sources: Sequence[Source]) -> dict[Attempt, Step]:
    """Attempt -> the step from which on its points are hidden by a newer one."""
    return shown_until([_steps_of(number, parts) for number, parts in _training_parts(sources).items()])


def attempt_rows(sources: Sequence[Source]) -> list[AttemptRow]:
    """The attempts that trained, oldest first."""
    hidden = hidden_from(sources)
    found = []
    elapsed: float | None = 0.0
    for number, parts in sorted(_training_parts(sources).items()):
        begun, ended = _clock(parts)
        zero = None if begun is None or elapsed is None else begun - elapsed
        elapsed = None if zero is None or ended is None else ended - zero
        banners = [state.banner for state in parts if state.banner is not None]
        steps = _steps_of(number, parts)
        found.append(
            AttemptRow(
                attempt=number,
                started=iso(banners[0].time) if banners else None,
                first_step=begins_at(steps),
                last_step=steps.last_step,
                shown_until=hidden.get(number),
                resumed_from=banners[0].resumed_from if banners else None,
                zero=zero,
            )
        )
    return found


def run_row(
    run: str, sources: Sequence[Source], notices: Sequence[str], *, now: float, crashed_after_s: float
) -> RunRow:
    """A run's row in the list; `notices` are those of the index, others are added here."""
    newest = newest_attempt(sources)
    state = state_of(newest, now=now, crashed_after_s=crashed_after_s)
    banner = newest.banner if newest else None
    loss = newest.loss if newest else None
    first = next((source.state.banner for source in sources if source.state.banner is not None), None)
    return RunRow(
        run=run,
        project=banner.project if banner else None,
        name=banner.name if banner else None,
        group=banner.group if banner else None,
        state=state.state,
        state_reason=state.reason,
        model_name=banner.model_name if banner else None,
        host=banner.host if banner else None,
        attempt=newest.attempt if newest else None,
        current_step=newest.current_step if newest else None,
        total_steps=newest.total_steps if newest else None,
        loss=loss.value if loss else None,
        started=iso(first.time) if first else None,
        last_seen=iso(newest.last_time) if newest else None,
        notices=[*notices, *notices_of(sources, now=now, crashed_after_s=crashed_after_s)],
    )


def run_that_moved_last(snapshot: Snapshot) -> str | None:
    """The run that moved last; None if there is none."""
    found = query.sources_by_run(snapshot)
    return max(found, key=lambda run: (*last_moved(found[run]), run), default=None)


def last_moved(sources: Sequence[Source]) -> tuple[int, float]:
    """When anything of a run last moved, for ordering: when a file grew, then its writers' own time."""
    grown = max((source.grown_ns for source in sources), default=0)
    times = [source.state.last_time for source in sources if source.state.last_time is not None]
    return grown, max((time for time in times if math.isfinite(time)), default=-math.inf)


def _clock(parts: Sequence[SourceState]) -> tuple[float | None, float | None]:
    """When an attempt began and when its newest line was written, by its own clock; None where that is no time."""
    begun = next((state.banner.time for state in parts if state.banner is not None), None)
    if begun is None:
        begun = next((state.first_mark.time for state in parts if state.first_mark is not None), None)
    ended = next((state.newest_mark.time for state in reversed(parts) if state.newest_mark is not None), begun)
    return (
        begun if begun is not None and math.isfinite(begun) else None,
        ended if ended is not None and math.isfinite(ended) else None,
    )


def _training_parts(sources: Sequence[Source]) -> dict[Attempt, list[SourceState]]:
    """Attempt -> the states of its training files, oldest first."""
    parts: dict[Attempt, list[SourceState]] = {}
    for source in sources:
        if source.state.writer == TRAIN:
            parts.setdefault(source.state.attempt, []).append(source.state)
    return parts


def _steps_of(number: Attempt, parts: Sequence[SourceState]) -> AttemptSteps:
    """The steps of an attempt over all its parts."""
    firsts = [state.first_step for state in parts if state.first_step is not None]
    lasts = [state.last_step for state in parts if state.last_step is not None]
    losses = [state.first_loss for state in parts if state.first_loss is not None]
    return AttemptSteps(
        attempt=number,
        first_step=min(firsts, default=None),
        last_step=max(lasts, default=None),
        first_loss=min(losses, default=None),
    )

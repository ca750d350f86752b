"""What several documents say of a run: its state, its attempts, its row in the list. Read from its sources alone."""

import math
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.attempts import AttemptSteps, shown_until
from barograph.analysis.run_state import RunState, WriterSigns, run_state
from barograph.index.query import Source
from barograph.index.source import Mark, NewestLoss, SourceState
from barograph.journal.layout import TRAIN
from barograph.records import FORMAT, Banner
from barograph.records.quantities import Attempt, Step
from barograph.views.documents import AttemptRow, RunRow
from barograph.views.times import iso


class NewestAttempt(Struct, frozen=True, kw_only=True):
    """The newest attempt of the rank-0 training writer, over all its parts."""

    attempt: Annotated[Attempt, Meta(description="Its number.")]
    parts: Annotated[list[SourceState], Meta(description="Its files, oldest first; at least one.")]

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
        return max(0.0, now - max(part.identity.changed_ns for part in self.parts) / 1e9)


def newest_attempt(sources: Sequence[Source]) -> NewestAttempt | None:
    """The newest attempt that trained; None if none did. `sources` are in the order of `query.sources`."""
    training = [source.state for source in sources if source.state.writer == TRAIN]
    if not training:
        return None
    newest = training[-1].attempt
    return NewestAttempt(attempt=newest, parts=[state for state in training if state.attempt == newest])


def state_of(newest: NewestAttempt | None, *, now: float, crashed_after_s: float) -> RunState:
    """What the run is doing."""
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
    )
    return run_state(signs, crashed_after_s=crashed_after_s)


def hidden_from(sources: Sequence[Source]) -> dict[Attempt, Step]:
    """Attempt -> the step from which on its points are hidden by a newer one."""
    least: dict[Attempt, Step | None] = {}
    for source in sources:
        if source.state.writer == TRAIN:
            attempt, first = source.state.attempt, source.state.first_step
            before = least.get(attempt)
            least[attempt] = first if before is None else before if first is None else min(before, first)
    return shown_until([AttemptSteps(attempt=attempt, first_step=first) for attempt, first in least.items()])


def attempt_rows(sources: Sequence[Source]) -> list[AttemptRow]:
    """The attempts that trained, oldest first."""
    training = [source.state for source in sources if source.state.writer == TRAIN]
    hidden = hidden_from(sources)
    found = []
    for number in sorted({state.attempt for state in training}):
        parts = [state for state in training if state.attempt == number]
        banners = [state.banner for state in parts if state.banner is not None]
        firsts = [state.first_step for state in parts if state.first_step is not None]
        lasts = [state.last_step for state in parts if state.last_step is not None]
        found.append(
            AttemptRow(
                attempt=number,
                started=iso(banners[0].time) if banners else None,
                first_step=min(firsts, default=None),
                last_step=max(lasts, default=None),
                shown_until=hidden.get(number),
                resumed_from=banners[0].resumed_from if banners else None,
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
        notices=[*notices, *_notices_of(sources)],
    )


def last_moved(sources: Sequence[Source]) -> tuple[int, float]:
    """When anything of a run last moved, for ordering: when a file grew, then its writers' own time."""
    grown = max((source.state.identity.changed_ns for source in sources), default=0)
    times = [source.state.last_time for source in sources if source.state.last_time is not None]
    return grown, max((time for time in times if math.isfinite(time)), default=-math.inf)


def _notices_of(sources: Sequence[Source]) -> list[str]:
    """What the lines of a run's files give reason to say."""
    said = []
    for source in sources:
        banner = source.state.banner
        if banner is not None and banner.format > FORMAT:
            said.append(
                f"{source.path} was written by a newer barograph (format {banner.format}, this one reads {FORMAT}):"
                " what it does not know is left out"
            )
    totals = (
        (sum(source.state.bad for source in sources), "journal lines could not be read"),
        (sum(source.state.unknown for source in sources), "journal lines are of kinds unknown to this barograph"),
        (sum(source.state.lost for source in sources), "records were dropped by the writer and never written"),
    )
    said.extend(f"{count} {what}" for count, what in totals if count)
    said.extend(_two_writers(sources))
    return said


def _two_writers(sources: Sequence[Source]) -> list[str]:
    """A file that continues another of its attempt says so in its banner; two that do not had two writers."""
    begun: dict[Attempt, int] = {}
    for source in sources:
        banner = source.state.banner
        if source.state.writer == TRAIN and banner is not None and banner.part == 1:
            begun[source.state.attempt] = begun.get(source.state.attempt, 0) + 1
    return [
        f"Attempt {attempt} has {count} training logs: more than one process wrote to it"
        for attempt, count in begun.items()
        if count > 1
    ]

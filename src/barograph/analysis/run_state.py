"""What a run is doing, from what its training writer said and how long it has been silent."""

from typing import Annotated

from msgspec import Meta, Struct

from barograph.records.quantities import Attempt, RunStateWord, Seconds


class WriterSigns(Struct, frozen=True, kw_only=True):
    """What the newest attempt of the rank-0 training writer has shown so far.

    Older attempts do not count: a run that was resumed after it had completed is training again.
    """

    attempt: Annotated[Attempt, Meta(description="The newest attempt.")]
    began: Annotated[Seconds | None, Meta(description="Time of its banner; None if it has none.")]
    silent_s: Annotated[float, Meta(ge=0.0, description="Seconds since its file last grew.")]
    last_time: Annotated[Seconds | None, Meta(description="Time of its newest line; None if it has none.")]
    paused_at: Annotated[Seconds | None, Meta(description="Time of its newest pause line, if that says paused.")] = None
    pause_reason: Annotated[str | None, Meta(description="Why it was paused.")] = None
    ended_at: Annotated[Seconds | None, Meta(description="Time of its completion; None if it has not ended.")] = None
    exit_code: Annotated[
        int | None, Meta(description="Exit code of its completion; None if nobody said how it ended.")
    ] = None
    end_reason: Annotated[str | None, Meta(description="What ended it.")] = None
    imported: Annotated[
        str | None, Meta(description="Format of the log of another tool that it was made of; None if it is our own.")
    ] = None


class RunState(Struct, frozen=True, kw_only=True):
    """The state of a run, since when, and why it counts as that."""

    state: Annotated[RunStateWord, Meta(description="The word.")]
    since: Annotated[Seconds | None, Meta(description="Since when, by the writer's clock; None if not known.")]
    reason: Annotated[str, Meta(description="One sentence.")]


def run_state(signs: WriterSigns | None, *, crashed_after_s: float) -> RunState:
    """The state of a run; `signs` is None if no training attempt exists.

    A completion wins over silence, silence wins over a pause: a paused writer goes on with its heartbeat, so a
    silent one has died. Of a log of another tool silence says nothing: most end without a word.
    """
    if signs is None:
        return RunState(state="idle", since=None, reason="No training attempt has been made")
    named = f"Attempt {signs.attempt}"
    if signs.ended_at is not None:
        return _ended(signs, named)
    if signs.silent_s > crashed_after_s and signs.imported is not None:
        said = f"{named} was imported ({signs.imported}), and that log does not say how training ended"
        return RunState(state="idle", since=signs.last_time, reason=said)
    if signs.silent_s > crashed_after_s:
        paused = " while paused" if signs.paused_at is not None else ""
        return RunState(
            state="crashed",
            since=signs.last_time,
            reason=f"{named} fell silent{paused}: no line for more than {crashed_after_s:g} s, and no completion",
        )
    if signs.paused_at is not None:
        why = f": {signs.pause_reason}" if signs.pause_reason else ""
        return RunState(state="paused", since=signs.paused_at, reason=f"{named} was paused{why}")
    return RunState(
        state="training", since=signs.began, reason=f"{named} wrote a line within the last {crashed_after_s:g} s"
    )


def _ended(signs: WriterSigns, named: str) -> RunState:
    why = f": {signs.end_reason}" if signs.end_reason else ""
    if signs.exit_code is None:
        said = f"{named} ended without saying whether it succeeded{why}"
        return RunState(state="completed", since=signs.ended_at, reason=said)
    if signs.exit_code == 0:
        return RunState(state="completed", since=signs.ended_at, reason=f"{named} said that it completed{why}")
    said = f"{named} ended with exit code {signs.exit_code}{why}"
    return RunState(state="crashed", since=signs.ended_at, reason=said)

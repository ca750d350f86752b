"""What a reader of a run should know that no figure of it says. Read from its sources alone."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from msgspec import Meta, Struct

from barograph.index.query import Source
from barograph.journal.layout import TRAIN
from barograph.records import FORMAT
from barograph.records.quantities import Attempt

REJECTED_EXAMPLES = 3
"""Rejected values that are named."""


class Writing(Struct, frozen=True, kw_only=True):
    """When an attempt was written, by its writer's clock and by that of its files."""

    attempt: Annotated[Attempt, Meta(description="Its number.")]
    host: Annotated[str | None, Meta(description="The writing machine.")]
    began: Annotated[float, Meta(description="Time of its first banner; NaN if not known.")]
    last: Annotated[float, Meta(description="Time of its newest line; NaN if not known.")]
    grown: Annotated[float, Meta(description="When its file last grew, by the file system's clock.")]
    ended: Annotated[bool, Meta(description="Whether it said that it ended.")]


def notices_of(sources: Sequence[Source], *, now: float, crashed_after_s: float) -> list[str]:
    """A sentence for each thing that the lines of a run's files give reason to say."""
    said = []
    for source in sources:
        banner = source.state.banner
        if banner is not None and banner.format > FORMAT:
            said.append(
                f"{source.path} was written by a newer barograph (format {banner.format}, this one reads {FORMAT}):"
                " what it does not know is left out"
            )
    totals = (
        (sum(source.state.bad for source in sources), "journal line", "could not be read"),
        (sum(source.state.unknown for source in sources), "journal line", "of a kind unknown to this barograph"),
        (sum(source.state.lost for source in sources), "record", "dropped by the writer and never written"),
    )
    said.extend(f"{count} {what}{'' if count == 1 else 's'} {fate}" for count, what, fate in totals if count)
    said.extend(_rejected(sources))
    said.extend(_two_writers(sources))
    said.extend(_two_attempts(sources, now=now, crashed_after_s=crashed_after_s))
    return said


def rejected_values(sources: Sequence[Source]) -> int:
    """Values and rows that were left out because they were no numbers.

    A writer counts them all and says so at its end. Until then, and if it never comes to that, the lines that name
    each key and type once are the least that there were.
    """
    lines: dict[tuple[str, Attempt], int] = {}
    counted: dict[tuple[str, Attempt], int] = {}
    for source in sources:
        writer = source.state.writer, source.state.attempt
        lines[writer] = lines.get(writer, 0) + source.state.rejected
        if source.state.complete is not None:
            counted[writer] = source.state.complete.rejected
    return sum(max(count, counted.get(writer, 0)) for writer, count in lines.items())


def _rejected(sources: Sequence[Source]) -> list[str]:
    count = rejected_values(sources)
    if count == 0:
        return []
    # A dict keeps the order and one of each: every attempt rejects the same values again.
    named = list(dict.fromkeys(example for source in sources for example in source.state.rejected_examples))
    kinds = max((source.state.rejected for source in sources), default=0)
    others = ["and others"] if max(len(named), kinds) > REJECTED_EXAMPLES else []
    what = (
        "1 logged value or row was left out, because it was no number"
        if count == 1
        else f"{count} logged values or rows were left out, because they were no numbers"
    )
    return [f"{what}: {', '.join(named[:REJECTED_EXAMPLES] + others)}" if named else what]


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


def _two_attempts(sources: Sequence[Source], *, now: float, crashed_after_s: float) -> list[str]:
    """Pairs of attempts that were written at the same time.

    By one machine's clock an attempt ends before the next one begins, so neighbours are enough. Clocks of two machines
    are believed to the length of a silence; if both write now, and the newer one has for longer than that by its own
    clock, then the older one was alive when it began, whatever the clocks say of each other.
    """
    attempts = _writings(sources)
    pairs = set()
    for older, newer in pairwise(attempts):
        allowed_s = 0.0 if older.host == newer.host else crashed_after_s
        if older.last - newer.began > allowed_s:
            pairs.add((older.attempt, newer.attempt))
    alive = [one for one in attempts if not one.ended and now - one.grown <= crashed_after_s]
    for older, newer in pairwise(alive):
        if older.host != newer.host and newer.last - newer.began > crashed_after_s:
            pairs.add((older.attempt, newer.attempt))
    return [
        f"Attempts {older} and {newer} were written at the same time: two processes trained into this run"
        for older, newer in sorted(pairs)
    ]


def _writings(sources: Sequence[Source]) -> list[Writing]:
    """The training attempts, oldest first; a part of an attempt goes on where the one before it ended."""
    found: dict[Attempt, Writing] = {}
    for source in sources:
        state, banner = source.state, source.state.banner
        if state.writer == TRAIN:
            before = found.get(state.attempt)
            found[state.attempt] = Writing(
                attempt=state.attempt,
                host=before.host if before else banner.host if banner else None,
                began=before.began if before else _usable(banner.time if banner else None),
                last=_usable(state.last_time),
                grown=source.grown_ns / 1e9,
                ended=state.complete is not None,
            )
    return [found[attempt] for attempt in sorted(found)]


def _usable(time: float | None) -> float:
    """A writer's time, or NaN, which is later than nothing."""
    return math.nan if time is None or not math.isfinite(time) else time

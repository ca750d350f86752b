"""One curve from the parts that its attempts and files wrote: what charts show, and what seed 004's code builds."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.analysis.loss_curve import Curve
from barograph.records import Banner
from barograph.records.quantities import Attempt

MOST_RESUMES = 5
"""Resumes in one file that nobody wonders about."""
NEAR = 20
"""Usual distances of two steps that a writer may leave out."""
MOST_WRITERS = 64
"""Processes that are told apart."""

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


class CurvePart(Struct, frozen=True, kw_only=True):
    """The losses that one stretch of writing left, in the order in which they were written."""

    attempt: Annotated[Attempt, Meta(description="Which start of the run it belongs to.")]
    steps: Annotated[Steps, Meta(description="[points]")]
    losses: Annotated[Floats, Meta(description="[points], nats; NaN and infinities are values.")]


def curve_of(
    parts: Sequence[CurvePart],
    *,
    files: int,
    averaged: bool,
    metrics: Sequence[str] = (),
    torn_lines: int = 0,
    bad_lines: int = 0,
    examples: Sequence[str] = (),
) -> Curve:
    """The curve of `parts`, which are given oldest first."""
    steps = np.concatenate([np.empty(0, np.int64), *(part.steps for part in parts)])
    losses = np.concatenate([np.empty(0, np.float64), *(part.losses for part in parts)])
    merged = _last_of_each(steps)
    shown = _shown(parts)
    return Curve(
        steps=steps[shown],
        losses=losses[shown],
        merged_steps=steps[merged],
        merged_losses=losses[merged],
        ghost_points=len(merged) - len(shown),
        attempts=len({part.attempt for part in parts}),
        files=files,
        averaged=averaged,
        metrics=tuple(sorted(set(metrics))),
        torn_lines=torn_lines,
        bad_lines=bad_lines,
        examples=tuple(examples),
    )


def logs_means(banner: Banner) -> bool:
    """Whether a loss of this writer is the mean since the one before it: what an import says in the config."""
    try:
        found = msgspec.json.decode(banner.config or "{}", type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return False
    return bytes(found.get("logged_loss", b"")) == b'"mean"'


def split_where_it_goes_back(steps: Steps, losses: Floats, *, attempt: Attempt) -> list[CurvePart]:
    """The parts of one file whose steps went back: each time, a training went on from an earlier step.

    One step back is none: loggers write a step twice, and two processes that write into one file take turns.
    """
    back = np.flatnonzero(np.diff(steps) < -1) + 1
    edges = [0, *back.tolist(), len(steps)]
    return [
        CurvePart(attempt=attempt + number, steps=steps[begin:end], losses=losses[begin:end])
        for number, (begin, end) in enumerate(pairwise(edges))
    ]


def writers_apart(steps: Steps) -> list[NDArray[np.int64]]:
    """Places of the points of each of the processes that wrote into one file, if more than one did; else all of them.

    Where steps go back at more than one place in twenty, no training was resumed so often: processes took turns. Each
    point then goes to the writer whose last step is nearest below it, if that is not far below.
    """
    back = int((np.diff(steps) < -1).sum())
    if back <= max(MOST_RESUMES, len(steps) // 20):
        return [np.arange(len(steps))]
    reach = NEAR * max(1, int(np.median(np.diff(np.unique(steps)))))
    last: list[int] = []
    places: list[list[int]] = []
    for place, step in enumerate(steps.tolist()):
        below = [number for number, one in enumerate(last) if step - reach <= one < step]
        if below:
            number = max(below, key=last.__getitem__)
            last[number] = step
            places[number].append(place)
        elif len(last) < MOST_WRITERS:
            last.append(step)
            places.append([place])
    return sorted((np.array(one, np.int64) for one in places), key=len, reverse=True)


def _last_of_each(steps: Steps) -> NDArray[np.int64]:
    """Places of the last point of every step, by step."""
    if len(steps) < 2 or bool((steps[1:] > steps[:-1]).all()):
        return np.arange(len(steps))
    _, places = np.unique(steps[::-1], return_index=True)
    found: NDArray[np.int64] = len(steps) - 1 - places
    return found


def _shown(parts: Sequence[CurvePart]) -> NDArray[np.int64]:
    """Places of the points that no newer attempt went over again, each step once, by step."""
    least: int | None = None
    kept: list[NDArray[np.int64]] = []
    seen: list[Steps] = []
    begin = sum(len(part.steps) for part in parts)
    attempt: int | None = None
    limit: int | None = None
    for part in reversed(parts):
        begin -= len(part.steps)
        if part.attempt != attempt:
            attempt, limit = part.attempt, least
        inside = np.arange(len(part.steps))
        if limit is not None:
            inside = inside[part.steps < limit]
        kept.append(begin + inside)
        seen.append(part.steps[inside])
        if len(part.steps):
            first = int(part.steps.min())
            least = first if least is None else min(least, first)
    places = np.concatenate([np.empty(0, np.int64), *kept[::-1]])
    steps = np.concatenate([np.empty(0, np.int64), *seen[::-1]])
    found: NDArray[np.int64] = places[_last_of_each(steps)]
    return found

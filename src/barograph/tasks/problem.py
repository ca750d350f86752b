"""One problem with its proved answer, and the rule that says which problems no model may train on."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from barograph.errors import BarographError, UsageError

Split = Literal["train", "held_out"]
"""Which side of the fence a problem lies on; decided by its content alone."""

HELD_OUT_ONE_IN = 5
"""One problem in so many is held out. Changing it moves the fence, so old checkpoints have seen held-out problems."""

DRAWS = 10_000
"""Draws after which a generator is called broken: a level whose problems all lie on one side of the fence."""


class Problem(Struct, frozen=True, kw_only=True):
    """A question with one right answer, as a generator made it and a solver proved it."""

    id: Annotated[str, Meta(description="`task_` and the first 16 hex digits of the SHA-256 of the other fields.")]
    task: Annotated[str, Meta(description="Name of the task, such as `syllo`.")]
    level: Annotated[str, Meta(description="Difficulty level within the task, such as `easy`.")]
    prompt: Annotated[str, Meta(description="The question in words, without any instruction about the format.")]
    answer: Annotated[str, Meta(description="The one right answer, proved by the task's solver.")]
    canonical: Annotated[
        str,
        Meta(description="The question as an S-expression, the same for every wording; its hash decides the split."),
    ]


class Task(Struct, frozen=True, kw_only=True):
    """A skill: its levels from easy to hard and the function that draws one problem of a level."""

    name: Annotated[str, Meta(description="Name, the prefix of its skills such as `syllo_easy`.")]
    levels: Annotated[tuple[str, ...], Meta(description="Level names, easiest first.")]
    draw: Annotated[
        Callable[[str, Random], Problem],
        Meta(description="Level and source of randomness -> problem; the same state gives the same problem."),
    ]
    base_rates: Annotated[
        dict[str, float],
        Meta(description="Level -> the share that the best constant answer would score, an upper bound."),
    ]


def problem(*, task: str, level: str, prompt: str, answer: str, canonical: str) -> Problem:
    """The problem with its content hash as id."""
    content = msgspec.json.encode([task, level, prompt, answer, canonical])
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Problem(id=f"{task}_{digest}", task=task, level=level, prompt=prompt, answer=answer, canonical=canonical)


def split_of(canonical: str) -> Split:
    """`held_out` for one canonical form in `HELD_OUT_ONE_IN`, by its SHA-256: no seed, order or level can move it."""
    digest = hashlib.sha256(canonical.encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0 else "train"


def draw(task: Task, level: str, *, seed: str, split: Split) -> Problem:
    """The problem of that level and side of the fence that `seed` names.

    Problems of the other side are drawn and passed over, so the balance of answers is kept as far as the hash is
    fair to every answer. Raises `UsageError` for a level that the task has not.
    """
    if level not in task.levels:
        raise UsageError(
            f"task {task.name!r} has no level {level!r}", advice=f"Its levels are {', '.join(task.levels)}"
        )
    random = Random(f"{task.name}/{level}/{seed}")
    for _ in range(DRAWS):
        found = task.draw(level, random)
        if split_of(found.canonical) == split:
            return found
    raise BarographError(
        f"{DRAWS} draws of {task.name} {level} gave no {split} problem",
        advice="Give the level more problems: so small a level has nothing to hold out",
    )


def distinct(task: Task, level: str, *, seed: str, split: Split, count: int) -> list[Problem]:
    """`count` problems with different canonical forms, in the order in which `seed` draws them.

    No answer comes more often than the level's base rate says: in a small set, chance alone would let a constant
    answer score more. Raises `UsageError` when the level has too few problems.
    """
    found: dict[str, Problem] = {}
    answers: Counter[str] = Counter()
    for attempt in range(count * 50 + DRAWS):
        if len(found) == count:
            break
        drawn = draw(task, level, seed=f"{seed}/{attempt}", split=split)
        if drawn.canonical not in found and answers[drawn.answer] < math.ceil(task.base_rates[level] * count):
            found[drawn.canonical] = drawn
            answers[drawn.answer] += 1
    if len(found) < count:
        raise UsageError(
            f"{task.name} {level} gave {len(found)} different {split} problems, {count} were asked for",
            advice="Ask for fewer, or take a level with more problems",
        )
    return list(found.values())

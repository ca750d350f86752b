"""The frozen probe set: held-out problems under their regimes, named by the hash of their content.

Two checkpoints may be compared only on the same probes, so answers carry the set's hash, and a set that was loaded
from a file must still have the hash that it was saved with.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.errors import BarographError, UsageError
from barograph.tasks import TASKS, Problem, distinct
from barograph.tasks.regimes import REGIMES, Regime, Rendered, render


class Quota(Struct, frozen=True, kw_only=True):
    """How many probes of one level under one regime."""

    task: Annotated[str, Meta(description="Task name.")]
    level: Annotated[str, Meta(description="Level of the task.")]
    regime: Annotated[Regime, Meta(description="Answer format.")]
    count: Annotated[int, Meta(ge=1, description="Number of different problems.")]


class Probe(Struct, frozen=True, kw_only=True):
    """One question of the set, with everything that scoring its answer needs."""

    id: Annotated[str, Meta(description="Id of the problem; with the regime it is unique in the set.")]
    task: Annotated[str, Meta(description="Task name.")]
    level: Annotated[str, Meta(description="Level of the task.")]
    golden: Annotated[str, Meta(description="The right answer.")]
    rendered: Annotated[Rendered, Meta(description="Prompt, target and contract under the regime.")]


class ProbeSet(Struct, frozen=True, kw_only=True):
    """A frozen list of probes and the hash of their content."""

    hash: Annotated[str, Meta(description="SHA-256 of the probes in their order, as 64 hex digits.")]
    probes: Annotated[tuple[Probe, ...], Meta(description="The probes, level by level.")]


EASIEST = frozenset((task.name, task.levels[0]) for task in TASKS)

STANDARD = tuple(
    Quota(task=task.name, level=level, regime=regime, count=100 if regime == "plain_sft" else 20)
    for task in TASKS
    for level in task.levels
    for regime in REGIMES
    if regime == "plain_sft" or (task.name, level) in EASIEST
)
"""100 plain probes of every level, and 20 of each other regime on the easiest level of every task."""

SHORT = tuple(
    Quota(task=task.name, level=level, regime="plain_sft", count=32) for task in TASKS for level in task.levels[:2]
)
"""32 plain probes of the two easiest levels of every task, for models that take a quarter of a second a probe.

The interval of a share of 32 reaches about 17 points to either side: a skill is seen to come, and no verdict is given.
"""


def probe_set(quotas: Iterable[Quota], *, seed: int) -> ProbeSet:
    """The set that the quotas and the seed name. Regimes of one level get different problems.

    Raises `UsageError` for an unknown task or level, or when a level has too few held-out problems.
    """
    counts: dict[tuple[str, str], list[Quota]] = {}
    for quota in quotas:
        counts.setdefault((quota.task, quota.level), []).append(quota)
    probes: list[Probe] = []
    for (task, level), wanted in counts.items():
        problems = iter(_held_out(task, level, seed=seed, count=sum(quota.count for quota in wanted)))
        probes += [_probe(next(problems), quota.regime, seed=seed) for quota in wanted for _ in range(quota.count)]
    return ProbeSet(hash=content_hash(probes), probes=tuple(probes))


def frozen(path: Path, *, seed: int, quotas: Iterable[Quota] = STANDARD) -> ProbeSet:
    """The set of a run: the one in `path`, or a new one that is saved there for everyone who comes later."""
    if path.exists():
        return load(path)
    probes = probe_set(quotas, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(probes, path)
    return probes


def content_hash(probes: Iterable[Probe]) -> str:
    """SHA-256 over the probes in order: every field counts, and so does the order."""
    return hashlib.sha256(msgspec.json.encode(list(probes))).hexdigest()


def save(probes: ProbeSet, path: Path) -> None:
    """Write the set as JSON; the file appears whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(probes), indent=1))
    beside.replace(path)


def load(path: Path) -> ProbeSet:
    """The set in a file. Raises `BarographError` when the file is none, or its probes are not those of its hash."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ProbeSet)
    except msgspec.MsgspecError as error:
        raise BarographError(
            f"not a probe set: {error}", where=str(path), advice="Write it again with the same seed"
        ) from error
    actual = content_hash(found.probes)
    if actual != found.hash:
        raise BarographError(
            f"the probes hash to {actual[:16]}, the file says {found.hash[:16]}",
            where=str(path),
            advice="The set was changed after it was frozen; scores on it compare with nothing. Write it again",
        )
    return found


def _held_out(task: str, level: str, *, seed: int, count: int) -> list[Problem]:
    for known in TASKS:
        if known.name == task:
            return distinct(known, level, seed=f"probe/{seed}", split="held_out", count=count)
    raise UsageError(f"no task {task!r}", advice=f"The tasks are {', '.join(known.name for known in TASKS)}")


def _probe(problem: Problem, regime: Regime, *, seed: int) -> Probe:
    return Probe(
        id=problem.id,
        task=problem.task,
        level=problem.level,
        golden=problem.answer,
        rendered=render(problem, regime, seed=f"probe/{seed}"),
    )

"""What is to be done: a pure function of the checkpoints on disk and of what the journal says was done.

A checkpoint is read once for each content and each reference that it had. It counts when it is complete: the run said
that it was saved, or nobody has written to it for a while. It is read in step order, `checkpoint-9` before
`checkpoint-10`, and those of the run that saved last come first.

Without a reference that anybody named, the others of a run are compared with its first checkpoint, whichever that was
when the first comparison was made; it stays the reference, and when it is deleted the others have none. What was read
stays read when the checkpoint is deleted, or a better reference is out of reach.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.records.quantities import Attempt, Seconds, Step
from barograph.records.weights import ReferenceOrigin, origin_rank

VERSION = 1
"""Part of every job's id: raised when a pass records what it did not record before, so that all are made again."""

NORMAL = 2
IS_FIRST = "it is the run's first checkpoint, to which the others are compared"
"""Why the first checkpoint has no reference."""


class Reference(Struct, frozen=True, kw_only=True):
    """What a checkpoint is compared with."""

    path: Annotated[str, Meta(description="Folder or file, absolute.")]
    name: Annotated[str, Meta(description="What it is called.")]
    origin: Annotated[ReferenceOrigin, Meta(description="Who says that it is the reference.")]
    stamp: Annotated[str, Meta(description="Hash of its files' names, sizes and times.")]


class Candidate(Struct, frozen=True, kw_only=True):
    """A checkpoint that somebody speaks of, as it is on disk now."""

    run: Annotated[str, Meta(description="Run that it belongs to.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that saved it.")]
    path: Annotated[str, Meta(description="Folder, absolute.")]
    name: Annotated[str, Meta(description="What it is called.")]
    step: Annotated[Step | None, Meta(description="Its step, if that is known.")]
    recorded: Annotated[bool, Meta(description="Whether the run said that it was saved.")]
    stamp: Annotated[str, Meta(description="Hash of its files' names, sizes and times; empty if it is not there.")]
    readable: Annotated[bool, Meta(description="Whether its files look like weights that can be read.")]
    adapter: Annotated[bool, Meta(description="Whether it is an adapter, which cannot be compared with another.")]
    modified: Annotated[Seconds, Meta(description="When one of its files was last written to.")]
    reference: Annotated[Reference | None, Meta(description="What somebody named as its reference.")]
    no_reference: Annotated[str | None, Meta(description="Why the named one cannot be used; null if it can, or none.")]


class InForce(Struct, frozen=True, kw_only=True):
    """The pass over a checkpoint that counts: that of its newest content, against the best reference it ever had."""

    stamp: Annotated[str, Meta(description="Content that was read.")]
    job: Annotated[str | None, Meta(description="Job that it was for.")]
    rank: Annotated[int, Meta(description="How good its reference was, as `origin_rank` has it; 0 is the best.")]


class First(Struct, frozen=True, kw_only=True):
    """The first checkpoint of a run, with which others were compared."""

    path: Annotated[str, Meta(description="Its folder.")]
    attempt: Annotated[Attempt, Meta(description="Newest attempt whose checkpoints were compared with it.")]


class Past(Struct, frozen=True, kw_only=True):
    """What the journal of a run says was done."""

    failed: Annotated[frozenset[str], Meta(description="Ids of jobs that failed and are not tried again.")]
    in_force: Annotated[dict[str, InForce], Meta(description="Folder -> the pass over it that counts.")]
    first: Annotated[First | None, Meta(description="The first checkpoint, if others were compared with it.")]


class PlannedJob(Struct, frozen=True, kw_only=True):
    """One checkpoint to be read."""

    id: Annotated[str, Meta(description="The same for the same work on the same content.")]
    candidate: Annotated[Candidate, Meta(description="What is to be read.")]
    reference: Annotated[Reference | None, Meta(description="What it is to be compared with.")]
    no_reference: Annotated[str | None, Meta(description="Why with nothing.")]
    priority: Annotated[int, Meta(ge=0, le=4, description="0 critical to 4 idle.")] = NORMAL


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be done now, and when to look again."""

    jobs: Annotated[list[PlannedJob], Meta(description="In the order in which they are to be done.")]
    quiet_at: Annotated[
        Seconds | None,
        Meta(description="When the first of those still being written may be complete; null if none is."),
    ]


def plan(candidates: Iterable[Candidate], past: dict[str, Past], *, now: Seconds, quiet_s: float) -> Plan:
    """The jobs that are missing. `past`: run -> what was done; `quiet_s`: seconds without a write after which a
    checkpoint is complete that its run did not speak of."""
    by_run: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_run.setdefault(one.run, []).append(one)
    jobs: list[PlannedJob] = []
    quiet_at: list[Seconds] = []
    newest = {run: max(one.modified for one in found) for run, found in by_run.items()}
    for run in sorted(by_run, key=lambda name: (-newest[name], name)):
        found = sorted(by_run[run], key=_order)
        first = first_checkpoint(found, past[run])
        for one in found:
            if not one.recorded and one.stamp and 0.0 <= now - one.modified < quiet_s:
                quiet_at.append(one.modified + quiet_s)
                continue
            job = _job(one, first=first)
            if not _is_done(job, past[run]):
                jobs.append(job)
    return Plan(jobs=sorted(jobs, key=lambda job: job.priority), quiet_at=min(quiet_at, default=None))


def first_checkpoint(candidates: Sequence[Candidate], past: Past) -> Reference | str | None:
    """What checkpoints without a named reference are compared with, or why with nothing; `candidates` by step.

    The one that was the reference before stays it, whatever it holds now; when it is gone, only a later attempt gets
    one of its own. None if there is not one that can be it.
    """
    fitting = [one for one in candidates if one.stamp and one.readable and not one.adapter]
    if past.first is not None:
        for one in fitting:
            if one.path == past.first.path:
                return _as_first(one)
        if any(one.attempt <= past.first.attempt for one in fitting):
            name = past.first.path.rpartition("/")[2]
            return f"{name}, the first checkpoint, with which the others were compared, is gone; name a --reference"
    return _as_first(fitting[0]) if fitting else None


def _is_done(job: PlannedJob, past: Past) -> bool:
    """Whether nothing is missing: it failed for good, or was read against this reference or a better one.

    What was read and is gone stays read.
    """
    one = job.candidate
    if job.id in past.failed:
        return True
    before = past.in_force.get(one.path)
    if before is None:
        return False
    if not one.stamp:
        return True
    rank = origin_rank(None if job.reference is None else job.reference.origin)
    return before.stamp == one.stamp and (before.job == job.id or before.rank < rank)


def job_id(path: str, stamp: str, reference: Reference | None) -> str:
    """16 hex digits of a hash of what is read and with what it is compared."""
    other = None if reference is None else (reference.path, reference.stamp)
    return hashlib.sha256(msgspec.json.encode((VERSION, "weights", path, stamp, other))).hexdigest()[:16]


def _as_first(one: Candidate) -> Reference:
    return Reference(path=one.path, name=one.name, origin="first_checkpoint", stamp=one.stamp)


def _job(one: Candidate, *, first: Reference | str | None) -> PlannedJob:
    reference, reason = one.reference, one.no_reference
    if reference is None and reason is None:
        if one.adapter:
            reason = "the adapter names no base model"
        elif isinstance(first, str):
            reason = first
        elif first is not None and first.path != one.path:
            reference = first
        else:
            reason = IS_FIRST
    return PlannedJob(
        id=job_id(one.path, one.stamp, reference), candidate=one, reference=reference, no_reference=reason
    )


def _order(one: Candidate) -> tuple[bool, int, int, str]:
    """By step; those without one come last: they are what came of the others."""
    return one.step is None, one.step or 0, one.attempt, one.path

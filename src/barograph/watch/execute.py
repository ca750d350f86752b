"""One job: a checkpoint is read once, beside its reference if it has one, and what was seen is recorded.

A reference that turns out to be unusable (other architecture, damaged) does not keep the checkpoint from being read: it
is then read alone, and the record says why.
"""

import errno
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.errors import BarographError, CheckpointChanged
from barograph.watch.plan import PlannedJob
from barograph.weights import Checkpoint, Pass, drift_pass, open_checkpoint
from barograph.weights.drift_pass import bytes_to_read, matched

THEIRS = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)
"""What the system says of a path that leads nowhere; whatever else it says is not the checkpoint's fault."""

Bar = Callable[[int], Callable[[int], None]]
"""Given the bytes that a job will read, what to tell of those that it has read."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How a job ended."""

    done: Annotated[Pass | None, Meta(description="What was seen; None if it failed.")]
    failure: Annotated[str | None, Meta(description="Why it failed; null if it did not.")]
    again: Annotated[
        bool, Meta(description="Whether it may go well later: this machine failed, and not the checkpoint.")
    ] = False


def execute(job: PlannedJob, *, earlier: Pass | None, threads: int | None, bar: Bar) -> Outcome:
    """Read the job's checkpoint. `earlier`: the pass before it against the same reference, whose unchanged tensors
    need be read on one side only. Nothing that a file holds makes it raise."""
    if not job.candidate.stamp:
        gone = "the folder is not on this machine: it was deleted, or saved on another one"
        return Outcome(done=None, failure=gone)
    try:
        with ExitStack() as stack:
            current = stack.enter_context(open_checkpoint(Path(job.candidate.path)))
            reference, reason = _opened(job, current, stack)
            advance = bar(bytes_to_read(current, reference))
            found = drift_pass(current, reference=reference, earlier=earlier, threads=threads, progress=advance)
    except (BarographError, OSError, ValueError, RuntimeError, MemoryError) as error:
        return Outcome(done=None, failure=_said(error), again=_is_ours(error))
    summary = msgspec.structs.replace(
        found.summary,
        step=job.candidate.step,
        reference_origin=job.reference.origin if reference is not None and job.reference is not None else None,
        no_reference=reason,
        job=job.id,
    )
    return Outcome(done=msgspec.structs.replace(found, summary=summary), failure=None)


def _opened(job: PlannedJob, current: Checkpoint, stack: ExitStack) -> tuple[Checkpoint | None, str | None]:
    """The reference, open and fitting; or why there is none."""
    if job.reference is None:
        return None, job.no_reference
    try:
        reference = stack.enter_context(open_checkpoint(Path(job.reference.path)))
        matched(current, reference=reference)
    except CheckpointChanged:
        raise
    except (BarographError, OSError) as error:
        if _is_ours(error):
            raise
        return None, f"the reference {job.reference.name} cannot be used: {_said(error)}"
    return reference, None


def _is_ours(error: BaseException) -> bool:
    """Whether this machine failed: no more files or memory, a disk that does not answer, no permission."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(error, MemoryError):
        return True
    return isinstance(cause, OSError) and cause.errno not in (*THEIRS, None)


def _said(error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said[:1000]

"""What the watcher was to do, does and did: its queue, as facts that anyone can read."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.records import quantities
from barograph.records.quantities import Seconds

JobState = Literal["planned", "started", "done", "failed"]
Work = Literal["weights"]
"""`weights`: one pass over a checkpoint's tensors."""

Priority = Annotated[int, Meta(ge=0, le=4, description="0 critical, 1 high, 2 normal, 3 low, 4 idle.")]


class Job(Struct, frozen=True, kw_only=True, tag_field="type", tag="job", omit_defaults=True):
    """One job changed its state; the newest line with its `id` says how it stands."""

    id: Annotated[str, Meta(description="Hash of what is to be done to which content: the same job, the same id.")]
    work: Annotated[Work, Meta(description="What is to be done.")]
    state: Annotated[JobState, Meta(description="How it stands.")]
    time: Annotated[Seconds, Meta(description="When that was so.")]
    checkpoint: Annotated[str, Meta(description="Name of the checkpoint.")]
    path: Annotated[str, Meta(description="Its folder, absolute on the watching machine.")]
    step: Annotated[quantities.Step | None, Meta(description="Its step, if it is known.")] = None
    stamp: Annotated[str, Meta(description="Hash of its files' names, sizes and times; empty if it is not there.")] = ""
    reference: Annotated[str | None, Meta(description="Name of the reference; null without one.")] = None
    priority: Priority = 2
    seconds: Annotated[float | None, Meta(description="How long it took, once it has ended.")] = None
    reason: Annotated[str | None, Meta(description="Why it failed.")] = None
    again: Annotated[
        bool, Meta(description="Whether it is tried again: what failed was this machine, not the checkpoint.")
    ] = False

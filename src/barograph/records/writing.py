"""What a writing process says of itself: banner, heartbeat, pause, losses of its own, completion."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from barograph.records.quantities import Attempt, Count, RunId, Seconds, Step

FORMAT = 1
"""The major version of the journal. A reader that meets a greater one reads what it knows and says so."""


class Banner(Struct, frozen=True, kw_only=True, tag_field="type", tag="banner", omit_defaults=True):
    """The first line of every journal file: who writes, where, with which software and settings."""

    format: Annotated[int, Meta(description="Major version of the line format; 1 today.")] = FORMAT
    run: Annotated[RunId, Meta(description="Folder name of the run.")]
    attempt: Annotated[Attempt, Meta(description="Which start of the run this file belongs to.")]
    writer: Annotated[str, Meta(description="`train` for rank 0; `rank3`, `evaluate`, ... for the others.")]
    time: Annotated[Seconds, Meta(description="When the file was begun.")]
    part: Annotated[int, Meta(ge=1, description="2 and up where a file of this attempt had to be abandoned.")] = 1
    part_reason: Annotated[str | None, Meta(description="Why the previous part was abandoned.")] = None
    project: Annotated[str | None, Meta(description="The project that the user named.")] = None
    name: Annotated[str | None, Meta(description="A display name for the run.")] = None
    group: Annotated[str | None, Meta(description="The user's group of runs.")] = None
    rank: Annotated[int, Meta(ge=0, description="Process rank; 0 logs the training curve.")] = 0
    world_size: Annotated[int, Meta(ge=1, description="Number of ranks in this launch.")] = 1
    launch_id: Annotated[str | None, Meta(description="The same on all ranks of one launch.")] = None
    pid: Annotated[int, Meta(description="Process id on `host`.")] = 0
    host: Annotated[str | None, Meta(description="Host name of the writing machine.")] = None
    device: Annotated[str | None, Meta(description="Training device, such as `cpu` or `cuda:0 NVIDIA H200`.")] = None
    model_name: Annotated[str | None, Meta(description="Short name of the model that is trained.")] = None
    model_path: Annotated[str | None, Meta(description="Where the model came from: hub id or folder.")] = None
    output_dir: Annotated[str | None, Meta(description="Folder that checkpoints are saved to.")] = None
    resumed_from: Annotated[str | None, Meta(description="Checkpoint folder that this attempt started from.")] = None
    total_steps: Annotated[Step | None, Meta(description="Steps that this attempt plans to reach.")] = None
    config: Annotated[str | None, Meta(description="The user's config and training arguments, as JSON text.")] = None
    git_commit: Annotated[
        str | None,
        Meta(description="HEAD of the work tree; `-dirty` if changed, `-unknown` if it took too long to tell."),
    ] = None
    versions: Annotated[dict[str, str], Meta(description="Package name to version.")] = field(default_factory=dict)
    command: Annotated[str | None, Meta(description="The program that runs, without its arguments.")] = None
    imported: Annotated[
        str | None, Meta(description="Format of the log of another tool that it was made of; null if it is our own.")
    ] = None


class Heartbeat(Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat", omit_defaults=True):
    """The writer lives; one every 5 s, whether or not anything was logged."""

    time: Annotated[Seconds, Meta(description="When it was written.")]
    step: Annotated[Step | None, Meta(description="Newest step logged so far.")] = None


class Pause(Struct, frozen=True, kw_only=True, tag_field="type", tag="pause", omit_defaults=True):
    """Training was paused, or goes on; the only thing that makes a run `paused`."""

    time: Annotated[Seconds, Meta(description="When it was said.")]
    paused: Annotated[bool, Meta(description="True at the start of a pause, false at its end.")]
    reason: Annotated[str | None, Meta(description="Why, in the user's words.")] = None


class LostRecords(Struct, frozen=True, kw_only=True, tag_field="type", tag="lost_records", omit_defaults=True):
    """Records that were never written because the queue was full; the oldest go first."""

    time: Annotated[Seconds, Meta(description="When the loss was noticed.")]
    count: Annotated[Count, Meta(description="How many records were dropped since the last such line.")]
    first_step: Annotated[Step | None, Meta(description="Smallest step among them, where they had one.")] = None
    last_step: Annotated[Step | None, Meta(description="Greatest step among them.")] = None
    reason: Annotated[Literal["queue_full", "disk"], Meta(description="What the queue was waiting for.")] = "queue_full"


class RejectedValue(Struct, frozen=True, kw_only=True, tag_field="type", tag="rejected_value", omit_defaults=True):
    """A key of `log` whose value is no number, or a call that recorded nothing; said once per key and type."""

    time: Annotated[Seconds, Meta(description="When it was first seen.")]
    key: Annotated[str, Meta(description="The user's key.")]
    value_type: Annotated[str, Meta(description="The type of the value.")]
    step: Annotated[Step | None, Meta(description="The step of the first such call.")] = None


class ConfigUpdate(Struct, frozen=True, kw_only=True, tag_field="type", tag="config", omit_defaults=True):
    """Settings that were added after the banner."""

    time: Annotated[Seconds, Meta(description="When they were added.")]
    config: Annotated[str, Meta(description="The added settings, as JSON text.")]
    total_steps: Annotated[Step | None, Meta(description="Steps that this attempt plans to reach.")] = None
    git_commit: Annotated[
        str | None, Meta(description="The banner's `git_commit`, known better: git answered after it was written.")
    ] = None


class RunComplete(Struct, frozen=True, kw_only=True, tag_field="type", tag="run_complete", omit_defaults=True):
    """The writer ended in an orderly way; without this line a silent writer has crashed."""

    time: Annotated[Seconds, Meta(description="When it ended.")]
    exit_code: Annotated[
        int | None,
        Meta(description="0 if training ended well, null if nobody said how it ended; anything else is a crash."),
    ] = None
    step: Annotated[Step | None, Meta(description="Newest step logged.")] = None
    reason: Annotated[str | None, Meta(description="What ended it, unless it simply ended well.")] = None
    rejected: Annotated[Count, Meta(description="Values and rows of this attempt left out because they were none.")] = 0
    summary: Annotated[dict[str, float], Meta(description="Single values of the whole attempt.")] = field(
        default_factory=dict
    )

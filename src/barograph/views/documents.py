"""The documents that the API serves: their fields, in order, each with a sentence.

In a document that seed 003 or 001 defines (`LiveStatus`), every field is always present, `null` means not measured,
and `why` gives the reason by field name. Times are ISO 8601 with offset, UTC. The documents of ours (`Runs`,
`RunDetail`, `Series`) spell non-finite numbers "NaN", "Infinity", "-Infinity".
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.records import ExactMatch, Verdict
from barograph.records.quantities import Attempt, Count, Number, RunStateWord, Step
from barograph.records.signals import Gpu
from barograph.records.signals import TrendWord as Trend
from barograph.views.monitor_documents import ActiveAlert, AlertRow

Light = Literal["ok", "warning", "critical", "unknown"]
Health = Literal["healthy", "warning", "critical"]
IndexState = Literal["ready", "rebuilding"]


class TrainingHost(Struct, frozen=True, kw_only=True):
    """The machine that trains."""

    name: Annotated[str | None, Meta(description="Host name.")]
    online: Annotated[bool | None, Meta(description="Whether its writer is heard.")]
    age_s: Annotated[float | None, Meta(description="Seconds since it was last heard.")]
    gpus: Annotated[list[Gpu] | None, Meta(description="Its GPUs; null if not measured, [] if it has none.")]
    cpu_pct: Annotated[float | None, Meta(description="Processor use, percent of all cores.")]
    ram_used_gb: Annotated[float | None, Meta(description="Memory in use, 1e9 bytes.")]
    ram_total_gb: Annotated[float | None, Meta(description="Memory, 1e9 bytes.")]
    disk_used_gb: Annotated[float | None, Meta(description="Disk in use where the run lies, 1e9 bytes.")]
    disk_total_gb: Annotated[float | None, Meta(description="Size of that disk, 1e9 bytes.")]


class InferenceHost(Struct, frozen=True, kw_only=True):
    """The machine that evaluates."""

    name: Annotated[str | None, Meta(description="Host name.")]
    online: Annotated[bool | None, Meta(description="Whether its writer is heard.")]
    age_s: Annotated[float | None, Meta(description="Seconds since it was last heard.")]
    gpus: Annotated[list[Gpu] | None, Meta(description="Its GPUs; null if not measured, [] if it has none.")]
    cpu_pct: Annotated[float | None, Meta(description="Processor use, percent of all cores.")]
    ram_used_gb: Annotated[float | None, Meta(description="Memory in use, 1e9 bytes.")]
    ram_total_gb: Annotated[float | None, Meta(description="Memory, 1e9 bytes.")]
    disk_used_gb: Annotated[float | None, Meta(description="Disk in use, 1e9 bytes.")]
    disk_total_gb: Annotated[float | None, Meta(description="Size of that disk, 1e9 bytes.")]
    load: Annotated[float | None, Meta(description="Load average over one minute.")]
    power_profile: Annotated[Literal["quiet", "normal", "max"] | None, Meta(description="Power profile of the GPU.")]


class HealthLights(Struct, frozen=True, kw_only=True):
    """One light per area."""

    loss: Annotated[
        Light,
        Meta(
            description="Are the losses finite: critical where the newest attempt has more NaN or infinite ones than"
            " the policy allows, warning where it has some that are allowed or an older attempt still shows one."
        ),
    ]
    throughput: Annotated[Light, Meta(description="Is the run as fast as it was.")]
    gpu: Annotated[Light, Meta(description="Are the GPUs within their limits.")]


class LiveStatus(Struct, frozen=True, kw_only=True):
    """What the run does now: the document of `GET /api/status/live`."""

    run: Annotated[str | None, Meta(description="Id of the run.")]
    model_name: Annotated[str | None, Meta(description="Model that is trained.")]
    checkpoint_id: Annotated[str | None, Meta(description="Newest checkpoint.")]
    snapshot_date: Annotated[str | None, Meta(description="When that checkpoint was saved.")]
    status: Annotated[RunStateWord, Meta(description="What the records say the run is doing.")]
    status_since: Annotated[str | None, Meta(description="Since when.")]
    heartbeat_age_s: Annotated[float | None, Meta(description="Seconds since the training writer was last heard.")]
    current_step: Annotated[Step | None, Meta(description="Newest step.")]
    total_steps: Annotated[Step | None, Meta(description="Planned steps.")]
    epoch: Annotated[float | None, Meta(description="Passes over the training set.")]
    attempt: Annotated[Attempt | None, Meta(description="Newest attempt.")]
    loss: Annotated[float | None, Meta(description="Newest training loss, nats.")]
    streaming_ce: Annotated[
        float | None, Meta(description="Bias-corrected moving average of the shown losses, nats; the past weighs 0.9.")
    ]
    loss_trend: Annotated[Trend | None, Meta(description="Direction of the loss.")]
    loss_variance: Annotated[float | None, Meta(description="Variance of recent losses.")]
    learning_rate: Annotated[float | None, Meta(description="Learning rate of the first parameter group.")]
    token_entropy: Annotated[float | None, Meta(description="Entropy of the predicted tokens, nats.")]
    val_train_gap: Annotated[float | None, Meta(description="Validation loss minus training loss, nats.")]
    tokens_per_sec: Annotated[float | None, Meta(description="Current throughput: tokens of rank 0 alone.")]
    tokens_per_sec_avg: Annotated[float | None, Meta(description="Average throughput of the attempt.")]
    tokens_per_sec_ema: Annotated[float | None, Meta(description="Moving average of the throughput.")]
    tokens_per_sec_baseline: Annotated[float | None, Meta(description="Throughput early in the attempt.")]
    throughput_trend: Annotated[Trend | None, Meta(description="Direction of the throughput.")]
    mfu: Annotated[float | None, Meta(description="Model FLOPs utilisation, ratio.")]
    batch_step: Annotated[Count | None, Meta(description="Step within the current file.")]
    batch_total_steps: Annotated[Count | None, Meta(description="Steps of the current file.")]
    batch_number: Annotated[Count | None, Meta(description="Number of the current file.")]
    batch_queue_size: Annotated[Count | None, Meta(description="Files that wait.")]
    current_file: Annotated[str | None, Meta(description="File that is trained on.")]
    dataset_id: Annotated[str | None, Meta(description="Data set that is trained on.")]
    eta_current_file_s: Annotated[float | None, Meta(description="Seconds until the current file is done.")]
    eta_overall_s: Annotated[float | None, Meta(description="Seconds until all is done.")]
    training_host: Annotated[TrainingHost, Meta(description="The machine that trains.")]
    inference_host: Annotated[InferenceHost, Meta(description="The machine that evaluates.")]
    health: Annotated[
        Health | None, Meta(description="The worst of the lights that are known; critical if it crashed.")
    ]
    health_lights: Annotated[HealthLights, Meta(description="One light per area.")]
    active_alerts: Annotated[list[ActiveAlert], Meta(description="Alerts that are not over, newest first, at most 16.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]
    why: Annotated[dict[str, str], Meta(description="Field name to the reason why it is null or unknown.")]


class RunRow(Struct, frozen=True, kw_only=True):
    """One run in the list."""

    run: Annotated[str, Meta(description="Id: the name of its folder.")]
    project: Annotated[str | None, Meta(description="Project that the user named.")]
    name: Annotated[str | None, Meta(description="Display name.")]
    group: Annotated[str | None, Meta(description="Group of runs.")]
    state: Annotated[RunStateWord, Meta(description="What the records say the run is doing.")]
    state_reason: Annotated[str, Meta(description="Why it counts as that, in one sentence.")]
    model_name: Annotated[str | None, Meta(description="Model that is trained.")]
    host: Annotated[str | None, Meta(description="Machine that trains.")]
    attempt: Annotated[Attempt | None, Meta(description="Newest attempt.")]
    current_step: Annotated[Step | None, Meta(description="Newest step.")]
    total_steps: Annotated[Step | None, Meta(description="Planned steps.")]
    loss: Annotated[Number | None, Meta(description="Newest loss, nats.")]
    started: Annotated[str | None, Meta(description="First banner, ISO 8601 UTC.")]
    last_seen: Annotated[str | None, Meta(description="Newest line of the training writer, ISO 8601 UTC.")]
    notices: Annotated[list[str], Meta(description="What a reader of this run should know, a sentence each.")]


class Runs(Struct, frozen=True, kw_only=True):
    """All runs under the root, the one that moved last first: the document of `GET /api/runs`."""

    runs: Annotated[list[RunRow], Meta(description="The runs.")]
    root: Annotated[str, Meta(description="Name of the root folder.")]
    notices: Annotated[list[str], Meta(description="What lies in the root and is not read, a sentence each.")]
    index: Annotated[IndexState, Meta(description="Whether the index is complete.")]
    progress: Annotated[
        float | None, Meta(description="Share of the logs that is in it, 0 to 1, while it is being built; else null.")
    ]
    timestamp: Annotated[str, Meta(description="When this document was made.")]


class CheckpointRow(Struct, frozen=True, kw_only=True):
    """One saved checkpoint."""

    step: Annotated[Step, Meta(description="Step whose weights it holds.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that saved it.")]
    name: Annotated[str, Meta(description="Folder name.")]
    path: Annotated[str, Meta(description="Folder on the training machine.")]
    time: Annotated[str, Meta(description="When it was saved.")]


class CollectorRow(Struct, frozen=True, kw_only=True):
    """One collector of the newest attempt."""

    name: Annotated[str, Meta(description="Which.")]
    running: Annotated[bool, Meta(description="Whether it collects.")]
    detail: Annotated[str, Meta(description="What it does, or why it does not run.")]


class AttemptRow(Struct, frozen=True, kw_only=True):
    """One start of the run."""

    attempt: Annotated[Attempt, Meta(description="Its number.")]
    started: Annotated[str | None, Meta(description="Its banner's time.")]
    first_step: Annotated[
        Step | None, Meta(description="First step with a loss; without any loss, its first, once it logged a second.")
    ]
    last_step: Annotated[Step | None, Meta(description="Greatest step that it logged.")]
    shown_until: Annotated[
        Step | None, Meta(description="Steps from here on are hidden: a newer attempt reached them.")
    ]
    resumed_from: Annotated[str | None, Meta(description="Checkpoint that it started from.")]
    zero: Annotated[
        float | None,
        Meta(
            description="Unix time that counts as 0 s elapsed for its points: time between attempts is left out. Null"
            " where a clock is not usable."
        ),
    ]


class JournalHealth(Struct, frozen=True, kw_only=True):
    """What the journal of a run holds, line by line."""

    files: Annotated[Count, Meta(description="Journal files.")]
    size_bytes: Annotated[Count, Meta(description="Their size.")]
    good_lines: Annotated[Count, Meta(description="Lines that were read.")]
    bad_lines: Annotated[Count, Meta(description="Lines that were refused.")]
    unchecked_lines: Annotated[Count, Meta(description="Lines without a checksum.")]
    unknown_lines: Annotated[Count, Meta(description="Lines of kinds that this version does not know.")]
    torn_files: Annotated[Count, Meta(description="Files whose last line is not finished.")]
    lost_records: Annotated[Count, Meta(description="Records that the writer had to drop.")]
    rejected_values: Annotated[
        Count, Meta(description="Values and rows left out because they were no numbers: at least so many.")
    ]
    examples: Annotated[list[str], Meta(description="Where the first refused lines are, and why.")]


class RunDetail(Struct, frozen=True, kw_only=True):
    """Everything known about one run but its points: the document of `GET /api/runs/{run}`."""

    summary: Annotated[RunRow, Meta(description="Its row in the list.")]
    series: Annotated[list[str], Meta(description="Names of its series, sorted.")]
    attempts: Annotated[list[AttemptRow], Meta(description="Oldest first.")]
    checkpoints: Annotated[list[CheckpointRow], Meta(description="Newest first.")]
    collectors: Annotated[list[CollectorRow], Meta(description="Of the newest attempt.")]
    alerts: Annotated[list[AlertRow], Meta(description="Newest first, at most 100.")]
    verdicts: Annotated[list[Verdict], Meta(description="Newest of each name.")]
    exact_match: Annotated[list[ExactMatch], Meta(description="Newest of each task, level and regime.")]
    config: Annotated[str | None, Meta(description="Settings, as JSON text.")]
    versions: Annotated[dict[str, str], Meta(description="Package to version.")]
    git_commit: Annotated[str | None, Meta(description="Commit that the run started from.")]
    device: Annotated[str | None, Meta(description="Training device.")]
    model_path: Annotated[str | None, Meta(description="Where the model came from.")]
    output_dir: Annotated[str | None, Meta(description="Where checkpoints go.")]
    journal: Annotated[JournalHealth, Meta(description="The state of its log.")]


class NonFinitePoint(Struct, frozen=True, kw_only=True):
    """A point whose value is NaN or infinite."""

    step: Annotated[Step, Meta(description="Its step.")]
    value: Annotated[Number, Meta(description='"NaN", "Infinity" or "-Infinity".')]
    after: Annotated[float | None, Meta(description="The last finite value before it, where a chart marks it.")]


class RankRow(Struct, frozen=True, kw_only=True):
    """What one rank has of a series in the window."""

    rank: Annotated[Count, Meta(description="Its number; 0 writes the run's own series.")]
    points: Annotated[Count, Meta(description="Points in the window.")]
    non_finite: Annotated[Count, Meta(description="How many of them are NaN or infinite.")]
    last_step: Annotated[Step | None, Meta(description="Newest step; null without points.")]
    last: Annotated[float | None, Meta(description="Newest finite value; null without any.")]


class Ranks(Struct, frozen=True, kw_only=True):
    """A series over the ranks of a run, bucket by bucket of the series of rank 0.

    Each rank counts once, by its mean in the bucket; an entry is null where no rank has a finite value.
    """

    ranks: Annotated[list[RankRow], Meta(description="By number.")]
    minimum: Annotated[list[float | None], Meta(description="Least of the ranks' means.")]
    mean: Annotated[list[float | None], Meta(description="Mean of the ranks' means.")]
    maximum: Annotated[list[float | None], Meta(description="Greatest of the ranks' means.")]
    highest: Annotated[list[int | None], Meta(description="The rank that has the greatest.")]
    non_finite: Annotated[list[Count], Meta(description="Points of any rank in the bucket that are NaN or infinite.")]
    straggler: Annotated[
        int | None, Meta(description="The rank whose newest step is lowest; null if all are equally far.")
    ]
    behind_steps: Annotated[Count | None, Meta(description="How many steps it is behind the first; null if none is.")]


class Series(Struct, frozen=True, kw_only=True):
    """One series in at most so many buckets of equal width in steps.

    The lists have one entry per non-empty bucket. `minimum`, `maximum`, `mean` and `last` are over the finite points
    of a bucket; they and `smoothed` are null where it has none. No bucket hides a spike, and `non_finite_in_bucket`
    counts every non-finite point. What stands for more than one point is rounded to five significant digits, more where
    the values of the window lie closer together than that; a single point is exact.
    """

    name: Annotated[str, Meta(description="Series name.")]
    cursor: Annotated[str, Meta(description="To be sent with the next request, which then brings only what is new.")]
    partial: Annotated[
        bool, Meta(description="Whether the lists begin at `from_step`: earlier buckets are still as they were sent.")
    ]
    from_step: Annotated[Step, Meta(description="First step of the first bucket that is sent; 0 if not partial.")]
    width: Annotated[int, Meta(ge=1, description="Steps per bucket; a bucket begins at a multiple of it.")]
    first: Annotated[list[Step], Meta(description="First step in the bucket.")]
    step: Annotated[list[Step], Meta(description="Last step in the bucket.")]
    minimum: Annotated[
        list[float | None] | None, Meta(description="Least finite value; null if every bucket holds one point.")
    ]
    maximum: Annotated[list[float | None] | None, Meta(description="Greatest finite value, or null in the same way.")]
    mean: Annotated[list[float | None] | None, Meta(description="Mean of the finite values, or null in the same way.")]
    last: Annotated[list[float | None], Meta(description="Last finite value.")]
    smoothed: Annotated[
        list[float | None] | None,
        Meta(description="Moving average at the last finite point, made from all points up to it; null without."),
    ]
    count: Annotated[list[Count], Meta(description="Points in the bucket, non-finite ones included.")]
    non_finite_in_bucket: Annotated[list[Count], Meta(description="Points in the bucket that are NaN or infinite.")]
    non_finite: Annotated[
        list[NonFinitePoint], Meta(description="The non-finite points in what is sent, at most the first 1,000.")
    ]
    non_finite_count: Annotated[Count, Meta(description="How many there are in the window, listed or not.")]
    points: Annotated[Count, Meta(description="Points in the window.")]
    hidden_points: Annotated[Count, Meta(description="Points of older attempts that a newer attempt supersedes.")]
    time: Annotated[
        list[float | None] | None,
        Meta(description="Time of the bucket's last row, unix seconds to the millisecond; null if not asked for."),
    ]
    ranks: Annotated[Ranks | None, Meta(description="The same over all ranks; null if not asked for.")]


class SeriesSet(Struct, frozen=True, kw_only=True):
    """Series of one run over one window: the document of `GET /api/series`."""

    run: Annotated[str, Meta(description="Run id.")]
    smoothing: Annotated[float, Meta(description="Weight of the past in the moving average; 0 is none.")]
    attempts: Annotated[list[AttemptRow], Meta(description="The run's attempts, oldest first.")]
    series: Annotated[list[Series], Meta(description="In the order in which they were asked for.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]


class ChangedRun(Struct, frozen=True, kw_only=True):
    """A run with news."""

    run: Annotated[str, Meta(description="Its id.")]
    what: Annotated[
        list[str],
        Meta(
            description="Kinds of news: `points`, `heartbeat`, the `type` of a record such as `alert` or `checkpoint`,"
            " `files` (files, notices, lines that cannot be read), or only `any` where another process indexes."
        ),
    ]


class EventHello(Struct, frozen=True, kw_only=True):
    """The first event of `GET /api/events`: `hello`."""

    id: Annotated[str, Meta(description="Place among the changes: those that follow come after it.")]
    index: Annotated[IndexState, Meta(description="Whether the index is complete.")]
    timestamp: Annotated[str, Meta(description="When it was said.")]


class EventChange(Struct, frozen=True, kw_only=True):
    """An event of `GET /api/events` that says what changed: `change`."""

    runs: Annotated[list[ChangedRun], Meta(description="Runs with news, each once.")]
    gone: Annotated[list[str], Meta(description="Runs that are not there any more.")]
    rebuilt: Annotated[
        bool,
        Meta(
            description="Whether everything may have changed: the index was built again, or more than 256 runs have"
            " news and none is named."
        ),
    ]
    dropped: Annotated[
        Count, Meta(description="Changes before this one that the client was too slow for: ask for everything anew.")
    ]
    timestamp: Annotated[str, Meta(description="When it was told.")]


class EventReset(Struct, frozen=True, kw_only=True):
    """An event of `GET /api/events` after which nothing that the client holds counts: `reset`."""

    reason: Annotated[str, Meta(description="Why it cannot go on from its `Last-Event-ID`.")]


class Healthz(Struct, frozen=True, kw_only=True):
    """The server lives: the document of `GET /healthz`. It holds no data of any run."""

    status: Annotated[Literal["ok"], Meta(description="Always `ok`; no answer is the bad news.")]
    index: Annotated[IndexState, Meta(description="Whether the index is complete.")]
    indexing: Annotated[bool, Meta(description="Whether this process is the one that indexes.")]


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was refused."""

    error: Annotated[str, Meta(description="What was wrong, and what to do.")]
    status: Annotated[int, Meta(description="HTTP status.")]

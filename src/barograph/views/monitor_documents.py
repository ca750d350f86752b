"""The documents about what the monitors in the training loop say, as the API serves them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.analysis.layer_rows import LayerRow, LayerSummary
from barograph.analysis.training_status import StatusSample
from barograph.records.alerts import AdviceItem, AlertCategory, Example
from barograph.records.quantities import AlertLevel, Attempt, Count, Number, Step
from barograph.records.signals import ConditionWord, Gpu, TrendWord

Quantity = Literal["gradient_norm", "update_ratio"]
"""What a heatmap of layers shows."""


AlertStateShown = Literal["pending", "firing", "recovering", "resolved", "ended"]
"""The states of a life, and `ended`: it was open when its attempt ended, and nobody looks any more."""


class AlertSpan(Struct, frozen=True, kw_only=True):
    """Steps over which an alert was firing."""

    first: Annotated[Step, Meta(description="First of them.")]
    last: Annotated[Step | None, Meta(description="Step at which it was over; null if it never was.")]


class AlertRow(Struct, frozen=True, kw_only=True):
    """An alert as it stands now."""

    id: Annotated[str, Meta(description="Its identity, for acknowledging it.")]
    time: Annotated[str, Meta(description="When it was raised, ISO 8601 UTC.")]
    updated: Annotated[str, Meta(description="When its newest line was written.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that it belongs to.")]
    level: Annotated[AlertLevel, Meta(description="Severity.")]
    title: Annotated[str, Meta(description="One line.")]
    text: Annotated[str, Meta(description="Details, with the numbers.")]
    step: Annotated[Step | None, Meta(description="Step at which it was first seen; null if it has none.")]
    last_step: Annotated[Step | None, Meta(description="Newest step at which something was said of it.")]
    condition: Annotated[str, Meta(description="Table of the policy that raised it; empty for the user's own.")]
    category: Annotated[AlertCategory, Meta(description="What it is about; empty where nothing says it.")]
    state: Annotated[
        AlertStateShown,
        Meta(
            description="`ended`: it was open when its attempt ended. One of the user's own is resolved once it is"
            " acknowledged."
        ),
    ]
    spans: Annotated[list[AlertSpan], Meta(description="When it was firing, oldest first; the newest 100.")]
    recommendation: Annotated[str, Meta(description="What to do; empty for the user's own.")]
    evidence: Annotated[dict[str, Number], Meta(description="The numbers that it rests on.")]
    subjects: Annotated[list[str], Meta(description="What it is about, such as layers.")]
    count: Annotated[Count, Meta(description="How often the condition was seen.")]
    acknowledged: Annotated[str | None, Meta(description="When a person said to have seen it; null if nobody did.")]
    note: Annotated[str, Meta(description="What that person wrote.")]


class ActiveAlert(Struct, frozen=True, kw_only=True):
    """An alert that is not over, in short."""

    time: Annotated[str, Meta(description="When it was raised, ISO 8601 UTC.")]
    level: Annotated[AlertLevel, Meta(description="Severity.")]
    title: Annotated[str, Meta(description="One line.")]
    text: Annotated[str, Meta(description="Details.")]
    step: Annotated[Step | None, Meta(description="Step at which it was first seen.")]
    id: Annotated[str, Meta(description="Its identity.")]
    condition: Annotated[str, Meta(description="Table of the policy that raised it; empty for the user's own.")]
    state: Annotated[AlertStateShown, Meta(description="Where in its life it is; `ended` is not over either.")]
    recommendation: Annotated[str, Meta(description="What to do; empty for the user's own.")]
    count: Annotated[Count, Meta(description="How often the condition was seen.")]
    acknowledged: Annotated[bool, Meta(description="Whether a person said to have seen it.")]


class NotificationRow(Struct, frozen=True, kw_only=True):
    """Where an alert was sent to."""

    time: Annotated[str, Meta(description="When the last try ended.")]
    channel: Annotated[str, Meta(description="Scheme and host.")]
    delivered: Annotated[bool, Meta(description="Whether it arrived.")]
    detail: Annotated[str, Meta(description="What the other side said, or why it did not arrive.")]
    tries: Annotated[Count, Meta(description="How often it was tried.")]


class BatchOfAlert(Struct, frozen=True, kw_only=True):
    """The examples of one step at which a condition was seen."""

    step: Annotated[Step, Meta(description="The step.")]
    examples: Annotated[list[Example], Meta(description="Its examples, at most 64.")]
    left_out: Annotated[Count, Meta(description="More of them, that were not recorded.")]
    why: Annotated[str, Meta(description="Why there are none; empty if there are.")]


class AlertDetail(Struct, frozen=True, kw_only=True):
    """An alert with everything that is known of it."""

    alert: Annotated[AlertRow, Meta(description="As it stands now.")]
    batches: Annotated[
        list[BatchOfAlert],
        Meta(description="The batches of the steps at which it was seen, as far as they were recorded, newest first."),
    ]
    notifications: Annotated[list[NotificationRow], Meta(description="Where it was sent to, oldest first.")]


class ConditionRow(Struct, frozen=True, kw_only=True):
    """One condition that is watched."""

    name: Annotated[str, Meta(description="Table of the policy.")]
    state: Annotated[ConditionWord, Meta(description="What it is now, as the training process last said.")]
    reason: Annotated[str | None, Meta(description="Why there is no data, or what failed; else null.")]


class AdviceRow(Struct, frozen=True, kw_only=True):
    """What to do now."""

    time: Annotated[str, Meta(description="When it was derived.")]
    step: Annotated[Step | None, Meta(description="Newest step then.")]
    items: Annotated[list[AdviceItem], Meta(description="The most important first.")]
    policy: Annotated[str, Meta(description="Name of the policy.")]


class AlertCounts(Struct, frozen=True, kw_only=True):
    """How many alerts of a run there are."""

    firing: Annotated[Count, Meta(description="Firing, or recovering.")]
    ended: Annotated[Count, Meta(description="Open when their attempt ended.")]
    unseen: Annotated[Count, Meta(description="Of those two, not acknowledged.")]
    critical: Annotated[Count, Meta(description="Critical ones, whatever their state.")]
    warning: Annotated[Count, Meta(description="Warnings.")]
    info: Annotated[Count, Meta(description="The rest.")]


class Alerts(Struct, frozen=True, kw_only=True):
    """The alerts of a run, what is watched, and the advice: the document of `GET /api/alerts`."""

    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    alerts: Annotated[list[AlertDetail], Meta(description="Newest first, at most 1,000.")]
    counts: Annotated[AlertCounts, Meta(description="How many there are.")]
    conditions: Annotated[
        list[ConditionRow], Meta(description="What the newest attempt watches, in the policy's order.")
    ]
    advice: Annotated[
        AdviceRow | None, Meta(description="Newest advice of the newest attempt; null if none was given.")
    ]
    timestamp: Annotated[str, Meta(description="When this document was made.")]


class Acknowledged(Struct, frozen=True, kw_only=True):
    """An alert was seen: the document of `POST /api/alerts/{alert}/acknowledge`."""

    run: Annotated[str, Meta(description="Id of the run.")]
    alert: Annotated[str, Meta(description="Id of the alert.")]
    acknowledged: Annotated[str, Meta(description="When, ISO 8601 UTC.")]
    note: Annotated[str, Meta(description="What the person wrote.")]


class LayerHeatmap(Struct, frozen=True, kw_only=True):
    """One number per module and column of steps."""

    quantity: Annotated[Quantity, Meta(description="What the cells hold.")]
    first: Annotated[list[Step], Meta(description="First collection of each column.")]
    last: Annotated[list[Step], Meta(description="Last collection of each column.")]
    modules: Annotated[list[str], Meta(description="The rows, in the order of the layers.")]
    cells: Annotated[
        list[list[Number | None]],
        Meta(description="[module][column], to four digits; NaN where one was no number, null where none was taken."),
    ]


class Layers(Struct, frozen=True, kw_only=True):
    """What the gradients of each layer say: the document of `GET /api/layers`."""

    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    attempt: Annotated[Attempt | None, Meta(description="Attempt that the rows are of; null without any.")]
    summary: Annotated[LayerSummary | None, Meta(description="All modules together; null if nothing was measured.")]
    rows: Annotated[list[LayerRow], Meta(description="One per module, in the order of the layers.")]
    heatmap: Annotated[LayerHeatmap | None, Meta(description="The modules over the steps; null without any.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]
    why: Annotated[dict[str, str], Meta(description="Field to the reason why it is null or cut.")]


class SystemHost(Struct, frozen=True, kw_only=True):
    """One machine, as its process last said."""

    name: Annotated[str | None, Meta(description="Host name.")]
    online: Annotated[bool | None, Meta(description="Whether its writer is heard.")]
    age_s: Annotated[float | None, Meta(description="Seconds since it was last heard.")]
    measured: Annotated[str | None, Meta(description="When these numbers were taken, ISO 8601 UTC.")]
    cpu_pct: Annotated[float | None, Meta(description="Processor use, percent of all cores.")]
    load: Annotated[float | None, Meta(description="Load average over one minute.")]
    process_cpu_pct: Annotated[float | None, Meta(description="Of the process itself, percent of one core.")]
    process_ram_gb: Annotated[float | None, Meta(description="Resident memory of the process, 1e9 bytes.")]
    ram_gb: Annotated[float | None, Meta(description="Memory in use, 1e9 bytes.")]
    ram_total_gb: Annotated[float | None, Meta(description="Memory, 1e9 bytes.")]
    disk_used_gb: Annotated[float | None, Meta(description="Disk in use where the run lies, 1e9 bytes.")]
    disk_total_gb: Annotated[float | None, Meta(description="Size of that disk, 1e9 bytes.")]
    disk_free_gb: Annotated[float | None, Meta(description="Free for this user, 1e9 bytes.")]
    disk_pct: Annotated[float | None, Meta(description="Disk in use, percent of its size.")]
    swap_used_gb: Annotated[float | None, Meta(description="Swap in use, 1e9 bytes.")]
    swap_total_gb: Annotated[float | None, Meta(description="Swap, 1e9 bytes.")]
    gpus: Annotated[list[Gpu] | None, Meta(description="Its GPUs; [] if it has none, null if they cannot be asked.")]


class SystemHosts(Struct, frozen=True, kw_only=True):
    """The two roles; one machine may have both."""

    training_host: Annotated[SystemHost, Meta(description="The machine that trains.")]
    inference_host: Annotated[SystemHost, Meta(description="The machine that evaluates.")]


class Queues(Struct, frozen=True, kw_only=True):
    """Jobs that wait."""

    preview_jobs_pending: Annotated[Count | None, Meta(description="Previews.")]
    eval_jobs_pending: Annotated[Count | None, Meta(description="Evaluations.")]
    data_gen_jobs_pending: Annotated[Count | None, Meta(description="Generation of data.")]
    analysis_jobs_pending: Annotated[Count | None, Meta(description="Passes over checkpoints.")]
    training_queue_high: Annotated[Count | None, Meta(description="Training files of high priority.")]
    training_queue_normal: Annotated[Count | None, Meta(description="Training files of normal priority.")]
    training_queue_low: Annotated[Count | None, Meta(description="Training files of low priority.")]


class SystemStatus(Struct, frozen=True, kw_only=True):
    """The machines of a run: the document of `GET /api/status/system`."""

    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    hosts: Annotated[SystemHosts, Meta(description="Its machines.")]
    queues: Annotated[Queues, Meta(description="Jobs that wait.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]
    why: Annotated[dict[str, str], Meta(description="`hosts.<host>.<field>` or `queues.<field>` -> why it is null.")]


class ThroughputSamples(Struct, frozen=True, kw_only=True):
    """Samples of the newest attempt: the document of `GET /api/throughput/samples`."""

    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    samples: Annotated[list[StatusSample], Meta(description="Oldest first, the newest so many.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]
    why: Annotated[dict[str, str], Meta(description="`samples`, or a field that is null in all of them -> why.")]


class SignalsNow(Struct, frozen=True, kw_only=True):
    """What the training process derived last of its newest attempt: the document of `GET /api/signals`."""

    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    attempt: Annotated[Attempt | None, Meta(description="Newest attempt; null without any.")]
    step: Annotated[Step | None, Meta(description="Newest step then.")]
    time: Annotated[str | None, Meta(description="When it was derived, ISO 8601 UTC.")]
    streaming_ce: Annotated[float | None, Meta(description="Bias-corrected moving average of the loss, nats.")]
    loss_variance: Annotated[float | None, Meta(description="Variance of the last losses, nats squared.")]
    loss_noise: Annotated[float | None, Meta(description="Robust deviation of the losses about the local line, nats.")]
    loss_trend: Annotated[TrendWord, Meta(description="Direction of the loss.")]
    loss_change_per_1000: Annotated[
        float | None, Meta(description="Relative change of the loss per 1,000 steps; negative is a fall.")
    ]
    loss_change_low: Annotated[float | None, Meta(description="Lower end of its interval.")]
    loss_change_high: Annotated[float | None, Meta(description="Upper end of its interval.")]
    loss_change: Annotated[
        float | None, Meta(description="Relative change of the loss over the newest steps; negative is a fall.")
    ]
    loss_change_steps: Annotated[Count | None, Meta(description="How many steps those are.")]
    plateau: Annotated[bool | None, Meta(description="Whether only a negligible gain is to be expected.")]
    expected_gain_high: Annotated[float | None, Meta(description="Upper bound of the relative gain to be expected.")]
    spikes: Annotated[Count | None, Meta(description="Episodes of spikes so far.")]
    non_finite: Annotated[Count | None, Meta(description="Losses so far that are NaN or infinite.")]
    learning_rate: Annotated[float | None, Meta(description="Newest learning rate.")]
    gradient_norm: Annotated[float | None, Meta(description="Newest norm of the gradients before clipping.")]
    token_entropy: Annotated[float | None, Meta(description="Newest mean entropy of predicted tokens, nats.")]
    top1_probability: Annotated[float | None, Meta(description="Newest mean of the greatest probability of a token.")]
    validation_loss: Annotated[float | None, Meta(description="Newest evaluation loss, nats.")]
    val_train_gap: Annotated[float | None, Meta(description="It less the training loss about then, nats.")]
    tokens_per_sec: Annotated[float | None, Meta(description="Throughput of the last steps.")]
    tokens_per_sec_ema: Annotated[float | None, Meta(description="Its moving average.")]
    tokens_per_sec_avg: Annotated[float | None, Meta(description="Of the whole attempt.")]
    tokens_per_sec_baseline: Annotated[float | None, Meta(description="Early in the attempt, after warming up.")]
    throughput_trend: Annotated[TrendWord, Meta(description="Direction of the throughput.")]
    seconds_per_step: Annotated[float | None, Meta(description="Of the last steps, pauses left out.")]
    eta_s: Annotated[float | None, Meta(description="Seconds until the planned steps are made.")]
    data_wait_share: Annotated[float | None, Meta(description="Share of a step that waited for data, 0 to 1.")]
    forward_backward_share: Annotated[float | None, Meta(description="Share of forward and backward passes.")]
    optimizer_share: Annotated[float | None, Meta(description="Share of the optimizer's step.")]
    mfu: Annotated[float | None, Meta(description="Model FLOPs utilisation, ratio.")]
    overhead_share: Annotated[float | None, Meta(description="Share of wall time that our hooks and threads took.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]
    why: Annotated[dict[str, str], Meta(description="Field to the reason why it is null or unknown.")]

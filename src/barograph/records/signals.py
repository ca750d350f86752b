"""What is derived of a training while it runs, and what its machine says of itself."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from barograph.records import quantities
from barograph.records.quantities import Count, Seconds

TrendWord = Literal["improving", "stable", "degrading", "unknown"]
ConditionWord = Literal["ok", "pending", "firing", "recovering", "no_data", "error"]

Measure = Annotated[float | None, Meta(description="Null if not measured; `why` then says why.")]


class Signals(Struct, frozen=True, kw_only=True, tag_field="type", tag="signals", omit_defaults=True):
    """The state of the folds over a training: losses, throughput, and every condition that alerts watch.

    Recorded every few seconds and whenever a condition changes; a line replaces the one before. Null is not measured.
    """

    step: Annotated[quantities.Step, Meta(description="Newest step.")]
    time: Annotated[Seconds, Meta(description="When it was derived.")]
    streaming_ce: Annotated[Measure, Meta(description="Bias-corrected moving average of the loss, nats.")] = None
    loss_variance: Annotated[Measure, Meta(description="Variance of the last losses, nats squared.")] = None
    loss_noise: Annotated[
        Measure, Meta(description="1.4826 times the median absolute residual about the local line, nats.")
    ] = None
    loss_trend: Annotated[TrendWord, Meta(description="Direction of the loss.")] = "unknown"
    loss_change_per_1000: Annotated[Measure, Meta(description="Relative change of the loss per 1,000 steps.")] = None
    loss_change_low: Annotated[Measure, Meta(description="Lower end of its interval.")] = None
    loss_change_high: Annotated[Measure, Meta(description="Upper end of its interval.")] = None
    loss_change: Annotated[
        Measure, Meta(description="Relative change of the loss from the first tenth of the trend's losses to the last.")
    ] = None
    loss_change_steps: Annotated[Count | None, Meta(description="Steps that this change is over.")] = None
    plateau: Annotated[
        bool | None, Meta(description="Whether no more than a negligible gain is to be expected; null: cannot tell.")
    ] = None
    expected_gain_high: Annotated[
        Measure, Meta(description="Upper bound of the relative gain expected over the policy's horizon.")
    ] = None
    spikes: Annotated[Count, Meta(description="Episodes of spikes so far.")] = 0
    non_finite: Annotated[Count, Meta(description="Losses so far that are NaN or infinite.")] = 0
    learning_rate: Annotated[Measure, Meta(description="Newest learning rate.")] = None
    gradient_norm: Annotated[Measure, Meta(description="Newest norm of the gradients before clipping.")] = None
    token_entropy: Annotated[Measure, Meta(description="Newest mean entropy of predicted tokens, nats.")] = None
    top1_probability: Annotated[Measure, Meta(description="Newest mean of the greatest probability of a token.")] = None
    tokens_per_sec: Annotated[Measure, Meta(description="Throughput of the last steps: tokens of this rank alone.")] = (
        None
    )
    tokens_per_sec_ema: Annotated[Measure, Meta(description="Its moving average.")] = None
    tokens_per_sec_avg: Annotated[Measure, Meta(description="Of the whole attempt.")] = None
    tokens_per_sec_baseline: Annotated[Measure, Meta(description="Early in the attempt, after warming up.")] = None
    throughput_trend: Annotated[TrendWord, Meta(description="Direction of the throughput.")] = "unknown"
    seconds_per_step: Annotated[Measure, Meta(description="Of the last steps, pauses left out.")] = None
    eta_s: Annotated[Measure, Meta(description="Seconds until the planned steps are made.")] = None
    data_wait_share: Annotated[Measure, Meta(description="Share of a step that waited for data.")] = None
    forward_backward_share: Annotated[Measure, Meta(description="Share of forward and backward passes.")] = None
    optimizer_share: Annotated[Measure, Meta(description="Share of clipping's end to the optimizer's end.")] = None
    mfu: Annotated[Measure, Meta(description="Model FLOPs utilisation, ratio.")] = None
    overhead_share: Annotated[Measure, Meta(description="Share of wall time that our hooks and threads took.")] = None
    validation_loss: Annotated[Measure, Meta(description="Newest evaluation loss, nats.")] = None
    val_train_gap: Annotated[Measure, Meta(description="It less the training loss about then, nats.")] = None
    conditions: Annotated[dict[str, ConditionWord], Meta(description="Condition -> its state now.")] = field(
        default_factory=dict
    )
    why: Annotated[
        dict[str, str], Meta(description="Field, or `conditions.<name>` without data -> why it is not known.")
    ] = field(default_factory=dict)


class Gpu(Struct, frozen=True, kw_only=True):
    """One GPU as its driver reports it."""

    index: Annotated[int, Meta(description="Index on its host.")]
    name: Annotated[str | None, Meta(description="Product name.")]
    temp_c: Annotated[float | None, Meta(description="Temperature, degrees Celsius.")]
    temp_limit_c: Annotated[float | None, Meta(description="Temperature at which it slows down.")]
    util_pct: Annotated[float | None, Meta(description="Utilisation, percent.")]
    vram_used_gb: Annotated[float | None, Meta(description="Memory in use, 1e9 bytes.")]
    vram_total_gb: Annotated[float | None, Meta(description="Memory, 1e9 bytes.")]
    vram_pct: Annotated[float | None, Meta(description="Memory in use, percent.")]
    power_w: Annotated[float | None, Meta(description="Power draw, watts.")]
    power_limit_w: Annotated[float | None, Meta(description="Power limit, watts.")]
    fan_pct: Annotated[float | None, Meta(description="Fan speed, percent.")]


class Hardware(Struct, frozen=True, kw_only=True, tag_field="type", tag="hardware", omit_defaults=True):
    """What a machine says of itself; a line replaces the one before, and its numbers are series as well."""

    time: Annotated[Seconds, Meta(description="When it was asked.")]
    step: Annotated[quantities.Step | None, Meta(description="Newest step then; null before the first.")] = None
    cpu_pct: Annotated[Measure, Meta(description="Processor use, percent of all cores.")] = None
    load: Annotated[Measure, Meta(description="Load average over one minute.")] = None
    process_cpu_pct: Annotated[Measure, Meta(description="Of the training process, percent of one core.")] = None
    process_ram_gb: Annotated[Measure, Meta(description="Resident memory of the training process, 1e9 bytes.")] = None
    ram_used_gb: Annotated[Measure, Meta(description="Memory in use, 1e9 bytes.")] = None
    ram_total_gb: Annotated[Measure, Meta(description="Memory, 1e9 bytes.")] = None
    swap_used_gb: Annotated[Measure, Meta(description="Swap in use, 1e9 bytes.")] = None
    swap_total_gb: Annotated[Measure, Meta(description="Swap, 1e9 bytes.")] = None
    disk_used_gb: Annotated[Measure, Meta(description="Disk in use where the run lies, 1e9 bytes.")] = None
    disk_total_gb: Annotated[Measure, Meta(description="Size of that disk, 1e9 bytes.")] = None
    disk_free_gb: Annotated[Measure, Meta(description="Free for this user, 1e9 bytes.")] = None
    gpus: Annotated[
        list[Gpu] | None, Meta(description="Its GPUs; [] if it has none, null if they cannot be asked.")
    ] = None
    why: Annotated[dict[str, str], Meta(description="Field -> why it is not known.")] = field(default_factory=dict)

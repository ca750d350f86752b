"""The tables of a policy: one Struct per analysis, no defaults, unknown keys refused."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.policy.alert_tables import (
    AdviceTable,
    AlertTables,
    LayerActivityTable,
    StreamingTable,
    ThroughputTable,
)


class RunStateTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a silent run counts as crashed."""

    crashed_after_s: Annotated[float, Meta(gt=0.0, description="Seconds without a line and without `run_complete`.")]


class LossFiniteTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many NaN or infinite losses a run may have."""

    max_non_finite: Annotated[int, Meta(ge=0, description="More of them than this is FAIL.")]
    min_points: Annotated[int, Meta(ge=1, description="Fewer losses than this is SKIP.")]


class ExactMatchGainTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much better the newest checkpoint must answer than the first."""

    min_gain: Annotated[float, Meta(ge=0.0, le=1.0, description="Rise of the exact match that counts as learned.")]
    min_items: Annotated[int, Meta(ge=1, description="Fewer probes than this is SKIP.")]


class LayerDriftTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a change of the weights, as a ratio of norms, is called."""

    pattern_ratio: Annotated[
        float, Meta(ge=1.0, description="One end is heavy if its mean change is more than so many times the other's.")
    ]
    minimal_below: Annotated[float, Meta(ge=0.0, description="A total change below this is minimal.")]
    significant_above: Annotated[float, Meta(gt=0.0, description="A total change above this is significant.")]
    yellow_from: Annotated[float, Meta(gt=0.0, description="A layer's bar is yellow from this change on.")]
    red_above: Annotated[float, Meta(gt=0.0, description="A layer's bar is red above this change.")]


class WeightStabilityTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When weights raise an alert; `inf` (and 0 for the smallest magnitudes) switches a rule off.

    Weights that are NaN or infinite are critical always, and have no threshold.
    """

    max_abs_warning: Annotated[float, Meta(gt=0.0, description="Exploding: a magnitude above this.")]
    max_abs_critical: Annotated[float, Meta(gt=0.0, description="The same, critical.")]
    min_abs_warning: Annotated[float, Meta(ge=0.0, description="Vanishing: a smallest magnitude below this.")]
    min_abs_critical: Annotated[float, Meta(ge=0.0, description="The same, critical.")]
    max_growth_warning: Annotated[
        float, Meta(gt=1.0, description="Exploding: so many times the reference's largest of that kind of tensor.")
    ]
    max_growth_critical: Annotated[float, Meta(gt=1.0, description="The same, critical.")]
    growth_floor: Annotated[float, Meta(ge=0.0, description="Magnitudes up to this are not judged by their growth.")]
    dtype_max_warning: Annotated[
        float, Meta(gt=0.0, description="Largest magnitude as a share of what the format holds.")
    ]
    dtype_max_critical: Annotated[float, Meta(gt=0.0, description="The same, critical.")]
    zero_rows_warning: Annotated[float, Meta(gt=0.0, description="Share of a layer's rows that became all zeros.")]
    zero_rows_critical: Annotated[float, Meta(gt=0.0, description="The same, critical.")]
    norm_growth: Annotated[
        float, Meta(gt=1.0, description="Warning for a norm so many times the reference's, or so many times less.")
    ]
    spike_factor: Annotated[
        float, Meta(gt=1.0, description="Warning for a norm so many times that of the checkpoint before, or less.")
    ]


class TrainingDriftTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a loss curve can be trusted. The first six keys are those of seed 004's spec, with its ranges."""

    min_steps: Annotated[int, Meta(ge=2, description="Skip when the curve has fewer steps than this.")]
    rolling_window: Annotated[int, Meta(ge=2, description="Window of the seed's rule for instability.")]
    spike_sigma: Annotated[float, Meta(gt=0.0, description="An instability rises above so many typical deltas.")]
    assert_smoothness_gte: Annotated[float, Meta(ge=0.0, le=1.0, description="Minimum smoothness for PASS.")]
    assert_convergence_ratio_lte: Annotated[float, Meta(gt=0.0, description="Maximum ratio of last to first loss.")]
    assert_instability_events_lte: Annotated[int, Meta(ge=0, description="Most instability events for PASS.")]
    judged_by: Annotated[Literal["v1", "v2"], Meta(description="v1: the three assertions above; v2: everything below.")]
    spike_window: Annotated[int, Meta(ge=4, description="Finite points before a point that it is judged by.")]
    spike_min_window: Annotated[int, Meta(ge=4, description="With fewer of them, a point is not judged.")]
    spike_z: Annotated[float, Meta(gt=0.0, description="A spike is so many robust deviations above the line.")]
    spike_min_ratio: Annotated[float, Meta(gt=1.0, description="And at least so many times what the line says.")]
    spike_tail: Annotated[
        float,
        Meta(ge=0.0, description="And so many times as far above it as any point before, the last spike left out."),
    ]
    spike_merge: Annotated[int, Meta(ge=1, description="Hits not more than so many points apart are one spike.")]
    max_spikes: Annotated[int, Meta(ge=0, description="More spikes than this are WARN.")]
    max_non_finite: Annotated[int, Meta(ge=0, description="More losses that are no numbers than this are WARN.")]
    max_convergence: Annotated[
        float, Meta(gt=0.0, description="WARN if the end of the curve is above so many times its beginning.")
    ]
    max_spike_share: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Where more points are spikes, that is the noise, and no WARN.")
    ]
    rising_ratio: Annotated[float, Meta(ge=1.0, description="WARN if it ends above so many times its least level.")]
    divergence_ratio: Annotated[
        float, Meta(gt=1.0, description="FAIL if it ends above so many times its least level, and does not fall.")
    ]
    rise_z: Annotated[float, Meta(gt=0.0, description="Both only so many standard errors above the noise.")]
    falling_share: Annotated[
        float, Meta(gt=0.0, le=1.0, description="An end below this share of the later peak is falling again.")
    ]
    loss_floor: Annotated[float, Meta(ge=0.0, description="Nats below which losses are as good as each other.")]
    tail_share: Annotated[float, Meta(gt=0.0, le=1.0, description="Share of the curve that its trend is taken of.")]
    trend_min_blocks: Annotated[int, Meta(ge=4, description="Fewer blocks than this have no trend.")]
    trend_max_blocks: Annotated[int, Meta(ge=4, le=1000, description="Most blocks of a trend.")]
    trend_min_block: Annotated[int, Meta(ge=1, description="Fewest points of a block.")]
    trend_confidence: Annotated[float, Meta(gt=0.0, lt=1.0, description="Confidence of the trend's interval.")]

    def __post_init__(self) -> None:
        """Refuses pairs that would switch a rule off without a word."""
        for low, high in (("spike_min_window", "spike_window"), ("trend_min_blocks", "trend_max_blocks")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"`{low}` is above `{high}`")
        if self.rising_ratio > self.divergence_ratio:
            raise ValueError("`rising_ratio` is above `divergence_ratio`")


class GradientGhostTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the optimizer's second moments say that training is not over, or never reached a layer."""

    min_steps: Annotated[int, Meta(ge=1, description="A save before this step says little yet.")]
    early: Annotated[Literal["FAIL", "SKIP"], Meta(description="What such an early save gets.")]
    min_blocks: Annotated[int, Meta(ge=2, description="Fewer blocks than this are not compared.")]
    max_ratio: Annotated[float, Meta(gt=1.0, description="A block is uneven above so many times the median.")]
    max_share: Annotated[float, Meta(ge=0.0, le=1.0, description="More uneven blocks than this share are FAIL.")]


class Reading(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one finding is explained to a person."""

    cause: Annotated[str, Meta(min_length=1, description="What commonly causes it.")]
    action: Annotated[str, Meta(min_length=1, description="What to do about it.")]


class InterpretationTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cause and action of every finding about weights and losses."""

    minimal: Annotated[Reading, Meta(description="A total change below `minimal_below`.")]
    normal: Annotated[Reading, Meta(description="A total change in between.")]
    significant: Annotated[Reading, Meta(description="A total change above `significant_above`.")]
    uniform: Annotated[Reading, Meta(description="Both ends changed about as much.")]
    top_heavy: Annotated[Reading, Meta(description="The last quarter changed more.")]
    bottom_heavy: Annotated[Reading, Meta(description="The first quarter changed more.")]
    zero_reference: Annotated[Reading, Meta(description="The reference's norm is zero.")]
    not_compared: Annotated[Reading, Meta(description="Tensors that are on one side only, or of other shapes.")]
    non_finite: Annotated[Reading, Meta(description="Weights that are NaN or infinite.")]
    exploding: Annotated[Reading, Meta(description="Magnitudes that are too large.")]
    exploding_top: Annotated[Reading, Meta(description="The same in the last quarter of the blocks.")]
    vanishing: Annotated[Reading, Meta(description="Smallest magnitudes that are too small.")]
    zero_rows: Annotated[Reading, Meta(description="Rows that became all zeros.")]
    dtype_max: Annotated[Reading, Meta(description="Magnitudes near the largest number of their format.")]
    norm_growth: Annotated[Reading, Meta(description="A norm far from the reference's.")]
    spike: Annotated[Reading, Meta(description="A norm far from that of the checkpoint before.")]
    fall: Annotated[Reading, Meta(description="A norm far below another one.")]
    non_finite_tail: Annotated[Reading, Meta(description="The last loss is no number.")]
    non_finite_loss: Annotated[Reading, Meta(description="Losses that are no numbers.")]
    zero_loss: Annotated[Reading, Meta(description="Losses of exactly zero.")]
    divergence: Annotated[Reading, Meta(description="The loss ended far above what it had been.")]
    rising: Annotated[Reading, Meta(description="The loss rises at its end.")]
    loss_spike: Annotated[Reading, Meta(description="The loss rose suddenly.")]
    flat: Annotated[Reading, Meta(description="The loss did not fall.")]
    ghost_tail: Annotated[Reading, Meta(description="A resume went over steps again.")]
    unread_lines: Annotated[Reading, Meta(description="Lines of the log that could not be read.")]
    ghost_non_finite: Annotated[Reading, Meta(description="Second moments that are no numbers.")]
    ghost_early: Annotated[Reading, Meta(description="A save too early to judge.")]
    ghost_dead: Annotated[Reading, Meta(description="Blocks that no gradient ever reached.")]
    ghost_uneven: Annotated[Reading, Meta(description="Blocks with far larger gradients than the others.")]
    rough: Annotated[Reading, Meta(description="The seed's smoothness or instability is past its threshold.")]


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy, every table filled."""

    name: Annotated[str, Meta(description="`default`, `contract`, or the file's stem.")]
    run_state: Annotated[RunStateTable, Meta(description="For `analysis/run_state.py`.")]
    loss_finite: Annotated[LossFiniteTable, Meta(description="For `analysis/finite_losses.py`.")]
    exact_match_gain: Annotated[ExactMatchGainTable, Meta(description="For `analysis/exact_match.py`.")]
    layer_drift: Annotated[LayerDriftTable, Meta(description="For `analysis/layer_drift.py`.")]
    weight_stability: Annotated[WeightStabilityTable, Meta(description="For `analysis/weight_stability.py`.")]
    training_drift: Annotated[TrainingDriftTable, Meta(description="For `analysis/loss_curve.py`.")]
    gradient_ghost: Annotated[GradientGhostTable, Meta(description="For the optimizer's second moments.")]
    streaming: Annotated[StreamingTable, Meta(description="For `analysis/streaming.py`.")]
    layer_activity: Annotated[LayerActivityTable, Meta(description="For `analysis/layer_activity.py`.")]
    throughput: Annotated[ThroughputTable, Meta(description="For `analysis/throughput.py`.")]
    alerts: Annotated[AlertTables, Meta(description="What raises an alert while a model trains.")]
    advice: Annotated[AdviceTable, Meta(description="When the advice is more than to go on.")]
    interpretation: Annotated[InterpretationTable, Meta(description="Words for findings.")]

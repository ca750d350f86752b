"""The tables `[alerts.<condition>]` of a policy, and `[layer_activity]`, `[streaming]`, `[throughput]` and `[advice]`
beside them: what raises an alert while a model trains, how long it must last, and what to do then. It is long because
every condition has its table here, in the order in which they are told.

`enabled = false` switches a condition off. One that is, or of which nothing is known, is `no_data`; it is never `ok`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.records.quantities import AlertLevel

Enabled = Annotated[bool, Meta(description="If false, it is not looked for, and its state is `no_data`.")]
Recommendation = Annotated[str, Meta(min_length=1, description="What to do, in a sentence or two.")]


class Life(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a condition becomes an alert, and how it ends."""

    severity: Annotated[AlertLevel, Meta(description="`info`, `warning` or `critical`.")]
    fire_after: Annotated[int, Meta(ge=1, description="Fires when seen so many times in a row.")]
    resolve_after: Annotated[int, Meta(ge=1, description="Is over when looked for and not seen so often in a row.")]
    cooldown_s: Annotated[
        float, Meta(ge=0.0, description="Seen again within so many seconds, it is the same alert, and nobody is told.")
    ]


class StreamingTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The folds over the losses."""

    ema_alpha: Annotated[float, Meta(gt=0.0, lt=1.0, description="Weight of one step's loss in `streaming_ce`.")]
    window: Annotated[int, Meta(ge=4, description="Losses that variance and noise are taken of.")]
    trend_steps: Annotated[int, Meta(ge=20, description="Losses that the trend is taken of, the newest.")]
    trend_min_blocks: Annotated[int, Meta(ge=4, description="Fewer blocks than this have no trend.")]
    trend_max_blocks: Annotated[int, Meta(ge=4, le=200, description="Most blocks of a trend.")]
    trend_min_block: Annotated[int, Meta(ge=1, description="Fewest losses of a block.")]
    trend_confidence: Annotated[float, Meta(gt=0.0, lt=1.0, description="Confidence of the trend's interval.")]
    warm_up_steps: Annotated[int, Meta(ge=0, description="First steps that plateau, gradients and throughput ignore.")]


class LayerActivityTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a layer's gradients say of it."""

    dead_below: Annotated[float, Meta(ge=0.0, description="A gradient norm up to this counts as zero.")]
    dead_checks: Annotated[int, Meta(ge=1, description="Dead if it stays zero for so many collections.")]
    needs_zero_weight: Annotated[
        bool, Meta(description="An adapter is dead only if its B is zero too; else by its gradient alone.")
    ]
    vanishing_below: Annotated[float, Meta(ge=0.0, description="Vanishing: a gradient norm below this.")]
    exploding_above: Annotated[float, Meta(gt=0.0, description="Exploding: a gradient norm above this.")]
    vanishing_ratio: Annotated[
        float, Meta(ge=0.0, lt=1.0, description="Vanishing: below so many times the layer's own median.")
    ]
    exploding_ratio: Annotated[float, Meta(gt=1.0, description="Exploding: above so many times its own median.")]
    min_history: Annotated[int, Meta(ge=1, description="Collections that a median needs.")]
    history: Annotated[int, Meta(ge=2, description="Collections that are kept of each layer.")]


class ThroughputTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fold over the times of steps."""

    window: Annotated[int, Meta(ge=2, description="Steps that the current rate is taken of.")]
    ema_alpha: Annotated[float, Meta(gt=0.0, lt=1.0, description="Weight of one step in the moving average.")]
    baseline_steps: Annotated[int, Meta(ge=2, description="Steps after warming up whose median is the baseline.")]
    trend_min_steps: Annotated[int, Meta(ge=4, description="Fewer steps than this have no trend.")]
    trend_share: Annotated[float, Meta(gt=0.0, description="A change of more than this share is a trend.")]


class NonFiniteLossTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss of a step is NaN or infinite."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    recommendation_untouched: Annotated[
        str, Meta(min_length=1, description="The same where the gradients of that step were numbers.")
    ]


class MaskedLossTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A loss of exactly zero with gradients that are no numbers: a trainer has hidden a NaN."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation


class LossSpikeTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss rises suddenly."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    judged_by: Annotated[Literal["ratio", "robust"], Meta(description="ratio: the next two keys; robust: the others.")]
    ratio: Annotated[float, Meta(gt=1.0, description="A spike is so many times the mean of the losses before.")]
    mean_of: Annotated[int, Meta(ge=2, description="Losses that this mean is taken of.")]
    window: Annotated[int, Meta(ge=4, description="Finite losses before a loss that it is judged by.")]
    min_window: Annotated[int, Meta(ge=4, description="With fewer of them, a loss is not judged.")]
    sigma: Annotated[float, Meta(gt=0.0, description="A spike is so many robust deviations above the line.")]
    min_ratio: Annotated[float, Meta(gt=1.0, description="And at least so many times what the line says.")]
    tail: Annotated[
        float,
        Meta(ge=0.0, description="And so many times as far above it as any loss before, the last spike left out."),
    ]
    merge: Annotated[int, Meta(ge=1, description="Hits not more than so many losses apart are one spike.")]


class LossDivergedTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss stays above where it was: above what it began with, or above the lowest level that it had."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    severity_small: Annotated[
        AlertLevel,
        Meta(description="Of a rise on the way by less than a beginning may rise, in the place of the life's."),
    ]
    recommendation_later: Annotated[
        str, Meta(min_length=1, description="The same where the loss had been lower and rose on the way.")
    ]
    first: Annotated[int, Meta(ge=2, description="First losses, whose level is that of the beginning.")]
    start_losses: Annotated[int, Meta(ge=1, description="The beginning is compared with until so many losses.")]
    start_ratio: Annotated[
        float, Meta(gt=1.0, description="Risen: none of the newest is as low, and their mean is so many times that.")
    ]
    surge: Annotated[
        float, Meta(gt=1.0, description="Beside the very first loss alone, where the gradients rose so many times.")
    ]
    min_recent: Annotated[int, Meta(ge=4, description="With fewer losses behind the beginning, nothing is said.")]
    recent: Annotated[int, Meta(ge=4, description="Newest losses that are compared; as many as a block, too.")]
    block: Annotated[int, Meta(ge=4, description="Losses of a block; later ones are set beside the lowest one.")]
    rise_ratio: Annotated[float, Meta(gt=1.0, description="Risen: the mean is so many times that of the lowest block.")]
    sigma: Annotated[float, Meta(gt=0.0, description="And so many standard errors above it.")]
    min_rise: Annotated[float, Meta(ge=0.0, description="A rise of fewer nats than this is none.")]

    def __post_init__(self) -> None:
        """Refuses numbers that would switch a rule off without a word."""
        if self.min_recent > self.recent:
            raise ValueError("`min_recent` is above `recent`")
        if self.recent > self.block:
            raise ValueError("`recent` is above `block`")
        if self.first + self.min_recent > self.start_losses:
            raise ValueError("`start_losses` is below `first` and `min_recent` together")


class ExplodingGradientsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The norm of the gradients, before clipping, is far too large, or no number."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    recommendation_clipped: Annotated[
        str, Meta(min_length=1, description="The same where the gradients are clipped already.")
    ]
    recommendation_non_finite: Annotated[
        str, Meta(min_length=1, description="The same where they are no numbers, which no clipping mends.")
    ]
    above: Annotated[float, Meta(gt=0.0, description="A norm above this.")]
    above_median: Annotated[float, Meta(gt=1.0, description="A norm above so many times the run's own median.")]
    above_sigma: Annotated[float, Meta(gt=0.0, description="And so many robust deviations above it, in logarithms.")]
    min_history: Annotated[int, Meta(ge=2, description="Norms that the median needs.")]
    history: Annotated[int, Meta(ge=2, description="Norms that it is taken of, the newest.")]


class VanishingGradientsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The norm of the gradients is far too small."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    recommendation_equal_rewards: Annotated[
        str, Meta(min_length=1, description="The same where all rewards of a group are equal.")
    ]
    below: Annotated[float, Meta(ge=0.0, description="A norm below this.")]
    below_median: Annotated[float, Meta(ge=0.0, lt=1.0, description="A norm below so many times the run's own median.")]
    min_history: Annotated[int, Meta(ge=2, description="Norms that the median needs.")]
    history: Annotated[int, Meta(ge=2, description="Norms that it is taken of, the newest.")]


class DeadLayersTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Layers that take no part in training; which those are says `[layer_activity]`."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    recommendation_no_gradient: Annotated[
        str, Meta(min_length=1, description="The same where no gradient reaches any layer.")
    ]
    recommendation_still: Annotated[
        str, Meta(min_length=1, description="The same where layers have gradients, and no step moves their weights.")
    ]
    active_share_below: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Fewer active layers than this share; at 1, any dead one.")
    ]


class GradientImbalanceTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The layers' gradients differ by orders of magnitude."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    ratio_above: Annotated[float, Meta(gt=1.0, description="The greatest layer norm over the smallest of active ones.")]


class PlateauTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss does not fall any more."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    judged_by: Annotated[
        Literal["halves", "equivalence"], Meta(description="halves: `steps`; equivalence: the others.")
    ]
    min_gain: Annotated[float, Meta(gt=0.0, lt=1.0, description="A relative gain below this is none.")]
    steps: Annotated[int, Meta(ge=4, description="Losses whose second half is compared with their first.")]
    min_steps: Annotated[int, Meta(ge=20, description="Fewest losses that the slope is taken of.")]
    share: Annotated[float, Meta(gt=0.0, le=1.0, description="Or this share of the curve so far, if that is more.")]
    horizon_share: Annotated[
        float, Meta(gt=0.0, description="The gain is that over as many steps to come as this share of those made.")
    ]
    confidence: Annotated[float, Meta(gt=0.5, lt=1.0, description="Of the upper bound of that gain, one-sided.")]


class PoorCalibrationTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The expected calibration error of a fixed evaluation is too large."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    judged_by: Annotated[
        Literal["value", "null"], Meta(description="value: `above`; null: what chance gives for its n.")
    ]
    above: Annotated[float, Meta(gt=0.0, le=1.0, description="An error above this.")]
    quantile: Annotated[float, Meta(gt=0.5, lt=1.0, description="Above this quantile of a calibrated model's error.")]


class LearningRateHighTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learning rate is larger than fine-tuning ever wants."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    above: Annotated[float, Meta(gt=0.0, description="A learning rate above this.")]


class LearningRateLowTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learning rate is so small that nothing is learned, and it is not the schedule's end."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    below: Annotated[float, Meta(ge=0.0, description="A learning rate below this.")]
    after_step: Annotated[int, Meta(ge=0, description="Only after this step.")]
    before_end_share: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Only before this share of the planned steps, where those are known.")
    ]


class LearningRateZeroTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learning rate is exactly zero, and it is not the schedule's end."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    steps: Annotated[int, Meta(ge=0, description="Zero for so many steps.")]
    before_end_share: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Since before this share of the planned steps, where those are known.")
    ]


class ThroughputDegradedTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run became slower than it was."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    judged_by: Annotated[
        Literal["rate", "median"],
        Meta(description="rate: tokens over seconds of `[throughput] window`; median: the next two keys."),
    ]
    steps: Annotated[int, Meta(ge=2, description="Steps of whose seconds per token the median is taken, the newest.")]
    confidence: Annotated[
        float, Meta(ge=0.5, lt=1.0, description="Of the bound of that median that must be slow enough, one-sided.")
    ]
    below_share: Annotated[float, Meta(gt=0.0, lt=1.0, description="Below this share of the baseline.")]


class NonFiniteEvaluationTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss of an evaluation is NaN or infinite."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    recommendation_never: Annotated[
        str, Meta(min_length=1, description="The same where no evaluation loss was a number yet.")
    ]
    recommendation_lost: Annotated[
        str, Meta(min_length=1, description="The same where the newest loss of training is no number either.")
    ]


class ValTrainGapTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The evaluation loss is far above the training loss."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    above: Annotated[float, Meta(gt=0.0, description="A gap above this, nats.")]
    overfitting_above: Annotated[float, Meta(gt=0.0, description="Above this it is called overfitting.")]
    needs_rise: Annotated[bool, Meta(description="Only if the evaluation loss is above its least value as well.")]


class GpuMemoryTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GPU's memory is nearly full."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    pct_above: Annotated[float, Meta(gt=0.0, le=100.0, description="More of it in use than this, percent.")]


class GpuTemperatureTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GPU is too hot."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    above_c: Annotated[float, Meta(gt=0.0, description="A temperature above this, degrees Celsius.")]
    below_limit_c: Annotated[
        float, Meta(ge=0.0, description="Or one so few degrees below its limit, where the driver tells it.")
    ]


class DiskFullTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The disk that the run lies on is nearly full."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    pct_above: Annotated[float, Meta(gt=0.0, le=100.0, description="More of it in use than this, percent.")]
    free_below_gb: Annotated[float, Meta(ge=0.0, description="And less free than this, 1e9 bytes.")]


class ConstantEvaluationTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An evaluation gives the same score again and again: it probably does not measure the model."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    evaluations: Annotated[int, Meta(ge=2, description="So many equal scores in a row.")]


class RunSilentTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process lives, and makes no step."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation
    after_s: Annotated[float, Meta(gt=0.0, description="No step for so many seconds, pauses left out.")]
    after_steps: Annotated[float, Meta(gt=0.0, description="And for so many times the usual time of a step.")]


class RunCrashedTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process ended without saying so, or with an error; when, says `[run_state]`."""

    enabled: Enabled
    life: Life
    recommendation: Recommendation


class AlertTables(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every condition that is watched, in the order in which they are told."""

    non_finite_loss: NonFiniteLossTable
    masked_loss: MaskedLossTable
    loss_spike: LossSpikeTable
    loss_diverged: LossDivergedTable
    exploding_gradients: ExplodingGradientsTable
    vanishing_gradients: VanishingGradientsTable
    dead_layers: DeadLayersTable
    gradient_imbalance: GradientImbalanceTable
    plateau: PlateauTable
    non_finite_evaluation: NonFiniteEvaluationTable
    val_train_gap: ValTrainGapTable
    poor_calibration: PoorCalibrationTable
    constant_evaluation: ConstantEvaluationTable
    learning_rate_high: LearningRateHighTable
    learning_rate_low: LearningRateLowTable
    learning_rate_zero: LearningRateZeroTable
    throughput_degraded: ThroughputDegradedTable
    gpu_memory: GpuMemoryTable
    gpu_temperature: GpuTemperatureTable
    disk_full: DiskFullTable
    run_silent: RunSilentTable
    run_crashed: RunCrashedTable


class AdviceTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the advice is more than to go on."""

    stop_after_gain_below: Annotated[
        float, Meta(gt=0.0, lt=1.0, description="Stop only if no more gain than this is to be expected.")
    ]
    decayed_share: Annotated[
        float, Meta(gt=0.0, le=1.0, description="The schedule is over at a learning rate below this share of its peak.")
    ]
    lower_after_spikes: Annotated[int, Meta(ge=1, description="Lower the learning rate after so many spikes.")]
    eval_patience: Annotated[
        int, Meta(ge=1, description="The evaluation loss falls no more if its best is so many evaluations ago.")
    ]

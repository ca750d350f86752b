"""The tables of a policy: one Struct per analysis, no defaults, unknown keys refused."""

from typing import Annotated

from msgspec import Meta, Struct


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


class Reading(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one finding is explained to a person."""

    cause: Annotated[str, Meta(min_length=1, description="What commonly causes it.")]
    action: Annotated[str, Meta(min_length=1, description="What to do about it.")]


class InterpretationTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cause and action of every finding about weights."""

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


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy, every table filled."""

    name: Annotated[str, Meta(description="`default`, `contract`, or the file's stem.")]
    run_state: Annotated[RunStateTable, Meta(description="For `analysis/run_state.py`.")]
    loss_finite: Annotated[LossFiniteTable, Meta(description="For `analysis/finite_losses.py`.")]
    exact_match_gain: Annotated[ExactMatchGainTable, Meta(description="For `analysis/exact_match.py`.")]
    layer_drift: Annotated[LayerDriftTable, Meta(description="For `analysis/layer_drift.py`.")]
    weight_stability: Annotated[WeightStabilityTable, Meta(description="For `analysis/weight_stability.py`.")]
    interpretation: Annotated[InterpretationTable, Meta(description="Words for findings about weights.")]

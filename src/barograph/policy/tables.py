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


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy, every table filled."""

    name: Annotated[str, Meta(description="`default`, `contract`, or the file's stem.")]
    run_state: Annotated[RunStateTable, Meta(description="For `analysis/run_state.py`.")]
    loss_finite: Annotated[LossFiniteTable, Meta(description="For `analysis/finite_losses.py`.")]
    exact_match_gain: Annotated[ExactMatchGainTable, Meta(description="For `analysis/exact_match.py`.")]

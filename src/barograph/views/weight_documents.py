"""The documents about checkpoints and their weights: their fields, in order, each with a sentence.

`layer_drift` and `parameter_stability` are the seed's documents, as they stand in `status/`: there, and here, a number
that is not finite is `null`, and their `why` says why.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.analysis.layer_drift import LayerDrift, Pattern
from barograph.analysis.tensor_drift import TensorDrift
from barograph.policy.layer_drift import Band, Colour
from barograph.policy.weight_stability import Health, ParameterStability
from barograph.records.quantities import Attempt, Count, Step
from barograph.records.weights import ReferenceOrigin

CheckpointState = Literal["analysed", "planned", "running", "interrupted", "failed", "not_analysed"]
SourceStatus = Literal["ok", "stale", "error", "absent"]


class CheckpointWeights(Struct, frozen=True, kw_only=True):
    """One checkpoint: whether its weights were read, and what they came to."""

    id: Annotated[str, Meta(description="Its id in this API: a hash of its folder.")]
    name: Annotated[str, Meta(description="Folder name.")]
    step: Annotated[Step | None, Meta(description="Step whose weights it holds, if that is known.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that saved it.")]
    path: Annotated[str, Meta(description="Folder on the machine that saved or read it.")]
    saved: Annotated[str | None, Meta(description="When it was saved; null if the run did not say so.")]
    superseded: Annotated[bool, Meta(description="Whether a newer attempt went over its step again.")]
    state: Annotated[
        CheckpointState,
        Meta(
            description="`interrupted`: its reader died at it; `not_analysed`: nobody has read it, and nobody plans to."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why it is not analysed, or not all of it; null if it is.")]
    analysed: Annotated[str | None, Meta(description="When its weights were read.")]
    seconds: Annotated[float | None, Meta(description="How long that took.")]
    reference: Annotated[str | None, Meta(description="What it was compared with.")]
    reference_origin: Annotated[ReferenceOrigin | None, Meta(description="Who says that this is the reference.")]
    adapter: Annotated[bool | None, Meta(description="Whether it is an adapter; null if it was not read.")]
    total_relative_change: Annotated[float | None, Meta(description="Change of all weights, as a ratio of norms.")]
    band: Annotated[Band | None, Meta(description="What the policy calls that change.")]
    pattern: Annotated[Pattern | None, Meta(description="Which end changed more.")]
    health: Annotated[Health | None, Meta(description="The gravest alert about its weights, or healthy.")]
    alerts: Annotated[Count | None, Meta(description="How many alerts there are; null if it was not read.")]
    relative_change: Annotated[
        list[float | None], Meta(description="Per layer, in the order of the document's `layers`; empty if unknown.")
    ]
    colours: Annotated[list[Colour | None], Meta(description="Colour of each of these; null where there is no number.")]
    weight_norm: Annotated[list[float | None], Meta(description="The same for the L2 norm of each layer.")]


class Jobs(Struct, frozen=True, kw_only=True):
    """What the watcher has to do for this run."""

    watching: Annotated[bool, Meta(description="Whether a watcher of this run is heard.")]
    pending: Annotated[Count, Meta(description="Planned jobs.")]
    running: Annotated[Count, Meta(description="Jobs under way.")]
    failed: Annotated[Count, Meta(description="Jobs that failed, and were not done since.")]


class Checkpoints(Struct, frozen=True, kw_only=True):
    """The checkpoints of a run and how its weights moved: the document of `GET /api/checkpoints`."""

    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    layers: Annotated[list[int], Meta(description="Layers in order: blocks, then -1 for embeddings and the rest.")]
    checkpoints: Annotated[list[CheckpointWeights], Meta(description="By step, oldest first.")]
    newest: Annotated[str | None, Meta(description="Id of the newest one that was analysed.")]
    jobs: Annotated[Jobs, Meta(description="What is to be done.")]
    yellow_from: Annotated[float, Meta(description="A layer's bar is yellow from this change on.")]
    red_above: Annotated[float, Meta(description="A layer's bar is red above this change.")]
    policy: Annotated[str, Meta(description="Name of the policy that judged.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]


class CheckpointDetail(Struct, frozen=True, kw_only=True):
    """All about the weights of one checkpoint: the document of `GET /api/checkpoints/{checkpoint}`."""

    run: Annotated[str, Meta(description="Id of the run.")]
    checkpoint: Annotated[CheckpointWeights, Meta(description="Its row in the list.")]
    layer_drift: Annotated[LayerDrift | None, Meta(description="How far it moved; null with a reason in `why`.")]
    parameter_stability: Annotated[
        ParameterStability | None, Meta(description="How large its weights are; null with a reason in `why`.")
    ]
    timestamp: Annotated[str, Meta(description="When this document was made.")]
    why: Annotated[dict[str, str], Meta(description="Field that is null -> reason.")]


class CheckpointTensors(Struct, frozen=True, kw_only=True):
    """The tensors of one layer: the document of `GET /api/checkpoints/{checkpoint}/tensors`."""

    run: Annotated[str, Meta(description="Id of the run.")]
    checkpoint: Annotated[str, Meta(description="Name of the checkpoint.")]
    step: Annotated[Step | None, Meta(description="Its step, if that is known.")]
    reference: Annotated[str | None, Meta(description="What it was compared with.")]
    layer: Annotated[int, Meta(description="Block; -1 for embeddings and the rest.")]
    tensors: Annotated[list[TensorDrift], Meta(description="In the order of names.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]


class TrainingAnalytics(Struct, frozen=True, kw_only=True):
    """The three analyses of seed 000."""

    layer_drift: Annotated[LayerDrift | None, Meta(description="Of the newest analysed checkpoint.")]
    parameter_stability: Annotated[ParameterStability | None, Meta(description="Of the same one.")]
    data_file_impact: Annotated[None, Meta(description="Null: not measured.")]


class AnalyticsSource(Struct, frozen=True, kw_only=True):
    """Where the analyses come from, and how good they are."""

    status: Annotated[
        SourceStatus,
        Meta(
            description="`ok`; `stale`: a newer checkpoint waits for more than two periods of the watcher; `error`: the"
            " newest could not be read; `absent`: none was."
        ),
    ]
    data: Annotated[TrainingAnalytics, Meta(description="The documents.")]
    age_s: Annotated[float | None, Meta(description="Seconds since the weights were read; null if none were.")]
    why: Annotated[dict[str, str], Meta(description="Field that is null, or `status` -> reason.")]


class UnifiedSources(Struct, frozen=True, kw_only=True):
    """Every source, by name."""

    training_analytics: Annotated[AnalyticsSource, Meta(description="What is known of the weights.")]


class Unified(Struct, frozen=True, kw_only=True):
    """All analyses of a run in one: the document of `GET /api/unified`."""

    sources: Annotated[UnifiedSources, Meta(description="Every source.")]
    run: Annotated[str | None, Meta(description="Id of the run; null if there is none.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]

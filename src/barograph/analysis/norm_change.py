"""How much the norm of each layer changed since the checkpoint before: what a spike of norms is judged on."""

import math
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.weight_stability import WeightStability
from barograph.records.quantities import Step


class LayerNormChange(Struct, frozen=True, kw_only=True):
    """One layer now and in the earlier checkpoint."""

    layer_idx: Annotated[int, Meta(description="Block; -1 for embeddings and the rest.")]
    earlier_norm: Annotated[float, Meta(description="L2 norm in the earlier checkpoint.")]
    weight_norm: Annotated[float, Meta(description="L2 norm now.")]
    ratio: Annotated[float, Meta(description="weight_norm / earlier_norm; NaN if that is zero or one is not finite.")]


class NormChange(Struct, frozen=True, kw_only=True):
    """Norms of a checkpoint beside those of the one before it."""

    earlier_checkpoint: Annotated[str, Meta(description="Name of the earlier checkpoint.")]
    earlier_step: Annotated[Step, Meta(description="Its step.")]
    layers: Annotated[list[LayerNormChange], Meta(description="The layers that both have.")]


def norm_change(current: WeightStability, others: Iterable[WeightStability]) -> NormChange | None:
    """The change since the newest of `others` whose step is before the current one's; None if there is none.

    The order in which checkpoints were analysed does not matter: one that was analysed late is compared with its own
    predecessor, and a checkpoint is never compared with itself or with a later one.
    """
    before = [
        (other.step, other)
        for other in others
        if other.step is not None and current.step is not None and other.step < current.step
    ]
    if not before:
        return None
    step, earlier = max(before, key=lambda one: one[0])
    norms = {layer.layer_idx: layer.weight_norm for layer in earlier.layers}
    return NormChange(
        earlier_checkpoint=earlier.checkpoint,
        earlier_step=step,
        layers=[
            LayerNormChange(
                layer_idx=layer.layer_idx,
                earlier_norm=norms[layer.layer_idx],
                weight_norm=layer.weight_norm,
                ratio=_ratio(layer.weight_norm, norms[layer.layer_idx]),
            )
            for layer in current.layers
            if layer.layer_idx in norms
        ],
    )


def _ratio(now: float, before: float) -> float:
    return now / before if before and math.isfinite(before) and math.isfinite(now) else math.nan

"""The layers' activity as it is told: a row of each module, and the summary of all of them."""

import math
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.layer_name import LayerKind
from barograph.analysis.layer_status import GRAVITY, LayerStatus
from barograph.records.quantities import Count, Number, Step

TOP = 5
"""Modules that a summary names."""

_UNEVEN: tuple[LayerStatus, ...] = ("active", "vanishing", "exploding")
_WORDS: dict[LayerStatus, str] = {
    "dead": "dead",
    "non_finite": "with gradients that are no numbers",
    "exploding": "exploding",
    "vanishing": "vanishing",
    "starting": "starting",
    "unknown": "not measured",
}
"""What is said of the others, in this order."""


class LayerRow(Struct, frozen=True, kw_only=True):
    """One module as it stands now; mean, greatest and median are of the collections that are kept."""

    module: Annotated[str, Meta(description="Its name.")]
    block: Annotated[int | None, Meta(description="Transformer block that it is part of; null outside the blocks.")]
    kind: Annotated[LayerKind, Meta(description="`lora`: an adapter; `full`: the weights themselves.")]
    status: Annotated[
        LayerStatus,
        Meta(
            description="`dead`: its gradient stays zero or away, or its weights never move; `vanishing`, `exploding`:"
            " far below or above what the policy or its own median allows; `non_finite`: NaN or infinite; `starting`:"
            " zero so far, not for long enough;"
            " `unknown`: not measured."
        ),
    ]
    why: Annotated[str, Meta(description="What the status rests on, with its numbers; empty if it is active.")]
    current_grad_norm: Annotated[
        Number | None, Meta(description="Newest gradient norm, before clipping; null if there was none.")
    ]
    mean_grad_norm: Annotated[float | None, Meta(description="Mean of the finite ones.")]
    max_grad_norm: Annotated[float | None, Meta(description="Greatest of the finite ones.")]
    median_grad_norm: Annotated[
        float | None, Meta(description="Its own median, which ratios are taken of; null before there are enough.")
    ]
    a_grad_norm: Annotated[Number | None, Meta(description="Newest gradient norm of an adapter's A.")]
    b_grad_norm: Annotated[Number | None, Meta(description="Newest gradient norm of an adapter's B.")]
    weight_norm: Annotated[float | None, Meta(description="Newest norm of its weights, A and B together.")]
    b_weight_norm: Annotated[float | None, Meta(description="Newest norm of an adapter's B; zero before it learns.")]
    current_update: Annotated[float | None, Meta(description="Norm of the newest change of its weights by one step.")]
    mean_update: Annotated[float | None, Meta(description="Mean of such norms.")]
    max_update: Annotated[float | None, Meta(description="Greatest of them.")]
    update_ratio: Annotated[
        float | None, Meta(description="|dW| / |W| of the newest step that was measured; null if |W| is zero.")
    ]
    num_updates: Annotated[Count, Meta(description="Collections in which it had a gradient.")]
    step: Annotated[Step, Meta(description="Step of its newest collection.")]


class LayerSummary(Struct, frozen=True, kw_only=True):
    """All modules together."""

    available: Annotated[bool, Meta(description="Whether this training is measured.")]
    reason: Annotated[str, Meta(description="Why it is not; empty if it is.")]
    kind: Annotated[LayerKind | None, Meta(description="Adapters or whole layers; null before the first collection.")]
    step: Annotated[Step | None, Meta(description="Step of the newest collection.")]
    collections: Annotated[Count, Meta(description="How often the norms were taken.")]
    total_layers: Annotated[Count, Meta(description="Modules that are known.")]
    active_layers: Annotated[Count, Meta(description="Whose status is `active`.")]
    dead_layers: Annotated[Count, Meta(description="Whose status is `dead`.")]
    vanishing_layers: Annotated[Count, Meta(description="Whose status is `vanishing`.")]
    exploding_layers: Annotated[Count, Meta(description="Whose status is `exploding`.")]
    non_finite_layers: Annotated[Count, Meta(description="Whose status is `non_finite`.")]
    starting_layers: Annotated[Count, Meta(description="Whose status is `starting`.")]
    unknown_layers: Annotated[Count, Meta(description="Whose status is `unknown`.")]
    measured_layers: Annotated[Count, Meta(description="That had a gradient in their newest collection.")]
    frozen_layers: Annotated[
        Count | None, Meta(description="Modules that are not trained, beside those; null if nobody counted them.")
    ]
    active_share: Annotated[
        float | None,
        Meta(description="Share of the layers that are not dead, of those that are neither starting nor unknown."),
    ]
    imbalance_ratio: Annotated[
        float | None, Meta(description="Greatest gradient norm over the smallest that is not zero; null below two.")
    ]
    largest: Annotated[str | None, Meta(description="Module with that greatest norm.")]
    smallest: Annotated[str | None, Meta(description="Module with that smallest norm.")]
    top_active_layers: Annotated[list[str], Meta(description="Modules with the greatest finite gradients, at most 5.")]
    dead: Annotated[list[str], Meta(description="Modules that are dead.")]
    vanishing: Annotated[list[str], Meta(description="Modules whose gradients vanish.")]
    exploding: Annotated[list[str], Meta(description="Modules whose gradients explode.")]
    non_finite: Annotated[list[str], Meta(description="Modules whose gradients are no numbers.")]
    sentence: Annotated[str, Meta(description="In words, such as `24/28 layers active, 4 dead`.")]


class LayerNow(Struct, frozen=True):
    """What a summary needs of one module."""

    module: str
    """Its name."""
    status: LayerStatus
    """Its status."""
    norm: float
    """Its newest gradient norm; NaN if there was none."""
    measured: bool
    """Whether there was one; one that was may be NaN."""


def layer_summary(
    layers: Sequence[LayerNow],
    *,
    collections: int,
    step: int | None,
    kind: LayerKind | None,
    available: bool = True,
    reason: str = "",
    frozen: int | None = None,
) -> LayerSummary:
    """All of `layers` together, which are named in their order; `step` is that of the newest of the `collections`.

    The imbalance is that of finite norms above zero: of modules that are active, or whose gradients are merely small
    or large.
    """
    named: dict[LayerStatus, list[str]] = {status: [] for status in GRAVITY}
    for layer in layers:
        named[layer.status].append(layer.module)
    norms = sorted((layer.norm, layer.module) for layer in layers if layer.status in _UNEVEN and layer.norm > 0.0)
    known = len(layers) - len(named["starting"]) - len(named["unknown"])
    uneven = len(norms) > 1
    ratio = norms[-1][0] / norms[0][0] if uneven else math.nan
    return LayerSummary(
        available=available,
        reason=reason,
        kind=kind,
        step=step,
        collections=collections,
        total_layers=len(layers),
        active_layers=len(named["active"]),
        dead_layers=len(named["dead"]),
        vanishing_layers=len(named["vanishing"]),
        exploding_layers=len(named["exploding"]),
        non_finite_layers=len(named["non_finite"]),
        starting_layers=len(named["starting"]),
        unknown_layers=len(named["unknown"]),
        measured_layers=sum(layer.measured for layer in layers),
        frozen_layers=frozen,
        active_share=1.0 - len(named["dead"]) / known if known else None,
        imbalance_ratio=ratio if math.isfinite(ratio) else None,
        largest=norms[-1][1] if uneven else None,
        smallest=norms[0][1] if uneven else None,
        top_active_layers=[module for _, module in norms[::-1][:TOP]],
        dead=named["dead"],
        vanishing=named["vanishing"],
        exploding=named["exploding"],
        non_finite=named["non_finite"],
        sentence=_sentence(named, total=len(layers), frozen=frozen)
        if available
        else f"layers are not measured: {reason}",
    )


def _sentence(named: dict[LayerStatus, list[str]], *, total: int, frozen: int | None) -> str:
    if not total:
        return "no layer has been measured yet"
    others = [f"{len(named[status])} {word}" for status, word in _WORDS.items() if named[status]]
    active = f"{len(named['active'])}/{total} {'trained ' if frozen else ''}layers active"
    return ", ".join([active, *others, *([f"{frozen} frozen"] if frozen else [])])

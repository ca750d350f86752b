"""The rows and the summary of the layers' activity, and the rows of whole transformer blocks."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.layer_name import LayerKind
from barograph.analysis.layer_status import GRAVITY, LayerStatus
from barograph.records.quantities import Count, Number, Step


class LayerRow(Struct, frozen=True, kw_only=True):
    """One module as it stands now; mean, greatest and median are of the collections that are kept."""

    module: Annotated[str, Meta(description="Its name.")]
    block: Annotated[int | None, Meta(description="Transformer block that it is part of; null outside the blocks.")]
    kind: Annotated[LayerKind, Meta(description="`lora`: an adapter; `full`: the weights themselves.")]
    status: Annotated[
        LayerStatus,
        Meta(
            description="`dead`: its gradient stays zero; `vanishing`, `exploding`: far below or above what the policy"
            " or its own median allows; `non_finite`: NaN or infinite; `starting`: zero so far, not for long enough;"
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


class BlockRow(Struct, frozen=True, kw_only=True):
    """One transformer block: its modules together."""

    block: Annotated[int, Meta(description="Its number.")]
    status: Annotated[LayerStatus, Meta(description="The gravest of its modules'.")]
    modules: Annotated[Count, Meta(description="Modules of it that are measured.")]
    dead_layers: Annotated[Count, Meta(description="How many of them are dead.")]
    current_grad_norm: Annotated[Number | None, Meta(description="Newest gradient norm of all of them together.")]
    weight_norm: Annotated[float | None, Meta(description="Newest norm of their weights; null if one is not known.")]
    current_update: Annotated[float | None, Meta(description="Norm of the newest change; null if one is not known.")]
    update_ratio: Annotated[float | None, Meta(description="|dW| / |W|.")]


def block_rows(rows: Iterable[LayerRow]) -> list[BlockRow]:
    """One row per transformer block, in order; what is outside the blocks is left out."""
    blocks: dict[int, list[LayerRow]] = {}
    for row in rows:
        if row.block is not None:
            blocks.setdefault(row.block, []).append(row)
    return [_block_row(block, blocks[block]) for block in sorted(blocks)]


def _block_row(block: int, rows: Sequence[LayerRow]) -> BlockRow:
    norms = [float(row.current_grad_norm) for row in rows if row.current_grad_norm is not None]
    weight, update = _joined([row.weight_norm for row in rows]), _joined([row.current_update for row in rows])
    return BlockRow(
        block=block,
        status=min((row.status for row in rows), key=GRAVITY.index),
        modules=len(rows),
        dead_layers=sum(row.status == "dead" for row in rows),
        current_grad_norm=math.hypot(*norms) if norms else None,
        weight_norm=weight,
        current_update=update,
        update_ratio=update / weight if update is not None and weight else None,
    )


def _joined(norms: Sequence[float | None]) -> float | None:
    """The norm of all together; None if one is not known."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known and len(known) == len(norms) else None

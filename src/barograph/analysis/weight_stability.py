"""How large the weights of each block are, and whether they are still numbers: what parameter stability is judged on.

    weight norm = sqrt(sum of squares over all weights of the block)

The seed's extremes are the largest magnitude of any weight and the smallest above zero. The smallest one says little:
of n healthy weights it is about their spread / 40 n, and weights that died are zero and not counted. So the zeros are
counted as well, alone and as whole rows, and everything is set beside the reference where there is one.

In the JSON a number that is not finite is `null`, and `why` says why.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.blocks import REST, blocks, kind_of
from barograph.errors import UsageError
from barograph.records import TensorPass
from barograph.records.quantities import Count, Seconds, Step

DTYPE_MAX = {"F16": 65504.0, "BF16": 3.3895313892515355e38, "F32": 3.4028234663852886e38, "F64": 1.7976931348623157e308}
"""Largest finite number of each format."""


class StabilityLayer(Struct, frozen=True, kw_only=True):
    """The weights of one transformer block, or of everything outside the blocks."""

    layer_idx: Annotated[int, Meta(description="Block; -1 for embeddings and the rest.")]
    weight_norm: Annotated[float, Meta(description="L2 norm of all weights of the layer.")]
    max_abs_weight: Annotated[float, Meta(description="Largest magnitude of any weight.")]
    min_abs_weight: Annotated[float, Meta(description="Smallest magnitude of any weight that is not zero.")]
    non_finite: Annotated[Count, Meta(description="Weights that are NaN or infinite.")]
    zero_fraction: Annotated[float, Meta(description="Share of weights that are exactly zero.")]
    zero_rows: Annotated[Count, Meta(description="Rows of matrices without a single non-zero weight.")]
    rows: Annotated[Count, Meta(description="Rows of the matrices that were looked at; an adapter's own are not.")]
    reference_zero_fraction: Annotated[float | None, Meta(description="The reference's share; null without one.")]
    reference_zero_rows: Annotated[Count | None, Meta(description="The reference's rows of zeros; null without one.")]
    norm_growth: Annotated[float | None, Meta(description="weight_norm / the reference's; null without one.")]
    dtype_max_share: Annotated[float, Meta(description="Largest magnitude / largest number of its format.")]
    params: Annotated[Count, Meta(description="Weights of the layer.")]


class KindMaximum(Struct, frozen=True, kw_only=True):
    """Tensors of one kind, such as `model.layers.*.self_attn.q_norm.weight`, over all blocks."""

    kind: Annotated[str, Meta(description="Name of the tensors, with `*` for the block.")]
    max_abs_weight: Annotated[float, Meta(description="Largest magnitude in the checkpoint.")]
    layer_idx: Annotated[int, Meta(description="Block in which it is.")]
    reference_max_abs_weight: Annotated[float | None, Meta(description="Largest in the reference; null without one.")]


class WeightStability(Struct, frozen=True, kw_only=True):
    """Sizes of the weights of one checkpoint."""

    checkpoint: Annotated[str, Meta(description="Name of the checkpoint.")]
    step: Annotated[Step | None, Meta(description="Its step, if its name says one.")]
    time: Annotated[Seconds, Meta(description="When the weights were read.")]
    reference: Annotated[str | None, Meta(description="Name of the reference; null without one.")]
    num_layers: Annotated[Count, Meta(description="Transformer blocks.")]
    avg_weight_norm: Annotated[float, Meta(description="Mean weight norm of the blocks.")]
    std_weight_norm: Annotated[
        float, Meta(description="Standard deviation of the blocks' norms, of all of them (divided by their number).")
    ]
    max_weight_norm: Annotated[float, Meta(description="Largest weight norm of a block.")]
    min_weight_norm: Annotated[float, Meta(description="Smallest weight norm of a block.")]
    layers: Annotated[list[StabilityLayer], Meta(description="Blocks in order, then -1 for the rest.")]
    kinds: Annotated[list[KindMaximum], Meta(description="Largest magnitude by kind of tensor, in order of names.")]
    why: Annotated[dict[str, str], Meta(description="Field that is null -> reason.")]


def weight_stability(rows: Iterable[TensorPass]) -> WeightStability:
    """Sizes of the weights that one pass saw. Raises `UsageError` if it saw none."""
    every = list(rows)
    place = blocks(every)
    groups: dict[int, list[TensorPass]] = {}
    for row in every:
        if row.current_squares is not None and row.elements:
            groups.setdefault(place[row.tensor], []).append(row)
    if not groups:
        raise UsageError("no weights were read", advice="Stability needs a checkpoint with floating-point tensors")
    order = [*sorted(block for block in groups if block != REST), *([REST] if REST in groups else [])]
    layers = [_layer(block, groups[block]) for block in order]
    norms = [layer.weight_norm for layer in layers if layer.layer_idx != REST]
    mean = _mean(norms)
    first = every[0]
    return WeightStability(
        checkpoint=first.checkpoint,
        step=first.step,
        time=first.time,
        reference=first.reference,
        num_layers=len(norms),
        avg_weight_norm=mean,
        std_weight_norm=math.sqrt(_mean([(norm - mean) ** 2 for norm in norms])),
        max_weight_norm=_extreme(norms, largest=True),
        min_weight_norm=_extreme(norms, largest=False),
        layers=layers,
        kinds=_kinds([row for group in groups.values() for row in group], place),
        why=_why(layers, norms),
    )


def _layer(block: int, rows: Sequence[TensorPass]) -> StabilityLayer:
    params = sum(row.elements for row in rows)
    referred = all(row.reference_squares is not None for row in rows)
    norm = _norm([row.current_squares for row in rows], _nan(rows), _infinite(rows))
    whole = all(row.current_max is not None for row in rows)  # of a matrix that an adapter changes, they are not known
    smallest = [row.current_min for row in rows if row.current_min is not None]
    counted = [row for row in rows if row.current_zero_rows is not None]
    return StabilityLayer(
        layer_idx=block,
        weight_norm=norm,
        max_abs_weight=_largest(rows),
        min_abs_weight=min(smallest, default=math.nan) if whole else math.nan,
        non_finite=_nan(rows) + _infinite(rows),
        zero_fraction=_share([row.current_zeros for row in rows], params),
        zero_rows=sum(row.current_zero_rows or 0 for row in counted),
        rows=sum(row.rows or 0 for row in counted),
        reference_zero_fraction=_share([row.reference_zeros for row in rows], params) if referred else None,
        reference_zero_rows=sum(row.reference_zero_rows or 0 for row in rows) if referred else None,
        norm_growth=_growth(norm, rows) if referred else None,
        dtype_max_share=max(
            (row.current_max / DTYPE_MAX[row.dtype] for row in rows if row.current_max is not None and row.dtype),
            default=math.nan,
        )
        if whole
        else math.nan,
        params=params,
    )


def _nan(rows: Sequence[TensorPass]) -> int:
    return sum(row.current_nan or 0 for row in rows)


def _infinite(rows: Sequence[TensorPass]) -> int:
    return sum(row.current_infinite or 0 for row in rows)


def _norm(squares: Sequence[float | None], nan: int, infinite: int) -> float:
    """NaN with a NaN weight, infinite with an infinite one."""
    if nan:
        return math.nan
    if infinite:
        return math.inf
    known = [math.nan if one is None else one for one in squares]
    return math.sqrt(math.fsum(known)) if all(map(math.isfinite, known)) else math.nan


def _largest(rows: Sequence[TensorPass]) -> float:
    """Largest magnitude; infinite with an infinite weight, NaN where it was not measured in every tensor."""
    if _infinite(rows):
        return math.inf
    known = [math.nan if row.current_max is None else row.current_max for row in rows]
    return max(known, default=math.nan) if all(map(math.isfinite, known)) else math.nan


def _share(counts: Sequence[int | None], params: int) -> float:
    known = [count for count in counts if count is not None]
    return sum(known) / params if params and len(known) == len(counts) else math.nan


def _growth(norm: float, rows: Sequence[TensorPass]) -> float:
    """NaN for a reference that is not finite, or of norm zero."""
    nan = sum(row.reference_nan or 0 for row in rows)
    infinite = sum(row.reference_infinite or 0 for row in rows)
    reference = _norm([row.reference_squares for row in rows], nan, infinite)
    return norm / reference if reference and math.isfinite(reference) else math.nan


def _kinds(rows: Sequence[TensorPass], place: dict[str, int]) -> list[KindMaximum]:
    """The largest magnitude by kind of tensor; tensors whose extremes were not measured are left out."""
    groups: dict[str, list[TensorPass]] = {}
    for row in rows:
        if row.current_max is not None:
            groups.setdefault(kind_of(row.tensor) if place[row.tensor] != REST else row.tensor, []).append(row)
    found = []
    for kind, group in sorted(groups.items()):
        largest = max(group, key=lambda row: row.current_max or 0.0)
        references = [row.reference_max for row in group if row.reference_max is not None]
        found.append(
            KindMaximum(
                kind=kind,
                max_abs_weight=_largest(group),
                layer_idx=place[largest.tensor],
                reference_max_abs_weight=max(references, default=None),
            )
        )
    return found


def _mean(values: Sequence[float]) -> float:
    if any(map(math.isnan, values)) or not values:
        return math.nan
    return math.inf if any(map(math.isinf, values)) else math.fsum(values) / len(values)


def _extreme(values: Sequence[float], *, largest: bool) -> float:
    if not values or any(map(math.isnan, values)):
        return math.nan
    return max(values) if largest else min(values)


def _why(layers: Sequence[StabilityLayer], norms: Sequence[float]) -> dict[str, str]:
    """Reasons for what is not finite, by field."""
    why: dict[str, str] = {}
    for place, layer in enumerate(layers):
        named = {
            "weight_norm": layer.weight_norm,
            "max_abs_weight": layer.max_abs_weight,
            "min_abs_weight": layer.min_abs_weight,
            "zero_fraction": layer.zero_fraction,
            "dtype_max_share": layer.dtype_max_share,
            "norm_growth": 0.0 if layer.norm_growth is None else layer.norm_growth,
            "reference_zero_fraction": 0.0 if layer.reference_zero_fraction is None else layer.reference_zero_fraction,
        }
        reason = _reason(layer)
        why.update({f"layers[{place}].{field}": reason for field, one in named.items() if not math.isfinite(one)})
        if layer.norm_growth is None:
            why[f"layers[{place}].norm_growth"] = "the reference was not read for every tensor of the layer"
    reason = "a layer's norm is not finite" if norms else "no tensor's name has a block's number"
    if not norms or not all(map(math.isfinite, norms)):
        why.update({f"summary.{word}_weight_norm": reason for word in ("avg", "std", "max", "min")})
    return why


def _reason(layer: StabilityLayer) -> str:
    if layer.non_finite:
        return f"{layer.non_finite} weights are NaN or infinite"
    if layer.weight_norm == 0.0:
        return "every weight is zero"
    if layer.norm_growth is not None and math.isnan(layer.norm_growth):
        return "the reference's norm is zero or not finite"
    return "not measured in every tensor of the layer"

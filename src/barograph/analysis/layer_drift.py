"""How far each transformer block moved from its reference: the document `layer_drift.json`.

    relative change = |W_t - W_0| / |W_0|,   |W| = sqrt(sum of squares over all weights of the block)

The total is the same ratio over all blocks and the rest, not a mean of ratios. It is a ratio of norms, may exceed 1,
and is no share of weights; the share whose bits differ stands beside it. A reference of norm zero gives NaN.

    cosine = (|W_0|^2 + |W_t|^2 - |W_t - W_0|^2) / (2 |W_0| |W_t|)

tells a rotation from a rescaling (the polarisation identity, from sums that were taken anyway). Storage in bfloat16
keeps about 2^-9 of each weight, so that small updates vanish: then few weights changed.

In the JSON a number that is not finite is `null`, and `why` says why.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.analysis.blocks import REST, blocks
from barograph.analysis.delta_spectrum import TensorSpectrum
from barograph.errors import UsageError
from barograph.records import TensorPass
from barograph.records.quantities import Count, Step
from barograph.records.weights import Finding

Pattern = Literal["uniform", "top_heavy", "bottom_heavy"]


class DriftSummary(Struct, frozen=True, kw_only=True):
    """The transformer blocks together; embeddings and the rest are left out."""

    num_transformer_layers: Annotated[Count, Meta(description="Transformer blocks.")]
    avg_relative_change: Annotated[float, Meta(description="Mean over the blocks.")]
    max_drift_layer: Annotated[int | None, Meta(description="Block that changed most.")]
    max_drift_value: Annotated[float, Meta(description="Its relative change.")]
    min_drift_layer: Annotated[int | None, Meta(description="Block that changed least.")]
    min_drift_value: Annotated[float, Meta(description="Its relative change.")]
    top_layers_avg: Annotated[float, Meta(description="Mean over the last quarter of the blocks.")]
    bottom_layers_avg: Annotated[float, Meta(description="Mean over the first quarter of the blocks.")]
    pattern: Annotated[
        Pattern | None, Meta(description="Which end changed more, if one did clearly; null if it cannot be said.")
    ]


class DriftLayer(Struct, frozen=True, kw_only=True):
    """One transformer block, or everything outside the blocks."""

    layer_idx: Annotated[int, Meta(description="Block; -1 for embeddings and the rest.")]
    relative_change: Annotated[float, Meta(description="delta_norm / reference_norm.")]
    delta_norm: Annotated[float, Meta(description="L2 norm of current less reference.")]
    reference_norm: Annotated[float, Meta(description="L2 norm of the reference's weights.")]
    current_norm: Annotated[float, Meta(description="L2 norm of the checkpoint's weights.")]
    cosine: Annotated[float, Meta(description="Cosine between reference and current; 1 if only the scale changed.")]
    fraction_changed: Annotated[float, Meta(description="Share of weights whose bits differ.")]
    params: Annotated[Count, Meta(description="Weights that were compared.")]


class LayerDrift(Struct, frozen=True, kw_only=True):
    """Drift of a checkpoint from its reference, per layer and in total."""

    timestamp: Annotated[str, Meta(description="When the weights were read.")]
    reference_checkpoint: Annotated[str, Meta(description="Name of the reference.")]
    current_checkpoint: Annotated[str, Meta(description="Name of the checkpoint.")]
    current_step: Annotated[Step | None, Meta(description="Its step, if its name says one.")]
    total_params: Annotated[Count, Meta(description="Parameters of the checkpoint; tied ones count once.")]
    total_relative_change: Annotated[float, Meta(description="total_delta_norm / total_reference_norm.")]
    summary: Annotated[DriftSummary, Meta(description="The transformer blocks together.")]
    layers: Annotated[list[DriftLayer], Meta(description="Blocks in order, then -1 for the rest.")]
    total_delta_norm: Annotated[float, Meta(description="L2 norm of the whole change.")]
    total_reference_norm: Annotated[float, Meta(description="L2 norm of the reference.")]
    total_current_norm: Annotated[float, Meta(description="L2 norm of the checkpoint.")]
    cosine: Annotated[float, Meta(description="Cosine between reference and checkpoint.")]
    fraction_changed: Annotated[float, Meta(description="Share of all weights whose bits differ.")]
    compared_params: Annotated[Count, Meta(description="Weights that are on both sides, so that they were compared.")]
    missing: Annotated[list[str], Meta(description="Tensors of the reference that the checkpoint lacks.")]
    extra: Annotated[list[str], Meta(description="Tensors of the checkpoint that the reference lacks.")]
    reshaped: Annotated[list[str], Meta(description="Tensors whose shapes differ.")]
    pattern_ratio: Annotated[float, Meta(description="How many times one end must change as much as the other.")]
    spectra: Annotated[list[TensorSpectrum], Meta(description="Spectra of single changes; empty if not asked for.")]
    findings: Annotated[list[Finding], Meta(description="How a policy reads these numbers; empty before it did.")]
    why: Annotated[dict[str, str], Meta(description="Field that is null -> reason.")]


class _Norms(Struct, frozen=True, kw_only=True):
    """Norms over some tensors."""

    delta: float
    reference: float
    current: float
    cosine: float
    changed: float
    params: int
    reason: str
    """Why something is not finite; empty if all is."""

    @property
    def relative(self) -> float:
        """NaN for a reference of norm zero."""
        return self.delta / self.reference if self.reference else math.nan


def layer_drift(rows: Iterable[TensorPass], *, pattern_ratio: float) -> LayerDrift:
    """The document of one pass. `pattern_ratio`: one end is heavy if it changed more than so many times the other.

    Raises `UsageError` if not one of the rows has both sides.
    """
    every = list(rows)
    both = [row for row in every if row.state in ("compared", "adapted")]
    if not both:
        raise UsageError("no tensor is on both sides", advice="Drift needs a checkpoint and the model it came from")
    place = blocks(every)
    groups: dict[int, list[TensorPass]] = {}
    for row in both:
        groups.setdefault(place[row.tensor], []).append(row)
    order = [*sorted(block for block in groups if block != REST), *([REST] if REST in groups else [])]
    norms = {block: _norms(groups[block]) for block in order}
    total = _norms(both)
    moved = [(block, norms[block].relative) for block in order if block != REST]
    summary = _summary(moved, pattern_ratio=pattern_ratio)
    first = both[0]
    return LayerDrift(
        timestamp=datetime.fromtimestamp(first.time, UTC).isoformat(),
        reference_checkpoint=first.reference or "",
        current_checkpoint=first.checkpoint,
        current_step=first.step,
        total_params=sum(row.elements for row in every if row.state not in ("missing", "integer")),
        total_relative_change=total.relative,
        summary=summary,
        layers=[_layer(block, norms[block]) for block in order],
        total_delta_norm=total.delta,
        total_reference_norm=total.reference,
        total_current_norm=total.current,
        cosine=total.cosine,
        fraction_changed=total.changed,
        compared_params=total.params,
        missing=[row.tensor for row in every if row.state == "missing"],
        extra=[row.tensor for row in every if row.state == "extra"],
        reshaped=[row.tensor for row in every if row.state == "reshaped"],
        pattern_ratio=pattern_ratio,
        spectra=[],
        findings=[],
        why=_why(norms, total, summary),
    )


def drift_pattern(top: float, bottom: float, *, ratio: float) -> Pattern | None:
    """Which end is heavy: its mean must be strictly more than `ratio` times the other's. None if one is not finite."""
    if not (math.isfinite(top) and math.isfinite(bottom)):
        return None
    if top > bottom * ratio:
        return "top_heavy"
    return "bottom_heavy" if bottom > top * ratio else "uniform"


def _norms(rows: Sequence[TensorPass]) -> _Norms:
    """Norms over `rows`, all of which have both sides. A NaN or an infinity makes what it is part of NaN."""
    reference_bad = sum((row.reference_nan or 0) + (row.reference_infinite or 0) for row in rows)
    current_bad = sum((row.current_nan or 0) + (row.current_infinite or 0) for row in rows)
    reference = math.fsum(row.reference_squares or 0.0 for row in rows) if not reference_bad else math.nan
    current = _sum([row.current_squares for row in rows]) if not current_bad else math.nan
    delta = _sum([row.delta_squares for row in rows]) if not (reference_bad or current_bad) else math.nan
    between = math.sqrt(reference) * math.sqrt(current)
    params = sum(row.elements for row in rows)
    known = all(row.changed is not None for row in rows)
    bad = [
        f"{count} weights of the {side} are NaN or infinite"
        for side, count in (("reference", reference_bad), ("checkpoint", current_bad))
        if count
    ]
    if not bad and not math.isfinite(delta):
        bad = ["the adapter's factors are not finite"]
    if not bad and not reference:
        bad = ["the norm of the reference is zero"]
    return _Norms(
        delta=math.sqrt(delta),
        reference=math.sqrt(reference),
        current=math.sqrt(current),
        cosine=min(1.0, max(-1.0, (reference + current - delta) / (2.0 * between))) if between > 0 else math.nan,
        changed=sum(row.changed or 0 for row in rows) / params if known and params else math.nan,
        params=params,
        reason="; ".join(bad),
    )


def _sum(values: Sequence[float | None]) -> float:
    """The sum; NaN if one of them is, or infinite."""
    known = [math.nan if value is None else value for value in values]
    return math.fsum(known) if all(map(math.isfinite, known)) else math.nan


def _layer(block: int, norms: _Norms) -> DriftLayer:
    return DriftLayer(
        layer_idx=block,
        relative_change=norms.relative,
        delta_norm=norms.delta,
        reference_norm=norms.reference,
        current_norm=norms.current,
        cosine=norms.cosine,
        fraction_changed=norms.changed,
        params=norms.params,
    )


def _summary(moved: Sequence[tuple[int, float]], *, pattern_ratio: float) -> DriftSummary:
    """The blocks together; the quarters are at least one block each."""
    values = [value for _, value in moved]
    finite = [(block, value) for block, value in moved if math.isfinite(value)]
    quarter = max(1, len(values) // 4)
    top, bottom = _mean(values[-quarter:]), _mean(values[:quarter])
    most = max(finite, key=lambda one: one[1], default=(None, math.nan))
    least = min(finite, key=lambda one: one[1], default=(None, math.nan))
    return DriftSummary(
        num_transformer_layers=len(values),
        avg_relative_change=_mean(values),
        max_drift_layer=most[0],
        max_drift_value=most[1],
        min_drift_layer=least[0],
        min_drift_value=least[1],
        top_layers_avg=top,
        bottom_layers_avg=bottom,
        pattern=drift_pattern(top, bottom, ratio=pattern_ratio),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _why(norms: dict[int, _Norms], total: _Norms, summary: DriftSummary) -> dict[str, str]:
    """Reasons for what is not finite, by field."""
    why: dict[str, str] = {}
    for place, one in enumerate(norms.values()):
        why.update(_why_norms(one, prefix=f"layers[{place}].", relative="relative_change"))
    why.update(_why_norms(total, prefix="", relative="total_relative_change", total="total_"))
    bad = [block for block, one in norms.items() if block != REST and not math.isfinite(one.relative)]
    reason = f"layer {bad[0]} has no finite relative change" if bad else "no tensor's name has a block's number"
    for field in summary.__struct_fields__:
        value = getattr(summary, field)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            why[f"summary.{field}"] = reason
    return why


def _why_norms(norms: _Norms, *, prefix: str, relative: str, total: str = "") -> dict[str, str]:
    named = {
        f"{prefix}{relative}": norms.relative,
        f"{prefix}{total}delta_norm": norms.delta,
        f"{prefix}{total}reference_norm": norms.reference,
        f"{prefix}{total}current_norm": norms.current,
    }
    why = {field: norms.reason for field, value in named.items() if not math.isfinite(value)}
    if not math.isfinite(norms.cosine):
        why[f"{prefix}cosine"] = norms.reason or "the norm of the checkpoint is zero"
    if not math.isfinite(norms.changed):
        why[f"{prefix}fraction_changed"] = "an adapter changes its matrices without their sum being formed"
    return why

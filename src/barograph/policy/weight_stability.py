"""What a policy says of `analysis/weight_stability.py`: alerts, health, and the document `parameter_stability.json`."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.analysis.blocks import REST
from barograph.analysis.norm_change import NormChange
from barograph.analysis.weight_stability import StabilityLayer, WeightStability
from barograph.policy.findings import finding
from barograph.policy.tables import Policy
from barograph.records import Verdict
from barograph.records.quantities import Count, Step, VerdictWord

AlertType = Literal["exploding", "vanishing", "non_finite", "zero_rows", "dtype_max", "norm_growth", "spike"]
Severity = Literal["warning", "critical"]
Health = Literal["healthy", "warning", "critical"]


class WeightAlert(Struct, frozen=True, kw_only=True):
    """Weights of one layer that crossed a threshold."""

    layer: Annotated[int, Meta(description="Block; -1 for embeddings and the rest.")]
    type: Annotated[AlertType, Meta(description="Which rule.")]
    severity: Annotated[Severity, Meta(description="How grave it is.")]
    value: Annotated[float, Meta(description="The value that crossed the threshold.")]
    threshold: Annotated[float, Meta(description="The threshold.")]
    message: Annotated[str, Meta(description="One sentence.")]
    cause: Annotated[str, Meta(description="What commonly causes it.")]
    action: Annotated[str, Meta(description="What to do about it.")]


class StabilitySummary(Struct, frozen=True, kw_only=True):
    """The transformer blocks together, and how many alerts there are."""

    num_layers: Annotated[Count, Meta(description="Transformer blocks.")]
    avg_weight_norm: Annotated[float, Meta(description="Mean weight norm of the blocks.")]
    std_weight_norm: Annotated[float, Meta(description="Standard deviation of the blocks' norms.")]
    max_weight_norm: Annotated[float, Meta(description="Largest weight norm of a block.")]
    min_weight_norm: Annotated[float, Meta(description="Smallest weight norm of a block.")]
    health_status: Annotated[Health, Meta(description="The gravest alert, or healthy.")]
    total_alerts: Annotated[Count, Meta(description="All alerts.")]
    warning_alerts: Annotated[Count, Meta(description="Those that are warnings.")]
    critical_alerts: Annotated[Count, Meta(description="Those that are critical.")]


class ParameterStability(Struct, frozen=True, kw_only=True):
    """Sizes of the weights of a checkpoint, judged."""

    timestamp: Annotated[str, Meta(description="When the weights were read.")]
    checkpoint: Annotated[str, Meta(description="Name of the checkpoint.")]
    step: Annotated[Step | None, Meta(description="Its step, if its name says one.")]
    summary: Annotated[StabilitySummary, Meta(description="The transformer blocks together.")]
    alerts: Annotated[list[WeightAlert], Meta(description="Critical ones first, then by layer.")]
    layers: Annotated[list[StabilityLayer], Meta(description="Blocks in order, then -1 for the rest.")]
    reference: Annotated[str | None, Meta(description="What growth was judged against; null without one.")]
    earlier_checkpoint: Annotated[str | None, Meta(description="What spikes were judged against; null without one.")]
    policy: Annotated[str, Meta(description="Name of the policy that judged.")]
    why: Annotated[dict[str, str], Meta(description="Field that is null -> reason.")]


def parameter_stability(
    measured: WeightStability, *, policy: Policy, change: NormChange | None = None
) -> ParameterStability:
    """The judged document. `change`: norms of the checkpoint before, for spikes; without one there are none."""
    alerts = weight_alerts(measured, policy=policy, change=change)
    critical = sum(alert.severity == "critical" for alert in alerts)
    infinite = {f"alerts[{i}].value": "it is infinite" for i, alert in enumerate(alerts) if math.isinf(alert.value)}
    return ParameterStability(
        timestamp=datetime.fromtimestamp(measured.time, UTC).isoformat(),
        checkpoint=measured.checkpoint,
        step=measured.step,
        summary=StabilitySummary(
            num_layers=measured.num_layers,
            avg_weight_norm=measured.avg_weight_norm,
            std_weight_norm=measured.std_weight_norm,
            max_weight_norm=measured.max_weight_norm,
            min_weight_norm=measured.min_weight_norm,
            health_status="critical" if critical else "warning" if alerts else "healthy",
            total_alerts=len(alerts),
            warning_alerts=len(alerts) - critical,
            critical_alerts=critical,
        ),
        alerts=alerts,
        layers=measured.layers,
        reference=measured.reference,
        earlier_checkpoint=None if change is None else change.earlier_checkpoint,
        policy=policy.name,
        why=measured.why | infinite,
    )


def weight_alerts(measured: WeightStability, *, policy: Policy, change: NormChange | None = None) -> list[WeightAlert]:
    """Every alert of the policy, critical ones first, then by layer."""
    top = measured.num_layers - max(1, measured.num_layers // 4)
    found = [
        *(alert for layer in measured.layers for alert in _of_layer(layer, policy=policy, top=top)),
        *_growth_of_kinds(measured, policy=policy, top=top),
        *_spikes(change, policy=policy),
    ]
    return sorted(found, key=lambda alert: (alert.severity != "critical", alert.layer, alert.type))


def weight_stability(document: ParameterStability, *, policy: Policy, now: float) -> Verdict:
    """FAIL for a critical alert, WARN for a warning, else PASS."""
    words: dict[Health, VerdictWord] = {"healthy": "PASS", "warning": "WARN", "critical": "FAIL"}
    first = document.alerts[0] if document.alerts else None
    return Verdict(
        name="weight_stability",
        subject=document.checkpoint,
        verdict=words[document.summary.health_status],
        message=f"{document.summary.total_alerts} alerts; {first.message}" if first else "no alerts",
        numbers={"total_alerts": float(document.summary.total_alerts)} | ({"first": first.value} if first else {}),
        thresholds={"first": first.threshold} if first else {},
        policy=policy.name,
        time=now,
    )


def _of_layer(layer: StabilityLayer, *, policy: Policy, top: int) -> Iterator[WeightAlert]:
    """The alerts of one layer by itself, and beside its reference."""
    table, block = policy.weight_stability, layer.layer_idx
    reading = "exploding_top" if block >= top and block != REST else "exploding"
    if layer.non_finite or math.isnan(layer.weight_norm):
        count = (
            "adapted weights"
            if not layer.non_finite
            else "1 weight"
            if layer.non_finite == 1
            else f"{layer.non_finite} weights"
        )
        message = f"Layer {block} has {count} that {'is' if layer.non_finite == 1 else 'are'} NaN or infinite"
        yield _alert(block, "non_finite", "critical", float(layer.non_finite), 0.0, message, policy=policy)
    message = f"Layer {block} has extreme weight values"
    yield from _above(
        block, "exploding", layer.max_abs_weight, (table.max_abs_warning, table.max_abs_critical), message,
        policy=policy, reading=reading,
    )  # fmt: skip
    yield from _below(layer, policy=policy)
    message = f"Layer {block} comes near the largest number of its format"
    yield from _above(
        block, "dtype_max", layer.dtype_max_share, (table.dtype_max_warning, table.dtype_max_critical), message,
        policy=policy,
    )  # fmt: skip
    if layer.rows and (layer.reference_zero_rows is not None or block != REST):
        # Without a reference, rows of zeros in an embedding may be tokens that do not exist.
        share = (layer.zero_rows - (layer.reference_zero_rows or 0)) / layer.rows
        message = f"Layer {block} has {layer.zero_rows} of {layer.rows} rows that are all zeros"
        yield from _above(
            block, "zero_rows", share, (table.zero_rows_warning, table.zero_rows_critical), message, policy=policy
        )
    growth, limit = layer.norm_growth, table.norm_growth
    if growth is not None and growth > limit:
        message = f"Layer {block} has {growth:.3g} times the reference's norm"
        yield _alert(block, "norm_growth", "warning", growth, limit, message, policy=policy)
    elif growth is not None and growth * limit < 1.0:
        message = f"Layer {block} has {growth:.3g} times the reference's norm"
        yield _alert(block, "norm_growth", "warning", growth, 1.0 / limit, message, policy=policy, reading="fall")


def _below(layer: StabilityLayer, *, policy: Policy) -> Iterator[WeightAlert]:
    """The smallest magnitude, where there is one."""
    table = policy.weight_stability
    value = 0.0 if layer.weight_norm == 0.0 else layer.min_abs_weight  # without a single one there is no smallest
    message = f"Layer {layer.layer_idx} has vanishing weight values"
    if value < table.min_abs_critical:
        yield _alert(layer.layer_idx, "vanishing", "critical", value, table.min_abs_critical, message, policy=policy)
    elif value < table.min_abs_warning:
        yield _alert(layer.layer_idx, "vanishing", "warning", value, table.min_abs_warning, message, policy=policy)


def _growth_of_kinds(measured: WeightStability, *, policy: Policy, top: int) -> Iterator[WeightAlert]:
    """Largest magnitudes by kind of tensor, beside the reference's own."""
    table = policy.weight_stability
    for kind in measured.kinds:
        reference = kind.reference_max_abs_weight
        if not reference or kind.max_abs_weight <= table.growth_floor:
            continue
        limits = (table.max_growth_warning * reference, table.max_growth_critical * reference)
        block = kind.layer_idx
        yield from _above(
            block,
            "exploding",
            kind.max_abs_weight,
            limits,
            f"Layer {block} has {kind.max_abs_weight / reference:.3g} times the reference's largest weight"
            f" in {kind.kind}",
            policy=policy,
            reading="exploding_top" if block >= top and block != REST else "exploding",
        )


def _spikes(change: NormChange | None, *, policy: Policy) -> Iterator[WeightAlert]:
    """Norms far from those of the checkpoint before."""
    limit = policy.weight_stability.spike_factor
    if change is None:
        return
    for layer in change.layers:
        message = f"Layer {layer.layer_idx} has {layer.ratio:.3g} times the norm of {change.earlier_checkpoint}"
        if layer.ratio > limit:
            yield _alert(layer.layer_idx, "spike", "warning", layer.ratio, limit, message, policy=policy)
        elif layer.ratio * limit < 1.0:
            yield _alert(
                layer.layer_idx, "spike", "warning", layer.ratio, 1.0 / limit, message, policy=policy, reading="fall"
            )


def _above(
    layer: int,
    kind: AlertType,
    value: float,
    limits: tuple[float, float],
    message: str,
    *,
    policy: Policy,
    reading: str = "",
) -> Iterator[WeightAlert]:
    """An alert if `value` is above the warning's limit, or the critical one's; NaN is above nothing."""
    warning, critical = limits
    if value > critical:
        yield _alert(layer, kind, "critical", value, critical, message, policy=policy, reading=reading)
    elif value > warning:
        yield _alert(layer, kind, "warning", value, warning, message, policy=policy, reading=reading)


def _alert(
    layer: int,
    kind: AlertType,
    severity: Severity,
    value: float,
    threshold: float,
    message: str,
    *,
    policy: Policy,
    reading: str = "",
) -> WeightAlert:
    words = finding(kind, severity=severity, message=message, policy=policy, layer=layer, reading=reading)
    return WeightAlert(
        layer=layer,
        type=kind,
        severity=severity,
        value=value,
        threshold=threshold,
        message=message,
        cause=words.cause,
        action=words.action,
    )

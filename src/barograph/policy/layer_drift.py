"""What a policy says of `analysis/layer_drift.py`: which band the change is in, its pattern, and what to doubt."""

import math
from typing import Literal

import msgspec

from barograph.analysis.layer_drift import LayerDrift
from barograph.policy.findings import finding
from barograph.policy.tables import Policy
from barograph.records import Verdict
from barograph.records.quantities import AlertLevel, VerdictWord
from barograph.records.weights import Finding

Band = Literal["minimal", "normal", "significant"]
Colour = Literal["green", "yellow", "red"]

SHOWN = 3


def drift_band(relative_change: float, *, policy: Policy) -> Band | None:
    """What a change is called; None if it is not finite."""
    table = policy.layer_drift
    if not math.isfinite(relative_change):
        return None
    if relative_change < table.minimal_below:
        return "minimal"
    return "significant" if relative_change > table.significant_above else "normal"


def drift_colour(relative_change: float, *, policy: Policy) -> Colour | None:
    """The colour of a layer's bar; None if its change is not finite."""
    table = policy.layer_drift
    if not math.isfinite(relative_change):
        return None
    if relative_change < table.yellow_from:
        return "green"
    return "red" if relative_change > table.red_above else "yellow"


def interpreted(drift: LayerDrift, *, policy: Policy) -> LayerDrift:
    """The document with the policy's findings in it."""
    return msgspec.structs.replace(drift, findings=drift_findings(drift, policy=policy))


def drift_findings(drift: LayerDrift, *, policy: Policy) -> list[Finding]:
    """Everything worth saying, the gravest first."""
    found = [
        *_non_finite(drift, policy=policy),
        *_zero_reference(drift, policy=policy),
        *_not_compared(drift, policy=policy),
    ]
    band = drift_band(drift.total_relative_change, policy=policy)
    if band is not None:
        severity: AlertLevel = "warning" if band == "significant" else "info"
        message = f"the weights changed by {drift.total_relative_change:.4g} of the reference's norm"
        found.append(finding(band, severity=severity, message=message, policy=policy))
    pattern = drift.summary.pattern
    if pattern is not None:
        severity = "warning" if pattern == "bottom_heavy" else "info"
        top, bottom = drift.summary.top_layers_avg, drift.summary.bottom_layers_avg
        message = f"the last quarter of the layers changed by {top:.4g}, the first by {bottom:.4g}"
        found.append(finding(pattern, severity=severity, message=message, policy=policy))
    order: tuple[AlertLevel, ...] = ("critical", "warning", "info")
    return sorted(found, key=lambda one: order.index(one.severity))


def layer_drift(drift: LayerDrift, *, policy: Policy, now: float) -> Verdict:
    """FAIL for weights that are no numbers, WARN for a warning, ERROR if no ratio exists, else PASS."""
    found = drift_findings(drift, policy=policy)
    gravest = found[0].severity if found else "info"
    word: VerdictWord = "FAIL" if gravest == "critical" else "WARN" if gravest == "warning" else "PASS"
    if word != "FAIL" and not math.isfinite(drift.total_relative_change):
        word = "ERROR"
    table = policy.layer_drift
    return Verdict(
        name="layer_drift",
        subject=drift.current_checkpoint,
        verdict=word,
        message="; ".join(one.message for one in found[:SHOWN]),
        numbers={"total_relative_change": drift.total_relative_change},
        thresholds={"minimal_below": table.minimal_below, "significant_above": table.significant_above},
        policy=policy.name,
        time=now,
    )


def _non_finite(drift: LayerDrift, *, policy: Policy) -> list[Finding]:
    """Layers of the checkpoint that have no norm."""
    bad = [layer.layer_idx for layer in drift.layers if not math.isfinite(layer.current_norm)]
    return [
        finding(
            "non_finite",
            severity="critical",
            layer=layer,
            message=f"Layer {layer} has weights that are NaN or infinite",
            policy=policy,
        )
        for layer in bad
    ]


def _zero_reference(drift: LayerDrift, *, policy: Policy) -> list[Finding]:
    return [
        finding(
            "zero_reference",
            severity="warning",
            layer=layer.layer_idx,
            message=f"Layer {layer.layer_idx} of the reference has norm zero, so its change is no ratio",
            policy=policy,
        )
        for layer in drift.layers
        if layer.reference_norm == 0.0
    ]


def _not_compared(drift: LayerDrift, *, policy: Policy) -> list[Finding]:
    groups = (("missing", drift.missing), ("extra", drift.extra), ("reshaped", drift.reshaped))
    said = [f"{len(names)} {word} ({_some(names)})" for word, names in groups if names]
    if not said:
        return []
    message = f"tensors that could not be compared: {', '.join(said)}"
    return [finding("not_compared", severity="warning", message=message, policy=policy)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")

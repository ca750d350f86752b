"""Every verdict that applies to a training, from what was measured of it: what `check` prints and the page shows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.analysis.layer_drift import LayerDrift
from barograph.analysis.loss_curve import LossCurve
from barograph.analysis.weight_stability import WeightStability
from barograph.policy.gradient_ghost import gradient_ghost
from barograph.policy.layer_drift import drift_findings, layer_drift
from barograph.policy.tables import Policy
from barograph.policy.training_drift import training_drift
from barograph.policy.weight_stability import parameter_stability, weight_stability
from barograph.records import OptimizerMoments, Verdict
from barograph.records.quantities import VerdictWord
from barograph.records.weights import Finding

Sign = Literal["<=", ">="]

BESIDE: dict[str, tuple[str, Sign]] = {
    "convergence_ratio": ("convergence_ratio_lte", "<="),
    "smoothness": ("smoothness_gte", ">="),
    "instability_events": ("instability_events_lte", "<="),
    "convergence_v2": ("convergence_v2_lte", "<="),
    "spikes_v2": ("spikes_v2_lte", "<="),
    "end_rise": ("end_rise_lte", "<="),
    "non_finite": ("non_finite_lte", "<="),
    "num_steps": ("min_steps", ">="),
    "shown_steps": ("min_steps", ">="),
    "step": ("min_steps", ">="),
    "total_relative_change": ("significant_above", "<="),
    "gain": ("min_gain", ">="),
}
"""Number -> the threshold that it is compared with, and how."""


class Figure(Struct, frozen=True, kw_only=True):
    """One number of a verdict beside its threshold."""

    name: Annotated[str, Meta(description="Its name, as the analysis has it.")]
    value: Annotated[float | None, Meta(description="The number; null if it is not finite, which `text` then says.")]
    text: Annotated[str | None, Meta(description='"nan", "inf" or "-inf" in place of the number; else null.')]
    sign: Annotated[Sign | None, Meta(description="How it is compared; null if with nothing.")]
    threshold: Annotated[float | None, Meta(description="What it is compared with.")]
    held: Annotated[
        bool | None, Meta(description="Whether it is on the right side; null without a threshold, or a number.")
    ]


class Judged(Struct, frozen=True, kw_only=True):
    """One verdict on one training."""

    name: Annotated[str, Meta(description="Table of the policy that judged.")]
    subject: Annotated[str, Meta(description="What was judged where there are several.")]
    verdict: Annotated[VerdictWord, Meta(description="FAIL is the model, ERROR is us, SKIP is no data.")]
    score: Annotated[float | None, Meta(description="0 to 1; null if the verdict has none.")]
    message: Annotated[str, Meta(description="One sentence with its numbers.")]
    advice: Annotated[str, Meta(description="What to do first; empty if nothing.")]
    figures: Annotated[list[Figure], Meta(description="The quantities that were judged, beside their thresholds.")]
    thresholds: Annotated[dict[str, float], Meta(description="Every threshold of the verdict.")]
    steps: Annotated[list[int], Meta(description="Steps that it rests on.")]
    findings: Annotated[list[Finding], Meta(description="What stands out, with cause and action.")]
    evidence: Annotated[
        LossCurve | None, Meta(description="Everything that was measured of a curve; null for the others.")
    ] = None


class Measured(Struct, frozen=True, kw_only=True):
    """What was measured of one training; None is what was not, and the sentence beside it says why."""

    curve: Annotated[LossCurve | None, Meta(description="Its loss curve.")]
    no_curve: Annotated[str, Meta(description="Why there is none.")] = "no step has a loss"
    saves: Annotated[Sequence[OptimizerMoments], Meta(description="Second moments at its saves, as written.")] = ()
    drift: Annotated[LayerDrift | None, Meta(description="Drift of its newest checkpoint that was read.")] = None
    no_drift: Annotated[str, Meta(description="Why there is none.")] = "no checkpoint's weights were read"
    stability: Annotated[WeightStability | None, Meta(description="Sizes of the weights of that checkpoint.")] = None
    no_stability: Annotated[str, Meta(description="Why there are none.")] = "no checkpoint's weights were read"


def judgement(measured: Measured, *, policy: Policy, now: float) -> list[Judged]:
    """The loss curve, the gradients, the drift and the stability, in this order; SKIP for what was not measured."""
    curve = training_drift(measured.curve, policy=policy, now=now, nothing=measured.no_curve)
    ghost = gradient_ghost(measured.saves, policy=policy, now=now)
    return [
        judged(curve.verdict, curve.findings, score=curve.score, evidence=measured.curve),
        judged(ghost.verdict, ghost.findings),
        *_of_weights(measured, policy=policy, now=now),
    ]


def judged(
    verdict: Verdict,
    findings: Iterable[Finding] = (),
    *,
    score: float | None = None,
    evidence: LossCurve | None = None,
) -> Judged:
    """One verdict with its numbers beside their thresholds."""
    found = list(findings)
    grave = [one.action for one in found if one.severity != "info"]
    return Judged(
        name=verdict.name,
        subject=verdict.subject,
        verdict=verdict.verdict,
        score=score,
        message=verdict.message,
        advice=verdict.advice or (grave[0] if grave else ""),
        figures=list(_figures(verdict)),
        thresholds=verdict.thresholds,
        steps=verdict.steps,
        findings=found,
        evidence=evidence,
    )


def gravest(words: Iterable[VerdictWord]) -> VerdictWord:
    """The one that counts: FAIL, ERROR, WARN, PASS; SKIP only if nothing else was said."""
    order: tuple[VerdictWord, ...] = ("FAIL", "ERROR", "WARN", "PASS", "SKIP")
    return min(words, key=order.index, default="SKIP")


def _figures(verdict: Verdict) -> Iterator[Figure]:
    for name, value in verdict.numbers.items():
        limit, sign = BESIDE.get(name, ("", None))
        threshold = verdict.thresholds.get(limit)
        finite = value - value == 0.0
        held = None
        if threshold is not None and value == value:
            held = value >= threshold if sign == ">=" else value <= threshold
        yield Figure(
            name=name,
            value=value if finite else None,
            text=None if finite else str(value),
            sign=sign if threshold is not None else None,
            threshold=threshold,
            held=held,
        )


def _of_weights(measured: Measured, *, policy: Policy, now: float) -> Iterator[Judged]:
    if measured.drift is None:
        yield _skipped("layer_drift", measured.no_drift, policy=policy, now=now)
    else:
        verdict = layer_drift(measured.drift, policy=policy, now=now)
        yield judged(verdict, drift_findings(measured.drift, policy=policy))
    if measured.stability is None:
        yield _skipped("weight_stability", measured.no_stability, policy=policy, now=now)
        return
    found = parameter_stability(measured.stability, policy=policy)
    findings = [
        Finding(
            name=alert.type,
            severity=alert.severity,
            layer=alert.layer,
            message=alert.message,
            cause=alert.cause,
            action=alert.action,
        )
        for alert in found.alerts
    ]
    yield judged(weight_stability(found, policy=policy, now=now), findings)


def _skipped(name: str, reason: str, *, policy: Policy, now: float) -> Judged:
    return judged(
        Verdict(name=name, verdict="SKIP", message=reason, numbers={}, thresholds={}, policy=policy.name, time=now)
    )

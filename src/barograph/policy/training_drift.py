"""Verdict over `analysis/loss_curve.py`: can this training be trusted?

`judged_by = "v1"` is seed 004's own: PASS if its three assertions hold, else WARN, with its messages word for word, so
that who compares finds the same text. `"v2"` judges by the numbers that hold what they promise: FAIL for a curve that
ends in no number or far above where it had been, WARN for what a person should look at.
"""

import math
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.loss_curve import CurveRule, LossCurve
from barograph.analysis.spikes import SpikeRule
from barograph.analysis.trend import TrendRule
from barograph.policy.findings import finding
from barograph.policy.tables import Policy, TrainingDriftTable
from barograph.records import Verdict
from barograph.records.quantities import AlertLevel, VerdictWord
from barograph.records.weights import Finding

NAMED = 5
"""Steps that a message names."""
STEPS = 100
"""Steps that a verdict carries."""


class TrainingDrift(Struct, frozen=True, kw_only=True):
    """What a policy says of one curve."""

    verdict: Annotated[Verdict, Meta(description="The verdict, with its numbers.")]
    score: Annotated[
        float | None, Meta(description="0 to 1 as the seed has it: smoothness, or half of it if it is no PASS.")
    ]
    findings: Annotated[list[Finding], Meta(description="What stands out, the gravest first, with cause and action.")]


def curve_rule(policy: Policy) -> CurveRule:
    """How the policy wants curves to be measured."""
    table = policy.training_drift
    return CurveRule(
        rolling_window=table.rolling_window,
        spike_sigma=table.spike_sigma,
        spikes=SpikeRule(
            window=table.spike_window,
            min_window=table.spike_min_window,
            sigma=table.spike_z,
            min_ratio=table.spike_min_ratio,
            tail=table.spike_tail,
            merge=table.spike_merge,
        ),
        trend=TrendRule(
            min_blocks=table.trend_min_blocks,
            max_blocks=table.trend_max_blocks,
            min_block=table.trend_min_block,
            confidence=table.trend_confidence,
        ),
        tail_share=table.tail_share,
        loss_floor=table.loss_floor,
        rise_z=table.rise_z,
    )


def training_drift(
    curve: LossCurve | None, *, policy: Policy, now: float, nothing: str = "no step has a loss"
) -> TrainingDrift:
    """The verdict on a curve; SKIP with `nothing` as its message if there is none."""
    table = policy.training_drift
    short = f"step records (< min_steps={table.min_steps}); curve too short to fit reliably"
    if curve is None:
        message = f"only 0 {short}" if table.judged_by == "v1" else nothing
        return _judged(None, "SKIP", message, [], policy=policy, now=now)
    notes = list(_notes(curve, policy=policy))
    count = curve.num_steps if table.judged_by == "v1" else curve.shown_steps
    if count < table.min_steps:
        message = f"only {count} {short}"
        return _judged(curve, "SKIP", message, notes, policy=policy, now=now)
    if table.judged_by == "v1":
        return _by_v1(curve, notes, policy=policy, now=now)
    if curve.not_applicable is not None and not curve.non_finite_tail:
        return _judged(curve, "SKIP", curve.not_applicable, notes, policy=policy, now=now)
    return _by_v2(curve, notes, policy=policy, now=now)


def _by_v1(curve: LossCurve, notes: list[Finding], *, policy: Policy, now: float) -> TrainingDrift:
    table, events = policy.training_drift, curve.instability_events
    missed = []
    if not curve.smoothness >= table.assert_smoothness_gte:
        missed.append(f"smoothness={curve.smoothness:.2f} < {table.assert_smoothness_gte}")
    if not curve.convergence_ratio <= table.assert_convergence_ratio_lte:
        missed.append(f"convergence_ratio={curve.convergence_ratio:.2f} > {table.assert_convergence_ratio_lte}")
    if not events <= table.assert_instability_events_lte:
        missed.append(f"instability_events={events} > {table.assert_instability_events_lte}")
    message = (
        f"smoothness={curve.smoothness:.2f}, convergence_ratio={curve.convergence_ratio:.2f}, "
        f"instability_events={events}, final_loss={curve.final_loss:.3f}"
    )
    if not missed:
        return _judged(curve, "PASS", message, notes, policy=policy, now=now)
    said = "; ".join(missed)
    found = [finding("rough", severity="warning", message=said, policy=policy), *notes]
    return _judged(curve, "WARN", f"{message}; warnings: {said}", found, policy=policy, now=now)


def _by_v2(curve: LossCurve, notes: list[Finding], *, policy: Policy, now: float) -> TrainingDrift:
    order: tuple[AlertLevel, ...] = ("critical", "warning", "info")
    found = sorted([*_findings(curve, policy=policy), *notes], key=lambda one: order.index(one.severity))
    gravest = found[0].severity if found else "info"
    word: VerdictWord = "FAIL" if gravest == "critical" else "WARN" if gravest == "warning" else "PASS"
    message = "; ".join(one.message for one in found if one.severity != "info") or _well(curve)
    return _judged(curve, word, message, found, policy=policy, now=now)


def _findings(curve: LossCurve, *, policy: Policy) -> Iterator[Finding]:
    """What is wrong with the curve itself."""
    table, bad = policy.training_drift, curve.losses.non_finite
    if curve.non_finite_tail:
        message = f"the last loss is no number; the first such one is at step {curve.losses.first_step}"
        yield finding("non_finite_tail", severity="critical", message=message, policy=policy)
    elif bad > table.max_non_finite:
        where = _steps(curve.non_finite_steps, bad)
        message = f"{bad} of {curve.losses.points} losses are NaN or infinite, at {where}"
        yield finding("non_finite_loss", severity="warning", message=message, policy=policy)
    if curve.not_applicable is not None:
        return  # of rewards nothing but their absence is judged
    yield from _rise(curve, policy=policy)
    count = len(curve.spikes_v2)
    if count > table.max_spikes:
        worst = max(curve.spikes_v2, key=lambda one: one.peak - one.expected)
        usual = curve.spike_share > table.max_spike_share
        where = (
            f"{count} spike{'s' if count > 1 else ''}, at {_steps([one.peak_step for one in curve.spikes_v2], count)}"
        )
        message = f"{where}; the worst reached {worst.peak:.4g} where {worst.expected:.4g} was expected"
        if usual:
            message = f"{100 * curve.spike_share:.2g} % of the losses are far above the others: that is their noise"
        yield finding("loss_spike", severity="info" if usual else "warning", message=message, policy=policy)
    if curve.zero_loss:
        message = f"{curve.zero_loss} losses are exactly 0, the first at step {curve.zero_loss_step}"
        yield finding("zero_loss", severity="warning", message=message, policy=policy)
    risen = curve.end_rise is not None and curve.end_rise.ratio > table.rising_ratio
    if not risen and curve.convergence_v2 > table.max_convergence and curve.whole_trend.word != "improving":
        message = f"the loss did not fall: its end is {curve.convergence_v2:.3f} times its beginning"
        yield finding("flat", severity="warning", message=message, policy=policy)


def _rise(curve: LossCurve, *, policy: Policy) -> Iterator[Finding]:
    """The end of the curve beside the best it had been."""
    table, rise = policy.training_drift, curve.end_rise
    if rise is None or rise.deviations < table.rise_z:
        return
    over = f"over the last {rise.points} points"
    if rise.ratio > table.divergence_ratio and rise.of_peak >= table.falling_share:
        message = f"the loss ends at {rise.ratio:.3g} times what it had been, {over}"
        yield finding("divergence", severity="critical", message=message, policy=policy)
    elif rise.ratio > table.rising_ratio:
        falls = ", and falls again" if rise.of_peak < table.falling_share else ""
        message = f"the loss ends at {rise.ratio:.3g} times the least that it had been, {over}{falls}"
        yield finding("rising", severity="warning", message=message, policy=policy)


def _notes(curve: LossCurve, *, policy: Policy) -> Iterator[Finding]:
    """What a reader of the numbers should know."""
    if curve.ghost_points:
        message = (
            f"{curve.attempts} attempts; {curve.ghost_points} points of older ones were superseded by a resume, and"
            " only the seed's numbers hold them"
        )
        yield finding("ghost_tail", severity="info", message=message, policy=policy)
    if curve.bad_lines or curve.torn_lines:
        where = f": {curve.examples[0]}" if curve.examples else ""
        message = f"{curve.bad_lines} lines could not be read, {curve.torn_lines} files end in the middle of one{where}"
        yield finding("unread_lines", severity="info", message=message, policy=policy)


def _well(curve: LossCurve) -> str:
    """What there is to say of a curve with which nothing is wrong."""
    change = curve.trend.change_per_1000
    parts = []
    if math.isfinite(curve.convergence_v2) and curve.convergence_v2 < 1.0:
        parts.append(f"the loss fell to {curve.convergence_v2:.3g} of its beginning")
    parts.append("every loss a number" if curve.spikes_v2 else "no spike, every loss a number")
    if change is not None:
        parts.append(f"at its end {curve.trend.word} ({100 * change:+.3g} % per 1,000 steps)")
    return "; ".join(parts)


def _judged(
    curve: LossCurve | None, word: VerdictWord, message: str, found: list[Finding], *, policy: Policy, now: float
) -> TrainingDrift:
    table = policy.training_drift
    return TrainingDrift(
        verdict=Verdict(
            name="training_drift",
            verdict=word,
            message=message,
            numbers={} if curve is None else _numbers(curve),
            thresholds=_thresholds(table),
            policy=policy.name,
            time=now,
            advice=next((one.action for one in found if one.severity != "info"), ""),
            steps=[] if curve is None else _evidence(curve),
        ),
        score=None if curve is None or word == "SKIP" else _score(curve, word, table),
        findings=found,
    )


def _score(curve: LossCurve, word: VerdictWord, table: TrainingDriftTable) -> float | None:
    smooth = curve.smoothness if table.judged_by == "v1" else curve.smoothness_v2
    return min(1.0, max(0.0, smooth if word == "PASS" else 0.5 * smooth)) if math.isfinite(smooth) else None


def _numbers(curve: LossCurve) -> dict[str, float]:
    return {
        "final_loss": curve.final_loss,
        "initial_loss": curve.initial_loss,
        "convergence_ratio": curve.convergence_ratio,
        "smoothness": curve.smoothness,
        "instability_events": float(curve.instability_events),
        "num_steps": float(curve.num_steps),
        "convergence_v2": curve.convergence_v2,
        "smoothness_v2": curve.smoothness_v2,
        "spikes_v2": float(len(curve.spikes_v2)),
        "end_rise": math.nan if curve.end_rise is None else curve.end_rise.ratio,
        "non_finite": float(curve.losses.non_finite),
        "zero_loss": float(curve.zero_loss),
        "shown_steps": float(curve.shown_steps),
    }


def _thresholds(table: TrainingDriftTable) -> dict[str, float]:
    """Those that judge; the numbers of the other kind are shown, and compared with nothing."""
    steps = {"min_steps": float(table.min_steps)}
    if table.judged_by == "v1":
        return steps | {
            "smoothness_gte": table.assert_smoothness_gte,
            "convergence_ratio_lte": table.assert_convergence_ratio_lte,
            "instability_events_lte": float(table.assert_instability_events_lte),
        }
    return steps | {
        "convergence_v2_lte": table.max_convergence,
        "spikes_v2_lte": float(table.max_spikes),
        "end_rise_lte": table.rising_ratio,
        "non_finite_lte": float(table.max_non_finite),
    }


def _evidence(curve: LossCurve) -> list[int]:
    """Steps of losses that are no numbers, and of spikes."""
    return sorted({*curve.non_finite_steps, *(one.peak_step for one in curve.spikes_v2)})[:STEPS]


def _steps(steps: list[int], count: int) -> str:
    """Some steps in words."""
    shown = ", ".join(map(str, steps[:NAMED]))
    return f"step{'s' if count > 1 else ''} {shown}" + (", ..." if count > NAMED else "")

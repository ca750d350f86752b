"""What the loss curve of a run says of its training: seed 004's numbers, and ones that hold what they promise.

The seed's numbers (`training_drift_v1`) are made of the curve as its code builds it: for every step the newest loss of
any file, with the steps that a resumed attempt went over again but did not reach. The others are made of the curve that
charts show, without that ghost tail.

    convergence_v2 = median(last 10 %) / median(2 % after the first point, at least 3)
    smoothness_v2  = 1 - noise / (spread + noise),  noise = cadence mean((x_{t+1} - 2 x_t + x_{t-1})^2) / 6,
                     spread = variance of block means

Single points are noisy and the first one may be a sum over micro-batches, so ends are medians. A sixth of the mean
squared second difference is the variance of the noise under a trend that is straight over three points (after von
Neumann 1941, who has first differences). A loss that stands for the mean of `cadence` steps has that much less of it;
multiplied back, the number depends little on how often one logs.

A rise at the end is measured in the same robust way, for ends of several lengths, since people stop a run soon after it
diverged: the median of the last points beside the least level that the curve had, and how many standard errors of that
median lie between them.

The losses of reinforcement learning are no measure of progress: where the run logs rewards, nothing of this applies.
"""

import math
from itertools import pairwise
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.analysis.finite_losses import FiniteLosses, finite_losses
from barograph.analysis.spikes import MAD_TO_SIGMA, Spike, SpikeRule, spikes
from barograph.analysis.training_drift_v1 import training_drift_v1
from barograph.analysis.trend import Trend, TrendRule, trend
from barograph.records.quantities import Count, Step

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

CURVE_POINTS = 512
"""Most points of the curve in a report."""
FEWEST = 10
"""Fewest points of a curve whose end is compared with what was before."""
SPREAD_BLOCKS = 20
"""Blocks whose means the spread is that of."""
REWARDS = ("reward", "rewards/", "kl", "objective/kl", "policy_loss")
"""Names of metrics, or their beginnings, that only reinforcement learning logs."""
NON_FINITE_STEPS = 100
"""Most steps of losses that are no numbers that are listed."""


class Curve(Struct, frozen=True, kw_only=True):
    """The losses of a run, as they were read, before anything is said of them."""

    steps: Annotated[Steps, Meta(description="[points], ascending, each once: the curve that charts show.")]
    losses: Annotated[Floats, Meta(description="[points], nats; NaN and infinities are values.")]
    merged_steps: Annotated[Steps, Meta(description="[points], ascending: every step of any file, once.")]
    merged_losses: Annotated[Floats, Meta(description="[points], nats: the newest loss of each.")]
    ghost_points: Annotated[Count, Meta(description="Points of older attempts that a newer one went over again.")]
    attempts: Annotated[Count, Meta(description="Starts of the run.")]
    files: Annotated[Count, Meta(description="Files that were read.")]
    averaged: Annotated[bool, Meta(description="Whether a loss is the mean since the one before it.")]
    metrics: Annotated[tuple[str, ...], Meta(description="Names of what else was logged.")] = ()
    torn_lines: Annotated[Count, Meta(description="Files whose last line is not finished.")] = 0
    bad_lines: Annotated[Count, Meta(description="Lines that could not be read.")] = 0
    examples: Annotated[tuple[str, ...], Meta(description="Where the first of them are, and why.")] = ()


class CurveRule(Struct, frozen=True, kw_only=True):
    """What the policy decides of how a curve is measured."""

    rolling_window: Annotated[int, Meta(ge=2, description="Window of the seed's rule for instability.")]
    spike_sigma: Annotated[float, Meta(gt=0.0, description="Factor of that rule.")]
    spikes: Annotated[SpikeRule, Meta(description="What counts as a spike.")]
    trend: Annotated[TrendRule, Meta(description="How the trend is measured.")]
    tail_share: Annotated[float, Meta(gt=0.0, le=1.0, description="Share of the curve that its trend is taken of.")]
    loss_floor: Annotated[float, Meta(ge=0.0, description="Nats below which losses are as good as each other.")]
    rise_z: Annotated[float, Meta(gt=0.0, description="Standard errors that a rise at the end must be up.")]


class EndRise(Struct, frozen=True, kw_only=True):
    """How far the end of a curve is above what it had been."""

    ratio: Annotated[float, Meta(description="Level of the end / least level, both with `loss_floor` added.")]
    deviations: Annotated[float, Meta(description="Standard errors between the two; infinite without noise.")]
    points: Annotated[Count, Meta(description="Points that the end is the median of.")]
    of_peak: Annotated[float, Meta(description="Level of the end / greatest level after the least one.")]


class LossCurve(Struct, frozen=True, kw_only=True):
    """Everything that is said of one curve; a number that cannot be had is NaN, which JSON reports spell `null`."""

    final_loss: Annotated[float, Meta(description="Last loss, nats, as the seed has it.")]
    initial_loss: Annotated[float, Meta(description="First loss, nats, as the seed has it.")]
    convergence_ratio: Annotated[float, Meta(description="final_loss / initial_loss.")]
    smoothness: Annotated[float, Meta(description="1 - var(delta) / var(loss), at least 0.")]
    instability_events: Annotated[Count, Meta(description="Steep rises, and losses that are no numbers.")]
    num_steps: Annotated[Count, Meta(description="Steps with a loss, those of the ghost tail included.")]
    num_log_files: Annotated[Count, Meta(description="Files that were read.")]
    curve_sampled: Annotated[
        list[tuple[Step, float]],
        Meta(description="At most 512 points: first, last, extremes, and those that are no numbers."),
    ]
    convergence_v2: Annotated[float, Meta(description="Median of the last tenth / of the beginning; may be NaN.")]
    smoothness_v2: Annotated[float, Meta(description="Share of the curve's variance that is no noise; may be NaN.")]
    spikes_v2: Annotated[list[Spike], Meta(description="Episodes, oldest first.")]
    spike_share: Annotated[float, Meta(description="Share of the points that are part of them.")]
    trend: Annotated[Trend, Meta(description="Trend of the last part of the curve.")]
    whole_trend: Annotated[Trend, Meta(description="Trend of the whole curve.")]
    losses: Annotated[FiniteLosses, Meta(description="How many losses are no numbers, and where.")]
    non_finite_steps: Annotated[list[Step], Meta(description="Steps of the first 100 of these.")]
    non_finite_tail: Annotated[bool, Meta(description="Whether the last loss is one.")]
    zero_loss: Annotated[Count, Meta(description="Losses of exactly 0, which is how some loggers spell NaN.")]
    zero_loss_step: Annotated[Step | None, Meta(description="Step of the first of these.")]
    end_rise: Annotated[
        EndRise | None, Meta(description="How far its end is above its least level; null if too short.")
    ]
    shown_steps: Annotated[Count, Meta(description="Steps of the curve that charts show.")]
    cadence: Annotated[int, Meta(ge=1, description="Steps from one loss to the next, the median.")]
    attempts: Annotated[Count, Meta(description="Starts of the run.")]
    ghost_points: Annotated[Count, Meta(description="Points that a newer attempt went over again.")]
    torn_lines: Annotated[Count, Meta(description="Files whose last line is not finished.")]
    bad_lines: Annotated[Count, Meta(description="Lines that could not be read.")]
    not_applicable: Annotated[str | None, Meta(description="Why a loss says nothing of this run; null if it does.")]
    examples: Annotated[list[str], Meta(description="Where the first lines that could not be read are, and why.")]


def loss_curve(curve: Curve, *, rule: CurveRule) -> LossCurve:
    """The numbers of a curve of at least one point."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _measured(curve, rule=rule)


def _measured(curve: Curve, *, rule: CurveRule) -> LossCurve:
    seed = training_drift_v1(curve.merged_losses, rolling_window=rule.rolling_window, spike_sigma=rule.spike_sigma)
    steps, losses = curve.steps, curve.losses
    finite = np.isfinite(losses)
    tail = slice(len(losses) - max(1, math.ceil(rule.tail_share * len(losses))), None)
    zero = np.flatnonzero(losses == 0.0)
    found = spikes(steps, losses, rule=rule.spikes)
    cadence = max(1, int(np.median(np.diff(steps)))) if len(steps) > 1 else 1
    return LossCurve(
        final_loss=seed.final_loss,
        initial_loss=seed.initial_loss,
        convergence_ratio=seed.convergence_ratio,
        smoothness=seed.smoothness,
        instability_events=seed.instability_events,
        num_steps=len(curve.merged_losses),
        num_log_files=curve.files,
        convergence_v2=convergence_v2(losses[finite]),
        smoothness_v2=smoothness_v2(losses[finite], cadence=cadence if curve.averaged else 1),
        spikes_v2=found,
        spike_share=sum(one.hits for one in found) / max(1, int(finite.sum())),
        trend=trend(steps[tail], losses[tail], rule=rule.trend),
        whole_trend=trend(steps, losses, rule=rule.trend),
        losses=finite_losses(steps, losses),
        non_finite_steps=steps[~finite][:NON_FINITE_STEPS].tolist(),
        non_finite_tail=bool(len(losses)) and not bool(finite[-1]),
        zero_loss=len(zero),
        zero_loss_step=int(steps[zero[0]]) if len(zero) else None,
        end_rise=end_rise(losses[finite], floor=rule.loss_floor, z=rule.rise_z),
        shown_steps=len(losses),
        cadence=cadence,
        attempts=curve.attempts,
        ghost_points=curve.ghost_points,
        torn_lines=curve.torn_lines,
        bad_lines=curve.bad_lines,
        not_applicable=_not_applicable(curve.metrics),
        curve_sampled=sampled(steps, losses, most=CURVE_POINTS),
        examples=list(curve.examples),
    )


def convergence_v2(losses: Floats) -> float:
    """Median of the last tenth over the median of the beginning; NaN where there are too few, or that is not above 0.

    `losses: [points]`, finite, nats.
    """
    begin = max(3, math.ceil(0.02 * len(losses)))
    if len(losses) < begin + 2:
        return math.nan
    first = float(np.median(losses[1 : 1 + begin]))
    last = float(np.median(losses[-max(1, len(losses) // 10) :]))
    return last / first if first > 0.0 else math.nan


def smoothness_v2(losses: Floats, *, cadence: int) -> float:
    """Share of the variance of `losses: [points]`, finite, that is no noise; NaN for fewer than four points.

    `cadence`: of how many steps each is the mean.
    """
    blocks = min(SPREAD_BLOCKS, len(losses) // 2)
    if blocks < 2:
        return math.nan
    with np.errstate(over="ignore", invalid="ignore"):
        noise = cadence * float(np.mean(np.diff(losses, n=2) ** 2)) / 6.0
        edges = np.linspace(0, len(losses), blocks + 1).astype(np.int64)
        means = np.add.reduceat(losses, edges[:-1]) / np.diff(edges)
        spread = float(means.var())
    return 1.0 - noise / (spread + noise) if spread + noise > 0.0 else 0.0


def end_rise(losses: Floats, *, floor: float, z: float) -> EndRise | None:
    """How far the end of `losses: [points]`, finite, nats, is above the least level before; None for too few points.

    A level is a median: of a tenth of the curve, or of three points if it has fewer than 30. Ends of 3 points and up to
    a tenth of the curve are tried: told is the highest of those that are at least `z` standard errors up, or else the
    one that is most of them up.
    """
    count = len(losses)
    if count < FEWEST or float(losses.min()) <= -floor:
        return None
    levels = _levels(losses)
    least = int(np.argmin(levels))
    y = np.log(losses + floor) if floor > 0.0 else np.log(losses)
    scale = MAD_TO_SIGMA * float(np.median(np.abs(np.diff(y)))) / math.sqrt(2.0)
    best: EndRise | None = None
    for points in sorted({3, 5, 10, 20, 50, count // 20, count // 10}):
        if 3 <= points <= max(3, count // 10):
            end = float(np.median(losses[-points:]))
            ratio = (end + floor) / (float(levels[least]) + floor)
            error = scale * math.sqrt(math.pi / 2.0 / points)
            far = math.log(ratio) / error if error > 0.0 else math.copysign(math.inf, ratio - 1.0)
            rise = EndRise(
                ratio=ratio,
                deviations=0.0 if ratio == 1.0 else far,
                points=points,
                of_peak=(end + floor) / (max(end, float(levels[least:].max())) + floor),
            )
            if best is None or _says_more(rise, best, z=z):
                best = rise
    return best


def _says_more(one: EndRise, other: EndRise, *, z: float) -> bool:
    if one.deviations >= z and other.deviations >= z:
        return one.ratio > other.ratio
    return one.deviations > other.deviations


def _levels(losses: Floats) -> Floats:
    """Medians of the tenths of a curve, or of every three neighbours if it is short."""
    if len(losses) < 30:
        rows = np.lib.stride_tricks.sliding_window_view(losses, 3)
        short: Floats = np.median(rows, axis=1)
        return short
    edges = np.linspace(0, len(losses), 11).astype(np.int64)
    return np.array([float(np.median(losses[a:b])) for a, b in pairwise(edges.tolist())])


def sampled(steps: Steps, losses: Floats, *, most: int) -> list[tuple[Step, float]]:
    """At most `most` points of a curve: the first, the last, the least and the greatest of equal parts, and those that
    are no numbers, of which the first count if there are too many."""
    count = len(losses)
    kept = set(range(count)) if count <= most else {0, count - 1}
    if count > most:
        odd = np.flatnonzero(~np.isfinite(losses))
        kept |= set(odd[: most - 2].tolist())
        parts = (most - len(kept)) // 2
        edges = np.linspace(0, count, parts + 1).astype(np.int64) if parts > 0 else np.zeros(1, np.int64)
        with np.errstate(invalid="ignore"):
            low, high = (
                np.where(np.isfinite(losses), losses, math.inf),
                np.where(np.isfinite(losses), losses, -math.inf),
            )
        for begin, end in pairwise(edges.tolist()):
            kept |= {begin + int(np.argmin(low[begin:end])), begin + int(np.argmax(high[begin:end]))}
    return [(int(steps[place]), float(losses[place])) for place in sorted(kept)]


def _not_applicable(metrics: tuple[str, ...]) -> str | None:
    """Why the loss is no measure of progress, if the names of what was logged beside it say so."""
    for name in metrics:
        plain = name.removeprefix("train/")
        if plain in REWARDS or any(plain.startswith(one) for one in REWARDS if one.endswith("/")):
            return f"the run logs {name}: in reinforcement learning the loss does not measure progress"
    return None

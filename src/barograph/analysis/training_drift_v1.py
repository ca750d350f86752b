"""The five numbers of seed 004's probe `training_drift`, as its code computes them, bit for bit on clean input.

    final_loss         the last loss
    initial_loss       the first loss
    convergence_ratio  final_loss / initial_loss; infinite if that is zero
    smoothness         max(0, 1 - var(delta) / var(loss)), delta = differences of neighbours; 0 for a constant curve
    instability_events rises above `spike_sigma` times the median |delta| around them, and losses that are no numbers

The probe's docstring says other things than its code; the code is what others compare with. Its oddities stay: the
window is centred and holds 2 (window // 2) neighbours without the point itself; a curve with fewer deltas than the
window is compared with its one median, the point included; where all neighbours are zero every rise counts, but not
in such a short curve; a loss that is no number is replaced by the last one before it (the first ones by what follows)
and counts once by itself, and once more if the curve rises after it. `spikes`, `trend` and `loss_curve` are better.
"""

import math
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.records.quantities import Count

Floats = NDArray[np.float64]

CELLS = 1 << 20
"""Numbers that are sorted at a time, so that memory does not grow with the window."""


class TrainingDriftV1(Struct, frozen=True, kw_only=True):
    """The numbers of one curve; NaN where no loss is finite, infinite as said above."""

    final_loss: Annotated[float, Meta(description="Last loss, nats.")]
    initial_loss: Annotated[float, Meta(description="First loss, nats.")]
    convergence_ratio: Annotated[float, Meta(description="final_loss / initial_loss.")]
    smoothness: Annotated[float, Meta(description="1 - var(delta) / var(loss), at least 0; 0 for a constant curve.")]
    instability_events: Annotated[Count, Meta(description="Steep rises, and losses that are NaN or infinite.")]


def training_drift_v1(losses: Floats, *, rolling_window: int, spike_sigma: float) -> TrainingDriftV1:
    """The five numbers of `losses: [points]`, nats, in the order of steps; at least one point."""
    finite = np.isfinite(losses)
    bad = int(np.sum(~finite))
    if bad == len(losses):
        return TrainingDriftV1(
            final_loss=math.nan,
            initial_loss=math.nan,
            convergence_ratio=math.nan,
            smoothness=0.0,
            instability_events=len(losses),
        )
    filled = _filled(losses, finite) if bad else losses
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        deltas = np.diff(filled)
        var_loss = float(filled.var())
        var_delta = float(deltas.var()) if deltas.size else 0.0
        rises = steep_rises(deltas, window=rolling_window, sigma=spike_sigma)
    initial, final = float(filled[0]), float(filled[-1])
    return TrainingDriftV1(
        final_loss=final,
        initial_loss=initial,
        convergence_ratio=final / initial if initial != 0.0 else math.inf,
        smoothness=max(0.0, 1.0 - var_delta / var_loss) if var_loss > 0.0 else 0.0,
        instability_events=rises + bad,
    )


def steep_rises(deltas: Floats, *, window: int, sigma: float) -> int:
    """How many of `deltas: [points - 1]` are rises above `sigma` times the median |delta| around them."""
    if deltas.size == 0:
        return 0
    size = np.abs(deltas)
    if deltas.size < window:
        baseline = float(np.median(size))
        return int(np.sum((deltas > 0.0) & (deltas > sigma * baseline))) if baseline else 0
    half = window // 2
    inner = slice(half, deltas.size - half)
    count = 0
    if deltas.size > 2 * half:
        rising = np.flatnonzero(deltas[inner] > 0.0)
        around = np.lib.stride_tricks.sliding_window_view(size, 2 * half + 1)
        for part in np.array_split(rising, max(1, math.ceil(rising.size * 2 * half / CELLS))):
            neighbours = np.concatenate([around[part, :half], around[part, half + 1 :]], axis=1)
            neighbours.partition((half - 1, half), axis=1)
            baseline_of = (neighbours[:, half - 1] + neighbours[:, half]) / 2.0
            count += _steep(deltas[inner][part], baseline_of, sigma=sigma)
    for place in _edges(deltas.size, half):
        if deltas[place] > 0.0:
            near = np.delete(size[max(0, place - half) : place + half + 1], min(place, half))
            count += _steep(deltas[place : place + 1], np.array([np.median(near)]), sigma=sigma)
    return count


def _steep(rises: Floats, baselines: Floats, *, sigma: float) -> int:
    return int(np.sum((baselines == 0.0) | (rises > sigma * baselines)))


def _edges(size: int, half: int) -> list[int]:
    """Places whose window is cut off."""
    return sorted({*range(min(half, size)), *range(max(0, size - half), size)})


def _filled(losses: Floats, finite: NDArray[np.bool_]) -> Floats:
    """Every loss that is no number replaced by the one before it; the first ones by the first that is one."""
    place = np.where(finite, np.arange(len(losses)), -1)
    np.maximum.accumulate(place, out=place)
    place[place < 0] = int(np.argmax(finite))
    filled: Floats = losses[place]
    return filled

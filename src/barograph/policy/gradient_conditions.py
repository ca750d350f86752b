"""Conditions of the gradients: of their norm over all parameters before clipping, and of the layers.

A norm that is NaN or infinite explodes, whatever the thresholds; every comparison with NaN is false and would call it
healthy. A norm of exactly zero vanishes: nothing is learned.
"""

import math
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from barograph.analysis.layer_activity import LayerRow, LayerSummary
from barograph.analysis.spikes import MAD_TO_SIGMA
from barograph.policy.alert_tables import (
    DeadLayersTable,
    ExplodingGradientsTable,
    GradientImbalanceTable,
    VanishingGradientsTable,
)
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.quantities import spelled

NAMED = 3
"""Layers that a sentence names; the others are among the subjects."""

REFRESHES = 20
"""How often the usual norm is computed anew while the history is filled once."""


class UsualNorm(Struct, frozen=True):
    """What norms of the gradients of this run are usually like."""

    median: float
    """The median norm."""
    log_scale: float
    """1.4826 times the median absolute deviation of their logarithms."""


class NormHistory:
    """A fold over the norms of the gradients: what they usually are. Norms that are no numbers, or zero, are left out,
    and so are those of the first steps, while the learning rate warms up."""

    def __init__(self, *, history: int, min_history: int, warm_up_steps: int) -> None:
        self._logs: deque[float] = deque(maxlen=history)
        self._min_history = min_history
        self._to_skip = warm_up_steps
        self._refresh = max(1, history // REFRESHES)
        self._stale = 0
        self._usual: UsualNorm | None = None

    def update(self, norm: float) -> None:
        """Take one norm in."""
        if not (math.isfinite(norm) and norm > 0.0):
            return
        if self._to_skip > 0:
            self._to_skip -= 1
            return
        self._logs.append(math.log(norm))
        self._stale += 1

    @property
    def usual(self) -> UsualNorm | None:
        """What the norms before usually were; None while there are too few."""
        if len(self._logs) < self._min_history:
            return None
        if self._usual is None or self._stale >= self._refresh:
            middle = _median(self._logs)
            spread = _median([abs(one - middle) for one in self._logs])
            self._usual, self._stale = UsualNorm(math.exp(middle), MAD_TO_SIGMA * spread), 0
        return self._usual


def exploding_gradients(
    step: int, norm: float, *, usual: UsualNorm | None, table: ExplodingGradientsTable, layers: Sequence[str] = ()
) -> Checked:
    """The norm is no number, above the policy's bound, or far above what it usually is; `layers` are those whose own
    gradients explode."""
    if not math.isfinite(norm):
        word = spelled(norm)
        return _exploding(step, norm, f"The norm of the gradients is {word} at step {step}.", f"are {word}", layers)
    if norm > table.above:
        text = f"The norm of the gradients is {norm:.4g} at step {step}, above {table.above:.4g}."
        return _exploding(step, norm, text, "explode", layers, above=table.above)
    if usual is None:
        return NOT_SEEN if table.above < math.inf else unknown(f"fewer than {table.min_history} norms are known")
    if norm <= table.above_median * usual.median:
        return NOT_SEEN
    if math.log(norm / usual.median) <= table.above_sigma * usual.log_scale:
        return NOT_SEEN
    times = norm / usual.median
    text = (
        f"The norm of the gradients is {norm:.4g} at step {step}, {times:.3g} times the usual {usual.median:.4g} of"
        f" this run; {table.above_median:g} times it is the bound."
    )
    return _exploding(
        step, norm, text, "explode", layers, median=usual.median, times_median=times, above_median=table.above_median
    )


def exploding_layers(step: int, summary: LayerSummary) -> Checked:
    """Gradients of single layers are no numbers, or far larger than they were."""
    layers = [*summary.non_finite, *summary.exploding]
    if not summary.available:
        return unknown(summary.reason)
    if not layers:
        return NOT_SEEN
    no_numbers = bool(summary.non_finite)
    of = f"{len(layers)} of {summary.total_layers} layers"
    return Checked(
        seen=True,
        title=f"The gradients of {of} {'are no numbers' if no_numbers else 'explode'}",
        text=f"At step {step} the gradients {'are no numbers' if no_numbers else 'explode'} in {_named(layers)}.",
        evidence={"layers": float(len(layers)), "total_layers": float(summary.total_layers)},
        subjects=tuple(layers),
        step=step,
    )


def vanishing_gradients(
    step: int, norm: float, *, usual: UsualNorm | None, table: VanishingGradientsTable, layers: Sequence[str] = ()
) -> Checked:
    """The norm is zero, below the policy's bound, or far below what it usually is."""
    if math.isnan(norm):
        return NOT_SEEN
    evidence = {"gradient_norm": norm}
    if norm == 0.0:
        bound = "exactly zero: no parameter learns anything"
    elif norm < table.below:
        bound, evidence["below"] = f"below {table.below:.4g}", table.below
    elif usual is None:
        waits = table.below == 0.0 and table.below_median > 0.0
        return unknown(f"fewer than {table.min_history} norms are known") if waits else NOT_SEEN
    elif norm < table.below_median * usual.median:
        bound = f"{norm / usual.median:.3g} times the usual {usual.median:.4g} of this run"
        evidence |= {"median": usual.median, "below_median": table.below_median}
    else:
        return NOT_SEEN
    return Checked(
        seen=True,
        title=f"The gradients vanish: their norm is {norm:.4g}",
        text=f"The norm of the gradients is {norm:.4g} at step {step}, {bound}.{_where(layers)}",
        evidence=evidence,
        subjects=tuple(layers),
        step=step,
    )


def vanishing_layers(
    step: int, summary: LayerSummary, rows: Sequence[LayerRow], *, table: VanishingGradientsTable
) -> Checked:
    """Gradients of single layers are far smaller than they were; where the policy has a bound, smaller than that."""
    if not summary.available:
        return unknown(summary.reason)
    layers = [row.module for row in rows if row.status == "vanishing" and _below(row, table.below)]
    if not layers:
        return NOT_SEEN
    return Checked(
        seen=True,
        title=f"The gradients of {len(layers)} of {summary.total_layers} layers vanish",
        text=f"At step {step} the gradients vanish in {_named(layers)}.",
        evidence={"layers": float(len(layers)), "total_layers": float(summary.total_layers)},
        subjects=tuple(layers),
        step=step,
    )


def dead_layers(step: int, summary: LayerSummary, *, table: DeadLayersTable) -> Checked:
    """Too few of the layers take part in training."""
    if not summary.available:
        return unknown(summary.reason)
    if summary.active_share is None:
        return unknown("no layer's gradient is known for long enough")
    if not summary.dead_layers or summary.active_share >= table.active_share_below:
        return NOT_SEEN
    return Checked(
        seen=True,
        title=f"{summary.dead_layers} of {summary.total_layers} layers are dead",
        text=f"{summary.sentence} at step {step}: the gradients of {_named(summary.dead)} stay zero.",
        evidence={
            "dead_layers": float(summary.dead_layers),
            "total_layers": float(summary.total_layers),
            "active_share": summary.active_share,
            "active_share_below": table.active_share_below,
        },
        subjects=tuple(summary.dead),
        step=step,
    )


def gradient_imbalance(step: int, summary: LayerSummary, *, table: GradientImbalanceTable) -> Checked:
    """The gradients of the layers differ by orders of magnitude."""
    if not summary.available:
        return unknown(summary.reason)
    ratio = summary.imbalance_ratio
    if ratio is None:
        return unknown("fewer than two layers have a gradient that is not zero")
    if ratio <= table.ratio_above:
        return NOT_SEEN
    ends = tuple(name for name in (summary.largest, summary.smallest) if name is not None)
    return Checked(
        seen=True,
        title=f"The gradients of the layers differ by {ratio:.3g} times",
        text=f"At step {step} the gradient of {' is the greatest and that of '.join(ends)} the smallest, {ratio:.4g}"
        f" times less; {table.ratio_above:g} times is the bound.",
        evidence={"imbalance_ratio": ratio, "ratio_above": table.ratio_above},
        subjects=ends,
        step=step,
    )


def _exploding(step: int, norm: float, text: str, verb: str, layers: Sequence[str], **evidence: float) -> Checked:
    return Checked(
        seen=True,
        title=f"The gradients {verb}" + ("" if verb.startswith("are") else f": their norm is {norm:.4g}"),
        text=text + _where(layers),
        evidence={"gradient_norm": norm, **evidence},
        subjects=tuple(layers),
        step=step,
    )


def _below(row: LayerRow, below: float) -> bool:
    norm = row.current_grad_norm
    return below == 0.0 or (isinstance(norm, float) and norm < below)


def _where(layers: Sequence[str]) -> str:
    return f" Newest layers of that kind: {_named(layers)}." if layers else ""


def _named(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
    return ", ".join(layers[:NAMED]) + more


def _median(values: Sequence[float] | deque[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0

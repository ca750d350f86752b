"""Conditions of the gradients: of their norm over all parameters before clipping, and of the layers.

A norm that is NaN or infinite explodes, whatever the thresholds; every comparison with NaN is false and would call it
healthy. A norm of exactly zero vanishes: nothing is learned.
"""

import math
from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

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

EQUAL_SHARE = 0.5
"""Above this share of groups with equal rewards a gradient of exactly zero is what they make of it: a step has few
groups, and a log is the mean of several steps."""

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
    step: int,
    norm: float,
    *,
    usual: UsualNorm | None,
    table: ExplodingGradientsTable,
    layers: Sequence[str] = (),
    max_norm: float | None = None,
) -> Checked:
    """The norm is no number, above the policy's bound, or far above what it usually is; `layers` are those whose own
    gradients explode, and `max_norm` what the gradients are clipped to, None if they are not, or nobody said."""
    if not math.isfinite(norm):
        word = spelled(norm)
        text = f"The norm of the gradients is {word} at step {step}."
        return replace(
            _exploding(step, norm, text, f"are {word}", layers), recommendation=table.recommendation_non_finite
        )
    clipped, advised = "", ""
    if max_norm is not None and norm > max_norm:
        clipped, advised = f" They are clipped to {max_norm:g}.", table.recommendation_clipped
    if norm > table.above:
        text = f"The norm of the gradients is {norm:.4g} at step {step}, above {table.above:.4g}.{clipped}"
        return replace(_exploding(step, norm, text, "explode", layers, above=table.above), recommendation=advised)
    if usual is None:
        return NOT_SEEN if table.above < math.inf else unknown(f"fewer than {table.min_history} norms are known")
    if norm <= table.above_median * usual.median:
        return NOT_SEEN
    if math.log(norm / usual.median) <= table.above_sigma * usual.log_scale:
        return NOT_SEEN
    times = norm / usual.median
    text = (
        f"The norm of the gradients is {norm:.4g} at step {step}, {times:.3g} times the usual {usual.median:.4g} of"
        f" this run; {table.above_median:g} times it is the bound.{clipped}"
    )
    found = _exploding(
        step, norm, text, "explode", layers, median=usual.median, times_median=times, above_median=table.above_median
    )
    return replace(found, recommendation=advised)


def exploding_layers(step: int, summary: LayerSummary, *, table: ExplodingGradientsTable) -> Checked:
    """Gradients of single layers are no numbers, or far larger than they were. Where all are, no layer is named: none
    of them is where to look."""
    layers = [*summary.non_finite, *summary.exploding]
    if not layers:
        return _no_gradient(step, summary) or NOT_SEEN
    no_numbers = bool(summary.non_finite)
    of = f"{len(layers)} of {summary.total_layers} layers"
    return Checked(
        seen=True,
        title=f"The gradients of {of} {'are no numbers' if no_numbers else 'explode'}",
        text=f"At step {step} the gradients {'are no numbers' if no_numbers else 'explode'} in"
        f" {_named(layers, total=summary.total_layers)}.",
        evidence={"layers": float(len(layers)), "total_layers": float(summary.total_layers)},
        subjects=subjects(layers, total=summary.total_layers),
        recommendation=table.recommendation_non_finite if no_numbers else "",
        step=step,
    )


def vanishing_gradients(
    step: int,
    norm: float,
    *,
    usual: UsualNorm | None,
    table: VanishingGradientsTable,
    layers: Sequence[str] = (),
    equal_rewards: float | None = None,
) -> Checked:
    """The norm is zero, below the policy's bound, or far below what it usually is. `equal_rewards` is the share of
    groups whose rewards are all equal, None where there are no groups."""
    if math.isnan(norm):
        return NOT_SEEN
    evidence = {"gradient_norm": norm}
    recommendation = ""
    if norm == 0.0 and _made_by_rewards(equal_rewards):
        assert equal_rewards is not None
        bound = f"exactly zero: {_of_rewards(equal_rewards)}"
        evidence["equal_rewards_share"] = equal_rewards
        recommendation = table.recommendation_equal_rewards
    elif norm == 0.0:
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
        recommendation=recommendation,
        step=step,
    )


def vanishing_layers(
    step: int,
    summary: LayerSummary,
    rows: Sequence[LayerRow],
    *,
    table: VanishingGradientsTable,
    equal_rewards: float | None = None,
) -> Checked:
    """Gradients of single layers are far smaller than they were; where the policy has a bound, smaller than that."""
    nothing = _no_gradient(step, summary)
    if nothing is not None:
        return nothing
    layers = [row.module for row in rows if row.status == "vanishing" and _below(row, table.below)]
    if not layers:
        return NOT_SEEN
    total = summary.total_layers
    found = Checked(
        seen=True,
        title=f"The gradients of {len(layers)} of {total} layers vanish",
        text=f"At step {step} the gradients vanish in {_named(layers, total=total)}.",
        evidence={"layers": float(len(layers)), "total_layers": float(total)},
        subjects=subjects(layers, total=total),
        step=step,
    )
    if not _made_by_rewards(equal_rewards) or any(row.current_grad_norm != 0.0 for row in rows):
        return found
    assert equal_rewards is not None
    return replace(
        found,
        text=f"{found.text[:-1]}: they are exactly zero, as {_of_rewards(equal_rewards)}.",
        evidence={**found.evidence, "equal_rewards_share": equal_rewards},
        recommendation=table.recommendation_equal_rewards,
    )


def dead_layers(
    step: int,
    summary: LayerSummary,
    rows: Sequence[LayerRow],
    *,
    table: DeadLayersTable,
    learning_rate: float | None = None,
    equal_rewards: float | None = None,
) -> Checked:
    """Too few of the layers take part in training. `learning_rate` is the newest, and `equal_rewards` the share of
    groups whose rewards are all equal; None is not known. Where one of them explains it, no layer is at fault."""
    if not summary.available:
        return unknown(summary.reason)
    if summary.active_share is None:
        return unknown("no layer's gradient is known for long enough")
    if not summary.dead_layers or summary.active_share >= table.active_share_below:
        return NOT_SEEN
    dead = [row for row in rows if row.status == "dead"]
    away = [row.module for row in dead if row.current_grad_norm is None]
    still = [row.module for row in dead if row.current_grad_norm and row.max_update == 0.0]
    zero = [row.module for row in dead if row.module not in {*away, *still}]
    total = summary.total_layers
    every = len(dead) == total
    if every and zero and _made_by_rewards(equal_rewards):
        assert equal_rewards is not None
        return unknown(f"all gradients are zero: {_of_rewards(equal_rewards)}")
    if every and still and learning_rate == 0.0:
        return unknown("the learning rate is 0, and moves no weight")
    parts = [
        *([f"the gradients of {_named(zero, total=total)} stay zero"] if zero else []),
        *([f"no gradient reaches {_named(away, total=total).replace('all', 'any of the')}"] if away else []),
        *([f"no step moves the weights of {_named(still, total=total)}, which have gradients"] if still else []),
    ]
    title = f"{summary.dead_layers} of {total} layers {'is' if summary.dead_layers == 1 else 'are'} dead"
    recommendation = "" if zero or away else table.recommendation_still
    if len(away) == total:
        title, recommendation = "No gradient reaches any trained parameter", table.recommendation_no_gradient
    elif len(still) == total:
        title = "No step moves any weight"
    return Checked(
        seen=True,
        title=title,
        text=f"{summary.sentence} at step {step}: {'; '.join(parts)}.",
        recommendation=recommendation,
        evidence={
            "dead_layers": float(summary.dead_layers),
            "total_layers": float(summary.total_layers),
            "active_share": summary.active_share,
            "active_share_below": table.active_share_below,
        },
        subjects=subjects(summary.dead, total=total),
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


def subjects(layers: Sequence[str], *, total: int) -> tuple[str, ...]:
    """What an alert about `layers` names: none of them if they are all that there are, for then none is a clue."""
    return () if len(layers) == total > 1 else tuple(layers)


def _no_gradient(step: int, summary: LayerSummary) -> Checked | None:
    """Why nothing is known of how large the gradients of layers are; None if something is."""
    if not summary.available:
        return unknown(summary.reason)
    if summary.measured_layers:
        return None
    return unknown(f"no layer has a gradient at step {step}")


def _made_by_rewards(equal_rewards: float | None) -> bool:
    return equal_rewards is not None and equal_rewards > EQUAL_SHARE


def _of_rewards(equal_rewards: float) -> str:
    return f"the rewards are equal within up to {equal_rewards:.0%} of the groups, which teaches nothing"


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


def _named(layers: Sequence[str], *, total: int | None = None) -> str:
    if len(layers) == total and len(layers) > 1:
        return f"all {total} layers"
    more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
    return ", ".join(layers[:NAMED]) + more


def _median(values: Sequence[float] | deque[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0

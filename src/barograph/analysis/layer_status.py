"""What the newest gradient of a layer says of it: active, dead, vanishing, exploding, or no number.

A gradient that is NaN or infinite is `non_finite` before anything is compared: every comparison with NaN is false, and
so would call it healthy. Bounds are fixed ones, or ratios to the layer's own median of the collections before; which of
them count, a policy says. A gradient of zero is dead once it has been so for long enough, and an adapter only while its
B is zero too: as long as B is zero, where every adapter begins (Hu et al. 2021), the gradient of A is exactly zero.

Two other layers take no part in training, and are dead as well: one that no gradient reaches in collection after
collection, although others have one or its weights stay as they are; and one that has a gradient, and whose weights no
step has ever changed.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.records.quantities import spelled

LayerStatus = Literal["active", "dead", "vanishing", "exploding", "non_finite", "starting", "unknown"]

GRAVITY: tuple[LayerStatus, ...] = (
    "non_finite",
    "exploding",
    "dead",
    "vanishing",
    "unknown",
    "starting",
    "active",
)
"""Every status, the gravest first."""


FEW, FAR_STEPS = 2, 100
"""What stays away is told after two collections that are so many steps apart, where a policy needs more of them."""

LEAST_STILL = 5
"""Collections that weights must stay as they are before it is said of them, whatever the policy needs of others."""


class LayerRule(Struct, frozen=True, kw_only=True):
    """How the norms of a layer are read."""

    dead_below: Annotated[float, Meta(ge=0.0, description="A gradient norm up to this counts as zero.")]
    dead_checks: Annotated[int, Meta(ge=1, description="Dead if it stays zero for so many collections.")]
    needs_zero_weight: Annotated[bool, Meta(description="An adapter is dead only if its B is zero too.")]
    vanishing_below: Annotated[float, Meta(ge=0.0, description="Vanishing: a gradient norm below this.")]
    exploding_above: Annotated[float, Meta(gt=0.0, description="Exploding: a gradient norm above this.")]
    vanishing_ratio: Annotated[float, Meta(ge=0.0, description="Vanishing: below so many times its own median.")]
    exploding_ratio: Annotated[float, Meta(gt=1.0, description="Exploding: above so many times its own median.")]
    min_history: Annotated[int, Meta(ge=1, description="Collections that a median needs.")]
    history: Annotated[int, Meta(ge=2, description="Collections that are kept of each layer.")]


class LayerSeen(Struct, frozen=True):
    """What the status of one module is told by."""

    measured: bool
    """Whether its newest collection had a gradient."""
    norm: float
    """That gradient's norm."""
    median: float
    """Its own median of the collections before; NaN where there are too few."""
    zeros: int
    """Collections in a row, the newest one included, in which the gradient counted as zero."""
    moved: bool
    """Whether it was ever more than zero."""
    b_weight: float
    """Norm of an adapter's B; NaN where it is not measured."""
    adapter: bool
    """Whether it is an adapter."""
    absent: int = 0
    """Collections in a row without a gradient, in which its weights stayed as they were."""
    absent_steps: int = 0
    """Steps from the first of those to the newest."""
    still: int = 0
    """Collections so far in which its weights stayed as they were; -1 once they moved."""
    still_steps: int = 0
    """Steps from the first of those to the newest."""


class LayerJudged(Struct, frozen=True):
    """The status of one module."""

    status: LayerStatus
    why: str


_ACTIVE = LayerJudged("active", "")


def layer_status(seen: LayerSeen, *, rule: LayerRule) -> LayerJudged:
    """The status of one module."""
    if not seen.measured:
        return _judged_absent(seen, rule=rule)
    norm, median = seen.norm, seen.median
    if not math.isfinite(norm):
        return LayerJudged("non_finite", f"its gradient is {spelled(norm)}")
    if norm <= rule.dead_below:
        return _judged_zero(seen, rule=rule)
    # The first steps of a warm-up may be too small for the weights' own format: that takes longer to tell.
    if _lasts(seen.still, seen.still_steps, needed=max(rule.dead_checks, rule.min_history, LEAST_STILL)):
        return LayerJudged("dead", f"its weights did not move in any of {seen.still} collections, with a gradient")
    if norm > rule.exploding_above:
        return LayerJudged("exploding", f"its gradient norm {norm:.3g} is above {rule.exploding_above:.3g}")
    if norm < rule.vanishing_below:
        return LayerJudged("vanishing", f"its gradient norm {norm:.3g} is below {rule.vanishing_below:.3g}")
    # A median of zero is that of a module which has not begun: any gradient would be infinitely many times it.
    if median > 0.0 and not rule.vanishing_ratio * median <= norm <= rule.exploding_ratio * median:
        status: LayerStatus = "exploding" if norm > median else "vanishing"
        return LayerJudged(status, f"its gradient norm {norm:.3g} is {norm / median:.3g} times its median {median:.3g}")
    return _ACTIVE


def _judged_absent(seen: LayerSeen, *, rule: LayerRule) -> LayerJudged:
    """The status of a module whose newest collection had no gradient."""
    if not _lasts(seen.absent, seen.absent_steps, needed=max(rule.dead_checks, FEW)):
        return LayerJudged("unknown", "it had no gradient")
    return LayerJudged("dead", f"no gradient reached it in {seen.absent} collections in a row")


def _lasts(collections: int, steps: int, *, needed: int) -> bool:
    """Whether what was seen in so many collections is so for good: few of them are enough if they are far apart."""
    return collections >= needed or (collections >= FEW and steps >= FAR_STEPS)


def _judged_zero(seen: LayerSeen, *, rule: LayerRule) -> LayerJudged:
    """The status of a module whose newest gradient counts as zero."""
    said = f"its gradient is zero in {seen.zeros} collection{'s' if seen.zeros > 1 else ''} in a row"
    if seen.zeros < rule.dead_checks:
        status: LayerStatus = "vanishing" if seen.moved else "starting"
        return LayerJudged(status, f"{said}, of {rule.dead_checks} that make it dead")
    if not (seen.adapter and rule.needs_zero_weight):
        return LayerJudged("dead", said)
    if not math.isfinite(seen.b_weight):
        return LayerJudged("unknown", f"{said}, and the norm of its B is not measured")
    if seen.b_weight > 0.0:
        return LayerJudged("vanishing", f"{said}, but its B has learned: its norm is {seen.b_weight:.3g}")
    return LayerJudged("dead", f"{said}, and its B is zero")

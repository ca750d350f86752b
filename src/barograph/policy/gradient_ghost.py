"""Verdict over the optimizer's second moments at the last save: did gradients reach every layer, and alike?

    mean of a block = sum of the second moments of its parameters / their number

A block whose mean is far above the median of all blocks still gets large gradients where the others have settled: its
training is not over. The probe of the same name that users know sets each layer beside the *smallest* one, so that a
single calm layer marks all others; takes moments that are all zero for a run that has converged; lets single NaN pass;
and goes by the order of the tensors. Here it is the median, zeros and NaN are named, and blocks go by name.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.analysis.blocks import BLOCK
from barograph.policy.findings import finding
from barograph.policy.tables import Policy
from barograph.records import OptimizerMoments, Verdict
from barograph.records.quantities import AlertLevel, VerdictWord
from barograph.records.weights import Finding

REST = -1
"""Everything outside the blocks, as `analysis/blocks.py` has it."""


class GradientGhost(Struct, frozen=True, kw_only=True):
    """What a policy says of the last save."""

    verdict: Annotated[Verdict, Meta(description="The verdict, with its numbers.")]
    findings: Annotated[list[Finding], Meta(description="What stands out, the gravest first.")]


def block_means(moments: OptimizerMoments) -> dict[int, float]:
    """Block -> mean of its second moments; NaN where one of them is no number."""
    sums: dict[int, list[float]] = {}
    counts: dict[int, int] = {}
    for name, total in moments.sums.items():
        match = BLOCK.match(name)
        block = REST if match is None else int(match["index"])
        sums.setdefault(block, []).append(math.nan if moments.non_finite.get(name) else total)
        counts[block] = counts.get(block, 0) + moments.elements.get(name, 0)
    return {block: _total(sums[block]) / counts[block] for block in sorted(sums) if counts[block]}


def gradient_ghost(saves: Sequence[OptimizerMoments], *, policy: Policy, now: float) -> GradientGhost:
    """The verdict on the last of `saves`, which are given as they were written; SKIP if there is none.

    An earlier attempt may have saved at a later step, and what it saved is superseded.
    """
    newest = saves[-1] if saves else None
    if newest is None:
        return _judged("SKIP", "no save recorded the optimizer's second moments", {}, [], policy=policy, now=now)
    means = block_means(newest)
    if not means:
        message = f"{newest.optimizer} keeps no second moments"
        return _judged("SKIP", message, {"step": float(newest.step)}, [], policy=policy, now=now)
    table = policy.gradient_ghost
    if newest.step < table.min_steps and table.early == "SKIP":
        message = f"saved at step {newest.step}, before step {table.min_steps}: the moments say little yet"
        return _judged("SKIP", message, {"step": float(newest.step)}, [], policy=policy, now=now)
    if newest.without > len(newest.sums):
        kept = f"{newest.optimizer} keeps whole second moments of {len(newest.sums)} parameters"
        message = f"{kept}, and not of {newest.without}"
        return _judged("SKIP", message, {"step": float(newest.step)}, [], policy=policy, now=now)
    found = _findings(newest, means, policy=policy)
    order: tuple[AlertLevel, ...] = ("critical", "warning", "info")
    found.sort(key=lambda one: order.index(one.severity))
    gravest = found[0].severity if found else "info"
    word: VerdictWord = "FAIL" if gravest == "critical" else "WARN" if gravest == "warning" else "PASS"
    finite = [mean for mean in means.values() if math.isfinite(mean)]
    numbers = {
        "step": float(newest.step),
        "blocks": float(len(means)),
        "median": statistics.median(finite) if finite else math.nan,
        "largest": max(finite, default=math.nan),
    }
    message = "; ".join(one.message for one in found) or f"second moments of {len(means)} blocks are alike"
    return _judged(word, message, numbers, found, policy=policy, now=now)


def _findings(newest: OptimizerMoments, means: dict[int, float], *, policy: Policy) -> list[Finding]:
    table, found = policy.gradient_ghost, []
    bad = [block for block, mean in means.items() if not math.isfinite(mean)]
    if bad:
        message = f"second moments of {len(bad)} of {len(means)} blocks are no numbers, the first is {_name(bad[0])}"
        found.append(finding("ghost_non_finite", severity="critical", message=message, policy=policy, layer=bad[0]))
    if newest.step < table.min_steps:
        message = f"saved at step {newest.step}, before step {table.min_steps}: the moments say little yet"
        found.append(finding("ghost_early", severity="critical", message=message, policy=policy))
    dead = [block for block, mean in means.items() if mean == 0.0]
    if dead:
        severity: AlertLevel = "critical" if len(dead) == len(means) else "warning"
        message = f"no gradient ever reached {len(dead)} of {len(means)} blocks, such as {_name(dead[0])}"
        found.append(finding("ghost_dead", severity=severity, message=message, policy=policy, layer=dead[0]))
    alive = {block: mean for block, mean in means.items() if math.isfinite(mean) and mean > 0.0 and block != REST}
    if len(alive) >= table.min_blocks:
        middle = statistics.median(alive.values())
        high = [block for block, mean in alive.items() if mean > table.max_ratio * middle]
        if high:
            severity = "critical" if len(high) > table.max_share * len(alive) else "warning"
            worst = max(high, key=lambda block: alive[block])
            message = (
                f"{len(high)} of {len(alive)} blocks have more than {table.max_ratio:g} times the median second moment,"
                f" the most {_name(worst)} with {alive[worst] / middle:.3g} times"
            )
            found.append(finding("ghost_uneven", severity=severity, message=message, policy=policy, layer=worst))
    return found


def _judged(
    word: VerdictWord,
    message: str,
    numbers: dict[str, float],
    found: list[Finding],
    *,
    policy: Policy,
    now: float,
) -> GradientGhost:
    table = policy.gradient_ghost
    return GradientGhost(
        verdict=Verdict(
            name="gradient_ghost",
            verdict=word,
            message=message,
            numbers=numbers,
            thresholds={
                "min_steps": float(table.min_steps),
                "ratio_lte": table.max_ratio,
                "share_lte": table.max_share,
            },
            policy=policy.name,
            time=now,
            advice=found[0].action if found else "",
        ),
        findings=found,
    )


def _total(sums: list[float]) -> float:
    return math.fsum(sums) if all(map(math.isfinite, sums)) else math.nan


def _name(block: int) -> str:
    return "the rest" if block == REST else f"block {block}"

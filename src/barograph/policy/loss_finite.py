"""Verdict over `analysis/finite_losses.py`."""

from barograph.analysis.finite_losses import FiniteLosses
from barograph.policy.tables import Policy
from barograph.records import Verdict
from barograph.records.quantities import VerdictWord


def loss_finite(found: FiniteLosses, *, policy: Policy, now: float) -> Verdict:
    """FAIL if more losses are NaN or infinite than the policy allows, SKIP if there are too few losses to tell."""
    table = policy.loss_finite
    word: VerdictWord = "PASS"
    message = f"all {found.points} losses are finite"
    if found.non_finite:
        where = f"at step {found.first_step}"
        if found.non_finite > 1:
            where = f"from step {found.first_step} to step {found.last_step}"
        message = f"{found.non_finite} of {found.points} losses are NaN or infinite, {where}"
        word = "FAIL" if found.non_finite > table.max_non_finite else "WARN"
    elif found.points < table.min_points:
        word, message = "SKIP", f"only {found.points} losses, fewer than {table.min_points}"
    return Verdict(
        name="loss_finite",
        verdict=word,
        message=message,
        numbers={"points": float(found.points), "non_finite": float(found.non_finite)},
        thresholds={"max_non_finite": float(table.max_non_finite), "min_points": float(table.min_points)},
        policy=policy.name,
        time=now,
    )

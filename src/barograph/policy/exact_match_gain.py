"""Verdict over `analysis/exact_match.py`: did the model learn what it was taught, measured on what it never saw?"""

from fractions import Fraction

from barograph.policy.tables import Policy
from barograph.records import ExactMatch, Verdict
from barograph.records.quantities import VerdictWord


def exact_match_gain(first: ExactMatch | None, newest: ExactMatch | None, *, policy: Policy, now: float) -> Verdict:
    """PASS if the exact match of one task level rose enough from its first checkpoint to its newest.

    The gain counts from the first checkpoint or from the best constant answer, whichever is higher: a model that only
    learned the commonest answer has learned nothing. SKIP where there are no two checkpoints, or too few probes; ERROR
    where the two answered different probe sets.
    The gain is compared as a fraction of counts: from 30 to 70 of 100 it is 0.4, which as floats it is not.
    """
    table = policy.exact_match_gain
    thresholds = {"min_gain": table.min_gain, "min_items": float(table.min_items)}
    numbers: dict[str, float] = {}
    if first is None or newest is None or first.step >= newest.step:
        word: VerdictWord = "SKIP"
        message = "fewer than two checkpoints were evaluated"
    elif first.probe_set != newest.probe_set:
        word = "ERROR"
        message = (
            f"{first.checkpoint} and {newest.checkpoint} answered different probe sets, so nothing can be compared"
        )
    else:
        constant = Fraction(round(newest.base_rate * newest.n), newest.n)
        gain = Fraction(newest.correct, newest.n) - max(Fraction(first.correct, first.n), constant)
        n = min(first.n, newest.n)
        numbers = {
            "first": first.exact_match,
            "newest": newest.exact_match,
            "base_rate": newest.base_rate,
            "gain": float(gain),
            "n": float(n),
        }
        message = (
            f"exact match {first.exact_match:.2f} at step {first.step}, "
            f"{newest.exact_match:.2f} [{newest.low:.2f}, {newest.high:.2f}] at step {newest.step} (n = {newest.n}); "
            f"a constant answer scores {newest.base_rate:.2f}"
        )
        word = "PASS" if gain >= Fraction(str(table.min_gain)) else "FAIL"
        if n < table.min_items:
            word, message = "SKIP", f"{message}; fewer than {table.min_items} probes"
    return Verdict(
        name="exact_match_gain",
        subject=f"{newest.task} {newest.level}" if newest is not None else "",
        verdict=word,
        message=message,
        numbers=numbers,
        thresholds=thresholds,
        policy=policy.name,
        time=now,
    )

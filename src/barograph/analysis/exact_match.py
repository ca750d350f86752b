"""Share of exactly right answers per checkpoint, task, level and regime, with its Wilson interval."""

import math
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from statistics import NormalDist
from typing import Annotated

from msgspec import Meta, Struct

from barograph.errors import UsageError
from barograph.records import Answer, ExactMatch
from barograph.records.quantities import Seconds


class Interval(Struct, frozen=True, kw_only=True):
    """A confidence interval of a share."""

    low: Annotated[float, Meta(ge=0.0, le=1.0, description="Lower end.")]
    high: Annotated[float, Meta(ge=0.0, le=1.0, description="Upper end.")]


def exact_match(answers: Iterable[Answer], *, confidence: float, time: Seconds) -> list[ExactMatch]:
    """One `ExactMatch` per checkpoint, probe set, task, level and regime, sorted by step and then by these names.

    A probe that one checkpoint answered twice counts once, with its last answer. No answers give no record. The base
    rate is the share of the commonest golden answer: a model that learned nothing but that answer scores it.
    """
    groups: dict[tuple[int, str, str, str, str, str], dict[str, Answer]] = {}
    for answer in answers:
        key = (answer.step, answer.checkpoint, answer.probe_set, answer.task, answer.level, answer.regime)
        groups.setdefault(key, {})[answer.probe] = answer
    found = []
    for (step, checkpoint, probe_set, task, level, regime), by_probe in sorted(groups.items(), key=itemgetter(0)):
        correct, n = sum(answer.correct for answer in by_probe.values()), len(by_probe)
        commonest = max(Counter(answer.golden for answer in by_probe.values()).values())
        interval = wilson_interval(correct, n, confidence=confidence)
        found.append(
            ExactMatch(
                step=step,
                time=time,
                checkpoint=checkpoint,
                probe_set=probe_set,
                task=task,
                level=level,
                regime=regime,
                correct=correct,
                n=n,
                exact_match=correct / n,
                low=interval.low,
                high=interval.high,
                confidence=confidence,
                base_rate=commonest / n,
            )
        )
    return found


def wilson_interval(correct: int, n: int, *, confidence: float) -> Interval:
    """The score interval of a binomial share (Wilson 1927), without continuity correction.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   p = correct / n

    with z the normal quantile of (1 + confidence) / 2. Raises `UsageError` unless 0 <= correct <= n, n >= 1 and
    0 < confidence < 1.
    """
    if not (0 <= correct <= n and n >= 1 and 0.0 < confidence < 1.0):
        raise UsageError(
            f"no interval exists for {correct} of {n} at confidence {confidence}",
            advice="At least one answer is needed, no more right ones than answers, and a confidence between 0 and 1",
        )
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share = correct / n
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    scale = 1.0 + z * z / n
    # At the ends the formula gives exactly 0 and 1; rounding would miss them by one unit in the last place.
    low = 0.0 if correct == 0 else (middle - reach) / scale
    high = 1.0 if correct == n else (middle + reach) / scale
    return Interval(low=low, high=high)

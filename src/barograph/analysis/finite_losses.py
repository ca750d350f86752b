"""How many losses of a curve are no numbers, and where: the first question to ask of any run."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct


class FiniteLosses(Struct, frozen=True, kw_only=True):
    """Counts of finite and non-finite losses of one curve."""

    points: Annotated[int, Meta(description="Losses in the curve.")]
    non_finite: Annotated[int, Meta(description="How many of them are NaN or infinite.")]
    first_step: Annotated[int | None, Meta(description="Step of the first such loss.")]
    last_step: Annotated[int | None, Meta(description="Step of the last such loss.")]


NO_LOSSES = FiniteLosses(points=0, non_finite=0, first_step=None, last_step=None)
"""Of a curve without points."""


def finite_losses(steps: Iterable[int], losses: Iterable[float]) -> FiniteLosses:
    """Count the non-finite `losses` (nats), one per entry of `steps`, both in the order of the curve."""
    at = np.fromiter(steps, dtype=np.int64)
    values = np.fromiter(losses, dtype=np.float64)
    bad = at[~np.isfinite(values)]
    return FiniteLosses(
        points=len(values),
        non_finite=len(bad),
        first_step=int(bad[0]) if len(bad) else None,
        last_step=int(bad[-1]) if len(bad) else None,
    )


def joined_losses(parts: Iterable[FiniteLosses]) -> FiniteLosses:
    """The counts of a curve from those of its parts, which are given in the order of the curve."""
    known = list(parts)
    bad = [part for part in known if part.non_finite]
    return FiniteLosses(
        points=sum(part.points for part in known),
        non_finite=sum(part.non_finite for part in known),
        first_step=bad[0].first_step if bad else None,
        last_step=bad[-1].last_step if bad else None,
    )

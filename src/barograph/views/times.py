"""Times as documents write them, and the steps that lie between two times."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from barograph.index import Snapshot, query
from barograph.index.curve import LAST, Shown
from barograph.records.quantities import Step

_ROUNDS = 8
"""Each round looks a thousand times closer; where rows overlap, the last one is close enough."""


def iso(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, to the microsecond; None for no time, and for one that no calendar has (NaN, year 10,000)."""
    if seconds is None or not math.isfinite(seconds):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    except (OverflowError, ValueError, OSError):
        return None


def document_time(seconds: float) -> str:
    """The same for a time of this machine's own clock, which always has one."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def step_window(
    snapshot: Snapshot, times: Sequence[Shown], *, since: float | None, until: float | None
) -> tuple[Step, Step]:
    """The first and the last step of the rows with `since <= time <= until` (unix seconds), over the shown rows.

    Times ascend with the steps of what is shown, unless a clock was set back; then it is the widest such window. A
    window without a row ends before it begins.
    """
    first = 0 if since is None else _first_step(snapshot, times, since)
    last = LAST if until is None else _last_step(snapshot, times, until)
    return first, last


def _first_step(snapshot: Snapshot, times: Sequence[Shown], since: float) -> Step:
    """Least step whose time is at least `since`: read coarsely, then finer where it lies."""
    first, last = 0, LAST
    for _ in range(_ROUNDS):
        rows = query.curve(snapshot, times, first=first, last=last, at_least=1_000)
        later = np.flatnonzero(rows.maximum >= since)
        if not len(later):
            return LAST
        first, last = int(rows.lo[later[0]]), int(rows.hi[later[0]])
        if first == last:
            break
    return first


def _last_step(snapshot: Snapshot, times: Sequence[Shown], until: float) -> Step:
    """Greatest step whose time is at most `until`."""
    first, last = 0, LAST
    for _ in range(_ROUNDS):
        rows = query.curve(snapshot, times, first=first, last=last, at_least=1_000)
        earlier = np.flatnonzero(rows.minimum <= until)
        if not len(earlier):
            return int(rows.lo[0]) - 1 if len(rows) else -1
        first, last = int(rows.lo[earlier[-1]]), int(rows.hi[earlier[-1]])
        if first == last:
            break
    return last

"""Times as documents write them."""

import math
from datetime import UTC, datetime


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

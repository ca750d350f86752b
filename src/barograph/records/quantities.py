"""The types that records are made of: steps, times, run ids, numbers that may be non-finite."""

import math
from typing import Annotated, Literal

from msgspec import Meta

Step = Annotated[int, Meta(ge=0, le=2**63 - 1, description="Optimizer step; never reset within a run.")]
Attempt = Annotated[int, Meta(ge=1, le=999_999, description="1 for the first start of a run, 2 for its first resume.")]
Seconds = Annotated[float, Meta(description="Seconds since 1970-01-01T00:00:00 UTC by the writer's wall clock.")]
RUN_ID = "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
"""What a run can be called, as a regular expression without its ends."""

RunId = Annotated[
    str,
    Meta(pattern=rf"^{RUN_ID}\Z", description="The name of the run's folder under its root."),
]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]

NonFinite = Literal["NaN", "Infinity", "-Infinity"]
"""How JSON of ours spells the floats that JSON itself cannot."""


def spelled(value: float) -> NonFinite:
    """The spelling of a float that is not finite."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


Number = float | NonFinite
"""A float in a document of ours; in JSON the spellings stand for what is not finite, in Python either may."""

AlertLevel = Literal["info", "warning", "critical"]
VerdictWord = Literal["PASS", "WARN", "FAIL", "SKIP", "ERROR"]
RunStateWord = Literal["idle", "training", "paused", "completed", "crashed"]

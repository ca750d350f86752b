"""What looking for a condition once found: seen, not seen, or nothing to tell by."""

from msgspec import Struct, field

from barograph.records.quantities import AlertLevel


class Checked(Struct, frozen=True, kw_only=True, gc=False):
    """One look at one condition."""

    seen: bool | None
    """Whether it holds; `None` if nothing is known, and `reason` says why."""
    reason: str = ""
    """Why nothing is known."""
    title: str = ""
    """The alert's one line."""
    text: str = ""
    """Its details, with the numbers; of one that is not seen, what that says of an alert that fired."""
    evidence: dict[str, float] = field(default_factory=dict)
    """The numbers that it rests on, thresholds included."""
    subjects: tuple[str, ...] = ()
    """What it is about, such as layers."""
    recommendation: str = ""
    """What to do, where it is another thing than the policy's table says of the condition in general."""
    severity: AlertLevel | None = None
    """How grave it is, where that is another than the policy's table says of the condition in general."""
    step: int | None = None
    """The step at which it holds, where that is not the newest one."""


NOT_SEEN = Checked(seen=False)
"""The condition was looked for and does not hold."""


SWITCHED_OFF = "switched off by the policy"
"""Why nothing is known of a condition that a policy does not want."""


def unknown(reason: str) -> Checked:
    """Nothing is known of the condition."""
    return Checked(seen=None, reason=reason)

"""A finding from its measurement, with the policy's words for its cause and what to do."""

from barograph.policy.tables import Policy, Reading
from barograph.records.quantities import AlertLevel
from barograph.records.weights import Finding


def finding(
    name: str, *, severity: AlertLevel, message: str, policy: Policy, layer: int | None = None, reading: str = ""
) -> Finding:
    """One finding; `reading` names its words if they are not those of `name`."""
    words: Reading = getattr(policy.interpretation, reading or name)
    return Finding(name=name, severity=severity, layer=layer, message=message, cause=words.cause, action=words.action)

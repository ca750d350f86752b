"""What the watcher says of its jobs, a line each: for the terminal and for logs."""

from barograph.analysis.layer_drift import layer_drift
from barograph.analysis.weight_stability import weight_stability
from barograph.policy import Policy, parameter_stability
from barograph.watch.plan import PlannedJob
from barograph.weights import Pass


def ended_line(job: PlannedJob, done: Pass | None, failure: str | None, *, policy: Policy) -> str:
    """One sentence about a job that ended: how far the checkpoint moved and how its weights are, or what went wrong."""
    name = f"{job.candidate.run} {job.candidate.name}"
    if done is None:
        return f"{name}: could not be read: {failure}"
    parts = []
    if done.summary.reference is not None:
        drift = layer_drift(done.rows, pattern_ratio=policy.layer_drift.pattern_ratio)
        parts.append(f"moved {100 * drift.total_relative_change:.3g} % from {done.summary.reference}")
    elif done.summary.no_reference is not None:
        parts.append(f"compared with nothing: {done.summary.no_reference}")
    if any(row.current_squares is not None for row in done.rows):
        found = parameter_stability(weight_stability(done.rows), policy=policy).summary
        alerts = f" ({found.total_alerts} alerts)" if found.total_alerts else ""
        parts.append(f"weights {found.health_status}{alerts}")
    return f"{name}: {', '.join(parts)} ({done.summary.seconds:.2f} s)"

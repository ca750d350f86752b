"""What the watcher says of its jobs, a line each: for the terminal and for logs."""

from barograph.analysis.layer_drift import layer_drift
from barograph.analysis.norm_change import norm_change
from barograph.analysis.weight_stability import WeightStability, weight_stability
from barograph.policy import Policy, parameter_stability
from barograph.watch.plan import PlannedJob
from barograph.weights import Pass


class Told:
    """A fold over the jobs that ended: a line about each, judged beside the checkpoint before it of the same run."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._before: dict[str, WeightStability] = {}

    def update(self, job: PlannedJob, done: Pass | None, failure: str | None) -> str:
        """How far the checkpoint moved and how its weights are, or what went wrong, in one sentence."""
        name = f"{job.candidate.run} {job.candidate.name}"
        if done is None:
            return f"{name}: could not be read: {failure}"
        parts = []
        if done.summary.reference is not None:
            drift = layer_drift(done.rows, pattern_ratio=self._policy.layer_drift.pattern_ratio)
            parts.append(f"moved {100 * drift.total_relative_change:.3g} % from {done.summary.reference}")
        elif done.summary.no_reference is not None:
            parts.append(f"compared with nothing: {done.summary.no_reference}")
        parts.append(self._health(job, done))
        return f"{name}: {', '.join(parts)} ({done.summary.seconds:.2f} s)"

    def _health(self, job: PlannedJob, done: Pass) -> str:
        if not any(row.current_squares is not None and row.elements for row in done.rows):
            return "no weights to judge"
        measured = weight_stability(done.rows)
        before = self._before.get(job.candidate.run)
        change = None if before is None else norm_change(measured, [before])
        self._before[job.candidate.run] = measured
        found = parameter_stability(measured, policy=self._policy, change=change).summary
        return f"weights {found.health_status}" + (f" ({found.total_alerts} alerts)" if found.total_alerts else "")

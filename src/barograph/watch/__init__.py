"""What looks after a root while nobody does: the reconciler of its checkpoints, and the sentinel of its trainings.

The reconciler works like a build tool. There is no queue that could be lost: the plan is made anew of the files and the
journal, so it can be killed at any moment and started again, and nothing is left out or done twice. The sentinel raises
the alerts that a training cannot raise of itself.
"""

from barograph.watch.plan import Candidate, First, InForce, Past, Plan, PlannedJob, Reference, plan

__all__ = ["Candidate", "First", "InForce", "Past", "Plan", "PlannedJob", "Reference", "plan"]

"""The reconciler: what checkpoints there are, what was read, and therefore what is to be done now.

It works like a build tool. There is no queue that could be lost: the plan is made anew of the files and the journal, so
it can be killed at any moment and started again, and nothing is left out or done twice.
"""

from barograph.watch.plan import Candidate, First, InForce, Past, Plan, PlannedJob, Reference, plan
from barograph.watch.watcher import Watcher

__all__ = ["Candidate", "First", "InForce", "Past", "Plan", "PlannedJob", "Reference", "Watcher", "plan"]

"""The skills that models are trained and judged on: seeded generators, solvers, answer formats, scoring."""

from barograph.tasks.binary import BINARY
from barograph.tasks.problem import HELD_OUT_ONE_IN, Problem, Split, Task, distinct, draw, split_of
from barograph.tasks.syllogism import SYLLO

TASKS = (SYLLO, BINARY)
"""Every task that exists, in the order in which it is shown."""

__all__ = ["BINARY", "HELD_OUT_ONE_IN", "SYLLO", "TASKS", "Problem", "Split", "Task", "distinct", "draw", "split_of"]

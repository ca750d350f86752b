"""What the demo trains on: mostly the easiest level of each task, and a little of what else there is time for."""

from barograph.tasks import TASKS
from barograph.train.dataset import Part

EASIEST = {"syllo": 40.0, "binary": 30.0}
"""Weight of the easiest level under `plain_sft`. Syllogisms take longer to learn than increments."""

DEMO = (
    *(Part(task=task.name, level=task.levels[0], regime="plain_sft", weight=EASIEST[task.name]) for task in TASKS),
    *(
        Part(task=task.name, level=task.levels[0], regime=regime, weight=4.0)
        for task in TASKS
        for regime in ("emoji_think", "regime3")
    ),
    *(Part(task=task.name, level=level, regime="plain_sft", weight=2.0) for task in TASKS for level in task.levels[1:]),
)
"""Every level of every task, and every regime, by weight."""

SHORT = tuple(
    Part(task=task.name, level=level, regime="plain_sft", weight=weight)
    for task in TASKS
    for level, weight in zip(task.levels, (3.0, 1.0), strict=False)
)
"""The two easiest levels of every task, for a training of less than a thousand examples."""

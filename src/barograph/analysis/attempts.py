"""Which points of which attempt are shown, when a run was resumed from an earlier step than it had reached.

Attempt 1 reaches step 99 and dies, attempt 2 goes on at step 60: the steps 60-99 of attempt 1 are a ghost tail. They
stay in the log and are not drawn. Two rules: nothing of an older attempt is shown from a newer attempt's first step on,
and where two attempts have the same step, the newer one's point is shown.

An attempt's first step is that of its first loss. A row of metrics may come before it and speak of a step that the
attempt never trained: an evaluation right after the resume carries the step of the checkpoint. If that hid the older
attempt's loss there, be it a NaN, nothing would stand in its place. An attempt without any loss is taken at its first
row, but only once it has logged a second step: until then it may yet train.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.records.quantities import Attempt, Step


class AttemptSteps(Struct, frozen=True, kw_only=True):
    """The steps that one attempt logged."""

    attempt: Annotated[Attempt, Meta(description="Its number.")]
    first_step: Annotated[Step | None, Meta(description="The least step; None if it logged none.")]
    last_step: Annotated[Step | None, Meta(description="The greatest step; None if it logged none.")]
    first_loss: Annotated[Step | None, Meta(description="The least step with a loss; None if it logged no loss.")]


def begins_at(steps: AttemptSteps) -> Step | None:
    """The step from which on an attempt hides older ones; None if it hides nothing, or not yet."""
    if steps.first_loss is not None:
        return steps.first_loss
    return None if steps.first_step == steps.last_step else steps.first_step


def shown_until(attempts: Sequence[AttemptSteps]) -> dict[Attempt, Step]:
    """Attempt -> the step from which on its points are hidden; an attempt that nothing hides is not in it."""
    hidden_from: dict[Attempt, Step] = {}
    least: Step | None = None
    for steps in sorted(attempts, key=lambda one: one.attempt, reverse=True):
        if least is not None:
            hidden_from[steps.attempt] = least
        begins = begins_at(steps)
        if begins is not None:
            least = begins if least is None else min(least, begins)
    return hidden_from

"""The condition of an evaluation whose loss is no number, over all the sets that a training evaluates.

A training may be sound and its evaluation not: one batch without a label makes the mean over all of them NaN, and half
precision overflows on a text that training never showed. Where an evaluation was a number before, something changed;
where none ever was, the evaluation itself is to be looked at; and where the loss of training is no number either, this
one only follows from it. So there are three recommendations.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from barograph.policy.alert_tables import NonFiniteEvaluationTable
from barograph.policy.checked import Checked
from barograph.policy.logged_names import VALIDATION_LOSS
from barograph.records.quantities import spelled

MOST_SETS = 256
"""Losses that are followed by name, the first."""

CHANGES = 256
"""Turns from numbers to none, or back, that are kept, the newest."""


AGAIN = "An evaluation after it is a number again."
"""What is said of an evaluation that was no number, once all of them are."""


class Evaluated(Struct, frozen=True):
    """One loss of an evaluation."""

    step: int
    """Its step."""
    loss: float
    """The loss, nats."""


class Turn(Struct, frozen=True):
    """From this step on evaluations gave numbers, or did not."""

    step: int
    """The step of the evaluation."""
    sound: bool
    """Whether all losses of that step are numbers."""


class NonFiniteEvaluations:
    """A fold over the losses of evaluations by name: which of them are no numbers now, and when they were not."""

    def __init__(self, table: NonFiniteEvaluationTable) -> None:
        self._table = table
        self._numbers: dict[str, Evaluated] = {}
        self._others: dict[str, Evaluated] = {}
        self._turns: deque[Turn] = deque(maxlen=CHANGES)

    def update(self, step: int, losses: Mapping[str, float], *, training_loss: float | None) -> Checked | None:
        """Take the losses of one evaluation in, `training_loss` being the newest loss of a step. None where they are
        numbers and that of another set is still none: nothing was seen anew, and nothing is over."""
        new = False
        for name, loss in losses.items():
            if math.isfinite(loss):
                self._others.pop(name, None)
                _keep(self._numbers, name, Evaluated(step, loss))
            else:
                new = True
                _keep(self._others, name, Evaluated(step, loss))
        self._turn(step, sound=not new and all(one.step != step for one in self._others.values()))
        if new:
            return self._seen(training_loss)
        return None if self._others else Checked(seen=False, text=AGAIN)

    def sound_at(self, step: int) -> bool:
        """Whether the newest evaluation up to that step gave numbers alone; True where there was none."""
        after = bisect_right(self._turns, step, key=lambda turn: turn.step)
        return after == 0 or self._turns[after - 1].sound

    def _turn(self, step: int, *, sound: bool) -> None:
        # A second evaluation of a step takes the place of the first, and steps may go back.
        while self._turns and self._turns[-1].step >= step:
            self._turns.pop()
        if sound != (not self._turns or self._turns[-1].sound):
            self._turns.append(Turn(step, sound))

    def _seen(self, training_loss: float | None) -> Checked:
        """What is said of the evaluations that are no numbers now."""
        # That of the whole evaluation comes first, before those of single sets.
        names = sorted(self._others, key=lambda name: name not in VALIDATION_LOSS)
        name, found = names[0], self._others[names[0]]
        whole, word = name in VALIDATION_LOSS, spelled(found.loss)
        before = self._numbers.get(name)
        evidence = {"validation_loss": found.loss}
        text = f"At step {found.step} {'the evaluation loss' if whole else name} is {word}"
        if before is None:
            text += ", and none before it was a number."
        else:
            text += f"; it was {before.loss:.4g} at step {before.step}."
            evidence |= {"last_loss": before.loss, "last_step": float(before.step)}
        if found.loss == math.inf:
            text += " The loss of a token whose probability was rounded to zero is infinite."
        if training_loss is not None:
            said = f"{training_loss:.4g}" if math.isfinite(training_loss) else spelled(training_loss)
            text += f" The newest loss of training is {said}."
            evidence["training_loss"] = training_loss
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        recommendation = "" if before is not None else self._table.recommendation_never
        if training_loss is not None and not math.isfinite(training_loss):
            recommendation = self._table.recommendation_lost
        return Checked(
            seen=True,
            title=f"{'The evaluation loss' if whole else name} is {word}{more}",
            text=text,
            evidence=evidence,
            subjects=tuple(names),
            recommendation=recommendation,
            step=found.step,
        )


def _keep(kept: dict[str, Evaluated], name: str, found: Evaluated) -> None:
    if name in kept or len(kept) < MOST_SETS:
        kept[name] = found

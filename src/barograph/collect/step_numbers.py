"""Which step of the run a step of the optimizer is: found from the steps that the loop logs around it.

A loop logs a step either after the optimizer made it, or before. Which of the two it does is seen once, from whether
there are gradients at a log that the optimizer's newest step has not had:

- Nothing was logged before the optimizer's first step: it logs after. Only where several steps went by until the first
  log, and new gradients are there at it, it logs before, and not at every step.
- One loss was logged before it, and no gradients were there: it logs its loss before the backward pass.
- Other logs came before it: then new gradients at the next log tell. A loop that logs after may begin like that as
  well, with steps that a loss scaler left out.

Then the optimizer's step that lies next to a log, on the side where it belongs, has the logged number, and those
without a log are counted on from it. Where more of them come than the logged number rises by, such as five steps of a
critic in one of the training, they share the numbers: counting never runs ahead of the loop. Once a loss was logged
only logs of a loss count, since evaluations may have numbers of their own.

In a loop that logs after, the newest row waits for its log, or for the next step of the optimizer, which shows that
there is none. Before the first log nobody knows where the loop begins to count, so rows wait for that too, for a while.
"""

import time
from collections.abc import Callable

from msgspec import Struct

from barograph.collect.layer_norms import LayerNorms

MOST_WAITING = 100
"""Rows that wait for the first log; then they count from 0, or from where the run stood."""

LONGEST_WAIT_S = 60.0
"""Seconds that they wait for it."""


class _Waiting(Struct, frozen=True):
    """A row that has no number yet."""

    round: int
    """Which one it is of, counted from the last number that is known."""
    at: float
    """When it was taken, seconds since 1970."""
    norms: LayerNorms


class StepNumbers:
    """Owns the rows that wait for their number; `record(step, at, norms)` is called for each, in order."""

    def __init__(self, record: Callable[[int, float, LayerNorms], None]) -> None:
        self._record = record
        self._before: bool | None = None
        self._losses = False
        self._began = self._anchored = False
        self._early: list[bool] = []  # of each log before the first round: whether gradients were there
        self._first = 0  # number of the first round since the last number that is known
        self._count = 0  # rounds since then
        self._most: int | None = None  # numbers that those may have; None without a bound
        self._logged: int | None = None
        self._settled: int | None = None
        self._waiting: list[_Waiting] = []
        self._waits_since = 0.0
        self.log_came = False
        """Whether the loop has logged since the newest step of the optimizer began."""

    @property
    def certain(self) -> bool:
        """Whether it is settled if the loop logs before or after."""
        return self._losses and self._before is not None

    @property
    def began(self) -> bool:
        """Whether the optimizer has made a step."""
        return self._began

    def step_begins(self, next_step: int) -> None:
        """The optimizer begins a step; `next_step` is one more than what the run has logged last."""
        if not self._began:
            self._began = True
            self._first = next_step if self._logged is None else self._logged
            self._before = True if self._losses and self._early == [False] else None
            self._waits_since = time.monotonic()
        elif self._before is not None or self._waits_long():
            self._release()
        self._settled, self.log_came = None, False
        if self._before and self._logged is not None:
            last = self._number(self._count) if self._count else None
            self._anchor(self._logged + 1 if self._logged == last else self._logged)
            self._logged = None
        self._count += 1

    def take(self, norms: LayerNorms) -> None:
        """The row of the newest step."""
        row = _Waiting(self._count, time.time(), norms)
        if self._settled is not None:
            self._record(self._settled, row.at, norms)
        elif self._before:
            self._record(self._number(self._count), row.at, norms)
        else:
            self._waiting.append(row)

    def logged(self, step: int, *, loss: bool, new_gradients: Callable[[], bool]) -> None:
        """The loop logs `step`, with a `loss` or without; `new_gradients`: whether gradients are there that the newest
        step of the optimizer did not have."""
        if loss and not self._losses:
            self._losses, self._before, self._early = True, None, []
        elif self._losses and not loss:
            return
        self.log_came = True
        if not self._began:
            there = new_gradients()
            if loss or there:
                self._early.append(there)
                self._logged = step
            return
        if self._before is None:
            several = self._count > 1 or step > self._first + 1 or bool(self._early)
            self._before = several and new_gradients()
            if self._before and self._early:
                self._release()
            elif self._before:
                self._settle(step - 1)
        if self._before:
            self._logged = step
        elif self._count:
            self._settle(step)
        else:
            self._first = max(self._first, step + 1)

    def close(self) -> None:
        """No log comes any more."""
        self._release()

    def _settle(self, step: int) -> None:
        """The newest round is that of `step`; those that wait are counted back from it."""
        least = 0 if self._anchored or step < self._first else self._first
        waiting, self._waiting = self._waiting, []
        for row in waiting:
            self._record(max(step - (self._count - row.round), min(least, step), 0), row.at, row.norms)
        if not self._anchored:
            self._first = least
        self._anchor(step + 1)
        self._settled = max(step, 0)

    def _anchor(self, first: int) -> None:
        """The next round has the number `first`."""
        risen = first - self._first
        slower = (self._anchored or self._count > 0) and 0 <= risen < self._count
        self._most = max(1, risen) if slower else None
        self._first, self._count, self._anchored = first, 0, True

    def _number(self, count: int) -> int:
        """What the round is counted as."""
        past = count - 1
        return self._first + (past if self._most is None else min(past, self._most - 1))

    def _release(self) -> None:
        """What waits has the number that it was counted as."""
        waiting, self._waiting = self._waiting, []
        for row in waiting:
            self._record(self._number(row.round), row.at, row.norms)

    def _waits_long(self) -> bool:
        return len(self._waiting) >= MOST_WAITING or time.monotonic() - self._waits_since >= LONGEST_WAIT_S

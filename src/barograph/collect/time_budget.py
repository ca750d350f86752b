"""How much of the wall time our own work may take, and which measurement may be made at a step.

Everything that we do in the training thread is timed, and so is the processor time of our threads. Of what a share of
the wall time leaves when those are paid, every measurement that costs something gets its part, step by step, and is
made again as soon as it has paid back what it cost: a cheap one at every step, a dear one at every hundredth. So the
interval grows and shrinks by itself, whatever the model, the machine or the length of a step.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

SHARE = 0.007
"""Share of the wall time that hooks and threads may take together, of what these clocks see. The promise is 1 %: the
rest is for the beginning of the threads, and for what calls the clocks."""

LONGEST_WAIT = 1_000
"""Steps after which a measurement is made whatever it costs."""

_MEMORY = 0.3
"""Weight of the newest cost in the average."""

_SAVED_TIMES = 2.0
"""A measurement saves no more than so many times its cost."""


class TimeBudget:
    """A fold over the steps and costs of one training."""

    def __init__(self, parts: Mapping[str, float], *, share: float = SHARE, threads_rate: float = 0.0) -> None:
        """`parts`: name of each measurement -> its part of what is left, together at most 1. `threads_rate`: the part
        of the wall time that our threads are taken to need, until it is known."""
        self._parts = dict(parts)
        self._share = share
        self._saved = dict.fromkeys(parts, 0.0)
        self._cost: dict[str, float] = {}
        self._waited = dict.fromkeys(parts, 0)
        self._other_s = 0.0
        self._left_s = 0.0
        self.hooks_s = 0.0
        """Seconds that were spent in the training thread so far."""
        self.wall_s = 0.0
        """Seconds of wall time so far."""
        self.threads_s = 0.0
        """Processor seconds of our threads so far; another thread sets it."""
        self._threads_seen_s = self._threads_wall_s = self._threads_ahead_s = 0.0
        self._threads_rate = threads_rate
        self._wanted: set[str] = set()

    @property
    def overhead_share(self) -> float | None:
        """Hooks and threads together, as a share of the wall time; None before the first step."""
        return (self.hooks_s + self.threads_s) / self.wall_s if self.wall_s > 0.0 else None

    def spend(self, seconds: float) -> None:
        """Count work in the training thread that is done whatever it costs."""
        self.hooks_s += seconds
        self._other_s += seconds

    def measured(self, name: str, seconds: float, *, on_device_s: float = 0.0) -> None:
        """Count one measurement, timed in the training thread, and on a device where that takes longer."""
        self.hooks_s += seconds
        cost = max(seconds, on_device_s)
        before = self._cost.get(name)
        if before is None:
            self._cost[name] = 0.0  # the first one allocates and compiles: it is no measure of the next
        else:
            self._cost[name] = cost if before == 0.0 else before + _MEMORY * (cost - before)
        self._saved[name] -= cost
        self._waited[name] = 0
        self._wanted.discard(name)

    def step(self, wall_s: float) -> None:
        """One more optimizer step, `wall_s` after the one before: what may be spent now is shared out."""
        self.wall_s += wall_s
        paid = self._other_s + self._threads(wall_s)
        self._other_s = 0.0
        self._left_s += self._share * wall_s - paid
        share, self._left_s = max(0.0, self._left_s), min(0.0, self._left_s)
        for name, part in self._parts.items():
            most = _SAVED_TIMES * self._cost.get(name, 0.0)
            self._saved[name] = min(most, self._saved[name] + part * share)
            self._waited[name] += 1

    def _threads(self, wall_s: float) -> float:
        """What is paid for the threads at a step: as much as they took lately, as they are looked at every few seconds
        only; and at each look the difference."""
        paid = self._threads_rate * wall_s
        self._threads_wall_s += wall_s
        self._threads_ahead_s += paid
        taken = self.threads_s - self._threads_seen_s
        if taken <= 0.0:
            return paid
        if self._threads_seen_s > 0.0 and self._threads_wall_s > 0.0:
            self._threads_rate = taken / self._threads_wall_s
            paid += taken - self._threads_ahead_s
        # else: what they needed to begin is spent once, and measures nothing
        self._threads_seen_s = self.threads_s
        self._threads_wall_s = self._threads_ahead_s = 0.0
        return paid

    def want(self, name: str) -> None:
        """Have `name` measured at the next step, before it has paid back what it cost; another thread may say so."""
        if name in self._parts:
            self._wanted.add(name)

    def wanted(self, name: str) -> bool:
        """Whether that was said, and it was not measured since."""
        return name in self._wanted

    def due(self, name: str) -> bool:
        """Whether `name` may be measured at this step."""
        waited = self._waited[name]
        return name in self._wanted or name not in self._cost or waited >= LONGEST_WAIT or self._saved[name] >= 0.0


def usual_threads_rate() -> float:
    """What our threads take of the wall time at steps of 80 ms; 0 where the system would never tell the real one."""
    return 0.005 if Path("/proc/self/schedstat").exists() else 0.0


def threads_seconds() -> float:
    """Processor seconds of this process's threads of ours, as far as the system tells; 0 where it does not."""
    total = 0
    for thread in threading.enumerate():
        if thread.name.startswith("barograph") and thread.native_id is not None:
            try:
                told = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text("ascii")
                total += int(told.split(maxsplit=1)[0])
            except (OSError, ValueError, IndexError):
                continue
    return total / 1e9

"""How long the writer's thread rests between two looks at its queue.

To wake costs more than to write: at a training's pace the thread finds cold caches, and pays for each look about as
much as for the lines of two steps. So where little comes it looks less often, as long as what waits is no more than a
few entries; where much comes, or after its sudden beginning, it looks at every interval.
"""

import threading
from contextlib import suppress

FEW = 4
"""Entries that may wait for a longer rest than one interval: two steps of a trainer, each with its log."""

LONGEST = 4
"""Intervals that a rest may take."""


class Rest:
    """The rests of one thread, and the bell that ends one; whoever rings is never made to wait."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = self._length_s = interval_s
        self._bell = threading.Lock()
        self._bell.acquire()

    def take(self, seconds: float) -> None:
        """Rest, until someone rings. A ring before is not forgotten."""
        self._bell.acquire(timeout=seconds)

    def ring(self) -> None:
        """End the rest; any thread may ring."""
        with suppress(RuntimeError):  # it has rung already
            self._bell.release()

    def cut_short(self) -> None:
        """End the rest if it is longer than one interval."""
        if self._length_s > self._interval_s:
            self.ring()

    def after(self, entries: int) -> float:
        """Seconds to rest, when the rest before brought so many entries: as long as few of them take to come."""
        wanted_s = self._length_s * FEW / max(entries, FEW / 2)
        self._length_s = min(max(wanted_s, self._interval_s), LONGEST * self._interval_s)
        return self._length_s

"""How often something may be written: a few times at once, and then one for each so many seconds."""

import math


class Pace:
    """A bucket of permissions that fills with time, by the clock of whoever asks."""

    def __init__(self, *, burst: int, every_s: float) -> None:
        self._burst = float(burst)
        self._every_s = every_s
        self._left = float(burst)
        self._asked_at: float | None = None

    def may(self, time: float) -> bool:
        """Whether it may be written at `time`, seconds; if so, it counts as written. A clock that was set back fills
        nothing."""
        if math.isfinite(time):
            if self._asked_at is not None and time > self._asked_at:
                self._left = min(self._burst, self._left + (time - self._asked_at) / self._every_s)
            self._asked_at = time
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

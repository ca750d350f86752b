"""What waits between the training loop and the file, and what had to go because it waited too long.

While the disk is away the writer's thread goes on making lines, so that tensors are let go and the queue stays short.
The lines wait here, bounded by their bytes; beyond that the oldest go, and are counted with their steps. What is said
once, such as an alert or a checkpoint, stays, as long as it is no more than half of all.
"""

import itertools
import threading
import time
from collections import deque
from typing import Literal

import msgspec

from barograph.records import LostRecords

BACKLOG_BYTES = 64_000_000
"""Most bytes of lines that wait, bookkeeping included."""

_EACH = 150
"""Bytes that one entry costs beside its lines."""

Reason = Literal["queue_full", "disk"]


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """The lines of one queued entry, on their way to the file."""

    lines: bytes
    """Whole lines."""
    count: int
    """Records that are lost if these lines are: 1, 0 for a heartbeat, more for a line that itself says a loss."""
    first: int | None
    """Smallest step among those records, where they have one."""
    last: int | None
    """Greatest step among them."""
    kept: bool = False
    """Whether others go before these."""


class Lost:
    """A fold over what was dropped since it was last said. Several threads may add to it."""

    def __init__(self) -> None:
        self.count = 0
        self._first: int | None = None
        self._last: int | None = None
        self._lock = threading.Lock()

    def add(self, count: int, first: int | None, last: int | None) -> None:
        """Count `count` records of the steps from `first` to `last`."""
        with self._lock:
            self.count += count
            if first is not None:
                self._first = first if self._first is None else min(first, self._first)
            if last is not None:
                self._last = last if self._last is None else max(last, self._last)

    def said(self, reason: Reason) -> LostRecords | None:
        """The record of the loss so far; None if nothing was lost."""
        with self._lock:
            return self._record(reason)

    def take(self, reason: Reason) -> LostRecords | None:
        """As `said`, and count anew."""
        with self._lock:
            record = self._record(reason)
            self.count, self._first, self._last = 0, None, None
            return record

    def _record(self, reason: Reason) -> LostRecords | None:
        if not self.count:
            return None
        first, last = self._first, self._last
        return LostRecords(time=time.time(), count=self.count, first_step=first, last_step=last, reason=reason)


class Backlog:
    """Owns the lines that wait for the file, oldest first; `lost` counts those that went."""

    def __init__(self, *, most: int = BACKLOG_BYTES) -> None:
        """`most`: bytes that may wait."""
        self.lost = Lost()
        self.most = most
        self._size = 0
        self._kept: deque[Waiting] = deque()  # older than all that wait
        self._kept_size = 0
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._kept) + len(self._waiting)

    def records(self) -> int:
        """How many records wait, counting those whose loss was not said yet."""
        waiting = list(self._kept) + list(self._waiting)  # each at once: the writer's thread may be at it
        return sum(one.count for one in waiting) + self.lost.count

    def append(self, waiting: Waiting) -> None:
        """Add lines at the end; the oldest go if that is too much."""
        self._waiting.append(waiting)
        self._size += len(waiting.lines) + _EACH
        while self._size > self.most and len(self) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """The oldest lines go that others do not go before; those are kept, up to half of all."""
        while self._waiting and self._waiting[0].kept and self._kept_size < self.most // 2:
            kept = self._waiting.popleft()
            self._kept.append(kept)
            self._kept_size += len(kept.lines) + _EACH
        if len(self._waiting) > 1 or not self._kept:
            oldest = self._waiting.popleft()
        else:  # the newest stay
            oldest = self._kept.popleft()
            self._kept_size -= len(oldest.lines) + _EACH
        self._size -= len(oldest.lines) + _EACH
        self.lost.add(oldest.count, oldest.first, oldest.last)

    def batch(self, size: int) -> bytes:
        """The oldest lines, at least `size` bytes of them if there are so many."""
        chosen = []
        for one in itertools.chain(self._kept, self._waiting):
            if size <= 0:
                break
            chosen.append(one.lines)
            size -= len(one.lines)
        return b"".join(chosen)

    def written(self, size: int) -> None:
        """Forget the oldest `size` bytes, which end with a line: they are in the file."""
        left = self._take_off(self._kept, size)
        self._kept_size = sum(len(one.lines) + _EACH for one in self._kept)
        self._take_off(self._waiting, left)

    def _take_off(self, waiting: deque[Waiting], size: int) -> int:
        """Take the first `size` bytes off what waits there; how many more they are than that."""
        while waiting and size >= len(waiting[0].lines):
            written = len(waiting.popleft().lines)
            size -= written
            self._size -= written + _EACH
        if not waiting or not size:
            return size
        first = waiting[0]
        waiting[0] = msgspec.structs.replace(first, lines=first.lines[size:])
        self._size -= size
        return 0

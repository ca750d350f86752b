"""The writing side of a journal: a bounded queue, one thread, one file.

The training loop appends one tuple to a deque and goes on. A thread drains it on a 50 ms timer (waking it per record
would cost the loop twenty times as much), makes the records, encodes them, and hands whole lines to one `os.write`.
What `os.write` accepted survives the process at once; once a second `fdatasync` makes it survive the machine.

What can go wrong, and what happens then:

- The disk is full: `write` comes back short. The file is cut back to its last newline, the rest waits and is tried
  again; meanwhile the queue is bounded, the oldest records go first, and a `lost_records` line counts them.
- The folder cannot be written, vanishes, comes back: the same, with a new attempt to open it every second.
- `fdatasync` fails: the kernel may have thrown pages away, so the file is abandoned and a new part is begun.
- The file is removed, cut or written to by someone else: a new part as well, within a second.
- A record cannot be made (a user's value raises): that is recorded as `collector_failed`.
- The process forks: the child has no thread, so it drops its copy and never touches the parent's file.

Nothing here ever raises into the training loop.
"""

import logging
import os
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from barograph.errors import WriteError
from barograph.journal import layout
from barograph.journal.append_file import SYNC_S, AppendFile
from barograph.journal.wide_rows import WideRows
from barograph.records import Banner, CollectorFailed, Heartbeat, LostRecords, Record, Step, codec

INTERVAL_S = 0.05
CAPACITY = 100_000
HEARTBEAT_S = 5.0
LONGEST_SYNC_S = 60.0
RETRY_S = 1.0
COMPLAIN_S = 60.0
BATCH_BYTES = 1 << 20

logger = logging.getLogger("barograph")
_BANNER = b'{"type":"banner"'


class NotYet(Exception):
    """Raised by a maker whose values are still on their way from a device, or by an opener that waits for rank 0."""


Maker = Callable[..., "Record | Iterable[Record] | None"]
Opener = Callable[[], Banner]


class _Lost:
    """What the queue had to drop since the last `lost_records` line."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.steps: list[int] = []

    def add(self, step: int | None) -> None:
        """Count one entry."""
        with self.lock:
            self.count += 1
            if step is not None:
                self.steps = [min([step, *self.steps]), max([step, *self.steps])]

    def take(self, reason: Literal["queue_full", "disk"]) -> LostRecords | None:
        """The record of the loss, and begin to count anew; None if nothing was lost."""
        with self.lock:
            if not self.count:
                return None
            count, steps = self.count, self.steps
            self.count, self.steps = 0, []
        first, last = (steps[0], steps[-1]) if steps else (None, None)
        return LostRecords(time=time.time(), count=count, first_step=first, last_step=last, reason=reason)


class JournalWriter:
    """Owns the journal file of one process, its queue and its thread, from construction to `close`."""

    def __init__(
        self,
        run: Path,
        opener: Opener,
        *,
        capacity: int = CAPACITY,
        interval: float = INTERVAL_S,
        heartbeat: float = HEARTBEAT_S,
    ) -> None:
        """Starts the thread. `opener` is called in it and makes the banner, claiming the attempt; if it raises, it is
        called again a little later. `interval` and `heartbeat` are seconds."""
        self._run = run
        self._opener = opener
        self._interval = interval
        self._capacity = capacity
        self._queue: deque[tuple[int | None, Maker, tuple[object, ...]]] = deque()
        self._lost = _Lost()
        self._banner: Banner | None = None
        self._file: AppendFile | None = None
        self._lines: deque[bytes] = deque()
        self._wide = WideRows()
        self._newest_step: int | None = None
        self._retry_at = 0.0
        self._heartbeat = heartbeat
        self._beat_at = time.monotonic() + heartbeat
        self._complained_at = self._warned_at = -COMPLAIN_S
        self._trouble: str | None = None
        self._starved = False
        self._failed_syncs = 0
        self._stopping = threading.Event()
        self._flushes: deque[threading.Event] = deque()
        self._thread = threading.Thread(target=self._live, name="barograph-journal", daemon=True)
        _OPEN.add(self)
        self._thread.start()

    def append(self, step: int | None, make: Maker, *arguments: object) -> None:
        """Queue one entry: `make(*arguments)` is called later, in the writer's thread, and returns what to write."""
        if len(self._queue) >= self._capacity:
            with suppress(IndexError):
                self._lost.add(self._queue.popleft()[0])
        self._queue.append((step, make, arguments))

    @property
    def path(self) -> Path | None:
        """The file that is written to, None while none could be opened."""
        return self._file.path if self._file else None

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written at the moment, None while all is well."""
        return self._trouble

    @property
    def newest_step(self) -> int | None:
        """The greatest step that was made into a line so far; None before the first."""
        return self._newest_step

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was appended before is in the file; False if that did not happen in time."""
        deadline = time.monotonic() + timeout
        done = threading.Event()
        self._flushes.append(done)
        while self._thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            if done.wait(min(left, 4 * self._interval)):
                return True
        return done.is_set() or not (self._thread.is_alive() or self._pending())

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is queued, sync, close. False if something could not be written within `timeout` seconds."""
        self._stopping.set()
        self._thread.join(timeout)
        _OPEN.discard(self)
        if left := self._pending():
            trouble = self._trouble or f"{timeout:g} s were not enough"
            logger.warning("barograph: %d records could not be written to %s: %s", left, self._run, trouble)
        return not left

    def forget(self) -> None:
        """In a forked child: drop the queue and the file, and take no more. The parent goes on undisturbed."""
        _OPEN.discard(self)
        self._queue.clear()
        self._lines.clear()
        self._lost = _Lost()
        self._capacity = 0
        self.append = _ignore  # type: ignore[method-assign]  # one test per call would cost the parent as well
        self._stopping = threading.Event()  # the parent's thread may have held the lock of the one we inherited
        if self._file:
            self._file.close()
            self._file = None

    def _pending(self) -> int:
        """Lines and entries that are not in the file yet, and losses that are not said yet."""
        return len(self._queue) + len(self._lines) + self._lost.count

    def _live(self) -> None:
        pause = self._interval
        while True:
            stopping = self._stopping.wait(pause)
            pause = self._interval
            if stopping:
                self._retry_at = 0.0  # nobody waits for a second try: the last one is now
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - the one boundary of this thread; it must outlive anything
                self._survive(error)
                pause = self._interval if self._file is None else self._interval / 100
            if stopping:
                if self._trouble or not self._pending():
                    break
                time.sleep(pause / 10)
        if self._file:
            self._file.sync(force=True)
            self._file.close()

    def _survive(self, error: Exception) -> None:
        """A record, or the banner, could not be made: say so, in the file if there is one."""
        said = described(error)
        if self._file is None:
            self._retry_at = time.monotonic() + RETRY_S
            self._complain(said)
            return
        self._lines.append(codec.encode_line(CollectorFailed(time=time.time(), name="journal", error=said)))
        now = time.monotonic()
        if now - self._warned_at >= COMPLAIN_S:
            self._warned_at = now
            logger.warning("barograph: a record could not be made and is left out: %s", said)

    def _tick(self) -> None:
        """One round: make and encode what is queued, write it, sync, beat."""
        asked = len(self._flushes)
        now = time.monotonic()
        if self._file is None and now >= self._retry_at:
            self._open(now)
        if self._file is not None and now >= self._beat_at and not self._lines:
            self._beat_at = now + self._heartbeat
            self._lines.append(codec.encode_line(Heartbeat(time=time.time(), step=self._newest_step)))
        waiting = False
        while self._file is not None:
            waiting = not self._lines and not self._encode_some()
            written = not self._lines or self._write(now)
            self._keep_safe()
            if waiting or not written or not (self._queue or self._lines):
                break
        if self._file is not None and not waiting and not self._pending():
            for _ in range(asked):
                self._flushes.popleft().set()

    def _keep_safe(self) -> None:
        """Once a second: make what was written survive the machine, and see that the file is still ours."""
        now = time.monotonic()
        if self._file is None:
            return
        if not self._file.sync():
            self._failed_syncs += 1
            self._next_part(now, "fdatasync failed on the part before")
        elif self._file.checked_long_ago() and not self._file.usable():
            self._next_part(now, "the part before was removed or changed by someone else")
        elif self._file.synced:
            self._failed_syncs = 0

    def _encode_some(self) -> bool:
        """Turn queued entries into lines, about one batch; False if the queue waits for a device."""
        if lost := self._lost.take("disk" if self._starved else "queue_full"):
            self._lines.append(codec.encode_line(lost))
        self._starved = False
        size = 0
        while self._queue and size < BATCH_BYTES:
            entry = self._queue.popleft()
            step, make, arguments = entry
            try:
                records = _records(make(*arguments))
            except NotYet:
                self._queue.appendleft(entry)
                return False
            if step is not None and records:
                self._newest_step = step if self._newest_step is None else max(self._newest_step, step)
            for record in records:
                for line in self._lines_of(record):
                    size += len(line)
                    self._lines.append(line)
        return True

    def _lines_of(self, record: Record) -> list[bytes]:
        rows = self._wide.update(record) if isinstance(record, Step) else (record,)
        return [codec.encode_line(row) for row in rows]

    def _write(self, now: float) -> bool:
        """Write all lines; False if some must wait. Lines that reached the file are never written again."""
        assert self._file is not None
        batch = b"".join(self._lines)
        written, trouble = self._file.write(batch)
        while self._lines and written >= len(self._lines[0]):
            written -= len(self._lines.popleft())
        if trouble is None:
            self._trouble = None
            return True
        self._complain(trouble)
        if not self._file.usable():
            self._next_part(now, "the part before became unusable")
        return False

    def _open(self, now: float) -> None:
        """Begin a file with its banner, and with the headers that waiting rows may need; on failure say so and try
        again later."""
        try:
            if self._banner is None:
                self._banner = self._opener()
            head: tuple[Record, ...] = (self._banner, *self._wide.headers())
            first = [codec.encode_line(record) for record in head]
            descriptor, path = layout.create_journal(
                self._run, writer=self._banner.writer, attempt=self._banner.attempt
            )
        except NotYet:
            self._retry_at = now + 4 * self._interval
            return
        except (OSError, WriteError) as error:
            self._retry_at = now + RETRY_S
            self._complain(str(error))
            return
        # Where every new part fails to sync, the parts must not become a flood of files.
        patience = min(SYNC_S * 2**self._failed_syncs, LONGEST_SYNC_S)
        self._file = AppendFile(descriptor, path, sync_after=patience)
        self._lines.extendleft(reversed(first))

    def _next_part(self, now: float, reason: str) -> None:
        """Leave this file, begin another one of the same attempt. Lines that wait go there."""
        assert self._file is not None
        assert self._banner is not None
        self._banner = msgspec.structs.replace(
            self._banner, time=time.time(), part=self._banner.part + 1, part_reason=reason
        )
        if self._lines and self._lines[0].startswith(_BANNER):
            self._lines.popleft()
        self._file.close()
        self._file = None
        self._open(now)

    def _complain(self, trouble: str) -> None:
        self._trouble, self._starved = trouble, True
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_S:
            self._complained_at = now
            logger.warning(
                "barograph cannot write to %s: %s. Training goes on; records wait (at most %d) and are tried again.",
                self._run,
                trouble,
                self._capacity,
            )


def _records(made: "Record | Iterable[Record] | None") -> list[Record]:
    if made is None:
        return []
    if isinstance(made, Iterable):
        return list(made)
    return [made]


def described(error: BaseException) -> str:
    """Type and message of an exception, at most 500 characters, also where its own text cannot be made."""
    return "".join(traceback.format_exception_only(error)).strip()[:500]


def _ignore(step: int | None, make: Maker, *arguments: object) -> None:
    """What `append` becomes in a forked child."""


_OPEN: "weakref.WeakSet[JournalWriter]" = weakref.WeakSet()


def _forget_all() -> None:
    for writer in list(_OPEN):
        writer.forget()


os.register_at_fork(after_in_child=_forget_all)

"""The writing side of a journal: a bounded queue, one thread, one file; together, as each relies on what the others do
when something goes wrong.

The training loop appends one tuple to a deque and goes on. A thread drains it on a timer of 50 ms, or up to 200 ms
where little comes (`rest`; waking it per record would cost the loop twenty times as much), makes the records, encodes
them, and hands whole lines to one `os.write`. What that accepted survives the process at once; once a second
`fdatasync` makes it survive the machine.

What can go wrong, and what happens then:

- The disk is full: `write` comes back short. The file is cut back to its last newline, the rest waits and is tried
  again. Meanwhile lines are made as before, so that tensors are let go; they wait in a backlog that is bounded by its
  bytes. The oldest go first, and a `lost_records` line counts them.
- The folder cannot be written: the same, with a new attempt to open it every second. It was removed: it is made again.
- Records come faster than lines are made of them: the queue is bounded too, by records and by the values of wide rows.
  What belongs to a step goes, the oldest first; what is said once (a checkpoint, an alert, the end) stays, in both.
- `fdatasync` fails: the kernel may have thrown pages away, so the file is abandoned and a new part is begun.
- The file is removed, cut or written to by someone else: a new part as well, within a second.
- A record cannot be made (a user's value raises): that is recorded as `collector_failed`.
- A record does not fit into a line that a reader takes: it is cut or split (`line_limit`).
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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from barograph.errors import WriteError
from barograph.journal import layout, record_lines
from barograph.journal.append_file import SYNC_S, AppendFile
from barograph.journal.backlog import BACKLOG_BYTES, Backlog, Lost, Reason, Waiting
from barograph.journal.record_lines import Made, RecordLines
from barograph.journal.rest import FEW, Rest
from barograph.records import Banner, CollectorFailed, Heartbeat, Record, Step, codec

INTERVAL_S = 0.05
"""Seconds between two rounds of the thread where much comes."""

RUSH = 2 * FEW
"""Entries in the queue that end a rest of more than one interval."""

CAPACITY = 100_000
HEARTBEAT_S = 5.0
LONGEST_SYNC_S = 60.0
RETRY_S = 1.0
COMPLAIN_S = 60.0
SYNC_PATIENCE_S = 0.4
BATCH_BYTES = 1 << 20
WRITE_BYTES = 4 << 20
"""More than a batch, so that a backlog shrinks while more is logged."""

QUEUED_VALUES = 2_000_000
"""Most values of wide rows that wait in the queue, each a Python object, which is larger than its part of a line."""

NARROW = QUEUED_VALUES // CAPACITY
"""Values up to which a row is not wide: a queue that is full of such rows holds as many."""

logger = logging.getLogger("barograph")


class NotYet(Exception):
    """Raised by a maker whose values are still on their way from a device, or by an opener that waits for rank 0."""


Maker = Callable[..., Made]
Entry = tuple[int | None, Maker, tuple[object, ...], int]
"""Step, maker, its arguments, and the values that it counts for if it is wide."""

Opener = Callable[[], Banner]


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
        backlog_bytes: int = BACKLOG_BYTES,
    ) -> None:
        """Starts the thread. `opener` is called in it and makes the banner, claiming the attempt; if it raises, it is
        called again a little later. `interval` and `heartbeat` are seconds."""
        self._run = run
        self._opener = opener
        self._interval = interval
        self._capacity = capacity
        self._queue: deque[Entry] = deque()
        self._kept: deque[Entry] = deque()  # older than all in the queue
        self._values = 0
        self._counting = threading.Lock()
        self._lost = Lost()
        self._banner: Banner | None = None
        self._file: AppendFile | None = None
        self._device: int | None = None
        self._opening = False
        self._head = b""
        self._backlog = Backlog(most=backlog_bytes)
        self._record_lines = RecordLines()
        self._newest_step: int | None = None
        self._retry_at = 0.0
        self._heartbeat = heartbeat
        self._beat_at = time.monotonic() + heartbeat
        self._complained_at = self._warned_at = -COMPLAIN_S
        self._trouble: str | None = None
        self._failed_syncs = 0
        self._stopping = False
        self._rest = Rest(interval)
        self._arrived = 0
        self._flushes: deque[threading.Event] = deque()
        self._thread = threading.Thread(target=self._live, name="barograph-journal", daemon=True)
        _OPEN.add(self)
        self._thread.start()

    def append(self, step: int | None, make: Maker, *arguments: object) -> None:
        """Queue one entry: `make(*arguments)` is called later, in the writer's thread, and returns what to write.

        If the queue is full, the oldest entry that has a step goes; those without one are kept.
        """
        if len(self._queue) >= self._capacity:
            self._make_room()
        self._queue.append((step, make, arguments, 0))
        if len(self._queue) == RUSH:
            self._rest.cut_short()

    def append_wide(self, values: int, step: int | None, make: Maker, *arguments: object) -> None:
        """As `append`, of an entry that holds more than `NARROW` values: of those, `QUEUED_VALUES` may wait."""
        self._count(values)
        while self._queue and (self._values > QUEUED_VALUES or len(self._queue) >= self._capacity):
            self._make_room()
        self._queue.append((step, make, arguments, values))

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
        self._rest.ring()
        while self._thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            if done.wait(min(left, 4 * self._interval)):
                return True
        return done.is_set() or not (self._thread.is_alive() or self._pending())

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is queued, sync, close. False if something could not be written within `timeout` seconds."""
        self._stopping = True
        self._rest.ring()
        self._thread.join(timeout)
        _OPEN.discard(self)
        pending = self._pending()
        if left := len(self._queue) + len(self._kept) + self._backlog.records() + self._lost.count:
            trouble = self._trouble or f"{timeout:g} s were not enough"
            logger.warning("barograph: %d records could not be written to %s: %s", left, self._run, trouble)
        return not pending

    def forget(self) -> None:
        """In a forked child: drop the queue and the file, and take no more. The parent goes on undisturbed."""
        _OPEN.discard(self)
        self._queue.clear()
        self._kept.clear()
        self._backlog, self._head = Backlog(), b""
        self._lost = Lost()
        self._capacity = 0
        self.append = _ignore  # type: ignore[method-assign]  # one test per call would cost the parent as well
        self.append_wide = _ignore_wide  # type: ignore[method-assign]  # as above
        if self._file:
            self._file.close()
            self._file = None

    def _pending(self) -> int:
        """How much is not in the file yet, or not said yet: 0 if all is."""
        queued = len(self._queue) + len(self._kept)
        return queued + len(self._backlog) + len(self._head) + self._lost.count + self._backlog.lost.count

    def _count(self, values: int) -> None:
        with self._counting:
            self._values += values

    def _make_room(self) -> None:
        """The oldest entry of a step goes, and is counted. What lies before it has no step, and comes before all."""
        while self._queue:
            try:
                entry = self._queue.popleft()
            except IndexError:  # the writer's thread has just taken it
                return
            if entry[0] is None:
                self._kept.append(entry)
                if len(self._kept) <= CAPACITY:
                    continue
                entry = self._kept.popleft()
            if entry[3]:
                self._count(-entry[3])
            self._lost.add(1, entry[0], entry[0])
            return

    def _oldest(self) -> Entry | None:
        """Takes the oldest entry out; None if nothing waits."""
        try:
            entry = self._kept.popleft() if self._kept else self._queue.popleft()
        except IndexError:
            return None
        if entry[3]:
            self._count(-entry[3])
        return entry

    def _live(self) -> None:
        pause = self._interval
        while True:
            if not self._stopping:
                self._rest.take(pause)
            if stopping := self._stopping:
                self._retry_at = 0.0  # nobody waits for a second try: the last one is now
            try:
                pause = 0.0 if self._tick() else self._rest.after(self._arrived)
            except Exception as error:  # noqa: BLE001 - the one boundary of this thread; it must outlive anything
                pause = self._interval if self._opening else self._interval / 100
                self._survive(error)
            if stopping:
                if self._trouble or not self._pending():
                    break
                time.sleep(pause / 10)
        if self._file:
            self._file.sync(force=True)
            self._file.close()

    def _survive(self, error: Exception) -> None:
        """A record, or the banner, could not be made: say so, in the file if it was a record."""
        said = described(error)
        if self._opening:
            self._opening = False
            self._retry_at = time.monotonic() + RETRY_S
            self._complain(said)
            return
        line = codec.encode_line(CollectorFailed(time=time.time(), name="journal", error=said))
        self._backlog.append(Waiting(line, 1, None, None, kept=True))
        now = time.monotonic()
        if now - self._warned_at >= COMPLAIN_S:
            self._warned_at = now
            logger.warning("barograph: a record could not be made and is left out: %s", said)

    def _tick(self) -> bool:
        """One round: make and encode a batch of what is queued, write it, sync, beat; whether more is due at once."""
        asked = len(self._flushes)
        now = time.monotonic()
        if self._file is not None and now >= self._beat_at and not self._backlog:
            self._beat_at = now + self._heartbeat
            beat = codec.encode_line(Heartbeat(time=time.time(), step=self._newest_step))
            self._backlog.append(Waiting(beat, 0, None, None))
        arrived = self._encode_some()
        if self._file is None and now >= self._retry_at:
            self._open(now)
        written = self._file is not None and self._write(now)
        self._keep_safe(hurry=bool(self._queue))
        if self._file is not None and not self._pending():
            for _ in range(asked):
                self._flushes.popleft().set()
        return (arrived and bool(self._queue or self._kept)) or (written and len(self._backlog) > 0)

    def _keep_safe(self, *, hurry: bool) -> None:
        """Once a second: make what was written survive the machine, and see that the file is still ours.

        A disk may take long to sync, so in a hurry it is put off a little: what is queued is in more danger.
        """
        now = time.monotonic()
        if self._file is None:
            return
        if not self._file.sync(patience=SYNC_PATIENCE_S if hurry else 0.0):
            self._failed_syncs += 1
            self._next_part(now, "fdatasync failed on the part before")
        elif self._file.checked_long_ago() and not self._file.usable():
            self._next_part(now, "the part before was removed or changed by someone else")
        elif self._file.synced:
            self._failed_syncs = 0

    def _encode_some(self) -> bool:
        """Turn queued entries into lines, about one batch; False if the queue waits for a device."""
        if lost := self._lost.take(self._reason):
            line = codec.encode_line(lost)
            self._backlog.append(Waiting(line, lost.count, lost.first_step, lost.last_step, kept=True))
        size = 0
        self._arrived = RUSH  # where one waits for its device, the next look comes sooner
        arrived = 0
        while size < BATCH_BYTES and (entry := self._oldest()) is not None:
            step, make, arguments, values = entry
            try:
                said = record_lines.records(make(*arguments))
            except NotYet:
                self._count(values)
                self._kept.appendleft(entry)  # not into the queue: what was kept meanwhile is younger
                return False
            size += self._wait(step, said)
            arrived += 1
        self._arrived = arrived
        return True

    def _wait(self, step: int | None, said: list[Record]) -> int:
        """Have the lines of one entry wait for the file; how many bytes they are. Where lines must go, the rows of a
        step do, and not what was said about them."""
        rows = said
        others: list[Record] = []
        if step is None:
            rows, others = [], said
        elif len(said) > 1:
            rows = [one for one in said if type(one) is Step]
            others = [one for one in said if type(one) is not Step]
        size = 0
        if lines := self._record_lines.update(rows):
            if step is not None and (self._newest_step is None or step > self._newest_step):
                self._newest_step = step
            size += len(lines)
            self._backlog.append(Waiting(lines, 1, step, step))
        if lines := self._record_lines.update(others):
            size += len(lines)
            self._backlog.append(Waiting(lines, 1, None, None, kept=True))
        return size

    @property
    def _reason(self) -> Reason:
        return "disk" if self._trouble else "queue_full"

    def _write(self, now: float) -> bool:
        """Write the oldest lines; False if they must wait. Lines that reached the file are never written again."""
        assert self._file is not None
        loss = b""
        if lost := self._backlog.lost.said(self._reason):
            # What was dropped may have held the header of what was not.
            loss = codec.encode_line(lost) + self._record_lines.headers()
        head, front = self._head, self._head + loss
        batch = front + self._backlog.batch(WRITE_BYTES)
        if not batch:
            return True
        written, trouble = self._file.write(batch)
        if loss and written > len(head):
            self._backlog.lost.take(self._reason)
            self._head = front[written:]
        else:
            self._head = head[written:]
        self._backlog.written(max(0, written - len(front)))
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
        self._opening = True
        try:
            if self._banner is None:
                self._banner = self._opener()
            head = self._record_lines.head(self._banner)
            descriptor, path = self._create(self._banner)
            with suppress(OSError):
                self._device = self._run.parent.stat().st_dev
        except NotYet:
            self._retry_at = now + 4 * self._interval
        except (OSError, WriteError) as error:
            self._retry_at = now + RETRY_S
            self._complain(str(error))
        else:
            # Where every new part fails to sync, the parts must not become a flood of files.
            patience = min(SYNC_S * 2**self._failed_syncs, LONGEST_SYNC_S)
            self._file = AppendFile(descriptor, path, sync_after=patience)
            self._head = head
        self._opening = False

    def _create(self, banner: Banner) -> tuple[int, Path]:
        """A new file, in a new folder if someone removed the one that this writer has written to."""
        try:
            return layout.create_journal(self._run, writer=banner.writer, attempt=banner.attempt)
        except FileNotFoundError:
            if self._device is None or not layout.make_again(self._run, device=self._device):
                raise
        return layout.create_journal(self._run, writer=banner.writer, attempt=banner.attempt)

    def _next_part(self, now: float, reason: str) -> None:
        """Leave this file, begin another one of the same attempt. Lines that wait go there."""
        assert self._file is not None
        assert self._banner is not None
        self._banner = msgspec.structs.replace(
            self._banner, time=time.time(), part=self._banner.part + 1, part_reason=reason
        )
        self._file.close()
        self._file = None
        self._head = b""
        self._open(now)

    def _complain(self, trouble: str) -> None:
        self._trouble = trouble
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_S:
            self._complained_at = now
            logger.warning(
                "barograph cannot write to %s: %s. Training goes on; records wait (at most %d bytes of lines) and "
                "are tried again.",
                self._run,
                trouble,
                self._backlog.most,
            )


def described(error: BaseException) -> str:
    """Type and message of an exception, at most 500 characters, also where its own text cannot be made."""
    return "".join(traceback.format_exception_only(error)).strip()[:500]


_OPEN: "weakref.WeakSet[JournalWriter]" = weakref.WeakSet()
_warned_in: set[int] = set()
"""The forked process that was warned, by its id: a child of a child inherits its parent's."""


def _ignore(step: int | None, make: Maker, *arguments: object) -> None:
    """What `append` becomes in a forked child: nothing but a warning, once, for what has a step.

    The rest may be a farewell of ours, which every child says at its exit.
    """
    if step is not None and os.getpid() not in _warned_in:
        _warned_in.clear()
        _warned_in.add(os.getpid())
        logger.warning(
            "barograph: process %d was forked from the one that records the run; what it logs is not recorded. Log in "
            "the parent, or begin a run in the child.",
            os.getpid(),
        )


def _ignore_wide(values: int, step: int | None, make: Maker, *arguments: object) -> None:
    """What `append_wide` becomes there."""
    _ignore(step, make)


def _forget_all() -> None:
    for writer in list(_OPEN):
        writer.forget()


os.register_at_fork(after_in_child=_forget_all)

"""From the thread that follows the root to everyone who listens: what changed, in order, and never more than fits.

No client has a queue of its own. All changes stand once, in a `Ring`; a listener is a place in it. One that falls
behind by more than `LAG` changes is moved on, and told how many it missed: whoever reads slowly costs no memory, and
holds up nobody.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVarTuple

from barograph.api.changes import News, Ring, union
from barograph.api.rendering import Overloaded
from barograph.index import ScanResult
from barograph.records.codec import encode_document
from barograph.views.documents import ChangedRun, EventChange
from barograph.views.times import document_time

Arguments = TypeVarTuple("Arguments")

LAG = 64
"""Most changes that wait for a client."""
STREAMS = 256
"""Most listeners at a time."""
TOGETHER_S = 0.05
"""Least seconds between two changes; what comes in between is told together. A lone change is told at once."""
COMMENT_S = 15.0
"""Seconds between two lines that say nothing: proxies cut connections that are silent for a minute."""


class Listener:
    """The place of one client among the changes. Used in the event loop only."""

    def __init__(self, events: "Events", *, run: str | None, after: int, reset: str | None) -> None:
        self.reset = reset
        """Why the client cannot go on from where it was; None if it can, or asked for no such thing."""
        self.after = after
        """The number of the last change that it was given, or passed over."""
        self._events = events
        self._run = run
        self._replay_until = events.ring.newest
        self._dropped = 0
        self._closed = False
        self._comment = False
        self._ready = asyncio.Event()

    @property
    def id(self) -> str:
        """Its place, as a client names it in `Last-Event-ID`."""
        return f"{self._events.epoch}-{self.after}"

    async def next(self) -> bytes | None:
        """The text of the next event or comment, once there is one; None when it is over."""
        while not self._closed:
            text = self._next_change()
            if text is not None:
                return text
            if self._comment:
                # It also moves the client's place past changes of other runs.
                self._comment = False
                return f":\nid: {self.id}\n\n".encode()
            self._ready.clear()
            await self._ready.wait()
        return None

    def wake(self, *, comment: bool = False) -> None:
        """Look again; `comment`: say something even if there is no news."""
        self._comment = self._comment or comment
        self._ready.set()

    def close(self) -> None:
        """End it, whatever still waits."""
        self._closed = True
        self._ready.set()

    def _next_change(self) -> bytes | None:
        ring = self._events.ring
        if self.after >= self._replay_until:
            self._pass_over(ring.newest - LAG)
        self._pass_over(ring.before_oldest)
        while self.after < ring.newest:
            self.after += 1
            news = ring.get(self.after)
            if news is not None and news.about(self._run) is not None:
                dropped, self._dropped = self._dropped, 0
                return self._events.text(self.after, news, run=self._run, dropped=dropped)
        return None

    def _pass_over(self, until: int) -> None:
        """Count what the client misses; a change that is not kept any more may have been about its run."""
        ring = self._events.ring
        not_kept = min(until, ring.before_oldest)
        self._dropped += max(0, not_kept - self.after)
        for number in range(max(self.after, not_kept) + 1, until + 1):
            news = ring.get(number)
            self._dropped += news is not None and news.about(self._run) is not None
        self.after = max(self.after, until)


class Events:
    """Owns the numbered changes of this server process, and whoever listens to them."""

    def __init__(self, *, comment_s: float = COMMENT_S, most_listeners: int = STREAMS) -> None:
        self.epoch = secrets.token_hex(6)
        """Names this process in event ids: numbers of another one mean nothing here."""
        self.ring = Ring()
        """The changes."""
        self._comment_s = comment_s
        self._most_listeners = most_listeners
        self._listeners: set[Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._found: list[ScanResult] = []
        self._told = -TOGETHER_S
        self._telling: asyncio.TimerHandle | None = None
        self._encoded: tuple[int, bytes] = (0, b"")

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell changes in this event loop until the end of the context."""
        self._loop = asyncio.get_running_loop()
        commenting = asyncio.create_task(self._comment())
        try:
            yield
        finally:
            self._end()
            self._loop = None
            commenting.cancel()

    def note(self, found: ScanResult) -> None:
        """Tell what a scan found; may be called from any thread."""
        self._call(self._gather, found)

    def close(self) -> None:
        """End every stream, and take no more; may be called from any thread and from a signal."""
        self._closed = True
        self._call(self._end)

    @contextlib.contextmanager
    def listen(self, *, run: str | None, last_event_id: str | None) -> Iterator[Listener]:
        """A place among the changes: after the one that the client names, else at the newest.

        Raises `Overloaded` when too many listen.
        """
        if self._closed or len(self._listeners) >= self._most_listeners:
            raise Overloaded(f"{self._most_listeners} event streams are open, and there are no more", advice="Poll")
        after, reset = self._place(last_event_id)
        listener = Listener(self, run=run, after=after, reset=reset)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def text(self, number: int, news: News, *, run: str | None, dropped: int) -> bytes:
        """A change as it is sent; the one that everybody gets is made once."""
        if run is None and not dropped:
            if self._encoded[0] != number:
                self._encoded = (number, self._encode(number, news, dropped=0))
            return self._encoded[1]
        return self._encode(number, news.about(run) or news, dropped=dropped)

    def _encode(self, number: int, news: News, *, dropped: int) -> bytes:
        document = EventChange(
            runs=[ChangedRun(run=change.run, what=list(change.what)) for change in news.changed],
            gone=list(news.gone),
            rebuilt=news.rebuilt,
            dropped=dropped,
            timestamp=news.timestamp,
        )
        return f"id: {self.epoch}-{number}\nevent: change\ndata: ".encode() + encode_document(document) + b"\n\n"

    def _place(self, last_event_id: str | None) -> tuple[int, str | None]:
        """The number after which a client goes on, and why that is not the one it named."""
        newest = self.ring.newest
        if not last_event_id:
            return newest, None
        epoch, _, said = last_event_id.rpartition("-")
        if epoch != self.epoch or not (said.isdecimal() and said.isascii() and len(said) <= 15):
            return newest, "The server was started anew since then."
        if not self.ring.before_oldest <= int(said) <= newest:
            return newest, "More has changed since then than is kept."
        return int(said), None

    def _call(self, function: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        loop = self._loop
        if loop is not None:
            # The loop may end at any moment; then there is nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(function, *arguments)

    def _gather(self, found: ScanResult) -> None:
        self._found.append(found)
        if self._telling is None and self._loop is not None:
            wait = max(0.0, self._told + TOGETHER_S - time.monotonic())
            self._telling = self._loop.call_later(wait, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._told = time.monotonic()
        self.ring.update(union(self._found, timestamp=document_time(time.time())))
        self._found = []
        for listener in self._listeners:
            listener.wake()

    def _end(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def _comment(self) -> None:
        while True:
            await asyncio.sleep(self._comment_s)
            for listener in self._listeners:
                listener.wake(comment=True)

"""One TCP connection as uvicorn serves it, but never for longer than it is of use to anybody.

uvicorn waits without end for a request whose headers come a byte at a time, and for a client that takes no answer. Here
a connection is cut when the headers of a request are not there `head_s` after it began to wait for them, and when a
client that is behind took less than `PROGRESS` bytes in `stall_s`. When all places are taken, the connection goes that
has waited for a request the longest: whoever holds many open keeps nobody out who asks at once.
"""

import asyncio
import time
from typing import Protocol

from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PROGRESS = 16 * 1024
"""Bytes that a client which is behind has to take within `stall_s`."""


class Limits(Struct, frozen=True, kw_only=True):
    """How long, and how many."""

    head_s: float = 10.0
    """Seconds for the headers of a request."""
    stall_s: float = 60.0
    """Seconds in which a client that is behind has to make progress."""
    connections: int = 640
    """Most connections at a time; with the files of the index they stay below the usual limit of 1,024 descriptors."""


class _Cycle(Protocol):
    """What is looked at of uvicorn's request and answer."""

    response_complete: bool


class _Watched(asyncio.Protocol):
    """What both of uvicorn's protocols do on a connection, watched."""

    limits = Limits()
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    connections: "set[_Watched]"
    cycle: _Cycle | None
    waits_since: float | None = None
    """Since when a request is awaited (monotonic seconds); None while one is being answered."""
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A place for it, if need be that of another one, or none."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            waiting = [one for one in self.connections if one.waits_since is not None]
            longest = min(waiting, key=lambda one: one.waits_since or 0.0, default=self)
            longest.transport.abort()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited of it any more."""
        super().connection_lost(exc)
        self._head_arrived()
        self._took_it()

    def data_received(self, data: bytes) -> None:
        """Bytes came; they may complete the headers of a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_arrived()
        elif not self.transport.is_closing():
            self._await_head()

    def on_response_complete(self) -> None:
        """An answer is done; uvicorn closes the connection if nothing at all comes after it for five seconds."""
        super().on_response_complete()  # type: ignore[misc]  # both of uvicorn's protocols have it
        if self.cycle is None or self.cycle.response_complete:  # else the next request was here already
            self.waits_since = time.monotonic()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        if self._stall_timer is None:
            self._watch_progress(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It took almost everything."""
        super().resume_writing()
        self._took_it()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self.waits_since = time.monotonic()
            self._head_timer = self.loop.call_later(self.limits.head_s, self.transport.abort)

    def _head_arrived(self) -> None:
        self.waits_since = None
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_progress(self, behind: int) -> None:
        self._stall_timer = self.loop.call_later(self.limits.stall_s, self._cut_if_stalled, behind)

    def _cut_if_stalled(self, before: int) -> None:
        behind = self.transport.get_write_buffer_size()
        if before - behind < PROGRESS:
            self.transport.abort()
        else:
            self._watch_progress(behind)

    def _took_it(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


class HttpTools(_Watched, HttpToolsProtocol):  # type: ignore[misc]  # uvicorn narrows the types of its attributes
    """The faster one; it takes headers of any size."""


class H11(_Watched, H11Protocol):  # type: ignore[misc]  # uvicorn narrows the types of its attributes
    """The one that takes at most 64 kB of headers, which strangers may send."""


def protocol(*, strangers: bool, limits: Limits | None = None) -> type[asyncio.Protocol]:
    """The protocol for a server that strangers can or cannot reach."""
    base = H11 if strangers else HttpTools
    return base if limits is None else type(base.__name__, (base,), {"limits": limits})

"""Connections: a slow one is cut, and no number of them keeps out who asks at once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from litestar.types import Receive, Scope, Send

from barograph.api.connections import Limits, protocol
from barograph.api.server import Dashboard

Dashboards = Callable[..., Dashboard]
Ask = Callable[..., tuple[int, bytes]]
HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def connect(port: int, *, buffer: int | None = None) -> socket.socket:
    opened = socket.socket()
    if buffer is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    opened.settimeout(10)
    opened.connect(("127.0.0.1", port))
    return opened


def is_cut(opened: socket.socket) -> bool:
    """Whether the other side ends it before the socket's timeout; what it sent before is passed over."""
    try:
        while opened.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def sending(content: bytes, *, strangers: bool, limits: Limits) -> Iterator[int]:
    """A server that answers everything with `content`, its port."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]}
        )
        await send({"type": "http.response.body", "body": content, "more_body": False})

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(
            answer,
            http=protocol(strangers=strangers, limits=limits),
            lifespan="off",
            log_config=None,
            log_level="critical",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.mark.parametrize("strangers", [False, True])
def test_headers_that_do_not_come_cut_the_connection(strangers: bool) -> None:
    with sending(b"fine", strangers=strangers, limits=Limits(head_s=0.3)) as port, ExitStack() as stack:
        silent, half, second = (stack.enter_context(connect(port)) for _ in range(3))
        half.sendall(HALF)
        second.sendall(HALF + b"\r\n")
        assert b"fine" in second.recv(65536)
        second.sendall(HALF)
        began = time.monotonic()
        for byte in b"X-Slow: 1":
            time.sleep(0.1)
            try:
                half.sendall(bytes([byte]))
            except OSError:
                break
        assert time.monotonic() - began < 0.9, "bytes that trickle in prolong nothing"
        assert is_cut(silent)
        assert is_cut(second), "also the headers of a second request"


@pytest.mark.parametrize("strangers", [False, True])
def test_a_connection_that_asks_in_time_goes_on_asking(strangers: bool) -> None:
    with sending(b"fine", strangers=strangers, limits=Limits(head_s=0.3)) as port, connect(port) as kept:
        for _ in range(4):
            kept.sendall(HALF)
            time.sleep(0.15)
            kept.sendall(b"\r\n")
            assert b"fine" in kept.recv(65536)


@pytest.mark.parametrize("strangers", [False, True])
def test_a_client_that_takes_nothing_is_cut_and_a_slow_one_is_not(strangers: bool) -> None:
    content = b"x" * 20_000_000
    with sending(content, strangers=strangers, limits=Limits(stall_s=0.3)) as port, ExitStack() as stack:
        stalled, slow = (stack.enter_context(connect(port, buffer=65536)) for _ in range(2))
        for one in (stalled, slow):
            one.sendall(HALF + b"\r\n")
        received = 0
        began = time.monotonic()
        while received < len(content):
            part = slow.recv(1_000_000)
            assert part, f"cut after {received} bytes and {time.monotonic() - began:.1f} s"
            received += len(part)
            if time.monotonic() - began < 1.0:
                time.sleep(0.01)
        assert is_cut(stalled)


def test_when_all_places_are_taken_the_one_that_has_waited_longest_goes(
    root: Path, dashboard: Dashboards, ask: Ask
) -> None:
    port = dashboard(root, limits=Limits(connections=16)).port
    with ExitStack() as stack:
        halves = [stack.enter_context(connect(port)) for _ in range(40)]
        for one in halves[-16:]:
            one.sendall(HALF)
        for _ in range(20):
            assert ask(port, "/api/runs")[0] == 200, "who asks at once is always let in"
        assert is_cut(halves[0])


def test_connections_with_a_request_under_way_are_not_cut_for_new_ones(root: Path, dashboard: Dashboards) -> None:
    port = dashboard(root, limits=Limits(connections=4)).port
    with ExitStack() as stack:
        streams = [stack.enter_context(connect(port)) for _ in range(4)]
        for one in streams:
            one.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
        late = stack.enter_context(connect(port))
        assert is_cut(late)
        for one in streams:
            one.settimeout(0.05)
            assert not is_cut(one)


def test_one_byte_a_second_hurts_nobody_else(root: Path, dashboard: Dashboards, ask: Ask) -> None:
    port = dashboard(root).port
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(port, buffer=1)) for _ in range(150)]
        for number, one in enumerate(slow):
            one.sendall(b"GET /api/series?run=alpha&name=loss HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if number % 2:
                one.recv(1)
        took = []
        for _ in range(20):
            began = time.monotonic()
            assert ask(port, "/api/status/live")[0] == 200
            took.append(time.monotonic() - began)
        assert sorted(took)[10] < 0.25, "150 slow clients hold no place of the 128 requests at a time"

"""The listening server: where it may listen, what it says when it may not, and how it stops."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from barograph.api.server import Dashboard
from barograph.api.token import create_token
from barograph.errors import BindRefused, UsageError

Serving = Callable[..., AbstractContextManager[tuple[subprocess.Popen[str], str, int]]]
Ask = Callable[..., tuple[int, bytes]]


def listening(process: subprocess.Popen[str]) -> set[str]:
    return {
        one.laddr.ip for one in psutil.Process(process.pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_stops_cleanly_with_connections_open(
    tmp_path: Path, write_run: Callable[..., Path], serving: Serving, number: int
) -> None:
    root = tmp_path / "runs"
    write_run(root, "alpha")
    with serving(root) as (process, line, port):
        assert str(root) in line
        assert "Ctrl-C" in line
        assert listening(process) == {"127.0.0.1"}, "and nowhere else"
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        kept.request("GET", "/api/runs")
        assert kept.getresponse().read().startswith(b'{"runs"')
        half = socket.create_connection(("127.0.0.1", port), timeout=10)
        half.sendall(b"GET /api/runs HTTP/1.1\r\nHost: local")
        body = socket.create_connection(("127.0.0.1", port), timeout=10)
        body.sendall(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=")
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        took = time.monotonic() - began
        for connection in (kept, half, body):
            connection.close()
    assert process.returncode == 0
    assert errors == ""
    assert took < 1.5 * (1 + max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)), "a second, on a machine at rest"


def test_the_access_log_is_silent_and_errors_of_clients_are_too(tmp_path: Path, serving: Serving, ask: Ask) -> None:
    with serving(tmp_path) as (process, _, port):
        ask(port, "/api/runs/secret-canary?token=secret-canary", Authorization="Bearer secret-canary")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as broken:
            broken.sendall(b"\x16\x03\x01 this is no HTTP secret-canary\r\n\r\n")
            broken.recv(1000)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
    assert "secret-canary" not in output + errors
    assert errors == ""


def test_a_taken_port_is_named_with_the_option(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BindRefused, match=rf"port {port} on 127.0.0.1 is in use.*--port"):
            Dashboard(tmp_path, port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_it_refuses_without_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(BindRefused, match=r"reachable from other machines.*barograph token") as refused:
        Dashboard(tmp_path, host=host, port=0)
    assert "\n" not in str(refused.value)


def test_beyond_loopback_it_refuses_a_token_that_others_can_read(tmp_path: Path) -> None:
    create_token(tmp_path)
    (tmp_path / ".barograph" / "token").chmod(0o644)
    with pytest.raises(UsageError, match="can be read or written by others"):
        Dashboard(tmp_path, host="0.0.0.0", port=0)


def test_beyond_loopback_it_asks_for_the_token_also_on_loopback(tmp_path: Path, serving: Serving, ask: Ask) -> None:
    token = create_token(tmp_path)
    with serving(tmp_path, "--host", "0.0.0.0") as (process, line, port):
        assert listening(process) == {"0.0.0.0"}
        assert token.value not in line
        assert ask(port, "/api/runs")[0] == 401
        assert ask(port, "/api/runs", Authorization=f"Bearer {token.value}")[0] == 200
        assert ask(port, "/api/runs", Host="evil.example", Authorization=f"Bearer {token.value}")[0] == 421
        assert process.stdout is not None
        notice = process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as flood:
            flood.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Flood: 1234567890\r\n" * 5000)
            assert flood.recv(12) == b"HTTP/1.1 400", "headers without end are cut off"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
    assert "asks for the token" in notice
    assert "not encrypted" in notice
    assert token.value not in line + notice + output + errors


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("nobody.invalid", "is not an address"),
        ("192.0.2.77", "reachable from other"),
        ("a b", "is not an"),
        ("", "is not an"),
    ],
)
def test_a_host_that_cannot_be_is_named(tmp_path: Path, host: str, said: str) -> None:
    with pytest.raises(BindRefused, match=said):
        Dashboard(tmp_path, host=host, port=0)


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    create_token(tmp_path)
    with pytest.raises(BindRefused, match=r"192\.0\.2\.77 cannot be listened on.*--host"):
        Dashboard(tmp_path, host="192.0.2.77", port=0)


@pytest.mark.parametrize("name", ["*", "http://dash.example.org", "dash.example.org:443", "", "a b", "-x", "a/b"])
def test_an_allowed_host_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a host name"):
        Dashboard(tmp_path, port=0, allowed_hosts=[name])


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        Dashboard(tmp_path / "file", port=0)


def test_a_root_that_is_not_there_is_waited_for_and_said(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path / "later", port=0)
    dashboard.close()
    assert any("does not exist yet" in notice for notice in dashboard.notices)
    assert not (tmp_path / "later").exists()


def test_it_stops_when_another_thread_says_so(tmp_path: Path, ask: Ask) -> None:
    dashboard = Dashboard(tmp_path, port=0)
    thread = threading.Thread(target=dashboard.run)
    thread.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if ask(dashboard.port, "/healthz")[0] == 200:
                break
    assert dashboard.url == f"http://127.0.0.1:{dashboard.port}/"
    began = time.monotonic()
    dashboard.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 5
    with pytest.raises(OSError, match=r"refused|reset"):
        ask(dashboard.port, "/healthz")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_with_event_streams_open_and_stalled(
    tmp_path: Path, write_run: Callable[..., Path], serving: Serving, number: int
) -> None:
    root = tmp_path / "runs"
    write_run(root, "alpha")
    with serving(root) as (process, _, port):
        streams = []
        for reads in [True] * 8 + [False] * 4:
            stream = socket.socket()
            if not reads:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            stream.settimeout(10)
            stream.connect(("127.0.0.1", port))
            stream.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            streams.append(stream)
        received = b""
        while b"event: hello" not in received:
            received += streams[7].recv(65536)
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        took = time.monotonic() - began
        while more := streams[7].recv(65536):
            received += more
        for stream in streams:
            stream.close()
    assert process.returncode == 0
    assert errors == ""
    assert received.endswith(b"\r\n0\r\n\r\n"), "the stream ends as HTTP says, and is not cut off"
    assert took < 1.0 * (1 + max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)), "on a machine at rest"

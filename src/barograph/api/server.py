"""The listening server: where it may listen, and how it stops."""

import contextlib
import errno
import ipaddress
import logging
import os
import re
import shlex
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from barograph.api.app import create_app
from barograph.api.connections import Limits, protocol
from barograph.api.events import Events
from barograph.api.security import Access
from barograph.api.token import read_token, token_path
from barograph.errors import BindRefused, UsageError
from barograph.policy import Policy

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_GRACE = 0.4
"""Seconds that answers under way get when the server stops."""


class Dashboard:
    """Owns the listening socket, from construction until `run` or `close` returns.

    Construction refuses what cannot work, before anything is started: raises `BindRefused` for an address beyond
    loopback without a token and for a port that is taken, `UsageError` for a root that cannot be one.
    """

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        allowed_hosts: Sequence[str] = (),
        limits: Limits | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`limits` are those of the connections, and `policy` judges; the default ones are ours."""
        self.root = root
        """The folder of the runs; it may not exist yet."""
        self.notices: list[str] = []
        """What the operator should know, a sentence each."""
        _check_root(root)
        names = frozenset(_checked_name(name) for name in allowed_hosts)
        family, address = _resolve(host, port)
        beyond = not ipaddress.ip_address(address).is_loopback
        token = read_token(root) if beyond else None
        if beyond and token is None:
            raise BindRefused(
                f"{host} is reachable from other machines and {token_path(root)} does not exist",
                advice=f"Make one with `barograph token --base-dir {shlex.quote(str(root))}`, "
                "or listen on 127.0.0.1 and use `ssh -L`",
            )
        self._socket = _bind(family, address, port=port)
        self.port: int = self._socket.getsockname()[1]
        """The port that is listened on."""
        self.url = f"http://{_url_host(address)}:{self.port}/"
        """Where a browser on this machine finds it."""
        if not root.exists():
            self.notices.append(f"{root} does not exist yet; its runs appear here as soon as it does.")
        if beyond:
            self.notices.append(
                f"It listens on {address} and asks for the token in {token_path(root)}. The traffic is not encrypted: "
                "put a TLS proxy in front (--allowed-host NAME), or trust the network."
            )
        access = Access(allowed_hosts=names, token=token, cookie=f"barograph-{self.port}")
        self.events = Events()
        """What the event streams tell."""
        self._server = _Server(
            uvicorn.Config(
                create_app(root, access=access, events=self.events, policy=policy),
                access_log=False,
                http=protocol(strangers=beyond, limits=limits),
                lifespan="on",
                log_config=None,
                log_level="critical",  # of what clients do to their connections there is nothing to report
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE,  # type: ignore[arg-type]  # only ever given to asyncio.wait_for
                ws="none",
            ),
            self.events,
        )

    def run(self) -> None:
        """Serve until Ctrl-C, SIGTERM or `stop`. Returns normally in each case."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def stop(self) -> None:
        """Make `run` return within a second; may be called from any thread, also before `run`."""
        self._server.stop()

    def close(self) -> None:
        """Let go of the port; only needed where `run` is never called."""
        self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn, but a signal that asked for a clean stop ends in a clean exit, also while event streams are open.

    uvicorn raises the signal again once it has stopped: SIGTERM then kills the process (exit code 143) and SIGINT
    ends in a traceback. And it waits for open streams, which never end by themselves.
    """

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while serving, if this is the main thread; give them back afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, disposition in before.items():
                signal.signal(number, disposition)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The handler of both signals; a second Ctrl-C waits for nothing."""
        _silence()
        self._events.close()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Stop as a signal would."""
        _silence()
        self._events.close()
        self.should_exit = True


def _silence() -> None:
    """Answers that are still under way after the grace time are cut off: no error to report, and no traceback."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def _check_root(root: Path) -> None:
    if not root.exists():
        return
    if not root.is_dir():
        raise UsageError("--base-dir is not a folder", where=str(root), advice="Name the folder that holds the runs")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UsageError("--base-dir may not be read", where=str(root), advice="Check its permissions")


def _checked_name(name: str) -> str:
    """An `--allowed-host` as `Host` is compared with it."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--allowed-host {name!r} is not a host name",
            advice="Give a name without scheme and port, such as dashboard.example.org; there are no wildcards",
        )
    return name.lower()


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    """The address that `host` stands for; IPv4 where a name has both."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BindRefused(f"--host {host!r} is not an address of this machine: {error}") from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(address[0]).partition("%")[0]


def _bind(family: socket.AddressFamily, address: str, *, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _keep_buffers_small(listener)
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise BindRefused(*_bind_problem(error, address, port=port)) from error
    return listener


def _keep_buffers_small(listener: socket.socket) -> None:
    """For a client that reads nothing the kernel would hold megabytes, and for one that is gone it waits 15 minutes.

    Connections inherit both from the socket that they came to. Only what was not sent yet is bounded, so a fast
    connection is no slower for it. Both are of Linux.
    """
    for name, value in (("TCP_NOTSENT_LOWAT", 65536), ("TCP_USER_TIMEOUT", 60_000)):
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _bind_problem(error: OSError, address: str, *, port: int) -> tuple[str]:
    if error.errno == errno.EADDRINUSE:
        return (f"port {port} on {address} is in use. Choose another with --port, or --port 0 for any free one",)
    if error.errno == errno.EACCES:
        return (f"port {port} on {address} may not be used by you. Choose one above 1023 with --port",)
    return (f"port {port} on {address} cannot be listened on: {error.strerror}. Choose another --host or --port",)


def _url_host(address: str) -> str:
    """The address as a URL for a browser on this machine has it."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        return "127.0.0.1" if parsed.version == 4 else "[::1]"
    return address if parsed.version == 4 else f"[{address}]"

"""What do 200 event-stream clients cost the server, when 50 of them never read?

    python bench/event_clients.py [--clients 200] [--stalled 50] [--seconds 20] [--changes 4]

A run logs `--changes` steps per second, and the server follows it, first without any client and then with all of them.
The processor time of the server process is read from the system before and after; what it does for the run itself is
in both figures. The clients are one process of their own on the same machine. A stalled client has asked for the
stream and reads nothing, with the smallest receive buffer that the system gives.
"""

import argparse
import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

import measure
from barograph.records import Banner, Step, codec

REQUEST = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
SETTLE_S = 2.0
"""Seconds after which the server is taken to be at rest."""


class Log:
    """A run that goes on as long as it is asked to."""

    def __init__(self, root: Path) -> None:
        folder = root / "run" / "logs"
        folder.mkdir(parents=True)
        self._file = (folder / "train-000001-20260101T000000.jsonl").open("ab", buffering=0)
        self._file.write(codec.encode_line(Banner(run="run", attempt=1, writer="train", time=time.time())))
        self._step = 0

    def add_step(self) -> None:
        """Log one step, and have it on disk."""
        self._step += 1
        self._file.write(codec.encode_line(Step(step=self._step, loss=1.0 / self._step, time=time.time())))

    def close(self) -> None:
        """Log no more."""
        self._file.close()


@contextlib.contextmanager
def serving(root: Path) -> Iterator[tuple[psutil.Process, int]]:
    """A server of its own process over `root`: the process and its port."""
    line = [sys.executable, "-m", "barograph", "serve", "--base-dir", str(root), "--port", "0"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=measure.environment())
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        assert found is not None, "the server did not start"
        yield psutil.Process(process.pid), int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def connected(port: int, *, stalled: bool) -> socket.socket:
    """A connection that has asked for the stream."""
    opened = socket.socket()
    opened.setblocking(False)
    if stalled:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(opened, ("127.0.0.1", port))
    await loop.sock_sendall(opened, REQUEST)
    return opened


async def read(opened: socket.socket, logged: Sequence[float], delays: list[float]) -> None:
    """Take every event, and note how long after the newest step each one came."""
    loop = asyncio.get_running_loop()
    while received := await loop.sock_recv(opened, 65536):
        if logged and b"event: change" in received:
            delays.append(time.monotonic() - logged[-1])


async def watch(server: psutil.Process, log: Log, *, seconds: float, changes: float, logged: list[float]) -> float:
    """Processor seconds of the server per second while the run logs."""
    await asyncio.sleep(SETTLE_S)
    before, began = sum(server.cpu_times()[:2]), time.monotonic()
    for number in range(round(seconds * changes)):
        log.add_step()
        logged.append(time.monotonic())
        await asyncio.sleep(max(0.0, began + (number + 1) / changes - time.monotonic()))
    return (sum(server.cpu_times()[:2]) - before) / (time.monotonic() - began)


async def measured(arguments: argparse.Namespace, root: Path) -> dict[str, object]:
    """The figures of one server."""
    log, logged, delays = Log(root), [], []
    watched = {"seconds": arguments.seconds, "changes": arguments.changes}
    with serving(root) as (server, port):
        alone = await watch(server, log, **watched, logged=[])
        rss_before = server.memory_info().rss
        reading = arguments.clients - arguments.stalled
        sockets = [await connected(port, stalled=number >= reading) for number in range(arguments.clients)]
        tasks = [asyncio.create_task(read(one, logged, delays)) for one in sockets[:reading]]
        share = await watch(server, log, **watched, logged=logged)
        rss_after = server.memory_info().rss
        still_open = sum(one.status == psutil.CONN_ESTABLISHED for one in server.net_connections("tcp"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in sockets:
            one.close()
    log.close()
    return {
        "percent_of_a_core_alone": 100 * alone,
        "percent_of_a_core": 100 * share,
        "rss_mb_before": rss_before / 1e6,
        "rss_mb_after": rss_after / 1e6,
        "rss_kb_per_client": (rss_after - rss_before) / 1e3 / arguments.clients,
        "events_received": len(delays),
        "events_expected": reading * len(logged),
        "connections_at_the_end": still_open,
        "delay_ms": measure.spread([[1000 * delay for delay in delays]]),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--stalled", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--changes", type=float, default=4.0)
    arguments = parser.parse_args()
    began = measure.conditions("litestar", "uvicorn", "uvloop", "httptools", "msgspec")
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(arguments, Path(folder)))
    measure.table(
        "Event streams", ("figure", "value"), [(name, one) for name, one in found.items() if name != "delay_ms"]
    )
    grown = float(str(found["rss_mb_after"])) - float(str(found["rss_mb_before"]))
    measure.write(
        {
            **began,
            "claim": "200 event streams, 50 of them stalled, cost at most a tenth of a core and bounded memory",
            "figures": found,
            "targets": [
                measure.target("percent of one core, clients and run", float(str(found["percent_of_a_core"])), 10.0),
                measure.target("MB that the clients add to the server", grown, 50.0),
            ],
            "does_not_show": "Clients over a network: these share the machine, and its cores, with the server. A longer"
            " stall: a connection is cut after a minute without progress. What a stalled client loses: at so few"
            " changes the system's own buffers hold them all.",
        }
    )


if __name__ == "__main__":
    main()

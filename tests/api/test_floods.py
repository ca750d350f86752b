"""A flood of questions that nobody asked before: memory is bounded, and who asks politely is answered."""

import asyncio
import random
import re
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

Serving = Callable[..., AbstractContextManager[tuple[subprocess.Popen[str], str, int]]]
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
SMOOTHING = ("0", "0.6", "0.9", "0.97", "0.99", "0.999")
AT_ONCE = 200
SECONDS = 4.0


class Client:
    """One connection that asks again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, target: str) -> int:
        """The status of the answer; the body is read and thrown away."""
        self._writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: zstd\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, length = STATUS.match(head), LENGTH.search(head)
        assert status is not None
        if length is not None:
            await self._reader.readexactly(int(length[1]))
        return int(status[1])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def connected(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port))


def distinct_question(chance: random.Random) -> str:
    """A window, a number of buckets and a smoothing that hardly come twice."""
    first = chance.randrange(15_000)
    last = first + chance.randrange(20_000)
    return (
        f"/api/series?run=alpha&name=loss&first={first}&last={last}"
        f"&buckets={chance.randrange(1, 4001)}&smoothing={chance.choice(SMOOTHING)}"
    )


async def flood(port: int, until: float, *, seed: int) -> Counter[int]:
    """Ask without pause; the statuses of the answers."""
    chance, seen = random.Random(seed), Counter[int]()
    client = await connected(port)
    while time.monotonic() < until:
        seen[await client.ask(distinct_question(chance))] += 1
    client.close()
    return seen


async def polite(port: int, until: float) -> tuple[Counter[int], list[float]]:
    """Ask for what a dashboard asks for, ten times a second: the statuses, and the seconds that each answer took."""
    seen, took = Counter[int](), []
    client = await connected(port)
    while time.monotonic() < until:
        for target in ("/api/status/live", "/api/status/live?run=alpha", "/healthz", "/api/runs"):
            began = time.monotonic()
            seen[await client.ask(target)] += 1
            took.append(time.monotonic() - began)
        await asyncio.sleep(0.1)
    client.close()
    return seen, took


def test_a_flood_of_distinct_questions_starves_nobody_and_fills_nothing(
    tmp_path: Path, write_run: Callable[..., Path], serving: Serving
) -> None:
    root = tmp_path / "runs"
    write_run(root, "alpha", steps=20_000)

    async def both(port: int, seconds: float) -> tuple[Counter[int], Counter[int], list[float]]:
        until = time.monotonic() + seconds
        floods = [asyncio.create_task(flood(port, until, seed=seed)) for seed in range(AT_ONCE)]
        seen, took = await polite(port, until)
        return sum(await asyncio.gather(*floods), Counter[int]()), seen, took

    with serving(root) as (process, _, port):
        server = psutil.Process(process.pid)
        asyncio.run(both(port, 1.0))
        before = server.memory_info().rss
        flooded, seen, took = asyncio.run(both(port, SECONDS))
        grown = server.memory_info().rss - before
    assert set(seen) == {200}, "no polite question is refused"
    assert set(flooded) <= {200, 503}, flooded
    assert flooded[200] > 0
    assert flooded[503] > 0, "more different questions wait than there are places: the flood was one"
    assert statistics.median(took) < 0.1
    assert grown < 48e6, f"{grown / 1e6:.0f} MB"

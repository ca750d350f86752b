"""One writer at 100,000 points per second, a server that indexes it, and 32 readers: how long do the readers wait?

    python bench/readers.py [--quick] [--seconds 20] [--readers 32] [--every-ms 50]

The writer is a process that appends lines of 10 values to a journal, paced. The server is `barograph serve` on that
root. Each reader asks for a chart of 1,000 buckets with a window of its own, never the same twice, and waits for the
answer before the next time comes. Measured four times, each on a fresh root that begins with a million values:

    index    32 processes that read the index (a new snapshot each time), without the server's help
    charts   32 connections to the server, whole charts: 640 different ones a second, more than one core can make
    cursors  32 connections to the server that follow the run as a page does: its newest part since the last answer
    paced    32 connections to the server, a whole chart every half second
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import charts
import measure
import rebuild
from barograph.index import Index, query
from barograph.records import Step, codec
from event_clients import serving

WIDTH = rebuild.WIDTH
BEFORE = 1_000_000
QUICK_BEFORE = 100_000
WRITE_EVERY_S = 0.02
WARM_UP_S = 2.0
WAYS = ("index", "charts", "cursors", "paced")
PACED_EVERY_S = 0.5
NOT_SHOWN = [
    "Machines with more cores: writer, server and readers share those named above.",
    "Readers over a network, and browsers, which ask at most ten times a second and compress.",
    "Longer than what was measured, and several runs.",
]


def write(root: str, *, points_per_s: float, seconds: float) -> dict[str, float]:
    """In a child: append to the journal for so long, at so many values a second."""
    (path,) = Path(root).rglob("*.jsonl")
    rng = random.Random(0)
    lines_per_s = points_per_s / WIDTH
    number = first = sum(1 for _ in path.open("rb")) - 1
    began = time.monotonic()
    latest = 0.0
    with path.open("ab", buffering=0) as file:
        while (now := time.monotonic() - began) < seconds:
            due = first + round(now * lines_per_s)
            made = []
            for step in range(number, due):
                values = [rng.random() for _ in range(WIDTH)]
                metrics = dict(zip(rebuild.NAMES, values[1:], strict=True))
                made.append(codec.encode_line(Step(step=step, loss=values[0], time=time.time(), metrics=metrics)))
            file.write(b"".join(made))
            number = due
            latest = max(latest, time.monotonic() - began - now)
            time.sleep(max(0.0, now + WRITE_EVERY_S - (time.monotonic() - began)))
    return {"lines": number, "values_per_s": (number - first) * WIDTH / seconds, "longest_write_s": latest}


class Reader:
    """What one reader asks for, and what became of it."""

    def __init__(self, number: int, *, steps: int) -> None:
        self._rng = random.Random(number)
        self._steps = steps
        self.taken_ms: list[float] = []
        self.errors: list[str] = []
        self.cpu_s = 0.0
        """Of its own process, where it has one."""

    def window(self) -> tuple[int, int]:
        """Another one each time, within what was there at the beginning."""
        width = round(charts.NARROWEST * (self._steps / charts.NARROWEST) ** self._rng.random())
        first = self._rng.randrange(self._steps - width + 1)
        return first, first + width - 1

    def pause(self, every_s: float) -> float:
        """Seconds until it begins: they do not ask all at once."""
        return self._rng.random() * every_s


def read_index(root: str, *, readers: int, every_s: float, seconds: float, steps: int) -> list[Reader]:
    """In a child: processes that read the index, as the servers and commands of several people would."""
    ends = time.monotonic() + seconds
    with multiprocessing.get_context("fork").Pool(readers) as pool:
        wanted = [(root, number, every_s, ends, steps) for number in range(readers)]
        return pool.starmap(read_on, wanted, chunksize=1)


def read_on(root: str, number: int, every_s: float, ends: float, steps: int) -> Reader:
    """One reader of the index, until the monotonic time `ends`."""
    index, reader = Index(Path(root)), Reader(number, steps=steps)
    time.sleep(reader.pause(every_s))
    cpu = time.process_time()
    while (began := time.monotonic()) < ends:
        window = reader.window()
        try:
            with index.snapshot() as snapshot:
                sources = query.sources(snapshot, charts.RUN)
                shown = query.shown_series(snapshot, charts.RUN, "loss", among=sources, hidden_from={})
                query.curve(snapshot, shown, first=window[0], last=window[1], at_least=charts.BUCKETS)
            reader.taken_ms.append((time.monotonic() - began) * 1e3)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and told
            reader.errors.append(repr(error)[:200])
        time.sleep(max(0.0, began + every_s - time.monotonic()))
    reader.cpu_s = time.process_time() - cpu
    return reader


async def read_server(
    port: int, *, readers: int, every_s: float, seconds: float, steps: int, follow: bool
) -> list[Reader]:
    """In a child: connections that ask the server."""
    found = [Reader(number, steps=steps) for number in range(readers)]
    ends = time.monotonic() + seconds

    async def go_on(reader: Reader, number: int) -> None:
        await asyncio.sleep(reader.pause(every_s))
        received, sent = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        cursor = None
        while (began := time.monotonic()) < ends:
            window = (number, charts.LENGTHS[-1]) if follow else reader.window()
            path = charts.chart(window, cursor=cursor)
            sent.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\r\n".encode())
            head = await received.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            content = await received.readexactly(int(length[1]) if length else 0)
            if head.startswith(b"HTTP/1.1 200 "):
                reader.taken_ms.append((time.monotonic() - began) * 1e3)
                if follow:
                    cursor = json.loads(content)["series"][0]["cursor"]
            else:
                reader.errors.append(f"{head[:40]!r} {content[:150]!r}")
            await asyncio.sleep(max(0.0, began + every_s - time.monotonic()))
        sent.close()

    await asyncio.gather(*(go_on(reader, number) for number, reader in enumerate(found)))
    return found


def in_child(specification: dict) -> dict[str, object]:
    """What a child does."""
    role = specification.pop("role")
    if role == "writer":
        return dict(write(**specification))
    began = time.process_time()
    if role == "index":
        found = read_index(**specification)
    else:
        found = asyncio.run(read_server(**specification, follow=role == "cursors"))
    errors = [error for reader in found for error in reader.errors]
    return {
        "ms": [taken for reader in found for taken in reader.taken_ms],
        "errors": len(errors),
        "examples": errors[:3],
        "cpu_s": time.process_time() - began + sum(reader.cpu_s for reader in found),
    }


def one_way(way: str, *, before: int, points_per_s: float, readers: int, every_s: float, seconds: float) -> dict:
    """All figures of one way to read."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        root.mkdir()
        rebuild.make_journal(root, before)
        every_s = PACED_EVERY_S if way == "paced" else every_s
        asked = {"readers": readers, "every_s": every_s, "seconds": seconds, "steps": before // WIDTH}
        with serving(root) as (server, port):
            client = charts.Client(port)
            while json.loads(client.get("/healthz"))["index"] != "ready":
                time.sleep(0.05)
            charts.wait_until_at_rest(client, server)
            line = {
                "role": "writer",
                "root": str(root),
                "points_per_s": points_per_s,
                "seconds": seconds + 2 * WARM_UP_S,
            }
            with started(line) as writer:
                time.sleep(WARM_UP_S)
                cpu, began = sum(server.cpu_times()[:2]), time.monotonic()
                place: dict[str, object] = {"root": str(root)} if way == "index" else {"port": port}
                told = measure.child(__file__, {"role": way, **place, **asked}, timeout=seconds + 60)
                cpu = (sum(server.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
                written = json.loads(writer.communicate(timeout=seconds + 60)[0])
            caught_up_s = wait_for_step(root, int(written["lines"]) - 1)
            rss = server.memory_info().rss
            client.close()
    return {
        "ms": measure.spread([told["ms"]]),
        "reads_per_s": len(told["ms"]) / seconds,
        "reads_per_s_wanted": readers / every_s,
        "errors": told["errors"],
        "examples_of_errors": told["examples"],
        "values_written_per_s": written["values_per_s"],
        "longest_write_s": written["longest_write_s"],
        "index_complete_after_the_last_line_s": caught_up_s,
        "server_percent_of_a_core": 100 * cpu,
        "readers_percent_of_a_core": 100 * told["cpu_s"] / seconds,
        "server_rss_mb": rss / 1e6,
    }


@contextlib.contextmanager
def started(specification: dict):
    """A child that runs beside this process."""
    line = [sys.executable, __file__, "--child", json.dumps(specification)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=measure.environment())
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for_step(root: Path, step: int) -> float:
    """Seconds until the index has a step of the run."""
    index, began = Index(root), time.monotonic()
    try:
        while time.monotonic() - began < 60:
            with index.snapshot() as snapshot:
                (source,) = query.sources(snapshot, charts.RUN)
                if source.state.last_step == step:
                    return time.monotonic() - began
            time.sleep(0.01)
    finally:
        index.close()
    raise RuntimeError(f"step {step} is not in the index a minute after it was written")


def show(found: dict) -> None:
    """Print the figures."""
    words = ("reads_per_s", "errors", "values_written_per_s", "server_percent_of_a_core", "readers_percent_of_a_core")
    rows = [
        [way, one["ms"]["median"], one["ms"]["p90"], one["ms"]["p99"], *[one[word] for word in words]]
        for way, one in found.items()
    ]
    header = ["read by", "median ms", "p90", "p99", "reads/s", "errors", "values/s", "server CPU %", "readers CPU %"]
    measure.table("One writer and many readers", header, rows)
    print()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="A short time, to try the script.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--readers", type=int, default=32)
    parser.add_argument("--every-ms", type=float, default=50.0)
    parser.add_argument("--points-per-s", type=float, default=100_000.0)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print(json.dumps(in_child(given.child)))
        return
    conditions = measure.conditions("msgspec", "numpy", "litestar", "uvicorn", "uvloop", "httptools")
    settings = {
        "before": QUICK_BEFORE if given.quick else BEFORE,
        "points_per_s": given.points_per_s,
        "readers": given.readers,
        "every_s": given.every_ms / 1e3,
        "seconds": 4.0 if given.quick else given.seconds,
    }
    found = {way: one_way(way, **settings) for way in WAYS}
    show(found)
    written = min(one["values_written_per_s"] for one in found.values())
    measure.write(
        {
            "conditions": conditions,
            "settings": settings,
            "found": found,
            "targets": [
                *[measure.target(f"{way}: median ms", one["ms"]["median"], 2.0) for way, one in found.items()],
                *[measure.target(f"{way}: errors", one["errors"], 0) for way, one in found.items()],
                measure.target("values not written, % of those wanted", 100 * (1 - written / given.points_per_s), 1.0),
            ],
            "not_shown": NOT_SHOWN,
        }
    )


if __name__ == "__main__":
    main()

"""How long does a chart of 1,000 buckets take, over 1, 10 and 100 million steps?

    python bench/charts.py [--quick]

Asked of the index, of the view that makes the document, and of the server over HTTP; and how soon after its start the
server answers. At 1 million steps TensorBoard and trackio are asked for theirs; that is in this file, long as it is,
because they are asked by the same client under the same clock.

The runs are not written line by line. Each is a real journal of its last few thousand steps, read by our indexer; the
steps before them are then put into the pyramid of that index by the function that the indexer uses for it
(`pyramid.grow`): the loss and the time of each step, some losses NaN. So the index is the one that a journal of that
length gives, but for what it says of the journal file.

No chart is asked for twice: windows differ, those over the whole run in how far beyond its end they reach. So no answer
comes from a cache. What is idle is asked for in the same words again, as a page does.
"""

import argparse
import contextlib
import gzip
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
from numpy.typing import NDArray

import measure
from barograph.index import Index, Indexer, points, pyramid, query
from barograph.index.database import open_for_writing, transaction
from barograph.index.place import shared_place
from barograph.records import Banner, Step, codec
from barograph.views.series import Asked, series_set
from event_clients import serving

LENGTHS = (1_000_000, 10_000_000, 100_000_000)
QUICK_LENGTHS = (100_000, 1_000_000)
PEERS_AT = 1_000_000
BUCKETS = 1_000
NARROWEST = 2_000
"""Steps of the least window."""
SMOOTHINGS = (0.0, 0.9)
RUN = "long"
BEGAN = 1.7e9
PER_STEP_S = 0.1
NAN_EVERY = 999_983
BATCH = 64 * pyramid.CHUNK
PEER_LIMIT_S = 150.0
NOT_SHOWN = [
    "A cold page cache: everything was written a moment before.",
    "Several charts in one request, and the time of buckets (`times`).",
    "A run of several attempts or ranks.",
    "A network: client and server share the machine and its cores.",
    "A journal of that length being read (rebuild.py shows that), or one being written (readers.py).",
    "TensorBoard's and trackio's charts are samples; neither gives least and greatest of what it leaves out.",
]

Window = tuple[int, int]


def losses_at(steps: NDArray[np.int64], *, length: int) -> NDArray[np.float64]:
    """A falling loss with noise, seldom NaN."""
    noise = np.random.default_rng(int(steps[0])).normal(0, 0.2, len(steps))
    return np.where(steps % NAN_EVERY == NAN_EVERY - 1, np.nan, 2 + 8 * np.exp(-3 * steps / length) + noise)


def times_at(steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Times that come a little irregularly, as they do."""
    return BEGAN + PER_STEP_S * (steps + np.random.default_rng(int(steps[0])).uniform(0, 0.5, len(steps)))


def build(root: Path, length: int) -> None:
    """A root with a run of `length` steps, and its index."""
    chunked = (length - 1) // pyramid.CHUNK * pyramid.CHUNK
    logs = root / RUN / "logs"
    logs.mkdir(parents=True)
    steps = np.arange(chunked, length)
    rows = zip(steps.tolist(), losses_at(steps, length=length).tolist(), times_at(steps).tolist(), strict=True)
    lines = [codec.encode_line(Step(step=step, loss=loss, time=when)) for step, loss, when in rows]
    banner = codec.encode_line(Banner(run=RUN, attempt=1, writer="train", time=BEGAN))
    (logs / "train-000001-20231114T221320.jsonl").write_bytes(b"".join([banner, *lines]))
    with Indexer(root) as indexer:
        indexer.scan()
    with contextlib.closing(open_for_writing(shared_place(root).database).connection) as connection:
        (loss,) = connection.execute("SELECT id FROM series WHERE name = 'loss'").fetchone()
        (source,) = connection.execute("SELECT id FROM source").fetchone()
        for begin in range(0, chunked, BATCH):
            steps = np.arange(begin, min(begin + BATCH, chunked))
            with transaction(connection):
                for series, values in ((points.TIMES, times_at(steps)), (loss, losses_at(steps, length=length))):
                    pyramid.grow(connection, source=source, series=series, steps=steps, values=values)


def windows(kind: str, length: int, *, count: int, seed: int) -> list[Window]:
    """Different windows: over everything, or of any width (its logarithm even) at any place."""
    rng = random.Random(f"{kind} {seed}")
    if kind == "whole run":
        return [(0, length + beyond) for beyond in rng.sample(range(10**9), count)]
    found = []
    for _ in range(count):
        width = round(NARROWEST * (length / NARROWEST) ** rng.random())
        first = rng.randrange(length - width + 1)
        found.append((first, first + width - 1))
    return found


def timed_ms(act: Callable[[Window], object], asked: list[Window]) -> list[float]:
    """Milliseconds of each."""
    taken = []
    for window in asked:
        began = time.perf_counter()
        act(window)
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


class Client:
    """One connection to a server, kept open. With `encoding`, a compression is taken."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PEER_LIMIT_S)

    def get(self, path: str, *, encoding: str = "identity", body: bytes | None = None) -> bytes:
        """The body of a 200; raises `RuntimeError` for any other answer."""
        headers = {"Accept-Encoding": encoding}
        if body is None:
            self._connection.request("GET", path, headers=headers)
        else:
            self._connection.request("POST", path, body, {**headers, "Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return content

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def chart(window: Window, *, name: str = "loss", smoothing: float = 0.0, cursor: str | None = None) -> str:
    """The question for a chart."""
    asked = {"run": RUN, "name": name, "first": window[0], "last": window[1], "buckets": BUCKETS}
    return (
        f"/api/series?{urlencode({**asked, 'smoothing': smoothing, **({} if cursor is None else {'cursor': cursor})})}"
    )


def one_length(root: Path, length: int, *, calls: int, repetitions: int, starts: int) -> dict[str, object]:
    """All figures of one run."""
    began = time.perf_counter()
    build(root, length)
    build_s = time.perf_counter() - began
    start_s = [start_to_chart(root, length, number) for number in range(starts)]
    index = Index(root)
    found: dict[str, list[list[float]]] = {}
    counted: dict[str, int] = {}
    try:
        with serving(root) as (server, port):
            client = Client(port)
            wait_until_at_rest(client, server)
            for repetition in range(repetitions):
                for name, act, asked in cases(index, client, length, count=calls, seed=repetition):
                    timed_ms(act, asked[:20])
                    found.setdefault(name, []).append(timed_ms(act, asked[20:]))
            counted = sizes(client, length)
            idle = idle_delta(client, length, count=calls)
            rss = server.memory_info().rss
            client.close()
    finally:
        index.close()
    size = shared_place(root).database.stat().st_size
    return {
        "build_s": build_s,
        "index_mb": size / 1e6,
        "index_bytes_per_step": size / length,
        "start_to_chart_s": measure.spread([start_s]),
        "ms": {name: measure.spread(taken) for name, taken in found.items()},
        "bytes": counted,
        "idle_delta": idle,
        "server_rss_mb": rss / 1e6,
    }


def cases(
    index: Index, client: Client, length: int, *, count: int, seed: int
) -> Iterator[tuple[str, Callable[[Window], object], list[Window]]]:
    """What is timed: its name, the call, and the windows it is given, the first 20 of them to warm up."""
    for number, kind in enumerate(("whole run", "windows")):
        asked = windows(kind, length, count=count + 20, seed=seed)
        with index.snapshot() as snapshot:
            sources = query.sources(snapshot, RUN)
            shown = query.shown_series(snapshot, RUN, "loss", among=sources, hidden_from={})

            def read(window: Window) -> object:
                return query.curve(snapshot, shown, first=window[0], last=window[1], at_least=BUCKETS)  # noqa: B023

            yield f"index, {kind}", read, asked

        def read_anew(window: Window) -> object:
            with index.snapshot() as snapshot:
                sources = query.sources(snapshot, RUN)
                shown = query.shown_series(snapshot, RUN, "loss", among=sources, hidden_from={})
                return query.curve(snapshot, shown, first=window[0], last=window[1], at_least=BUCKETS)

        yield f"index with a new snapshot, {kind}", read_anew, asked
        for smoothing in SMOOTHINGS:

            def view(window: Window, smoothing: float = smoothing) -> object:
                wanted = Asked(first=window[0], last=window[1], buckets=BUCKETS, smoothing=smoothing)
                return series_set(index, RUN, ["loss"], asked=wanted)

            yield f"view, {kind}, smoothing {smoothing:g}", view, asked

            def ask(window: Window, smoothing: float = smoothing) -> object:
                return client.get(chart(window, smoothing=smoothing))

            # the server has answered none of these before: each repetition has a seed of its own
            own = windows(kind, length, count=count + 20, seed=1_000_000 * (number + 1) + seed)
            yield f"HTTP, {kind}, smoothing {smoothing:g}", ask, own


def start_to_chart(root: Path, length: int, number: int) -> float:
    """Seconds from the start of a new server process to its first chart."""
    began = time.perf_counter()
    with serving(root) as (_, port):
        client = Client(port)
        client.get(chart((0, length + number)))
        taken = time.perf_counter() - began
        client.close()
    return taken


def wait_until_at_rest(client: Client, server: psutil.Process) -> None:
    """Until the server follows the root and has checked the index, which it does beside its answers."""
    deadline = time.monotonic() + PEER_LIMIT_S
    while not json.loads(client.get("/healthz"))["indexing"] or server.cpu_percent(interval=0.5) > 10.0:
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not come to rest")
        time.sleep(0.1)


def sizes(client: Client, length: int) -> dict[str, int]:
    """Bytes of a chart of the whole run, by compression."""
    found = {}
    for smoothing in SMOOTHINGS:
        for encoding in ("identity", "gzip", "zstd"):
            content = client.get(chart((0, length - 1), smoothing=smoothing), encoding=encoding)
            found[f"smoothing {smoothing:g}, {encoding}"] = len(content)
            if encoding == "identity":
                buckets = len(json.loads(content)["series"][0]["step"])
                found[f"smoothing {smoothing:g}, buckets"] = buckets
                found[f"smoothing {smoothing:g}, gzip level 6"] = len(gzip.compress(content, 6))
    return found


def idle_delta(client: Client, length: int, *, count: int) -> dict[str, object]:
    """What is asked for with the cursor of a chart, when nothing has changed since."""
    asked = windows("whole run", length, count=count, seed=77)
    with_cursor = {}
    for window in asked:
        (series,) = json.loads(client.get(chart(window, smoothing=0.9)))["series"]
        with_cursor[window] = chart(window, smoothing=0.9, cursor=series["cursor"])
    made = timed_ms(lambda window: client.get(with_cursor[window]), asked)
    again = timed_ms(lambda _: client.get(with_cursor[asked[-1]]), asked)
    path = with_cursor[asked[0]]
    return {
        "bytes": {encoding: len(client.get(path, encoding=encoding)) for encoding in ("identity", "gzip", "zstd")},
        "asked_first_ms": measure.spread([made]),
        "asked_again_ms": measure.spread([again]),
    }


def peers(folder: Path, length: int) -> dict[str, object]:
    """TensorBoard's and trackio's chart of a run of `length` steps."""
    made = {}
    for name in ("tensorboard", "trackio"):
        (folder / name).mkdir()
        made[name] = measure.child(
            __file__, {"make": name, "folder": str(folder / name), "length": length}, timeout=300
        )
    return {
        "tensorboard, fast loader": {**tensorboard(folder / "tensorboard", length, fast=True), **made["tensorboard"]},
        "tensorboard, Python loader": {
            **tensorboard(folder / "tensorboard", length, fast=False),
            **made["tensorboard"],
        },
        "trackio": {**trackio(folder / "trackio", length), **made["trackio"]},
    }


def make_tensorboard(folder: Path, length: int) -> None:
    """An event file as SummaryWriter makes it, without the queue before it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    steps = np.arange(length)
    rows = zip(losses_at(steps, length=length).tolist(), times_at(steps).tolist(), strict=True)
    with (folder / f"events.out.tfevents.{BEGAN:.0f}.bench").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=BEGAN, file_version="brain.Event:2").SerializeToString())
        for step, (loss, when) in enumerate(rows):
            value = Summary(value=[Summary.Value(tag="loss", simple_value=loss)])
            writer.write(Event(wall_time=when, step=step, summary=value).SerializeToString())


def make_trackio(folder: Path, length: int) -> None:
    """Its database, filled by the function that its own writer calls, 10,000 rows at a time."""
    from datetime import UTC, datetime

    os.environ["TRACKIO_DIR"] = str(folder)
    from trackio.sqlite_storage import SQLiteStorage

    for begin in range(0, length, 10_000):
        steps = np.arange(begin, min(begin + 10_000, length))
        SQLiteStorage.bulk_log(
            "bench",
            RUN,
            [{"loss": loss} for loss in losses_at(steps, length=length).tolist()],
            steps=steps.tolist(),
            timestamps=[datetime.fromtimestamp(when, UTC).isoformat() for when in times_at(steps).tolist()],
        )


def tensorboard(folder: Path, length: int, *, fast: bool) -> dict[str, object]:
    """Time from its start to a series that ends where the run ends, then of each request for it."""
    loader = f"--load_fast={'true' if fast else 'false'}"

    def line(port: int) -> list[str]:
        start = "from tensorboard.main import run_main; run_main()"
        return [sys.executable, "-c", start, "--logdir", str(folder), "--port", str(port), loader]

    def ask(client: Client, encoding: str) -> bytes:
        return client.get("/data/plugin/scalars/scalars?run=.&tag=loss", encoding=encoding)

    return peer_figures(line, {}, ask, lambda content: [row[1] for row in json.loads(content)], length=length)


def trackio(folder: Path, length: int) -> dict[str, object]:
    """The same of the request that its page sends for its charts every second."""
    asked = {"project": "bench", "runs": [{"run": RUN, "run_id": None}], "scalar_only": True}

    def line(port: int) -> list[str]:
        start = "import trackio; trackio.show('bench', open_browser=False, block_thread=True, server_port={})"
        return [sys.executable, "-c", start.format(port)]

    def ask(client: Client, encoding: str) -> bytes:
        return client.get("/api/get_logs_batch", encoding=encoding, body=json.dumps(asked).encode())

    def steps(content: bytes) -> list[int]:
        return [row["step"] for row in json.loads(content)["data"][0]["logs"]]

    return peer_figures(line, {"TRACKIO_DIR": str(folder)}, ask, steps, length=length)


def peer_figures(
    line: Callable[[int], list[str]],
    settings: Mapping[str, str],
    ask: Callable[[Client, str], bytes],
    steps: Callable[[bytes], list[int]],
    *,
    length: int,
) -> dict[str, object]:
    """Start, first complete answer, warm answers, sizes and memory of a peer's server."""
    port = free_port()
    began = time.perf_counter()
    with started(line(port), {**measure.environment(), **settings}) as process:
        while True:
            content = b""
            client = Client(port)
            with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException, ValueError, LookupError):
                content = ask(client, "identity")
                if steps(content)[-1] == length - 1:
                    break
            client.close()
            if process.poll() is not None or time.perf_counter() - began > PEER_LIMIT_S:
                raise RuntimeError(f"{line(port)} gave no complete series, exit code {process.poll()}")
            time.sleep(0.02)
        start_s = time.perf_counter() - began
        taken: list[float] = []
        while len(taken) < 5 or (len(taken) < 100 and sum(taken) < 10_000):
            taken += timed_ms(lambda _: ask(client, "identity"), [(0, 0)])
        found = {
            "start_to_chart_s": start_s,
            "request_ms": measure.spread([taken]),
            "points": len(steps(content)),
            "bytes": {encoding: len(ask(client, encoding)) for encoding in ("identity", "gzip")},
            "rss_mb": sum(one.memory_info().rss for one in tree(process.pid)) / 1e6,
        }
        client.close()
    return found


@contextlib.contextmanager
def started(line: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, ended with its children."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(line, stdin=quiet, stdout=quiet, stderr=quiet, env=environment)
    try:
        yield process
    finally:
        running = tree(process.pid)
        for one in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        _, left = psutil.wait_procs(running, timeout=10)
        for one in left:
            one.kill()
        process.wait(timeout=10)


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants; none if it has gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def free_port() -> int:
    """A port that nobody listens on now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def targets(lengths: Mapping[str, dict]) -> list[dict[str, object]]:
    """The bars, at every length: of several cases the slowest counts."""
    found = []
    for name, one in lengths.items():
        median = {case: figures["median"] for case, figures in one["ms"].items()}
        index = max(value for case, value in median.items() if case.startswith("index, "))
        found.append(measure.target(f"{name} steps: index, median ms", index, 1.0))
        for smoothing in SMOOTHINGS:
            ending = f"smoothing {smoothing:g}"
            slowest = max(value for case, value in median.items() if case.startswith("HTTP") and case.endswith(ending))
            found.append(measure.target(f"{name} steps: HTTP, {ending}, median ms", slowest, 3.0))
        for encoding in ("zstd", "gzip"):
            largest = max(size for form, size in one["bytes"].items() if form.endswith(f", {encoding}"))
            found.append(measure.target(f"{name} steps: kB with {encoding}", largest / 1e3, 25.0))
        found += [
            measure.target(f"{name} steps: start to chart, median s", one["start_to_chart_s"]["median"], 0.5),
            measure.target(f"{name} steps: idle delta, bytes", one["idle_delta"]["bytes"]["identity"], 1_000),
        ]
    return found


def show(result: dict) -> None:
    """Print the figures."""
    for name, one in result["lengths"].items():
        rows = [[case, ms["median"], ms["p90"], ms["p99"]] for case, ms in one["ms"].items()]
        idle = one["idle_delta"]
        rows += [[f"HTTP, idle delta, {word}", ms["median"], ms["p90"], ms["p99"]] for word, ms in idle_rows(idle)]
        measure.table(f"{name} steps, milliseconds", ["asked", "median", "p90", "p99"], rows)
        start = one["start_to_chart_s"]
        print(f"  start to first chart {start['median']:.3f} s (up to {start['max']:.3f}); server RSS", end=" ")
        print(f"{one['server_rss_mb']:.0f} MB; index {one['index_mb']:.0f} MB")
        print(f"  bytes {one['bytes']}; idle delta {idle['bytes']}")
    rows = [
        [name, one["start_to_chart_s"], one["request_ms"]["median"], one["request_ms"]["p99"], one["bytes"]["identity"]]
        for name, one in result.get("peers", {}).items()
    ]
    if rows:
        measure.table(
            f"Peers at {result['peers_at']:,} steps", ["server", "start s", "median ms", "p99", "bytes"], rows
        )
    print()


def idle_rows(idle: dict) -> list[tuple[str, dict]]:
    """The two ways to ask for it, with their times."""
    return [("asked first", idle["asked_first_ms"]), ("asked again", idle["asked_again_ms"])]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Short runs and few calls, to try the script.")
    parser.add_argument("--no-peers", action="store_true", help="Ours alone.")
    parser.add_argument("--calls", type=int, default=0, help="Charts per case and repetition.")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        make_for_peer(**given.child)
        return
    lengths = QUICK_LENGTHS if given.quick else LENGTHS
    calls = given.calls or (40 if given.quick else 200)
    peers_at = PEERS_AT // 10 if given.quick else PEERS_AT
    conditions = measure.conditions("msgspec", "numpy", "litestar", "uvicorn", "zstandard", "tensorboard", "trackio")
    found = {}
    for length in lengths:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "runs"
            root.mkdir()
            found[f"{length:,}"] = one_length(root, length, calls=calls, repetitions=3, starts=5)
    result = {"conditions": conditions, "lengths": found}
    if not given.no_peers:
        with tempfile.TemporaryDirectory() as folder:
            result |= {"peers_at": peers_at, "peers": peers(Path(folder), peers_at)}
    show(result)
    result |= {"targets": targets(found), "not_shown": NOT_SHOWN}
    measure.write(result)


def make_for_peer(*, make: str, folder: str, length: int) -> None:
    """In a child: a peer's store, and what making it took."""
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        {"tensorboard": make_tensorboard, "trackio": make_trackio}[make](Path(folder), length)
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    print("\n" + json.dumps({"store_made_s": time.perf_counter() - began, "store_mb": size / 1e6}))


if __name__ == "__main__":
    main()

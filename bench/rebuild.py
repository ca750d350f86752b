"""How fast is the index built again from the journal, and in how much memory is it built and served?

    python bench/rebuild.py [--quick] [--repetitions N]

The journal is JSON lines of 10 values (a loss and nine metrics, with all their digits), as our writer writes them,
1 and 10 million values. Every rebuild is a fresh process that ends with a complete index; the time is that of the scan,
without the start of Python. Beside the values the index stores the time of each line; both ways of counting are shown.

The naive way, in the same script: `json.loads` of each line, and a row of an SQLite table per value. It checks nothing
and has nothing that a chart could be drawn from at once.
"""

import argparse
import json
import shutil
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import charts
import measure
from barograph.index import Indexer
from barograph.index.place import shared_place
from barograph.journal.layout import PRIVATE
from barograph.records import Banner, Step, codec
from event_clients import serving

VALUES = (1_000_000, 10_000_000)
QUICK_VALUES = (100_000, 1_000_000)
WIDTH = 10
NAMES = [f"train/metric_{number}" for number in range(WIDTH - 1)]
BEGAN = 1.7e9
CHARTS = 200
BATCH = 10_000
NOT_SHOWN = [
    "A cold page cache: the journal was written a moment before.",
    "Compressed journals, several files, and lines of other kinds.",
    "Wide rows (32 and more values), which are shorter and faster per value.",
    "Shared pages are in every figure of memory (RSS), those of Python and its libraries among them.",
]


def make_journal(root: Path, values: int) -> int:
    """A run with so many values; bytes of its journal."""
    logs = root / charts.RUN / "logs"
    logs.mkdir(parents=True)
    rng = np.random.default_rng(0)
    path = logs / "train-000001-20231114T221320.jsonl"
    with path.open("wb") as file:
        file.write(codec.encode_line(Banner(run=charts.RUN, attempt=1, writer="train", time=BEGAN)))
        for begin in range(0, values // WIDTH, BATCH):
            rows = rng.normal(2.0, 0.5, (min(BATCH, values // WIDTH - begin), WIDTH)).tolist()
            for step, (loss, *rest) in enumerate(rows, begin):
                metrics = dict(zip(NAMES, rest, strict=True))
                file.write(codec.encode_line(Step(step=step, loss=loss, time=BEGAN + 0.1 * step, metrics=metrics)))
    return path.stat().st_size


def rebuild(root: Path) -> dict[str, float]:
    """In a child: the index of a root without one."""
    shutil.rmtree(root / PRIVATE, ignore_errors=True)
    before = peak_mb()
    with Indexer(root) as indexer:
        began, busy = time.perf_counter(), time.process_time()
        indexer.scan()
        taken, busy = time.perf_counter() - began, time.process_time() - busy
    return {"seconds": taken, "cpu_seconds": busy, "peak_rss_mb": peak_mb(), "peak_rss_before_mb": before}


def naive(root: Path) -> dict[str, float]:
    """In a child: a row per value."""
    (path,) = root.rglob("*.jsonl")
    database = root / "naive.sqlite"
    database.unlink(missing_ok=True)
    before, began = peak_mb(), time.perf_counter()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE point (name TEXT, step INTEGER, time REAL, value REAL)")
    rows: list[tuple[str, int, float, float]] = []
    with path.open("rb") as file:
        for line in file:
            record = json.loads(line)
            if record["type"] != "step":
                continue
            step, when = record["step"], record["time"]
            rows.append(("loss", step, when, record["loss"]))
            rows.extend((name, step, when, value) for name, value in record["metrics"].items())
            if len(rows) >= 50_000:
                connection.executemany("INSERT INTO point VALUES (?, ?, ?, ?)", rows)
                connection.commit()
                rows.clear()
    connection.executemany("INSERT INTO point VALUES (?, ?, ?, ?)", rows)
    connection.execute("CREATE INDEX by_step ON point (name, step)")
    connection.commit()
    connection.close()
    taken = time.perf_counter() - began
    size = database.stat().st_size
    database.unlink()
    return {"seconds": taken, "peak_rss_mb": peak_mb(), "peak_rss_before_mb": before, "store_bytes": size}


def peak_mb(pid: int | str = "self") -> float:
    """Greatest RSS of a process so far; that of `getrusage` may be its parent's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def one_size(root: Path, values: int, *, repetitions: int) -> dict[str, object]:
    """All figures of one journal."""
    size = make_journal(root, values)
    found: dict[str, list[dict]] = {"rebuild": [], "naive": []}
    for _ in range(repetitions):
        for way in found:
            found[way].append(measure.child(__file__, {"way": way, "root": str(root)}, timeout=300))
    stored = values + values // WIDTH
    return {
        "lines": values // WIDTH,
        "journal_mb": size / 1e6,
        "index_bytes_per_value": index_size(root) / values,
        "index_bytes_per_point_with_times": index_size(root) / stored,
        "values_per_s": measure.spread([[values / one["seconds"] for one in found["rebuild"]]]),
        "points_per_s_with_times": measure.spread([[stored / one["seconds"] for one in found["rebuild"]]]),
        "values_per_cpu_s": measure.spread([[values / one["cpu_seconds"] for one in found["rebuild"]]]),
        "journal_mb_per_s": statistics.median(size / 1e6 / one["seconds"] for one in found["rebuild"]),
        "peak_rss_mb": measure.spread([[one["peak_rss_mb"] for one in found["rebuild"]]]),
        "rss_mb_before": statistics.median(one["peak_rss_before_mb"] for one in found["rebuild"]),
        "naive": {
            "values_per_s": measure.spread([[values / one["seconds"] for one in found["naive"]]]),
            "peak_rss_mb": measure.spread([[one["peak_rss_mb"] for one in found["naive"]]]),
            "bytes_per_value": found["naive"][0]["store_bytes"] / values,
        },
        "server": {
            "on_the_index": served(root, values // WIDTH),
            "that_built_it_first": served(root, values // WIDTH, anew=True),
        },
    }


def served(root: Path, steps: int, *, anew: bool = False) -> dict[str, float]:
    """Memory of a server that has answered different charts of every series; `anew`: it built the index itself."""
    if anew:
        shutil.rmtree(root / PRIVATE)
    began = time.perf_counter()
    with serving(root) as (server, port):
        client = charts.Client(port)
        while json.loads(client.get("/healthz"))["index"] != "ready":
            time.sleep(0.05)
        ready_s = time.perf_counter() - began
        charts.wait_until_at_rest(client, server)
        peak_before = peak_mb(server.pid)
        names = ["loss", *NAMES]
        for number in range(CHARTS):
            window = (number * (steps // 2) // CHARTS, steps - 1)
            client.get(charts.chart(window, name=names[number % len(names)], smoothing=0.9), encoding="zstd")
        memory = server.memory_full_info()
        client.close()
        return {
            "rss_mb": memory.rss / 1e6,
            "own_pages_mb": memory.uss / 1e6,
            "peak_rss_mb_until_ready": peak_before,
            "peak_rss_mb": peak_mb(server.pid),
            "start_to_ready_s": ready_s,
        }


def index_size(root: Path) -> int:
    """Bytes of the database, its log merged into it."""
    return shared_place(root).database.stat().st_size


def show(result: dict) -> None:
    """Print the figures."""
    rows = []
    for name, one in result["values"].items():
        speeds = [one[word]["median"] for word in ("values_per_s", "points_per_s_with_times", "values_per_cpu_s")]
        rows.append([f"{name}, ours", *speeds, one["peak_rss_mb"]["median"], one["index_bytes_per_value"]])
        naively = one["naive"]
        memory = [naively["peak_rss_mb"]["median"], naively["bytes_per_value"]]
        rows.append([f"{name}, naive", naively["values_per_s"]["median"], "", "", *memory])
    header = ["values", "values/s", "with times", "values/CPU s", "peak RSS MB", "bytes/value"]
    measure.table("Rebuild", header, rows)
    shown = ["rss_mb", "own_pages_mb", "peak_rss_mb_until_ready", "start_to_ready_s"]
    rows = [
        [f"{name}, {how.replace('_', ' ')}", *[one["server"][how][word] for word in shown]]
        for name, one in result["values"].items()
        for how in one["server"]
    ]
    measure.table(f"The server after {CHARTS} charts", ["values", *shown], rows)
    print()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Short journals, to try the script.")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print(json.dumps({"rebuild": rebuild, "naive": naive}[given.child["way"]](Path(given.child["root"]))))
        return
    conditions = measure.conditions("msgspec", "numpy", "litestar", "uvicorn")
    found = {}
    for values in QUICK_VALUES if given.quick else VALUES:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "runs"
            root.mkdir()
            found[f"{values:,}"] = one_size(root, values, repetitions=given.repetitions)
    result: dict[str, object] = {"conditions": conditions, "values_per_line": WIDTH, "values": found}
    show(result)
    most = list(found)[-1]
    rss = {how: one["rss_mb"] for how, one in found[most]["server"].items()}
    result["targets"] = [
        *[
            measure.target(f"{name} values: microseconds per value", 1e6 / one["values_per_s"]["median"], 0.5)
            for name, one in found.items()
        ],
        measure.target(f"{most} values: server RSS MB", rss["on_the_index"], 150.0),
        measure.target(f"{most} values: server RSS MB after it built the index", rss["that_built_it_first"], 150.0),
    ]
    result["not_shown"] = NOT_SHOWN
    measure.write(result)


if __name__ == "__main__":
    main()

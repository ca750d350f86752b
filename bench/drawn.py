"""How soon does a browser draw a step that was logged, and what does the page cost the browser?

    python bench/drawn.py [--quick] [--minutes 1] [--steps 150]

A process logs 12 metrics about every 100 ms through `barograph.log`; `barograph serve` follows its folder; a real
Chromium has the page open. Every process reads the same monotonic clock, and the page's own is compared with it before
and after. A step counts as drawn at the end of the first frame in which the loss chart's description names it (or a
later one) and the chart's canvas was painted since.

That is watched by a loop that runs at every frame, which keeps the browser busy; what an update costs the page's main
thread is therefore taken afterwards without it, from Chromium's own trace: everything that the thread does from one
paint of the loss chart to the next, what is not about the update included. `CHROMIUM` names another browser. This file
is long because the script that watches from inside the page is in it.
"""

import argparse
import contextlib
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

import barograph
import measure
from event_clients import serving

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STATIC = Path(barograph.__file__).parent / "api" / "static"
EVERY_S = 0.1
METRICS = 12
HISTORY = 5_000
TRACED_S = 10.0
SAME_PAINT_S = 0.05
"""Paints of one canvas so close together are one update."""
TASK = "RunTask"
TRACE = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "__metadata"]

Task = tuple[float, float, float]
"""Begin in seconds, milliseconds by the clock, milliseconds of processor time."""

WATCH = r"""
(() => {
  const paints = new WeakMap();
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  const watched = (window.watched = { drawn: [], painted: [], first: null, looping: false, longest: 0 });
  const chart = () => {
    for (const box of document.querySelectorAll('[role=img][aria-label]')) {
      const said = box.getAttribute('aria-label');
      const found = /^loss\b.*?\bat step (\d[\d\s,.'\u2019\u202f]*)/.exec(said);
      const canvas = found && box.querySelector('canvas');
      if (canvas) return { canvas, step: Number(found[1].replace(/\D/g, '')) };
    }
    return null;
  };
  CanvasRenderingContext2D.prototype.clearRect = function (...args) {
    paints.set(this.canvas, (paints.get(this.canvas) ?? 0) + 1);
    if (!watched.looping && watched.canvas === this.canvas) watched.painted.push(performance.now());
    return clear.apply(this, args);
  };
  let newest = -1;
  let before = -1;
  const frame = () => {
    if (!watched.looping) return;
    const seen = chart();
    const count = seen ? (paints.get(seen.canvas) ?? 0) : 0;
    if (seen && count > 0) watched.canvas = seen.canvas;
    if (seen && seen.step > newest && count > before) {
      newest = seen.step;
      const after = new MessageChannel(); // runs once this frame is done
      after.port1.onmessage = () => {
        const now = performance.now();
        watched.first ??= now;
        watched.drawn.push([seen.step, now]);
      };
      after.port2.postMessage(0);
    }
    if (seen && seen.step <= newest) before = count;
    requestAnimationFrame(frame);
  };
  watched.loop = () => {
    watched.looping = true;
    requestAnimationFrame(frame);
  };
  try {
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) watched.longest = Math.max(watched.longest, entry.duration);
    }).observe({ type: 'longtask' });
  } catch {
    watched.longest = null;
  }
  watched.loop();
})();
"""
NOT_SHOWN = [
    "A screen: headless Chromium paints in software, and the way from its frame to the eye is not in the figure.",
    "A phone, a network, a second browser, and a page that is in the background (it then asks for nothing).",
    "A machine with room for trainer, server and browser: they share the cores named above.",
    "Comparing runs, and the page of all charts: the overview of one run is what is open.",
]


def train(folder: str, times: str, *, every_s: float, history: int) -> None:
    """In a child: log until the end, and write down when each call began."""
    rng = random.Random(0)
    run = barograph.init("bench", dir=folder, run_id="live")
    names = [f"train/metric_{number}" for number in range(METRICS - 1)]
    with Path(times).open("w", buffering=1) as file:
        for step in range(history):
            run.log({"loss": loss_at(step, rng), **dict.fromkeys(names, rng.random())}, step)
            if step % 500 == 499:
                run.flush()
        for step in range(history, 10**9):
            values = {"loss": loss_at(step, rng), **{name: rng.random() for name in names}}
            called = time.monotonic()
            run.log(values, step)
            file.write(f"{step} {called!r}\n")
            time.sleep(max(0.0, called + every_s * rng.uniform(0.8, 1.2) - time.monotonic()))


def loss_at(step: int, rng: random.Random) -> float:
    """A loss that falls, noisily."""
    return 2.0 + 3.0 / (1.0 + step / 200) + rng.gauss(0, 0.1)


@contextlib.contextmanager
def training(root: Path, times: Path, *, history: int) -> Iterator[None]:
    """The training process, once it logs live."""
    given = {"folder": str(root), "times": str(times), "every_s": EVERY_S, "history": history}
    line = [sys.executable, __file__, "--child", json.dumps(given)]
    process = subprocess.Popen(line, env=measure.environment())
    try:
        while not (times.exists() and times.stat().st_size):
            if process.poll() is not None:
                raise RuntimeError(f"the training process ended with {process.returncode}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def opened(browser: Browser, url: str) -> Page:
    """The page in a fresh profile, as soon as it begins to come."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(url, wait_until="commit")
    return page


def first_charts_ms(browser: Browser, url: str, *, times: int) -> list[float]:
    """Milliseconds from navigation to the first loss chart, the cache empty each time."""
    found = []
    for _ in range(times):
        page = opened(browser, url)
        wait_for_first_chart(page)
        found.append(float(page.evaluate("watched.first")))
        page.context.close()
    return found


def wait_for_first_chart(page: Page) -> None:
    """Until the loss chart was drawn. The page's policy forbids Playwright's own way to wait for a condition."""
    deadline = time.monotonic() + 30
    while page.evaluate("watched.first") is None:
        if time.monotonic() > deadline:
            said = page.evaluate("[...document.querySelectorAll('[role=img]')].map((box) => box.ariaLabel)")
            raise RuntimeError(f"no loss chart after 30 s; the page describes {said}")
        page.wait_for_timeout(20)


def clock_offset(page: Page) -> tuple[float, float]:
    """Monotonic clock minus the page's, and half the shortest round trip, which bounds the error; seconds."""
    tries = []
    for _ in range(50):
        before = time.monotonic()
        there = page.evaluate("performance.now()") / 1e3
        after = time.monotonic()
        tries.append((after - before, (before + after) / 2 - there))
    trip, offset = min(tries)
    return offset, trip / 2


def delays_ms(page: Page, times: Path, *, steps: int, offset: float) -> list[float]:
    """Milliseconds from the call of `log` to the end of the frame that shows its step."""
    began = len(page.evaluate("watched.drawn"))
    first = logged_steps(times)[-1][0] + 1
    deadline = time.monotonic() + 60 + 3 * steps * EVERY_S
    while time.monotonic() < deadline:
        page.wait_for_timeout(500)
        drawn = [(int(step), ms / 1e3 + offset) for step, ms in page.evaluate("watched.drawn")[began:]]
        if drawn and drawn[-1][0] >= first + steps:
            break
    else:
        raise RuntimeError(
            f"the page drew {page.evaluate('watched.drawn.length')} updates and not step {first + steps}"
        )
    found, place = [], 0
    for step, called in logged_steps(times):
        if first <= step < first + steps:
            while drawn[place][0] < step:
                place += 1
            found.append((drawn[place][1] - called) * 1e3)
    return found


def logged_steps(times: Path) -> list[tuple[int, float]]:
    """Step and time of each call so far."""
    lines = times.read_text().splitlines()
    return [(int(step), float(called)) for step, called in (line.split() for line in lines if line.count(" ") == 1)]


def main_thread(browser: Browser, page: Page, session: CDPSession, *, seconds: float) -> dict[str, object]:
    """What an update costs the page's main thread, the watching loop switched off."""
    page.evaluate("watched.looping = false")
    page.wait_for_timeout(500)
    before, began = metrics(session), page.evaluate("(watched.painted.length = 0, performance.now())")
    page.wait_for_timeout(seconds * 1e3)
    after, ended = metrics(session), page.evaluate("performance.now()")
    updates = len(merged(page.evaluate("watched.painted")))
    words = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
    spent = {word: 1e3 * (after[word] - before[word]) / updates for word in words} if updates else {}
    page.evaluate("watched.painted.length = 0")
    offset, _ = clock_offset(page)
    browser.start_tracing(page=page, categories=TRACE)
    page.wait_for_timeout(seconds * 1e3)
    trace = json.loads(browser.stop_tracing())["traceEvents"]
    painted = [ms / 1e3 + offset for ms in merged(page.evaluate("watched.painted"))]
    costs = update_costs(trace, painted)
    return {
        "updates_per_s": 1e3 * updates / (ended - began),
        "mean_ms_per_update": spent,
        **{name: measure.spread([cost]) for name, cost in costs.items()},
        "longest_task_since_start_ms": page.evaluate("watched.longest"),
    }


def merged(paints: list[float]) -> list[float]:
    """Times of updates, milliseconds: paints close together are one."""
    found: list[float] = []
    for at in paints:
        if not found or at - found[-1] > SAME_PAINT_S * 1e3:
            found.append(at)
    return found


def update_costs(trace: list[dict], painted: list[float]) -> dict[str, list[float]]:
    """Milliseconds of each update: all tasks of the page's main thread from the one that paints to the next such one,
    by the clock and in processor time, and the longest of them.

    The page's process is the one whose main thread was busiest while the trace ran.
    """
    mains = {
        (event["pid"], event["tid"])
        for event in trace
        if event.get("name") == "thread_name" and event["args"].get("name") == "CrRendererMain"
    }
    tasks: dict[tuple[int, int], list[Task]] = {key: [] for key in mains}
    for event in trace:
        key = (event.get("pid"), event.get("tid"))
        if key in tasks and event.get("ph") == "X" and str(event.get("name")).endswith(TASK):
            taken = event.get("dur", 0) / 1e3
            tasks[key].append((event["ts"] / 1e6, taken, event.get("tdur", event.get("dur", 0)) / 1e3))
    if not any(tasks.values()):
        raise RuntimeError("Chromium's trace has no tasks of a page")
    busiest = outermost(max(tasks.values(), key=lambda found: sum(taken for _, taken, _ in found)))
    found: dict[str, list[float]] = {"traced_ms_per_update": [], "traced_cpu_ms_per_update": [], "longest_task_ms": []}
    for begin, end in pairwise(painted):
        inside = [(taken, cpu) for at, taken, cpu in busiest if begin <= at + taken / 1e3 < end]
        found["traced_ms_per_update"].append(sum(taken for taken, _ in inside))
        found["traced_cpu_ms_per_update"].append(sum(cpu for _, cpu in inside))
        found["longest_task_ms"].append(max((taken for taken, _ in inside), default=0.0))
    return found


def outermost(tasks: list[Task]) -> list[Task]:
    """Tasks that lie in no other one."""
    found: list[Task] = []
    for at, taken, cpu in sorted(tasks, key=lambda task: (task[0], -task[1])):
        if not found or at >= found[-1][0] + found[-1][1] / 1e3:
            found.append((at, taken, cpu))
    return found


def metrics(session: CDPSession) -> dict[str, float]:
    """Chromium's running figures of the page."""
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def heap_mb(session: CDPSession, *, collected: bool = False) -> float:
    """JavaScript heap in use; `collected`: after what nobody holds was thrown away."""
    if collected:
        session.send("HeapProfiler.collectGarbage")
    return metrics(session)["JSHeapUsedSize"] / 1e6


def javascript_kb() -> dict[str, float]:
    """Size of the page's code: as it is, as the server sends it to who takes gzip, and at gzip's own default."""
    code = [path.read_bytes() for path in sorted(STATIC.rglob("*.js"))]
    if not code:
        raise RuntimeError("the page is not built: pip install -e . without BAROGRAPH_UI=skip")
    return {
        "plain": sum(map(len, code)) / 1e3,
        "gzip level 1, as served": sum(len(gzip.compress(one, 1)) for one in code) / 1e3,
        "gzip level 6": sum(len(gzip.compress(one, 6)) for one in code) / 1e3,
    }


def measured(browser: Browser, url: str, times: Path, *, steps: int, minutes: float, navigations: int) -> dict:
    """All figures of one browser."""
    first_ms = first_charts_ms(browser, url, times=navigations)
    began = time.monotonic()
    page = opened(browser, url)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    wait_for_first_chart(page)
    page.wait_for_timeout(2_000)
    offset, uncertain = clock_offset(page)
    taken = delays_ms(page, times, steps=steps, offset=offset)
    drift = clock_offset(page)[0] - offset
    thread = main_thread(browser, page, session, seconds=TRACED_S)
    heaps = [heap_mb(session)]
    while time.monotonic() - began < 60 * minutes:
        page.wait_for_timeout(5_000)
        heaps.append(heap_mb(session))
    figures = {
        "javascript_kb": javascript_kb(),
        "first_chart_ms": measure.spread([first_ms]),
        "logged_to_drawn_ms": {**measure.spread([taken]), "p95": measure.percentile(sorted(taken), 0.95)},
        "clock": {"uncertain_ms": 1e3 * uncertain, "drift_ms": 1e3 * drift},
        "main_thread": thread,
        "heap_mb": {
            "live_minutes": (time.monotonic() - began) / 60,
            "most": max(heaps),
            "last": heaps[-1],
            "median_of_first_and_last_quarter": [quarter(heaps), quarter(heaps[::-1])],
            "after_collection": heap_mb(session, collected=True),
        },
    }
    page.context.close()
    return figures


def quarter(heaps: list[float]) -> float:
    """Median of the first quarter."""
    return statistics.median(heaps[: max(1, len(heaps) // 4)])


def show(found: dict) -> None:
    """Print the figures."""
    words = ("median", "p90", "p99", "max")
    thread = found["main_thread"]
    rows = [
        ["logged to drawn", *[found["logged_to_drawn_ms"][word] for word in words]],
        ["navigation to first chart", *[found["first_chart_ms"][word] for word in words]],
        ["main thread per update", *[thread["traced_ms_per_update"][word] for word in words]],
        ["  its processor time", *[thread["traced_cpu_ms_per_update"][word] for word in words]],
        ["  its longest task", *[thread["longest_task_ms"][word] for word in words]],
    ]
    measure.table("Milliseconds", ["what", *words], rows)
    print(f"  per update, Chromium's counters, mean ms: {thread['mean_ms_per_update']}")
    print(f"  {thread['updates_per_s']:.3g} updates/s; JavaScript kB {found['javascript_kb']}")
    print(f"  heap MB {found['heap_mb']}\n")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Few steps and navigations, to try the script.")
    parser.add_argument("--minutes", type=float, default=1.0, help="How long the page is open, at least.")
    parser.add_argument("--steps", type=int, default=150, help="Steps whose way to the screen is timed.")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        train(**given.child)
        return
    browser_path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if browser_path is None:
        parser.error(f"none of {', '.join(CHROMIUM_NAMES)} is on the path; set CHROMIUM")
    settings = {
        "steps": 40 if given.quick else given.steps,
        "minutes": 0.0 if given.quick else given.minutes,
        "navigations": 3 if given.quick else 10,
    }
    conditions = measure.conditions("playwright", "litestar", "uvicorn")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder) / "runs"
        root.mkdir()
        times = Path(folder) / "times.txt"
        with training(root, times, history=HISTORY), serving(root) as (server, port):
            browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
            conditions["browser"] = browser.version
            found = measured(browser, f"http://127.0.0.1:{port}/", times, **settings)
            found["server_rss_mb"] = server.memory_info().rss / 1e6
            browser.close()
    show(found)
    heap = found["heap_mb"]
    measure.write(
        {
            "conditions": conditions,
            "settings": {**settings, "log_every_s": EVERY_S, "metrics": METRICS, "steps_before": HISTORY},
            "found": found,
            "targets": [
                measure.target("logged to drawn, p95 ms", found["logged_to_drawn_ms"]["p95"], 300.0),
                measure.target(
                    "JavaScript, kB as served with gzip", found["javascript_kb"]["gzip level 1, as served"], 120
                ),
                measure.target("navigation to first chart, median ms", found["first_chart_ms"]["median"], 1000.0),
                measure.target(f"heap after {heap['live_minutes']:.1f} minutes, most MB", heap["most"], 50.0),
                measure.target(
                    "main thread per update, median ms", found["main_thread"]["traced_ms_per_update"]["median"], 16.0
                ),
            ],
            "not_shown": NOT_SHOWN,
        }
    )


if __name__ == "__main__":
    main()

"""Following a run: how soon, with how little, and what is done when the stream or the server is not there."""

from __future__ import annotations

import re
import statistics
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import CDPSession, Page, Response, expect

from barograph.records import Checkpoint, Heartbeat, Step

if TYPE_CHECKING:
    from tests.browser.conftest import BeginRun, Run, Serve, Server, Watch, Watched

SOON_MS = 300
FRAME_MS = 16
FIRST_CHART_MS = 1000
LARGEST_HEAP = 50e6
IDLE_BYTES = 1024
TABS = 8
CHARTS = 12
NAMES = tuple(f"group{number % 3}/metric_{number}" for number in range(CHARTS - 1))
SEEN = """() => {
    const chart = document.querySelector('[data-card=curve] [role=img]');
    window.seen = new Map();
    const look = () => {
        const step = Number(/at step ([\\d,]+)/.exec(chart.getAttribute('aria-label'))?.[1].replaceAll(',', ''));
        if (!window.seen.has(step)) requestAnimationFrame(() => window.seen.set(step, Date.now()));
    };
    new MutationObserver(look).observe(chart, {attributes: true});
}"""


HIDE = (
    "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    " document.dispatchEvent(new Event('visibilitychange')); }"
)
FIRST_CHART = """new MutationObserver((_, self) => {
    const chart = document.querySelector('[data-card=curve] [role=img]');
    if (!/newest/.test(chart?.getAttribute('aria-label') ?? '')) return;
    self.disconnect();
    requestAnimationFrame(() => (window.firstChart = performance.now()));
}).observe(document, {subtree: true, childList: true, attributes: true})"""


def drawn(page: Page, step: int) -> None:
    """Wait until the large chart shows this step."""
    label = re.compile(rf"at step {step:,}\b")
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", label)


def grow(run: Run, first: int, last: int) -> None:
    """Steps with a dozen metrics."""
    now = time.time()
    steps = [
        Step(step=step, loss=2 / step, time=now, metrics=dict.fromkeys(NAMES, step % 17 + step / 1000))
        for step in range(first, last + 1)
    ]
    run.append(*steps, Heartbeat(time=now, step=last))


def series_asked(watched: Watched, name: str = "loss") -> list[dict[str, list[str]]]:
    asked = [parse_qs(urlsplit(url).query) for url in watched.asked if "/api/series" in url]
    return [each for each in asked if name in each["name"]]


def test_a_step_that_is_logged_is_drawn_soon(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 200)
    page = watch(serve().url).open()
    drawn(page, 200)
    page.evaluate(SEEN)
    p95 = []
    for begun in (200, 220, 240):
        p95.append(_waits_p95(run, page, begun + 1, begun + 20))
        if p95[-1] <= SOON_MS:
            break  # what else this machine does may delay one round, not all three
    print(f"logged to drawn: p95 {min(p95):.0f} ms")  # noqa: T201
    assert min(p95) <= SOON_MS


def _waits_p95(run: Run, page: Page, first: int, last: int) -> float:
    """Milliseconds from the write of a step to the frame that shows it, or one after it."""
    logged: dict[int, float] = {}
    for step in range(first, last + 1):
        logged[step] = time.time() * 1000
        run.train(step, step)
        page.wait_for_timeout(120)
    drawn(page, last)
    page.wait_for_timeout(100)
    seen: dict[str, float] = page.evaluate("() => Object.fromEntries(window.seen)")
    waits = [min(at for shown, at in seen.items() if int(shown) >= step) - begun for step, begun in logged.items()]
    return statistics.quantiles(waits, n=20)[-1]


def test_the_first_chart_is_there_within_a_second(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha", total_steps=20_000).train(1, 20_000)
    server = serve()
    drawn(watch(server.url).open(), 20_000)
    waits = []
    for _ in range(3):
        page = watch(server.url).page
        page.add_init_script(FIRST_CHART)
        page.goto(server.url)
        drawn(page, 20_000)
        waits.append(page.evaluate("() => new Promise((done) => setTimeout(() => done(window.firstChart), 50))"))
        if waits[-1] <= FIRST_CHART_MS:
            break
    print(f"first chart after {min(waits):.0f} ms")  # noqa: T201
    assert min(waits) <= FIRST_CHART_MS


@pytest.mark.slow
def test_polls_bring_only_what_is_new(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha", total_steps=6000)
    run.train(1, 5000)
    watched = watch(serve().url)
    page = watched.open()
    drawn(page, 5000)
    sizes: list[int] = []

    def weigh(reply: Response) -> None:
        if "/api/series" in reply.url and "cursor=" in reply.url:
            sizes.append(len(reply.body()))

    page.on("response", weigh)
    run.train(5001, 5001)
    drawn(page, 5001)
    page.wait_for_timeout(5500)
    assert sizes
    assert max(sizes) <= IDLE_BYTES
    whole = [each for each in series_asked(watched) if each["smoothing"] == ["0.9"] and "cursor" not in each]
    assert len(whole) <= 2  # the chart and the curve at a glance, once each


@pytest.mark.slow
def test_a_fast_writer_does_not_make_a_fast_asker(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 50)
    watched = watch(serve().url)
    page = watched.open()
    drawn(page, 50)
    watched.asked.clear()
    begun = time.monotonic()
    for step in range(51, 131):
        run.train(step, step)
        page.wait_for_timeout(20)
    seconds = time.monotonic() - begun
    drawn(page, 130)
    live = [url for url in watched.asked if "/api/status/live" in url]
    large = [each for each in series_asked(watched) if each["buckets"] != ["100"]]
    assert len(large) <= 10 * seconds + 3
    assert len(live) <= 2 * seconds + 3


@pytest.mark.slow
def test_what_a_run_consists_of_is_asked_for_every_two_seconds_at_most(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    run.train(1, 50)
    watched = watch(serve().url)
    page = watched.open()
    drawn(page, 50)
    watched.asked.clear()
    begun = time.monotonic()
    for step in range(51, 86):
        run.train(step, step)
        run.append(Checkpoint(step=step, time=time.time(), path=f"/out/checkpoint-{step}"))
        page.wait_for_timeout(80)
    expect(page.locator("[data-card=checkpoints]")).to_contain_text("checkpoint-85")
    seconds = time.monotonic() - begun
    assert len([url for url in watched.asked if url.endswith("/api/runs/alpha")]) <= seconds / 2 + 2


def test_one_stream_is_open_and_none_while_the_tab_is_hidden(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    watched = watch(serve().url)
    page = watched.open()
    drawn(page, 20)
    assert len([url for url in watched.asked if url.endswith("/api/events")]) == 1
    page.evaluate(HIDE, True)
    page.wait_for_timeout(300)
    watched.asked.clear()
    run.train(21, 30)
    page.wait_for_timeout(1500)
    assert watched.asked == []
    page.evaluate(HIDE, False)
    drawn(page, 30)
    assert len([url for url in watched.asked if url.endswith("/api/events")]) == 1
    run.train(31, 40)
    drawn(page, 40)


def clients(server: Server) -> int:
    """How many listen to the server's events."""
    with urllib.request.urlopen(server.url + "metrics", timeout=5) as reply:
        found = re.search(r"^barograph_event_clients (\d+)(?:\.0)?$", reply.read().decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def told(page: Page, server: Server) -> None:
    """Wait until one stream is there, and this page has no reason to poll: a run that trains is polled every second."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    deadline = time.monotonic() + 10
    while True:
        asked.clear()
        page.wait_for_timeout(2500)
        if clients(server) == 1 and len([url for url in asked if "/api/status/live" in url]) <= 1:
            return
        assert time.monotonic() < deadline, f"{clients(server)} streams, asked {asked}"


@pytest.mark.slow
def test_all_visible_tabs_of_a_browser_follow_by_one_stream(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    """HTTP/1.1 has six connections for one server: a stream in each tab would leave none to ask with."""
    run = begin_run("alpha")
    run.train(1, 20)
    server = serve()
    watched = watch(server.url)
    pages = [watched.open(), *(watched.page.context.new_page() for _ in range(TABS - 1))]
    for page in pages[1:]:
        page.goto(server.url)
    for page in pages:
        drawn(page, 20)
    told(pages[-1], server)
    run.train(21, 30)
    for page in pages:
        drawn(page, 30)
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    assert clients(server) == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", ["closed", "hidden"])
def test_the_stream_passes_on_when_its_tab_is_closed_or_hidden(
    begin_run: BeginRun, serve: Serve, watch: Watch, way: str
) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    server = serve()
    watched = watch(server.url)
    first = watched.open()
    drawn(first, 20)
    second = watched.page.context.new_page()
    second.goto(server.url)
    drawn(second, 20)
    told(second, server)
    if way == "closed":
        first.close()
    else:
        first.evaluate(HIDE, True)
    told(second, server)
    run.train(21, 30)
    drawn(second, 30)
    if way == "hidden":
        first.evaluate(HIDE, False)
        drawn(first, 30)
        told(first, server)


@pytest.mark.slow
def test_a_browser_without_locks_has_a_stream_in_the_tab(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    server = serve()
    watched = watch(server.url)
    watched.page.add_init_script("delete Navigator.prototype.locks")
    page = watched.open()
    drawn(page, 20)
    assert page.evaluate("'locks' in navigator") is False
    told(page, server)


def test_without_a_stream_the_page_polls(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    watched = watch(serve().url)
    watched.away_is_expected = True
    watched.page.route("**/api/events", lambda route: route.fulfill(status=404, json={"error": "none", "status": 404}))
    page = watched.open()
    drawn(page, 20)
    for last in (25, 30):
        run.train(last - 4, last)
        drawn(page, last)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")


def test_a_stream_that_was_cut_is_taken_up_again(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    server = serve()
    watched = watch(server.url)
    watched.away_is_expected = True
    page = watched.open()
    drawn(page, 20)
    server.kill()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "away")
    run.train(21, 30)
    server.start()
    drawn_within(page, 30, 15_000)
    page.wait_for_timeout(2500)
    watched.asked.clear()
    run.train(31, 40)
    drawn(page, 40)


def drawn_within(page: Page, step: int, timeout: float) -> None:
    label = re.compile(rf"at step {step:,}\b")
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", label, timeout=timeout)


def test_figures_that_no_longer_come_are_called_stale_and_stay(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 20)
    watched = watch(serve().url)
    watched.away_is_expected = True
    page = watched.page
    page.clock.install()
    watched.open()
    drawn(page, 20)
    page.route("**/api/**", lambda route: route.abort())
    page.clock.run_for(30_000)
    expect(page.locator("[data-card=training]").get_by_test_id("stale")).to_contain_text("stale, from")
    expect(page.locator("[data-card=curve]").get_by_test_id("stale")).to_be_visible()
    expect(page.get_by_test_id("loss")).to_have_text(re.compile(r"^\s*\d"))


@pytest.mark.slow
def test_an_update_of_twelve_charts_takes_less_than_a_frame(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha", total_steps=9000)
    grow(run, 1, 5000)
    page = watch(serve().url, height=1900).open("?page=charts")
    charts = page.locator("[data-series] [role=img]")
    expect(charts).to_have_count(CHARTS)
    for chart in charts.all():
        expect(chart).to_have_attribute("aria-label", re.compile("at step 5,000"))
    page.wait_for_timeout(500)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # not the time that other processes took
    took_ms = []
    for begun in (5000, 5010, 5020):
        before = _busy_ms(session)
        for step in range(begun + 1, begun + 11):
            grow(run, step, step)
            page.wait_for_timeout(150)
        took_ms.append((_busy_ms(session) - before) / 10)
    expect(charts.first).to_have_attribute("aria-label", re.compile("at step 5,030"))
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    print(f"an update of {CHARTS} charts: {min(took_ms):.1f} ms; heap {heap / 1e6:.1f} MB")  # noqa: T201
    # the least of three: whatever else this machine does only adds to it
    assert min(took_ms) <= FRAME_MS
    assert heap <= LARGEST_HEAP


def _busy_ms(session: CDPSession) -> float:
    """How long the page's main thread has worked: script, style and layout. Without a GPU it also fills pixels."""
    metrics = {each["name"]: float(each["value"]) for each in session.send("Performance.getMetrics")["metrics"]}
    return 1000 * sum(metrics[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration"))


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_memory_does_not_grow_while_a_run_is_followed(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    """900 updates of 12 charts, as many as ten minutes bring to a run that logs three times in two seconds."""
    run = begin_run("alpha", total_steps=9000)
    grow(run, 1, 5000)
    page = watch(serve().url, height=1900).open("?page=charts")
    expect(page.locator("[data-series] [role=img]")).to_have_count(CHARTS)
    session = page.context.new_cdp_session(page)
    heaps = []
    for step in range(5001, 5901):
        grow(run, step, step)
        page.wait_for_timeout(110)
        if step % 300 == 0:
            session.send("HeapProfiler.collectGarbage")
            heaps.append(session.send("Runtime.getHeapUsage")["usedSize"])
    assert max(heaps) <= LARGEST_HEAP
    assert heaps[-1] - heaps[0] <= 2e6

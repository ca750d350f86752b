"""The web page before a real server over a real run folder: what it shows, and what a refresh must not disturb."""

from __future__ import annotations

import math
import re
import shutil
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from barograph.records import (
    Alert,
    Checkpoint,
    Collector,
    ExactMatch,
    Pause,
    RejectedValue,
    RunComplete,
    Step,
    Verdict,
)
from barograph.records.quantities import VerdictWord

if TYPE_CHECKING:
    from pathlib import Path

    from playwright._impl._api_structures import FloatRect
    from tests.browser.conftest import BeginRun, Serve, Watch

LIVE = "live"
MARK = (179, 38, 30)
TRACE = (52, 56, 154)
PEN = (138, 98, 18)
"""Colours of a mark, of the smoothed line and of the pen in the light theme."""


MEASURED = {
    "loss_trend": "improving",
    "loss_variance": 0.012,
    "val_train_gap": 0.08,
    "tokens_per_sec": 2450.0,
    "tokens_per_sec_ema": 2380.0,
    "tokens_per_sec_avg": 2400.4,
    "tokens_per_sec_baseline": 0.0,
    "throughput_trend": "improving",
    "mfu": 0.41,
}
"""Figures whose collectors do not exist in these runs."""


def connection(page: Page) -> Locator:
    return page.get_by_test_id("connection")


def chart(page: Page, card: str = "curve") -> Locator:
    return page.locator(f"[data-card={card}]").get_by_role("img")


def inked(page: Page, colour: tuple[int, int, int] | None = None) -> int:
    """Pixels of the loss chart that have ink, or ink of one colour."""
    count: int = page.evaluate(
        """(colour) => {
            const canvas = document.querySelector('[data-card=curve] canvas');
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
            let found = 0;
            for (let at = 0; at < pixels.length; at += 4)
                found += colour ? pixels[at + 3] === 255 && colour.every((part, i) => pixels[at + i] === part)
                                : pixels[at + 3] > 0;
            return found;
        }""",
        list(colour) if colour else None,
    )
    return count


def columns(page: Page, colour: tuple[int, int, int]) -> list[bool]:
    """For each column of pixels of the loss chart's plotting area whether it has ink of one colour."""
    found: list[bool] = page.evaluate(
        """(colour) => {
            const canvas = document.querySelector('[data-card=curve] canvas');
            const over = document.querySelector('[data-card=curve] .u-over');
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const [left, top, width, height] = [over.offsetLeft, over.offsetTop, over.offsetWidth, over.offsetHeight]
                .map((size) => Math.round(size * devicePixelRatio));
            const pixels = copy.getImageData(left, top, width, height).data;
            const near = (at) => colour.every((part, i) => Math.abs(pixels[at + i] - part) < 12);
            const inked = (at) => pixels[at + 3] > 200 && near(at);
            return Array.from({length: width}, (_, x) =>
                Array.from({length: height}, (_, y) => 4 * (y * width + x)).some(inked));
        }""",
        list(colour),
    )
    return found


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def drawn(page: Page) -> None:
    """Wait until the loss chart shows points."""
    expect(chart(page)).to_have_attribute("aria-label", re.compile("newest"))


def over(page: Page) -> FloatRect:
    """The rectangle of the loss chart's plotting area."""
    box = page.locator("[data-card=curve] .u-over").bounding_box()
    assert box is not None
    return box


def wait_for_step(page: Page, step: int) -> None:
    expect(page.get_by_test_id("step")).to_have_text(f"{step:,}")


def test_the_page_shows_what_the_run_does(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 120)
    page = watch(serve().url).open()
    drawn(page)
    expect(page.get_by_test_id("state")).to_have_text("training")
    expect(connection(page)).to_have_attribute("data-state", LIVE)
    wait_for_step(page, 120)
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "0.3")
    expect(chart(page)).to_have_attribute("aria-label", re.compile(r"loss over steps 1 to 120, 120 points.*smoothed"))
    assert inked(page) > 5000
    assert query(page) == {"run": "alpha"}


def test_points_appear_as_lines_are_written_and_the_chart_is_never_rebuilt(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    page = watch(serve().url).open()
    drawn(page)
    page.evaluate("document.querySelector('[data-card=curve] canvas').first = true")
    for last in (110, 125):
        run.train(last - 9, last)
        wait_for_step(page, last)
        expect(chart(page)).to_have_attribute("aria-label", re.compile(rf"at step {last}"))
    assert page.evaluate("document.querySelector('[data-card=curve] canvas').first") is True


def test_a_nan_loss_is_a_triangle_and_is_counted(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    page = watch(serve().url).open()
    drawn(page)
    assert inked(page, MARK) == 0
    run.train(101, 110, losses={103: math.nan, 104: math.nan, 108: math.inf})
    expect(page.get_by_test_id("nan-legend")).to_contain_text("2 NaN")
    expect(page.get_by_text("1 +∞")).to_be_visible()
    assert inked(page, MARK) > 20
    box = over(page)
    page.mouse.move(box["x"] + box["width"] * 102 / 109, box["y"] + 40)
    expect(page.get_by_test_id("tooltip")).to_contain_text("NaN at 103")


def test_a_loss_that_is_nan_now_says_so(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 60, losses={60: math.nan})
    page = watch(serve().url).open()
    drawn(page)
    loss = page.get_by_test_id("loss")
    expect(loss).to_have_text("NaN")
    expect(loss).to_have_css("color", f"rgb{MARK}")
    expect(page.locator("[data-card=training] .note")).to_contain_text("at step 60")
    average = page.locator("[data-card=training] [data-field=streaming_ce]").get_by_role("button")
    expect(average).to_have_accessible_name(re.compile("^not measured: .*NaN at step 60"))
    assert inked(page, PEN) == 0
    run.train(61, 61, losses={61: math.inf})
    expect(loss).to_have_text("+∞")
    run.train(62, 62)
    expect(loss).to_have_text(re.compile(r"^\s*\d"))
    expect(chart(page)).to_have_attribute("aria-label", re.compile("at step 62"))
    assert inked(page, PEN) > 10


def test_the_smoothed_line_has_a_gap_where_nothing_was_finite(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 90, losses=dict.fromkeys(range(31, 61), math.nan))
    page = watch(serve().url).open()
    drawn(page)
    inks = columns(page, TRACE)
    width = len(inks)
    assert any(inks[: width // 4])
    assert any(inks[-width // 4 :])
    assert not any(inks[int(width * 0.42) : int(width * 0.6)])
    page.get_by_role("button", name="table").first.click()
    assert page.get_by_role("row", name=re.compile(r"^45 — — — — 1 1$")).count() == 1


@pytest.mark.slow
def test_more_non_finite_points_than_are_listed_are_counted_and_marked_by_bucket(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha", total_steps=6000).train(1, 6000, losses=dict.fromkeys(range(2001, 4001), math.nan))
    page = watch(serve().url).open()
    drawn(page)
    expect(page.get_by_test_id("nan-legend")).to_contain_text("1,000 NaN")
    expect(page.get_by_text("1,000 more not finite")).to_be_visible()
    marked = columns(page, MARK)
    assert any(marked[int(len(marked) * 0.55) : int(len(marked) * 0.65)])
    page.get_by_role("button", name="table").first.click()
    counts = page.locator("[data-card=curve] tbody td:last-child").all_text_contents()
    assert sum(int(count.replace(",", "")) for count in counts) == 2000


def test_the_greatest_losses_do_not_empty_the_chart(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 50, losses={10: 1e308, 20: -1e308})
    page = watch(serve().url).open("?smoothing=0")
    drawn(page)
    assert any(columns(page, TRACE))


@pytest.mark.slow
def test_a_run_whose_every_loss_is_nan_has_a_chart_all_the_same(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    run.train(1, 30, losses=dict.fromkeys(range(1, 31), math.nan))
    page = watch(serve().url).open()
    expect(page.get_by_test_id("nan-legend")).to_contain_text("30 NaN")
    assert inked(page, MARK) > 20


def test_a_refresh_closes_no_tooltip_and_takes_no_focus(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    page = watch(serve().url).open()
    drawn(page)
    box = over(page)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    tip = page.get_by_test_id("tooltip")
    expect(tip).to_be_visible()
    page.evaluate("document.querySelector('[data-testid=tooltip]').first = true")
    for last in (105, 110, 115):
        run.train(last - 4, last)
        wait_for_step(page, last)
        expect(chart(page)).to_have_attribute("aria-label", re.compile(rf"at step {last}"))
        expect(tip).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=tooltip]').first") is True
    page.get_by_role("button", name=re.compile("^Run: alpha")).click()
    page.keyboard.type("alp")
    run.train(116, 120)
    wait_for_step(page, 120)
    expect(page.get_by_role("combobox", name="Search runs")).to_be_focused()
    expect(page.get_by_role("combobox", name="Search runs")).to_have_value("alp")


def test_a_drag_survives_a_refresh_and_zooms_into_finer_buckets(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha", total_steps=6000)
    run.train(1, 4000)
    watched = watch(serve().url)
    page = watched.open()
    drawn(page)
    expect(page.get_by_text(re.compile(r"4,000 points in [\d,]+ buckets"))).to_be_visible()
    box = over(page)
    y = box["y"] + 80
    page.mouse.move(box["x"] + box["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.30, y, steps=4)
    run.train(4001, 4010)
    wait_for_step(page, 4010)
    page.wait_for_timeout(300)
    page.mouse.move(box["x"] + box["width"] * 0.35, y, steps=4)
    page.mouse.up()
    expect(page.get_by_test_id("paused")).to_be_visible()
    first, last = int(query(page)["from"]), int(query(page)["to"])
    assert 980 <= first <= 1020
    assert 1380 <= last <= 1420
    expect(page.get_by_text(re.compile(r"points in [\d,]+ bucket"))).to_have_count(0)
    asked = [parse_qs(urlsplit(url).query) for url in watched.asked if "/api/series" in url]
    assert any(each.get("first") == [str(first)] and each.get("last") == [str(last)] for each in asked)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("paused")).to_have_count(0)
    assert "from" not in query(page)


def test_double_click_shows_all_again(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 100)
    page = watch(serve().url).open("?run=alpha&from=20&to=40")
    expect(page.get_by_test_id("paused")).to_contain_text("Paused at steps 20–40")
    box = over(page)
    page.mouse.dblclick(box["x"] + 100, box["y"] + 50)
    expect(page.get_by_test_id("paused")).to_have_count(0)


def test_the_keyboard_moves_the_cursor_and_zooms(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 100)
    page = watch(serve().url).open()
    drawn(page)
    cursor = page.locator("[data-card=curve]").get_by_role("slider", name=re.compile("Chart cursor"))
    cursor.focus()
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 100")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 98")
    expect(cursor).to_have_attribute("aria-valuetext", "step 98")
    expect(page.locator("[data-card=curve] .plot").get_by_role("status")).to_have_text(
        re.compile("^step 98: .*smoothed")
    )
    page.keyboard.press("+")
    expect(page.get_by_test_id("paused")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("paused")).to_have_count(0)


def test_the_address_holds_the_view(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 300)
    watched = watch(serve().url)
    page = watched.open()
    drawn(page)
    page.get_by_role("button", name=re.compile("^Series: loss")).click()
    page.keyboard.type("norm")
    page.keyboard.press("Enter")
    page.get_by_role("slider", name=re.compile("Smoothing")).fill("1")
    page.get_by_role("button", name="log y").click()
    page.get_by_role("button", name="Zoom in").click()
    expect(page.get_by_test_id("paused")).to_be_visible()
    page.wait_for_function("() => location.search.includes('smoothing=0.6')")
    kept = query(page)
    assert kept == {
        "run": "alpha",
        "series": "grad_norm",
        "smoothing": "0.6",
        "log": "grad_norm",
        "from": "150",
        "to": "300",
    }
    page.reload()
    expect(chart(page)).to_have_attribute("aria-label", re.compile("^grad_norm over steps 150 to 300"))
    expect(page.get_by_role("button", name="log y")).to_have_attribute("aria-pressed", "true")
    assert query(page) == kept
    assert any("smoothing=0.6" in url for url in watched.asked if "/api/series" in url)


def test_nonsense_in_the_address_is_ignored(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 50)
    page = watch(serve().url).open("?run=alpha&smoothing=7&scale=cubic&from=9&to=x&series=")
    drawn(page)
    expect(page.locator("output")).to_have_text("0.9 10 points")
    expect(page.get_by_test_id("paused")).to_have_count(0)


def test_the_picker_finds_a_run_by_its_words_and_opens_it_by_keyboard(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha", model_name="tiny-llama").train(1, 50)
    begin_run("beta", model_name="tiny-qwen").train(1, 70)
    page = watch(serve().url).open("?run=alpha")
    drawn(page)
    page.get_by_role("button", name=re.compile("^Run: alpha")).focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(2)
    page.keyboard.type("qwen train")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    wait_for_step(page, 70)
    assert query(page) == {"run": "beta"}
    expect(page.get_by_role("button", name=re.compile("^Run: beta"))).to_be_focused()
    page.go_back()
    wait_for_step(page, 50)


def test_a_search_without_a_match_says_so_and_can_be_cleared(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 50)
    page = watch(serve().url).open()
    drawn(page)
    page.get_by_role("button", name=re.compile("^Run: alpha")).click()
    page.keyboard.type("zebra")
    expect(page.get_by_test_id("no-match")).to_contain_text("No run matches")
    page.get_by_role("button", name="Clear the search").click()
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(0)


def test_an_empty_root_says_what_to_run_and_fills_by_itself(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url).open()
    empty = page.get_by_test_id("no-run")
    expect(empty).to_contain_text("barograph demo")
    expect(empty).to_contain_text("callbacks=[barograph.TrainerCallback()]")
    begin_run("alpha").train(1, 30)
    drawn(page)
    expect(empty).to_have_count(0)


@pytest.mark.slow
def test_an_emptied_root_says_again_what_to_run_and_fills_by_itself(
    begin_run: BeginRun, serve: Serve, watch: Watch, runs: Path
) -> None:
    begin_run("alpha").train(1, 30)
    watched = watch(serve().url)
    watched.away_is_expected = True
    page = watched.open()
    drawn(page)
    shutil.rmtree(runs / "alpha")
    expect(page.get_by_test_id("no-run")).to_contain_text("barograph demo", timeout=10_000)
    begin_run("beta").train(1, 40)
    wait_for_step(page, 40)
    assert query(page) == {"run": "beta"}


@pytest.mark.slow
def test_a_run_that_is_not_there_is_asked_for_ever_more_rarely(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 10)
    watched = watch(serve().url)
    watched.away_is_expected = True
    page = watched.open("?run=omega")
    expect(page.get_by_test_id("refused")).to_contain_text("omega")
    page.wait_for_timeout(300)
    watched.asked.clear()
    for step in range(11, 27):
        run.train(step, step)
        page.wait_for_timeout(250)
    assert len([url for url in watched.asked if "/api/status/live" in url]) <= 2
    begin_run("omega").train(1, 15)
    wait_for_step(page, 15)


def test_a_run_without_points_differs_from_a_run_that_is_not_there(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha")
    server = serve()
    page = watch(server.url).open()
    expect(page.get_by_test_id("no-points")).to_contain_text("No points yet")
    watched = watch(server.url)
    watched.away_is_expected = True
    page = watched.open("?run=omega")
    expect(page.get_by_test_id("refused")).to_contain_text("omega")
    page.get_by_role("button", name="Open the newest run").click()
    expect(page.get_by_test_id("no-points")).to_be_visible()


def test_a_run_name_that_cannot_be_is_refused_in_words(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 20)
    watched = watch(serve().url)
    watched.away_is_expected = True
    page = watched.open("?run=../../etc")
    refused = page.get_by_test_id("refused")
    expect(refused).to_contain_text("No run can have the name ../../etc")
    expect(refused).not_to_contain_text(re.compile(r"regex|\[A-Z|str`|\^"))
    page.get_by_role("button", name="Open the newest run").click()
    drawn(page)


@pytest.mark.slow
def test_the_newest_run_that_is_offered_is_never_the_refused_one(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 20)
    begin_run("beta").train(1, 30)
    watched = watch(serve().url)
    watched.away_is_expected = True
    gone = {"error": "It has gone.", "status": 404}
    for address in ("**/api/status/live?run=beta", "**/api/runs/beta"):
        watched.page.route(address, lambda route: route.fulfill(status=404, json=gone))
    page = watched.open("?run=beta")
    expect(page.get_by_test_id("refused")).to_contain_text("It has gone.")
    page.get_by_role("button", name="Open the newest run").click()
    drawn(page)
    assert query(page) == {"run": "alpha"}


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["503", "404 while the list says so"])
def test_an_index_that_is_being_built_is_waited_for(begin_run: BeginRun, serve: Serve, watch: Watch, sign: str) -> None:
    begin_run("alpha").train(1, 20)
    watched = watch(serve().url)
    watched.away_is_expected = True
    status = int(sign[:3])
    error = "The documents cannot be read now: the index cannot be read." if status == 503 else "There is no run alpha."

    ready: list[bool] = []

    def unready(route: Route) -> None:
        if ready:
            route.continue_()
        elif status == 404 and "/api/runs" in route.request.url and "alpha" not in route.request.url:
            reply = route.fetch()
            route.fulfill(response=reply, json={**reply.json(), "runs": [], "index": "rebuilding"})
        else:
            route.fulfill(status=status, json={"error": error, "status": status})

    watched.page.route("**/api/**", unready)
    page = watched.open("?run=alpha")
    expect(page.get_by_test_id("building")).to_contain_text("The index is being built")
    expect(connection(page)).to_have_attribute("data-state", LIVE)
    expect(page.get_by_test_id("refused")).to_have_count(0)
    ready.append(True)
    drawn(page)
    expect(page.get_by_test_id("building")).to_have_count(0)


def test_a_series_that_the_run_does_not_have_is_named(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 30)
    page = watch(serve().url).open("?run=alpha&series=nope")
    expect(page.get_by_test_id("unknown-series")).to_contain_text("nope")
    page.get_by_role("button", name="Show the main series").click()
    drawn(page)


def test_a_window_without_points_is_no_empty_run(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 30)
    page = watch(serve().url).open("?run=alpha&from=500&to=600")
    expect(page.get_by_test_id("empty-window")).to_be_visible()


def test_a_dead_server_leaves_the_last_figures_and_comes_back(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 90)
    server = serve()
    watched = watch(server.url)
    watched.away_is_expected = True
    page = watched.open()
    drawn(page)
    server.kill()
    expect(connection(page)).to_have_attribute("data-state", "away")
    expect(connection(page)).to_contain_text(re.compile(r"Server away, retrying (in \d+ s|now)"))
    wait_for_step(page, 90)
    assert inked(page) > 5000
    assert page.evaluate("getComputedStyle(document.querySelector('main .board')).filter") == "grayscale(1)"
    run.train(91, 95)
    server.start()
    expect(connection(page)).to_have_attribute("data-state", LIVE, timeout=15_000)
    wait_for_step(page, 95)
    expect(chart(page)).to_have_attribute("aria-label", re.compile("at step 95"))


@pytest.mark.slow
def test_the_wait_grows_and_a_press_on_retry_ends_it(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 20)
    watched = watch(serve().url)
    watched.away_is_expected = True
    page = watched.open()
    drawn(page)
    page.route("**/api/**", lambda route: route.abort())
    expect(connection(page)).to_contain_text(re.compile("retrying in [3-9] s"), timeout=10_000)
    page.unroute("**/api/**")
    page.get_by_role("button", name="Retry").click()
    expect(connection(page)).to_have_attribute("data-state", LIVE, timeout=1500)


def test_a_server_that_is_away_from_the_start_is_no_empty_root(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    watched = watch(serve().url)
    watched.away_is_expected = True
    watched.page.route("**/api/**", lambda route: route.abort())
    page = watched.open()
    expect(page.get_by_test_id("server-away")).to_contain_text("does not answer")
    expect(page.get_by_test_id("no-run")).to_have_count(0)


def test_one_broken_card_leaves_the_others_alive(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 50)
    watched = watch(serve().url)
    page = watched.page

    def without_journal(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json={**reply.json(), "journal": {"good_lines": 3}})

    page.route("**/api/runs/alpha", without_journal)
    watched.open()
    expect(page.locator("[data-card=journal]")).to_contain_text("This card cannot be drawn")
    run.train(51, 60)
    wait_for_step(page, 60)
    expect(chart(page)).to_have_attribute("aria-label", re.compile("at step 60"))
    assert [said for said in watched.complaints if not said.startswith("console: TypeError")] == []
    watched.complaints.clear()


def test_attempts_alerts_checkpoints_and_collectors_have_their_place(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    first = begin_run("alpha")
    first.train(1, 80)
    second = begin_run("alpha", attempt=2, resumed_from="checkpoint-50")
    second.train(51, 120)
    now = time.time()
    second.append(
        Alert(time=now, title="Loss spike", text="Loss 3.1 at step 70", level="critical", step=70),
        Checkpoint(step=100, time=now, path="/somewhere/out/checkpoint-100"),
        Collector(time=now, name="raw_loss", running=True, detail="takes the loss inside the step"),
        Collector(time=now, name="device", running=False, detail="no driver for it on this machine"),
        judged("loss_finite", "PASS", "All 120 losses are finite."),
        judged("zero_rows", "FAIL", "12 rows are zero.", "syllo easy"),
        judged("zero_rows", "WARN", "1 row is zero.", "syllo hard"),
    )
    with second.path.open("ab") as log:
        log.write(b'{"type":"step","step":')
    page = watch(serve().url).open()
    drawn(page)
    expect(page.get_by_text("start of an attempt")).to_be_visible()
    expect(page.get_by_text("30 rewound points hidden")).to_be_visible()
    expect(page.locator("[data-card=alerts]")).to_contain_text("Loss spike")
    expect(page.locator("[data-card=checkpoints]")).to_contain_text("checkpoint-100")
    collectors = page.locator("[data-card=collectors] li")
    expect(collectors.filter(has_text="device")).to_contain_text("off")
    expect(collectors.filter(has_text="raw_loss")).to_contain_text("runs")
    verdicts = page.locator("[data-card=verdicts] [data-verdict]")
    expect(verdicts.first).to_contain_text(re.compile(r"FAIL\s*Zero rows\s*zero_rows\s*syllo easy"))
    expect(verdicts.nth(1)).to_contain_text(re.compile(r"WARN\s*Zero rows\s*zero_rows\s*syllo hard"))
    expect(verdicts.last).to_contain_text("loss_finite")
    expect(page.locator("[data-card=journal]")).to_contain_text("torn file")


def test_held_out_exact_match_has_a_line_for_each_task_and_level(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    run.append(*(answered(step, "syllo", level, step // 4) for step in (50, 100) for level in ("easy", "hard")))
    page = watch(serve().url).open()
    lines = page.get_by_role("group", name=re.compile("^Lines")).get_by_role("button")
    expect(lines).to_have_text([re.compile(r"syllo easy\s*25 %"), re.compile(r"syllo hard\s*25 %")])
    expect(chart(page, "exact-match")).to_have_attribute("aria-label", re.compile("2 checkpoints: syllo easy 25 %"))
    lines.first.click()
    expect(lines.first).to_have_attribute("aria-pressed", "false")


def test_the_plain_regime_is_shown_and_another_can_be_chosen(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    run.append(
        *(
            answered(100, task, level, 25, regime)
            for task, levels in (("binary", "1234"), ("syllo", ("easy", "medium", "hard", "edge")))
            for level in levels
            for regime in (("plain_sft", "regime3") if level in ("1", "easy") else ("plain_sft",))
        )
    )
    page = watch(serve().url).open()
    lines = page.get_by_role("group", name=re.compile("^Lines")).get_by_role("button")
    expect(lines).to_have_count(8)
    expect(lines.nth(5)).to_have_text(re.compile(r"syllo medium\s*25 %\s*vs 50 %"))
    choice = page.get_by_role("group", name="Answer format").get_by_role("button")
    expect(choice).to_have_text(["plain", "regime3", "all"])
    expect(choice.first).to_have_attribute("aria-pressed", "true")
    choice.nth(1).click()
    expect(lines).to_have_count(2)
    assert query(page)["regime"] == "regime3"
    page.reload()
    expect(lines).to_have_count(2)
    choice.nth(2).click()
    expect(lines).to_have_count(10)
    looks = page.locator("[data-card=exact-match] .keys .key").evaluate_all(
        "(keys) => keys.map((key) => getComputedStyle(key).stroke + key.firstElementChild.outerHTML)"
    )
    assert len(set(looks)) == len(looks) == 10
    choice.first.click()
    expect(lines).to_have_count(8)
    assert "regime" not in query(page)


def test_what_was_not_measured_gives_its_reason(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha", total_steps=None).train(1, 10)
    page = watch(serve().url).open()
    drawn(page)
    dash = page.locator("[data-card=training]").get_by_role("button", name=re.compile("^not measured: .+")).first
    dash.focus()
    expect(dash.locator(".bubble")).to_be_visible()
    page.get_by_text(re.compile(r"^not measured: \d+ fields")).click()
    expect(page.get_by_text("token_entropy", exact=True)).to_be_visible()
    expect(page.get_by_text("of an unknown total")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)


def test_a_health_light_says_its_reason_when_it_is_touched(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 60, losses={40: math.nan})
    page = watch(serve().url, width=390, height=844, touch=True).open()
    drawn(page)
    lights = page.get_by_role("list", name="Health").get_by_role("button")
    expect(lights).to_have_text(
        [re.compile("^loss critical"), re.compile("^throughput not measured"), re.compile("^GPU not measured")]
    )
    lights.nth(2).tap()
    expect(lights.nth(2).locator(".bubble")).to_be_visible()
    expect(lights.nth(2).locator(".bubble")).to_have_text("the training process records no signals")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 320])
def test_the_reason_of_each_light_and_dash_stays_within_the_page(
    begin_run: BeginRun, serve: Serve, watch: Watch, width: int
) -> None:
    begin_run("alpha").train(1, 60, losses={40: math.nan})
    page = watch(serve().url, width=width, height=844, touch=True).open()
    drawn(page)
    hints = page.locator("button.hint")
    assert hints.count() > 5
    for hint in hints.all():
        hint.focus()
        bubble = hint.locator(".bubble")
        expect(bubble).to_be_visible()
        box = bubble.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_nothing_that_was_not_measured_is_a_number(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    page = watch(serve().url).open()
    drawn(page)
    training = page.locator("[data-card=training]")
    absent = ("loss_trend", "loss_variance", "val_train_gap", "tokens_per_sec_ema", "tokens_per_sec_baseline")
    for field in absent:
        dash = training.locator(f"[data-field={field}]").get_by_role("button")
        expect(dash).to_have_accessible_name(re.compile("^not measured: .+"))
        expect(dash).to_have_text(re.compile("^—"))
    page.route(
        "**/api/status/live?**",
        lambda route: route.fulfill(json={**route.fetch().json(), **MEASURED}),
    )
    run.train(21, 22)
    wait_for_step(page, 22)
    expect(training.locator("[data-field=loss_trend]")).to_have_text("Improving")
    expect(training.locator("[data-field=loss_variance]")).to_have_text("0.01200")
    expect(training.locator("[data-field=val_train_gap]")).to_have_text("0.08000nats")
    expect(training.locator("[data-field=tokens_per_sec_ema]")).to_have_text("2,380")
    expect(training.locator("[data-field=tokens_per_sec_baseline]")).to_have_text("0")
    expect(training.locator("[data-field=mfu]")).to_have_text("41.0 %")
    expect(page.get_by_test_id("tokens")).to_have_text("2,450↑")
    expect(page.get_by_test_id("loss")).to_contain_text("↓")


def test_the_summary_stays_in_sight_on_a_phone(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 60)
    page = watch(serve().url, width=390, height=844, touch=True).open()
    drawn(page)
    page.locator("[data-card=facts]").scroll_into_view_if_needed()
    summary = page.get_by_role("region", name="Run summary")
    expect(summary).to_be_in_viewport(ratio=1)
    box = summary.bounding_box()
    assert box is not None
    assert box["height"] < 844 / 5


def test_an_evaluation_at_the_resume_step_leaves_the_nan_of_that_step_on_the_page(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 60, losses={40: math.nan})
    second = begin_run("alpha", attempt=2, resumed_from="checkpoint-40")
    second.append(Step(step=40, time=time.time(), metrics={"eval/loss": 1.0}))
    page = watch(serve().url).open()
    drawn(page)
    expect(page.get_by_test_id("nan-legend")).to_contain_text("1 NaN")
    second.train(41, 50)
    wait_for_step(page, 50)
    expect(chart(page)).to_have_attribute("aria-label", re.compile("steps 1 to 50, 50 points"))
    expect(page.get_by_test_id("nan-legend")).to_contain_text("1 NaN")


@pytest.mark.slow
def test_what_was_logged_and_is_no_number_is_said_and_counted(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 5)
    page = watch(serve().url).open()
    journal = page.locator("[data-card=journal]")
    expect(journal).to_contain_text("Nothing lost, nothing refused")
    run.append(RejectedValue(time=time.time(), key="note", value_type="str", step=5))
    expect(journal).to_contain_text("Something is missing")
    expect(journal).to_contain_text("rejected values")
    expect(
        page.get_by_text("1 logged value or row was left out, because it was no number: 'note' (str)")
    ).to_be_visible()


def test_a_run_that_is_a_link_is_said_where_runs_are_chosen_and_where_there_are_none(
    begin_run: BeginRun, serve: Serve, watch: Watch, runs: Path
) -> None:
    (runs / "linked-run").symlink_to(runs.parent)
    said = "linked-run is a link, so it is not read"
    page = watch(serve().url).open()
    expect(page.get_by_test_id("no-run")).to_contain_text(said)
    begin_run("alpha").train(1, 5)
    page.get_by_role("button", name=re.compile("^Run: alpha")).click()
    expect(page.get_by_test_id("unread")).to_have_text(said)


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (RunComplete(time=0, exit_code=0), "completed"),
        (RunComplete(time=0, exit_code=1), "crashed"),
        (Pause(time=0, paused=True), "paused"),
    ],
    ids=["completed", "crashed", "paused"],
)
def test_the_badge_has_the_word_of_the_records(
    begin_run: BeginRun, serve: Serve, watch: Watch, ending: RunComplete | Pause, state: str
) -> None:
    run = begin_run("alpha")
    run.train(1, 10)
    run.append(msgspec.structs.replace(ending, time=time.time()))
    page = watch(serve().url).open()
    expect(page.get_by_test_id("state")).to_have_text(state)


@pytest.mark.parametrize("width", [1440, 390])
def test_an_end_that_nobody_called_a_success_has_no_green_tick(
    begin_run: BeginRun, serve: Serve, watch: Watch, width: int
) -> None:
    silent, good = begin_run("alpha"), begin_run("beta")
    for run, code in ((silent, None), (good, 0)):
        run.train(1, 10)
        run.append(RunComplete(time=time.time(), exit_code=code, step=10))
    page = watch(serve().url, width=width, height=844).open("?run=beta")
    badge = page.get_by_test_id("state")
    expect(badge).to_have_text("completed")
    tick, green = badge.locator("path").get_attribute("d"), badge.evaluate("(it) => getComputedStyle(it).color")
    page.get_by_role("button", name=re.compile("^Run: beta")).click()
    signs = page.get_by_role("option").locator(".state path")
    shapes = {signs.nth(place).get_attribute("d") for place in range(2)}
    assert len(shapes) == 2
    page.get_by_role("option").filter(has_text="alpha").click()
    expect(badge).to_contain_text("outcome not known")
    expect(badge).to_contain_text("completed")
    assert badge.locator("path").get_attribute("d") != tick
    assert badge.evaluate("(it) => getComputedStyle(it).color") != green


def test_the_summary_leads_with_the_name_of_the_run_and_has_the_model_below(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha", model_name=None).train(1, 10)
    begin_run("beta", name="second try").train(1, 10)
    server = serve()
    page = watch(server.url, width=390, height=844, touch=True).open("?run=alpha")
    drawn(page)
    name = page.get_by_test_id("name")
    expect(name).to_have_text("alpha")
    expect(page.get_by_role("region", name="Run summary")).not_to_contain_text("Model not known")
    page.locator("[data-card=facts]").scroll_into_view_if_needed()
    expect(name).to_be_in_viewport(ratio=1)
    page = watch(server.url).open("?run=beta")
    expect(page.get_by_test_id("name")).to_have_text("second try")
    expect(page.get_by_role("region", name="Run summary")).to_contain_text("tiny-llama")


def test_the_summary_says_in_plain_words_how_long_and_how_far(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha", total_steps=500, begun=time.time() - 25).train(1, 499)
    ended = begin_run("beta", total_steps=500)
    ended.train(1, 500)
    ended.append(RunComplete(time=time.time() - 130, exit_code=0, step=500))
    server = serve()
    page = watch(server.url).open("?run=alpha")
    summary = page.get_by_role("region", name="Run summary")
    expect(summary).to_contain_text(re.compile(r"training for \d+ s\b"))
    expect(summary).to_contain_text("99 %")
    expect(summary).not_to_contain_text("100 %")
    expect(page.locator("[data-card=training] [data-field=current_step]")).to_contain_text("99 %")
    page = watch(server.url).open("?run=beta")
    summary = page.get_by_role("region", name="Run summary")
    expect(summary).to_contain_text("completed 2 min ago")
    expect(summary).to_contain_text("100 %")


def test_what_a_failed_verdict_was_compared_with_is_in_sight(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 10)
    run.append(judged("exact_match_gain", "FAIL", "Less was gained."), judged("loss_finite", "PASS", "All is finite."))
    page = watch(serve().url).open()
    failed = page.locator("[data-verdict=exact_match_gain]").get_by_test_id("thresholds")
    expect(failed).to_have_text("Threshold: most 0")
    expect(failed).to_be_visible()
    expect(page.locator("[data-verdict=loss_finite]").get_by_test_id("thresholds")).to_be_hidden()


def test_the_step_of_an_alert_always_leads_to_the_chart(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 200)
    run.append(Alert(time=time.time(), title="Loss spike", level="warning", step=60))
    page = watch(serve().url, width=390, height=844).open()
    drawn(page)
    sign = page.get_by_test_id("alert-lane").get_by_role("button")
    back = page.locator("[data-card=alerts]").get_by_role("button", name="step 60")
    for _ in range(2):
        sign.click()
        expect(back).to_be_in_viewport()
        back.click()
        expect(sign).to_be_in_viewport()
        expect(sign).to_be_focused()
        expect(sign).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(sign).to_have_attribute("aria-pressed", "false")
    page.goto(page.url + "&from=100&to=150")
    expect(page.get_by_test_id("paused")).to_be_visible()
    back.click()
    expect(sign).to_be_focused()


def test_a_star_leaves_open_what_was_open(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    names = [f"group{group}/metric{number}" for group in range(4) for number in range(20)]
    run.append(Step(step=1, loss=1.0, time=time.time(), metrics=dict.fromkeys(names, 1.0)))
    page = watch(serve().url).open("?page=charts")
    headings = page.locator("section.group h2 button")
    expect(headings.first).to_be_visible()
    opened = [each.inner_text() for each in headings.all() if each.get_attribute("aria-expanded") == "true"]
    assert len(opened) == 2
    prefix = opened[1].split()[0]
    for _ in range(2):
        page.locator(f"[data-series^='{prefix}']").last.get_by_role("button", name=re.compile("^Star ")).click()
        expect(page.locator("section.group").first).to_contain_text("starred")
        expect(headings.filter(has_text=prefix)).to_have_attribute("aria-expanded", "true")


def test_the_link_to_a_file_says_of_which_run_and_that_it_has_all_points(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 10)
    page = watch(serve().url).open("?page=charts")
    link = page.locator("[data-series=loss] a[download]")
    expect(link).to_have_attribute("title", "All points of loss of alpha, every attempt, as CSV")


def test_another_run_that_trains_is_offered_and_never_opened_by_itself(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    done = begin_run("alpha")
    done.train(1, 10)
    done.append(RunComplete(time=time.time(), step=10))
    page = watch(serve().url).open()
    wait_for_step(page, 10)
    begin_run("beta").train(1, 20)
    page.get_by_role("button", name="Open it").click()
    wait_for_step(page, 20)


@pytest.mark.slow
def test_an_offer_that_was_turned_down_does_not_come_back(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    done = begin_run("alpha")
    done.train(1, 10)
    done.append(RunComplete(time=time.time(), step=10))
    other = begin_run("beta")
    other.train(1, 10)
    page = watch(serve().url).open("?run=alpha")
    page.get_by_role("button", name="Not now").click()
    other.train(11, 20)
    page.wait_for_timeout(1500)
    expect(page.get_by_role("button", name="Open it")).to_have_count(0)
    begin_run("gamma").train(1, 10)
    expect(page.get_by_role("button", name="Open it")).to_have_count(1)


def test_hostile_names_stay_text(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    longest = markup + "\u202edesrever" + "A" * 10_000
    run = begin_run("alpha", name=longest, model_name=markup, host=markup, config=markup)
    run.train(1, 20)
    run.append(
        Alert(time=time.time(), title=markup, text=markup * 50, level="warning", step=5),
        Collector(time=time.time(), name=markup, running=False, detail=markup),
        judged(markup[:40], "WARN", markup),
    )
    watched = watch(serve().url, width=390, height=844)
    page = watched.open()
    drawn(page)
    expect(page.locator("[data-card=alerts]")).to_contain_text(markup)
    page.get_by_role("button", name=re.compile("^Run: ")).click()
    expect(page.get_by_role("listbox").get_by_role("option")).to_contain_text(markup)
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def judged(name: str, word: VerdictWord, message: str, subject: str = "") -> Verdict:
    return Verdict(
        name=name,
        verdict=word,
        message=message,
        subject=subject,
        numbers={"rows": 12.0},
        thresholds={"most": 0.0},
        policy="default",
        time=time.time(),
    )


def answered(step: int, task: str, level: str, correct: int, regime: str = "plain") -> ExactMatch:
    share = correct / 100
    return ExactMatch(
        step=step,
        time=time.time(),
        checkpoint=f"checkpoint-{step}",
        probe_set="0" * 16,
        task=task,
        level=level,
        regime=regime,
        base_rate=0.5,
        correct=correct,
        n=100,
        exact_match=share,
        low=max(0.0, share - 0.1),
        high=min(1.0, share + 0.1),
        confidence=0.95,
    )

"""The charts: picking among many, one x-axis and one cursor for all, the pin, the scales, and what is never hidden."""

from __future__ import annotations

import math
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from barograph.records import Alert, Heartbeat, Step

if TYPE_CHECKING:
    from playwright._impl._api_structures import FloatRect
    from tests.browser.conftest import BeginRun, Run, Serve, Watch

MOST_ROWS_IN_THE_PAGE = 60
HOSTILE = ("a/b/c", "层/损失", "<img src=x onerror=alert(1)>", "x" * 400, "a\u202eb", "q&a?name=z#1")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def card(page: Page, name: str) -> Locator:
    return page.locator(f'[data-series="{name}"]')


def drawn(page: Page, name: str = "loss") -> None:
    """Wait until the chart of a series on the charts page shows points."""
    expect(card(page, name).get_by_role("img")).to_have_attribute("aria-label", re.compile("newest|line"))


def main_drawn(page: Page, text: str = "newest") -> None:
    """Wait until the large chart shows points."""
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", re.compile(text))


def over(part: Locator) -> FloatRect:
    """The rectangle of a chart's plotting area."""
    box = part.locator(".u-over").bounding_box()
    assert box is not None
    return box


def log_metrics(run: Run, last: int, names: tuple[str, ...], *, first: int = 1, seconds: float = 1.0) -> None:
    """Steps of a run with several metrics, a fixed time apart, the last one now."""
    now = time.time()
    run.append(
        *(
            Step(
                step=step,
                loss=2 / step,
                time=now - (last - step) * seconds,
                metrics={name: math.cos(step / (9 + place)) for place, name in enumerate(names)},
            )
            for step in range(first, last + 1)
        ),
        Heartbeat(time=now, step=last),
    )


METRICS = ("train/entropy", "train/clip", "eval/loss", "grad_norm")


def test_every_series_has_a_chart_under_its_prefix(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 120, METRICS)
    page = watch(serve().url).open()
    page.get_by_role("link", name=re.compile("^Charts")).click()
    for name in ("loss", *METRICS):
        drawn(page, name)
    groups = page.locator("section.group h2").all_text_contents()
    assert [re.sub(r"\s+", " ", text).strip() for text in groups] == ["metrics 2", "eval/ 1", "train/ 2"]
    assert query(page)["page"] == ["charts"]
    page.go_back()
    main_drawn(page)


def test_charts_out_of_sight_ask_for_nothing_and_those_in_sight_ask_together(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    names = tuple(f"many/{number:03d}" for number in range(300))
    log_metrics(begin_run("alpha"), 5, names)
    watched = watch(serve().url)
    page = watched.open("?page=charts")
    drawn(page)
    page.get_by_text("Show 24 more of 288").click()
    expect(page.locator("[data-series]")).to_have_count(37)
    asked = [parse_qs(urlsplit(url).query) for url in watched.asked if "/api/series" in url]
    several = [each for each in asked if len(each["name"]) > 5]
    assert several
    assert len({name for each in asked for name in each["name"]}) <= 37


@pytest.mark.slow
def test_a_search_that_matches_no_chart_is_no_empty_run(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 20, METRICS)
    page = watch(serve().url).open("?page=charts")
    drawn(page)
    page.get_by_label("Search charts").fill("entr tr")
    expect(page.locator("[data-series]")).to_have_count(1)
    page.get_by_label("Search charts").fill("zebra")
    expect(page.get_by_test_id("no-chart-match")).to_contain_text("zebra")
    expect(page.get_by_test_id("no-points")).to_have_count(0)
    assert query(page)["search"] == ["zebra"]
    page.get_by_role("button", name="Clear the search").click()
    expect(page.locator("[data-series]")).to_have_count(5)


@pytest.mark.slow
def test_ten_thousand_series_are_searched_by_keyboard_and_few_rows_exist(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    names = tuple(f"layer_{number // 100}/tensor_{number % 100}" for number in range(10_000))
    run = begin_run("alpha")
    run.append(
        Step(step=1, loss=1.0, time=time.time(), metrics=dict.fromkeys(names, 1.0)),
        Step(step=2, loss=0.9, time=time.time(), metrics={}),
    )
    page = watch(serve().url).open()
    main_drawn(page)
    page.get_by_role("button", name=re.compile("^Series: loss")).click()
    expect(page.get_by_placeholder("Search 10,001 series")).to_be_focused()
    options = page.get_by_role("listbox", name="Series").get_by_role("option")
    assert 5 < options.count() < MOST_ROWS_IN_THE_PAGE
    for _ in range(40):
        page.keyboard.press("PageDown")
    assert options.count() < MOST_ROWS_IN_THE_PAGE
    page.keyboard.type("layer_73/ sor_42")
    expect(options).to_have_count(1)
    page.keyboard.press("Enter")
    main_drawn(page, "^layer_73/tensor_42 over")
    assert query(page)["series"] == ["layer_73/tensor_42"]
    assert "series=layer_73/tensor_42" in page.url


@pytest.mark.slow
def test_starred_series_stand_first_and_stay_in_the_address(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 40, METRICS)
    page = watch(serve().url).open("?page=charts")
    drawn(page)
    card(page, "train/entropy").get_by_role("button", name=re.compile("^Star")).click()
    expect(page.locator("[data-series]").first).to_have_attribute("data-series", "train/entropy")
    assert query(page)["star"] == ["train/entropy"]
    page.reload()
    expect(page.locator("[data-series]").first).to_have_attribute("data-series", "train/entropy")
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name=re.compile("^Series: ")).click()
    first = page.get_by_role("listbox", name="Series").get_by_role("option").first
    expect(first).to_contain_text("train/entropy")
    page.keyboard.type("clip")
    page.keyboard.press("Shift+Enter")
    assert query(page)["star"] == ["train/entropy", "train/clip"]


def test_a_drag_zooms_every_chart_of_the_page(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 400, METRICS)
    page = watch(serve().url).open("?page=charts")
    drawn(page)
    box = over(card(page, "grad_norm"))
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=5)
    page.mouse.up()
    expect(page.get_by_test_id("paused")).to_contain_text("resume")
    first, last = query(page)["from"][0], query(page)["to"][0]
    for name in ("loss", "grad_norm", "eval/loss"):
        label = re.compile(rf"over steps {first} to {last}")
        expect(card(page, name).get_by_role("img")).to_have_attribute("aria-label", label)
    page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 60)
    expect(page.get_by_test_id("paused")).to_have_count(0)
    expect(page.get_by_test_id("pin")).to_have_count(0)
    assert not {"from", "to", "at"} & query(page).keys()


def test_what_is_zoomed_stands_still_until_it_is_resumed(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    page = watch(serve().url).open("?from=20&to=90")
    main_drawn(page, "over steps 20 to 90")
    run.train(101, 140)
    expect(page.get_by_test_id("step")).to_have_text("140")
    main_drawn(page, "over steps 20 to 90")
    page.get_by_role("button", name=re.compile("resume")).click()
    main_drawn(page, "steps 1 to 140")


@pytest.mark.slow
def test_shift_and_drag_moves_the_window(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 400)
    page = watch(serve().url).open("?from=200&to=300")
    main_drawn(page, "over steps 200 to 300")
    box = over(page.locator("[data-card=curve]"))
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 60, steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_function("() => new URLSearchParams(location.search).get('from') !== '200'")
    first, last = int(query(page)["from"][0]), int(query(page)["to"][0])
    assert 148 <= first <= 152
    assert 100 <= last - first <= 102


def test_the_cursor_is_on_all_charts_and_its_tooltip_on_one(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 400, METRICS)
    page = watch(serve().url).open("?page=charts")
    drawn(page, "grad_norm")
    box = over(card(page, "grad_norm"))
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    expect(page.get_by_test_id("tooltip")).to_have_count(1)
    for name in ("loss", "grad_norm", "eval/loss"):
        expect(card(page, name).locator(".where")).to_have_text(re.compile(r"^step (199|200|201)$"))
    page.mouse.move(5, 5)
    expect(page.get_by_test_id("tooltip")).to_have_count(0)
    expect(card(page, "loss").locator(".where")).to_have_text("at step 400")


def test_a_click_pins_the_cursor_and_the_address_holds_it(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 101)
    page = watch(serve().url).open()
    main_drawn(page)
    box = over(page.locator("[data-card=curve]"))
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 60)
    tip = page.get_by_test_id("tooltip")
    expect(tip).to_contain_text("step 51")
    page.mouse.move(5, 5)
    expect(tip).to_contain_text("step 51")
    assert query(page)["at"] == ["51"]
    run.train(102, 130)
    main_drawn(page, "at step 130")
    expect(tip).to_contain_text("step 51")
    page.reload()
    expect(tip).to_contain_text("step 51")
    expect(page.get_by_test_id("pin")).to_contain_text("Pinned at step 51")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)
    assert "at" not in query(page)


def test_enter_pins_what_the_arrow_keys_have_found(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 60)
    page = watch(serve().url).open()
    main_drawn(page)
    page.locator("[data-card=curve]").get_by_role("slider", name=re.compile("Chart cursor")).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("pin")).to_contain_text("Pinned at step 59")


@pytest.mark.parametrize(("axis", "reads"), [("elapsed", "1 min 40 s in"), ("clock", r"\d\d:\d\d:\d\d")])
def test_the_same_points_can_stand_by_time(
    begin_run: BeginRun, serve: Serve, watch: Watch, axis: str, reads: str
) -> None:
    run = begin_run("alpha", begun=time.time() - 200)
    log_metrics(run, 201, METRICS)
    watched = watch(serve().url)
    page = watched.open()
    main_drawn(page)
    page.get_by_role("group", name="Unit of the x-axis").get_by_role("button", name=axis).click()
    main_drawn(page, "newest")
    page.wait_for_function("(axis) => location.search.includes(`x=${axis}`)", arg=axis)
    box = over(page.locator("[data-card=curve]"))
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    expect(page.get_by_test_id("tooltip")).to_contain_text(re.compile("step (100|101|102)"))
    expect(page.get_by_test_id("tooltip")).to_contain_text(re.compile(reads))
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_test_id("paused")).to_be_visible()
    page.wait_for_timeout(300)
    asked = [parse_qs(urlsplit(url).query) for url in watched.asked if "/api/series" in url and "since=" in url]
    assert asked
    low, high = float(asked[-1]["since"][0]), float(asked[-1]["until"][0])
    assert abs((high - low) - 50) < 4
    label = page.locator("[data-card=curve]").get_by_role("img").get_attribute("aria-label") or ""
    assert re.search(r", 5\d points", label), label


def test_the_slider_walks_the_ladder_and_says_how_many_points_it_averages(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 60)
    page = watch(serve().url).open("?smoothing=0")
    main_drawn(page)
    expect(page.locator("output")).to_contain_text("off")
    expect(page.get_by_text("smoothed", exact=True)).to_have_count(0)
    slider = page.get_by_role("slider", name="Smoothing")
    slider.focus()
    said = []
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        said.append(page.locator("output").inner_text().strip())
    assert said == ["0.6 2.5 points", "0.9 10 points", "0.97 33 points", "0.99 100 points", "0.999 1000 points"]
    page.wait_for_function("() => location.search.includes('smoothing=0.999')")
    main_drawn(page, "smoothed")


def test_a_spike_of_one_step_is_in_the_band_of_a_long_run(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha", total_steps=50_000).train(1, 50_000, losses={31_234: 99.0})
    page = watch(serve().url).open("?smoothing=0.999")
    main_drawn(page, "50,000 points")
    page.get_by_role("button", name="table").first.click()
    greatest = page.locator("[data-card=curve] tbody td:nth-child(5)").all_text_contents()
    assert greatest.count("99.00") == 1


def test_a_logarithmic_axis_marks_what_it_cannot_show(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 80, losses={20: 0.0, 40: -1.0})
    page = watch(serve().url).open("?log=loss&smoothing=0")
    main_drawn(page)
    expect(page.get_by_test_id("not-positive")).to_be_visible()
    page.get_by_role("button", name="log y").click()
    expect(page.get_by_test_id("not-positive")).to_have_count(0)


def test_a_rewound_attempt_can_be_shown_whole(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 80)
    begin_run("alpha", attempt=2, resumed_from="checkpoint-50").train(51, 120)
    watched = watch(serve().url)
    page = watched.open()
    main_drawn(page)
    page.get_by_label("Rewound").select_option("1")
    expect(page.get_by_text("attempt 1, whole")).to_be_visible()
    main_drawn(page, "2 lines")
    assert any("attempt=1" in url for url in watched.asked if "/api/series" in url)
    box = over(page.locator("[data-card=curve]"))
    page.mouse.move(box["x"] + box["width"] * 69 / 119, box["y"] + 60)
    expect(page.get_by_test_id("tooltip").locator("dd:not(.calm)")).to_have_count(2)
    expect(page.get_by_test_id("tooltip")).not_to_contain_text("—")


def test_ranks_are_a_band_and_the_straggler_is_named(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    for rank, last in ((1, 100), (2, 88)):
        other = begin_run("alpha", writer=f"rank{rank}")
        other.append(*(Step(step=step, loss=1 + rank / 10, time=time.time()) for step in range(1, last + 1)))
    page = watch(serve().url).open()
    main_drawn(page)
    expect(page.get_by_text("3 ranks: min to max, and mean")).to_be_visible()
    expect(page.get_by_test_id("straggler")).to_have_text("straggler: rank 2, 12 steps behind")
    page.get_by_role("button", name="ranks").click()
    expect(page.get_by_test_id("straggler")).to_have_count(0)


def test_an_alert_leads_from_the_curve_to_its_row_and_back(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 200)
    now = time.time()
    run.append(
        Alert(time=now - 60, title="Loss spike", text="", level="warning", step=50),
        Alert(time=now - 60, title="NaN loss", text="", level="critical", step=150),
        Alert(time=now - 60, title="NaN loss again", text="", level="critical", step=151),
    )
    page = watch(serve().url, height=500).open()
    main_drawn(page)
    lane = page.get_by_test_id("alert-lane").get_by_role("button")
    expect(lane).to_have_count(2)
    expect(lane.last).to_have_accessible_name(re.compile("^critical at step 150: NaN loss, and 1 more alert near it"))
    tick, box = lane.first.bounding_box(), over(page.locator("[data-card=curve]"))
    assert tick is not None
    assert abs((tick["x"] + tick["width"] / 2 - box["x"]) / box["width"] - 49 / 199) < 0.01
    lane.first.click()
    row = page.locator("[data-card=alerts] li").filter(has_text="Loss spike")
    expect(row).to_be_focused()
    expect(row).to_be_in_viewport()
    assert query(page)["alert"][0].startswith("50@")
    page.locator("[data-card=alerts]").get_by_role("button", name="step 150").click()
    expect(page.locator("[data-card=curve] .u-over")).to_be_in_viewport(ratio=0.1)
    expect(lane.last).to_have_attribute("aria-pressed", "true")


def test_all_points_can_be_had_as_csv(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 30)
    page = watch(serve().url).open()
    main_drawn(page)
    link = page.get_by_role("link", name="CSV")
    asked = parse_qs(urlsplit(link.get_attribute("href") or "").query)
    assert asked == {"run": ["alpha"], "name": ["loss"], "format": ["csv"]}
    with page.expect_download() as download:
        link.click()
    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    assert len(lines) == 31
    assert lines[0].split(",")[:2] == ["run", "series"]


def test_names_that_look_like_markup_or_addresses_are_text(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 30, HOSTILE)
    watched = watch(serve().url, width=390, height=844)
    page = watched.open("?page=charts")
    drawn(page)
    for name in HOSTILE:
        found = page.get_by_role("heading", level=3, name=name, exact=True)
        found.scroll_into_view_if_needed()
        chart = page.locator("section.metric").filter(has=found).get_by_role("img")
        expect(chart).to_have_attribute("aria-label", re.compile("newest"))
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_name_too_long_to_be_asked_for_says_so_and_takes_no_other_chart_away(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    log_metrics(begin_run("alpha"), 30, ("y" * 10_000, "grad_norm"))
    page = watch(serve().url, width=390, height=844).open("?page=charts")
    drawn(page)
    drawn(page, "grad_norm")
    page.locator("section.metric").nth(2).scroll_into_view_if_needed()
    expect(page.get_by_text("This name has 10,000 characters")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_one_broken_chart_leaves_the_others_alive(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    log_metrics(begin_run("alpha"), 30, METRICS)
    watched = watch(serve().url)

    def spoil(body: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
        for series in body["series"]:
            if series["name"] == "grad_norm":
                series["non_finite"] = None
        return body

    watched.page.route("**/api/series?**", lambda route: route.fulfill(json=spoil(route.fetch().json())))
    page = watched.open("?page=charts")
    drawn(page)
    expect(card(page, "grad_norm")).to_contain_text("This chart cannot be drawn")
    drawn(page, "eval/loss")
    assert [said for said in watched.complaints if not said.startswith("console: TypeError")] == []
    watched.complaints.clear()


def test_the_keyboard_cursor_is_announced_while_points_come_in(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 60)
    page = watch(serve().url).open()
    main_drawn(page)
    page.locator("[data-card=curve]").get_by_role("slider", name=re.compile("Chart cursor")).focus()
    page.keyboard.press("ArrowLeft")
    said = page.locator("[data-card=curve] .plot").get_by_role("status")
    for step in range(61, 81):
        run.train(step, step)
        page.wait_for_timeout(80)
        if said.text_content():
            break
    expect(said).to_have_text(re.compile("^step 59: "), timeout=1)


def test_the_tooltip_of_a_mouse_that_is_still_keeps_its_step(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 101)
    page = watch(serve().url).open()
    main_drawn(page)
    box = over(page.locator("[data-card=curve]"))
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
    tip = page.get_by_test_id("tooltip")
    expect(tip).to_contain_text("step 81")
    before = tip.bounding_box()
    run.train(102, 160)
    main_drawn(page, "at step 160")
    expect(tip).to_contain_text("step 81")
    page.wait_for_timeout(100)
    after = tip.bounding_box()
    assert before is not None
    assert after is not None
    assert before["x"] - after["x"] > box["width"] * 0.2
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 61)
    expect(tip).to_contain_text("step 128")


INK_IN_THE_MIDDLE = """() => {
    const canvas = document.querySelector('[data-card=curve] canvas');
    const over = document.querySelector('[data-card=curve] .u-over');
    const ratio = canvas.width / canvas.clientWidth;
    const [left, right] = [0.4, 0.6].map((share) => Math.round((over.offsetLeft + over.clientWidth * share) * ratio));
    const [top, high] = [over.offsetTop * ratio, over.clientHeight * ratio];
    const wide = right - left;
    const { data } = canvas.getContext('2d').getImageData(left, top, wide, high);
    // a grid line is grey; the line of the loss is not
    const row = new Map();
    for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue, alpha] = data.slice(at, at + 4);
        const coloured = alpha > 40 && Math.max(red, green, blue) - Math.min(red, green, blue) > 40;
        if (coloured) row.set((at / 4) % wide, true);
    }
    return row.size / wide;
}"""


@pytest.mark.slow
def test_no_line_bridges_the_time_between_two_attempts(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    now = time.time()
    first = begin_run("alpha", begun=now - 1000)
    first.append(*(Step(step=step, loss=2.0, time=now - 1000 + step) for step in range(1, 101)))
    second = begin_run("alpha", attempt=2, begun=now - 100, resumed_from="checkpoint-100")
    second.append(*(Step(step=step, loss=2.0, time=now - 200 + step) for step in range(101, 201)))
    second.append(Alert(time=now - 500, title="Pressure", text="", level="warning", step=100))
    page = watch(serve().url).open("?x=clock")
    main_drawn(page)
    page.wait_for_timeout(200)
    inked = page.evaluate(INK_IN_THE_MIDDLE)
    assert 0 < inked < 0.2, "only the alert stands between the attempts, at its own time"
    box = over(page.locator("[data-card=curve]"))
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + 60)
    page.wait_for_timeout(100)
    expect(page.get_by_test_id("tooltip")).to_have_count(0)
    page.mouse.move(box["x"] + box["width"] * 0.05, box["y"] + 60)
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 5")
    tip = page.get_by_test_id("tooltip").locator(".tip-time").inner_text()
    assert tip.endswith(page.get_by_test_id("zone").inner_text())
    page.get_by_role("button", name="step", exact=True).first.click()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 10")
    assert page.evaluate(INK_IN_THE_MIDDLE) == 1


def test_the_buttons_zoom_around_the_pin_else_the_newest_end_and_out_to_the_whole_run(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 401)
    page = watch(serve().url).open()
    main_drawn(page)
    page.get_by_role("button", name="Zoom in").click()
    main_drawn(page, "over steps 201 to 401")
    for _ in range(2):
        page.get_by_role("button", name="Zoom out").click(force=True)
        expect(page.get_by_test_id("paused")).to_have_count(0)
    main_drawn(page, "over steps 1 to 401")
    assert "from" not in query(page)
    box = over(page.locator("[data-card=curve]"))
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 60)
    expect(page.get_by_test_id("pin")).to_contain_text("101")
    page.get_by_role("button", name="Zoom in").click()
    main_drawn(page, "over steps 51 to 251")


def fingers(page: Page, *moves: list[tuple[float, float]]) -> None:
    """Put fingers down at the first places, move them through the others, and lift them."""
    session = page.context.new_cdp_session(page)
    for at, places in enumerate(moves):
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if at else "touchStart", "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_one_finger_moves_a_zoomed_chart_and_two_zoom_it(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 400)
    page = watch(serve().url, width=390, height=700, touch=True).open("?from=200&to=300")
    main_drawn(page, "over steps 200 to 300")
    chart = page.locator("[data-card=curve] .u-over")
    chart.scroll_into_view_if_needed()
    box = over(page.locator("[data-card=curve]"))
    y = box["y"] + box["height"] / 2
    left, wide = box["x"], box["width"]
    fingers(page, *([(left + wide * (0.2 + 0.1 * at), y)] for at in range(6)))
    page.wait_for_function("() => new URLSearchParams(location.search).get('from') !== '200'")
    first, last = int(query(page)["from"][0]), int(query(page)["to"][0])
    assert 140 <= first <= 165
    assert 99 <= last - first <= 102
    fingers(page, *([(left + wide * (0.4 - 0.05 * at), y), (left + wide * (0.6 + 0.05 * at), y)] for at in range(5)))
    page.wait_for_function(f"() => new URLSearchParams(location.search).get('from') !== '{first}'")
    closer = int(query(page)["to"][0]) - int(query(page)["from"][0])
    assert 30 <= closer <= 40
    scrolled = page.evaluate("scrollY")
    fingers(page, *([(left + wide / 2, y - 20 * at)] for at in range(10)))
    page.wait_for_function("(before) => scrollY > before", arg=scrolled)
    assert int(query(page)["to"][0]) - int(query(page)["from"][0]) == closer


@pytest.mark.parametrize("where", ["", "&page=charts"])
def test_a_smoothed_value_of_several_runs_is_called_so(
    begin_run: BeginRun, serve: Serve, watch: Watch, where: str
) -> None:
    begin_run("alpha").train(1, 50)
    begin_run("beta").train(1, 50)
    page = watch(serve().url).open(f"?run=alpha&with=beta{where}")
    place = page.locator("[data-series=loss]" if where else "[data-card=curve]")
    expect(place.get_by_text("smoothed", exact=True)).to_have_count(1)
    page.get_by_role("slider", name="Smoothing").fill("0")
    expect(place.get_by_text("smoothed", exact=True)).to_have_count(0)


def test_the_value_of_one_run_is_its_newest_point_not_the_mean_of_a_bucket(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha", total_steps=5000).train(1, 5000, losses={5000: 7.25})
    page = watch(serve().url).open("?page=charts")
    drawn(page)
    expect(card(page, "loss").locator(".values b")).to_have_text("7.250")


@pytest.mark.slow
def test_the_open_table_and_the_hidden_ranks_are_in_the_address(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 30)
    begin_run("alpha", writer="rank1").train(1, 30)
    page = watch(serve().url).open()
    main_drawn(page)
    page.get_by_role("button", name="ranks").click()
    page.get_by_role("button", name="table").first.click()
    assert query(page)["table"] == ["open"]
    assert query(page)["ranks"] == ["off"]
    page.reload()
    expect(page.locator("[data-card=curve] tbody tr").first).to_be_visible()
    expect(page.get_by_role("button", name="ranks")).to_have_attribute("aria-pressed", "false")


def test_the_address_says_what_is_shown_not_what_was_asked_for(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    for number in range(12):
        begin_run(f"run-{number}").train(1, 20)
    others = ",".join(f"run-{number}" for number in range(1, 12))
    page = watch(serve().url).open(f"?run=run-0&smoothing=0.5&attempt=77&with={others}")
    main_drawn(page, "line")
    page.wait_for_function("() => !location.search.includes('attempt')")
    assert query(page)["smoothing"] == ["0.6"]
    assert query(page)["with"] == [",".join(f"run-{number}" for number in range(1, 8))]


def test_nothing_scrolls_sideways_on_the_narrowest_phone(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 40)
    page = watch(serve().url, width=320, height=640).open("?smoothing=0.999")
    main_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    row = page.locator(".smoothing").bounding_box()
    assert row is not None
    assert page.locator(".smoothing").evaluate("(row) => row.scrollWidth <= row.clientWidth")


def test_a_run_without_a_finite_value_has_no_numbers_on_its_axis(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").train(1, 30, losses=dict.fromkeys(range(1, 31), math.nan))
    watched = watch(serve().url)
    watched.page.add_init_script(
        "window.said = []; const say = CanvasRenderingContext2D.prototype.fillText;"
        " CanvasRenderingContext2D.prototype.fillText = function (text, ...rest)"
        " { said.push(String(text)); return say.call(this, text, ...rest); };"
    )
    page = watched.open()
    main_drawn(page, "newest not finite")
    expect(page.get_by_test_id("no-finite-value")).to_be_visible()
    expect(page.get_by_test_id("nan-legend")).to_have_text("▲30 NaN")
    page.evaluate("said.length = 0")
    page.set_viewport_size({"width": 1300, "height": 1000})
    page.wait_for_function("() => said.length > 0")
    assert not {"0", "0.5", "1"} & set(page.evaluate("said"))


def test_an_infinity_is_spelled_out_under_the_cursor(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 101, losses={51: math.inf})
    page = watch(serve().url).open()
    main_drawn(page)
    box = over(page.locator("[data-card=curve]"))
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    expect(page.get_by_test_id("tooltip")).to_contain_text("+Infinity at 51")


def test_what_is_not_finite_on_another_rank_is_marked_and_said(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 101)
    begin_run("alpha", writer="rank3").train(1, 101, losses={51: math.nan})
    page = watch(serve().url).open()
    main_drawn(page)
    expect(page.get_by_text("rank 3: 1 not finite")).to_be_visible()
    box = over(page.locator("[data-card=curve]"))
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    expect(page.get_by_test_id("tooltip")).to_contain_text(re.compile(r"rank 3\s*1 not finite"))

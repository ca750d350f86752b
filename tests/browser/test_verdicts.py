"""Every verdict on the page: its words and numbers, the steps it rests on, and when it is asked for."""

from __future__ import annotations

import json
import math
import re
import time
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from barograph.records import RunComplete, Step, Verdict

if TYPE_CHECKING:
    from tests.browser.conftest import BeginRun, Run, Serve, Server, Watch, Watched

PHONE = (390, 844)
DESK = (1440, 1000)
SMALLEST_TARGET = 44
LEAST_BETWEEN_S = 10
LAST = 300
BAD = {100: 9.0, 160: math.nan, 161: math.inf, 240: 7.5, 250: math.nan}
TITLES = {
    "training_drift": "Loss curve",
    "gradient_ghost": "Gradients",
    "layer_drift": "Layer drift",
    "weight_stability": "Weight stability",
}


def trained(run: Run, last: int = LAST, losses: dict[int, float] | None = None) -> None:
    """A run that came to its end."""
    run.train(1, last, losses=losses)
    run.append(RunComplete(time=time.time(), step=last))


def document(server: Server, run: str = "alpha") -> Any:  # as JSON has it
    with urllib.request.urlopen(f"{server.url}api/verdicts?run={run}", timeout=10) as reply:
        return json.loads(reply.read())


def card(page: Page) -> Locator:
    return page.locator("[data-card=verdicts]")


def entry(page: Page, name: str) -> Locator:
    return card(page).locator(f"[data-verdict={name}]")


def marks(page: Page) -> Locator:
    return page.get_by_test_id("evidence-lane").locator("[data-steps]")


def mark(page: Page, step: int) -> Locator:
    return page.get_by_test_id("evidence-lane").locator(f"[data-steps~='{step}']")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def asked(watched: Watched) -> int:
    return sum("/api/verdicts" in url for url in watched.asked)


def marked_steps(page: Page) -> list[int]:
    return [int(step) for each in marks(page).all() for step in str(each.get_attribute("data-steps")).split()]


def no_sideways_scroll(page: Page) -> bool:
    fits: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return fits


def test_every_verdict_stands_with_its_words(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"), losses=BAD)
    server = serve()
    page = watch(server.url).open("?run=alpha")
    said = document(server)
    expect(card(page).get_by_test_id("overall")).to_have_text(said["verdict"])
    assert [each["name"] for each in said["verdicts"]] == list(TITLES)
    expect(card(page).locator("[data-verdict]")).to_have_count(len(TITLES))
    for verdict in said["verdicts"]:
        row = entry(page, verdict["name"])
        expect(row.locator(".top .word")).to_have_text(verdict["verdict"])
        expect(row.locator(".top .word svg")).to_have_count(1)
        for text in (TITLES[verdict["name"]], verdict["name"], verdict["message"]):
            expect(row).to_contain_text(text)
    expect(card(page).locator("[data-verdict]").first).to_have_attribute("data-verdict", "training_drift")
    curve = next(each for each in said["verdicts"] if each["name"] == "training_drift")
    assert curve["verdict"] == "WARN"
    assert len(curve["findings"]) == 2
    expect(entry(page, "training_drift")).to_contain_text("Do: " + curve["advice"].replace("`", ""))
    found = entry(page, "training_drift").locator("[data-finding]")
    for place, finding in enumerate(curve["findings"]):
        for text in (finding["severity"], finding["message"], finding["cause"]):
            expect(found.nth(place)).to_contain_text(text.replace("`", ""))
    expect(found.last).to_contain_text("Do: " + curve["findings"][-1]["action"].replace("`", ""))


def test_the_numbers_are_the_documents(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"), losses=BAD)
    server = serve()
    page = watch(server.url).open("?run=alpha")
    figures = next(each["figures"] for each in document(server)["verdicts"] if each["name"] == "training_drift")
    rows = entry(page, "training_drift").locator("[data-figure]")
    expect(rows).to_have_count(len(figures))
    order = [str(row.get_attribute("data-figure")) for row in rows.all()]
    places = {False: 0, True: 1, None: 2}
    assert order == [each["name"] for each in sorted(figures, key=lambda each: places[each["held"]])]
    for figure in figures:
        cells = entry(page, "training_drift").locator(f"[data-figure={figure['name']}] td")
        exact = cells.first.get_attribute("title")
        assert exact is not None
        assert float(exact) == figure["value"]
        assert math.isclose(float(cells.first.inner_text().replace(",", "")), figure["value"], rel_tol=5e-4)
        result = {True: "held", False: "missed", None: ""}[figure["held"]]
        expect(cells.last).to_have_text(result)
        expect(cells.last.locator("svg")).to_have_count(0 if figure["held"] is None else 1)
        limit = "" if figure["threshold"] is None else f"{figure['threshold']:g}"
        sign = {"<=": "≤ ", ">=": "≥ ", None: ""}[figure["sign"]]
        expect(cells.nth(1)).to_have_text(sign + limit)
    missed = [each["name"] for each in figures if each["held"] is False]
    assert missed == ["spikes_v2", "non_finite"]


def test_a_healthy_run_is_calm(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"))
    page = watch(serve().url).open("?run=alpha")
    expect(card(page).get_by_test_id("overall")).to_have_text("PASS")
    row = entry(page, "training_drift")
    expect(row).to_contain_text("PASS")
    expect(row.locator("table")).to_be_hidden()
    expect(card(page).get_by_test_id("steps")).to_have_count(0)
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))
    expect(page.get_by_test_id("evidence-lane")).to_have_count(0)
    expect(page.get_by_test_id("evidence-legend")).to_have_count(0)
    row.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(row.locator("table")).to_be_visible()
    expect(row.locator("[data-figure=num_steps]")).to_contain_text("300")


def test_a_run_that_is_too_short_says_why_it_was_not_judged(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 1)
    server = serve()
    page = watch(server.url).open("?run=alpha")
    said = next(each for each in document(server)["verdicts"] if each["name"] == "training_drift")
    assert said["verdict"] == "SKIP"
    row = entry(page, "training_drift")
    expect(row.locator(".top .word")).to_have_text("SKIP")
    expect(row.locator(".top .word")).to_have_class(re.compile(r"\bcalm\b"))
    expect(row).to_contain_text("only 1 step records (< min_steps=10)")
    expect(row.locator("table")).to_be_hidden()
    row.locator("summary").click()
    assert next(each["text"] for each in said["figures"] if each["name"] == "convergence_v2") == "nan"
    expect(row.locator("[data-figure=convergence_v2] td").first).to_have_text("no number")
    expect(row.locator("[data-figure=num_steps]")).to_contain_text("missed")
    expect(row.locator(".bad, .warn")).to_have_count(0)


def test_a_run_that_ends_in_nan_fails(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"), losses=dict.fromkeys(range(200, LAST + 1), math.nan))
    server = serve()
    page = watch(server.url).open("?run=alpha")
    expect(card(page).get_by_test_id("overall")).to_have_text("FAIL")
    expect(entry(page, "training_drift")).to_contain_text(
        "the last loss is no number; the first such one is at step 200"
    )
    steps = entry(page, "training_drift").get_by_test_id("steps")
    expect(steps.get_by_role("button", name=re.compile("^Show step"))).to_have_count(8)
    said = next(each for each in document(server)["verdicts"] if each["name"] == "training_drift")
    steps.get_by_role("button", name=f"all {len(said['steps'])}").click()
    expect(steps.get_by_role("button", name=re.compile("^Show step"))).to_have_count(len(said["steps"]))
    expect(marks(page).first).to_be_visible()
    assert marked_steps(page) == said["steps"]


def test_a_recorded_verdict_stands_beside_them_with_every_threshold(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    trained(run)
    numbers, thresholds = {"gain": 0.1, "rows": 12.0}, {"min_gain": 0.4, "most": 0.5}
    run.append(
        Verdict(
            name="exact_match_gain",
            verdict="FAIL",
            subject="binary 1",
            message="Less was gained.",
            numbers=numbers,
            thresholds=thresholds,
            policy="default",
            time=time.time(),
        )
    )
    page = watch(serve().url).open("?run=alpha")
    row = card(page).locator("[data-verdict]").first
    expect(row).to_contain_text(re.compile(r"FAIL\s*Gain in exact match\s*exact_match_gain\s*binary 1"))
    expect(row.locator("[data-figure=gain] td")).to_have_text(["0.1000", "≥ 0.4", "missed"])
    expect(row.locator("[data-figure=rows] td")).to_have_text(["12", "", ""])
    expect(row.get_by_test_id("thresholds")).to_have_text("Thresholds: min_gain 0.4, most 0.5")


def test_the_steps_are_marked_on_the_loss_where_they_are(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"), losses=BAD)
    server = serve()
    page = watch(server.url).open("?run=alpha")
    said = next(each["steps"] for each in document(server)["verdicts"] if each["name"] == "training_drift")
    assert said == sorted(BAD)
    expect(marks(page).first).to_be_visible()
    assert marked_steps(page) == said
    track = page.get_by_test_id("evidence-lane").locator(".track").bounding_box()
    sign = mark(page, 100).locator("svg").bounding_box()
    assert track is not None
    assert sign is not None
    expected = track["x"] + track["width"] * (100 - 1) / (LAST - 1)
    assert sign["x"] + sign["width"] / 2 == pytest.approx(expected, abs=1.5)
    expect(page.get_by_test_id("evidence-legend")).to_have_text("spike or no number: judged by training_drift")
    expect(mark(page, 100).get_by_role("button")).to_have_attribute(
        "aria-label", "step 100: spike. Judged by training_drift: WARN."
    )
    both = mark(page, 161).get_by_role("button")
    expect(both).to_have_attribute(
        "aria-label", "2 steps: NaN at 160, +Infinity at 161. Judged by training_drift: WARN."
    )
    both.hover()
    expect(both.locator(".bubble")).to_be_visible()
    page.goto(server.url + "?run=alpha&series=grad_norm")
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))
    expect(entry(page, "training_drift")).to_be_visible()
    expect(page.get_by_test_id("evidence-lane")).to_have_count(0)


def test_a_step_leads_to_its_place_on_the_loss_by_keyboard(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"), losses=BAD)
    page = watch(serve().url).open("?run=alpha")
    step = entry(page, "training_drift").get_by_role("button", name="Show step 250 on the curve")
    step.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 250")
    expect(page.get_by_test_id("tooltip")).to_contain_text("judged WARN")
    assert query(page)["at"] == ["250"]
    button = mark(page, 250).get_by_role("button")
    expect(button).to_be_focused()
    expect(button).to_be_in_viewport()
    expect(button.locator(".bubble")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("tooltip")).to_have_count(0)
    page.keyboard.press("Shift+Tab")
    expect(mark(page, 161).get_by_role("button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 160")


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["step", "elapsed", "clock"])
def test_a_step_outside_the_window_or_of_another_series_is_gone_to(
    begin_run: BeginRun, serve: Serve, watch: Watch, axis: str
) -> None:
    run = begin_run("alpha", begun=time.time() - LAST)
    run.append(
        *(
            Step(step=step, loss=BAD.get(step, 3.0 - step / 200), time=run.begun + step, metrics={"grad_norm": 1.0})
            for step in range(1, LAST + 1)
        )
    )
    server = serve()
    page = watch(server.url).open(f"?run=alpha&series=grad_norm&x={axis}" + ("&from=1&to=60" if axis == "step" else ""))
    entry(page, "training_drift").get_by_role("button", name="Show step 240 on the curve").click()
    expect(mark(page, 240).get_by_role("button")).to_be_focused()
    expect(page.get_by_test_id("tooltip")).to_contain_text("step 240")
    assert "series" not in query(page)
    if axis == "step":
        assert (query(page)["from"], query(page)["to"]) == (["210"], ["270"])


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(
    begin_run: BeginRun, serve: Serve, watch: Watch, axe: str, size: tuple[int, int], dark: bool
) -> None:
    trained(begin_run("alpha"), losses=BAD)
    page = watch(serve().url, width=size[0], height=size[1], dark=dark).open("?run=alpha")
    expect(mark(page, 100)).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    mark(page, 100).get_by_role("button").focus()
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run().then((said) => said.violations.map((each) => [each.id, each.impact, each.nodes[0].html]))"
    )
    assert found == []


def test_a_phone_needs_no_sideways_scroll_and_no_thin_fingers(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"), losses=BAD)
    page = watch(serve().url, width=PHONE[0], height=PHONE[1], touch=True).open("?run=alpha")
    expect(entry(page, "training_drift").locator("table")).to_be_visible()
    assert no_sideways_scroll(page)
    wide = card(page).locator("table").first.evaluate("(one) => [one.scrollWidth, one.parentElement.clientWidth]")
    assert wide[0] <= wide[1]
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('[data-card=verdicts], [data-testid=evidence-lane]')]
            .flatMap((each) => [...each.querySelectorAll('button, summary')])
            .map((each) => [each.outerHTML.slice(0, 80), each.getBoundingClientRect().height])
            .filter(([, height]) => height < least)""",
        SMALLEST_TARGET - 0.5,
    )
    assert small == []
    for step in sorted(BAD):
        entry(page, "training_drift").get_by_role("button", name=f"Show step {step} on the curve").tap()
        expect(mark(page, step).get_by_role("button")).to_be_focused()
        bubble = mark(page, step).locator(".bubble").bounding_box()
        assert bubble is not None
        assert bubble["x"] >= 0
        assert bubble["x"] + bubble["width"] <= PHONE[0]
        assert no_sideways_scroll(page)


@pytest.mark.slow
def test_verdicts_are_asked_for_when_they_are_looked_at(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"))
    watched = watch(serve().url)
    page = watched.open("?run=alpha&page=charts")
    expect(page.locator("[data-series=loss]")).to_be_visible()
    page.wait_for_timeout(1500)
    assert asked(watched) == 0
    page.get_by_role("link", name="Overview").click()
    expect(card(page).get_by_test_id("overall")).to_have_text("PASS")
    page.wait_for_timeout(1500)
    assert asked(watched) == 1


@pytest.mark.slow
def test_a_run_that_trains_is_judged_again_now_and_then_and_when_it_ends(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    run.train(1, 100)
    watched = watch(serve().url)
    page = watched.open("?run=alpha")
    expect(entry(page, "training_drift").locator(".top .word")).to_have_text("PASS")
    begun = time.monotonic()
    before = asked(watched)
    step = 101
    while time.monotonic() - begun < LEAST_BETWEEN_S - 3:
        run.train(step, step, losses={101: 50.0})
        step += 1
        page.wait_for_timeout(400)
    assert asked(watched) - before <= 1
    expect(entry(page, "training_drift").locator(".top .word")).to_have_text("WARN", timeout=8000)
    expect(mark(page, 101)).to_be_visible()
    since = asked(watched)
    run.append(RunComplete(time=time.time(), step=step))
    expect(page.get_by_role("region", name="Run summary")).to_contain_text("completed")
    page.wait_for_timeout(2500)
    assert asked(watched) == since + 1


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_said_and_asked_again(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    trained(begin_run("alpha"))
    watched = watch(serve().url)
    watched.away_is_expected = True
    watched.page.route("**/api/verdicts?*", lambda route: route.abort())
    page = watched.open("?run=alpha")
    expect(card(page).get_by_test_id("no-verdicts")).to_have_text("The server cannot be asked: no connection.")
    page.unroute("**/api/verdicts?*")
    expect(card(page).get_by_test_id("overall")).to_have_text("PASS", timeout=15_000)

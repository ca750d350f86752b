"""Several runs on the same charts: choosing them, telling them apart, and what differs in their settings."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import BeginRun, Serve, Watch

MOST = 8


def runs_drawn(page: Page, runs: int) -> None:
    """Wait until the large chart has a line with points for each of the runs."""
    label = re.compile(rf"of {runs} lines over (?!.*no points)")
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", label)


def legend(page: Page) -> Locator:
    return page.locator("[data-card=curve] .legend li:has(.key)")


def looks(page: Page) -> dict[str, str]:
    """What tells each run's line from the others: colour and dash of its sign."""
    found: dict[str, str] = page.get_by_test_id("compared").evaluate(
        """(list) => Object.fromEntries([...list.children].map((item) => {
            const path = item.querySelector('path');
            return [item.innerText.trim(), getComputedStyle(path).stroke + ' ' + path.getAttribute('stroke-dasharray')];
        }))"""
    )
    return found


def test_runs_are_chosen_in_the_picker_and_the_address_lists_them(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    for place, run in enumerate(("alpha", "beta", "gamma")):
        begin_run(run).train(1, 50 + place)
    page = watch(serve().url).open("?run=alpha")
    page.get_by_role("button", name=re.compile("^Run: alpha")).click()
    page.get_by_role("option", name=re.compile("beta")).get_by_test_id("compare").click()
    runs_drawn(page, 2)
    page.keyboard.type("gamma")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Escape")
    runs_drawn(page, 3)
    assert "with=beta,gamma" in page.url
    expect(legend(page)).to_have_text([re.compile(rf"{run}\s*\d") for run in ("alpha", "beta", "gamma")])
    page.reload()
    runs_drawn(page, 3)
    page.get_by_role("button", name="Take beta out of the comparison").click()
    runs_drawn(page, 2)
    assert parse_qs(urlsplit(page.url).query)["with"] == ["gamma"]


@pytest.mark.slow
def test_eight_runs_can_be_told_apart_and_a_ninth_is_refused_in_words(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    names = [f"run-{place}" for place in range(MOST + 1)]
    for name in names:
        begin_run(name).train(1, 20)
    page = watch(serve().url).open(f"?run=run-0&with={','.join(names[1:MOST])}")
    runs_drawn(page, MOST)
    found = looks(page)
    assert len(found) == len(set(found.values())) == MOST
    assert len({look.split(" ", 3)[-1] for look in found.values()}) == MOST
    page.get_by_role("button", name=re.compile("^Run: ")).click()
    page.get_by_role("option", name=re.compile("run-8")).get_by_test_id("compare").click()
    expect(page.get_by_text("8 runs are drawn already")).to_be_visible()
    expect(page.get_by_test_id("compared").get_by_role("listitem")).to_have_count(MOST)


@pytest.mark.slow
def test_a_run_keeps_its_colour_when_others_come_and_go(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    for run in ("alpha", "beta", "gamma"):
        begin_run(run).train(1, 20)
    watched = watch(serve().url)
    page = watched.open("?run=alpha&with=beta,gamma")
    runs_drawn(page, 3)
    before = looks(page)
    begin_run("aaa-newer").train(1, 30)
    page.get_by_role("button", name="Take beta out of the comparison").click()
    runs_drawn(page, 2)
    after = looks(page)
    assert after == {run: before[run] for run in ("alpha", "gamma")}


def test_the_settings_that_differ_are_shown_and_the_rest_on_request(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    shared = {"optimizer": "adamw", "lora": {"r": 8, "modules": ["q", "v"]}}
    begin_run("alpha", config=json.dumps({**shared, "lr": 1e-4})).train(1, 20)
    begin_run("beta", config=json.dumps({**shared, "lr": 2e-4, "lora": {"r": 16, "modules": ["q", "v"]}})).train(1, 20)
    page = watch(serve().url).open("?run=alpha&with=beta")
    rows = page.locator("[data-card=config-diff] tbody tr")
    expect(rows).to_have_text([re.compile(r"^lora\.r\s*8\s*16$"), re.compile(r"^lr\s*0\.0001\s*0\.0002$")])
    page.get_by_role("button", name="Show all 4 settings").click()
    expect(rows).to_have_count(4)
    page.get_by_role("button", name="Show only what differs").click()
    expect(rows).to_have_count(2)


def test_all_compared_runs_are_followed(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 20)
    other = begin_run("beta")
    other.train(1, 20)
    page = watch(serve().url).open("?run=alpha&with=beta")
    runs_drawn(page, 2)
    other.train(21, 33)
    label = re.compile(r"alpha [\d.]+ at step 20, beta [\d.]+ at step 33")
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", label)


def test_the_tooltip_reads_every_run_at_the_same_step(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 101)
    begin_run("beta").train(1, 41)
    page = watch(serve().url).open("?run=alpha&with=beta&smoothing=0&page=charts")
    chart = page.locator('[data-series="grad_norm"]')
    expect(chart.get_by_role("img")).to_have_attribute("aria-label", re.compile("beta .* at step 41"))
    box = chart.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    values = page.get_by_test_id("tooltip").locator("dd:not(.calm)")
    expect(values).to_have_text([re.compile(r"^\d")] * 2)
    assert values.first.inner_text() == values.last.inner_text()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40)
    expect(values).to_have_text([re.compile(r"^\d"), "—"])


def test_a_compared_run_that_is_not_there_is_named(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 20)
    watched = watch(serve().url)
    watched.away_is_expected = True
    page = watched.open("?run=alpha&with=omega")
    expect(page.get_by_test_id("lost-run")).to_contain_text("omega")
    expect(page.get_by_role("button", name=re.compile("^Run: alpha"))).to_be_visible()
    page.get_by_role("button", name="Take it out", exact=True).last.click()
    expect(page.get_by_test_id("lost-run")).to_have_count(0)
    assert "with" not in page.url

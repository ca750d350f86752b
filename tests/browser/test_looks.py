"""How the page looks: no sideways scroll on a phone, accessible in both themes, lines that can be seen."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from barograph.records import Alert, Checkpoint, Collector, ExactMatch, Verdict

if TYPE_CHECKING:
    from tests.browser.conftest import BeginRun, Serve, Watch

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DESK = (1440, 1000)
PHONE = (390, 844)
NARROWEST = 320
SMALLEST_TARGET = 44
LEAST_LINE_CONTRAST = 3.0
REGIMES = ("plain_sft", "regime3")
LINES = ("trace", "raw", "accent", "mark", "warn", "rewind", *(f"line-{number}" for number in range(1, 9)))


@pytest.fixture
def url(begin_run: BeginRun, serve: Serve) -> str:
    """A server over a run that has something in every card, and eight plain lines of exact match besides others."""
    now = time.time()
    begin_run("a-made-up-run", model_name="no-model").train(1, 230)
    run = begin_run(
        "a-made-up-run",
        attempt=2,
        model_name="no-model",
        model_path="nowhere/no-model",
        git_commit="9f2c1d07b5a34e8a8f0d3c6e1b2a4f5d6c7e8f90",
        config='{"learning_rate": 0.0002, "lora": {"r": 16}}',
        versions={"torch": "2.13.0"},
        resumed_from="checkpoint-200",
    )
    spike = {260 + step: 1.9 - step * 0.12 for step in range(8)}
    run.train(201, 330, losses={120: float("nan"), 301: float("nan"), 302: float("inf"), **spike})
    run.append(
        *(Checkpoint(step=step, time=now - 400 + step, path=f"/out/checkpoint-{step}") for step in (200, 250, 300)),
        Alert(time=now, title="Loss spike", text="Loss 1.90 at step 260 is far above its trend.", step=260),
        Alert(time=now, title="NaN loss", text="The trainer's own log hides it.", level="critical", step=301),
        Collector(time=now, name="raw_loss", running=True, detail="takes the loss inside the step"),
        Collector(time=now, name="device", running=False, detail="this machine has no NVIDIA driver"),
    )
    for word in ("PASS", "WARN", "FAIL", "SKIP"):
        run.append(
            Verdict(
                name=f"rule_{word.lower()}",
                verdict=word,
                message="One sentence with its numbers.",
                numbers={"share": 0.04},
                thresholds={"most": 0.1},
                policy="default",
                time=now,
            )
        )
    levels = {"binary": "1234", "syllo": ("easy", "medium", "hard", "edge")}
    asked = [(task, level, regime) for task, own in levels.items() for level in own for regime in REGIMES]
    for place, (task, level, regime) in enumerate(asked):
        run.append(
            *(
                ExactMatch(
                    step=step,
                    time=now,
                    checkpoint=f"checkpoint-{step}",
                    probe_set="0" * 16,
                    task=task,
                    level=level,
                    regime=regime,
                    base_rate=0.5,
                    correct=min(100, (step * (16 - place % 15)) // 50),
                    n=100,
                    exact_match=min(100, (step * (16 - place % 15)) // 50) / 100,
                    low=0.0,
                    high=1.0,
                    confidence=0.95,
                )
                for step in (50, 100, 150, 200, 250, 300)
            )
        )
    address: str = serve().url
    return address


def settled(page: Page) -> None:
    """Both charts are drawn."""
    for card in ("curve", "exact-match"):
        label = re.compile("newest|checkpoints: .*%")
        expect(page.locator(f"[data-card={card}]").get_by_role("img")).to_have_attribute("aria-label", label)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(url: str, watch: Watch, axe: str, size: tuple[int, int], dark: bool) -> None:
    page = watch(url, width=size[0], height=size[1], dark=dark).open()
    settled(page)
    page.locator("[data-card=curve]").get_by_role("button", name="table").click()
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate(axe)
    assert violations(page) == []
    page.get_by_role("button", name=re.compile("^Run: ")).click()
    expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    assert violations(page) == []


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, pytest.param(PHONE, marks=pytest.mark.slow)], ids=["desk", "phone"])
def test_axe_finds_nothing_on_the_charts_of_several_runs(
    url: str, begin_run: BeginRun, watch: Watch, axe: str, size: tuple[int, int], dark: bool
) -> None:
    begin_run("another-run", config='{"learning_rate": 0.0001}').train(1, 300)
    page = watch(url, width=size[0], height=size[1], dark=dark).open(
        "?run=a-made-up-run&with=another-run&page=charts&at=120&from=20&to=200"
    )
    first = page.locator("[data-series=loss]")
    expect(first.get_by_role("img")).to_have_attribute("aria-label", re.compile("of 2 lines"))
    expect(page.get_by_test_id("pin")).to_be_visible()
    expect(page.locator("[data-card=config-diff] tbody tr")).to_have_count(2)
    first.get_by_role("button", name="Show as table").click()
    page.evaluate(axe)
    assert violations(page) == []
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name=re.compile("^Series: ")).click()
    expect(page.get_by_role("listbox", name="Series").get_by_role("option").first).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"])
def test_axe_finds_nothing_while_there_is_no_run_and_while_the_server_is_away(
    begin_run: BeginRun, serve: Serve, watch: Watch, axe: str, dark: bool
) -> None:
    server = serve()
    watched = watch(server.url, width=PHONE[0], height=PHONE[1], dark=dark)
    watched.away_is_expected = True
    page = watched.open()
    expect(page.get_by_test_id("no-run")).to_be_visible()
    page.evaluate(axe)
    assert violations(page) == []
    begin_run("alpha").train(1, 40)
    expect(page.locator("[data-card=curve]").get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))
    server.kill()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "away")
    assert violations(page) == []


def violations(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(
        "axe.run().then((said) => said.violations.map((each) => [each.id, each.impact, each.nodes[0].html]))"
    )
    return found


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"])
def test_a_phone_needs_no_sideways_scroll_and_no_thin_fingers(url: str, watch: Watch, dark: bool) -> None:
    page = watch(url, width=PHONE[0], height=PHONE[1], dark=dark, touch=True).open()
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('button, select, summary, a, input:not(.hair)')]
            .filter((each) => each.checkVisibility())
            .map((each) => [each.outerHTML.slice(0, 80), Math.round(each.getBoundingClientRect().height * 10) / 10])
            .filter(([, height]) => height < least)""",
        SMALLEST_TARGET - 0.5,
    )
    assert small == []
    box = page.locator("[data-card=curve] .u-over").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + 50)
    expect(page.get_by_test_id("tooltip")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_charts_page_fits_a_phone(url: str, watch: Watch) -> None:
    page = watch(url, width=PHONE[0], height=PHONE[1], touch=True).open("?page=charts&from=20&to=200")
    expect(page.locator("[data-series=loss]").get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('button, select, summary, a, input:not(.hair)')]
            .filter((each) => each.checkVisibility())
            .map((each) => [each.outerHTML.slice(0, 80), Math.round(each.getBoundingClientRect().height * 10) / 10])
            .filter(([, height]) => height < least)""",
        SMALLEST_TARGET - 0.5,
    )
    assert small == []


@pytest.mark.parametrize("query", ["", "?page=charts"], ids=["overview", "charts"])
def test_the_narrowest_phone_needs_no_sideways_scroll(url: str, watch: Watch, query: str) -> None:
    page = watch(url, width=NARROWEST, height=640, touch=True).open(query)
    loss = page.locator("[data-card=curve], [data-series=loss]").get_by_role("img")
    expect(loss).to_have_attribute("aria-label", re.compile("newest"))
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROWEST


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_line_stands_out_from_its_paper(url: str, watch: Watch, dark: bool) -> None:
    page = watch(url, dark=dark).open()
    settled(page)
    colours: dict[str, list[float]] = page.evaluate(
        """(names) => Object.fromEntries(names.map((name) => {
            const probe = document.body.appendChild(document.createElement('span'));
            probe.style.color = `var(--${name})`;
            const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
            probe.remove();
            return [name, parts];
        }))""",
        ["card", *LINES],
    )
    faint = {name: round(contrast(colours[name], colours["card"]), 2) for name in LINES}
    assert {name: ratio for name, ratio in faint.items() if ratio < LEAST_LINE_CONTRAST} == {}


def contrast(one: list[float], other: list[float]) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours, channels 0 to 255."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_is_21_between_black_and_white() -> None:
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21.0)


def test_the_theme_can_be_overridden_and_the_canvas_follows(url: str, watch: Watch) -> None:
    page = watch(url, dark=False).open()
    settled(page)
    before = page.evaluate("document.querySelector('[data-card=curve] canvas').toDataURL()")
    switch = page.get_by_role("button", name=re.compile("^Colours: "))
    switch.click()
    expect(page.get_by_role("button", name=re.compile("^Colours: light"))).to_be_visible()
    switch.click()
    expect(page.get_by_role("button", name=re.compile("^Colours: dark"))).to_be_visible()
    page.wait_for_function(
        "(before) => document.querySelector('[data-card=curve] canvas').toDataURL() !== before", arg=before
    )
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.reload()
    settled(page)
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("name", "query"), [("dashboard", "?smoothing=0.97"), ("charts", "?smoothing=0.97&page=charts")]
)
def test_the_pictures_of_the_documentation_can_be_taken(
    url: str, serve: Serve, watch: Watch, tmp_path: Path, name: str, query: str, dark: bool
) -> None:
    """With `BAROGRAPH_SCREENSHOTS=ROOT`: of the run in ROOT that moved last, into docs/images."""
    root = os.environ.get("BAROGRAPH_SCREENSHOTS")
    page = watch(serve(Path(root)).url if root else url, width=1440, height=1060, dark=dark).open(query)
    if name == "dashboard":
        settled(page)
    else:
        chart = page.locator("[data-series]").last.get_by_role("img")
        page.locator("[data-series]").last.scroll_into_view_if_needed()
        expect(chart).to_have_attribute("aria-label", re.compile("newest"))
        page.evaluate("scrollTo(0, 0)")
        for shown in page.locator("[data-series]").all()[:9]:
            expect(shown.get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))
    folder = IMAGES if root else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{name}-{'dark' if dark else 'light'}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 20_000

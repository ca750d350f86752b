"""The weights on the page: two cards, all checkpoints side by side, the slider, and the tensors behind a layer."""

from __future__ import annotations

import json
import math
import os
import re
import struct
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from barograph.records import Checkpoint, Job, Record, RunComplete, TensorPass
from barograph.weights import drift_pass, open_checkpoint

if TYPE_CHECKING:
    from tests.browser.conftest import BeginRun, Run, Serve, Server, Watch

    from barograph.records.jobs import JobState
    from barograph.records.weights import ReferenceOrigin

Tensors = dict[str, NDArray[np.float32]]

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
BLOCKS = 4
REST = -1
HOSTILE = "model.layers.0.<img src=x onerror=alert(1)>.weight"
PHONE = (390, 844)
DESK = (1440, 1000)
SMALLEST_TARGET = 44
LEAST_STEPS_APART = 100


def reference_tensors() -> Tensors:
    """Four blocks of two matrices, one of them with a hostile tensor, an embedding and a vector."""
    draw = np.random.default_rng(0)
    tensors = {"model.embed_tokens.weight": draw.normal(0, 0.02, (32, 8)).astype(np.float32)}
    tensors["model.norm.weight"] = np.ones(8, np.float32)
    tensors[HOSTILE] = draw.normal(0, 0.02, (4, 8)).astype(np.float32)
    for block in range(BLOCKS):
        for name, rows in (("self_attn.q_proj", 16), ("mlp.up_proj", 128)):
            tensors[f"model.layers.{block}.{name}.weight"] = draw.normal(0, 0.02, (rows, 8)).astype(np.float32)
    return tensors


def moved(tensors: Tensors, shares: dict[int, float]) -> Tensors:
    """Every tensor of a layer larger by that share of itself, which is its relative change."""
    return {name: (one * (1.0 + shares.get(layer_of(name), 0.0))).astype(np.float32) for name, one in tensors.items()}


def layer_of(tensor: str) -> int:
    found = re.match(r"model\.layers\.(\d+)\.", tensor)
    return int(found[1]) if found else REST


def save(folder: Path, tensors: Tensors) -> Path:
    """A checkpoint folder with one file."""
    folder.mkdir(parents=True)
    header: dict[str, object] = {}
    offset = 0
    for name, one in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(one.shape), "data_offsets": [offset, offset + one.nbytes]}
        offset += one.nbytes
    text = json.dumps(header).encode()
    body = b"".join(one.tobytes() for one in tensors.values())
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    return folder


def read(folder: Path, reference: Path | None, *, origin: ReferenceOrigin = "named") -> list[Record]:
    """What a watcher writes of one checkpoint: a real pass."""
    with open_checkpoint(folder) as current:
        if reference is None:
            seen = drift_pass(current)
            summary = msgspec.structs.replace(seen.summary, no_reference="nobody named what it began from")
        else:
            with open_checkpoint(reference) as before:
                seen = drift_pass(current, reference=before)
            summary = msgspec.structs.replace(seen.summary, reference_origin=origin)
    rows: list[TensorPass] = list(seen.rows)
    return [job(folder, "started"), *rows, summary, job(folder, "done")]


def job(folder: Path, state: JobState, *, reason: str | None = None) -> Job:
    step = int(folder.name.rsplit("-", 1)[1])
    now = time.time()
    return Job(
        id=folder.name,
        work="weights",
        state=state,
        time=now,
        checkpoint=folder.name,
        path=str(folder),
        step=step,
        reason=reason,
    )


def saved(run: Run, *folders: Path) -> None:
    """The run says that it saved them."""
    run.append(
        *(Checkpoint(step=int(each.name.rsplit("-", 1)[1]), time=time.time(), path=str(each)) for each in folders)
    )


class Weighed:
    """A run whose checkpoints a watcher reads: 100 hardly moved, 200 has every colour, 300 is broken, then two more."""

    def __init__(self, root: Path, begin_run: BeginRun) -> None:
        self.folder = root.parent / "out"
        base = reference_tensors()
        self.reference = save(self.folder / "base", base)
        self.train = begin_run("alpha")
        self.train.train(1, 90)
        self.watcher = begin_run("alpha", writer="watch")
        self.base = base
        first = self.add(100, moved(base, dict.fromkeys(range(REST, BLOCKS), 0.01)))
        second = self.add(200, moved(base, {0: 0.02, 1: 0.04, 2: 0.05, 3: 0.15, REST: 0.02}))
        broken = moved(base, {layer: 0.02 * (layer + 2) for layer in range(REST, BLOCKS)})
        broken["model.layers.2.mlp.up_proj.weight"][3, 5] = np.nan
        broken["model.layers.1.mlp.up_proj.weight"][:1] = 0.0
        third = self.add(300, broken)
        torn, waiting = save(self.folder / "checkpoint-400", base), save(self.folder / "checkpoint-500", base)
        saved(self.train, torn, waiting)
        self.watcher.append(job(torn, "failed", reason="it ends at byte 4,096 of 9,000"), job(waiting, "planned"))
        self.folders = [first, second, third, torn, waiting]

    def add(self, step: int, tensors: Tensors) -> Path:
        """One more checkpoint, saved and read."""
        folder = save(self.folder / f"checkpoint-{step}", tensors)
        saved(self.train, folder)
        self.watcher.append(*read(folder, self.reference))
        return folder


@pytest.fixture
def weighed(runs: Path, begin_run: BeginRun) -> Weighed:
    return Weighed(runs, begin_run)


def document(server: Server, path: str) -> Any:  # documents of four kinds, as JSON has them
    with urllib.request.urlopen(server.url + path, timeout=10) as reply:
        return json.loads(reply.read())


def identity(server: Server, name: str) -> str:
    rows = document(server, "api/checkpoints?run=alpha")["checkpoints"]
    found: str = next(row["id"] for row in rows if row["name"] == name)
    return found


def card(page: Page, name: str) -> Locator:
    return page.locator(f"[data-card={name}]")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"[data-card] [data-field={name}]")


def shown(page: Page, checkpoint: str) -> None:
    """Both cards are about this checkpoint."""
    for name in ("layer-drift", "parameter-stability"):
        expect(card(page, name).locator("header")).to_contain_text(checkpoint)


def percents(ratio: float) -> str:
    """Three significant digits, as the page is to say it."""
    value = ratio * 100
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(float(f"{value:.3g}"))))
    return f"{value:.{digits}f} %"


def short(value: float) -> str:
    """Four significant digits of a number between 0.001 and 1000."""
    return f"{value:.{max(0, 3 - math.floor(math.log10(value)))}f}"


def named(layer: int) -> str:
    return "embeddings and the rest" if layer == REST else f"layer {layer}"


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Checkpoint", exact=True)


def violations(page: Page) -> list[list[str]]:
    found: list[list[str]] = page.evaluate(
        "axe.run().then((said) => said.violations.map((each) => [each.id, each.impact, each.nodes[0].html]))"
    )
    return found


def test_the_two_cards_say_what_the_documents_say(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    server = serve()
    page = watch(server.url).open("?run=alpha&checkpoint=checkpoint-200")
    shown(page, "checkpoint-200")
    said = document(server, f"api/checkpoints/{identity(server, 'checkpoint-200')}?run=alpha")
    drift, stability = said["layer_drift"], said["parameter_stability"]
    expect(field(page, "total_relative_change")).to_contain_text(percents(drift["total_relative_change"]))
    expect(field(page, "total_relative_change")).to_contain_text(said["checkpoint"]["band"])
    expect(field(page, "pattern")).to_contain_text(drift["summary"]["pattern"].replace("_", " "))
    expect(field(page, "max_drift")).to_contain_text("15.0 %layer 3")
    assert drift["summary"]["max_drift_layer"] == 3
    expect(field(page, "health_status")).to_have_text(stability["summary"]["health_status"])
    expect(field(page, "avg_weight_norm")).to_contain_text(short(stability["summary"]["avg_weight_norm"]))
    expect(field(page, "total_alerts")).to_have_text("0")
    expect(card(page, "layer-drift").get_by_test_id("origin")).to_contain_text(
        "Compared with base, the reference that was named"
    )
    for name in ("layer-drift", "parameter-stability"):
        expect(card(page, name).locator("rect[data-layer]")).to_have_count(len(drift["layers"]))


def test_colours_are_the_documents_and_stand_in_words_too(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    server = serve()
    page = watch(server.url).open("?run=alpha&checkpoint=checkpoint-200")
    shown(page, "checkpoint-200")
    everything = document(server, "api/checkpoints?run=alpha")
    row = next(each for each in everything["checkpoints"] if each["name"] == "checkpoint-200")
    assert row["colours"] == ["green", "yellow", "yellow", "red", "green"]
    tones = {"green": "good", "yellow": "warn", "red": "bad"}
    bars = card(page, "layer-drift").locator("rect[data-tone]")
    for place, colour in enumerate(row["colours"]):
        expect(bars.nth(place)).to_have_attribute("data-tone", tones[colour])
    fills = [bars.nth(place).get_attribute("fill") for place in range(len(row["colours"]))]
    assert [fill is not None and "url(" in fill for fill in fills] == [False, True, True, True, False]
    assert len({fills[1], fills[3]}) == 2
    legend = card(page, "layer-drift").get_by_test_id("drift-legend")
    expect(legend).to_contain_text("green below 3 %: 2")
    expect(legend).to_contain_text("yellow from 3 %: 2")
    expect(legend).to_contain_text("red above 10 %: 1")
    hair = card(page, "layer-drift").get_by_role("slider")
    hair.focus()
    reading = card(page, "layer-drift").get_by_test_id("layer-reading")
    for layer, change, colour in zip(everything["layers"], row["relative_change"], row["colours"], strict=True):
        expect(hair).to_have_attribute("aria-valuetext", f"{named(layer)}: {percents(change)}, {colour}")
        page.keyboard.press("ArrowRight")
    expect(reading).to_have_text(f"embeddings and the rest: {percents(row['relative_change'][-1])}, green")


def test_a_layer_that_is_no_number_is_marked_and_never_zero(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url).open("?run=alpha")
    shown(page, "checkpoint-300")
    for name in ("layer-drift", "parameter-stability"):
        none = card(page, name).locator("rect[data-none]")
        expect(none).to_have_count(1)
        expect(none).to_have_attribute("data-layer", "2")
        height = none.evaluate("(one) => one.getBoundingClientRect().height")
        assert height > 60
    for missing in ("total_relative_change", "avg_weight_norm"):
        expect(field(page, missing)).to_contain_text("no number")
        expect(field(page, missing)).not_to_contain_text("0")
    hint = field(page, "total_relative_change").get_by_role("button")
    expect(hint).to_have_attribute("aria-label", re.compile("NaN or infinite"))
    critical = page.get_by_test_id("drift-findings").locator("li").first
    expect(critical).to_contain_text("critical")
    expect(critical).to_contain_text("Layer 2")
    expect(critical).to_contain_text("Do: Stop; go back")


def test_alerts_are_listed_and_their_layers_carry_a_sign(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    server = serve()
    page = watch(server.url).open("?run=alpha")
    shown(page, "checkpoint-300")
    said = document(server, "api/checkpoints/newest?run=alpha")["parameter_stability"]
    assert {(each["layer"], each["type"]) for each in said["alerts"]} == {(2, "non_finite"), (1, "zero_rows")}
    expect(field(page, "health_status")).to_have_text("critical")
    expect(field(page, "total_alerts")).to_contain_text("2")
    entries = page.get_by_test_id("stability-alerts").locator("li")
    expect(entries).to_have_count(2)
    for place, alert in enumerate(said["alerts"]):
        for text in (alert["severity"], f"Layer {alert['layer']}", alert["message"], alert["cause"], alert["action"]):
            expect(entries.nth(place)).to_contain_text(text)
    zeros = next(each for each in said["alerts"] if each["type"] == "zero_rows")
    expect(entries.filter(has_text="zeros")).to_contain_text(
        f"{percents(zeros['value'])}, threshold {percents(zeros['threshold'])}"
    )
    stability = card(page, "parameter-stability")
    expect(stability.locator("[data-mark=critical]")).to_have_count(1)
    expect(stability.locator("[data-mark=warning]")).to_have_count(1)
    expect(stability.locator("rect[data-layer='1']")).to_have_attribute("data-tone", "warn")
    expect(stability.get_by_test_id("stability-legend")).to_contain_text("NaN or infinite, no norm: 1")


def test_the_slider_goes_through_the_checkpoints_by_keyboard(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url).open("?run=alpha")
    shown(page, "checkpoint-300")
    assert "checkpoint" not in query(page)
    slider(page).focus()
    page.keyboard.press("Home")
    shown(page, "checkpoint-100")
    expect(field(page, "total_relative_change")).to_contain_text("1.00 %")
    page.keyboard.press("ArrowRight")
    shown(page, "checkpoint-200")
    expect(slider(page)).to_have_attribute("aria-valuetext", re.compile("^checkpoint-200, 2 of 5, total change "))
    assert query(page)["checkpoint"] == ["checkpoint-200"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    shown(page, "checkpoint-400")
    for name in ("layer-drift", "parameter-stability"):
        expect(card(page, name)).to_contain_text("could not be read")
        expect(card(page, name)).to_contain_text("it ends at byte 4,096 of 9,000")
        expect(card(page, name).locator("rect[data-layer]")).to_have_count(0)
    page.keyboard.press("End")
    shown(page, "checkpoint-500")
    expect(card(page, "layer-drift")).to_contain_text("waits to be read")
    page.reload()
    shown(page, "checkpoint-500")
    page.get_by_role("button", name="Follow the newest").click()
    shown(page, "checkpoint-300")
    assert "checkpoint" not in query(page)


@pytest.mark.slow
def test_the_slider_stays_under_the_hand_although_the_cards_above_it_change_their_length(
    weighed: Weighed, serve: Serve, watch: Watch
) -> None:
    page = watch(serve().url, height=800).open("?run=alpha")
    shown(page, "checkpoint-300")
    long = card(page, "parameter-stability").bounding_box()
    slider(page).scroll_into_view_if_needed()
    slider(page).focus()
    before = slider(page).bounding_box()
    for key, name in (("Home", "checkpoint-100"), ("End", "checkpoint-500"), ("ArrowLeft", "checkpoint-400")):
        page.keyboard.press(key)
        shown(page, name)
        page.wait_for_timeout(200)
        after = slider(page).bounding_box()
        assert before is not None
        assert after is not None
        assert after["y"] == pytest.approx(before["y"], abs=2)
    now = card(page, "parameter-stability").bounding_box()
    assert long is not None
    assert now is not None
    assert now["height"] < long["height"] - 100


@pytest.mark.slow
def test_the_arrows_go_from_cell_to_cell_and_every_cell_can_be_read(
    weighed: Weighed, serve: Serve, watch: Watch
) -> None:
    server = serve()
    page = watch(server.url).open("?run=alpha")
    shown(page, "checkpoint-300")
    grid = page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-colcount", "5")
    expect(grid).to_have_attribute("aria-rowcount", "5")
    assert page.evaluate("document.querySelectorAll('[data-card=weight-history] [tabindex=\"0\"]').length") == 1
    everything = document(server, "api/checkpoints?run=alpha")
    grid.focus()
    for key in ("Home", "PageDown"):
        page.keyboard.press(key)
    reading = page.get_by_test_id("cell-reading")
    first, second = everything["checkpoints"][:2]
    expect(reading).to_have_text(
        f"checkpoint-100, embeddings and the rest: {percents(first['relative_change'][-1])}, green"
    )
    page.keyboard.press("ArrowRight")
    for layer in range(BLOCKS):
        page.keyboard.press("ArrowUp")
        change, colour = second["relative_change"][layer], second["colours"][layer]
        text = f"checkpoint-200, layer {layer}: {percents(change)}, {colour}"
        expect(reading).to_have_text(text)
        active = grid.get_attribute("aria-activedescendant")
        assert page.locator(f"#{active}").text_content() == text
    spoken = card(page, "weight-history").get_by_role("status").filter(has_text="checkpoint-200, layer 3")
    expect(spoken).to_have_count(1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(reading).to_have_text("checkpoint-300, layer 2: no finite number")
    page.keyboard.press("ArrowRight")
    expect(reading).to_have_text("checkpoint-400: could not be read (it ends at byte 4,096 of 9,000)")
    page.keyboard.press("End")
    expect(reading).to_contain_text("checkpoint-500: waits to be read")
    kinds = page.get_by_test_id("kinds")
    expect(kinds).to_contain_text("could not be read: 1")
    expect(kinds).to_contain_text("waits to be read: 1")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    shown(page, "checkpoint-100")
    expect(page.get_by_test_id("tensors")).to_contain_text("Layer 2 of checkpoint-100")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("tensors")).to_have_count(0)
    expect(grid).to_be_focused()


@pytest.mark.slow
def test_a_larger_change_has_a_stronger_colour_and_no_number_has_its_own(
    weighed: Weighed, serve: Serve, watch: Watch
) -> None:
    page = watch(serve().url).open("?run=alpha")
    shown(page, "checkpoint-300")
    bright: list[float] = page.evaluate(
        """() => {
            const canvas = document.querySelector('[data-card=weight-history] canvas');
            const pen = canvas.getContext('2d');
            const scale = canvas.width / canvas.clientWidth;
            const wide = canvas.clientWidth / 5;
            // at the left edge of the second column, where no number is written; lines of 24 px from 15 px on
            const { data } = pen.getImageData((wide + 3) * scale, 0, 1, canvas.height);
            return [0, 1, 2, 3].map((line) => {
                const pixel = 4 * Math.round((15 + 24 * line + 12) * scale);
                return data[pixel] + data[pixel + 1] + data[pixel + 2];
            });
        }"""
    )
    assert bright == sorted(bright)  # layers 3 to 0, from the largest change to the least
    assert bright[0] < bright[1] < bright[3]


def test_a_layer_opens_its_tensors_and_escape_gives_the_focus_back(
    weighed: Weighed, serve: Serve, watch: Watch
) -> None:
    server = serve()
    page = watch(server.url).open("?run=alpha&checkpoint=checkpoint-200")
    shown(page, "checkpoint-200")
    hair = card(page, "layer-drift").get_by_role("slider")
    hair.focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_test_id("tensors")
    expect(sheet).to_contain_text("Layer 0 of checkpoint-200")
    path = f"api/checkpoints/{identity(server, 'checkpoint-200')}/tensors?run=alpha&layer="
    said = document(server, path + "0")["tensors"]
    expect(sheet.locator("tbody tr")).to_have_count(len(said))
    expect(sheet.locator("tbody")).to_contain_text(HOSTILE)
    assert sheet.locator("img").count() == 0
    for tensor in said:
        line = sheet.locator("tbody tr").filter(has_text=tensor["tensor"])
        expect(line).to_contain_text(percents(tensor["relative_change"]))
        expect(line).to_contain_text(short(tensor["current_norm"]))
        expect(line).to_contain_text(" × ".join(str(size) for size in tensor["shape"]))
        expect(line).to_contain_text("F32")
    assert query(page)["layer"] == ["0"]
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(hair).to_be_focused()
    assert "layer" not in query(page)

    picture = card(page, "parameter-stability").get_by_role("img", name="Weight norm per layer")
    bar = card(page, "parameter-stability").locator("rect[data-layer='3']").bounding_box()
    box = picture.bounding_box()
    assert bar is not None
    assert box is not None
    picture.click(position={"x": bar["x"] + bar["width"] / 2 - box["x"], "y": 30})
    expect(sheet).to_contain_text("Layer 3 of checkpoint-200")
    card(page, "layer-drift").get_by_role("slider").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(sheet).to_contain_text("Embeddings and the rest of checkpoint-200")
    assert query(page)["layer"] == ["rest"]
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)


def test_tensors_stand_by_their_change_and_can_be_sorted(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url).open("?run=alpha&layer=2")
    sheet = page.get_by_test_id("tensors")
    names = sheet.locator("tbody th")
    expect(names.first).to_have_text("model.layers.2.mlp.up_proj.weight")  # not finite: before every number
    expect(sheet.locator("tbody tr").first).to_contain_text("not finite")
    expect(sheet.get_by_role("columnheader", name="change")).to_have_attribute("aria-sort", "descending")
    sheet.get_by_role("button", name="change").click()
    expect(sheet.get_by_role("columnheader", name="change")).to_have_attribute("aria-sort", "ascending")
    expect(names.first).to_have_text("model.layers.2.self_attn.q_proj.weight")
    sheet.get_by_role("button", name="tensor").click()
    expect(names.first).to_have_text("model.layers.2.mlp.up_proj.weight")
    sheet.get_by_role("button", name="The next layer").click()
    expect(sheet).to_contain_text("Layer 3 of checkpoint-300")
    expect(names.first).to_have_text("model.layers.3.mlp.up_proj.weight")
    slider(page).fill("3")
    expect(sheet).to_contain_text("Its weights were not read: it ends at byte 4,096 of 9,000.")
    expect(sheet.locator("tbody tr")).to_have_count(0)
    sheet.get_by_role("button", name="Close").click()
    expect(sheet).to_have_count(0)


def test_a_new_checkpoint_is_followed_until_another_is_chosen(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url).open("?run=alpha")
    shown(page, "checkpoint-300")
    weighed.add(600, moved(weighed.base, {3: 0.2}))
    shown(page, "checkpoint-600")
    expect(card(page, "layer-drift").locator("header")).to_contain_text("newest")
    expect(card(page, "checkpoints")).to_contain_text("checkpoint-600")
    slider(page).focus()
    page.keyboard.press("Home")
    shown(page, "checkpoint-100")
    weighed.add(700, moved(weighed.base, {3: 0.3}))
    expect(page.get_by_role("grid")).to_have_attribute("aria-colcount", "7")
    shown(page, "checkpoint-100")
    expect(slider(page)).to_be_focused()


@pytest.mark.slow
def test_points_and_heartbeats_ask_for_no_weights(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    watched = watch(serve().url)
    page = watched.open("?run=alpha")
    shown(page, "checkpoint-300")
    page.wait_for_timeout(1500)
    watched.asked.clear()
    begun = time.monotonic()
    for step in range(91, 111):
        weighed.train.train(step, step)
        page.wait_for_timeout(150)
    expect(page.get_by_test_id("step")).to_have_text("110")
    lists = [url for url in watched.asked if "/api/checkpoints" in url]
    assert len(lists) <= (time.monotonic() - begun) / 8 + 1  # only to make sure, now and then
    assert all("/api/checkpoints?" in url for url in lists)
    page.get_by_role("link", name=re.compile("^Charts")).click()
    expect(page.locator("[data-series=loss]").get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))
    watched.asked.clear()
    weighed.watcher.append(job(weighed.folders[4], "started"))
    weighed.train.train(111, 112)
    expect(page.get_by_test_id("step")).to_have_text("112")
    assert [url for url in watched.asked if "/api/checkpoints" in url] == []
    page.go_back()
    expect(page.get_by_test_id("jobs")).to_contain_text("1 being read")


def test_without_a_checkpoint_there_are_no_cards(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 20)
    page = watch(serve().url).open("?run=alpha")
    expect(card(page, "checkpoints")).to_contain_text("None saved yet")
    for name in ("layer-drift", "parameter-stability", "weight-history", "weights"):
        expect(card(page, name)).to_have_count(0)


def test_checkpoints_that_nobody_reads_say_what_to_run(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.train(1, 20)
    run.append(*(Checkpoint(step=step, time=time.time(), path=f"/out/checkpoint-{step}") for step in (10, 20)))
    page = watch(serve().url).open("?run=alpha")
    expect(page.get_by_test_id("not-read")).to_contain_text("2 checkpoints saved, none read so far")
    expect(page.get_by_test_id("how-to-watch")).to_contain_text("barograph watch")
    expect(page.get_by_test_id("how-to-watch")).to_contain_text("barograph serve --watch")
    expect(page.get_by_role("button", name="Copy the command barograph watch")).to_be_visible()
    expect(card(page, "layer-drift")).to_have_count(0)
    begin_run("alpha", writer="watch")
    expect(page.get_by_test_id("not-read")).to_contain_text("A watcher is heard")
    expect(page.get_by_test_id("how-to-watch")).to_have_count(0)


def test_without_a_reference_the_drift_says_why_and_the_sizes_are_drawn(
    runs: Path, begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    folder = save(runs.parent / "out" / "checkpoint-10", reference_tensors())
    run = begin_run("alpha")
    run.train(1, 20)
    saved(run, folder)
    begin_run("alpha", writer="watch").append(*read(folder, None), RunComplete(time=time.time(), exit_code=0))
    page = watch(serve().url).open("?run=alpha")
    expect(page.get_by_test_id("no-drift")).to_contain_text("nobody named what it began from")
    expect(card(page, "parameter-stability").locator("rect[data-layer]")).to_have_count(BLOCKS + 1)
    expect(field(page, "health_status")).to_have_text("healthy")
    expect(card(page, "weight-history")).to_contain_text("No checkpoint could be compared")
    expect(page.get_by_test_id("jobs")).to_contain_text("No watcher is heard")


@pytest.mark.slow
def test_what_is_to_be_done_is_counted(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url).open("?run=alpha")
    jobs = page.get_by_test_id("jobs")
    expect(jobs).to_contain_text("A watcher is heard")
    expect(jobs).to_contain_text("1 waiting")
    expect(jobs).to_contain_text("1 failed")
    weighed.watcher.append(job(weighed.folders[4], "started"))
    expect(jobs).to_contain_text("1 being read")
    weighed.watcher.append(RunComplete(time=time.time(), exit_code=0))
    expect(jobs).to_contain_text("No watcher is heard")
    expect(page.get_by_test_id("how-to-watch")).to_be_visible()


def test_the_list_of_checkpoints_tells_how_each_moved(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    server = serve()
    page = watch(server.url).open("?run=alpha")
    shown(page, "checkpoint-300")
    rows = {row["name"]: row for row in document(server, "api/checkpoints?run=alpha")["checkpoints"]}
    second = page.locator("[data-weights=checkpoint-200]")
    expect(second).to_contain_text(f"moved {percents(rows['checkpoint-200']['total_relative_change'])}")
    expect(second).to_contain_text("healthy")
    expect(page.locator("[data-weights=checkpoint-300]")).to_contain_text("2 alerts")
    expect(page.locator("[data-weights=checkpoint-400]")).to_contain_text("could not be read")
    page.get_by_role("button", name="weights of checkpoint-200").click()
    shown(page, "checkpoint-200")


def test_a_superseded_checkpoint_says_so(weighed: Weighed, begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha", attempt=2, resumed_from="checkpoint-100").train(101, 250)
    page = watch(serve().url).open("?run=alpha&checkpoint=checkpoint-200")
    shown(page, "checkpoint-200")
    expect(card(page, "layer-drift").locator("header")).to_contain_text("superseded")
    expect(page.get_by_test_id("kinds")).to_contain_text("faint: superseded")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(
    weighed: Weighed, serve: Serve, watch: Watch, axe: str, size: tuple[int, int], dark: bool
) -> None:
    page = watch(serve().url, width=size[0], height=size[1], dark=dark).open("?run=alpha")
    shown(page, "checkpoint-300")
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate(axe)
    assert violations(page) == []
    page.get_by_role("grid").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("tensors").locator("tbody tr").first).to_be_visible()
    assert violations(page) == []


def test_a_phone_needs_no_sideways_scroll_and_no_thin_fingers(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    planned = [weighed.folder / f"checkpoint-{step}" for step in range(1000, 9000, LEAST_STEPS_APART)]
    weighed.watcher.append(*(job(folder, "planned") for folder in planned))
    page = watch(serve().url, width=PHONE[0], height=PHONE[1], touch=True).open("?run=alpha")
    shown(page, "checkpoint-300")
    picture = card(page, "layer-drift").get_by_role("img", name="Change per layer")
    picture.scroll_into_view_if_needed()
    picture.tap(position={"x": 120, "y": 60})
    expect(page.get_by_test_id("tensors").locator("tbody tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('button, select, summary, a, input:not(.hair)')]
            .filter((each) => each.checkVisibility())
            .map((each) => [each.outerHTML.slice(0, 80), Math.round(each.getBoundingClientRect().height * 10) / 10])
            .filter(([, height]) => height < least)""",
        SMALLEST_TARGET - 0.5,
    )
    assert small == []
    page.get_by_test_id("tensors").get_by_role("button", name="Close").tap()
    expect(page.get_by_test_id("tensors")).to_have_count(0)
    grid = page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-colcount", "85")
    widths = grid.evaluate("(one) => [one.scrollWidth, one.parentElement.clientWidth, one.parentElement.scrollWidth]")
    assert widths[2] > widths[1]
    grid.tap(position={"x": 12, "y": 60})
    shown(page, "checkpoint-200")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_twice_the_zoom_needs_no_sideways_scroll(weighed: Weighed, serve: Serve, watch: Watch) -> None:
    page = watch(serve().url, width=DESK[0] // 2, height=DESK[1] // 2).open("?run=alpha&layer=2")
    shown(page, "checkpoint-300")
    expect(page.get_by_test_id("tensors").locator("tbody tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sheet = page.get_by_test_id("tensors").bounding_box()
    assert sheet is not None
    assert sheet["height"] < DESK[1] / 2 * 0.75


@pytest.mark.slow
def test_another_run_begins_with_its_own_newest(
    weighed: Weighed, begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    other = begin_run("beta")
    other.train(1, 20)
    page = watch(serve().url).open(f"?run=alpha&checkpoint={quote('checkpoint-100')}&layer=1")
    shown(page, "checkpoint-100")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Run: ")).click()
    page.get_by_role("listbox").get_by_role("option").filter(has_text="beta").first.click()
    expect(card(page, "layer-drift")).to_have_count(0)
    assert "checkpoint" not in query(page)
    assert "layer" not in query(page)


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"])
def test_the_picture_of_the_documentation_can_be_taken(
    weighed: Weighed, serve: Serve, watch: Watch, tmp_path: Path, dark: bool
) -> None:
    """With `BAROGRAPH_SCREENSHOTS=ROOT`: of the run in ROOT that moved last, into docs/images."""
    root = os.environ.get("BAROGRAPH_SCREENSHOTS")
    page = watch(serve(Path(root)).url if root else serve().url, dark=dark, height=2600).open()
    expect(card(page, "layer-drift").locator("rect[data-layer]").first).to_be_visible()
    expect(page.get_by_role("grid")).to_be_visible()
    first, last = card(page, "layer-drift").bounding_box(), card(page, "weight-history").bounding_box()
    assert first is not None
    assert last is not None
    folder = IMAGES if root else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"weights-{'dark' if dark else 'light'}.png"
    space = 16
    page.screenshot(
        path=picture,
        clip={
            "x": last["x"] - space,
            "y": first["y"] - space,
            "width": last["width"] + 2 * space,
            "height": last["y"] + last["height"] - first["y"] + 2 * space,
        },
    )
    assert picture.stat().st_size > 20_000


@pytest.mark.slow
def test_the_tensors_stay_at_the_foot_of_the_window_while_the_server_is_away(
    weighed: Weighed, serve: Serve, watch: Watch
) -> None:
    server = serve()
    watched = watch(server.url)
    watched.away_is_expected = True
    page = watched.open("?run=alpha&layer=1")
    sheet = page.get_by_test_id("tensors")
    expect(sheet.locator("tbody tr")).to_have_count(2)
    server.kill()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "away")
    box = sheet.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] == pytest.approx(DESK[1], abs=1)
    slider(page).fill("0")
    expect(page.get_by_test_id("looked")).to_contain_text("checkpoint-100")
    server.start()
    shown(page, "checkpoint-100")
    expect(sheet).to_contain_text("Layer 1 of checkpoint-100")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)

"""What the monitors in the training loop say, on the page: alerts, advice, layers, throughput, machines."""

from __future__ import annotations

import itertools
import math
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace
from playwright.sync_api import Locator, Page, Route, expect

from barograph.records import (
    Advice,
    Alert,
    Batch,
    Hardware,
    Heartbeat,
    Notification,
    Record,
    RunComplete,
    Signals,
    Step,
)
from barograph.records.alerts import AdviceItem, Example
from barograph.records.signals import Gpu

if TYPE_CHECKING:
    from tests.browser.conftest import BeginRun, Run, Serve, Server, Watch, Watched

TINT = """(shares) => {
const sheet = document.querySelector('[data-card=curve]'), canvas = sheet.querySelector('canvas');
const place = sheet.querySelector('.u-over').getBoundingClientRect(), from = canvas.getBoundingClientRect();
const scale = canvas.width / from.width, y = Math.round((place.top - from.top + 9) * scale);
const row = canvas.getContext('2d').getImageData(0, y, canvas.width, 1).data;
return shares.map((share) => {
    const x = Math.round((place.left - from.left + place.width * share) * scale);
    return [...row.slice(4 * x, 4 * x + 3)];
});
}"""
"""The colour of the plotting area near its upper edge, at shares of its width."""
PHONE = (390, 844)
NARROWEST = 320
SMALLEST_TARGET = 44
STEPS = 200
EVERY = 5
BLOCKS = 12
KINDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj")
DEAD = "model.layers.3.self_attn.k_proj"
EXPLODING = "model.layers.9.mlp.down_proj"
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
TURNED = "a\u202eb"
NO_ECE = "no metric fixed_eval_ece was logged"
TIMES = {"loss_spike": "a", "exploding_gradients": "b", "plateau": "c"}
TWICE = "feedfeedfeedfeed"
NO_EXAMPLES = "the batch was gone"
DO = "Look at the examples of this batch."


def norms(step: int) -> dict[str, float]:
    """Norms of sixty adapters, one of them dead and one that explodes from step 150 on."""
    found = {}
    for block in range(BLOCKS):
        for kind in KINDS:
            module = f"model.layers.{block}.{kind}"
            size = 0.0 if module == DEAD else 0.02 * (1 + block / 10)
            if module == EXPLODING and step > 150:
                size *= 10 ** min(5.0, (step - 150) / 8)
            for part in "AB":
                begins = module == DEAD and part == "B"
                found[f"layers/{module}/{part}/gradient_norm"] = size
                found[f"layers/{module}/{part}/weight_norm"] = 0.0 if begins else 1.0
                found[f"layers/{module}/{part}/update_norm"] = 0.0 if module == DEAD else 1e-4
    return found


def gpu(index: int) -> Gpu:
    return Gpu(
        index=index,
        name=f"Card {index}",
        temp_c=70.0 + index,
        temp_limit_c=83.0,
        util_pct=97.0,
        vram_used_gb=12.5 + index,
        vram_total_gb=25.0,
        vram_pct=100 * (12.5 + index) / 25,
        power_w=380.0,
        power_limit_w=450.0,
        fan_pct=None,
    )


def machine(step: int, *, gpus: int = 2, **more: Any) -> Hardware:
    said: dict[str, Any] = {"cpu_pct": 38.0, "ram_used_gb": 28.3, "ram_total_gb": 67.4, "swap_total_gb": 0.0}
    return Hardware(time=time.time(), step=step, gpus=[gpu(index) for index in range(gpus)], **(said | more))


def signals(step: int, **states: Any) -> Signals:
    conditions = {"loss_spike": "ok", "exploding_gradients": "ok", "plateau": "ok", "poor_calibration": "no_data"}
    return Signals(
        step=step,
        time=time.time(),
        loss_trend="improving",
        loss_change_per_1000=-0.08,
        loss_change_low=-0.11,
        loss_change_high=-0.05,
        plateau=False,
        spikes=1,
        tokens_per_sec_ema=2400.0,
        throughput_trend="degrading",
        seconds_per_step=2.0,
        data_wait_share=0.25,
        forward_backward_share=0.6,
        optimizer_share=0.1,
        conditions=conditions | states,  # type: ignore[arg-type] # words of the literal
        why={"conditions.poor_calibration": NO_ECE, "top1_probability": "no logits were seen"},
    )


def alert(condition: str, first: int, last: int, **more: Any) -> Alert:
    said: dict[str, Any] = {
        "id": TIMES[condition] * 16,
        "condition": condition,
        "category": "loss",
        "title": f"{condition} at {first}",
        "text": f"Seen at step {first}, 2.6 times its level.",
        "recommendation": DO,
        "evidence": {"loss": 3.19, "ratio": 2.61, "gradient_norm": math.nan},
        "count": 12,
        "time": time.time() - 60 + first / 10,
    }
    return Alert(step=last, first_step=first, **(said | more))


def steps(first: int, last: int, *, layers: bool = True) -> list[Record]:
    now = time.time()
    found: list[Record] = []
    for step in range(first, last + 1):
        metrics = {"throughput/tokens": 2600.0, "throughput/step_seconds": 1.0, "throughput/batch_size": 4.0}
        if step % EVERY == 0:
            metrics |= (norms(step) if layers else {}) | {"train/token_entropy": 1.25, "train/top1_probability": 0.625}
        found.append(Step(step=step, loss=3 / (1 + step / 50), time=now - STEPS + step, metrics=metrics))
    return found


def monitored(run: Run, *more: Record) -> None:
    """A run in the middle of its training, with everything that monitors record."""
    now = time.time()
    run.append(
        *steps(1, STEPS),
        machine(10),
        machine(STEPS),
        Batch(
            step=60,
            time=now,
            left_out=3,
            examples=[
                Example(micro_batch=0, row=0, hash="0" * 16, tokens=312, index=18234, text=f"{MARKUP} {TURNED}"),
                Example(micro_batch=1, row=2, hash=TWICE, tokens=17),
            ],
        ),
        Batch(step=72, time=now, examples=[], why=NO_EXAMPLES),
        Batch(
            step=84,
            time=now,
            examples=[
                Example(micro_batch=0, row=1, hash=TWICE, tokens=17, index=5),
                Example(micro_batch=0, row=2, hash="1" * 16, tokens=9, index=6),
            ],
        ),
        alert("loss_spike", 60, 60, level="warning"),
        alert("loss_spike", 60, 90, level="warning", state="resolved"),
        alert("exploding_gradients", 160, STEPS, level="critical", subjects=[EXPLODING, MARKUP]),
        Notification(
            time=now, alert="b" * 16, channel="https://example.org", delivered=False, detail="HTTP 500", tries=4
        ),
        Notification(time=now, alert="a" * 16, channel="https://example.org", delivered=True),
        Alert(time=now - 5, title=MARKUP, text=TURNED, level="info", step=100),
        Advice(
            time=now,
            step=STEPS,
            policy="default",
            items=[
                AdviceItem(
                    action="inspect_layers",
                    text=f"Look at {EXPLODING}.",
                    confidence="high",
                    because=["exploding_gradients since step 160"],
                    subjects=[EXPLODING],
                ),
                AdviceItem(action="continue", text="Go on: the loss still falls.", confidence="low", because=[]),
            ],
        ),
        signals(STEPS, exploding_gradients="firing"),
        *more,
        Heartbeat(time=now, step=STEPS),
    )


@pytest.fixture
def server(begin_run: BeginRun, serve: Serve) -> Server:
    """A server over one such run, called alpha."""
    monitored(begin_run("alpha"))
    return serve()


def card(page: Page, name: str) -> Locator:
    return page.locator(f"[data-card={name}]")


def entry(page: Page, letter: str) -> Locator:
    return card(page, "alerts").locator(f"[data-alert-id={letter * 16}]")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def asked(watched: Watched, path: str) -> int:
    return sum(path in url for url in watched.asked)


def reading(page: Page) -> Locator:
    return card(page, "layers").get_by_test_id("cell-reading")


def settled(page: Page) -> None:
    """Every card of the monitors is there."""
    expect(card(page, "alerts").locator("[data-alert]").first).to_be_visible()
    expect(card(page, "layers").get_by_test_id("layer-sentence")).to_be_visible()
    expect(card(page, "throughput").get_by_test_id("step-split")).to_be_visible()
    expect(card(page, "hardware").locator("[data-host]").first).to_be_visible()
    expect(card(page, "curve").get_by_role("img")).to_have_attribute("aria-label", re.compile("newest"))


def test_an_alert_says_what_was_seen_what_to_do_and_what_it_rests_on(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    row = entry(page, "b")
    expect(row.locator(".top .word").first).to_have_text("critical")
    expect(row.locator(".top svg")).to_have_count(2)
    expect(row.get_by_test_id("alert-state")).to_have_text("firing")
    expect(row).to_contain_text("Seen at step 160, 2.6 times its level.")
    expect(row).to_contain_text("seen 12 times, steps 160 to 200")
    expect(row.get_by_test_id("what-to-do")).to_contain_text(DO)
    expect(row.locator(".top + [data-testid=what-to-do]")).to_have_count(1)
    numbers = row.get_by_label("Numbers behind it")
    expect(numbers).to_contain_text("ratio2.610")
    expect(numbers).to_contain_text("gradient normNaN")
    expect(row).to_contain_text("Could not be sent to https://example.org")
    expect(row).to_contain_text("after 4 tries: HTTP 500")
    expect(row.locator("code", has_text=EXPLODING)).to_be_visible()
    expect(card(page, "alerts").locator("[data-alert]")).to_have_count(2)


def test_open_alerts_stand_first_and_all_can_be_seen(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    rows = card(page, "alerts").locator("[data-alert]")
    expect(rows).to_have_count(2)
    card(page, "alerts").get_by_role("button", name="All 3").click()
    expect(rows).to_have_count(3)
    assert query(page)["alerts"] == ["all"]
    expect(entry(page, "a").get_by_test_id("alert-state")).to_have_text("resolved")
    expect(entry(page, "a")).to_contain_text("Sent to https://example.org")
    page.reload()
    expect(rows).to_have_count(3)


def test_the_examples_of_the_batch_are_shown_as_plain_text(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha&alerts=all")
    batch = entry(page, "a").locator("[data-batch='60']")
    batch.get_by_text("step 60: 5 examples").click()
    examples = batch.locator("li")
    expect(examples.first).to_contain_text(f"number 18,234 of the dataset, hash {'0' * 16}, 312 tokens")
    expect(examples.first.locator("pre")).to_have_text(f"{MARKUP} {TURNED}")
    expect(examples.last).to_contain_text(f"hash {TWICE}, 17 tokens, micro-batch 1, row 2")
    expect(batch).to_contain_text("3 more examples not recorded.")
    assert page.locator("[data-card=alerts] img, [data-card=alerts] script").count() == 0


def test_an_example_of_several_batches_is_pointed_out_in_each(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha&alerts=all")
    batches = entry(page, "a").get_by_test_id("batches")
    expect(batches).to_contain_text("1 example was in more than one of these 2 batches.")
    assert batches.locator("[data-batch]").evaluate_all("found => found.map((each) => each.dataset.batch)") == [
        "84",
        "72",
        "60",
    ]
    newest = batches.locator("[data-batch='84']")
    expect(newest).to_have_attribute("open", "")
    expect(newest.locator("li").first).to_contain_text("also at step 60")
    expect(newest.locator("li").last).not_to_contain_text("also")
    expect(batches.locator("[data-batch='72']")).to_have_text(f"step 72: no examples: {NO_EXAMPLES}.")
    expect(batches.locator("[data-batch='60'] li").last).to_contain_text("also at step 84")


def test_what_was_open_at_the_end_is_shown_as_such_and_is_not_green(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    monitored(begin_run("alpha"), RunComplete(time=time.time(), step=STEPS))
    page = watch(serve().url).open("?run=alpha")
    expect(card(page, "alerts").get_by_role("button", name="At the end 2")).to_have_attribute("aria-pressed", "true")
    expect(card(page, "alerts")).to_contain_text("2 open at the end")
    state = entry(page, "b").get_by_test_id("alert-state")
    expect(state).to_have_text("open at the end")
    expect(state).to_have_class(re.compile(r"\bcalm\b"))
    own = card(page, "alerts").locator("[data-alert]").filter(has=page.locator("b", has_text=MARKUP))
    expect(own.get_by_test_id("alert-state")).to_have_text("not acknowledged")
    own.get_by_role("button", name=re.compile("^Acknowledge ")).click()
    own.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(card(page, "alerts").get_by_role("button", name="At the end 1")).to_be_visible()
    card(page, "alerts").get_by_role("button", name="All 3").click()
    expect(own.get_by_test_id("alert-state")).to_have_text("acknowledged")


def test_an_alert_is_acknowledged_by_keyboard_alone(server: Server, watch: Watch) -> None:
    watched = watch(server.url)
    page = watched.open("?run=alpha")
    expect(card(page, "alerts")).to_contain_text("2 open")
    entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge ")).focus()
    page.keyboard.press("Enter")
    page.keyboard.type(f"seen by me {MARKUP}")
    page.keyboard.press("Enter")
    said = entry(page, "b").get_by_test_id("acknowledged")
    expect(said).to_contain_text(f"seen by me {MARKUP}")
    expect(entry(page, "b").get_by_role("button", name="Change the note")).to_be_focused()
    expect(card(page, "alerts")).to_contain_text("2 open, 1 not acknowledged")
    page.reload()
    expect(said).to_contain_text(f"seen by me {MARKUP}")
    expect(entry(page, "b").get_by_test_id("alert-state")).to_have_text("firing")


def left_behind(begin_run: BeginRun) -> Run:
    """A first attempt that ended with two alerts open, and the second one, which goes on from step 100 with one."""
    first = begin_run("alpha")
    first.append(
        *steps(1, 120, layers=False),
        alert("exploding_gradients", 90, 120, level="critical"),
        Alert(time=time.time() - 60, title="mine of the first", level="warning", step=80),
    )
    second = begin_run("alpha", attempt=2)
    second.append(
        *steps(100, STEPS, layers=False),
        alert("plateau", 150, STEPS, level="info"),
        signals(STEPS, plateau="firing"),
        Heartbeat(time=time.time(), step=STEPS),
    )
    return second


def test_what_an_older_attempt_left_open_is_history_once_a_newer_one_goes_on(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    left_behind(begin_run)
    page = watch(serve().url).open("?run=alpha")
    alerts = card(page, "alerts")
    expect(alerts.get_by_role("button", name="Open 1")).to_have_attribute("aria-pressed", "true")
    expect(alerts.locator(".aside")).to_have_text("1 open")
    expect(alerts.locator("[data-alert]")).to_have_count(1)
    alerts.get_by_role("button", name="All 3").click()
    expect(alerts.locator("[data-alert]")).to_have_count(3)
    expect(entry(page, "b").get_by_test_id("alert-state")).to_have_text("open when attempt 1 ended")
    own = alerts.locator("[data-alert]").filter(has_text="mine of the first")
    expect(own.get_by_test_id("alert-state")).to_have_text("not acknowledged in attempt 1")


def test_what_the_last_attempt_left_open_stays_what_was_open_at_the_end(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    left_behind(begin_run).append(RunComplete(time=time.time(), step=STEPS))
    page = watch(serve().url).open("?run=alpha")
    expect(card(page, "alerts").get_by_role("button", name="At the end 1")).to_be_visible()
    expect(card(page, "alerts").locator(".aside")).to_have_text("1 open at the end")
    expect(entry(page, "c").get_by_test_id("alert-state")).to_have_text("open at the end")


def mine(run: Run, *titles: str) -> None:
    """Steps, and alerts of the user's own."""
    run.append(*steps(1, 20, layers=False))
    now = time.time()
    run.append(*(Alert(time=now - place, title=title, step=10 + place) for place, title in enumerate(titles)))
    run.append(Heartbeat(time=now, step=20))


def acknowledge(page: Page, title: str) -> None:
    """By keyboard alone, from its button on."""
    expect(page.get_by_role("button", name=f"Acknowledge {title}", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")


def test_the_focus_goes_on_to_the_next_alert_when_the_acknowledged_one_goes_away(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    mine(begin_run("alpha"), "one", "two", "three")
    page = watch(serve().url).open("?run=alpha&alerts=open")
    rows = card(page, "alerts").locator("[data-alert]")
    said = card(page, "alerts").get_by_test_id("alerts-said")
    page.get_by_role("button", name="Acknowledge two", exact=True).focus()
    acknowledge(page, "two")
    expect(said).to_have_text("Acknowledged: two. 2 alerts open.")
    expect(rows).to_have_count(2)
    acknowledge(page, "three")
    expect(rows).to_have_count(1)
    acknowledge(page, "one")
    expect(said).to_have_text("Acknowledged: one. 0 alerts open.")
    expect(rows).to_have_count(0)
    expect(page.get_by_role("heading", name="Alerts")).to_be_focused()


def test_the_focus_outlives_an_alert_that_is_over_by_itself(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    monitored(run)
    page = watch(serve().url).open("?run=alpha")
    entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge ")).focus()
    run.append(alert("exploding_gradients", 160, STEPS, level="critical", state="resolved"))
    expect(entry(page, "b")).to_have_count(0)
    expect(page.get_by_role("button", name=f"Acknowledge {MARKUP}", exact=True)).to_be_focused()
    expect(card(page, "alerts").get_by_test_id("alerts-said")).to_contain_text("resolved")


def test_a_note_that_is_being_written_outlives_its_alert(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    monitored(run)
    page = watch(serve().url).open("?run=alpha")
    entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge ")).click()
    page.keyboard.type("half a ")
    run.append(alert("exploding_gradients", 160, STEPS, level="critical", state="resolved"))
    expect(entry(page, "b").get_by_test_id("alert-state")).to_have_text("resolved")
    expect(card(page, "alerts").get_by_role("button", name="Open 1")).to_be_visible()
    page.keyboard.type("note")
    expect(entry(page, "b").get_by_label("Note, if you like")).to_have_value("half a note")
    page.keyboard.press("Escape")
    expect(entry(page, "b")).to_have_count(0)
    expect(page.get_by_role("button", name=f"Acknowledge {MARKUP}", exact=True)).to_be_focused()


@pytest.mark.parametrize("width", [1440, PHONE[0]])
def test_of_many_alerts_none_is_lost_and_no_sign_covers_another(
    begin_run: BeginRun, serve: Serve, watch: Watch, width: int
) -> None:
    run = begin_run("alpha")
    now = time.time()
    run.append(*steps(1, STEPS, layers=False))
    run.append(*(Alert(time=now - step, title=f"mine {step}", step=step) for step in range(1, STEPS + 1)))
    run.append(Heartbeat(time=now, step=STEPS))
    page = watch(serve().url, width=width).open("?run=alpha")
    expect(card(page, "alerts").get_by_role("button", name=f"Open {STEPS}")).to_be_visible()
    signs = page.get_by_test_id("alert-lane").get_by_role("button")
    numbers = "(all) => all.reduce((sum, each) => sum + Number(each.textContent), 0)"
    page.wait_for_function(
        "(most) => [...document.querySelectorAll('[data-testid=alert-lane] button')]"
        ".reduce((sum, each) => sum + Number(each.textContent), 0) === most",
        arg=STEPS,
    )
    assert signs.evaluate_all(numbers) == STEPS
    edges = "(all) => all.map((each) => each.getBoundingClientRect()).map(({left, right}) => [left, right])"
    boxes = signs.evaluate_all(edges)
    assert all(here[1] <= after[0] for here, after in itertools.pairwise(boxes))


def test_a_title_of_any_length_can_be_read_and_a_long_text_unfolds(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    title, text = "The gradients explode: their norm is 412.6", "word " * 300
    run.append(*steps(1, 20, layers=False), Alert(time=time.time(), title=title, text=text, step=10))
    page = watch(serve().url, width=PHONE[0], height=PHONE[1]).open("?run=alpha")
    row = card(page, "alerts").locator("[data-alert]")
    shown = row.locator("b", has_text=title).evaluate(
        "(each) => [each.scrollWidth - each.clientWidth, each.scrollHeight - each.clientHeight]"
    )
    assert shown == [0, 0]
    before = row.bounding_box()
    row.get_by_role("button", name="all of it").click()
    expect(row.get_by_role("button", name="less")).to_be_visible()
    after = row.bounding_box()
    assert before is not None
    assert after is not None
    assert after["height"] > before["height"] + 100


def test_what_is_short_of_a_machine_is_said_in_words_also_of_many_gpus(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    gpus = [gpu(index) for index in range(4)]
    gpus[1] = replace(gpus[1], temp_c=88.0)
    gpus[2] = replace(gpus[2], vram_used_gb=24.8, vram_pct=99.2)
    blind = dict.fromkeys(("util_pct", "vram_used_gb", "vram_total_gb", "vram_pct", "temp_c", "name"))
    gpus[3] = replace(gpus[3], **blind)
    said = replace(machine(20, ram_used_gb=66.0), gpus=gpus)
    begin_run("alpha").append(*steps(1, 20, layers=False), said)
    page = watch(serve().url, width=PHONE[0], height=PHONE[1]).open("?run=alpha")
    host = card(page, "hardware").locator("[data-host=training_host]")
    expect(host.locator(".meter", has_text="RAM")).to_contain_text("nearly full")
    summaries = host.locator("[data-gpu] summary")
    expect(summaries).to_have_count(4)
    expect(summaries.nth(0).locator(".warn")).to_have_count(0)
    expect(summaries.nth(1).locator(".warn")).to_have_text("temperature above its limit")
    expect(summaries.nth(2).locator(".warn")).to_have_text("memory nearly full")
    expect(summaries.nth(3)).to_contain_text("says nothing")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_a_value_that_is_no_number_is_said_so_and_is_no_dash(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    broken = {"train/token_entropy": math.nan, "train/top1_probability": math.inf}
    run.append(*steps(1, 20, layers=False), Step(step=21, loss=math.nan, time=time.time(), metrics=broken))
    run.append(replace(signals(21), gradient_norm=math.nan, non_finite=1), Heartbeat(time=time.time(), step=21))
    page = watch(serve().url).open("?run=alpha")
    streaming = card(page, "streaming")
    for field, said in (("token_entropy", "NaN"), ("top1_probability", "+∞"), ("gradient_norm", "NaN")):
        value = streaming.locator(f"[data-field={field}]")
        expect(value).to_contain_text(said)
        expect(value.locator("svg")).to_have_count(1)
    expect(streaming.locator("[data-field=spikes]")).to_contain_text("1 not finite")
    expect(streaming.locator("[data-field=loss_noise]").get_by_role("button")).to_be_visible()


def test_escape_leaves_the_note_and_acknowledges_nothing(server: Server, watch: Watch) -> None:
    watched = watch(server.url)
    page = watched.open("?run=alpha")
    button = entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge "))
    button.click()
    page.keyboard.type("no")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert not any("/acknowledge" in url for url in watched.asked)


def test_a_refused_acknowledgement_says_why(server: Server, watch: Watch) -> None:
    watched = watch(server.url)
    watched.away_is_expected = True
    page = watched.open("?run=alpha")
    why = "that the alert was seen cannot be written down: No space left on device"

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"error": why})

    page.route("**/acknowledge?*", refuse)
    entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge ")).click()
    entry(page, "b").get_by_role("button", name="Acknowledge", exact=True).click()
    expect(entry(page, "b").get_by_role("alert")).to_contain_text(why)
    expect(entry(page, "b").get_by_label("Note, if you like")).to_be_visible()


def test_silence_names_what_is_watched_and_what_cannot_be(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").append(*steps(1, 20), signals(20), Heartbeat(time=time.time(), step=20))
    page = watch(serve().url).open("?run=alpha")
    expect(card(page, "alerts")).to_contain_text("None raised. 4 conditions are watched, 1 without data.")
    card(page, "alerts").get_by_text("what is watched").click()
    rows = page.get_by_test_id("conditions").locator("[data-condition]")
    expect(rows).to_have_count(4)
    expect(rows.first).to_have_text(f"no dataPoor calibration: {NO_ECE}")


def test_a_run_without_monitors_says_so(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    begin_run("alpha").train(1, 30)
    page = watch(serve().url).open("?run=alpha")
    expect(page.get_by_test_id("no-alerts")).to_contain_text("this run has no monitors")
    expect(page.get_by_test_id("no-layers")).to_contain_text("attempt 1 has recorded no gradients of layers yet")
    expect(page.get_by_test_id("no-throughput")).to_be_visible()
    expect(page.get_by_test_id("no-hardware").first).to_contain_text("records nothing about its machine")
    expect(card(page, "advice")).to_have_count(0)
    expect(card(page, "streaming")).to_have_count(0)


def test_advice_says_how_sure_it_is_and_what_it_rests_on(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    items = page.get_by_test_id("advice").locator("[data-action]")
    expect(items).to_have_count(2)
    expect(items.first).to_contain_text("Look at layers")
    expect(items.first).to_contain_text("high confidence")
    items.first.get_by_text("because").first.click()
    expect(items.first).to_contain_text("exploding_gradients since step 160")
    expect(items.last).to_contain_text("Go on")


def test_what_an_alert_lasted_is_a_band_on_the_curve(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha&smoothing=0")
    expect(page.get_by_test_id("band-legend")).to_be_visible()
    settled(page)
    quiet, spike, exploding = page.evaluate(TINT, [0.613, 0.413, 0.913])
    assert exploding != quiet, "the critical alert lasts from step 160 to 200"
    assert spike != quiet, "the warning lasted from step 60 to 90"
    assert exploding != spike


def test_only_the_steps_of_each_episode_are_a_band_and_what_lasts_is_none(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    run.append(*steps(1, STEPS, layers=False))
    for first, over in ((60, 66), (120, 126), (180, 186)):
        run.append(alert("loss_spike", 60, first), alert("loss_spike", 60, over, state="recovering"))
    run.append(
        replace(alert("plateau", 20, 20), category="throughput", condition="throughput_degraded"),
        signals(STEPS, throughput_degraded="firing"),
        Heartbeat(time=time.time(), step=STEPS),
    )
    page = watch(serve().url).open("?run=alpha&smoothing=0")
    expect(page.get_by_test_id("band-legend")).to_contain_text("what lasts is a line along the top")
    at = [(step - 1) / (STEPS - 1) for step in (63, 93, 123, 153, 183)]
    band, none, again, between, third = page.evaluate(TINT, at)
    assert band == again == third != none == between


def test_a_new_alert_comes_by_itself(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    monitored(run)
    page = watch(serve().url).open("?run=alpha")
    expect(card(page, "alerts").locator("[data-alert]")).to_have_count(2)
    run.append(alert("plateau", 200, 200, level="info"), signals(STEPS, plateau="firing"))
    expect(entry(page, "c")).to_contain_text("plateau at 200")


def test_layers_are_said_in_a_sentence_and_marked_by_word_and_sign(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    expect(page.get_by_test_id("layer-sentence")).to_contain_text("58/60 layers active, 1 dead, 1 exploding")
    for status, module in (("dead", "3.self_attn.k_proj"), ("exploding", "9.mlp.down_proj")):
        trouble = card(page, "layers").locator(f"[data-trouble={status}]")
        expect(trouble).to_contain_text(module)
        expect(trouble.locator("svg")).to_have_count(1)
    expect(page.get_by_test_id("top-active")).to_contain_text("9.mlp.down_proj")
    lines = card(page, "layers").locator("[data-module]")
    expect(lines).to_have_count(BLOCKS)
    line = lines.nth(3)
    expect(line).to_contain_text("1 dead")
    expect(line.locator("svg")).to_have_count(1)


@pytest.mark.parametrize("width", [1440, PHONE[0]])
def test_the_box_covers_the_cell_that_was_pressed(server: Server, watch: Watch, width: int) -> None:
    page = watch(server.url, width=width).open("?run=alpha")
    grid = card(page, "layers").get_by_role("grid")
    grid.scroll_into_view_if_needed()
    columns = int(grid.get_attribute("aria-colcount") or 0) - 1
    canvas = grid.locator("canvas").bounding_box()
    place = grid.bounding_box()
    assert canvas is not None
    assert place is not None
    wide = canvas["width"] / columns
    column, high = columns // 3, place["height"] / BLOCKS
    x, y = canvas["x"] - place["x"] + (column + 0.5) * wide, 4.5 * high
    grid.click(position={"x": x, "y": y})
    box = grid.get_by_test_id("cell-box").bounding_box()
    assert box is not None
    assert abs(box["x"] + box["width"] / 2 - place["x"] - x) < 1
    assert abs(box["width"] - wide) < 1
    assert abs(box["y"] + box["height"] / 2 - place["y"] - y) < 1
    expect(reading(page)).to_contain_text("block 4 (5 modules), step")


def test_rows_are_told_apart_and_called_as_in_the_sentence_above(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    run = begin_run("alpha")
    names = [f"model.layers.{block}.self_attn.{kind}_proj" for block in range(4) for kind in "qv"]
    dead = names[5]
    for step in range(1, 60):
        sizes = {name: 0.0 if name == dead else 0.1 for name in names}
        metrics = {f"layers/{name}/{part}/gradient_norm": size for name, size in sizes.items() for part in "AB"}
        metrics |= {f"layers/{name}/{part}/weight_norm": 10 * size for name, size in sizes.items() for part in "AB"}
        metrics |= {f"layers/{name}/{part}/update_norm": size / 100 for name, size in sizes.items() for part in "AB"}
        run.append(Step(step=step, loss=1.0, time=time.time(), metrics=metrics))
    page = watch(serve().url).open("?run=alpha")
    labels = card(page, "layers").get_by_test_id("row-label")
    expect(labels).to_have_count(8)
    assert sorted(labels.all_text_contents()) == sorted(name.removeprefix("model.layers.") for name in names)
    trouble = card(page, "layers").locator("[data-trouble=dead] button")
    expect(trouble).to_have_text("2.self_attn.v_proj")
    expect(card(page, "layers")).to_contain_text("log scale")


def test_the_keyboard_reaches_every_cell_and_opens_a_block(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    grid = card(page, "layers").get_by_role("grid")
    grid.focus()
    page.keyboard.press("ArrowDown")
    expect(reading(page)).to_contain_text("block 1 (5 modules): gradient norm now")
    page.keyboard.press("Home")
    expect(reading(page)).to_contain_text("block 1 (5 modules), step")
    expect(reading(page)).to_contain_text(re.compile(r"gradient norm 0\.06"))
    page.keyboard.press("Enter")
    lines = card(page, "layers").locator("[data-module]")
    expect(lines).to_have_count(BLOCKS + len(KINDS))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(reading(page)).to_contain_text("1.mlp.down_proj, active: now")
    active = grid.get_attribute("aria-activedescendant")
    assert active is not None
    expect(page.locator(f"#{active}")).to_contain_text("1.mlp.down_proj, active: now")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(lines).to_have_count(BLOCKS)


def test_a_module_in_trouble_is_one_press_away_and_so_is_its_curve(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    card(page, "layers").get_by_role("button", name="9.mlp.down_proj").click()
    expect(reading(page)).to_contain_text("9.mlp.down_proj, exploding: now")
    card(page, "layers").get_by_role("button", name="Show its curve").click()
    name = f"layers/{EXPLODING}/B/gradient_norm"
    expect(page.get_by_role("button", name=f"Series: {name}. Choose another.")).to_be_visible()
    assert query(page)["series"] == [name]


def test_the_cells_hold_the_update_ratio_if_that_is_wanted(server: Server, watch: Watch) -> None:
    watched = watch(server.url)
    page = watched.open("?run=alpha")
    settled(page)
    card(page, "layers").get_by_role("button", name="update ratio").click()
    assert query(page)["cells"] == ["update_ratio"]
    card(page, "layers").get_by_role("grid").focus()
    page.keyboard.press("Home")
    expect(reading(page)).to_contain_text(re.compile(r"update ratio at most 1\.000e?|update ratio at most 1\.00e−4"))
    assert any("quantity=update_ratio" in url for url in watched.asked)


def test_every_module_stands_in_the_table_with_its_numbers(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    card(page, "layers").get_by_text("every module as a table").click()
    rows = card(page, "layers").locator("tbody tr")
    expect(rows).to_have_count(BLOCKS * len(KINDS))
    dead = card(page, "layers").locator(f"tr[data-module='{DEAD}']")
    expect(dead.locator("td").first).to_have_text("dead")
    expect(dead.locator("td").nth(1)).to_have_text("0")


def test_throughput_says_where_the_time_of_a_step_goes(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    expect(card(page, "throughput")).to_contain_text("A step takes 2.00 s")
    split = page.get_by_test_id("step-split")
    label = (
        "waits for data 25 %, 500 ms; forward and backward 60 %, 1.20 s; optimizer 10 %, 200 ms; the rest 5 %, 100 ms"
    )
    expect(split).to_have_accessible_name(f"Of a step: {label}")
    expect(card(page, "throughput").locator("[data-field=throughput_trend]")).to_contain_text("slower")
    expect(card(page, "throughput").locator("[data-field=tokens_per_sec_ema]")).to_have_text("2,400")
    expect(page.get_by_test_id("sample-reading")).to_contain_text(
        "step 200: 2,600 tokens/s at 13.50 GB (54 %, batch 4)"
    )
    page.get_by_role("slider", name="Sample of throughput and memory").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("sample-reading")).to_contain_text("step 199: 2,600 tokens/s")


def test_without_a_gpu_the_page_says_so(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    run.append(*steps(1, 30, layers=False), machine(30, gpus=0), signals(30), Heartbeat(time=time.time(), step=30))
    page = watch(serve().url).open("?run=alpha")
    expect(page.get_by_test_id("no-samples")).to_contain_text("this machine has no GPU")
    expect(card(page, "throughput")).to_contain_text("Throughput along the steps")
    expect(card(page, "throughput")).not_to_contain_text("Throughput by GPU memory")
    expect(page.get_by_test_id("no-gpus")).to_have_text("This machine has no GPU.")


def test_the_machine_of_a_run_that_ended_is_no_warning(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    old = time.time() - 600
    begin_run("alpha", begun=old).append(
        *[replace(step, time=old) for step in steps(1, 20, layers=False) if isinstance(step, Step)],
        replace(machine(20, gpus=0), time=old),
        RunComplete(time=old, step=20),
    )
    page = watch(serve().url).open("?run=alpha")
    host = card(page, "hardware").locator("[data-host=training_host]")
    expect(host.get_by_test_id("heard")).to_have_text("ended")
    expect(host).to_contain_text("Its last numbers")
    expect(host.locator(".warn")).to_have_count(0)


@pytest.mark.parametrize("gpus", [2, 8])
def test_hardware_stands_with_its_numbers_for_any_number_of_gpus(
    begin_run: BeginRun, serve: Serve, watch: Watch, gpus: int
) -> None:
    why = {"disk_used_gb": "the disk did not answer within 2 s"}
    begin_run("alpha").append(*steps(1, 20, layers=False), machine(20, gpus=gpus, why=why))
    page = watch(serve().url).open("?run=alpha")
    host = card(page, "hardware").locator("[data-host=training_host]")
    expect(host.locator("[data-field=ram_gb]").first).to_have_text("28.3 of 67.4 GB")
    expect(host.locator("[data-field=swap_used_gb]")).to_have_text("none")
    expect(host.locator("[data-field=disk_used_gb]").get_by_role("button")).to_have_accessible_name(
        "not measured: the disk did not answer within 2 s"
    )
    expect(host).to_contain_text("Measured")
    cards = host.locator("[data-gpu]")
    expect(cards).to_have_count(gpus)
    if gpus > 2:
        expect(cards.nth(7).locator("summary")).to_have_text(re.compile(r"GPU 7\s+97 %, 19\.5 of 25\.0 GB, 77 °C"))
        cards.nth(7).locator("summary").click()
    last = cards.nth(gpus - 1)
    expect(last.locator("[data-field=temp_c]")).to_have_text(f"{70 + gpus - 1} of 83 °C")
    expect(last.locator("[data-field=power_w]")).to_have_text("380 of 450 W")
    expect(last.locator("[data-field=fan_pct]").get_by_role("button")).to_have_accessible_name(
        "not measured: its driver does not say it"
    )


def test_streaming_metrics_say_their_direction_in_words(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha")
    streaming = card(page, "streaming")
    expect(streaming.locator("[data-field=loss_trend]")).to_have_text(re.compile("improving"))
    expect(streaming.locator("[data-field=loss_trend] svg")).to_have_count(1)
    expect(streaming.locator("[data-field=loss_change_per_1000]")).to_have_count(0)
    expect(streaming.locator("[data-field=plateau]")).to_have_text(re.compile("not reached"))
    expect(streaming.locator("[data-field=token_entropy]")).to_have_text("1.250nats")
    expect(streaming.locator("[data-field=top1_probability]")).to_have_text("62.5 %")


def test_a_change_per_thousand_steps_is_said_of_a_run_that_made_as_many(
    begin_run: BeginRun, serve: Serve, watch: Watch
) -> None:
    begin_run("alpha").append(*steps(1, 20, layers=False), signals(1000), Heartbeat(time=time.time(), step=1000))
    page = watch(serve().url).open("?run=alpha")
    change = card(page, "streaming").locator("[data-field=loss_change_per_1000]")
    expect(change).to_have_text("−8.0 % (−11.0 % to −5.0 %)")


@pytest.mark.parametrize(("pace", "said"), [(0.1, "5.2 % so far, the start included"), (2.0, "5.17 % of the time")])
def test_the_cost_of_a_short_run_says_that_the_start_is_in_it(
    begin_run: BeginRun, serve: Serve, watch: Watch, pace: float, said: str
) -> None:
    run = begin_run("alpha")
    run.append(*steps(1, 20, layers=False), replace(signals(100), seconds_per_step=pace, overhead_share=0.0517))
    page = watch(serve().url).open("?run=alpha")
    expect(card(page, "streaming").locator("[data-field=overhead_share]")).to_have_text(said)


def test_series_of_single_layers_stay_out_of_the_way(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha&page=charts")
    note = page.get_by_test_id("layer-series")
    expect(note).to_contain_text("360 left out")
    expect(page.get_by_role("region", name="layers charts")).to_have_count(0)
    note.get_by_role("button").click()
    expect(page.get_by_role("region", name="layers charts")).to_have_count(1)
    assert query(page)["layers"] == ["on"]
    note.get_by_role("button").click()
    page.get_by_role("searchbox").fill("9.mlp gradient")
    expect(page.get_by_role("region", name="layers charts")).to_contain_text("2")
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name=re.compile("^Series: ")).click()
    options = page.get_by_role("listbox", name="Series").get_by_role("option")
    expect(options.first).to_be_visible()
    expect(page.get_by_role("listbox", name="Series")).not_to_contain_text("layers/model")
    page.get_by_role("combobox").fill("layers 9.mlp A/gradient")
    expect(options).to_have_count(1)


def test_hostile_text_stays_text(server: Server, watch: Watch) -> None:
    page = watch(server.url).open("?run=alpha&alerts=all")
    expect(card(page, "alerts")).to_contain_text(MARKUP)
    expect(entry(page, "b").locator("code").nth(1)).to_have_text(MARKUP)
    assert page.locator("main img").count() == 0
    assert page.locator("main script").count() == 0


@pytest.mark.slow
def test_a_run_that_is_over_asks_for_nothing_all_the_time(begin_run: BeginRun, serve: Serve, watch: Watch) -> None:
    run = begin_run("alpha")
    monitored(run, RunComplete(time=time.time(), step=STEPS))
    watched = watch(serve().url)
    page = watched.open("?run=alpha")
    expect(card(page, "alerts").locator("[data-alert]")).to_have_count(2)
    settled(page)
    page.wait_for_timeout(3000)  # the stream of events has been opened, and all has been made sure of once
    before = {path: asked(watched, path) for path in ("/api/alerts", "/api/layers", "/api/throughput", "/api/signals")}
    page.wait_for_timeout(5000)
    assert {path: asked(watched, path) for path in before} == before


@pytest.mark.parametrize("width", [PHONE[0], NARROWEST])
def test_a_phone_needs_no_sideways_scroll_and_no_thin_fingers(server: Server, watch: Watch, width: int) -> None:
    page = watch(server.url, width=width, height=PHONE[1], touch=True).open("?run=alpha&alerts=all")
    settled(page)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge ")).click()
    card(page, "layers").get_by_role("grid").click(position={"x": 30, "y": 8})
    expect(card(page, "layers").locator("[data-module]").nth(BLOCKS)).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """(least) => [...document.querySelectorAll('main :is(button, select, summary, a, input:not(.hair))')]
            .filter((each) => each.checkVisibility())
            .map((each) => [each.outerHTML.slice(0, 80), Math.round(each.getBoundingClientRect().height * 10) / 10])
            .filter(([, height]) => height < least)""",
        SMALLEST_TARGET - 0.5,
    )
    assert small == []


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 1000), PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(server: Server, watch: Watch, axe: str, size: tuple[int, int], dark: bool) -> None:
    page = watch(server.url, width=size[0], height=size[1], dark=dark).open("?run=alpha&alerts=all")
    settled(page)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    entry(page, "b").get_by_role("button", name=re.compile("^Acknowledge ")).click()
    card(page, "layers").get_by_role("grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run().then((said) => said.violations.map((each) => [each.id, each.impact, each.nodes[0].html]))"
    )
    assert found == []

"""Alerts over their lives: lines with one id are one alert, and it ends with whoever looked after it."""

import time
from pathlib import Path

from msgspec.structs import replace

from barograph.index import Index, Indexer
from barograph.records import (
    Acknowledgement,
    Advice,
    Alert,
    Banner,
    Batch,
    Heartbeat,
    Notification,
    Record,
    RunComplete,
    Signals,
    Step,
)
from barograph.records.alerts import AdviceItem, AlertStateWord, Example
from barograph.records.codec import encode_line
from barograph.views import alerts, live_status
from barograph.views.monitor_documents import Alerts

NOW = time.time()


def log(root: Path, *records: Record, writer: str = "train", attempt: int = 1) -> None:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-{attempt:06d}-20260101T000000.jsonl"
    banner = [] if path.exists() else [Banner(run="r", attempt=attempt, writer=writer, time=NOW)]
    with path.open("ab") as file:
        file.write(b"".join(encode_line(record) for record in (*banner, *records)))


def document(root: Path, *, now: float = NOW) -> Alerts:
    with Indexer(root) as indexer:
        indexer.scan()
    return alerts(Index(root), "r", now=now)


SPIKE = Alert(
    time=NOW,
    title="Loss spike",
    text="3.1 after 2.0",
    step=7,
    id="a1",
    condition="loss_spike",
    category="loss",
    recommendation="Look at the batch.",
    evidence={"loss": 3.1, "ratio": float("inf")},
    first_step=7,
    policy="default",
)


def life(*states: AlertStateWord) -> list[Record]:
    return [
        replace(SPIKE, time=NOW + place, step=7 + place, count=place + 1, state=state)
        for place, state in enumerate(states)
    ]


def test_the_lines_of_a_life_are_one_alert_as_the_newest_says_it(tmp_path: Path) -> None:
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("pending", "firing", "firing", "recovering"))
    (found,) = document(tmp_path).alerts
    row = found.alert
    assert (row.state, row.count, row.step, row.last_step) == ("recovering", 4, 7, 10)
    assert row.evidence == {"loss": 3.1, "ratio": float("inf")}
    assert [(span.first, span.last) for span in row.spans] == [(7, 10)]
    assert document(tmp_path).counts.firing == 1
    assert found.batches == []


def test_an_alert_that_is_open_when_its_attempt_ends_is_not_said_to_be_over(tmp_path: Path) -> None:
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("firing"))
    assert document(tmp_path).alerts[0].alert.state == "firing"
    log(tmp_path, RunComplete(time=NOW, exit_code=0))
    found = document(tmp_path)
    assert found.alerts[0].alert.state == "ended"
    assert (found.counts.firing, found.counts.ended, found.counts.unseen) == (0, 1, 1)
    assert [one.state for one in live_status(Index(tmp_path), "r", now=NOW).active_alerts] == ["ended"]
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), attempt=2)
    assert document(tmp_path).alerts[0].alert.state == "ended", "a newer attempt does not mend the older one"


def test_what_was_never_told_is_told_only_while_it_may_come_to_it(tmp_path: Path) -> None:
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("pending"))
    found = document(tmp_path)
    assert [one.alert.state for one in found.alerts] == ["pending"]
    assert (found.counts.firing, found.counts.unseen) == (0, 0)
    log(tmp_path, *life("resolved"))
    assert document(tmp_path).alerts == []
    assert document(tmp_path).counts.warning == 0


def test_each_stretch_of_firing_is_a_span(tmp_path: Path) -> None:
    lines = life("pending", "firing", "firing", "recovering", "firing", "resolved", "firing")
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *lines)
    (found,) = document(tmp_path).alerts
    assert [(span.first, span.last) for span in found.alert.spans] == [(7, 10), (11, 12), (13, None)]


def test_a_death_outlasts_the_dead(tmp_path: Path) -> None:
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("firing"), RunComplete(time=NOW, exit_code=1))
    log(tmp_path, replace(SPIKE, id="b", condition="run_crashed", category="run"), writer="sentinel")
    states = {one.alert.condition: one.alert.state for one in document(tmp_path).alerts}
    assert states == {"loss_spike": "ended", "run_crashed": "firing"}
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), attempt=2)
    states = {one.alert.condition: one.alert.state for one in document(tmp_path).alerts}
    assert states == {"loss_spike": "ended", "run_crashed": "resolved"}


def test_somebody_who_has_seen_it_is_told_and_what_a_user_raised_is_over_then(tmp_path: Path) -> None:
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("firing"), Alert(time=NOW, title="mine", step=3))
    mine, spike = sorted(document(tmp_path).alerts, key=lambda one: one.alert.condition)
    assert (mine.alert.category, mine.alert.state, mine.alert.acknowledged) == ("user", "firing", None)
    log(tmp_path, *(Acknowledgement(time=NOW, alert=one.alert.id, note="ok") for one in (mine, spike)), writer="serve")
    mine, spike = sorted(document(tmp_path).alerts, key=lambda one: one.alert.condition)
    assert mine.alert.state == "resolved"
    assert spike.alert.state == "firing", "to have seen it is not to have mended it"
    assert (spike.alert.note, document(tmp_path).counts.unseen) == ("ok", 0)


def test_every_batch_of_the_alert_and_its_deliveries_stand_with_it(tmp_path: Path) -> None:
    example = Example(micro_batch=0, row=1, hash="00ff", tokens=12, index=41, text="<b>hi</b>")
    told = Notification(time=NOW, alert="a1", channel="https://example.org", delivered=False, detail="500", tries=4)
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("firing", "firing", "recovering"))
    log(tmp_path, Batch(step=7, time=NOW, examples=[example], left_out=3), told)
    log(tmp_path, Batch(step=8, time=NOW, examples=[], why="the batch was gone"))
    log(tmp_path, Batch(step=30, time=NOW, examples=[example]))
    (found,) = document(tmp_path).alerts
    assert [(one.step, one.examples, one.left_out, one.why) for one in found.batches] == [
        (8, [], 0, "the batch was gone"),
        (7, [example], 3, ""),
    ]
    assert [(one.channel, one.delivered, one.tries) for one in found.notifications] == [
        ("https://example.org", False, 4)
    ]


def test_what_is_watched_and_what_is_advised_is_that_of_the_newest_attempt(tmp_path: Path) -> None:
    item = AdviceItem(action="continue", text="Go on.", confidence="high", because=["loss falls at step 9"])
    why = {"conditions.gpu_memory": "this machine has no GPU"}
    said = Signals(step=9, time=NOW, conditions={"loss_spike": "ok", "gpu_memory": "no_data"}, why=why)
    log(tmp_path, said, Advice(time=NOW, step=9, items=[item], policy="default"))
    found = document(tmp_path)
    assert [(one.name, one.state, one.reason) for one in found.conditions] == [
        ("loss_spike", "ok", None),
        ("gpu_memory", "no_data", "this machine has no GPU"),
    ]
    assert found.advice is not None
    assert found.advice.items == [item]
    log(tmp_path, Heartbeat(time=NOW, step=None), attempt=2)
    assert (document(tmp_path).conditions, document(tmp_path).advice) == ([], None)


def test_pending_and_resolved_ones_are_not_active(tmp_path: Path) -> None:
    log(tmp_path, Step(step=1, loss=1.0, time=NOW), *life("pending"), replace(SPIKE, id="b", state="firing"))
    document(tmp_path)
    assert [one.id for one in live_status(Index(tmp_path), "r", now=NOW).active_alerts] == ["b"]

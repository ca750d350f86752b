"""The routes of the monitors: acknowledging an alert end to end, and who may not."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from litestar.testing import TestClient

from barograph.api.edge import Edge
from barograph.journal.layout import journal_files
from barograph.records import Acknowledgement, Alert, Banner, Record, Signals, Step, codec

Client = TestClient[Edge]
ALERT = Alert(
    time=time.time(),
    title="Loss spike at step 7",
    step=7,
    id="a1",
    condition="loss_spike",
    category="loss",
    recommendation="Look at the batch.",
    policy="default",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root of one run that lives, with one alert."""
    logs = tmp_path / "runs" / "r" / "logs"
    logs.mkdir(parents=True)
    now = time.time()
    records: list[Record] = [
        Banner(run="r", attempt=1, writer="train", time=now),
        Step(step=7, loss=3.0, time=now),
        ALERT,
    ]
    (logs / "train-000001-20260101T000000.jsonl").write_bytes(b"".join(codec.encode_line(one) for one in records))
    return tmp_path / "runs"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come within 10 s"
        time.sleep(0.02)


def acknowledged(root: Path) -> list[Acknowledgement]:
    """What the server's own journal files say."""
    files = [file for file in journal_files(root / "r") if file.writer == "serve"]
    lines = [line for file in files for line in file.path.read_bytes().splitlines(keepends=True)]
    return [one for line in lines if isinstance(one := codec.decode_line(line).record, Acknowledgement)]


def test_who_has_seen_an_alert_is_on_disk_before_the_answer_and_shown_after_it(
    root: Path, open_client: Callable[..., Client]
) -> None:
    client = open_client(root, runs=1)
    answer = client.post("/api/alerts/a1/acknowledge?run=r", json={"note": "a bad shard"})
    assert answer.status_code == 200, answer.text
    assert [(one.alert, one.note) for one in acknowledged(root)] == [("a1", "a bad shard")]

    def seen() -> dict[str, object]:
        found = client.get("/api/alerts?run=r").json()["alerts"][0]["alert"]
        assert isinstance(found, dict)
        return found

    until(lambda: seen()["acknowledged"] is not None)
    assert seen()["note"] == "a bad shard"
    assert seen()["state"] == "firing"
    assert client.get("/api/status/live?run=r").json()["active_alerts"][0]["acknowledged"] is True


def test_no_body_at_all_is_no_note(root: Path, open_client: Callable[..., Client]) -> None:
    client = open_client(root, runs=1)
    for answer in (
        client.post("/api/alerts/a1/acknowledge?run=r"),
        client.post("/api/alerts/a1/acknowledge?run=r", json={}),
    ):
        assert answer.status_code == 200, answer.text
    assert [one.note for one in acknowledged(root)] == ["", ""]


def test_what_cannot_be_acknowledged_is_refused_in_words(root: Path, open_client: Callable[..., Client]) -> None:
    client = open_client(root, runs=1)
    body: dict[str, object] = {"note": ""}
    assert client.post("/api/alerts/other/acknowledge?run=r", json=body).status_code == 404
    assert "no alert of that id" in client.post("/api/alerts/other/acknowledge?run=r", json=body).json()["error"]
    assert client.post("/api/alerts/a1/acknowledge?run=other", json=body).status_code == 404
    assert client.post("/api/alerts/a1/acknowledge", json=body).status_code == 400
    assert client.post("/api/alerts/..%2Fa1/acknowledge?run=r", json=body).status_code in (400, 404)
    unfit: list[object] = [{"note": "x" * 501}, {"note": 3}, [], "text"]
    for wrong in unfit:
        assert client.post("/api/alerts/a1/acknowledge?run=r", json=wrong).status_code == 400, wrong
    assert client.post("/api/alerts/a1/acknowledge?run=r", content=b"{").status_code == 400
    assert client.get("/api/alerts/a1/acknowledge?run=r").status_code == 405
    assert acknowledged(root) == []


def test_another_origin_may_not_acknowledge(root: Path, open_client: Callable[..., Client]) -> None:
    client = open_client(root, runs=1)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = client.post("/api/alerts/a1/acknowledge?run=r", json={"note": ""}, headers=headers)
        assert answer.status_code == 403
    assert acknowledged(root) == []


def test_a_journal_that_cannot_be_written_is_said(root: Path, open_client: Callable[..., Client]) -> None:
    client = open_client(root, runs=1)
    logs = root / "r" / "logs"
    logs.rename(root / "r" / "moved")
    logs.write_bytes(b"")  # root may write anywhere, so permissions say nothing
    answer = client.post("/api/alerts/a1/acknowledge?run=r", json={"note": ""})
    assert answer.status_code in (404, 503)
    assert str(root) not in answer.text


def test_the_status_document_is_served_as_the_seeds_pages_fetch_it(
    root: Path, open_client: Callable[..., Client]
) -> None:
    client = open_client(root, runs=1)
    document = client.get("/status/training_status.json").json()
    assert (document["status"], document["current_step"], document["loss"]) == ("training", 7, 3.0)
    assert [one["message"] for one in document["active_alerts"]] == ["Loss spike at step 7"]
    assert document["streaming_ce"] is None
    assert document["why"]["streaming_ce"]
    assert [field for field, value in document.items() if value is None and field not in document["why"]] == []
    path = next((root / "r" / "logs").iterdir())
    said = Signals(step=8, time=time.time(), streaming_ce=2.5, loss_trend="improving")
    with path.open("ab") as file:
        file.write(codec.encode_line(said))
    until(lambda: client.get("/status/training_status.json?run=r").json()["streaming_ce"] == 2.5)


def test_every_document_of_the_monitors_answers_without_any_run(
    tmp_path: Path, open_client: Callable[..., Client]
) -> None:
    client = open_client(tmp_path / "none", runs=0)
    for path in ("/api/alerts", "/api/layers", "/api/signals", "/api/status/system", "/api/throughput/samples"):
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["run"] is None
    assert client.get("/status/training_status.json").status_code == 404

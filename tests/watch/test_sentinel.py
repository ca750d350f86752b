"""A run that falls silent or dies has one alert, over every restart of whoever looks; it ends when the run goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from barograph.index import Index, Indexer, query
from barograph.policy import load
from barograph.records import Alert, Heartbeat, Notification, Record, RunComplete, Step
from barograph.views import alerts
from barograph.watch.sentinel import WRITER, Sentinel

if TYPE_CHECKING:
    from tests.watch.conftest import Watching

Kind = TypeVar("Kind", bound=Record)


def now() -> float:
    """By the clock of the files: a test may begin long after it was read."""
    return time.time()


SILENT = load().alerts.run_silent.after_s


class Root:
    """A root with one run, `r`, that is written, indexed and looked at."""

    def __init__(self, path: Path, log: Callable[..., Path]) -> None:
        self.path = path
        self._log = log

    def log(self, *records: Record, attempt: int = 1) -> None:
        """Lines of the training."""
        self._log(self.path, *records, attempt=attempt)

    def training(self, *, ago: float = 0.0, attempt: int = 1) -> None:
        """Ten steps of a second each; the last one `ago` seconds ago."""
        until = now() - ago
        self.log(*(Step(step=n, loss=1.0, time=until - 10 + n) for n in range(1, 11)), attempt=attempt)

    def scan(self) -> None:
        """Read what was written."""
        with Indexer(self.path) as indexer:
            indexer.scan()

    def look(self, *, later: float = 0.0, environ: dict[str, str] | None = None) -> None:
        """One look by a sentinel that has just been started."""
        self.scan()
        sentinel = Sentinel(self.path, policy=load(), environ=environ or {})
        assert sentinel.look(now=now() + later)
        sentinel.close()

    def lines(self, kind: type[Kind]) -> list[Kind]:
        """What sentinels wrote, oldest first."""
        self.scan()
        with Index(self.path).snapshot() as snapshot:
            own = [one for one in query.sources(snapshot, "r") if one.state.writer == WRITER]
            return query.events(snapshot, "r", kind, among=own)[::-1]


@pytest.fixture
def root(tmp_path: Path, watching: Watching) -> Root:
    """An empty one."""
    return Root(tmp_path / "runs", watching.log)


def test_a_run_that_trains_or_completed_raises_nothing(root: Root) -> None:
    root.training()
    root.look()
    root.log(RunComplete(time=now(), exit_code=0))
    root.look(later=3_600)
    assert root.lines(Alert) == []


def test_a_death_is_told_once_however_often_it_is_looked_for(root: Root) -> None:
    root.training()
    for later in (60, 120, 3_600):
        root.look(later=later)
    (alert,) = root.lines(Alert)
    assert (alert.condition, alert.state, alert.level, alert.step) == ("run_crashed", "firing", "critical", 10)
    assert alert.recommendation
    assert "Attempt 1 fell silent" in alert.text
    document = alerts(Index(root.path), "r", now=now() + 3_600)
    assert [one.alert.state for one in document.alerts] == ["firing"], "a death is not over because the run is dead"


def test_an_exit_code_is_a_death_at_once(root: Root) -> None:
    root.training()
    root.log(RunComplete(time=now(), exit_code=1, reason="ValueError: no"))
    root.look()
    (alert,) = root.lines(Alert)
    assert "ValueError: no" in alert.text


def test_a_newer_attempt_ends_the_alert_of_the_dead_one(root: Root) -> None:
    root.training()
    root.look(later=60)
    root.training(attempt=2)
    root.look()
    assert {one.alert.state for one in alerts(Index(root.path), "r", now=now()).alerts} == {"resolved"}


def test_a_process_that_lives_and_makes_no_step_is_silent_until_it_makes_one(root: Root) -> None:
    root.training(ago=SILENT + 30)
    root.log(Heartbeat(time=now(), step=10))
    root.look()
    root.look()
    root.log(Step(step=11, loss=1.0, time=now()))
    root.look()
    found = root.lines(Alert)
    assert [(alert.condition, alert.state) for alert in found] == [("run_silent", "firing"), ("run_silent", "resolved")]
    assert len({alert.id for alert in found}) == 1
    assert found[0].evidence["since_step_s"] == pytest.approx(SILENT + 30, abs=1)


def test_what_died_long_ago_is_left_alone(root: Root) -> None:
    root.training()
    root.look(later=2 * 24 * 3_600)
    assert root.lines(Alert) == []


def test_only_one_process_looks_after_a_root(root: Root) -> None:
    root.training()
    root.scan()
    first, second = (Sentinel(root.path, policy=load(), environ={}) for _ in range(2))
    assert first.look(now=now())
    assert not second.look(now=now())
    first.close()
    assert second.look(now=now())
    second.close()


def test_a_root_that_is_not_there_yet_is_waited_for(root: Root) -> None:
    sentinel = Sentinel(root.path, policy=load(), environ={})
    assert not sentinel.look(now=now())
    assert not root.path.exists()
    root.training()
    root.scan()
    assert sentinel.look(now=now())
    sentinel.close()


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """The address of a server that takes what it is sent."""
    got: list[dict[str, object]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_a_death_is_sent_and_that_it_was_is_on_record(
    root: Root, receiver: tuple[str, list[dict[str, object]]]
) -> None:
    address, got = receiver
    root.training()
    root.look(later=60, environ={"BAROGRAPH_WEBHOOK_URL": address})
    (said,) = root.lines(Notification)
    assert said.delivered, said.detail
    assert "hook" not in said.channel
    (body,) = got
    assert body["run"] == "r"
    assert "crashed" in str(body["title"])

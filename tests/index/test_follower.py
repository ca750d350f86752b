"""How soon the indexing thread looks again, where, and what it tells."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.index import Change, Follower, ScanResult, query
from barograph.index.file_events import ANYWHERE
from barograph.index.follower import BUSY_SHARE, LONGEST_PAUSE_S, pause_after, runs_of
from barograph.records import Banner, Checkpoint, Heartbeat, Record, Step
from barograph.records.codec import encode_line

SECONDS = st.floats(0.0, 1e6)
EVERY_S = st.floats(0.001, LONGEST_PAUSE_S)
POLL_S = 5.0
"""So rare that what is seen sooner was an event."""


@given(SECONDS, EVERY_S)
def test_however_long_a_scan_takes_the_next_one_comes_within_a_second(idle_s: float, every_s: float) -> None:
    pause = pause_after(idle_s, every_s=every_s)
    assert every_s <= pause <= LONGEST_PAUSE_S == 1.0
    assert pause == LONGEST_PAUSE_S or idle_s <= 1.001 * BUSY_SHARE * pause


def test_an_idle_root_that_takes_long_to_look_at_is_looked_at_less_often() -> None:
    assert pause_after(0.05, every_s=0.25) == 0.5


def test_who_asks_for_longer_pauses_gets_them() -> None:
    assert pause_after(9.0, every_s=5.0) == 5.0


@given(st.sets(st.sampled_from(["a", "b", "c"])))
def test_an_event_names_the_run_it_lies_in_and_one_in_the_root_any(names: set[str]) -> None:
    root = Path("/root")
    inside = {f"/root/{name}/logs/x.jsonl" for name in names} | {"/root/.barograph/index.sqlite-wal"}
    assert runs_of(inside, root=root) == names
    for outside in ("/root/d", "/root", "/root/logs/x.jsonl", "/elsewhere/a/logs/x", ANYWHERE):
        assert runs_of({*inside, outside}, root=root) is None


def log(root: Path, *records: Record, run: str = "r") -> Path:
    path = root / run / "logs" / "train-000001-20260101T000000.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(encode_line(record) for record in records))
    return path


def loss(step: int) -> Step:
    return Step(step=step, loss=1.0, time=1.0)


def wait_for(true: Callable[[], bool], *, within_s: float = 20.0) -> None:
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


@contextmanager
def following(root: Path, *, every_s: float = POLL_S, ready: int = 1) -> Iterator[tuple[Follower, list[ScanResult]]]:
    """A follower that has seen `ready` runs, and what it tells from then on."""
    told: list[ScanResult] = []
    with Follower(root, every_s=every_s, on_change=told.append) as follower:
        wait_for(lambda: sum(len(one.changed) for one in told) >= ready)
        time.sleep(0.3)  # for the watches
        told.clear()
        yield follower, told


def test_a_change_says_what_kinds_of_lines_came(tmp_path: Path) -> None:
    path = log(tmp_path, Banner(run="r", attempt=1, writer="train", time=1.0))
    with following(tmp_path) as (_, told):
        lines: list[tuple[list[Record], tuple[str, ...]]] = [
            ([loss(1)], ("points",)),
            ([Heartbeat(time=1.0, step=1)], ("heartbeat",)),
            ([loss(2), Checkpoint(time=1.0, step=2, path="c")], ("checkpoint", "points")),
        ]
        for records, what in lines:
            log(tmp_path, *records)
            wait_for(lambda: bool(told), within_s=POLL_S - 1.0)
            assert told.pop().changed == (Change(run="r", what=what),)
        with path.open("ab") as file:
            file.write(b"no line of ours\n")
        wait_for(lambda: bool(told), within_s=POLL_S - 1.0)
        assert told.pop().changed == (Change(run="r", what=("files",)),)


def test_only_the_run_of_the_event_is_scanned(tmp_path: Path) -> None:
    log(tmp_path, loss(1), run="a")
    quiet = log(tmp_path, loss(1), run="b")
    old = time.time() - 7_200.0
    os.utime(quiet, (old, old))  # not alive: not watched
    with following(tmp_path, ready=2) as (_, told):
        time.sleep(0.5)  # the watches stand late on a busy machine, and then everything is looked at once
        log(tmp_path, loss(2), run="b")
        log(tmp_path, loss(2), run="a")
        wait_for(lambda: bool(told), within_s=POLL_S - 1.0)
        assert told[0].runs == ("a",)
        wait_for(lambda: len(told) > 1)
        assert told[1].runs == ("b",)  # by the poll; from now on it is watched
        time.sleep(0.5)
        log(tmp_path, loss(3), run="b")
        wait_for(lambda: len(told) > 2, within_s=POLL_S - 1.0)
        assert told[2].runs == ("b",)


def test_runs_that_appear_move_and_go_are_noticed_by_events(tmp_path: Path) -> None:
    log(tmp_path, loss(1), run="a")
    with following(tmp_path) as (follower, told):
        (tmp_path / "a").rename(tmp_path / "b")
        wait_for(lambda: bool(told), within_s=POLL_S - 1.0)
        assert (told[0].runs, told[0].gone) == (("b",), ("a",))
        with follower.index.snapshot() as snapshot:
            assert query.run_names(snapshot) == ["b"]
            assert query.series_points(snapshot, "b", "loss").steps.tolist() == [1]
        told.clear()
        (tmp_path / "c").mkdir()
        time.sleep(0.3)  # its folder is watched before it has logs
        log(tmp_path, loss(1), run="c")
        wait_for(lambda: any(one.runs == ("c",) for one in told), within_s=POLL_S - 1.0)
        told.clear()
        shutil.rmtree(tmp_path / "b")
        wait_for(lambda: any(one.gone == ("b",) for one in told), within_s=POLL_S - 1.0)


def test_a_root_that_is_one_run_is_followed_by_events(tmp_path: Path) -> None:
    log(tmp_path, loss(1), run="r")
    with following(tmp_path / "r") as (_, told):
        log(tmp_path, loss(2), run="r")
        wait_for(lambda: bool(told), within_s=POLL_S - 1.0)
        assert told[0].changed == (Change(run="r", what=("points",)),)


def test_who_only_reads_is_told_by_an_event_of_the_index_that_something_came(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    with Follower(tmp_path, every_s=0.02) as first:
        wait_for(lambda: first.indexing)
        with following(tmp_path) as (second, told):
            assert not second.indexing
            log(tmp_path, loss(2))
            wait_for(lambda: bool(told), within_s=POLL_S - 1.0)
            assert told[0].changed == (Change(run="r", what=("any",)),)


def test_without_events_the_poll_finds_everything(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    told: list[ScanResult] = []
    with Follower(tmp_path, every_s=0.02, on_change=told.append, events=False):
        wait_for(lambda: bool(told))
        told.clear()
        log(tmp_path, loss(2))
        log(tmp_path, loss(1), run="b")
        wait_for(lambda: {run for one in told for run in one.runs} == {"r", "b"})


def test_where_the_system_refuses_events_it_is_said_once_and_polling_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr("watchfiles.watch", refuse)
    log(tmp_path, loss(1))
    told: list[ScanResult] = []
    with (
        caplog.at_level(logging.INFO, logger="barograph"),
        Follower(tmp_path, every_s=0.02, on_change=told.append),
    ):
        wait_for(lambda: bool(told))
        for step in range(2, 5):
            told.clear()
            log(tmp_path, loss(step))
            wait_for(lambda: bool(told))
    (message,) = caplog.messages
    assert "file events are not available (OSError: [Errno 28] OS file watch limit reached)" in message

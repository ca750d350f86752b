"""A log that is followed: nothing is read while nothing changes, and what is new arrives."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import follow, table
from barograph.imports.follow import FollowedLog
from barograph.records import Heartbeat, Record, Step
from barograph.records.codec import Unknown

ReadRun = Callable[[Path], dict[str, list[Record | Unknown]]]


def steps(records: list[Record | Unknown]) -> list[int]:
    return [one.step for one in records if isinstance(one, Step)]


def append(path: Path, *steps: int) -> None:
    with path.open("a") as file:
        file.writelines(f'{{"iter": {step}, "nll": 1.0, "loss": 5.0}}\n' for step in steps)


def test_what_is_appended_arrives_once(read_run: ReadRun, tmp_path: Path) -> None:
    source = tmp_path / "log.jsonl"
    append(source, 1, 2)
    with FollowedLog(source, tmp_path / "run", mapping={"loss": "nll"}) as log:
        first = log.look()
        assert first is not None
        assert first.rows == 2
        assert log.look() is None
        append(source, 3)
        second = log.look()
        assert second is not None
        assert second.rows == 1
    assert steps(read_run(tmp_path / "run")["train-1"]) == [1, 2, 3]


def test_the_columns_of_the_last_time_are_taken_again_unless_they_are_gone(tmp_path: Path) -> None:
    source = tmp_path / "log.jsonl"
    append(source, 1)
    with FollowedLog(source, tmp_path / "run", mapping={"loss": "nll"}) as log:
        log.look()
    with FollowedLog(source, tmp_path / "run") as log:
        assert log.read().mapping["loss"] == "nll"
        source.write_text('{"step": 1, "train_loss": 1.0}\n')
        assert log.read().mapping == {"step": "step", "loss": "train_loss"}


def test_a_log_without_a_point_is_waited_for(tmp_path: Path) -> None:
    source = tmp_path / "log.jsonl"
    source.write_text("")
    with FollowedLog(source, tmp_path / "run") as log:
        with pytest.raises(NothingYet):
            log.look()
        assert log.look() is None
        append(source, 1)
        added = log.look()
        assert added is not None
        assert added.rows == 1


def test_a_log_that_goes_away_is_said_once_and_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "log.jsonl"
    append(source, 1)
    with FollowedLog(source, tmp_path / "run") as log:
        log.look()
        kept = source.read_text()
        source.unlink()
        with pytest.raises(ImportFailed):
            log.look()
        assert log.look() is None
        source.write_text(kept)
        append(source, 2)
        added = log.look()
        assert added is not None
        assert (added.rows, added.rewritten) == (1, False)


def test_a_log_that_grows_beats_and_one_that_rests_does_not(
    read_run: ReadRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BEAT_S", 0.0)
    source = tmp_path / "log.jsonl"
    append(source, 1)
    for name, age, beats in (("fresh", 0.0, 3), ("old", 3600.0, 0)):
        os.utime(source, (time.time() - age,) * 2)
        with FollowedLog(source, tmp_path / name) as log:
            for _ in range(3):
                log.look()
        found = read_run(tmp_path / name)["train-1"]
        assert sum(isinstance(one, Heartbeat) for one in found) == beats


def test_a_last_row_without_its_end_is_taken_once_nobody_writes(
    read_run: ReadRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "log.csv"
    source.write_text("step,loss\n1,1.0\n2,2.0")
    with FollowedLog(source, tmp_path / "run") as log:
        first = log.look()
        assert first is not None
        assert first.rows == 1
        assert log.look() is None
        monkeypatch.setattr(table, "SETTLED_S", 0.0)
        second = log.look()
        assert second is not None
        assert second.rows == 1
        assert log.look() is None
    assert steps(read_run(tmp_path / "run")["train-1"]) == [1, 2]


def test_a_long_look_is_followed_by_a_long_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "log.jsonl"
    append(source, 1)
    with FollowedLog(source, tmp_path / "run") as log:
        monkeypatch.setattr(follow, "POLL_S", 0.0)
        log.look()
        assert log.pause > 0.0
        log.look()
        assert log.pause == 0.0

"""LLaMA-Factory's log: a line per log, elapsed times, and 100 % at the end."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import NothingYet
from barograph.imports import curve_parts, read_log
from barograph.imports.imported_log import Ending

CHANGED = 1_767_225_600


def write_log(folder: Path, steps: list[int], losses: list[float] | None = None, *, total: int = 100) -> Path:
    losses = [1.0] * len(steps) if losses is None else losses
    rows = [
        {
            "current_steps": step,
            "total_steps": total,
            "loss": loss,
            "lr": 5e-05,
            "epoch": 0.1,
            "percentage": 100 * step / total,
            "elapsed_time": f"0:00:{step % 60:02d}",
            "remaining_time": "0:09:48",
        }
        for step, loss in zip(steps, losses, strict=True)
    ]
    path = folder / "trainer_log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(path, (CHANGED, CHANGED))
    return path


@given(st.lists(st.floats(), min_size=1, max_size=30))
def test_what_was_logged_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, losses: list[float]) -> None:
    path = write_log(tmp_path_factory.mktemp("log"), list(range(len(losses))), losses)
    (part,) = curve_parts(read_log(path))
    assert repr(part.losses.tolist()) == repr(losses)


def test_names_are_those_of_the_trainer_and_times_go_back_from_the_last_change(tmp_path: Path) -> None:
    log = read_log(write_log(tmp_path, [10, 20]))
    assert (log.format, log.averaged, log.total_steps) == ("LLaMA-Factory trainer log", True, 100)
    assert log.rows[0].metrics == {"train/learning_rate": 5e-05, "train/epoch": 0.1}
    assert [row.time for row in log.rows] == [CHANGED - 10, CHANGED]
    assert log.endings == ()


def test_reaching_the_planned_steps_is_the_end(tmp_path: Path) -> None:
    assert read_log(write_log(tmp_path, [10, 20], total=20)).endings == (Ending(attempt=1, exit_code=0),)


def test_evaluations_have_no_loss_and_days_count(tmp_path: Path) -> None:
    path = write_log(tmp_path, [10])
    with path.open("a") as file:
        file.write('{"current_steps": 10, "total_steps": 100, "eval_loss": 2.5, "elapsed_time": "1 day, 0:00:10"}\n')
    os.utime(path, (CHANGED, CHANGED))
    first, second = read_log(path).rows
    assert (second.loss, second.metrics) == (None, {"eval/loss": 2.5})
    assert (first.time, second.time) == (CHANGED - 86_400, CHANGED)


def test_it_is_taken_before_the_older_state_beside_it_and_says_so(tmp_path: Path) -> None:
    write_log(tmp_path, [10, 20])
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"step": 10, "loss": 1.0}]}')
    (tmp_path / "checkpoint-10").mkdir()
    log = read_log(tmp_path)
    assert len(log.rows) == 2
    assert [one.step for one in log.checkpoints] == [10]
    assert any("trainer_state.json lies beside it" in note for note in log.notes)


def test_a_resumed_training_is_another_attempt(tmp_path: Path) -> None:
    log = read_log(write_log(tmp_path, [10, 20, 30, 20, 30]))
    assert [row.attempt for row in log.rows] == [1, 1, 1, 2, 2]


def test_bad_lines_are_located_and_a_torn_one_waits(tmp_path: Path) -> None:
    path = write_log(tmp_path, [1])
    with path.open("ab") as file:
        file.write(b'{"current_steps": true, "total_steps": 9}\n\xff\xfe\n{"current_steps": 2, "tot')
    log = read_log(path)
    assert (len(log.rows), log.bad, log.torn) == (1, 2, 1)
    assert [one.place.split(",")[0] for one in log.examples] == ["line 2", "line 3"]
    assert "The last line of trainer_log.jsonl is not finished; it is read once it is." in log.notes


def test_a_log_without_a_point_holds_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "trainer_log.jsonl").write_text('{"current_steps": "1", "total_steps": 9}\n')
    with pytest.raises(NothingYet, match="no line of it is a point"):
        read_log(tmp_path / "trainer_log.jsonl")

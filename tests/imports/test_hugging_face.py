"""`trainer_state.json`: losses, evaluations, the summary at the end, and the checkpoints beside it."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import curve_parts, read_log
from barograph.imports.imported_log import Ending

WriteState = Callable[..., Path]

LOSSES = st.lists(st.tuples(st.integers(0, 3), st.floats()), min_size=1, max_size=30)


@given(LOSSES)
def test_what_was_logged_is_what_is_read(
    write_state: WriteState, tmp_path_factory: pytest.TempPathFactory, losses: list[tuple[int, float]]
) -> None:
    steps = [sum(gap for gap, _ in losses[: place + 1]) for place in range(len(losses))]
    history = [{"step": step, "loss": loss, "epoch": 0.5} for step, (_, loss) in zip(steps, losses, strict=True)]
    log = read_log(write_state(tmp_path_factory.mktemp("state"), history))
    (part,) = curve_parts(log)
    assert part.steps.tolist() == steps
    assert repr(part.losses.tolist()) == repr([loss for _, loss in losses])
    assert (log.averaged, log.total_steps, log.bad) == (True, 100, 0)


def test_evaluations_have_no_loss_and_the_summary_is_no_point(write_state: WriteState, tmp_path: Path) -> None:
    history: list[object] = [
        {"step": 10, "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.5, "epoch": 0.1},
        {"step": 10, "eval_loss": 1.9, "eval_runtime": 3.0, "epoch": 0.1},
        {"step": 20, "loss": 1.0, "epoch": 0.2},
        {"step": 20, "train_loss": 1.5, "train_runtime": 60.0, "epoch": 0.2},
    ]
    path = write_state(tmp_path, history)
    log = read_log(path)
    assert [(row.step, row.loss) for row in log.rows] == [(10, 2.0), (10, None), (20, 1.0)]
    assert log.rows[0].metrics == {"train/learning_rate": 1e-4, "train/grad_norm": 1.5, "train/epoch": 0.1}
    assert log.rows[1].metrics == {"eval/loss": 1.9, "eval/runtime": 3.0, "train/epoch": 0.1}
    summary = {"train_loss": 1.5, "train_runtime": 60.0, "epoch": 0.2}
    assert log.endings == (Ending(attempt=1, exit_code=0, summary=summary),)
    assert log.began == pytest.approx(path.stat().st_mtime - 60.0)


def test_nothing_of_the_summary_says_that_training_ended_if_there_is_none(
    write_state: WriteState, tmp_path: Path
) -> None:
    assert read_log(write_state(tmp_path, [{"step": 1, "loss": 1.0}])).endings == ()


def test_what_follows_a_summary_is_another_attempt(write_state: WriteState, tmp_path: Path) -> None:
    history = [{"step": 9, "loss": 1.0}, {"step": 9, "train_runtime": 1.0}, {"step": 10, "loss": 1.0}]
    log = read_log(write_state(tmp_path, history))
    assert [row.attempt for row in log.rows] == [1, 2]
    assert [one.attempt for one in log.endings] == [1]


def test_a_folder_is_read_by_the_state_that_went_furthest_with_its_checkpoints(
    write_state: WriteState, tmp_path: Path
) -> None:
    rows = [{"step": step, "loss": 1.0} for step in range(1, 13)]
    for step in (2, 9, 10):
        write_state(tmp_path / f"checkpoint-{step}", rows[:step])
    (tmp_path / "checkpoint-10" / "adapter_config.json").write_text('{"base_model_name_or_path": "org/small-model"}')
    (tmp_path / "checkpoint-11").symlink_to(tmp_path / "checkpoint-2")
    log = read_log(tmp_path)
    assert len(log.rows) == 10, "checkpoint-10 comes after checkpoint-9"
    assert [(one.step, one.path.name) for one in log.checkpoints] == [
        (2, "checkpoint-2"),
        (9, "checkpoint-9"),
        (10, "checkpoint-10"),
    ]
    assert log.model_name == "small-model"
    write_state(tmp_path, rows)
    assert len(read_log(tmp_path).rows) == 12
    assert len(read_log(tmp_path / "checkpoint-2").rows) == 2


def test_a_state_that_is_being_written_does_not_hide_the_other_one(write_state: WriteState, tmp_path: Path) -> None:
    whole = write_state(tmp_path / "checkpoint-5", [{"step": 5, "loss": 1.0}])
    (tmp_path / "trainer_state.json").write_text(whole.read_text()[:-20])
    assert len(read_log(tmp_path).rows) == 1
    with pytest.raises(ImportFailed, match=r"no whole JSON document.*try again"):
        read_log(tmp_path / "trainer_state.json")


def test_it_is_recognised_by_what_is_in_it(write_state: WriteState, tmp_path: Path) -> None:
    path = write_state(tmp_path, [{"step": 1, "loss": 1.0}])
    minified = json.dumps(json.loads(path.read_text()))
    (tmp_path / "whatever.csv").write_text("\ufeff" + minified)
    assert read_log(tmp_path / "whatever.csv").format == "Hugging Face trainer state"


BAD_ROWS: list[tuple[str, str]] = [
    ('{"step": true, "loss": 1}', "the step is True"),
    ('{"step": "7", "loss": 1}', "the step is '7'"),
    ('{"step": 7.9, "loss": 1}', "the step is 7.9"),
    ('{"step": -1, "loss": 1}', "the step is -1"),
    (f'{{"step": {2**70}, "loss": 1}}', "the step is 1180591620717411303424"),
    ('{"step": ' + "9" * 5000 + ', "loss": 1}', "the step is '9999"),
    ('{"step": 1e999, "loss": 1}', "the step is '1e999'"),
    ('{"step": 1, "loss": 1e999}', "the loss is '1e999'"),
    ('{"step": 1, "loss": "low"}', "the loss is 'low'"),
    ('{"step": 1, "loss": 1, "loss": 2}', "the key 'loss' is in it twice"),
    ('{"loss": 1}', "the step is None"),
    ("[1]", "no object but list"),
    ("null", "no object but None"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_a_bad_row_is_located_and_the_others_are_read(tmp_path: Path, row: str, reason: str) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text('{"log_history": [{"step": 1, "loss": 2.0},\n' + row + ',\n{"step": 3, "loss": NaN}]}')
    log = read_log(path)
    assert [row.step for row in log.rows] == [1, 3]
    assert log.rows[1].loss is not None
    assert math.isnan(log.rows[1].loss)
    assert (log.bad, log.examples[0].place) == (1, "log_history[1]")
    assert reason in log.examples[0].reason


def test_an_empty_history_holds_nothing_yet(write_state: WriteState, tmp_path: Path) -> None:
    with pytest.raises(NothingYet, match="log_history is empty"):
        read_log(write_state(tmp_path, []))
    with pytest.raises(NothingYet, match="no row of it is a point"):
        read_log(write_state(tmp_path, [{"step": True}]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"log_history": {}}', "log_history is dict, no list"),
        ('{"log_history": [' + "[" * 200_000, "nested too deep"),
        ('{"log_history": [], "log_history": []}', "twice"),
        ('{"log_history": [{"step": 1', "no whole JSON document"),
    ],
)
def test_a_document_that_is_none_is_one_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trainer_state.json").write_text(text)
    with pytest.raises(ImportFailed, match=said):
        read_log(tmp_path / "trainer_state.json")


def test_rows_without_any_loss_are_said(write_state: WriteState, tmp_path: Path) -> None:
    log = read_log(write_state(tmp_path, [{"step": 1, "eval_loss": 2.0}]))
    assert "No row has a loss." in log.notes
    assert curve_parts(log) == []


def test_a_state_behind_a_link_in_a_folder_is_not_read(write_state: WriteState, tmp_path: Path) -> None:
    real = write_state(tmp_path / "elsewhere", [{"step": 1, "loss": 1.0}])
    (tmp_path / "out").mkdir()
    os.symlink(real, tmp_path / "out" / "trainer_state.json")
    with pytest.raises(ImportFailed, match="this is a link"):
        read_log(tmp_path / "out")

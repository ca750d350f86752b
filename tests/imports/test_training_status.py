"""A foreign `training_status.json`: one row, and whether training ended."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import read_log
from barograph.imports.imported_log import Ending


def write_status(folder: Path, **changes: object) -> Path:
    status = {
        "status": "training",
        "current_step": 70,
        "total_steps": 100,
        "loss": 1.5,
        "learning_rate": 1e-4,
        "timestamp": "2026-01-01T00:00:00Z",
        "model_name": "small",
        "recent_examples": [],
        "validation_loss": None,
    }
    path = folder / "training_status.json"
    path.write_text(json.dumps({**status, **changes}, indent=1))
    return path


@given(st.integers(0, 2**63 - 1), st.floats())
def test_what_it_says_is_one_row(tmp_path_factory: pytest.TempPathFactory, step: int, loss: float) -> None:
    (row,) = read_log(write_status(tmp_path_factory.mktemp("s"), current_step=step, loss=loss)).rows
    assert (row.step, repr(row.loss), row.time) == (step, repr(loss), 1_767_225_600.0)
    assert row.metrics == {"learning_rate": 1e-4}


def test_it_is_a_snapshot_with_the_model_and_the_plan(tmp_path: Path) -> None:
    log = read_log(write_status(tmp_path))
    assert (log.format, log.snapshot, log.model_name, log.total_steps) == ("training_status.json", True, "small", 100)


@pytest.mark.parametrize(
    ("status", "endings"),
    [
        ("training", ()),
        ("idle", ()),
        ("completed", (Ending(attempt=1, exit_code=0),)),
        ("crashed", (Ending(attempt=1, exit_code=1, reason="out of memory"),)),
    ],
)
def test_it_says_whether_training_ended(tmp_path: Path, status: str, endings: tuple[Ending, ...]) -> None:
    assert read_log(write_status(tmp_path, status=status, error_message="out of memory")).endings == endings


def test_it_is_found_in_the_status_folder_of_a_root(tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()
    write_status(tmp_path / "status")
    assert len(read_log(tmp_path).rows) == 1


def test_a_training_that_has_not_begun_holds_nothing_yet(tmp_path: Path) -> None:
    with pytest.raises(NothingYet, match="has not begun"):
        read_log(write_status(tmp_path, current_step=None))


@pytest.mark.parametrize("step", [True, "7", 7.5, -1, 2**70])
def test_a_step_that_is_none_is_one_error(tmp_path: Path, step: object) -> None:
    with pytest.raises(ImportFailed, match="the step is"):
        read_log(write_status(tmp_path, current_step=step))


def test_a_torn_document_is_one_error(tmp_path: Path) -> None:
    path = write_status(tmp_path)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ImportFailed, match="no whole JSON document"):
        read_log(path)

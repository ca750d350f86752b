"""Any table of training, as JSON lines or CSV."""

import json
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import curve_parts, read_log

ROWS = st.lists(st.tuples(st.integers(0, 10**6), st.floats(), st.floats(-1e9, 1e9)), min_size=1, max_size=30)


@given(ROWS, st.sampled_from(["jsonl", ",", ";", "\t"]))
def test_what_was_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float, float]], kind: str
) -> None:
    path = tmp_path_factory.mktemp("table") / "log"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"iter": a, "loss": b, "lr": c}) + "\n" for a, b, c in rows))
    else:
        lines = [kind.join(map(str, row)) for row in [("iter", "loss", "lr"), *rows]]
        path.write_text("\r\n".join(lines) + "\r\n")
    log = read_log(path)
    assert log.mapping == {"step": "iter", "loss": "loss"}
    assert [repr((row.step, row.loss, row.metrics["lr"])) for row in log.rows] == [repr(row) for row in rows]
    assert sum(len(part.steps) for part in curve_parts(log)) == len(rows)
    assert log.bad == 0


def write(folder: Path, text: str | bytes, *, name: str = "log.csv", old: bool = True) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if old:
        os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_a_formula_is_a_text_and_no_loss(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "step,loss,=cmd|'/C calc'!A0\n1,2.0,5\n2,=1+1,5\n3,@SUM(1),5\n4,-1.5,=2\n"))
    assert [(row.step, row.loss, row.metrics) for row in log.rows] == [
        (1, 2.0, {"=cmd|'/C calc'!A0": 5.0}),
        (4, -1.5, {}),
    ]
    assert [one.reason for one in log.examples] == ["the loss is '=1+1', no number", "the loss is '@SUM(1)', no number"]


def test_a_row_with_too_few_cells_is_located(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "step,loss\n1,2\n2\n3,4,5\n4,5\n"))
    assert [row.step for row in log.rows] == [1, 4]
    assert [one.reason for one in log.examples] == ["1 cells under a head of 2", "3 cells under a head of 2"]


@pytest.mark.parametrize("step", ["true", "7.9", "-1", str(2**70), "9" * 5000, "1e999", "nan", '"x"', "１"])
def test_a_cell_that_is_no_step_is_located(tmp_path: Path, step: str) -> None:
    log = read_log(write(tmp_path, f"step,loss\n1,2\n{step},2\n2,3\n"))
    assert ([row.step for row in log.rows], log.bad) == ([1, 2], 1)
    assert log.examples[0].place == "line 3, byte 14"


@pytest.mark.parametrize(
    "line", ['{"step": true, "loss": 1}', '{"step": "7", "loss": 1}', '{"step": 7.9}', '{"step": -1}']
)
def test_a_value_that_is_no_step_is_located(tmp_path: Path, line: str) -> None:
    log = read_log(write(tmp_path, '{"step": 1, "loss": 1}\n' + line + "\n"))
    assert (len(log.rows), log.examples[0].place) == (1, "line 2, byte 23")


def test_a_torn_first_line_is_located_and_the_rest_is_read(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, b'\xef\xbb\xbfp": 3, "loss": 1}\r\n{"step": 4, "loss": 1.5}\r\n'))
    assert [(row.step, row.loss) for row in log.rows] == [(4, 1.5)]
    assert log.bad == 1


def test_an_empty_cell_is_missing_and_not_zero(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "step,loss,val_loss\n1,2.0,\n1,,3.0\n2,nan,\n"))
    assert [(row.loss, row.metrics) for row in log.rows[:2]] == [(2.0, {}), (None, {"val_loss": 3.0})]
    assert log.rows[2].loss is not None
    assert math.isnan(log.rows[2].loss)


def test_a_last_row_without_its_end_waits_while_somebody_may_write_it(tmp_path: Path) -> None:
    text = "step,loss\n1,2.0\n2,1.2"
    fresh = read_log(write(tmp_path, text, old=False))
    assert [row.step for row in fresh.rows] == [1]
    assert "not finished" in fresh.notes[0]
    assert [(row.step, row.loss) for row in read_log(write(tmp_path, text)).rows] == [(1, 2.0), (2, 1.2)]


def test_two_columns_of_one_name_stay_two(tmp_path: Path) -> None:
    (row,) = read_log(write(tmp_path, "step,loss,x,x,\n1,2,3,4,5\n")).rows
    assert row.metrics == {"x": 3.0, "x#2": 4.0, "column 5": 5.0}


def test_a_column_called_loss_that_is_not_the_loss_does_not_become_it(tmp_path: Path) -> None:
    path = write(tmp_path, "step,loss,nll\n1,2,3\n")
    (row,) = read_log(path, mapping={"loss": "nll"}).rows
    assert (row.loss, row.metrics) == (3.0, {"column/loss": 2.0})


def test_processes_are_told_apart_by_a_column(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "rank": rank, "loss": step + rank / 2}) for step in (1, 2) for rank in (1, 0)]
    log = read_log(write(tmp_path, "\n".join(lines) + "\n"))
    (part,) = curve_parts(log)
    assert part.losses.tolist() == [1.0, 2.0]
    assert [row.writer for row in log.rows] == ["rank1", "train", "rank1", "train"]
    assert "2 processes wrote into it" in log.notes[0]


def test_trainings_are_told_apart_by_a_column(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "run_id": run, "loss": 1.0}) for step in range(50) for run in ("a", "b")]
    log = read_log(write(tmp_path, "\n".join(lines) + "\n"))
    assert [len(part.steps) for part in curve_parts(log)] == [50, 50]
    assert "It holds 2 trainings, told by 'run_id'" in log.notes[0]


def test_two_writers_that_nothing_tells_apart_are_noted(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step + shift, "loss": 1.0}) for step in range(200) for shift in (1000, 0)]
    assert "two processes may have written into it" in read_log(write(tmp_path, "\n".join(lines))).notes[0]


def test_times_and_inner_objects_are_read(tmp_path: Path) -> None:
    line = '{"step": 1, "train": {"loss": 2.0, "lr": 0.1}, "timestamp": 1767225600000}\n'
    log = read_log(write(tmp_path, line))
    (row,) = log.rows
    assert (row.loss, row.time, row.metrics) == (2.0, 1_767_225_600.0, {"train/lr": 0.1})
    assert log.mapping == {"step": "step", "loss": "train/loss", "time": "timestamp"}


def test_a_log_without_a_loss_says_how_to_name_one(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "step,accuracy\n1,0.5\n"))
    assert "--map loss=COLUMN" in log.notes[0]
    assert curve_parts(log) == []


def test_rows_of_which_none_can_be_read_hold_nothing_and_say_why(tmp_path: Path) -> None:
    with pytest.raises(NothingYet, match=r"none of its 1 rows can be read.*line 2, byte 10: the loss is '=1'"):
        read_log(write(tmp_path, "step,loss\n1,=1\n"), mapping={"step": "step", "loss": "loss"})
    with pytest.raises(NothingYet, match="no row is in it"):
        read_log(write(tmp_path, "step,loss\n"))


def test_a_folder_of_several_tables_asks_for_one(tmp_path: Path) -> None:
    write(tmp_path, "step,loss\n1,2\n", name="a.csv")
    assert len(read_log(tmp_path).rows) == 1
    write(tmp_path, "step,loss\n1,2\n", name="b.csv")
    with pytest.raises(ImportFailed, match=r"several tables.*a\.csv, b\.csv"):
        read_log(tmp_path)

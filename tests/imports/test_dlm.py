"""The logs of dlm: a file per attempt, by number, in the format that seed 004's code reads."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import curve_parts, read_log
from barograph.imports.imported_log import Ending


def write_log(store: Path, number: int, lines: list[object], *, begun: str = "20260101T000000") -> Path:
    logs = store / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"train-{number:06d}-{begun}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def steps(*losses: float, first: int = 1) -> list[object]:
    banner: dict[str, object] = {"type": "banner", "base_model": "org/base"}
    return [banner, *({"type": "step", "step": first + n, "loss": loss, "lr": 0.1} for n, loss in enumerate(losses))]


@given(st.lists(st.floats(), min_size=1, max_size=30))
def test_what_was_logged_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, losses: list[float]) -> None:
    path = write_log(tmp_path_factory.mktemp("store"), 1, steps(*losses))
    for source in (path, path.parent, path.parent.parent):
        (part,) = curve_parts(read_log(source))
        assert part.steps.tolist() == list(range(1, len(losses) + 1))
        assert repr(part.losses.tolist()) == repr(losses)


def test_every_file_is_an_attempt_in_the_order_of_its_number(tmp_path: Path) -> None:
    write_log(tmp_path, 1_000_000, steps(3.0, first=4))
    write_log(tmp_path, 999_999, steps(2.0, first=3))
    write_log(tmp_path, 1, [*steps(1.0, 1.5), {"type": "run_complete", "exit_code": 0, "final_loss": 1.5}])
    (tmp_path / "logs" / "train-000001.summary.json").write_text("{}")
    log = read_log(tmp_path)
    assert (log.format, log.averaged, log.model_name) == ("dlm training logs", False, "base")
    assert [(row.attempt, row.step, row.loss) for row in log.rows] == [
        (1, 1, 1.0),
        (1, 2, 1.5),
        (2, 3, 2.0),
        (3, 4, 3.0),
    ]
    assert log.rows[0].metrics == {"lr": 0.1}
    assert log.endings == (Ending(attempt=1, exit_code=0, summary={"final_loss": 1.5}),)


def test_a_banner_inside_a_file_and_steps_that_go_back_begin_an_attempt(tmp_path: Path) -> None:
    path = write_log(
        tmp_path, 1, [*steps(1.0, 1.0, 1.0), *steps(2.0, first=4), {"type": "step", "step": 1, "loss": 3.0}]
    )
    assert [row.attempt for row in read_log(path).rows] == [1, 1, 1, 2, 3]


def test_times_are_those_of_the_lines(tmp_path: Path) -> None:
    line = {"type": "step", "step": 1, "loss": 1.0, "timestamp": "2026-01-01T00:00:00+00:00", "m": {"acc": 0.5}}
    (row,) = read_log(write_log(tmp_path, 1, [line])).rows
    assert (row.time, row.metrics) == (1_767_225_600.0, {"m/acc": 0.5})


def test_how_it_ended_is_not_known_if_it_does_not_say(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, [*steps(1.0), {"type": "run_complete", "exit_code": True}])
    assert read_log(path).endings == (Ending(attempt=1, exit_code=None),)


def test_broken_lines_anywhere_are_located_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, [])
    good = b'{"type": "step", "step": %d, "loss": 1.0}\r\n'
    bad = [
        b'tep": 1, "loss": 2}\n',
        b'{"type": "step", "step": true, "loss": 1}\n',
        b'{"type": "step", "step": Infinity, "loss": 1}\n',
        b'{"type": "step", "step": 1' + b"0" * 5000 + b', "loss": 1}\n',
        b'{"type": "step", "step": 1, "loss": 2' + b"0" * 5000 + b"}\n",
        b'{"type": "step", "step": 3, "loss": "\xff"}\n',
        b"[" * 200_000 + b"\n",
        b'{"type": "step", "step": 1, "step": 2, "loss": 1}\n',
        b'{"x": "' + b"a" * 1_000_001 + b'"}\n',
    ]
    path.write_bytes(b"".join(line + good % number for number, line in enumerate(bad)) + b"\0" * 100)
    log = read_log(path)
    assert [row.step for row in log.rows] == list(range(len(bad)))
    assert log.bad == len(bad) + 1
    assert "too long" in log.examples[8].reason
    assert "NUL bytes" in log.examples[9].reason
    assert log.examples[1].place == f"line 3, byte {len(bad[0]) + len(good % 0)}"


def test_a_nan_stays_a_nan_however_it_is_spelled(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, [])
    path.write_text(
        '{"type":"step","step":1,"loss":NaN}\n{"type":"step","step":2,"loss":"NaN"}\n'
        '{"type":"step","step":3,"loss":-Infinity}\n{"type":"step","step":4}\n'
    )
    first, second, third, fourth = (row.loss for row in read_log(path).rows)
    assert first is not None
    assert second is not None
    assert math.isnan(first)
    assert math.isnan(second)
    assert (third, fourth) == (-math.inf, None)


def test_an_empty_file_of_a_store_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    write_log(tmp_path, 1, steps(1.0))
    write_log(tmp_path, 2, [])
    log = read_log(tmp_path)
    assert len(log.rows) == 1
    assert log.notes == ("train-000002-20260101T000000.jsonl is left out: the file is empty.",)


def test_a_log_of_our_own_needs_no_import(tmp_path: Path) -> None:
    path = write_log(tmp_path, 1, [{"type": "banner", "run": "x", "_c": "00000000"}])
    with pytest.raises(ImportFailed, match="a log of barograph itself"):
        read_log(path)


def test_a_log_without_steps_holds_nothing_yet(tmp_path: Path) -> None:
    with pytest.raises(NothingYet, match="no step line"):
        read_log(write_log(tmp_path, 1, steps()))

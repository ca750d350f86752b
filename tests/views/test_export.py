"""An export is every point that was logged, bit by bit."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from barograph.errors import ExportBroken, IndexRebuilding, UnknownRun, UnknownSeries
from barograph.index import Index, Indexer
from barograph.index.pyramid import CHUNK
from barograph.records import Step
from barograph.records.codec import encode_line
from barograph.views import export
from barograph.views.export import Selection

SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def write(root: Path, steps: list[int], values: list[float], *, name: str = "x", attempt: int = 1) -> None:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    lines = [
        encode_line(Step(step=step, loss=value, time=1_767_225_600.0 + step, metrics={name: -value}))
        for step, value in zip(steps, values, strict=True)
    ]
    with (logs / f"train-{attempt:06d}-20260101T000000.jsonl").open("ab") as file:
        file.write(b"".join(lines))


def scanned(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def lines_of(index: Index, **chosen: object) -> list[dict[str, object]]:
    text = b"".join(export(index, "r", Selection(**chosen), form="jsonl"))  # type: ignore[arg-type]  # named fields
    return [json.loads(line) for line in text.splitlines()]


def same_bits(lines: list[dict[str, object]], values: list[float]) -> None:
    said = [SPELLED.get(str(line["value"]), line["value"]) for line in lines]
    np.testing.assert_array_equal(np.array(said, dtype=np.float64), np.array(values))


@pytest.mark.parametrize("size", [1, 100, CHUNK, 3 * CHUNK + 17])
def test_every_point_comes_out_as_it_was_logged(tmp_path: Path, size: int) -> None:
    random = np.random.default_rng(size)
    values = random.normal(size=size)
    values[random.random(size) < 0.01] = math.nan
    values[-1] = math.inf
    write(tmp_path, list(range(size)), values.tolist())
    found = lines_of(scanned(tmp_path), names=("loss",))
    assert [line["step"] for line in found] == list(range(size))
    same_bits(found, values.tolist())
    assert {(line["run"], line["series"], line["attempt"], line["writer"], line["shown"]) for line in found} == {
        ("r", "loss", 1, "train", True)
    }
    assert found[0]["time"] == "2026-01-01T00:00:00.000000+00:00"


def test_csv_says_what_the_lines_say(tmp_path: Path) -> None:
    write(tmp_path, list(range(300)), [math.nan if step == 7 else 1 / (step + 1) for step in range(300)])
    index = scanned(tmp_path)
    text = b"".join(export(index, "r", Selection(), form="csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    lines = lines_of(index)
    assert len(rows) == len(lines) == 600
    for row, line in zip(rows, lines, strict=True):
        assert {**row, "shown": row["shown"] == "true"} == {
            **{key: str(value) for key, value in line.items()},
            "shown": True,
        }


def test_a_rewound_tail_is_exported_and_marked_unless_it_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, list(range(100)), [1.0] * 100)
    write(tmp_path, list(range(60, 80)), [2.0] * 20, attempt=2)
    index = scanned(tmp_path)
    found = lines_of(index, names=("loss",))
    assert [(line["attempt"], line["step"], line["shown"]) for line in found] == [
        *((1, step, step < 60) for step in range(100)),
        *((2, step, True) for step in range(60, 80)),
    ]
    shown = lines_of(index, names=("loss",), hidden=False)
    assert [line["step"] for line in shown] == list(range(80))


def test_a_window_of_steps_is_exported(tmp_path: Path) -> None:
    write(tmp_path, list(range(2 * CHUNK)), [1.0] * 2 * CHUNK)
    found = lines_of(scanned(tmp_path), names=("loss",), first=CHUNK - 3, last=CHUNK + 3)
    assert [line["step"] for line in found] == list(range(CHUNK - 3, CHUNK + 4))


@pytest.mark.parametrize(
    "name", ["=SUM(A1)", "+1", "-1", "@x", "\tx", 'a,"b"\r\nc', "<script>", "größe/ß", "x" * 10_000]
)
def test_a_hostile_name_is_one_cell_and_no_formula(tmp_path: Path, name: str) -> None:
    write(tmp_path, [1], [1.0], name=name)
    index = scanned(tmp_path)
    text = b"".join(export(index, "r", Selection(names=(name,)), form="csv")).decode()
    ((_, cells), *rest) = [(0, row) for row in csv.reader(io.StringIO(text, newline=""))][1:]
    assert rest == []
    assert cells[1].removeprefix("'") == name
    assert not cells[1].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert lines_of(index, names=(name,))[0]["series"] == name


def test_what_is_added_while_it_is_read_breaks_nothing(tmp_path: Path) -> None:
    there, more = 6 * CHUNK + 5, 6 * CHUNK
    write(tmp_path, list(range(there)), [1.0] * there)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        pieces = export(Index(tmp_path), "r", Selection(names=("loss",)), form="jsonl")
        read = [next(pieces)]
        write(tmp_path, list(range(there, there + more)), [1.0] * more)
        indexer.scan()
        read += pieces
    steps = [json.loads(line)["step"] for line in b"".join(read).splitlines()]
    assert steps == list(range(there + more))


def test_a_run_that_is_deleted_while_it_is_read_ends_the_export_with_an_error(tmp_path: Path) -> None:
    write(tmp_path, list(range(3 * CHUNK)), [1.0] * 3 * CHUNK)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        pieces = export(Index(tmp_path), "r", Selection(), form="jsonl")
        next(pieces)
        (tmp_path / "r" / "logs" / "train-000001-20260101T000000.jsonl").unlink()
        (tmp_path / "r" / "logs").rmdir()
        indexer.scan()
        with pytest.raises(UnknownRun):
            list(pieces)


def test_an_unknown_name_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    write(tmp_path, [1], [1.0])
    index = scanned(tmp_path)
    with pytest.raises(UnknownSeries, match="'nothing'"):
        export(index, "r", Selection(names=("loss", "nothing")), form="csv")
    with pytest.raises(UnknownRun, match="'q'"):
        export(index, "q", Selection(), form="csv")


def test_a_log_that_is_written_anew_meanwhile_breaks_the_export(tmp_path: Path) -> None:
    write(tmp_path, list(range(3 * CHUNK)), [1.0] * 3 * CHUNK)
    path = tmp_path / "r" / "logs" / "train-000001-20260101T000000.jsonl"
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        pieces = export(Index(tmp_path), "r", Selection(), form="jsonl")
        next(pieces)
        copy = path.with_suffix(".copy")
        copy.write_bytes(path.read_bytes())
        copy.rename(path)
        indexer.scan()
        with pytest.raises(ExportBroken, match="written anew"):
            list(pieces)


def test_half_an_index_is_not_exported(tmp_path: Path) -> None:
    write(tmp_path, [1], [1.0])
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        indexer._connection.execute("UPDATE about SET complete = 0")
        with pytest.raises(IndexRebuilding):
            export(Index(tmp_path), "r", Selection(), form="csv")


def test_a_step_that_was_logged_more_than_once_has_no_time_that_could_be_told(tmp_path: Path) -> None:
    write(tmp_path, [0, 1, 2, 1], [1.0, 2.0, 3.0, 4.0])
    found = lines_of(scanned(tmp_path), names=("loss",))
    assert [(line["step"], line["time"] is None) for line in found] == [(0, False), (1, True), (2, False), (1, True)]


@pytest.mark.parametrize("name", ["\n=1+1", " =1", "a\0b"])
def test_a_formula_behind_white_space_is_none_either(tmp_path: Path, name: str) -> None:
    write(tmp_path, [1], [1.0], name=name)
    text = b"".join(export(scanned(tmp_path), "r", Selection(names=(name,)), form="csv")).decode()
    (_, cells) = list(csv.reader(io.StringIO(text, newline="")))
    assert not cells[1].lstrip().startswith("=")
    assert "\0" not in text

"""Every format together: which is tried, that hostile files are one error or located lines, and a real server."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient

from barograph.api.app import create_app
from barograph.errors import ImportFailed, UsageError
from barograph.imports import FORMATS, read_log
from barograph.imports.into_journal import ImportedRun

WriteState = Callable[..., Path]


def test_formats_of_one_tool_are_tried_before_the_table_that_any_log_can_be() -> None:
    assert [one.name for one in FORMATS] == [
        "LLaMA-Factory trainer log",
        "Hugging Face trainer state",
        "dlm training logs",
        "training_status.json",
        "table",
    ]
    assert [one.name for one in FORMATS if one.mapped] == ["table"]


def said_of(path: Path) -> bool:
    """Whether a file has rows, or is refused by its name; any other exception passes through."""
    try:
        return bool(read_log(path).rows)
    except ImportFailed as error:
        return str(path) in str(error)


@given(st.binary(max_size=400))
def test_no_bytes_end_in_anything_but_our_errors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "log"
    path.write_bytes(content)
    assert said_of(path)


PIECES = st.sampled_from(
    (
        *('{"', '"step"', '"loss"', "log_history", "current_steps", "total_steps", ":", ",", "1", "NaN", "1e999"),
        *("true", "[", "]", "{", "}", "\n", '"', "type", "banner", "step,loss\n", ";", "\0", "\ufeff", "9" * 5000),
        "\\ud800",
    )
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_nor_does_anything_that_looks_like_a_log(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "log"
    path.write_text(text)
    assert said_of(path)


@pytest.mark.parametrize("name", ["fifo", "link", "x.jsonl", "lfs", "empty", "absent", "socket", "binary", "gigabyte"])
def test_what_is_no_log_is_one_error_that_names_it(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "lfs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "link").symlink_to("lfs")
    (tmp_path / "x.jsonl").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    with (tmp_path / "gigabyte").open("wb") as file:
        file.write(b'{"step": 1, "x": "')
        file.truncate(1 << 30)
    began = time.monotonic()
    with pytest.raises(ImportFailed, match=name):
        read_log(tmp_path / name)
    assert time.monotonic() - began < 60.0


def test_a_folder_behind_a_link_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(ImportFailed, match=r"this is a link.*real"):
        read_log(tmp_path / "link")


def test_a_mapping_is_for_tables_alone(write_state: WriteState, tmp_path: Path) -> None:
    path = write_state(tmp_path, [{"step": 1, "loss": 1.0}])
    with pytest.raises(ImportFailed, match="Known are: table"):
        read_log(path, mapping={"loss": "eval_loss"})
    (tmp_path / "t.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(UsageError, match="--map x="):
        read_log(tmp_path / "t.csv", mapping={"x": "step"})


def test_bytes_are_told_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"step": {step}, "loss": 1.0}}\n' for step in range(1000)))
    told: list[int] = []
    read_log(path, progress=told.append)
    assert sum(told) == path.stat().st_size


def test_an_imported_state_is_shown_by_the_server(write_state: WriteState, tmp_path: Path) -> None:
    history: list[object] = [{"step": step, "loss": 100.0 / step, "learning_rate": 1e-4} for step in range(10, 510, 10)]
    history[10] = {"step": 110, "loss": float("nan")}
    history.append({"step": 500, "eval_loss": 0.25})
    history.append({"step": 500, "train_loss": 1.0, "train_runtime": 50.0})
    write_state(tmp_path / "out", history)
    with ImportedRun(tmp_path / "runs" / "imported") as run:
        run.update(read_log(tmp_path / "out"))
    with TestClient(create_app(tmp_path / "runs"), base_url="http://127.0.0.1:8080") as client:
        deadline = time.monotonic() + 20.0
        while not (found := client.get("/api/runs").json())["runs"] or found["index"] != "ready":
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        (shown,) = found["runs"]
        assert (shown["run"], shown["state"]) == ("imported", "completed")
        answer = client.get("/api/series", params={"run": "imported", "name": ["loss", "eval/loss"]})
        assert answer.status_code == 200, answer.text
        loss, evaluated = answer.json()["series"]
        assert [point["step"] for point in loss["non_finite"]] == [110]
        assert evaluated["last"][-1] == 0.25
        assert "mean" in json.dumps(client.get("/api/runs/imported").json()["config"])

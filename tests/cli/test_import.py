"""`barograph import` from the outside: what it says, what it writes, how it exits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "barograph", "import", *arguments, "--base-dir", str(folder / "runs")]


def run_import(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        command(folder, *arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("runs/*/logs/*.jsonl"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table with one row that cannot be read and one NaN."""
    path = tmp_path / "sft.csv"
    path.write_text("iter,train_nll,lr\n1,3.0,0.1\n2,nan,0.1\n3,=1+1,0.1\n4,2.0,0.1\n")
    return path


def test_it_says_what_it_found_and_writes_a_run(tmp_path: Path, table: Path) -> None:
    done = run_import(tmp_path, table.name)
    assert done.returncode == 0, done.stderr
    assert "sft.csv: table (CSV)" in done.stdout
    assert "columns: step is 'iter', loss is 'train_nll'" in done.stdout
    assert "3 losses (NaN: 1), 1 attempt; steps 1 to 4" in done.stdout
    assert "added 3 rows to run sft" in done.stdout
    assert "1 line refused:\n    sft.csv, line 4, byte 38: the loss is '=1+1', no number" in done.stderr
    assert [path.parent.parent.name for path in logs(tmp_path)] == ["sft"]


def test_again_adds_nothing_and_says_so(tmp_path: Path, table: Path) -> None:
    run_import(tmp_path, table.name)
    before = [path.read_bytes() for path in logs(tmp_path)]
    done = run_import(tmp_path, table.name)
    assert done.returncode == 0
    assert "nothing new in run sft" in done.stdout
    assert [path.read_bytes() for path in logs(tmp_path)] == before


def test_a_dry_run_writes_nothing(tmp_path: Path, table: Path) -> None:
    done = run_import(tmp_path, table.name, "--dry-run")
    assert done.returncode == 0
    assert "nothing was written; the run would be sft" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_columns_and_the_run_can_be_named(tmp_path: Path, table: Path) -> None:
    done = run_import(tmp_path, table.name, "--map", "loss=lr", "--run-id", "mine")
    assert done.returncode == 0
    assert "loss is 'lr'" in done.stdout
    rows = [json.loads(line) for line in logs(tmp_path)[0].read_text().splitlines()]
    assert [row["loss"] for row in rows if row["type"] == "step"] == [0.1] * 4
    assert logs(tmp_path)[0].parent.parent.name == "mine"


def test_one_source_that_fails_does_not_keep_the_others_out(tmp_path: Path, table: Path) -> None:
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\n")
    done = run_import(tmp_path, "pointer", table.name, "absent")
    assert done.returncode == 1
    assert done.stderr.count("barograph: ") == 2
    assert "git lfs pull" in done.stderr
    assert "added 3 rows" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sft.csv", "--map", "step"], "Say KEY=COLUMN"),
        (["sft.csv", "--map", "colour=lr"], "Say KEY=COLUMN"),
        (["sft.csv", "--run-id", "../x"], "cannot be the name of a run"),
        (["sft.csv", "other.csv", "--run-id", "x"], "names one run"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, table: Path, arguments: list[str], said: str) -> None:
    assert table.exists()
    done = run_import(tmp_path, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_what_a_terminal_would_obey_is_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        '{"step": 1, "loss\x1b[2J": 1.0, "loss": 1}\n{"step": "\\u001b[31m\\ud800"}\n' * 2
    )
    (tmp_path / "y.jsonl").write_text('{"step": 1, "a\\u001b[2Jloss\\ud800": 1.0}\n')
    done = run_import(tmp_path, "x.jsonl", "y.jsonl")
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_growing_log_is_followed_until_ctrl_c(tmp_path: Path) -> None:
    source = tmp_path / "live.jsonl"
    source.write_text("")
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command(tmp_path, source.name, "--follow"),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert "the file is empty" in process.stdout.readline()
            assert "Following 1 log" in process.stdout.readline()
            with source.open("a") as file:
                file.write('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
            lines = ["", ""]
            while "added" not in lines[-1]:
                lines.append(process.stdout.readline())
            assert "added 1 row to run live" in lines[-1]
            with source.open("a") as file:
                file.write('ss": 2.0}\n')
            assert "added 1 row to run live" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert "Stopped" in process.stdout.read()
            assert process.wait(20) == 0
        finally:
            process.kill()
    steps = [json.loads(line)["step"] for line in logs(tmp_path)[0].read_text().splitlines() if '"type":"step"' in line]
    assert steps == [1, 2]


def test_a_killed_import_goes_on_without_a_row_twice_or_missing(tmp_path: Path) -> None:
    source = tmp_path / "long.jsonl"
    count = 60_000
    source.write_text("".join(f'{{"step": {step}, "loss": {step / 7}}}\n' for step in range(count)))
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        command(tmp_path, source.name), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 1_000_000 for path in logs(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    done = run_import(tmp_path, source.name)
    assert done.returncode == 0, done.stderr
    steps = [
        json.loads(line)["step"]
        for path in logs(tmp_path)
        for line in path.read_text().split("\n")[:-1]  # the kill may have torn the last one
        if '"type":"step"' in line
    ]
    assert steps == list(range(count))

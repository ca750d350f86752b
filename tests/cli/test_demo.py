"""The demo as people run it: in scripts, until Ctrl-C, and where it cannot work."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("BAROGRAPH_", "DISPLAY"))}


def demo(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "barograph", "demo", *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    found = re.search(r"http://[\d.:]+", process.stdout.readline())
    assert found is not None
    return found[0]


def test_ctrl_c_stops_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    with demo("--seconds", 60, "--port", 0, "--base-dir", tmp_path) as process:
        url = address(process)
        assert get(f"{url}/healthz")["status"] == "ok"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_a_trainer_that_fails_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    with demo("--headless", "--seconds", 60, "--port", 0, "--base-dir", tmp_path) as process:
        address(process)
        trainer = next(
            child for child in psutil.Process(process.pid).children() if "barograph.train" in " ".join(child.cmdline())
        )
        trainer.kill()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the train process ended with status -9" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo("--port", port, "--base-dir", tmp_path / "runs") as process:
            _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert f"port {port} on 127.0.0.1 is in use" in said
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with demo("--port", 0, "--base-dir", file / "runs") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert "--base-dir cannot be used: Not a directory" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_headless_demo_trains_evaluates_judges_and_exits_with_0(tmp_path: Path) -> None:
    with demo("--headless", "--seconds", 45, "--port", 0, "--base-dir", tmp_path) as process:
        url = address(process)
        live: dict[str, Any] = {}
        while process.poll() is None and live.get("loss") is None:
            time.sleep(0.2)
            with suppress(OSError):
                live = get(f"{url}/api/status/live")
        assert live["status"] == "training"
        said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "PASS  loss_finite" in said
    assert "Held-out exact match" in said
    (run,) = (path for path in tmp_path.iterdir() if (path / "logs").is_dir())
    assert (run / "checkpoints" / "checkpoint-0" / "model.safetensors").is_file()
    writers = {path.name.split("-")[0] for path in (run / "logs").glob("*.jsonl")}
    assert writers == {"train", "evaluate", "judge"}


def test_a_base_dir_that_is_a_run_is_refused_because_the_page_would_show_that_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with demo("--port", 0, "--base-dir", tmp_path) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--base-dir is a run itself" in said

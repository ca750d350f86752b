"""One loss value the whole way: a real Trainer, killed in the middle, resumed, and read back through HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from barograph.journal import TailReader, layout
from barograph.records import Step

SCRIPT = Path(__file__).with_name("trains_and_dies.py")
STEPS, SAVE_EVERY, KILL_AT = 30, 10, 17
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("BAROGRAPH_")}


def begin(*arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def end_well(process: "subprocess.Popen[bytes]") -> None:
    with process:
        _, said = process.communicate(timeout=90)
        assert process.returncode == 0, said.decode()


def newest_step(runs: Path) -> int:
    newest = -1
    for file in layout.journal_files(runs / "whole-path"):
        with TailReader(runs, file.path) as reader:
            steps = [entry.record.step for entry in reader.read().entries if isinstance(entry.record, Step)]
        newest = max([newest, *steps])
    return newest


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one run whose first attempt was killed after step 17 and whose second resumed at step 10."""
    folder = tmp_path_factory.mktemp("whole-path")
    runs, output = folder / "runs", folder / "output"
    with begin(output, runs) as first:
        deadline = time.monotonic() + 90
        while newest_step(runs) < KILL_AT and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    end_well(begin(output, runs, "--resume"))
    return runs


@pytest.fixture(scope="module")
def url(killed_and_resumed: Path) -> Iterator[str]:
    """A real server over that root."""
    command = [sys.executable, "-m", "barograph", "serve", "--port", "0", "--base-dir", str(killed_and_resumed)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://[\d.:]+", server.stdout.readline())
        assert found is not None
        wait_until_indexed(found[0])
        yield found[0]
        server.send_signal(signal.SIGINT)
        assert server.wait(5) == 0


def wait_until_indexed(address: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(OSError):
            if get(f"{address}/healthz")["index"] == "ready" and get(f"{address}/api/runs")["runs"]:
                return
        time.sleep(0.05)


def test_no_step_is_missing_or_doubled_after_a_kill_and_a_resume(url: str) -> None:
    (series,) = get(f"{url}/api/series?run=whole-path&name=loss&buckets=1000")["series"]
    assert series["step"] == list(range(1, STEPS + 1))
    assert series["count"] == [1] * STEPS


def test_the_newest_attempt_is_shown_from_its_first_step_on(url: str, killed_and_resumed: Path) -> None:
    detail = get(f"{url}/api/runs/whole-path")
    first, second = detail["attempts"]
    assert (first["attempt"], first["shown_until"]) == (1, SAVE_EVERY + 1)
    assert first["last_step"] >= KILL_AT
    assert (second["attempt"], second["first_step"], second["last_step"]) == (2, SAVE_EVERY + 1, STEPS)
    assert Path(second["resumed_from"]).name == f"checkpoint-{SAVE_EVERY}"
    (series,) = get(f"{url}/api/series?run=whole-path&name=loss")["series"]
    assert series["hidden_points"] == first["last_step"] - SAVE_EVERY


def test_the_losses_are_those_of_a_run_that_nobody_watched_or_killed(url: str, tmp_path: Path) -> None:
    losses = tmp_path / "losses.json"
    end_well(begin(tmp_path / "output", tmp_path / "runs", "--unwatched", losses))
    (series,) = get(f"{url}/api/series?run=whole-path&name=loss")["series"]
    assert series["last"] == json.loads(losses.read_text())


def test_the_run_is_complete_with_its_model_and_checkpoints(url: str) -> None:
    live = get(f"{url}/api/status/live?run=whole-path")
    assert live["status"] == "completed"
    assert (live["attempt"], live["current_step"], live["total_steps"]) == (2, STEPS, STEPS)
    assert live["checkpoint_id"] == f"checkpoint-{STEPS}"
    assert live["loss"] is not None
    detail = get(f"{url}/api/runs/whole-path")
    assert {row["step"] for row in detail["checkpoints"]} == {SAVE_EVERY, 2 * SAVE_EVERY, STEPS}
    assert {row["name"] for row in detail["collectors"] if row["running"]} == {
        *("raw_loss", "metrics", "checkpoints", "optimizer_moments", "layers", "gradient_norm", "step_times"),
        *("token_statistics", "batches"),
    }
    assert detail["journal"]["bad_lines"] == 0


def test_a_deleted_index_is_rebuilt_to_the_same_answers(url: str, killed_and_resumed: Path) -> None:
    addresses = [f"{url}/api/series?run=whole-path&name={name}" for name in ("loss", "train/grad_norm")]

    def answers() -> list[Any]:
        # A cursor names one reading of the log: the new index has read it anew.
        return [[{**one, "cursor": ""} for one in get(address)["series"]] for address in addresses]

    before = answers()
    for path in (killed_and_resumed / ".barograph").glob("index.sqlite*"):
        path.unlink()
    deadline = time.monotonic() + 20
    after: list[Any] = []
    while after != before and time.monotonic() < deadline:
        time.sleep(0.1)
        with suppress(OSError):
            after = answers()
    assert after == before

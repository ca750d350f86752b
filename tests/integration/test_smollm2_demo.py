"""The real model, whole: fetched, adapted, evaluated from its adapters, and read back from the journal by the views."""

import json
import math
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from barograph.evaluate.probe_set import SHORT
from barograph.journal import TailReader, layout
from barograph.records import Answer, Banner, CollectorFailed, ExactMatch, Record, RunComplete, Step, codec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("BAROGRAPH_", "DISPLAY"))}
MODEL = "SmolLM2-135M-Instruct"


class Finished:
    """A demo that has ended: what it said, and where it wrote."""

    def __init__(self, run: Path, cache: Path, code: int, said: str, told: str) -> None:
        self.run, self.cache, self.code, self.said, self.told = run, cache, code, said, told

    def records(self, writer: str) -> list[Record]:
        """Every record of one writer."""
        found: list[Record] = []
        for file in layout.journal_files(self.run):
            if file.writer == writer:
                with TailReader(self.run.parent, file.path) as reader:
                    found += [e.record for e in reader.read().entries if not isinstance(e.record, codec.Unknown)]
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`barograph demo --model smollm2 --lora` with an empty home, to its end."""
    folder = tmp_path_factory.mktemp("smollm2")
    runs, home = folder / "runs", folder / "home"
    home.mkdir()
    arguments = ("--headless", "--model", "smollm2", "--lora", "--seconds", "180", "--port", "0", "--base-dir", runs)
    ended = subprocess.run(
        [sys.executable, "-m", "barograph", "demo", *map(str, arguments)],
        env={**ENVIRONMENT, "HOME": str(home), "XDG_CACHE_HOME": ""},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    (run,) = [path for path in runs.iterdir() if (path / "logs").is_dir()] if runs.is_dir() else [runs]
    cache = home / ".cache" / "barograph" / "smollm2"
    return Finished(run, cache, ended.returncode, ended.stdout, ended.stderr)


def test_it_ends_well_and_says_what_it_did(finished: Finished) -> None:
    assert finished.code == 0, finished.told
    assert "Traceback" not in finished.told
    told = iter(finished.told.splitlines())
    for stage in (f"downloading {MODEL}", f"checking and unpacking {MODEL}", "converting it to safetensors"):
        assert any(stage in line for line in told), "the stages are told, in this order"
    assert "PASS  loss_finite" in finished.said
    assert "Held-out exact match" in finished.said
    assert "collector" not in finished.said
    train = finished.run / "train.log"
    assert "Warning" not in train.read_text()


def test_the_cache_holds_the_model_and_nothing_half_made(finished: Finished) -> None:
    assert sorted(path.name for path in finished.cache.iterdir()) == [".lock", MODEL]
    config = json.loads((finished.cache / MODEL / "config.json").read_text())
    assert (config["model_type"], config["dtype"]) == ("llama", "bfloat16")
    assert "quantization_config" not in config


def test_the_loss_falls_to_less_than_half(finished: Finished) -> None:
    """A step takes 3 s on two idle cores, and 15 s on busy ones; the first eight do it."""
    losses = [one.loss for one in finished.records("train") if isinstance(one, Step) and one.loss is not None]
    assert len(losses) >= 8
    assert all(math.isfinite(loss) for loss in losses)
    quarter = len(losses) // 4
    assert sum(losses[-quarter:]) < 0.5 * sum(losses[:quarter])


def test_every_checkpoint_is_an_adapter_on_the_cached_model_and_the_first_changes_nothing(finished: Finished) -> None:
    folders = sorted((finished.run / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    assert len(folders) >= 3
    for folder in folders:
        config = json.loads((folder / "adapter_config.json").read_text())
        assert (config["peft_type"], config["r"]) == ("LORA", 8)
        assert Path(config["base_model_name_or_path"]) == finished.cache / MODEL
        assert (folder / "tokenizer.json").is_file()
        assert not list(folder.glob("model*"))
    first, last = (load_file(folder / "adapter_model.safetensors") for folder in (folders[0], folders[-1]))
    assert len(first) == 30 * 7 * 2, "A and B of the seven linear layers of each of 30 blocks"
    assert not any(values.any() for name, values in first.items() if "lora_B" in name)
    assert all(values.any() for name, values in last.items() if "lora_B" in name)


def test_the_run_says_which_model_and_which_adapter(finished: Finished) -> None:
    (banner,) = [one for one in finished.records("train") if isinstance(one, Banner)]
    assert banner.model_name == MODEL
    assert banner.model_path == str(finished.cache / MODEL)
    expected = {"r": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"}
    assert json.loads(banner.config or "{}")["lora"] == expected
    ends = [one for one in finished.records("train") if isinstance(one, RunComplete)]
    assert [one.exit_code for one in ends] == [0]


def test_every_checkpoint_answered_every_probe_and_the_model_learned_to_answer(finished: Finished) -> None:
    records = finished.records("evaluate")
    assert not [one for one in records if isinstance(one, CollectorFailed)]
    answers = [one for one in records if isinstance(one, Answer)]
    steps = sorted({one.step for one in answers})
    assert len(steps) >= 3
    assert steps[0] == 0
    probes = sum(quota.count for quota in SHORT)
    assert [sum(one.step == step for one in answers) for step in steps] == [probes] * len(steps)
    right = {step: sum(one.correct for one in answers if one.step == step) for step in steps}
    assert right[steps[-1]] > right[0]
    assert len([one for one in records if isinstance(one, ExactMatch)]) == len(steps) * len(SHORT)


@pytest.fixture(scope="module")
def url(finished: Finished) -> Iterator[str]:
    """A server over the run, with all of the run in its index."""
    command = [sys.executable, "-m", "barograph", "serve", "--port", "0", "--base-dir", str(finished.run.parent)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://[\d.:]+", server.stdout.readline())
        assert found is not None
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(OSError):
                if get(f"{found[0]}/api/status/live?run={finished.run.name}")["status"] == "completed":
                    break
            time.sleep(0.05)
        yield found[0]
        server.terminate()
        assert server.wait(5) == 0


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_the_views_read_the_run_back(url: str, finished: Finished) -> None:
    live = get(f"{url}/api/status/live?run={finished.run.name}")
    steps = [one.step for one in finished.records("train") if isinstance(one, Step) and one.loss is not None]
    assert (live["status"], live["current_step"], live["total_steps"]) == ("completed", max(steps), max(steps))
    detail = get(f"{url}/api/runs/{finished.run.name}")
    assert detail["journal"]["bad_lines"] == 0
    (attempt,) = detail["attempts"]
    assert attempt["last_step"] == max(steps)
    assert len(detail["checkpoints"]) == len(list((finished.run / "checkpoints").iterdir()))

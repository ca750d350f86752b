"""`barograph drift` from the outside: the document, the table, the exit codes, and one line for what goes wrong."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

WriteWeights = Callable[..., Path]


def drift(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", "drift", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "120", **environment},
    )


@pytest.fixture
def pair(tmp_path: Path, write_weights: WriteWeights) -> tuple[str, str]:
    """A model of eight layers, and a checkpoint whose first two layers moved by 40 %."""
    rng = np.random.default_rng(0)
    base = {f"model.layers.{i}.w": rng.standard_normal((8, 8)) for i in range(8)}
    base["model.embed_tokens.weight"] = rng.standard_normal((16, 8))
    moved = {
        name: value * (1.4 if name < "model.layers.2" and "layers" in name else 1.0) for name, value in base.items()
    }
    folders = write_weights(tmp_path / "base", base), write_weights(tmp_path / "checkpoint-40", moved)
    return str(folders[0]), str(folders[1])


def test_json_is_the_document_in_full_precision_and_nothing_else(pair: tuple[str, str]) -> None:
    done = drift(*pair, "--json", "--policy", "contract")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["reference_checkpoint"] == "base"
    assert (document["current_checkpoint"], document["current_step"]) == ("checkpoint-40", 40)
    assert document["summary"]["pattern"] == "bottom_heavy"
    assert [layer["layer_idx"] for layer in document["layers"]] == [*range(8), -1]
    assert abs(document["layers"][0]["relative_change"] - 0.4) < 1e-7
    assert len(repr(document["layers"][0]["relative_change"])) > 12
    assert {one["name"] for one in document["findings"]} >= {"bottom_heavy"}


def test_the_table_shows_what_moved_most_and_every_layer_if_asked(pair: tuple[str, str]) -> None:
    done = drift(*pair)
    assert done.returncode == 0
    assert "checkpoint-40 against base" in done.stdout
    assert "pattern bottom_heavy" in done.stdout
    assert "The 5 layers that moved most" in done.stdout
    rows = [line for line in drift(*pair, "--layers").stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 9
    assert "40 %" in rows[0]
    assert "rest" in rows[-1]


def test_a_finding_fails_only_if_asked(pair: tuple[str, str]) -> None:
    assert drift(*pair, "--policy", "contract").returncode == 0
    assert drift(*pair, "--policy", "contract", "--fail-on", "warning").returncode == 1
    assert drift(*pair, "--policy", "contract", "--fail-on", "critical").returncode == 0


def test_the_spectrum_is_there_if_asked(pair: tuple[str, str]) -> None:
    document = json.loads(drift(*pair, "--spectrum", "--json").stdout)
    moved = {one["tensor"]: one["spectrum"] for one in document["spectra"]}["model.layers.0.w"]
    assert moved["spectral_norm"] <= moved["frobenius_norm"]
    assert 1.0 <= moved["stable_rank"] <= 8.0
    assert "spectral norm" in drift(*pair, "--spectrum").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{tmp}/nowhere", "{cur}"], "there is no such checkpoint"),
        (["{ref}", "{tmp}"], "no weights in the folder"),
        (["{ref}", "{cur}", "--policy", "nowhere.toml"], "cannot be read"),
        (["{ref}", "{cur}", "--fail-on", "info"], "--fail-on is 'info'"),
        (["{ref}", "{other}"], "not one tensor is on both sides"),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, pair: tuple[str, str], tmp_path: Path, write_weights: WriteWeights
) -> None:
    other = write_weights(tmp_path / "other", {"\x1b[31mlayers.0.x": [1.0]})
    places = {"{tmp}": str(tmp_path), "{ref}": pair[0], "{cur}": pair[1], "{other}": str(other)}
    for key, value in places.items():
        arguments = [argument.replace(key, value) for argument in arguments]
    done = drift(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("barograph: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert "\x1b" not in done.stderr


def test_a_reference_of_zeros_cannot_be_judged(tmp_path: Path, write_weights: WriteWeights) -> None:
    base = write_weights(tmp_path / "base", {"layers.0.w": [0.0, 0.0]})
    current = write_weights(tmp_path / "current", {"layers.0.w": [1.0, 0.0]})
    done = drift(str(base), str(current), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["total_relative_change"] is None
    assert drift(str(base), str(current)).returncode == 2


def test_names_of_tensors_cannot_command_the_terminal(tmp_path: Path, write_weights: WriteWeights) -> None:
    base = write_weights(tmp_path / "base", {"layers.0.w": [1.0], "\x1b]0;owned\x07[red]gone": [1.0]})
    current = write_weights(tmp_path / "current", {"layers.0.w": [math.nan]})
    done = drift(str(base), str(current), "--fail-on", "critical")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "[red]gone" in done.stdout


@pytest.mark.slow
def test_a_place_that_nothing_can_be_written_to_is_no_reason_to_fail(pair: tuple[str, str], tmp_path: Path) -> None:
    """Neither beside the package nor in a home can numba keep what it compiled: it is compiled for this once."""
    package = tmp_path / "site"
    source = Path(__file__).resolve().parents[2] / "src" / "barograph"
    shutil.copytree(source, package / "barograph", ignore=shutil.ignore_patterns("__pycache__", "static"))
    # A file where a folder should be made cannot be written into, not even by root.
    (package / "barograph" / "weights" / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    done = drift(
        *pair,
        PYTHONPATH=":".join([str(package), *sys.path]),
        HOME=str(tmp_path / "home"),
        XDG_CACHE_HOME=str(tmp_path / "home"),
        NUMBA_CACHE_DIR="",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "checkpoint-40 against base" in done.stdout

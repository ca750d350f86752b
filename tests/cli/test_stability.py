"""`barograph stability` from the outside: the document, the table, the exit codes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WriteWeights = Callable[..., Path]


def stability(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", "stability", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "120"},
    )


@pytest.fixture
def large(tmp_path: Path, write_weights: WriteWeights) -> str:
    """Two layers, of which one has a weight above the contract's threshold."""
    return str(write_weights(tmp_path / "checkpoint-9", {"layers.0.w": [[3.0, 4.0]], "layers.1.w": [[106.5, 0.0]]}))


def test_json_is_the_document_and_nothing_else(large: str) -> None:
    done = stability(large, "--json", "--policy", "contract")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert (document["checkpoint"], document["step"]) == ("checkpoint-9", 9)
    assert document["summary"]["health_status"] == "warning"
    assert document["layers"][0]["weight_norm"] == 5.0
    assert document["layers"][1]["min_abs_weight"] == 106.5
    alert = document["alerts"][0]
    assert (alert["layer"], alert["value"], alert["threshold"]) == (1, 106.5, 100.0)


def test_the_table_shows_the_layers_with_alerts_and_every_one_if_asked(large: str) -> None:
    done = stability(large, "--policy", "contract")
    assert "checkpoint-9: warning" in done.stdout
    assert "Layer 1 has extreme weight values" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("│")]) == 1
    assert len([line for line in stability(large, "--layers").stdout.splitlines() if line.startswith("│")]) == 2


def test_a_finding_fails_only_if_asked(large: str) -> None:
    assert stability(large, "--policy", "contract", "--fail-on", "warning").returncode == 1
    assert stability(large, "--policy", "contract", "--fail-on", "critical").returncode == 0
    assert stability(large, "--fail-on", "warning").returncode == 0, "alone, our policy has nothing to compare with"


def test_weights_that_are_no_numbers_fail_whatever_the_policy(tmp_path: Path, write_weights: WriteWeights) -> None:
    broken = str(write_weights(tmp_path / "broken", {"layers.0.w": [[1.0, math.nan]]}))
    for policy in ("default", "contract"):
        assert stability(broken, "--policy", policy, "--fail-on", "critical").returncode == 1


def test_growth_is_judged_beside_a_reference(large: str, tmp_path: Path, write_weights: WriteWeights) -> None:
    base = str(write_weights(tmp_path / "base", {"layers.0.w": [[3.0, 4.0]], "layers.1.w": [[10.0, 0.0]]}))
    done = stability(large, "--reference", base, "--json")
    document = json.loads(done.stdout)
    assert document["reference"] == "base"
    assert {alert["type"] for alert in document["alerts"]} == {"exploding", "norm_growth"}
    assert document["layers"][1]["norm_growth"] == 10.65


def test_what_cannot_be_read_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    done = stability(str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "PyTorch weights saved as a pickle is not read" in done.stderr

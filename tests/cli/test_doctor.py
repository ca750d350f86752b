"""`barograph doctor` says what works, what does not and what to do, and waits for nothing that hangs."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest

from barograph.api.token import create_token, token_path
from barograph.cli.examination import BASE, EXTRAS, Examination, Webhook, examine, measures
from barograph.collect.hardware import HardwareSampler
from barograph.journal.webhook_target import MIN_LEVEL, URL
from barograph.records.signals import Hardware
from barograph.testing import FakeGpu, FakeNvml

SECRET = "T0pS3cr3t"


def doctor(root: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", "doctor", "--base-dir", str(root), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "COLUMNS": "200", **environment},
    )


def examined(root: Path, *gpus: FakeGpu, **environ: str) -> Examination:
    return examine(root, environ, sampler=HardwareSampler(root, every_s=5.0, nvml=lambda: FakeNvml(*gpus)))


def test_a_healthy_machine_is_exit_code_0_and_the_table_names_every_measure(tmp_path: Path) -> None:
    done = doctor(tmp_path / "runs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All that is needed works." in done.stdout
    assert not (tmp_path / "runs").exists()
    for one in examined(tmp_path).measures:
        assert one.what in done.stdout


def test_the_document_is_json_and_nothing_else(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json", **{URL: f"https://hooks.slack.com/services/{SECRET}", MIN_LEVEL: "critical"})
    found = json.loads(done.stdout)
    assert (found["healthy"], found["problems"]) == (True, [])
    assert found["webhook"] == {
        "channel": "https://hooks.slack.com",
        "shape": "slack",
        "min_level": "critical",
        "why": "",
    }
    assert found["root"]["runs"] == 0
    assert SECRET not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_address_that_cannot_be_used_is_a_problem_and_is_not_shown(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = doctor(tmp_path, *options, **{URL: f"hooks.slack.com/services/{SECRET}"})
    assert done.returncode == 1
    assert "BAROGRAPH_WEBHOOK_URL cannot be used: it must begin with https://" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    found = examined(Path("/proc"))
    assert not found.healthy
    assert not found.root.writable
    assert "no run can be recorded under /proc" in found.problems[0]
    assert "BAROGRAPH_DIR" in found.problems[0]


def test_a_token_that_others_can_read_is_a_problem(tmp_path: Path) -> None:
    assert not examined(tmp_path).token
    secret = create_token(tmp_path)
    assert examined(tmp_path).token
    token_path(tmp_path).chmod(0o644)
    found = examined(tmp_path)
    assert (found.healthy, found.token) == (False, False)
    assert "read or written by others" in found.problems[0]
    assert secret.value not in repr(found)


def test_gpus_are_told_and_what_follows_from_them(tmp_path: Path) -> None:
    found = examined(tmp_path, FakeGpu(), FakeGpu(name="Sunway X"))
    assert found.gpus is not None
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA H200", "Sunway X"]
    said = {one.what: one for one in found.measures}
    assert said["model FLOPs utilisation"].measured
    assert said["GPU memory, temperature, power"].why == "NVML, 2 of them"
    unknown = {one.what: one for one in examined(tmp_path, FakeGpu(name="Sunway X")).measures}
    assert not unknown["model FLOPs utilisation"].measured
    assert "Sunway X" in unknown["model FLOPs utilisation"].why


def test_a_driver_that_hangs_is_left_behind(tmp_path: Path) -> None:
    hangs = threading.Event()
    try:
        sampler = HardwareSampler(tmp_path, every_s=5.0, nvml=lambda: FakeNvml(FakeGpu(), hangs=hangs))
        began = time.monotonic()
        found = examine(tmp_path, {}, sampler=sampler, patience_s=0.7)
        assert time.monotonic() - began < 5.0
    finally:
        hangs.set()
    assert (found.gpus, found.healthy) == (None, True)
    assert "has not answered" in found.gpus_why
    assert found.root.disk_free_gb is not None


def test_what_is_not_installed_is_not_measured_and_has_its_install_line() -> None:
    nothing = Hardware(time=0.0, why={"gpus": "NVML: Driver Not Loaded", "cpu_pct": "PermissionError"})
    found = {one.what: one for one in measures({}, nothing, Webhook(channel=None, shape=None, min_level=None))}
    layers = found["gradients, weights and updates by layer"]
    assert (layers.measured, layers.why) == (False, "torch is not installed: pip install 'barograph[train]'")
    assert "barograph[weights]" in found["drift and stability of checkpoints"].why
    assert found["GPU memory, temperature, power"].why == "NVML: Driver Not Loaded"
    assert not found["processor, memory, disk"].measured
    assert all(one.why for one in found.values())


def test_every_package_that_the_project_names_is_looked_for() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    def names(wanted: list[str]) -> set[str]:
        return {re.split(r"[\[<>=;]", one)[0] for one in wanted}

    assert {name for name, _ in BASE} == names(project["dependencies"])
    for extra, packages in EXTRAS.items():
        assert {name for name, _ in packages} == names(project["optional-dependencies"][extra])


def test_a_damaged_index_is_told_and_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / ".barograph").mkdir()
    (tmp_path / ".barograph" / "index.sqlite").write_bytes(os.urandom(8192))
    found = examined(tmp_path)
    assert found.healthy
    assert "it is a cache" in found.root.index

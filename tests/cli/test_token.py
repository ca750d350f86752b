"""`barograph token`: the secret on standard output, alone; everything else elsewhere."""

import stat
import subprocess
import sys
from pathlib import Path

from barograph.api.token import read_token, token_path


def token(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", "token", "--base-dir", str(root), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_prints_the_token_alone_and_the_same_each_time(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    first = token(root)
    made = read_token(root)
    assert made is not None
    assert first.returncode == 0
    assert first.stdout == made.value + "\n"
    assert str(token_path(root)) in first.stderr
    assert made.value not in first.stderr
    assert stat.S_IMODE(token_path(root).stat().st_mode) == 0o600
    assert token(root).stdout == first.stdout


def test_new_replaces_it(tmp_path: Path) -> None:
    first = token(tmp_path)
    second = token(tmp_path, "--new")
    assert second.returncode == 0
    assert second.stdout != first.stdout
    assert token(tmp_path).stdout == second.stdout


def test_a_token_that_others_can_read_is_not_printed(tmp_path: Path) -> None:
    first = token(tmp_path)
    token_path(tmp_path).chmod(0o644)
    refused = token(tmp_path)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert first.stdout.strip() not in refused.stderr
    assert "--new" in refused.stderr
    assert token(tmp_path, "--new").returncode == 0

"""The command line as a whole: fast to answer, honest in its exit codes, one line for each mistake."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from barograph import __version__
from barograph.cli import COMMANDS

HEAVY = (
    "litestar",
    "uvicorn",
    "numpy",
    "torch",
    "rich",
    "msgspec",
    "sqlite3",
    "asyncio",
    "barograph.api",
    "barograph.views",
)


def barograph(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "COLUMNS": "100", **environment},
    )


def test_help_names_every_command_with_its_sentence() -> None:
    done = barograph("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command.__name__} " in done.stdout


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = barograph(command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert f"  barograph {command}" in done.stdout
    assert barograph(command, "-h").stdout == done.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([command.__name__, "--help"] for command in COMMANDS)]
)
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from barograph.cli import main\n"
        f"sys.argv = ['barograph', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as done:\n    assert not done.code, done.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("LOADED []\n"), done.stdout


def test_help_is_there_in_a_quarter_of_a_second() -> None:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        barograph("--help")
        times.append(time.perf_counter() - began)
    empty = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    bare = time.perf_counter() - empty
    # A bare interpreter takes about 15 ms on a machine at rest; what others do to this one is not our time.
    assert min(times) < 0.25 * max(1.0, bare / 0.03)


def test_the_version_is_printed() -> None:
    done = barograph("--version")
    assert (done.returncode, done.stdout) == (0, f"barograph {__version__}\n")


def test_no_command_shows_the_help() -> None:
    done = barograph()
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--host", "0.0.0.0", "--base-dir", "{tmp}"], "reachable from other machines"),
        (["serve", "--base-dir", "{tmp}/file"], "is not a folder"),
        (["serve", "--allowed-host", "*", "--base-dir", "{tmp}"], "no wildcards"),
        (["token", "--base-dir", "{tmp}/file"], "not a folder"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "file").write_text("")
    done = barograph(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("barograph: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["serve", "--port", "65536"], ["serve", "--port", "http"], ["--nope"]]
)
def test_an_unknown_word_is_exit_code_2_without_a_traceback(arguments: list[str]) -> None:
    done = barograph(*arguments)
    assert done.returncode == 2
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr

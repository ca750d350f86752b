"""`barograph serve` as a person starts it."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_it_says_where_it_is_serves_there_and_stops(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "barograph", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    )
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/", first)
        assert url, first
        assert str(tmp_path / "barograph-runs") in first, "the default root, by its whole name"
        assert "does not exist yet" in second
        with urllib.request.urlopen(f"{url[0]}healthz", timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert not (tmp_path / "barograph-runs").exists(), "serving makes no folder"


def test_a_taken_port_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "barograph", "serve", "--base-dir", str(tmp_path), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"barograph: port {port} on 127.0.0.1 is in use. Choose another with --port, or --port 0 for any free one\n"
    )


def test_the_root_comes_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "barograph", "serve", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "BAROGRAPH_DIR": str(tmp_path / "elsewhere")},
    )
    assert str(tmp_path / "elsewhere") in done.stderr

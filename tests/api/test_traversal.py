"""Names in requests never become paths: a corpus of hostile ones, on every parameter, opens nothing outside."""

import json
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path

PROBE = Path(__file__).with_name("traversal_probe.py")


def test_no_name_opens_a_file_outside_the_root(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    root = tmp_path / "runs"
    write_run(root, "alpha")
    (tmp_path / "canary").write_text("secret")
    (root / "canary").write_text("secret")
    (root / "link").symlink_to(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROBE), str(root)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    index = root / ".barograph"
    outside = [path for path in found["opened"] if not path.removeprefix("file:").startswith(f"{index}/")]
    ours = [path for path in outside if path != ":memory:" and not path.endswith((".py", ".pyc", "site-packages"))]
    assert ours == []
    assert any("index.sqlite" in path for path in found["opened"]), "the probe does see what is opened"
    assert len(found["statuses"]) > 1000
    for target, status in found["statuses"]:
        assert status in (400, 404, 414) or asks_for_nothing_but_alpha(target), (target, status)
        assert status != 500


def asks_for_nothing_but_alpha(target: str) -> bool:
    """Whether what is left of a target, once fragment and query are cut off as a server does, is harmless."""
    path, _, query = target.partition("#")[0].partition("?")
    if path == "/api/events":
        return True  # whatever run it names: it may come one day, and is only compared
    runs = urllib.parse.parse_qs(query).get("run", ["alpha"])
    plain = urllib.parse.unquote(path).rstrip("/")
    known = ("", "/api/runs", "/api/runs/alpha", "/api/series", "/api/status/live", "/api/checkpoints", "/api/unified")
    return plain in known and runs == ["alpha"]

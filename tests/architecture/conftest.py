"""What the documentation is held against: the routes, commands, fields and files that really exist."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from barograph import cli
from barograph.api.app import create_app
from barograph.records import KINDS

ROOT = Path(__file__).resolve().parents[2]
# A block marked `py` is shown and not run: it takes long, or needs what is not there.
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """Path from the root, and text, of every page of documentation."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(found)}


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    """`docs/generate.py` as a module."""
    found = importlib.util.spec_from_file_location("barograph_docs_generate", ROOT / "docs" / "generate.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def structs(generate: ModuleType) -> tuple[type[msgspec.Struct], ...]:
    """Every record kind and every document of the API."""
    return (*KINDS, *generate.api_documents())


@pytest.fixture(scope="session")
def routes(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Method and path of every route, as `GET /api/runs/{run}`."""
    app = create_app(tmp_path_factory.mktemp("no_runs")).routes
    return frozenset(
        f"{method} {re.sub(r':[a-z]+}', '}', route.path)}"
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
    )


@pytest.fixture(scope="session")
def options() -> dict[str, dict[str, str]]:
    """Command to its options and arguments, each with its sentence."""
    group = get_command(cli.app)
    assert isinstance(group, TyperGroup)
    return {
        name: {said: getattr(parameter, "help", None) or "" for parameter in command.params for said in parameter.opts}
        for name, command in group.commands.items()
    }


@pytest.fixture(scope="session")
def fields(structs: tuple[type[msgspec.Struct], ...]) -> frozenset[str]:
    """`Struct.field` of every record and document."""
    return frozenset(
        f"{struct.__name__}.{field.encode_name}" for struct in structs for field in msgspec.structs.fields(struct)
    )


def run_examples(page: str, folder: Path) -> None:
    """Run the Python examples of a page in `folder`, one process each, in their order; raises if one fails."""
    for example in PYTHON_BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "BAROGRAPH_DIR": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}:\n{example}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def examples() -> Callable[[str, Path], None]:
    """`run_examples`, for pages whose examples need what another page's have made."""
    return run_examples


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the examples of two how-tos were run, and then the watcher."""
    folder = tmp_path_factory.mktemp("recorded")
    run_examples("docs/how-to/own-loop.md", folder)
    run_examples("docs/how-to/watch-checkpoints.md", folder)
    subprocess.run(
        [sys.executable, "-W", "error", "-m", "barograph", "watch", "--once"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "BAROGRAPH_DIR": ""},
        check=True,
    )
    return folder

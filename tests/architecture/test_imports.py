"""The rooms import in one direction only: the contracts of `pyproject.toml`, and proof that they can fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT, BROKEN = 0, 1


def lint_imports(config: Path, *, found_in: Path) -> "subprocess.CompletedProcess[str]":
    """import-linter as a process of its own: in ours it would switch off every logger that exists."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--config", str(config), "--no-cache", "--no-logo"]
    paths = os.pathsep.join([str(found_in), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=found_in, env=environment, capture_output=True, text=True, check=False)


def test_the_rooms_keep_every_import_contract() -> None:
    done = lint_imports(ROOT / "pyproject.toml", found_in=ROOT / "src")
    assert done.returncode == KEPT, done.stdout + done.stderr


def house(folder: Path, *, name: str, lower_imports_upper: bool) -> Path:
    """A package of two floors with a contract; returns the contract's file."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "upper.py").write_text(f"from {name} import lower\n")
    (package / "lower.py").write_text(f"import {name}.upper\n" if lower_imports_upper else "")
    contract = folder / "contract.toml"
    contract.write_text(
        f'[tool.importlinter]\nroot_package = "{name}"\n\n[[tool.importlinter.contracts]]\n'
        f'name = "Imports go down only"\ntype = "layers"\nlayers = ["{name}.upper", "{name}.lower"]\n'
    )
    return contract


@pytest.mark.parametrize(("lower_imports_upper", "status"), [(False, KEPT), (True, BROKEN)])
def test_a_layer_that_imports_upwards_breaks_the_contract(
    tmp_path: Path, *, lower_imports_upper: bool, status: int
) -> None:
    contract = house(tmp_path, name="twofloors", lower_imports_upper=lower_imports_upper)
    done = lint_imports(contract, found_in=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr

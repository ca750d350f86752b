"""The rooms import in one direction only: the contracts of `pyproject.toml`, and proof that they can fail."""

import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]
KEPT, BROKEN = 0, 1


def test_the_rooms_keep_every_import_contract(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "src"), *sys.path])
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == KEPT, capsys.readouterr().out


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, lower_imports_upper: bool, status: int
) -> None:
    name = f"twofloors_{status}"
    contract = house(tmp_path, name=name, lower_imports_upper=lower_imports_upper)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert lint_imports(config_filename=str(contract), no_cache=True, no_logo=True) == status

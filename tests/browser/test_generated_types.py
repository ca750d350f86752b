"""The page's types are those of the API."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

UI = Path(__file__).resolve().parents[2] / "ui"


@pytest.fixture(scope="module")
def generate_types() -> ModuleType:
    """`ui/generate_types.py` as a module."""
    found = importlib.util.spec_from_file_location("barograph_ui_generate_types", UI / "generate_types.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_description_beside_the_page_is_the_one_that_the_app_gives(generate_types: ModuleType) -> None:
    assert (UI / "openapi.json").read_text(encoding="utf-8") == generate_types.openapi_text(), "run: make types"


def test_the_types_of_the_page_were_made_from_that_description(generate_types: ModuleType) -> None:
    openapi = (UI / "openapi.json").read_text(encoding="utf-8")
    types = (UI / "src" / "lib" / "api.d.ts").read_text(encoding="utf-8")
    assert types.startswith(generate_types.first_line(openapi)), "run: make types"

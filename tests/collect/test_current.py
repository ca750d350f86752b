"""`barograph.log` and its like speak of the run that `init` began last; importing barograph costs next to nothing."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import barograph
from barograph.collect import current
from barograph.journal import TailReader, layout
from barograph.records import Alert, RunComplete, Step

HEAVY = ("torch", "numpy", "transformers", "litestar", "uvicorn", "sqlite3", "typer", "rich", "pandas", "asyncio")


@pytest.fixture(autouse=True)
def no_run_before_and_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(current, "_current", None)
    monkeypatch.setattr(current, "_warned", False)
    yield
    barograph.finish()


def read(directory: Path) -> list[object]:
    (file,) = layout.journal_files(directory)
    with TailReader(directory, file.path) as reader:
        return [entry.record for entry in reader.read().entries]


def test_the_module_speaks_of_the_run_that_was_begun_last(tmp_path: Path) -> None:
    first = barograph.init("p", dir=tmp_path)
    barograph.log({"loss": 1.0}, step=1)
    second = barograph.init("p", dir=tmp_path)
    barograph.log({"loss": 2.0}, step=2)
    barograph.alert("a", "b", "critical")
    barograph.finish(exit_code=3, reason="because")
    barograph.finish()
    of_first, of_second = read(first.directory), read(second.directory)
    assert [one.loss for one in of_first if isinstance(one, Step)] == [1.0]
    assert isinstance(of_first[-1], RunComplete)
    assert [one.loss for one in of_second if isinstance(one, Step)] == [2.0]
    assert [(one.title, one.level, one.step) for one in of_second if isinstance(one, Alert)] == [("a", "critical", 2)]
    assert isinstance(of_second[-1], RunComplete)
    assert (of_second[-1].exit_code, of_second[-1].reason) == (3, "because")


def test_logging_before_init_warns_once_and_records_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        barograph.log({"loss": 1.0})
        barograph.alert("a")
    barograph.finish()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "barograph.log was called without an open run: nothing is recorded. Call barograph.init."
    ]


def test_every_public_name_resolves_and_others_do_not() -> None:
    for name in barograph.__all__:
        if name != "TrainerCallback":  # needs transformers, and is tested where that is
            assert getattr(barograph, name) is not None
    assert set(barograph.__all__) <= set(dir(barograph))
    with pytest.raises(AttributeError, match="module 'barograph' has no attribute 'nonsense'"):
        barograph.nonsense  # noqa: B018 - the access is the test


@pytest.mark.parametrize("script", ["import barograph", "import barograph; barograph.init('p', mode='disabled')"])
def test_importing_barograph_imports_nothing_heavy(script: str) -> None:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{script}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    assert "barograph" in said
    assert not {name.split(".")[0] for name in said} & set(HEAVY)

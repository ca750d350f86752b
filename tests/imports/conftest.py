"""Logs as other tools leave them, and what became of them in a run."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from barograph.journal import TailReader, layout
from barograph.records import Record
from barograph.records.codec import Unknown

WriteState = Callable[..., Path]
ReadRun = Callable[[Path], dict[str, list[Record | Unknown]]]


def write_state(folder: Path, history: Sequence[object], **fields: object) -> Path:
    """A `trainer_state.json` as transformers writes it: sorted keys, an indent of two."""
    folder.mkdir(parents=True, exist_ok=True)
    step = max((row.get("step", 0) for row in history if isinstance(row, dict)), default=0)
    state = {"epoch": 1.0, "global_step": step, "log_history": history, "logging_steps": 10, "max_steps": 100, **fields}
    path = folder / "trainer_state.json"
    path.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n")
    return path


def read_run(run: Path) -> dict[str, list[Record | Unknown]]:
    """Every record of a run by `writer-attempt`, in the order of the files; a line that cannot be read fails."""
    found: dict[str, list[Record | Unknown]] = {}
    for file in layout.journal_files(run):
        with TailReader(run, file.path) as reader:
            batch = reader.read(1 << 30)
        assert (batch.bad, batch.torn, batch.more) == ([], 0, False)
        found.setdefault(f"{file.writer}-{file.attempt}", []).extend(entry.record for entry in batch.entries)
    return found


@pytest.fixture(name="write_state", scope="session")
def write_state_fixture() -> WriteState:
    """Writes the state of a Hugging Face trainer."""
    return write_state


@pytest.fixture(name="read_run", scope="session")
def read_run_fixture() -> ReadRun:
    """Reads the records of a run."""
    return read_run

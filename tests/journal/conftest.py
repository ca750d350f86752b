"""What the tests of the journal share: how a file is read to its end, and a disk that is soon full."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barograph.journal import Batch, TailReader, layout
from barograph.journal.reader import LINE_LIMIT, BadLine, Entry
from barograph.records import Banner, Record

Reader = Callable[[Path], Batch]


def read_to_the_end(path: Path, *, line_limit: int = LINE_LIMIT) -> Batch:
    """All of a file as one batch."""
    entries: list[Entry] = []
    bad: list[BadLine] = []
    with TailReader(path.parent, path, line_limit=line_limit) as reader:
        while True:
            batch = reader.read()
            entries += batch.entries
            bad += batch.bad
            if not batch.more:
                return Batch(entries=entries, bad=bad, position=batch.position, torn=batch.torn, more=False)


@pytest.fixture(scope="session")
def read() -> Reader:
    """`read_to_the_end`."""
    return read_to_the_end


@pytest.fixture(scope="session")
def records_of() -> Callable[[Path], list[list[Record]]]:
    """The records of each journal file of a run, in the order of their names; every line must be whole and checked."""

    def records_of(run: Path) -> list[list[Record]]:
        found: list[list[Record]] = []
        for file in layout.journal_files(run):
            batch = read_to_the_end(file.path)
            assert (batch.bad, batch.torn) == ([], 0)
            assert all(entry.checked for entry in batch.entries)
            found.append([entry.record for entry in batch.entries])  # type: ignore[misc]  # none of an unknown kind
        return found

    return records_of


@pytest.fixture(scope="session")
def banner() -> Callable[[], Banner]:
    """An opener that claims nothing."""
    return lambda: Banner(run="r", attempt=1, writer="train", time=1.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with an empty folder for logs."""
    (tmp_path / "r" / "logs").mkdir(parents=True)
    return tmp_path / "r"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {os.fsdecode(mounted.stderr).strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)

"""What is not read is said, and nothing else is."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barograph.index.unread import unread_runs


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that everyone may enter: pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def run(root: Path, name: str) -> Path:
    (root / name / "logs").mkdir(parents=True)
    return root / name


def test_runs_and_folders_that_are_none_are_no_news(root: Path) -> None:
    run(root, "sft-1")
    (root / "notes").mkdir()
    (root / ".git" / "logs").mkdir(parents=True)
    (root / "latest").symlink_to("sft-1")
    assert unread_runs(root) == set()


def test_a_root_that_does_not_exist_is_no_news(root: Path) -> None:
    assert unread_runs(root / "later") == set()


def test_a_link_is_said(root: Path) -> None:
    (root / "elsewhere").symlink_to("/")
    assert unread_runs(root) == {"elsewhere is a link, so it is not read"}


@pytest.mark.parametrize("name", ["sp ace é", "-dash", "x" * 129])
def test_a_folder_whose_name_no_run_can_have_is_said(root: Path, name: str) -> None:
    run(root, name)
    (said,) = unread_runs(root)
    assert said.startswith(f"{name} is no name for a run")


def test_a_folder_that_may_not_be_entered_is_said(root: Path) -> None:
    run(root, "closed").chmod(0)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65_534)  # nothing is forbidden to root
    try:
        assert unread_runs(root) == {"closed cannot be read: Permission denied"}
    finally:
        if as_root:
            os.seteuid(0)
        (root / "closed").chmod(0o700)

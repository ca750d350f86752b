"""What cannot be a root is one sentence, whatever the command and whatever is wrong with it."""

import os
from pathlib import Path

import pytest

from barograph.cli.base_dir import root_of
from barograph.errors import UsageError


def test_a_folder_that_does_not_exist_yet_is_a_root(tmp_path: Path) -> None:
    assert root_of(tmp_path / "later") == tmp_path / "later"


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert root_of(Path("runs")) == tmp_path / "runs"


def test_without_an_option_the_environment_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAROGRAPH_DIR", str(tmp_path))
    assert root_of(None) == tmp_path


def test_a_name_too_long_for_the_file_system_is_refused() -> None:
    with pytest.raises(UsageError, match="--base-dir cannot be used: File name too long"):
        root_of(Path("a" * 300))


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="Too many levels of symbolic links"):
        root_of(tmp_path / "loop")


def test_a_file_and_what_lies_below_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        root_of(tmp_path / "file")
    with pytest.raises(UsageError, match="Not a directory"):
        root_of(tmp_path / "file" / "runs")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        root_of(Path("a\0b"))


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65_534)  # nothing is forbidden to root
    try:
        with pytest.raises(UsageError, match=r"may not be read|Permission denied"):
            root_of(tmp_path)
    finally:
        if as_root:
            os.seteuid(0)
        tmp_path.chmod(0o700)

"""The checkpoints beside a log."""

import os
from pathlib import Path

import pytest

from barograph.errors import ImportFailed
from barograph.imports.checkpoint_folders import checkpoints_in, home_of, model_name_in


def test_checkpoints_are_ordered_by_step_and_dated_by_their_state(tmp_path: Path) -> None:
    for name in ("checkpoint-10", "checkpoint-9", "checkpoint-x", "checkpoint-" + "9" * 30, "tmp-checkpoint-5"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-3").write_text("a file")
    (tmp_path / "checkpoint-4").symlink_to("checkpoint-9")
    state = tmp_path / "checkpoint-9" / "trainer_state.json"
    state.write_text("{}")
    os.utime(state, (1000, 1000))
    found = checkpoints_in(tmp_path)
    assert [one.step for one in found] == [9, 10]
    assert found[0].time == 1000.0


def test_a_folder_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="the folder cannot be read"):
        checkpoints_in(tmp_path / "absent")


def test_the_home_of_a_checkpoint_is_where_it_was_saved_to() -> None:
    assert home_of(Path("/x/out/checkpoint-5")) == home_of(Path("/x/out")) == Path("/x/out")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ('{"_name_or_path": "org/model"}', "model"),
        ('{"_name_or_path": "/models/local/"}', "local"),
        ('{"_name_or_path": 7}', None),
        ('{"_name_or_path": ""}', None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_the_model_is_what_a_readable_config_names(tmp_path: Path, config: str, name: str | None) -> None:
    (tmp_path / "config.json").write_text(config)
    assert model_name_in([tmp_path / "absent", tmp_path]) == name

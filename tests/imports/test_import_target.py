"""Which run a log goes into."""

from pathlib import Path

import pytest

from barograph.errors import RunConflict, UsageError
from barograph.imports import read_log
from barograph.imports.import_target import default_id, run_folder
from barograph.imports.into_journal import ImportedRun


def imported(root: Path, source: Path, *, run_id: str | None = None) -> Path:
    folder = run_folder(root, source, run_id=run_id)
    with ImportedRun(folder) as run:
        run.update(read_log(source))
    return folder


def table(path: Path, loss: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"step,loss\n1,{loss}\n")
    return path


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/x/sft/trainer_state.json", "sft"),
        ("/x/sft/checkpoint-100/trainer_state.json", "sft"),
        ("/x/sft/checkpoint-100", "sft"),
        ("/x/store/logs/train-000001-20260101T000000.jsonl", "store"),
        ("/x/store/logs", "store"),
        ("/x/a.b/status/training_status.json", "a.b"),
        ("/x/my run (2).csv", "my-run-2"),
        ("/x/日本.csv", "imported"),
        ("/x/.hidden.csv", "hidden"),
        ("/metrics.csv", "imported"),
    ],
)
def test_a_run_is_called_like_what_it_comes_from(source: str, name: str) -> None:
    assert default_id(Path(source)) == name


def test_two_sources_of_one_name_become_two_runs_and_keep_them(tmp_path: Path) -> None:
    first, second = table(tmp_path / "a" / "x.csv"), table(tmp_path / "b" / "x.csv")
    root = tmp_path / "runs"
    names = [imported(root, source).name for source in (first, second, first, second)]
    assert names == ["x", "x-2", "x", "x-2"]


def test_a_source_that_was_moved_keeps_its_run(tmp_path: Path) -> None:
    source = table(tmp_path / "x.csv")
    root = tmp_path / "runs"
    imported(root, source)
    moved = source.rename(tmp_path / "moved.csv")
    assert run_folder(root, moved, run_id="x") == root / "x"
    with pytest.raises(RunConflict, match="no import of this"):
        run_folder(root, table(tmp_path / "other.csv", 2.0), run_id="x")


def test_a_run_that_is_no_import_is_left_alone(tmp_path: Path) -> None:
    logs = tmp_path / "runs" / "x" / "logs"
    logs.mkdir(parents=True)
    (logs / "train-000001-20260101T000000.jsonl").write_text("")
    with pytest.raises(RunConflict, match="'x' exists"):
        run_folder(tmp_path / "runs", tmp_path / "x.csv", run_id="x")
    assert run_folder(tmp_path / "runs", tmp_path / "x.csv").name == "x-2"


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 129, ".x", "a b"])
def test_an_id_that_cannot_be_one_is_a_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a run"):
        run_folder(tmp_path, tmp_path / "x.csv", run_id=name)


def test_a_run_is_no_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(UsageError, match="is itself a run"):
        run_folder(tmp_path, tmp_path / "x.csv")

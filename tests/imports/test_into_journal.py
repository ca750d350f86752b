"""An imported log as a run: nothing twice, only what is new, and a log that was written anew as another attempt."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import RootBusy
from barograph.imports import ImportedLog, Row, read_log
from barograph.imports.into_journal import Added, ImportedRun
from barograph.journal import layout
from barograph.records import Banner, Checkpoint, Record, RunComplete, Step
from barograph.records.codec import Unknown

WriteState = Callable[..., Path]
ReadRun = Callable[[Path], dict[str, list[Record | Unknown]]]

CHANGED = 1_767_225_600.0
NOTHING = Added(rows=0, attempts=0, checkpoints=0, endings=0, rewritten=False)


def into(run: Path, log: ImportedLog) -> Added:
    with ImportedRun(run) as imported:
        return imported.update(log)


def log_of(rows: list[Row], **fields: object) -> ImportedLog:
    log = ImportedLog(format="table", source=Path("/log.csv"), marks=(), modified=CHANGED, rows=rows)
    return ImportedLog(**{**{name: getattr(log, name) for name in log.__struct_fields__}, **fields})


def steps(records: list[Record | Unknown]) -> list[str]:
    """Step, loss and metrics of each row; times are left out. NaN compares by its spelling."""
    return [repr((one.step, one.loss, one.metrics)) for one in records if isinstance(one, Step)]


LINES = st.lists(st.tuples(st.integers(0, 40), st.none() | st.floats(), st.floats(-1, 1)), min_size=1, max_size=25)


@settings(max_examples=40)
@given(LINES)
def test_a_run_holds_the_rows_of_its_log_and_importing_again_adds_nothing(
    read_run: ReadRun, tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[int, float | None, float]]
) -> None:
    folder = tmp_path_factory.mktemp("import")
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps({"step": a, "loss": b, "lr": c}) + "\n" for a, b, c in lines))
    log = read_log(path)
    assert into(folder / "run", log).rows == len(lines)
    found = read_run(folder / "run")
    assert [line for name in sorted(found) for line in steps(found[name])] == [
        repr((a, b, {"lr": c})) for a, b, c in lines
    ]
    assert into(folder / "run", read_log(path)) == NOTHING
    assert read_run(folder / "run") == found


@settings(max_examples=40, deadline=None)
@given(LINES, st.lists(st.integers(0, 400), max_size=5), st.sampled_from(["jsonl", "csv"]))
def test_growing_in_any_portions_equals_importing_once(
    read_run: ReadRun,
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[int, float | None, float]],
    cuts: list[int],
    kind: str,
) -> None:
    folder = tmp_path_factory.mktemp("import")
    first = (0, 1.0, 0.0)
    if kind == "jsonl":
        text = "".join(json.dumps({"step": a, "loss": b, "lr": c}) + "\n" for a, b, c in [first, *lines])
    else:
        cells = [(a, "" if b is None else b, c) for a, b, c in [first, *lines]]
        text = "step,loss,lr\n" + "".join(f"{a},{b},{c}\n" for a, b, c in cells)
    least = text.index("\n", len("step,loss,lr\n")) + 1
    for cut in [*sorted(least + cut for cut in cuts), len(text)]:
        (folder / "log").write_text(text[:cut])
        into(folder / "grown", read_log(folder / "log"))
    into(folder / "once", read_log(folder / "log"))
    grown, once = read_run(folder / "grown"), read_run(folder / "once")
    assert {name: steps(records) for name, records in grown.items()} == {
        name: steps(records) for name, records in once.items()
    }


def test_the_banner_says_where_it_comes_from_and_that_losses_are_means(
    write_state: WriteState, read_run: ReadRun, tmp_path: Path
) -> None:
    rows = [{"step": 10, "loss": 2.0}, {"step": 20, "loss": math.nan}, {"step": 20, "train_runtime": 60.0}]
    write_state(tmp_path / "out" / "checkpoint-20", rows)
    added = into(tmp_path / "run", read_log(tmp_path / "out"))
    assert added == Added(rows=2, attempts=1, checkpoints=1, endings=1, rewritten=False)
    banner, first, second, saved, end = read_run(tmp_path / "run")["train-1"]
    assert isinstance(banner, Banner)
    config = json.loads(banner.config or "")
    assert (config["logged_loss"], config["imported_from"]) == ("mean", str(tmp_path / "out"))
    assert (banner.run, banner.attempt, banner.total_steps) == ("run", 1, 100)
    assert isinstance(first, Step)
    assert isinstance(second, Step)
    assert second.loss is not None
    assert math.isnan(second.loss)
    assert second.time - first.time == pytest.approx(60.0), "it says how long it took"
    assert banner.time == first.time
    assert isinstance(saved, Checkpoint)
    assert (saved.step, saved.path) == (20, str(tmp_path / "out" / "checkpoint-20"))
    assert isinstance(end, RunComplete)
    assert (end.exit_code, end.step, end.summary) == (0, 20, {"train_runtime": 60.0})


def test_nothing_says_that_training_ended_if_the_log_does_not(read_run: ReadRun, tmp_path: Path) -> None:
    into(tmp_path / "run", log_of([Row(step=1, loss=1.0)]))
    assert not any(isinstance(one, RunComplete) for one in read_run(tmp_path / "run")["train-1"])


def test_times_are_kept_and_made_up_ones_never_go_back(read_run: ReadRun, tmp_path: Path) -> None:
    rows = [Row(step=step, loss=1.0) for step in range(5)]
    into(tmp_path / "run", log_of(rows[:3]))
    into(tmp_path / "run", log_of(rows, modified=CHANGED + 60))
    times = [one.time - CHANGED for one in read_run(tmp_path / "run")["train-1"] if isinstance(one, Step)]
    assert times == [-2.0, -1.0, 0.0, 30.0, 60.0]
    into(tmp_path / "other", log_of([Row(step=1, loss=1.0, time=5.0), Row(step=2, loss=1.0, time=4.0)]))
    assert [one.time for one in read_run(tmp_path / "other")["train-1"] if isinstance(one, Step)] == [5.0, 4.0]


def test_a_log_that_was_written_anew_becomes_another_attempt(read_run: ReadRun, tmp_path: Path) -> None:
    into(tmp_path / "run", log_of([Row(step=1, loss=1.0), Row(step=2, loss=1.0)]))
    added = into(tmp_path / "run", log_of([Row(step=1, loss=9.0)]))
    assert (added.rewritten, added.attempts, added.rows) == (True, 1, 1)
    found = read_run(tmp_path / "run")
    assert {name: len(steps(records)) for name, records in found.items()} == {"train-1": 2, "train-2": 1}
    assert into(tmp_path / "run", log_of([Row(step=1, loss=9.0)])) == NOTHING


def test_a_row_that_only_changed_from_nan_to_a_number_was_written_anew(tmp_path: Path) -> None:
    into(tmp_path / "run", log_of([Row(step=1, loss=math.nan)]))
    assert into(tmp_path / "run", log_of([Row(step=1, loss=math.nan)])) == NOTHING
    assert into(tmp_path / "run", log_of([Row(step=1, loss=0.0)])).rewritten


def test_other_processes_have_files_of_their_own(read_run: ReadRun, tmp_path: Path) -> None:
    into(tmp_path / "run", log_of([Row(step=1, loss=1.0), Row(step=1, loss=2.0, writer="rank1")]))
    found = read_run(tmp_path / "run")
    assert sorted(found) == ["rank1-1", "train-1"]
    banner = found["rank1-1"][0]
    assert isinstance(banner, Banner)
    assert banner.rank == 1


def test_snapshots_are_appended_as_they_are_seen(read_run: ReadRun, tmp_path: Path) -> None:
    for step in (1, 2, 2, 5):
        into(tmp_path / "run", log_of([Row(step=step, loss=1.0)], snapshot=True))
    assert len(steps(read_run(tmp_path / "run")["train-1"])) == 3
    assert into(tmp_path / "run", log_of([Row(step=3, loss=1.0)], snapshot=True)).rewritten


def test_what_was_written_before_a_crash_does_not_come_twice(read_run: ReadRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    rows = [Row(step=step, loss=float(step), writer=writer) for step in range(6) for writer in ("train", "rank1")]
    into(run, log_of(rows[:2]))
    memory = run / "config" / "import.json"
    before = memory.read_bytes()
    into(run, log_of(rows[:8]))
    memory.write_bytes(before)  # it died before it could remember
    assert into(run, log_of(rows)).rows == 4
    found = read_run(run)
    assert steps(found["train-1"]) == steps(found["rank1-1"]) == [repr((n, float(n), {})) for n in range(6)]


def test_a_torn_line_of_a_crash_is_left_and_another_file_begun(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rows = [Row(step=step, loss=1.0) for step in range(4)]
    into(run, log_of(rows[:2]))
    (file,) = layout.journal_files(run)
    with file.path.open("ab") as journal:
        journal.write(b'{"type":"step","st')
    assert into(run, log_of(rows)).rows == 2
    assert len(layout.journal_files(run)) == 2


def test_a_run_whose_files_were_deleted_is_imported_again(read_run: ReadRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    into(run, log_of([Row(step=1, loss=1.0)]))
    for file in layout.journal_files(run):
        file.path.unlink()
    assert into(run, log_of([Row(step=1, loss=1.0)])).rows == 1
    assert [len(steps(records)) for records in read_run(run).values()] == [1]


def test_two_imports_into_one_run_do_not_run_at_once(tmp_path: Path) -> None:
    with ImportedRun(tmp_path / "run"), pytest.raises(RootBusy, match="another process imports"):
        ImportedRun(tmp_path / "run")
    with ImportedRun(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_wide_rows_and_odd_names_arrive(read_run: ReadRun, tmp_path: Path) -> None:
    wide = {f"layer/{number}": float(number) for number in range(100)}
    rows = [Row(step=step, loss=1.0, metrics=wide) for step in range(3)]
    into(
        tmp_path / "run", log_of([*rows, Row(step=3, metrics={"\ud800": 1.0})], source=Path(os.fsdecode(b"/\xff.csv")))
    )
    into(
        tmp_path / "run", log_of([*rows, Row(step=3, metrics={"\ud800": 1.0})], source=Path(os.fsdecode(b"/\xff.csv")))
    )
    found = [one for one in read_run(tmp_path / "run")["train-1"] if isinstance(one, Step)]
    assert [len(one.metrics) or len(one.values) for one in found] == [100, 100, 100, 1]
    assert found[3].metrics == {"?": 1.0}

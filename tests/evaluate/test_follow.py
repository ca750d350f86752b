"""Following a run: each checkpoint that the journal names is asked once, in its attempt, whatever else happens."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.evaluate.follow import Saves, follow
from barograph.evaluate.probe_set import ProbeSet, Quota, probe_set
from barograph.journal import TailReader, layout
from barograph.records import (
    Answer,
    Banner,
    Checkpoint,
    CollectorFailed,
    ExactMatch,
    Hardware,
    Record,
    RunComplete,
    codec,
)

SaveCheckpoint = Callable[..., None]


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return probe_set([Quota(task="syllo", level="easy", regime="plain_sft", count=5)], seed=0)


def training_log(run: Path, attempt: int, *lines: Record) -> None:
    logs = run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    banner = Banner(run=run.name, attempt=attempt, writer="train", time=0.0)
    path = logs / f"train-{attempt:06d}-2026010{attempt}T000000.jsonl"
    path.write_bytes(b"".join(codec.encode_line(line) for line in (banner, *lines)))


def saved(folder: Path, step: int) -> Checkpoint:
    return Checkpoint(step=step, time=float(step), path=str(folder / f"checkpoint-{step}"))


def written(root: Path, run: Path) -> dict[tuple[str, int], list[Record]]:
    """(writer, attempt) -> its records, read back from the files."""
    found: dict[tuple[str, int], list[Record]] = {}
    for file in layout.journal_files(run):
        with TailReader(root, file.path) as reader:
            records = [entry.record for entry in reader.read().entries]
        found[file.writer, file.attempt] = [record for record in records if not isinstance(record, codec.Unknown)]
    return found


def test_each_checkpoint_is_asked_once_and_its_results_lie_in_its_attempt(
    tmp_path: Path, save_checkpoint: SaveCheckpoint, probes: ProbeSet
) -> None:
    run, folder = tmp_path / "run", tmp_path / "output"
    for step in (0, 9, 10):
        save_checkpoint(folder / f"checkpoint-{step}")
    training_log(run, 1, saved(folder, 0), saved(folder, 10), saved(folder, 9))
    training_log(run, 2, saved(folder, 10), RunComplete(time=1.0))
    told: list[tuple[int, str]] = []
    follow(
        tmp_path,
        run,
        probes,
        until=lambda: False,
        done=lambda results: told.extend((result.step, result.task) for result in results),
    )
    assert told == [(0, "syllo"), (9, "syllo"), (10, "syllo"), (10, "syllo")]
    records = written(tmp_path, run)
    first, second = records["evaluate", 1], records["evaluate", 2]
    assert [one.step for one in first if isinstance(one, ExactMatch)] == [0, 9, 10]
    assert [one.step for one in second if isinstance(one, ExactMatch)] == [10]
    assert len([one for one in first if isinstance(one, Answer)]) == 3 * len(probes.probes)
    assert isinstance(first[-1], RunComplete)
    assert isinstance(second[-1], RunComplete)
    assert (first[-1].exit_code, second[-1].exit_code) == (0, 0)
    machine = [one for one in (*first, *second) if isinstance(one, Hardware)]
    assert machine, "the evaluating machine is told as well"
    assert {one.step for one in machine} == {None}, "and is not taken for the one that trains"


def test_a_checkpoint_that_vanished_is_recorded_and_the_others_are_asked(
    tmp_path: Path, save_checkpoint: SaveCheckpoint, probes: ProbeSet
) -> None:
    run, folder = tmp_path / "run", tmp_path / "output"
    save_checkpoint(folder / "checkpoint-2")
    training_log(run, 1, saved(folder, 1), saved(folder, 2), RunComplete(time=1.0))
    follow(tmp_path, run, probes, until=lambda: False, done=lambda results: None)
    records = written(tmp_path, run)["evaluate", 1]
    failed = [one for one in records if isinstance(one, CollectorFailed)]
    assert [(one.name, one.step) for one in failed] == [("evaluate", 1)]
    assert [one.step for one in records if isinstance(one, ExactMatch)] == [2]


def test_whatever_one_checkpoint_raises_the_later_ones_are_judged(
    tmp_path: Path, save_checkpoint: SaveCheckpoint, probes: ProbeSet
) -> None:
    """A setting of the first has a type that transformers answers with an error of its own."""
    run, folder = tmp_path / "run", tmp_path / "output"
    for step in (1, 2):
        save_checkpoint(folder / f"checkpoint-{step}")
    broken = folder / "checkpoint-1" / "config.json"
    broken.write_text(broken.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": "two"'))
    training_log(run, 1, saved(folder, 1), saved(folder, 2), RunComplete(time=1.0, exit_code=0))
    follow(tmp_path, run, probes, until=lambda: False, done=lambda results: None)
    records = written(tmp_path, run)["evaluate", 1]
    failed = [one for one in records if isinstance(one, CollectorFailed)]
    assert [(one.name, one.step) for one in failed] == [("evaluate", 1)]
    assert "CheckpointError" not in failed[0].error, "this is an error that nobody had thought of"
    assert [one.step for one in records if isinstance(one, ExactMatch)] == [2]


def test_a_caller_that_fails_is_told_and_the_journal_says_that_it_did_not_end_well(
    tmp_path: Path, save_checkpoint: SaveCheckpoint, probes: ProbeSet
) -> None:
    run, folder = tmp_path / "run", tmp_path / "output"
    save_checkpoint(folder / "checkpoint-1")
    training_log(run, 1, saved(folder, 1))

    def fail(results: list[ExactMatch]) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        follow(tmp_path, run, probes, until=lambda: False, done=fail)
    end = written(tmp_path, run)["evaluate", 1][-1]
    assert isinstance(end, RunComplete)
    assert end.exit_code == 1


def test_it_ends_when_told_to_although_training_goes_on(tmp_path: Path, probes: ProbeSet) -> None:
    run = tmp_path / "run"
    training_log(run, 1)
    asked = time.monotonic()
    follow(tmp_path, run, probes, until=lambda: time.monotonic() - asked > 0.1, done=lambda results: None)
    assert set(written(tmp_path, run)) == {("train", 1)}


def test_training_is_over_only_when_its_newest_attempt_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    saves = Saves(tmp_path, run)
    said = [saves.over]
    training_log(run, 1, RunComplete(time=1.0))
    saves.update()
    said.append(saves.over)
    training_log(run, 2)
    saves.update()
    assert [*said, saves.over] == [False, True, False]
    saves.close()


def test_a_log_that_grows_names_each_checkpoint_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    training_log(run, 1, saved(tmp_path, 1))
    saves = Saves(tmp_path, run)
    assert [one.checkpoint.step for one in saves.update()] == [1]
    path = layout.journal_files(run)[0].path
    line = codec.encode_line(saved(tmp_path, 2))
    with path.open("ab") as file:
        file.write(line[:20])
    assert saves.update() == []
    with path.open("ab") as file:
        file.write(line[20:])
    assert [one.checkpoint.step for one in saves.update()] == [2]
    saves.close()

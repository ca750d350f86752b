"""What the demo says of a run follows from its journal alone."""

import math
from pathlib import Path

import pytest

from barograph.cli.demo_progress import DemoProgress
from barograph.policy import load
from barograph.records import Banner, Checkpoint, CollectorFailed, ExactMatch, Record, Step, codec


def write(root: Path, writer: str, *lines: Record) -> None:
    logs = root / "run" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    banner = Banner(run="run", attempt=1, writer=writer, time=0.0)
    path = logs / f"{writer}-000001-20260101T000000.jsonl"
    path.write_bytes(b"".join(codec.encode_line(line) for line in (banner, *lines)))


def match(step: int, correct: int, *, level: str = "easy", regime: str = "plain_sft", base_rate: float = 0.2) -> Record:
    return ExactMatch(
        step=step,
        time=0.0,
        checkpoint=f"checkpoint-{step}",
        probe_set="hash",
        task="syllo",
        level=level,
        regime=regime,
        correct=correct,
        n=100,
        exact_match=correct / 100,
        low=0.0,
        high=1.0,
        confidence=0.95,
        base_rate=base_rate,
    )


@pytest.fixture
def progress(tmp_path: Path) -> DemoProgress:
    return DemoProgress(tmp_path, "run")


def test_an_empty_run_has_no_step_no_loss_and_no_verdict_but_skip(progress: DemoProgress) -> None:
    progress.update()
    assert (progress.step, progress.loss, progress.results()) == (None, None, [])
    assert [verdict.verdict for verdict in progress.verdicts(load())] == ["SKIP", "SKIP"]


def test_the_loss_is_the_mean_of_the_newest_finite_ones(tmp_path: Path, progress: DemoProgress) -> None:
    write(tmp_path, "train", *(Step(step=n, loss=100.0 if n < 11 else float(n), time=0.0) for n in range(1, 31)))
    progress.update()
    assert progress.step == 30
    assert progress.loss == pytest.approx(sum(range(11, 31)) / 20)
    progress.close()


def test_a_nan_loss_fails_the_run(tmp_path: Path, progress: DemoProgress) -> None:
    write(tmp_path, "train", *(Step(step=n, loss=math.nan if n == 5 else 1.0, time=0.0) for n in range(1, 31)))
    progress.update()
    losses, _ = progress.verdicts(load())
    assert (losses.verdict, losses.numbers["non_finite"]) == ("FAIL", 1.0)
    progress.close()


def test_the_easiest_level_of_each_task_is_judged_and_no_other(tmp_path: Path, progress: DemoProgress) -> None:
    write(
        tmp_path,
        "evaluate",
        match(0, 0),
        match(0, 0, level="hard", base_rate=0.45),
        match(90, 70),
        match(90, 99, level="hard", base_rate=0.45),
        match(90, 99, regime="regime3"),
    )
    progress.update()
    _, gain = progress.verdicts(load())
    assert (gain.verdict, gain.subject) == ("PASS", "syllo easy")
    assert gain.numbers["gain"] == pytest.approx(0.5)
    progress.close()


def test_a_model_that_learned_the_commonest_answer_learned_nothing(tmp_path: Path, progress: DemoProgress) -> None:
    write(tmp_path, "evaluate", match(0, 0, base_rate=0.45), match(90, 45, base_rate=0.45))
    progress.update()
    _, gain = progress.verdicts(load())
    assert (gain.verdict, gain.numbers["gain"]) == ("FAIL", 0.0)
    progress.close()


def test_checkpoints_are_counted_as_saved_and_as_evaluated(tmp_path: Path, progress: DemoProgress) -> None:
    write(tmp_path, "train", *(Checkpoint(step=step, time=0.0, path=f"/c/{step}") for step in (0, 9, 18)))
    write(tmp_path, "evaluate", match(0, 1), match(0, 1, level="hard"), match(9, 2))
    assert (progress.saved, progress.evaluated) == (0, 0)
    progress.update()
    assert (progress.saved, progress.evaluated) == (3, 2)
    progress.close()


def test_what_a_collector_could_not_do_is_told(tmp_path: Path, progress: DemoProgress) -> None:
    write(tmp_path, "evaluate", CollectorFailed(time=0.0, name="evaluate", error="no safetensors"))
    progress.update()
    assert progress.failures == ["evaluate: no safetensors"]
    progress.close()

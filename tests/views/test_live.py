"""The live document against the chart, the policy, and the clock."""

import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from barograph.index import Index, Indexer
from barograph.policy import Policy, load
from barograph.records import Banner, Record, RunComplete, Step
from barograph.records.codec import encode_line
from barograph.views import live_status, run_detail, runs, series_set
from barograph.views.series import Asked

NAN = math.nan
PADDING = b'{"type":"padding","x":"' + b"x" * 900_000 + b'"}\n'
CRASHED_AFTER_S = load().run_state.crashed_after_s


def drawn_average(index: Index) -> float:
    """The last value of the smoothed line, which a document says in five digits or more."""
    smoothed = series_set(index, "r", ["loss"], asked=Asked(smoothing=0.9)).series[0].smoothed
    assert smoothed is not None
    assert smoothed[-1] is not None
    return smoothed[-1]


def log(root: Path, *records: Record | bytes, attempt: int = 1, begun: int = 0) -> Path:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"train-{attempt:06d}-20260101T00000{begun}.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(one if isinstance(one, bytes) else encode_line(one) for one in records))
    return path


def banner(attempt: int = 1) -> Banner:
    return Banner(run="r", attempt=attempt, writer="train", time=1000.0 * attempt)


def losses(*values: float, first: int = 0) -> list[Record]:
    return [Step(step=first + place, loss=value, time=2000.0 + place) for place, value in enumerate(values)]


def indexed(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def tolerant(*, max_non_finite: int, min_points: int = 1) -> Policy:
    policy = load()
    table = replace(policy.loss_finite, max_non_finite=max_non_finite, min_points=min_points)
    return replace(policy, loss_finite=table)


def test_the_moving_average_is_the_one_that_the_chart_ends_in(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    log(tmp_path, banner(), *losses(*(8.0 + chance.normal(size=300)).tolist()))
    log(tmp_path, banner(2), *losses(7.3, first=200), attempt=2)
    index = indexed(tmp_path)
    drawn = drawn_average(index)
    assert live_status(index).streaming_ce == pytest.approx(drawn, rel=5.1e-5)
    assert drawn != pytest.approx(7.3, abs=0.1)
    log(tmp_path, *losses(*chance.normal(size=3_000).tolist(), first=201), attempt=2)
    index = indexed(tmp_path)
    assert live_status(index).streaming_ce == pytest.approx(drawn_average(index), rel=5.1e-5)


def test_a_writer_that_went_back_in_its_steps_is_averaged_as_it_is_drawn(tmp_path: Path) -> None:
    log(tmp_path, banner(), *losses(*[9.0] * 3_000), *losses(*[1.0] * 2_500))
    index = indexed(tmp_path)
    assert live_status(index).streaming_ce == pytest.approx(drawn_average(index), rel=5.1e-5)
    (tmp_path / "r" / "logs" / "train-000001-20260101T000000.jsonl").unlink()
    log(tmp_path, banner(), *losses(*[9.0] * 3_000))
    log(tmp_path, banner(), *losses(*[1.0] * 2_500), begun=1)
    index = indexed(tmp_path)
    assert live_status(index).streaming_ce == pytest.approx(drawn_average(index), rel=5.1e-5)


@pytest.mark.parametrize(("value", "spelled"), [(NAN, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_there_is_no_average_over_a_loss_that_is_no_number(tmp_path: Path, value: float, spelled: str) -> None:
    log(tmp_path, banner(), *losses(3.0, 2.0, value))
    document = live_status(indexed(tmp_path))
    assert document.streaming_ce is None
    assert document.why["streaming_ce"] == f"loss is {spelled} at step 2"


def test_a_finite_last_loss_does_not_heal_a_curve_of_nans(tmp_path: Path) -> None:
    log(tmp_path, banner(), *losses(*[2.0] * 1_000, *[NAN] * 4_999, 2.0))
    document = live_status(indexed(tmp_path))
    assert document.loss == 2.0
    assert (document.health, document.health_lights.loss) == ("critical", "critical")


def test_the_policy_says_how_many_losses_may_be_no_numbers(tmp_path: Path) -> None:
    log(tmp_path, banner(), *losses(1.0, NAN, 1.0, math.inf))
    index = indexed(tmp_path)
    for allowed, light in ((0, "critical"), (1, "critical"), (2, "warning"), (9, "warning")):
        document = live_status(index, policy=tolerant(max_non_finite=allowed))
        assert (document.health_lights.loss, document.health) == (light, light)


def test_too_few_losses_to_judge_leave_the_light_unknown_with_its_reason(tmp_path: Path) -> None:
    log(tmp_path, banner(), *losses(1.0, 1.0))
    document = live_status(indexed(tmp_path), policy=tolerant(max_non_finite=0, min_points=3))
    assert (document.health, document.health_lights.loss) == (None, "unknown")
    assert document.why["health_lights.loss"] == "only 2 losses, fewer than 3"
    assert document.why["health"] == "no health light is known"
    assert document.why["health_lights.gpu"]
    assert document.why["health_lights.throughput"]
    document = live_status(indexed(tmp_path), policy=tolerant(max_non_finite=0, min_points=2))
    assert (document.health, document.health_lights.loss) == ("healthy", "ok")
    assert "health_lights.loss" not in document.why


def test_a_nan_that_an_older_attempt_still_shows_is_a_warning_and_one_that_is_hidden_is_none(tmp_path: Path) -> None:
    log(tmp_path, banner(), *losses(1.0, 1.0, NAN, 1.0, NAN))
    log(tmp_path, banner(2), attempt=2)
    document = live_status(indexed(tmp_path))
    assert (document.health, document.health_lights.loss) == ("warning", "warning")
    log(tmp_path, *losses(*[1.0] * 20, first=3), attempt=2)
    document = live_status(indexed(tmp_path))
    assert (document.health, document.health_lights.loss) == ("warning", "warning")
    log(tmp_path, banner(3), *losses(*[1.0] * 20, first=2), attempt=3)
    document = live_status(indexed(tmp_path))
    assert (document.health, document.health_lights.loss) == ("healthy", "ok")


def test_the_losses_of_an_attempt_are_counted_over_all_its_files_and_scans(tmp_path: Path) -> None:
    policy = tolerant(max_non_finite=1)
    with Indexer(tmp_path) as indexer:
        log(tmp_path, banner(), *losses(1.0, NAN))
        indexer.scan()
        assert live_status(Index(tmp_path), policy=policy).health_lights.loss == "warning"
        log(tmp_path, *losses(NAN, 1.0, first=2), begun=1)
        indexer.scan()
        assert live_status(Index(tmp_path), policy=policy).health_lights.loss == "critical"


def test_a_crashed_run_is_critical_whatever_its_lights(tmp_path: Path) -> None:
    path = log(tmp_path, banner(), *losses(*[1.0] * 20))
    index = indexed(tmp_path)
    crashed = live_status(index, now=path.stat().st_mtime + CRASHED_AFTER_S + 1.0)
    assert (crashed.status, crashed.health_lights.loss, crashed.health) == ("crashed", "ok", "critical")


def test_while_a_long_log_is_read_its_run_is_never_called_crashed(tmp_path: Path) -> None:
    path = log(tmp_path, banner(), *[PADDING] * 6, RunComplete(time=2.0))
    said: list[str] = []

    def traced(statement: str) -> None:
        if statement.startswith("BEGIN"):
            index = Index(tmp_path)
            said.extend(row.state for row in runs(index).runs)
            said.append(live_status(index).status)

    for moment, wanted in ((time.time(), {"idle", "training", "completed"}), (1_000.0, {"idle", "completed"})):
        said.clear()
        os.utime(path, (moment, moment))
        with Indexer(tmp_path) as indexer:
            indexer._connection.set_trace_callback(traced)
            indexer.scan()
            said.append(live_status(Index(tmp_path)).status)
        (tmp_path / ".barograph" / "index.sqlite").unlink()
        assert set(said) == wanted


def test_silence_ends_when_the_file_grows_and_not_when_that_is_read(tmp_path: Path) -> None:
    path = log(tmp_path, banner(), *losses(1.0))
    os.utime(path, (1_000.0, 1_000.0))
    index = indexed(tmp_path)
    assert live_status(index, now=1_000.0 + 3 * CRASHED_AFTER_S).status == "crashed"
    log(tmp_path, *losses(1.0, first=1))
    os.utime(path, (1_040.0, 1_040.0))
    alive = live_status(index, now=1_045.0)
    assert (alive.status, alive.heartbeat_age_s) == ("training", 5.0)
    (row,) = runs(index, now=1_040.0 + CRASHED_AFTER_S + 1.0).runs
    assert (row.state, row.state_reason) == ("idle", "Attempt 1 fell silent, and its newest lines are not read yet")


def test_a_dead_run_whose_clock_was_ahead_is_not_training_for_ever(tmp_path: Path) -> None:
    path = log(tmp_path, banner(), *losses(1.0))
    next_year = time.time() + 3e7
    os.utime(path, (next_year, next_year))
    index = indexed(tmp_path)
    assert live_status(index).status == "training"
    assert live_status(index, now=time.time() + CRASHED_AFTER_S + 1.0).status == "crashed"


def test_every_file_has_its_turn_among_the_refused_lines(tmp_path: Path) -> None:
    for attempt in (1, 2, 3):
        log(tmp_path, *[b"rubbish %d\n" % attempt] * 5, attempt=attempt)
    examples = run_detail(indexed(tmp_path), "r").journal.examples
    assert len(examples) == 10
    assert [example.split("/train-")[1][5] for example in examples[:4]] == ["1", "2", "3", "1"]

"""What the documents say of runs whose story is known."""

import math
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from barograph import views
from barograph.errors import UnknownRun, UnknownSeries, UsageError
from barograph.index import Index, Indexer
from barograph.policy import load
from barograph.records import (
    Alert,
    Banner,
    Checkpoint,
    Collector,
    CollectorFailed,
    ConfigUpdate,
    Heartbeat,
    LostRecords,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Step,
    Verdict,
)
from barograph.records.codec import encode_document, encode_line
from barograph.views import live_status, run_detail, runs, series_set
from barograph.views.documents import AttemptRow, LiveStatus, Series
from barograph.views.series import Asked

NAN = math.nan
CRASHED_AFTER_S = load().run_state.crashed_after_s
WHOLE = Asked()


def series(index: Index, run: str, name: str, asked: Asked = WHOLE) -> Series:
    return series_set(index, run, [name], asked=asked).series[0]


def log(root: Path, *records: Record, run: str = "r", writer: str = "train", attempt: int = 1) -> Path:
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-{attempt:06d}-20260101T000000.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(encode_line(record) for record in records))
    return path


def banner(attempt: int = 1, *, run: str = "r", writer: str = "train", **others: object) -> Banner:
    given = {"run": run, "attempt": attempt, "writer": writer, "time": 1000.0 * attempt, "host": "gpu1", **others}
    return Banner(**given)  # type: ignore[arg-type]  # the tests name fields of a banner


def loss(step: int, value: float = 1.0, **metrics: float) -> Step:
    return Step(step=step, loss=value, time=2000.0 + step, metrics=metrics)


def indexed(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def attempts(index: Index) -> list[AttemptRow]:
    return series_set(index, "r", ["loss"]).attempts


def at(path: Path, moment: float) -> float:
    """Makes the file one that last grew then."""
    os.utime(path, (moment, moment))
    return moment


def with_resume(root: Path) -> None:
    """Steps 0-99, death, a resume at 60 that reaches 149, another at 80 that reaches 89."""
    for attempt, steps in ((1, range(100)), (2, range(60, 150)), (3, range(80, 90))):
        log(root, banner(attempt), *(loss(step, float(attempt)) for step in steps), attempt=attempt)


def test_a_resume_shows_the_newest_attempt_and_counts_what_it_hides(tmp_path: Path) -> None:
    with_resume(tmp_path)
    found = series(indexed(tmp_path), "r", "loss")
    assert found.step == list(range(90))
    assert found.last == [1.0] * 60 + [2.0] * 20 + [3.0] * 10
    assert (found.points, found.hidden_points) == (90, 40 + 70)
    rows = [(row.attempt, row.first_step, row.last_step, row.shown_until) for row in attempts(indexed(tmp_path))]
    assert rows == [(1, 0, 99, 60), (2, 60, 149, 80), (3, 80, 89, None)]


def test_hidden_points_are_those_of_the_window(tmp_path: Path) -> None:
    with_resume(tmp_path)
    found = series(indexed(tmp_path), "r", "loss", Asked(first=50, last=64))
    assert (found.step, found.points, found.hidden_points) == (list(range(50, 65)), 15, 5)


def test_a_window_without_points_is_empty_and_not_an_error(tmp_path: Path) -> None:
    with_resume(tmp_path)
    found = series(indexed(tmp_path), "r", "loss", Asked(first=500, last=400))
    assert (found.step, found.points, found.count) == ([], 0, [])


def test_every_non_finite_point_is_listed_with_what_came_before_it(tmp_path: Path) -> None:
    values = [NAN, 1.0, 2.0, math.inf, 3.0, -math.inf, NAN]
    log(tmp_path, *(loss(step, value) for step, value in enumerate(values)))
    found = series(indexed(tmp_path), "r", "loss", Asked(buckets=2))
    assert [point.step for point in found.non_finite] == [0, 3, 5, 6]
    assert [point.after for point in found.non_finite] == [None, 2.0, 3.0, 3.0]
    assert (found.count, found.minimum, found.maximum, found.last) == ([4, 3], [1.0, 3.0], [2.0, 3.0], [2.0, 3.0])
    assert found.mean == [1.5, 3.0]
    body = encode_document(found)
    assert body.count(b'"value":"NaN"') == 2
    assert body.count(b'"value":"Infinity"') == 1
    assert body.count(b'"value":"-Infinity"') == 1


def test_more_non_finite_points_than_can_be_listed_are_counted(tmp_path: Path) -> None:
    log(tmp_path, *(loss(step, NAN) for step in range(1_500)))
    found = series(indexed(tmp_path), "r", "loss")
    assert (len(found.non_finite), found.non_finite_count) == (1_000, 1_500)
    assert set(found.last) == {None}


def test_the_average_is_made_from_all_points_whatever_the_window_and_the_buckets(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=500)
    log(tmp_path, *(loss(step, float(value)) for step, value in enumerate(values)))
    wanted = pd.Series(values).ewm(alpha=0.1, adjust=True).mean().to_numpy()
    index = indexed(tmp_path)
    for found in (
        series(index, "r", "loss", Asked(smoothing=0.9)),
        series(index, "r", "loss", Asked(smoothing=0.9, buckets=7)),
        series(index, "r", "loss", Asked(smoothing=0.9, first=123, last=321, buckets=50)),
    ):
        assert found.smoothed is not None
        smoothed = [one for one in found.smoothed if one is not None]
        np.testing.assert_allclose(smoothed, wanted[found.step], rtol=5.1e-5, atol=5.1e-5)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    index = indexed(tmp_path)
    with pytest.raises(UsageError, match="0 buckets"):
        series(index, "r", "loss", Asked(buckets=0))
    with pytest.raises(UsageError, match=r"smoothing 1\.0"):
        series(index, "r", "loss", Asked(smoothing=1.0))
    with pytest.raises(UnknownRun, match="'x'"):
        series(index, "x", "loss")
    with pytest.raises(UnknownSeries, match="'x'"):
        series(index, "r", "x")


def nulls(document: LiveStatus) -> set[str]:
    """Dotted names of the null fields and the unknown lights."""
    found = {name for name in document.__struct_fields__ if getattr(document, name) is None}
    for field in ("training_host", "inference_host", "health_lights"):
        part = getattr(document, field)
        found |= {f"{field}.{name}" for name in part.__struct_fields__ if getattr(part, name) in (None, "unknown")}
    return found


def test_every_null_has_its_reason_and_nothing_else_has(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "idle" / "r" / "logs").mkdir(parents=True)
    log(tmp_path / "begun", banner())
    log(tmp_path / "nan", banner(total_steps=9), loss(1, NAN))
    with_resume(tmp_path / "full")
    for root in sorted(tmp_path.iterdir()):
        document = live_status(indexed(root))
        assert set(document.why) == nulls(document), root.name
        assert all(document.why.values())
        assert len(encode_document(document)) < 50_000


def test_without_a_run_the_live_document_is_idle_and_says_why(tmp_path: Path) -> None:
    document = live_status(indexed(tmp_path))
    assert (document.run, document.status, document.active_alerts) == (None, "idle", [])
    assert document.why["loss"] == "there is no run"
    with pytest.raises(UnknownRun):
        live_status(Index(tmp_path), "x")


def test_a_live_run_is_described_by_its_newest_attempt(tmp_path: Path) -> None:
    log(tmp_path, banner(1, model_name="old"), loss(1, 9.0, epoch=7.0), RunComplete(time=1.0))
    rows = [loss(step, 2.0, **{"train/learning_rate": 0.5 / (1 + step)}) for step in range(10, 21)]
    path = log(
        tmp_path,
        banner(2, model_name="tiny", total_steps=40),
        *rows,
        Checkpoint(step=20, time=1500.0, path="/x/checkpoint-20"),
        attempt=2,
    )
    now = at(path, 1_700_000_000.0) + 3.0
    document = live_status(indexed(tmp_path), "r", now=now)
    assert (document.status, document.heartbeat_age_s, document.attempt) == ("training", 3.0, 2)
    assert (document.model_name, document.checkpoint_id) == ("tiny", "checkpoint-20")
    assert (document.current_step, document.total_steps, document.loss) == (20, 40, 2.0)
    assert document.learning_rate == 0.5 / 21
    smoothed = series(Index(tmp_path), "r", "loss", Asked(smoothing=0.9)).smoothed
    assert smoothed is not None
    assert smoothed[-1] == pytest.approx(document.streaming_ce, rel=5.1e-5)
    assert document.eta_overall_s == pytest.approx(20.0)
    assert document.epoch is None
    assert document.why["epoch"] == "attempt 2 has logged neither train/epoch nor epoch"
    assert (document.health, document.health_lights.loss) == ("healthy", "ok")
    assert (document.training_host.name, document.training_host.online) == ("gpu1", True)
    assert document.snapshot_date == "1970-01-01T00:25:00.000000+00:00"
    assert document.status_since == "1970-01-01T00:33:20.000000+00:00"


def test_a_loss_that_is_no_number_is_null_with_its_step_and_turns_the_light_red(tmp_path: Path) -> None:
    log(tmp_path, banner(), loss(1, 3.0), loss(2, NAN))
    document = live_status(indexed(tmp_path))
    assert document.loss is None
    assert document.why["loss"] == "loss is NaN at step 2"
    assert (document.health, document.health_lights.loss) == ("critical", "critical")


def test_silence_and_completion_are_told_apart(tmp_path: Path) -> None:
    path = log(tmp_path, banner(), loss(1), Heartbeat(time=5.0, step=1))
    moment = at(path, 1_700_000_000.0)
    index = indexed(tmp_path)
    assert live_status(index, now=moment + CRASHED_AFTER_S).status == "training"
    crashed = live_status(index, now=moment + CRASHED_AFTER_S + 0.1)
    assert (crashed.status, crashed.training_host.online) == ("crashed", False)
    assert crashed.why["eta_overall_s"] == "the run is crashed"
    log(tmp_path, Pause(time=6.0, paused=True))
    moment = at(path, moment + 60)
    assert live_status(indexed(tmp_path), now=moment).status == "paused"
    log(tmp_path, Pause(time=7.0, paused=False), RunComplete(time=8.0))
    assert live_status(indexed(tmp_path), now=moment + 1e6).status == "completed"
    log(tmp_path, banner(2), attempt=2)
    resumed = live_status(indexed(tmp_path), now=time.time())
    assert (resumed.status, resumed.loss, resumed.current_step) == ("training", None, None)
    assert resumed.why["loss"] == "attempt 2 has logged no loss yet"


def test_pauses_do_not_lengthen_the_remaining_time(tmp_path: Path) -> None:
    log(
        tmp_path,
        banner(total_steps=20),
        Step(step=0, loss=1.0, time=100.0),
        Pause(time=101.0, paused=True),
        Pause(time=1101.0, paused=False),
        Step(step=10, loss=1.0, time=1110.0),
    )
    assert live_status(indexed(tmp_path)).eta_overall_s == pytest.approx(10.0)


@pytest.mark.parametrize("times", [(100.0, 50.0), (NAN, 1.0), (1.0, math.inf)])
def test_a_clock_that_cannot_be_used_gives_no_remaining_time(tmp_path: Path, times: tuple[float, float]) -> None:
    first, last = times
    log(tmp_path, banner(total_steps=20), Step(step=0, time=first), Step(step=10, time=last))
    document = live_status(indexed(tmp_path))
    assert document.eta_overall_s is None
    assert "clock" in document.why["eta_overall_s"]


def test_the_default_run_is_the_one_that_moved_last(tmp_path: Path) -> None:
    for place, run in enumerate(("b", "c", "a")):
        at(log(tmp_path, banner(run=run), run=run), 1_700_000_000.0 + place)
    index = indexed(tmp_path)
    assert live_status(index).run == "a"
    assert [row.run for row in runs(index).runs] == ["a", "c", "b"]


def test_an_evaluating_process_is_the_inference_host(tmp_path: Path) -> None:
    log(tmp_path, banner(), loss(1))
    log(tmp_path, banner(writer="evaluate", host="gpu2"), writer="evaluate")
    document = live_status(indexed(tmp_path))
    assert (document.inference_host.name, document.inference_host.online) == ("gpu2", True)
    log(tmp_path, RunComplete(time=1.0), writer="evaluate")
    assert live_status(indexed(tmp_path)).inference_host.online is False


def test_alerts_are_cut_for_the_live_document_and_whole_in_the_detail(tmp_path: Path) -> None:
    alerts = [Alert(time=float(place), title=f"{place} " + "é" * 300, text="x" * 2_000) for place in range(150)]
    log(tmp_path, banner(), *alerts)
    index = indexed(tmp_path)
    live = live_status(index)
    assert [alert.title.split()[0] for alert in live.active_alerts] == [str(place) for place in range(149, 133, -1)]
    assert {(len(alert.title), len(alert.text)) for alert in live.active_alerts} == {(200, 500)}
    assert len(encode_document(live)) < 50_000
    detail = run_detail(index, "r")
    assert (len(detail.alerts), len(detail.alerts[0].text)) == (100, 2_000)


def verdict(moment: float, name: str, word: str) -> Verdict:
    return Verdict(name=name, verdict=word, message="m", numbers={}, thresholds={}, policy="default", time=moment)  # type: ignore[arg-type]  # the words are right


def test_the_detail_of_a_run_says_everything_that_its_records_say(tmp_path: Path) -> None:
    log(tmp_path, banner(1, config='{"lr":1,"seed":3}', versions={"torch": "1"}), loss(1))
    log(
        tmp_path,
        banner(
            2, config='{"lr":1,"seed":3}', versions={"torch": "2"}, git_commit="abc", resumed_from="/x/checkpoint-1"
        ),
        ConfigUpdate(time=1.0, config='{"lr":2}'),
        Collector(time=1.0, name="raw_loss", running=True, detail="wraps training_step"),
        Collector(time=1.0, name="gradients", running=False, detail="not asked for"),
        CollectorFailed(time=2.0, name="raw_loss", error="ValueError: x"),
        Checkpoint(step=1, time=10.0, path="/x/checkpoint-1"),
        Checkpoint(step=2, time=20.0, path="/x/checkpoint-2"),
        verdict(1.0, "loss_finite", "FAIL"),
        verdict(2.0, "loss_finite", "PASS"),
        LostRecords(time=1.0, count=5),
        attempt=2,
    )
    log(tmp_path, Banner(run="r", attempt=2, writer="rank1", time=1.0, format=7), writer="rank1", attempt=2)
    with log(tmp_path, loss(2), attempt=2).open("ab") as file:
        file.write(b"rubbish\n{")
    detail = run_detail(indexed(tmp_path), "r")
    assert detail.config == '{"lr":2,"seed":3}'
    assert (detail.versions, detail.git_commit) == ({"torch": "2"}, "abc")
    assert [(row.name, row.running, row.detail) for row in detail.collectors] == [
        ("gradients", False, "not asked for"),
        ("raw_loss", False, "ValueError: x"),
    ]
    assert [(row.step, row.attempt, row.name) for row in detail.checkpoints] == [
        (2, 2, "checkpoint-2"),
        (1, 2, "checkpoint-1"),
    ]
    assert [(one.name, one.verdict) for one in detail.verdicts] == [("loss_finite", "PASS")]
    assert [row.resumed_from for row in detail.attempts] == [None, "/x/checkpoint-1"]
    health = detail.journal
    assert (health.files, health.bad_lines, health.torn_files, health.lost_records) == (3, 1, 1, 5)
    assert "not_json" in health.examples[0]
    assert detail.series == ["loss"]
    said = "\n".join(detail.summary.notices)
    assert "written by a newer barograph (format 7" in said
    assert "1 journal line could not be read" in said
    assert "5 records dropped" in said


def test_two_logs_of_one_attempt_that_do_not_continue_each_other_are_said(tmp_path: Path) -> None:
    path = log(tmp_path, banner(), loss(1))
    second = path.with_name("train-000001-20260101T000001.jsonl")
    second.write_bytes(encode_line(banner(part=2, part_reason="fsync")))
    index = indexed(tmp_path)
    assert runs(index).runs[0].notices == []
    second.write_bytes(encode_line(banner()))
    assert "more than one process" in runs(indexed(tmp_path)).runs[0].notices[0]


def test_a_run_that_only_has_a_folder_is_listed_as_idle(tmp_path: Path) -> None:
    (tmp_path / "r" / "logs").mkdir(parents=True)
    (row,) = runs(indexed(tmp_path)).runs
    assert (row.state, row.attempt, row.loss, row.started, row.last_seen) == ("idle", None, None, None, None)


def test_a_run_without_a_banner_is_still_a_run(tmp_path: Path) -> None:
    log(tmp_path, loss(3, math.inf))
    (row,) = runs(indexed(tmp_path)).runs
    assert (row.state, row.current_step, row.loss, row.started) == ("training", 3, math.inf, None)
    assert b'"loss":"Infinity"' in encode_document(row)


def test_times_that_no_calendar_has_are_null(tmp_path: Path) -> None:
    log(tmp_path, banner(time=1e300), Step(step=1, time=NAN, loss=1.0))
    (row,) = runs(indexed(tmp_path)).runs
    assert (row.started, row.last_seen) == (None, None)


def test_every_public_view_is_in_the_tuple() -> None:
    assert {"VIEWS", *(view.__name__ for view in views.VIEWS)} == set(views.__all__)


def test_an_evaluation_at_the_resume_step_does_not_hide_the_nan_there(tmp_path: Path) -> None:
    losses = [loss(step, NAN if step == 4 else 1.0) for step in range(1, 7)]
    log(tmp_path, banner(1), *losses, Checkpoint(step=4, time=1.0, path="/x/checkpoint-4"))
    index = indexed(tmp_path)
    resumed = log(
        tmp_path,
        banner(2, resumed_from="/x/checkpoint-4"),
        Step(step=4, time=9.0, metrics={"eval/loss": 2.0}),
        attempt=2,
    )
    for later in (b"", encode_line(loss(5, 2.0)) + encode_line(loss(6, 2.0))):
        with resumed.open("ab") as file:
            file.write(later)
        index = indexed(tmp_path)
        found = series(index, "r", "loss")
        assert found.step == [1, 2, 3, 4, 5, 6]
        assert [point.step for point in found.non_finite] == [4]
        assert series(index, "r", "eval/loss").step == [4]
    assert found.last == [1.0, 1.0, 1.0, None, 2.0, 2.0]
    assert found.hidden_points == 2
    assert [(row.first_step, row.last_step, row.shown_until) for row in attempts(indexed(tmp_path))] == [
        (1, 6, 5),
        (5, 6, None),
    ]


def test_a_loss_in_one_part_of_an_attempt_tells_where_all_of_it_began(tmp_path: Path) -> None:
    log(tmp_path, banner(1), *(loss(step) for step in range(9)))
    log(tmp_path, banner(2), loss(6, 2.0), attempt=2)
    rows = b"".join(encode_line(Step(step=step, time=1.0, metrics={"x": 1.0})) for step in (3, 9))
    second_part = tmp_path / "r" / "logs" / "train-000002-20260101T000009.jsonl"
    second_part.write_bytes(encode_line(banner(2, part=2)) + rows)
    assert series(indexed(tmp_path), "r", "loss").last == [1.0] * 6 + [2.0]


def test_attempts_that_log_no_loss_are_cut_at_their_first_step(tmp_path: Path) -> None:
    for attempt, steps in ((1, range(10)), (2, range(5, 8))):
        rows = [Step(step=step, time=1.0, metrics={"accuracy": float(attempt)}) for step in steps]
        log(tmp_path, banner(attempt), *rows, attempt=attempt)
    assert series(indexed(tmp_path), "r", "accuracy").last == [1.0] * 5 + [2.0] * 3


def test_an_end_without_a_word_is_completed_and_says_so(tmp_path: Path) -> None:
    log(tmp_path, banner(), loss(1), RunComplete(time=8.0, reason="the process ended without finish()"))
    (row,) = runs(indexed(tmp_path)).runs
    assert row.state == "completed"
    assert row.state_reason.endswith("ended without saying whether it succeeded: the process ended without finish()")
    log(tmp_path, banner(2), RunComplete(time=9.0, exit_code=3), attempt=2)
    (row,) = runs(indexed(tmp_path)).runs
    assert (row.state, row.state_reason) == ("crashed", "Attempt 2 ended with exit code 3")


def rejected(key: str, kind: str, step: int | None = 1) -> RejectedValue:
    return RejectedValue(time=1.0, key=key, value_type=kind, step=step)


def test_rejected_values_are_counted_by_whoever_knows_more_and_named(tmp_path: Path) -> None:
    log(tmp_path, banner(1), loss(1), rejected("note", "str"), RunComplete(time=2.0, exit_code=0, rejected=40))
    log(tmp_path, banner(2), rejected("note", "str"), rejected("step", "float", None), attempt=2)
    log(tmp_path, rejected("loss", "Tensor of shape [2]"), RunComplete(time=2.0), writer="rank1", attempt=2)
    detail = run_detail(indexed(tmp_path), "r")
    assert detail.journal.rejected_values == 40 + 2 + 1
    (notice,) = detail.summary.notices
    said, _, named = notice.partition(": ")
    assert said == "43 logged values or rows were left out, because they were no numbers"
    assert named == "'note' (str), 'loss' (Tensor of shape [2]), a whole row, for its step (float)"


def test_one_rejected_value_is_said_in_the_singular_and_many_kinds_are_cut(tmp_path: Path) -> None:
    log(tmp_path, banner(), rejected("note", "str"))
    assert runs(indexed(tmp_path)).runs[0].notices == [
        "1 logged value or row was left out, because it was no number: 'note' (str)"
    ]
    log(tmp_path, *(rejected(f"k{place}", "str") for place in range(9)))
    (notice,) = runs(indexed(tmp_path)).runs[0].notices
    assert notice.startswith("10 logged values or rows")
    assert notice.endswith(": 'note' (str), 'k0' (str), 'k1' (str), and others")


def together(index: Index, *, now: float = 1e6) -> list[str]:
    """The pairs of attempts that are said to have been written at the same time."""
    said = [notice for notice in runs(index, now=now).runs[0].notices if "at the same time" in notice]
    return [notice.partition(" were ")[0] for notice in said]


def test_an_attempt_that_writes_on_after_the_next_one_began_is_said(tmp_path: Path) -> None:
    log(tmp_path, banner(1, time=100.0), loss(1), Heartbeat(time=200.0))
    log(tmp_path, banner(2, time=200.5), attempt=2)
    assert together(indexed(tmp_path)) == []
    log(tmp_path, Heartbeat(time=201.0))
    (row,) = runs(indexed(tmp_path)).runs
    assert row.notices == ["Attempts 1 and 2 were written at the same time: two processes trained into this run"]


def test_a_resume_after_death_or_completion_is_no_second_process_however_quick(tmp_path: Path) -> None:
    log(tmp_path, banner(1, time=100.0), Heartbeat(time=200.0))
    log(tmp_path, banner(2, time=200.5), Heartbeat(time=201.0), RunComplete(time=202.0, exit_code=0), attempt=2)
    log(tmp_path, banner(3, time=202.0), Heartbeat(time=203.0), attempt=3)
    assert together(indexed(tmp_path), now=time.time()) == []


def test_clocks_of_two_machines_are_believed_to_the_length_of_a_silence_only(tmp_path: Path) -> None:
    log(tmp_path, banner(1, time=100.0), Heartbeat(time=200.0))
    log(tmp_path, banner(2, time=190.0, host="gpu2"), attempt=2)
    assert together(indexed(tmp_path)) == []
    log(tmp_path, Heartbeat(time=190.0 + CRASHED_AFTER_S + 0.1))
    assert together(indexed(tmp_path)) == ["Attempts 1 and 2"]


def test_two_machines_that_both_write_now_are_said_whatever_their_clocks_say(tmp_path: Path) -> None:
    older = log(tmp_path, banner(1, time=100.0), Heartbeat(time=200.0))
    newer = log(tmp_path, banner(2, time=9_000.0, host="gpu2"), Heartbeat(time=9_001.0), attempt=2)
    now = at(newer, at(older, 1_700_000_000.0))
    assert together(indexed(tmp_path), now=now) == [], "the older one may have died just before"
    log(tmp_path, Heartbeat(time=9_001.0 + CRASHED_AFTER_S), attempt=2)
    at(newer, at(older, now))
    index = indexed(tmp_path)
    assert together(index, now=now) == ["Attempts 1 and 2"]
    assert together(index, now=now + CRASHED_AFTER_S + 0.1) == []
    log(tmp_path, RunComplete(time=201.0, exit_code=0))
    at(older, now)
    assert together(indexed(tmp_path), now=now) == []


@pytest.mark.parametrize("moment", [NAN, math.inf, -math.inf])
def test_times_that_cannot_be_used_accuse_nobody(tmp_path: Path, moment: float) -> None:
    log(tmp_path, banner(1), Heartbeat(time=moment))
    log(tmp_path, banner(2, time=moment), loss(1), attempt=2)
    assert together(indexed(tmp_path)) == []


def test_a_run_that_is_a_link_is_said_in_the_list_of_runs(tmp_path: Path) -> None:
    log(tmp_path / "elsewhere", banner())
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked-run").symlink_to(tmp_path / "elsewhere" / "r")
    found = runs(indexed(tmp_path / "root"))
    assert (found.runs, found.notices) == ([], ["linked-run is a link, so it is not read"])


def test_a_commit_that_became_known_later_takes_the_place_of_the_banners(tmp_path: Path) -> None:
    updates = [ConfigUpdate(time=1.0, config="{}", git_commit="abc"), ConfigUpdate(time=2.0, config="{}")]
    log(tmp_path, banner(git_commit="abc-unknown"), *updates)
    assert run_detail(indexed(tmp_path), "r").git_commit == "abc"


def test_a_resume_that_does_not_repeat_the_settings_has_them_all_the_same(tmp_path: Path) -> None:
    log(tmp_path, banner(1, config='{"lr":1}'), loss(1))
    log(tmp_path, banner(2), loss(2), attempt=2)
    assert run_detail(indexed(tmp_path), "r").config == '{"lr":1}'
    log(tmp_path, banner(3, config='{"lr":2}'), loss(3), attempt=3)
    assert run_detail(indexed(tmp_path), "r").config == '{"lr":2}'

"""Whatever is logged goes through the watch, in the writer's thread, and nothing of it can stop the log."""

import json
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barograph.analysis.layer_activity import LayerName, LayerValues
from barograph.analysis.throughput import StepTiming
from barograph.collect.begin import init
from barograph.collect.layer_norms import HostNorms, HostSquares, LayerNorms
from barograph.collect.live_folds import LiveFolds, layer_metrics
from barograph.collect.observed import BATCH_SIZE, SEQUENCE_LENGTH, Observed
from barograph.collect.rows import Rows
from barograph.collect.run import Run
from barograph.collect.time_budget import TimeBudget
from barograph.journal import TailReader, layout
from barograph.policy import load
from barograph.records import (
    Advice,
    Alert,
    Banner,
    CollectorFailed,
    ConfigUpdate,
    Record,
    RunComplete,
    Signals,
    Step,
)

Kind = TypeVar("Kind")


def records(run: Run) -> list[Record]:
    run.finish()
    found: list[Record] = []
    for file in layout.journal_files(run.directory):
        with TailReader(run.directory, file.path) as reader:
            batch = reader.read(1 << 30)
        assert (batch.bad, batch.torn) == ([], 0)
        found += [entry.record for entry in batch.entries]  # type: ignore[misc]  # all of known kinds
    return found


def of_kind(kind: type[Kind], found: list[Record]) -> list[Kind]:
    return [one for one in found if isinstance(one, kind)]


VALUES = st.one_of(
    st.floats(),
    st.integers(),
    st.none(),
    st.text(max_size=5),
    st.complex_numbers(),
    st.binary(max_size=3),
    st.sampled_from(
        [torch.tensor(1.5), torch.zeros(3), torch.tensor(math.nan), torch.tensor(1j), math.inf, -0.0, True]
    ),
    st.lists(st.floats(), max_size=2),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            "loss",
            "train/loss",
            "grad_norm",
            "learning_rate",
            "eval/loss",
            "fixed_eval_ece",
            "fixed_eval_n",
            "layers/a/gradient_norm",
        ]
    ),
    st.text(max_size=10),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=12))
def test_whatever_is_logged_no_fold_fails_and_every_number_is_in_the_log(
    rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = init("p", dir=tmp_path_factory.mktemp("runs"))
    for step, row in enumerate(rows):
        run.log(row, step=step)
    found = records(run)
    assert not of_kind(CollectorFailed, found)
    last = found[-1]
    assert isinstance(last, RunComplete)
    numbers = sum(
        isinstance(value, float | int)
        or (isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex())
        for row in rows
        for value in row.values()
    )
    values = sum(len(row) for row in rows)
    assert last.rejected == values - numbers


def test_ten_thousand_nans_are_one_alert_with_their_count(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    for step in range(10_000):
        run.log({"loss": math.nan}, step=step)
    found = records(run)
    alerts = [one for one in of_kind(Alert, found) if one.condition == "non_finite_loss"]
    assert len({one.id for one in alerts}) == 1
    assert len(alerts) < 20
    assert alerts[-1].count == 10_000
    assert (alerts[0].first_step, alerts[0].state, alerts[0].level) == (0, "firing", "critical")
    assert len(of_kind(Step, found)) == 10_000


def test_a_nan_at_a_step_alerts_at_that_step_within_a_second(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    for step in range(30):
        run.log({"loss": 2.0 - 0.01 * step}, step=step)
    run.log({"loss": math.nan}, step=30)
    logged_at = time.time()
    assert run.flush()
    first = next(one for one in of_kind(Alert, records(run)) if one.condition == "non_finite_loss")
    assert first.step == first.first_step == 30
    assert first.time - logged_at < 1.0


def test_a_metric_with_a_name_of_ten_thousand_characters_is_recorded(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    name = "x" * 10_240
    run.log({"loss": 1.0, name: 2.0}, step=0)
    (step,) = of_kind(Step, records(run))
    assert step.metrics == {name: 2.0}


def test_a_dict_of_a_hundred_thousand_values_is_recorded_and_the_next_step_too(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.log({f"m{number}": float(number) for number in range(100_000)} | {"loss": 1.0}, step=0)
    run.log({"loss": 0.5}, step=1)
    found = records(run)
    assert not of_kind(CollectorFailed, found)
    assert sum(len(one.metrics) for one in of_kind(Step, found) if one.step == 0) == 100_000
    assert [one.loss for one in of_kind(Step, found) if one.step == 1] == [0.5]


def test_what_the_user_logs_reaches_the_watch(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.set_total_steps(50)
    for step in range(5):
        run.log({"loss": 2.0, "learning_rate": 0.5, "grad_norm": 1.5}, step=step)
    run.log({"eval/loss": 2.5}, step=4)
    run.alert("mine", "look", "critical")
    run.checkpoint(4, tmp_path / "checkpoint-4")
    found = records(run)
    last = of_kind(Signals, found)[-1]
    assert last.streaming_ce == pytest.approx(2.0)
    assert (last.learning_rate, last.gradient_norm, last.validation_loss) == (0.5, 1.5, 2.5)
    assert last.step == 4
    assert {one.condition for one in of_kind(Alert, found)} >= {"", "learning_rate_high"}
    assert of_kind(Advice, found)
    document = json.loads((run.directory / "status" / "training_status.json").read_bytes())
    assert (document["status"], document["current_step"], document["loss"]) == ("completed", 4, 2.0)
    assert document["total_steps"] == 50


def test_a_run_that_crashes_says_so_in_its_status_document(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.log({"loss": math.nan, "eval/fixed_eval_em": 0.25}, step=3)
    run.finish(exit_code=1, reason="ValueError: out of memory")
    document = json.loads((run.directory / "status" / "training_status.json").read_bytes())
    assert (document["status"], document["error_type"], document["error_message"]) == (
        "crashed",
        "ValueError",
        "out of memory",
    )
    assert document["loss"] is None
    assert "NaN" in document["why"]["loss"]
    assert document["fixed_eval_em"] == 0.25


def test_without_a_watch_nothing_is_derived(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path, monitor=False)
    run.log({"loss": math.nan}, step=0)
    assert [type(one) for one in records(run) if not isinstance(one, ConfigUpdate)] == [Banner, Step, RunComplete]
    watching = ("barograph-pulse", "barograph-status", "barograph-webhook", "barograph-machine", "barograph-gpus")
    assert not [one for one in threading.enumerate() if one.name in watching]


def test_the_folds_run_in_the_writers_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from barograph.policy.training_watch import TrainingWatch

    seen: set[str] = set()
    real = TrainingWatch.metrics

    def metrics(watch: TrainingWatch, step: int, at: float, values: Mapping[str, float]) -> list[Record]:
        seen.add(threading.current_thread().name)
        return real(watch, step, at, values)

    monkeypatch.setattr(TrainingWatch, "metrics", metrics)
    run = init("p", dir=tmp_path)
    run.log({"loss": 1.0, "x": 2.0}, step=0)
    run.finish()
    assert seen == {"barograph-journal"}


def folds(**changes: object) -> LiveFolds:
    return LiveFolds(load("default"), rows=Rows(), budget=TimeBudget({}), **changes)  # type: ignore[arg-type]  # as named


def test_a_fold_that_raises_is_said_once_and_the_lines_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = folds()
    rows = Rows()
    monkeypatch.setattr(found, "_log", lambda records: 1 / 0)
    said = [found.logged(rows.plain_step, step, 1.0, {"loss": 1.0}, True) for step in range(3)]
    assert [[type(one) for one in lines] for lines in said] == [[Step, CollectorFailed], [Step], [Step]]
    (_, failed), *_ = said
    assert isinstance(failed, CollectorFailed)
    assert (failed.name, failed.error) == ("alerts", "ZeroDivisionError: division by zero")
    assert found.watch is None
    assert found.end() == []


def test_an_alert_that_fires_is_told_once_and_asks_for_the_stop_and_its_batch() -> None:
    told: list[tuple[str, str]] = []
    found = folds(told=lambda alert: told.append((alert.condition, alert.state)), stop_on={"non_finite_loss"})
    rows = Rows()
    for step in range(5):
        found.logged(rows.plain_step, step, float(step), {"loss": math.nan if step == 2 else 1.0}, True)
        assert (found.stop is not None) is (step >= 2)
    assert found.stop is not None
    assert (found.stop.condition, found.stop.step) == ("non_finite_loss", 2)
    assert list(found.wanted) == [2]
    assert [one for one in told if one[0] == "non_finite_loss"][:1] == [("non_finite_loss", "firing")]
    assert told.count(("non_finite_loss", "firing")) == 1


def test_a_norm_that_was_not_measured_has_no_metric_and_one_that_is_no_number_has_one() -> None:
    names = (LayerName("a", "A"), LayerName("a", "B"), LayerName("b", ""))
    values = LayerValues(names=names, gradient=[None, math.nan, 2.0], weight=[1.0, 0.0, 3.0], kind="lora")
    metrics = layer_metrics(values)
    assert math.isnan(metrics.pop("layers/a/B/gradient_norm"))
    assert metrics == {
        "layers/b/gradient_norm": 2.0,
        "layers/a/A/weight_norm": 1.0,
        "layers/a/B/weight_norm": 0.0,
        "layers/b/weight_norm": 3.0,
    }


def test_the_shape_of_batches_is_recorded_where_it_changes() -> None:
    folds = LiveFolds(load(), rows=Rows(), budget=TimeBudget({"layers": 1.0}))
    lines = []
    for step, length in enumerate((64, 64, 80, 64, 64)):
        timing = StepTiming(tokens=None, seconds=0.1, batch_size=8, sequence_length=length)
        lines += of_kind(Step, folds.observed(step, float(step), Observed(losses=(1.0,), timing=timing)))
    said = [{name: one.metrics[name] for name in (BATCH_SIZE, SEQUENCE_LENGTH) if name in one.metrics} for one in lines]
    assert said == [{BATCH_SIZE: 8.0, SEQUENCE_LENGTH: 64.0}, {}, {SEQUENCE_LENGTH: 80.0}, {SEQUENCE_LENGTH: 64.0}, {}]


def test_steps_are_folded_together_and_what_is_no_number_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barograph.collect.live_folds.TOGETHER_S", 1e6)
    folds = LiveFolds(load(), rows=Rows(), budget=TimeBudget({"layers": 1.0}))
    for step in range(5):
        assert len(of_kind(Step, folds.observed(step, float(step), Observed(losses=(2.0,))))) == 1
    seen = [folds.last_step]
    folds.caught_up()
    seen.append(folds.last_step)
    assert seen == [0, 4], "the first at once"
    said = folds.observed(5, 5.0, Observed(losses=(1.0,)))
    assert of_kind(Alert, said) == []
    (alert,) = of_kind(Alert, folds.observed(6, 6.0, Observed(losses=(math.nan,))))
    assert (alert.condition, alert.step) == ("non_finite_loss", 6)
    folds.observed(7, 7.0, Observed(losses=(1.0,)))
    folds.end()
    assert folds.last_step == 7


def test_a_norm_that_is_no_number_beside_a_sound_loss_is_of_another_process() -> None:
    for processes, expected in ((1, set()), (2, {"non_finite_loss"})):
        folds = LiveFolds(load(), rows=Rows(), budget=TimeBudget({"layers": 1.0}), processes=processes)
        said = folds.observed(60, 0.0, Observed(losses=(2.0,), gradient_norm=math.nan))
        found = {one.condition for one in of_kind(Alert, said) if one.condition == "non_finite_loss"}
        assert found == expected
        assert all(one.step == 60 for one in of_kind(Alert, said))


@pytest.mark.parametrize(
    ("gradient", "update", "asked"),
    [([1.0, 1.0], [0.1, 0.1], False), ([1.0, None], [0.1, 0.1], True), ([1.0, 1.0], [0.1, 0.0], True)],
)
def test_layers_that_do_not_move_are_looked_at_again_soon(
    gradient: list[float | None], update: list[float], asked: bool
) -> None:
    budget = TimeBudget({"layers": 1.0})
    folds = LiveFolds(load(), rows=Rows(), budget=budget)
    names = (LayerName("a", ""), LayerName("b", ""))
    sums, changes = ([torch.tensor(one or 0.0) for one in part] for part in (gradient, [1.0, 1.0, *update]))
    norms = LayerNorms(
        names,
        "full",
        gradients=[HostSquares(2, [HostNorms(sums, [0, 1])])],
        changes=[HostSquares(4, [HostNorms(changes, [0, 1, 2, 3])])],
        without=frozenset(at for at, one in enumerate(gradient) if one is None),
    )
    folds.layers(1, 1.0, norms)
    assert budget.wanted("layers") == asked

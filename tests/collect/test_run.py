"""What a training loop says is recorded as it was at that moment; nothing that it says can stop it."""

import argparse
import contextlib
import dataclasses
import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barograph.collect.begin import Model, init, open_run
from barograph.collect.device_values import HostValue
from barograph.collect.launch import current_launch
from barograph.collect.logged_values import Refused
from barograph.collect.resumed import next_step
from barograph.collect.run import Run
from barograph.collect.settings import resolve
from barograph.errors import UsageError
from barograph.journal import NotYet, TailReader, layout
from barograph.records import (
    Advice,
    Alert,
    Banner,
    Checkpoint,
    Collector,
    CollectorFailed,
    ConfigUpdate,
    Hardware,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Signals,
    Step,
)

Kind = TypeVar("Kind")


def records_of(directory: Path) -> list[Record]:
    """Every record of every file of a run; all lines must be whole, checked, and of known kinds.

    Without what is derived of them, and without what a slow git adds, because how slow it is depends on the machine.
    """
    found: list[Record] = []
    for file in layout.journal_files(directory):
        with TailReader(directory, file.path) as reader:
            batch = reader.read(1 << 30)
        assert (batch.bad, batch.torn) == ([], 0)
        assert all(entry.checked for entry in batch.entries)
        found += [entry.record for entry in batch.entries]  # type: ignore[misc]  # all of known kinds
    found = [record for record in found if not isinstance(record, Signals | Advice | Hardware)]
    return [record for record in found if not (isinstance(record, ConfigUpdate) and record.git_commit)]


def said(kind: type[Kind], run: Run) -> list[Kind]:
    """The records of one kind, once the run is finished."""
    run.finish()
    return [record for record in records_of(run.directory) if isinstance(record, kind)]


def points(run: Run) -> list[tuple[int, float | None, dict[str, float]]]:
    return [(record.step, record.loss, record.metrics) for record in said(Step, run)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """An open run, finished at the end."""
    with init("p", dir=tmp_path) as run:
        yield run


def test_a_run_begins_with_its_banner_and_ends_with_its_completion(tmp_path: Path) -> None:
    run = init("my project", name="first try", group="g", config={"lr": 3e-4}, dir=tmp_path)
    run.log({"loss": 2.5}, step=1)
    run.finish()
    banner, step, complete = records_of(run.directory)
    assert isinstance(banner, Banner)
    assert (banner.run, banner.attempt, banner.writer, banner.rank) == (run.id, 1, "train", 0)
    assert (banner.project, banner.name, banner.group) == ("my project", "first try", "g")
    assert banner.config == '{"lr":0.0003}'
    assert banner.pid == os.getpid()
    assert "python" in banner.versions
    assert run.id.startswith("my-project-")
    assert run.attempt == 1
    assert isinstance(step, Step)
    assert (step.step, step.loss, step.metrics) == (1, 2.5, {})
    assert time.time() - 60 < step.time <= time.time()
    assert isinstance(complete, RunComplete)
    assert (complete.exit_code, complete.step, complete.reason) == (0, 1, None)


def test_values_of_every_numeric_kind_are_their_floats(run: Run) -> None:
    run.log(
        {
            "float": 0.5,
            "int": 3,
            "bool": True,
            "huge": 2**70,
            "decimal": Decimal("0.25"),
            "fraction": Fraction(1, 8),
            "numpy": np.float32(1.5),
            "numpy_bool": np.bool_(True),
            "zero_d": np.array(7),
            "one": np.array([[2.5]]),
            "tensor": torch.tensor(4.5),
            "one_tensor": torch.tensor([[5]]),
            "half": torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True),
            "truth": torch.tensor(True),
            "nan": math.nan,
            "inf": -math.inf,
            "a": {"b": {"c": 1.0}, "d": np.int64(2)},
            7: 1.0,  # type: ignore[dict-item]  # a key of another type is its text
        },
        step=0,
    )
    ((_, loss, metrics),) = points(run)
    assert loss is None
    assert math.isnan(metrics.pop("nan"))
    assert metrics == {
        "float": 0.5,
        "int": 3.0,
        "bool": 1.0,
        "huge": float(2**70),
        "decimal": 0.25,
        "fraction": 0.125,
        "numpy": 1.5,
        "numpy_bool": 1.0,
        "zero_d": 7.0,
        "one": 2.5,
        "tensor": 4.5,
        "one_tensor": 5.0,
        "half": 0.5,
        "truth": 1.0,
        "inf": -math.inf,
        "a/b/c": 1.0,
        "a/d": 2.0,
        "7": 1.0,
    }


def test_what_the_caller_changes_afterwards_keeps_its_old_value(run: Run) -> None:
    class Meter:
        """A running average, as training scripts have it."""

        value = 1.0

        def __float__(self) -> float:
            return self.value

    meter, tensor, parameter = Meter(), torch.tensor(2.0), torch.nn.Parameter(torch.tensor([3.0]))
    array, inner = np.array([4.0]), {"x": 5.0}
    values: dict[str, object] = {"m": meter, "t": tensor, "p": parameter, "a": array, "d": inner, "f": 6.0}
    run.log(values, step=0)
    run.log_metrics(1, values)
    run.observe_step(2, [tensor, parameter, 0.5])
    meter.value, array[0], inner["x"], values["f"] = -1.0, -1.0, -1.0, -1.0
    tensor.fill_(-1.0)
    parameter.data.fill_(-1.0)
    expected = {"m": 1.0, "t": 2.0, "p": 3.0, "a": 4.0, "d/x": 5.0, "f": 6.0}
    assert points(run) == [(0, None, expected), (1, None, expected), (2, 5.5, {})]


def test_what_is_no_number_is_rejected_once_per_key_and_type_and_costs_no_other(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises:
        def __float__(self) -> float:
            raise ValueError("not today")

    values: dict[str, object] = {
        "text": "0.5",
        "none": None,
        "list": [1.0],
        "tensor": torch.zeros(2, 3),
        "empty": torch.zeros(0),
        "meta": torch.zeros((), device="meta"),
        "complex": 1j,
        "array": np.zeros(3),
        "date": np.datetime64("2026-01-01"),
        "masked": np.ma.masked,
        "raises": Raises(),
        "beyond": 10**400,
        "good": 1.0,
    }
    for step in range(3):
        run.log(values, step=step)
    run.log({"text": 7.0, "none": "text"}, step=3)
    rejected = said(RejectedValue, run)
    assert {(record.key, record.value_type, record.step) for record in rejected} == {
        ("text", "str", 0),
        ("none", "NoneType", 0),
        ("list", "list", 0),
        ("tensor", "Tensor of shape [2, 3]", 0),
        ("empty", "Tensor of shape [0]", 0),
        ("meta", "Tensor that cannot be read", 0),
        ("complex", "complex", 0),
        ("array", "ndarray", 0),
        ("date", "date", 0),
        ("masked", "MaskedConstant", 0),
        ("raises", "Raises", 0),
        ("beyond", "int", 0),
        ("none", "str", 3),
    }
    assert len(rejected) == 13
    assert said(RunComplete, run)[0].rejected == 3 * 12 + 1, "said once, counted each time"
    assert points(run) == [*((step, None, {"good": 1.0}) for step in range(3)), (3, None, {"text": 7.0})]
    assert len([record for record in caplog.records if "is no number" in record.getMessage()]) == 13


def test_the_step_is_the_callers_or_one_more_than_the_last(run: Run) -> None:
    for step in (None, None, 10, None, np.int64(20), None, torch.tensor(30), 5, None, 2**63 - 1):
        run.log({"x": 1.0}, step=step)  # type: ignore[arg-type]  # numpy's and torch's integers are accepted
    assert [step for step, _, _ in points(run)] == [0, 1, 10, 11, 20, 21, 30, 5, 6, 2**63 - 1]
    assert said(RunComplete, run)[0].step == 2**63 - 1


def test_a_step_that_is_a_whole_float_of_any_library_is_a_step(run: Run) -> None:
    wholes: list[Any] = [7.0, np.float32(8.0), np.float64(9.0), np.array(10.0), torch.tensor(11.0), Decimal(12)]
    for step in wholes:
        run.log({"x": 1.0}, step=step)
    run.log({"x": 1.0})
    assert [step for step, _, _ in points(run)] == [7, 8, 9, 10, 11, 12, 13]
    assert said(RunComplete, run)[0].rejected == 0


@pytest.mark.parametrize("step", [-1, "7", 7.5, -2.0, 2**63, 1e300, "x", [1], object(), np.float32(1.5), math.nan])
def test_what_is_no_step_is_counted_and_said_once_and_the_next_step_is_not_disturbed(step: Any, run: Run) -> None:
    run.log({"x": 1.0}, step=3)
    for _ in range(3):
        run.log({"x": 2.0}, step=step)
        run.log_metrics(step, {"x": 2.0})
        run.observe_step(step, [2.0])
        run.checkpoint(step, "c")
    run.log({"x": 3.0})
    assert points(run) == [(3, None, {"x": 1.0}), (4, None, {"x": 3.0})]
    (rejected,) = said(RejectedValue, run)
    assert rejected.key == "step"
    assert rejected.value_type == f"{type(step).__name__}, not 0 to 2**63 - 1"
    assert said(RunComplete, run)[0].rejected == 12, "each row that was left out counts"
    assert said(Checkpoint, run) == []
    assert said(CollectorFailed, run) == []


def test_the_loss_is_loss_or_else_train_loss(run: Run) -> None:
    run.log({"loss": 1.0, "lr": 0.1}, step=0)
    run.log({"train/loss": 2.0, "lr": 0.1}, step=1)
    run.log({"loss": 3.0, "train/loss": 4.0}, step=2)
    run.log({"train": {"loss": 5.0}}, step=3)
    run.log({"eval/loss": 6.0}, step=4)
    run.log({"loss": math.nan}, step=5)
    run.log({"loss": "text", "train/loss": 7.0}, step=6)
    run.log({}, step=7)
    found = points(run)
    assert math.isnan(found.pop(5)[1] or 0.0)
    assert found == [
        (0, 1.0, {"lr": 0.1}),
        (1, 2.0, {"train/loss": 2.0, "lr": 0.1}),
        (2, 3.0, {"train/loss": 4.0}),
        (3, 5.0, {"train/loss": 5.0}),
        (4, None, {"eval/loss": 6.0}),
        (6, 7.0, {"train/loss": 7.0}),
    ]


def test_metrics_of_a_framework_never_fill_the_loss(run: Run) -> None:
    run.log_metrics(0, {"loss": 1.0, "train/loss": 2.0})
    assert points(run) == [(0, None, {"loss": 1.0, "train/loss": 2.0})]


def test_a_users_key_never_collides_with_ours(run: Run) -> None:
    run.log({"type": 1.0, "step": 2.0, "_c": 3.0, "time": 4.0, "metrics": 5.0, "values": 6.0}, step=9)
    ((step, loss, metrics),) = points(run)
    assert (step, loss) == (9, None)
    assert metrics == {"type": 1.0, "step": 2.0, "_c": 3.0, "time": 4.0, "metrics": 5.0, "values": 6.0}


def test_the_observed_loss_is_the_sum_of_its_parts(run: Run) -> None:
    run.observe_step(1, [0.5])
    run.observe_step(2, [torch.tensor(0.25), torch.tensor([0.5]), 1])
    run.observe_step(3, (part for part in (math.nan, 1.0)))
    run.observe_step(4, [math.inf, torch.tensor(-math.inf)])
    run.observe_step(5, [])
    run.observe_step(6, [torch.tensor(math.inf), 1.0])
    found = points(run)
    assert [step for step, _, _ in found] == [1, 2, 3, 4, 6], "no parts are no loss, and no zero"
    losses = [loss if loss is not None else 0.0 for _, loss, _ in found]
    assert losses[:2] == [0.5, 1.75]
    assert math.isnan(losses[2])
    assert math.isnan(losses[3])
    assert losses[4] == math.inf


def test_a_part_that_is_no_number_is_rejected_once(run: Run) -> None:
    for step in range(3):
        run.observe_step(step, [0.5, torch.zeros(4)])
    run.observe_step(3, 7)  # type: ignore[arg-type]  # no parts at all
    assert points(run) == []
    assert [(one.key, one.value_type) for one in said(RejectedValue, run)] == [
        ("loss", "Tensor of shape [4]"),
        ("observe_step()", "TypeError: 'int' object is not iterable"),
    ]


def test_a_value_on_its_way_does_not_swallow_what_is_rejected_beside_it(run: Run) -> None:
    class Late(HostValue):
        tries = 0

        def read(self) -> float:
            self.tries += 1
            if self.tries < 3:
                raise NotYet
            return super().read()

    assert run.writer is not None
    values = {"text": Refused("str"), "x": Late(torch.tensor(1.5))}
    run.writer.append(1, run._rows.step, 1, 1.0, values, True)
    assert points(run) == [(1, None, {"x": 1.5})]
    assert [(one.key, one.value_type) for one in said(RejectedValue, run)] == [("text", "str")]


def test_a_value_that_raises_anything_at_all_does_not_take_its_row_with_it(run: Run) -> None:
    class Broken(dict[str, object]):
        def items(self) -> Any:
            raise LookupError

    for step in range(2):
        run.log({"bad": Hostile(), "map": Broken(a=1), "deep": {"bad": Hostile(), "good": 2.0}, "good": 1.0}, step=step)
    run.log({Hostile(): 3.0, "good": 1.0}, step=2)  # type: ignore[dict-item]  # a key that has no text
    run.log({"a\ud800": 3.0, "good": 1.0}, step=3)
    assert points(run) == [
        (0, None, {"deep/good": 2.0, "good": 1.0}),
        (1, None, {"deep/good": 2.0, "good": 1.0}),
        (2, None, {"(unreadable)": 3.0, "good": 1.0}),
        (3, None, {"a?": 3.0, "good": 1.0}),
    ]
    rejected = [(one.key, one.value_type) for one in said(RejectedValue, run)]
    assert rejected == [("bad", "Hostile"), ("map", "Broken"), ("deep/bad", "Hostile")]
    assert said(RunComplete, run)[0].rejected == 6
    assert said(CollectorFailed, run) == []


class Hostile:
    """A value that raises whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        raise KeyError(name)

    def __float__(self) -> float:
        raise ZeroDivisionError

    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.dates(),
    st.builds(object),
    st.builds(Hostile),
    st.builds(Late := type("Unreadable", (), {"dtype": "x", "item": lambda self: 1 / 0})),
    st.sampled_from([int, math, print, ..., np.zeros(2), np.float16(1), torch.zeros(()), torch.zeros(3), Late]),
    st.integers(-(2**80), 2**80).map(lambda number: number * 10**300),
)
VALUES = st.recursive(
    st.dictionaries(st.text() | st.integers() | st.none() | st.builds(Hostile), ODD, max_size=4) | ODD,
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One run for a whole module: a new one for each of hundreds of examples would take minutes."""
    with init("p", dir=tmp_path_factory.mktemp("lasting")) as run:
        yield run


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=VALUES, step=ODD, word=ODD)
def test_no_value_of_any_kind_raises_into_the_training_loop(lasting: Run, values: Any, step: Any, word: Any) -> None:
    logging.disable()
    try:
        lasting.log(values)
        lasting.log(values, step=step)
        lasting.log_metrics(step, values)
        lasting.log_metrics(1, values)
        lasting.observe_step(step, values)
        lasting.observe_step(1, values)
        lasting.alert(word, word, word, step)
        lasting.checkpoint(step, word)
        lasting.checkpoint(1, word)
        lasting.set_summary(values)
        lasting.update_config(values)
        lasting.set_total_steps(step)
        lasting.pause(word)
        lasting.collector(word, running=word, detail=word)
    finally:
        logging.disable(logging.NOTSET)


def test_after_all_that_every_line_is_whole_and_accepted(lasting: Run) -> None:
    lasting.log({"loss": 0.125}, step=77)
    lasting.finish()
    found = records_of(lasting.directory)
    assert isinstance(found[-1], RunComplete)
    assert any(isinstance(one, Step) and one.loss == 0.125 and one.step == 77 for one in found)


def test_a_dict_that_contains_itself_does_not_end_the_run(run: Run) -> None:
    loop: dict[str, object] = {"x": 1.0}
    loop["self"] = loop
    run.log(loop, step=1)
    run.update_config(loop)
    run.log({"x": 2.0}, step=2)
    assert points(run) == [(1, None, {"x": 1.0}), (2, None, {"x": 2.0})]
    assert [one.key for one in said(RejectedValue, run)] == ["self"]


def test_two_threads_that_log_at_once_lose_nothing(run: Run) -> None:
    def log(thread: int) -> None:
        for step in range(2000):
            run.log({f"x{thread}": float(step)}, step=step)

    threads = [threading.Thread(target=log, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = points(run)
    assert len(found) == 4000
    for number in range(2):
        name = f"x{number}"
        assert [metrics[name] for _, _, metrics in found if name in metrics] == [float(step) for step in range(2000)]


def test_a_mapping_that_is_no_dict_is_logged_like_one(run: Run) -> None:
    values: Mapping[str, object] = MappingProxyType({"a": MappingProxyType({"b": 1.0})})
    run.log(values, step=1)
    assert points(run) == [(1, None, {"a/b": 1.0})]


class Level(Enum):
    """As W&B has it."""

    WARN = "WARN"
    ERROR = "ERROR"


@pytest.mark.parametrize(
    ("level", "word"),
    [
        ("info", "info"),
        ("INFO", "info"),
        ("warning", "warning"),
        ("warn", "warning"),
        (Level.WARN, "warning"),
        ("error", "critical"),
        (Level.ERROR, "critical"),
        ("critical", "critical"),
        (None, "warning"),
    ],
)
def test_alert_levels_are_ours_or_those_of_others(level: Any, word: str, run: Run) -> None:
    run.alert("title", "text", level)
    (alert,) = said(Alert, run)
    assert (alert.title, alert.text, alert.level) == ("title", "text", word)


def test_a_level_that_is_not_known_is_a_warning_and_the_levels_are_said_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        run.alert("title", "text", "catastrophic")
    for alert in said(Alert, run):
        assert alert.level == "warning"
        assert alert.text == "text (its level 'catastrophic' is not known: use info, warning or critical)"
    assert caplog.text.count("'catastrophic'") == 1


def test_moments_that_come_later_are_not_called_off(run: Run) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    run.optimizer_moments(0, model, optimizer)
    for step in (1, 2):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        run.optimizer_moments(step, model, optimizer)
    found = [one for one in said(Collector, run) if one.name == "optimizer_moments"]
    assert [one.running for one in found] == [True]


def test_an_alert_carries_the_newest_step_unless_it_names_one(run: Run) -> None:
    run.alert("before any step")
    run.log({"x": 1.0}, step=7)
    run.log({"x": 1.0}, step=3)
    run.alert("newest")
    run.alert("named", step=5)
    run.alert("numpy", step=np.int64(6))  # type: ignore[arg-type]  # numpy's integers are accepted
    run.alert("no step", step=-1)
    assert [(alert.title, alert.step) for alert in said(Alert, run)] == [
        ("before any step", None),
        ("newest", 7),
        ("named", 5),
        ("numpy", 6),
        ("no step", 7),
    ]


def test_what_else_a_run_says_is_recorded(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run.set_total_steps(100)
    run.pause("lunch")
    run.unpause()
    run.checkpoint(np.int64(50), "out/checkpoint-50")  # type: ignore[arg-type]  # numpy's integers are accepted
    run.collector("raw_loss", running=True, detail="sums")
    run.collector_failed("gradients", ValueError("no hooks"), step=50)
    run.collector_failed("gradients", ValueError("again"), step=51)
    run.set_summary({"best": torch.tensor(0.5), "runtime": 3, "note": "text", "many": torch.zeros(2), "nan": math.nan})
    assert [(one.config, one.total_steps) for one in said(ConfigUpdate, run)] == [("{}", 100)]
    assert [(one.paused, one.reason) for one in said(Pause, run)] == [(True, "lunch"), (False, None)]
    assert [(one.step, one.path) for one in said(Checkpoint, run)] == [(50, str(tmp_path / "out" / "checkpoint-50"))]
    assert [(one.name, one.running, one.detail) for one in said(Collector, run)] == [("raw_loss", True, "sums")]
    failed = [(one.name, one.error, one.step) for one in said(CollectorFailed, run)]
    assert failed == [("gradients", "ValueError: no hooks", 50)]
    (complete,) = said(RunComplete, run)
    assert math.isnan(complete.summary.pop("nan"))
    assert complete.summary == {"best": 0.5, "runtime": 3.0}


def test_the_config_is_a_mapping_and_what_is_added_is_recorded(tmp_path: Path) -> None:
    given = {"lr": 0.1, "model": {"layers": 2}}
    run = init("p", config=given, dir=tmp_path)
    run.config["batch"] = 8
    run.config.update(seed=1, api_key="canary")
    given["lr"] = 0.9
    assert dict(run.config) == {"lr": 0.1, "model": {"layers": 2}, "batch": 8, "seed": 1, "api_key": "canary"}
    assert len(run.config) == 5
    with pytest.raises(TypeError, match="set it to None instead"):
        del run.config["lr"]
    updates = [json.loads(one.config) for one in said(ConfigUpdate, run)]
    assert updates == [{"batch": 8}, {"seed": 1}, {"api_key": "(hidden)"}]
    assert said(Banner, run)[0].config == '{"lr":0.1,"model":{"layers":2}}'


def test_finishing_twice_completes_once_and_nothing_follows(run: Run) -> None:
    run.log({"x": 1.0})
    run.finish()
    run.finish(exit_code=3)
    for act in (run.log, run.set_summary, run.update_config):
        act({"x": 2.0})
    run.observe_step(5, [1.0])
    run.alert("late")
    run.pause()
    assert run.flush()
    assert run.writer is None
    found = records_of(run.directory)
    assert [type(record) for record in found] == [Banner, Step, RunComplete]
    assert found[-1].exit_code == 0  # type: ignore[union-attr]  # the line above says which kind


@pytest.mark.parametrize(
    ("error", "exit_code", "reason"),
    [
        (None, 0, None),
        (SystemExit(), 0, None),
        (SystemExit(0), 0, None),
        (SystemExit(3), 3, "SystemExit: 3"),
        (SystemExit(2**80), 1, f"SystemExit: {2**80}"),
        (GeneratorExit(), 0, None),
        (OSError("no https://me:canary@host"), 1, "OSError: no https://(hidden)@host"),
        (SystemExit("no data"), 1, "SystemExit: no data"),
        (ValueError("loss is NaN"), 1, "ValueError: loss is NaN"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt"),
    ],
)
def test_leaving_the_block_ends_the_run_as_the_block_ended(
    error: BaseException | None, exit_code: int, reason: str | None, tmp_path: Path
) -> None:
    expected = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected, init("p", dir=tmp_path) as run:
        run.log({"x": 1.0})
        if error is not None:
            raise error
    (complete,) = said(RunComplete, run)
    assert (complete.exit_code, complete.reason) == (exit_code, reason)


def finished_while_handling(error: BaseException, run: Run) -> RunComplete:
    with contextlib.suppress(type(error)):
        try:
            raise error
        finally:
            run.finish()
    (complete,) = said(RunComplete, run)
    return complete


@pytest.mark.parametrize(
    ("error", "exit_code", "reason"),
    [
        (ValueError("loss is NaN"), 1, "ValueError: loss is NaN"),
        (KeyboardInterrupt(), 1, "KeyboardInterrupt"),
        (SystemExit(4), 4, "SystemExit: 4"),
        (SystemExit(0), 0, None),
        (StopIteration(), 0, None),
        (ConnectionError("at https://me:canary@host"), 1, "ConnectionError: at https://(hidden)@host"),
    ],
)
def test_finishing_while_an_exception_flies_says_that_it_ended_the_run(
    error: BaseException, exit_code: int, reason: str | None, run: Run
) -> None:
    complete = finished_while_handling(error, run)
    assert (complete.exit_code, complete.reason) == (exit_code, reason)


def test_what_the_caller_says_of_the_end_wins_over_what_flies(tmp_path: Path) -> None:
    for exit_code, expected in ((0, (0, "mine")), (7, (7, "mine")), (None, (1, "mine"))):
        run = init("p", dir=tmp_path)
        with contextlib.suppress(ValueError):
            try:
                raise ValueError
            finally:
                run.finish(exit_code, "mine")
        (complete,) = said(RunComplete, run)
        assert (complete.exit_code, complete.reason) == expected


def test_a_run_that_was_begun_while_an_error_was_handled_did_not_end_by_it(tmp_path: Path) -> None:
    try:
        raise MemoryError("batch 64")
    except MemoryError:
        run = init("p", dir=tmp_path)
        run.finish()
        second = init("p", dir=tmp_path)
        complete = finished_while_handling(ValueError("later"), second)
    assert said(RunComplete, run)[0].exit_code == 0
    assert (complete.exit_code, complete.reason) == (1, "ValueError: later")


def test_the_hooks_of_a_run_are_gone_with_it_whoever_is_finished_first(tmp_path: Path) -> None:
    leave, hook = sys.exit, threading.excepthook
    first, second = init("p", dir=tmp_path), init("p", dir=tmp_path)
    assert sys.exit is not leave
    for run in (first, second):
        with pytest.raises(SystemExit, match="3"):
            sys.exit(3)
        run.finish()
    assert sys.exit is leave
    assert threading.excepthook is hook
    assert said(RunComplete, first)[0].exit_code == 0


def test_one_who_wraps_sys_exit_after_us_keeps_his_wrapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    original = sys.exit
    run = init("p", dir=tmp_path)
    ours = sys.exit

    def theirs(status: Any = None) -> NoReturn:
        seen.append(status)
        ours(status)

    sys.exit = theirs
    try:
        run.finish()
        assert sys.exit is theirs
        with init("p", dir=tmp_path), contextlib.suppress(SystemExit):
            sys.exit(5)
        assert sys.exit is theirs
        assert seen == [5]
    finally:
        sys.exit = ours
        init("p", dir=tmp_path).finish()
    assert sys.exit is original


def test_logging_after_the_end_warns_once_and_a_disabled_run_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, disabled = init("p", dir=tmp_path), init("p", dir=tmp_path, mode="disabled")
    run.finish()
    disabled.finish()
    for _ in range(3):
        run.log({"x": 1.0})
        disabled.log({"x": 1.0})
    (message,) = caplog.messages
    assert run.id in message
    assert "not recorded" in message


@pytest.mark.parametrize("width", [1, 40])
def test_a_run_that_goes_on_counts_its_steps_on(width: int, tmp_path: Path) -> None:
    """With a file that is longer than what is read of its end, wide rows, and attempts that have no step."""
    values = {f"x{number}": 1.0 for number in range(width)}
    for _ in range(2):
        with init(run_id="r", resume="allow", dir=tmp_path) as run:
            for _ in range(1500):
                run.log(values)
    init(run_id="r", resume="allow", dir=tmp_path).finish()
    with init(run_id="r", resume="allow", dir=tmp_path) as run:
        run.log(values)
        run.log(values, step=10)
        run.log(values)
    with init(run_id="r", resume="allow", dir=tmp_path) as run:
        run.log(values)
    found = [record.step for record in records_of(run.directory) if isinstance(record, Step)]
    assert found == [*range(3000), 3000, 10, 11, 3001]


def test_only_earlier_launches_say_where_the_steps_go_on(tmp_path: Path) -> None:
    alone = current_launch()
    with init(run_id="r", dir=tmp_path) as run:
        run.log({"x": 1.0}, step=5)
    assert next_step(run.directory, msgspec.structs.replace(alone, id="other")) == 6
    assert next_step(run.directory, alone) == 0, "rank 0 of the same launch has logged, and rank 1 comes later"
    assert next_step(tmp_path / "none", alone) == 0


def test_a_journal_that_cannot_be_read_lets_the_steps_begin_anew(tmp_path: Path) -> None:
    with init(run_id="r", dir=tmp_path) as run:
        run.log({"x": 1.0}, step=5)
    (file,) = layout.journal_files(run.directory)
    file.path.write_bytes(b"\xff" * 200_000)
    with init(run_id="r", resume="must", dir=tmp_path) as again:
        again.log({"x": 1.0})
    assert again.attempt == 2


@dataclasses.dataclass
class Options:
    """As trainers have them."""

    lr: float = 0.5


class Plain:
    """Settings as attributes."""

    def __init__(self) -> None:
        self.lr, self._private = 0.5, 1


@pytest.mark.parametrize("config", [{"lr": 0.5}, argparse.Namespace(lr=0.5), Options(), Options, Plain()])
def test_a_config_is_a_mapping_or_an_object_that_is_like_one(config: object, tmp_path: Path) -> None:
    run = init("p", config=config, dir=tmp_path)
    assert dict(run.config) == {"lr": 0.5}
    assert said(Banner, run)[0].config == '{"lr":0.5}'


@pytest.mark.parametrize("config", [7, "config.yaml", [("lr", 0.5)]])
def test_a_config_that_holds_no_settings_is_warned_of(
    config: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = init("p", config=config, dir=tmp_path)
    assert said(Banner, run)[0].config is None
    assert "holds no settings" in caplog.text


def test_nothing_in_a_config_makes_init_raise(tmp_path: Path) -> None:
    run = init("p", config={"bad": Hostile(), "deep": [{"bad": Hostile()}], "good": 1}, dir=tmp_path)
    config = json.loads(said(Banner, run)[0].config or "")
    assert config == {"bad": "(unreadable)", "deep": [{"bad": "(unreadable)"}], "good": 1}


def test_id_is_another_word_for_run_id(tmp_path: Path) -> None:
    with init(id="mine", dir=tmp_path) as run:
        assert run.id == "mine"
    with pytest.raises(UsageError, match="two words for one thing"):
        init(id="a", run_id="b", dir=tmp_path)


def test_a_disabled_run_creates_nothing_and_does_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    with init("p", mode="disabled", dir=tmp_path / "runs", config={"a": 1}) as run:
        run.log({"loss": 1.0})
        run.observe_step(1, [1.0])
        run.alert("a")
        run.checkpoint(1, "c")
        run.config["b"] = 2
        run.set_total_steps(5)
        assert run.flush()
        assert run.attempt is None
        assert run.writer is None
        assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []
    assert dict(run.config) == {"a": 1, "b": 2}


def test_a_resumed_run_gets_another_attempt_in_the_same_folder(tmp_path: Path) -> None:
    runs = [init("p", run_id="mine", resume="allow", dir=tmp_path) for _ in range(3)]
    for run in runs:
        run.finish()
    assert sorted(run.attempt or 0 for run in runs) == [1, 2, 3]
    assert [file.attempt for file in layout.journal_files(tmp_path / "mine")] == [1, 2, 3]


def test_a_folder_that_cannot_be_written_is_a_warning_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    began = time.monotonic()
    with init("p", dir=tmp_path / "file") as run:
        run.log({"loss": 1.0})
    assert time.monotonic() - began < 3.0
    assert run.attempt is None
    assert "Training goes on" in caplog.text
    assert "could not be written" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "model", "said"),
    [
        ({"name": 7}, Model(), "str | null`, got `int` - at `$.name`"),
        ({}, Model(total_steps=-1), "`int` >= 0 - at `$.total_steps`"),
        ({}, Model(path=Path("x")), "Path is unsupported"),  # type: ignore[arg-type]  # what a careless adapter passes
    ],
)
def test_a_banner_that_no_reader_would_accept_is_refused_before_training(
    arguments: dict[str, Any], model: Model, said: str, tmp_path: Path
) -> None:
    launch = current_launch()
    settings = resolve(launch=launch, directory=tmp_path, **arguments)
    with pytest.raises(UsageError, match="cannot be described") as refused:
        open_run(settings, launch=launch, config={}, model=model)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []

"""Loops as people write them, each watched: every norm at its step and under its own name, and nothing is left out
silently."""

import functools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
import torch._dynamo
from torch.optim.optimizer import register_optimizer_step_pre_hook

from barograph.collect.begin import init
from barograph.collect.run import Run
from barograph.collect.watched_model import LONG_UNHEARD, WatchedModel
from barograph.journal import TailReader, layout
from barograph.journal.wide_rows import metrics_of
from barograph.records import Alert, Collector, CollectorFailed, Columns, Record, Signals, Step

Kind = TypeVar("Kind")


def records(run: Run) -> list[Record]:
    run.finish()
    found: list[Record] = []
    for file in layout.journal_files(run.directory):
        with TailReader(run.directory, file.path) as reader:
            found += [entry.record for entry in reader.read(1 << 30).entries]  # type: ignore[misc]  # all known
    return found


def of_kind(kind: type[Kind], found: list[Record]) -> list[Kind]:
    return [one for one in found if isinstance(one, kind)]


def series(found: list[Record], name: str) -> dict[int, float]:
    headers = {one.id: one.names for one in of_kind(Columns, found)}
    rows = [(one.step, metrics_of(one, headers)) for one in of_kind(Step, found)]
    return {step: metrics[name] for step, metrics in rows if name in metrics}


def said_of_layers(found: list[Record], name: str = "layers") -> list[Collector]:
    return [one for one in of_kind(Collector, found) if one.name == name]


def model_of(seed: int = 0) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))


def norm(module: torch.nn.Module) -> float:
    """Of all its gradients."""
    return math.sqrt(
        sum(float(one.grad.double().square().sum()) for one in module.parameters() if one.grad is not None)
    )


def backward(model: torch.nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    loss: torch.Tensor = (model(x) - x.sum(1, keepdim=True)).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    return loss.detach()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("order", ["after", "before", "never"])
def test_norms_are_at_their_steps_however_the_loop_logs(tmp_path: Path, order: str, every: int, first: int) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.watch(model, optimizer, every=1)
    norms = {}
    for step in range(first, first + 25):
        optimizer.zero_grad()
        loss = backward(model, step)
        norms[step if order != "never" else step - first] = norm(model)
        if order == "before" and step % every == 0:
            run.log({"loss": loss}, step=step)
        optimizer.step()
        if order == "after" and step % every == 0:
            run.log({"loss": loss}, step=step)
    assert series(records(run), "train/gradient_norm") == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("order", ["after", "before"])
def test_a_loss_of_zero_is_set_beside_the_norm_of_its_own_step(tmp_path: Path, order: str) -> None:
    """A loss of exactly zero says that no token was left to learn from if its gradients are no numbers."""
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    run.watch(model, optimizer, every=1)
    for step in range(1, 12):
        optimizer.zero_grad()
        loss: float = float(backward(model, step))
        if step == 7:
            loss = 0.0
            next(model.parameters()).grad = torch.full((4, 4), math.nan)
        if order == "before":
            run.log({"loss": loss}, step=step)
        optimizer.step()
        if order == "after":
            run.log({"loss": loss}, step=step)
    (alert,) = {one.id: one for one in of_kind(Alert, records(run)) if one.condition == "masked_loss"}.values()
    assert alert.first_step == 7


def test_an_optimizer_whose_first_parameter_is_another_models_is_heard(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model, head = model_of(), torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam([*head.parameters(), *model.parameters()])
    run.watch(model, optimizer, every=1)
    norms = {}
    for step in range(5):
        optimizer.zero_grad()
        loss = backward(torch.nn.Sequential(model, head), step)
        norms[step] = norm(model)
        optimizer.step()
        run.log({"loss": loss}, step=step)
    assert series(records(run), "train/gradient_norm") == pytest.approx(norms, rel=1e-5)


def test_of_optimizers_that_leave_steps_out_each_has_its_layers_at_each_of_its_steps(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    often = torch.optim.SGD(model[0].parameters(), lr=0.01)
    seldom = torch.optim.SGD(model[1].parameters(), lr=0.01)
    run.watch(model, every=1)
    norms: dict[str, dict[int, float]] = {"0": {}, "1": {}, "all": {}}
    for step in range(12):
        model.zero_grad()
        loss = backward(model, step)
        norms["0"][step] = norm(model[0])
        often.step()
        if step % 3 == 1:
            norms["1"][step], norms["all"][step] = norm(model[1]), norm(model)
            seldom.step()
        run.log({"loss": loss}, step=step)
    found = records(run)
    for module in "01":
        assert series(found, f"layers/{module}/gradient_norm") == pytest.approx(norms[module], rel=1e-5)
        assert list(series(found, f"layers/{module}/update_norm")) == list(norms[module])
        assert list(series(found, f"layers/{module}/weight_norm")) == list(norms[module])
    assert series(found, "train/gradient_norm") == pytest.approx(norms["all"], rel=1e-5)


def test_where_no_step_has_all_gradients_it_is_said_why_there_is_no_norm_of_all(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    run.watch(model, every=1)
    for step, optimizer in enumerate(2 * [torch.optim.SGD(one.parameters(), lr=0.01) for one in model]):
        model.zero_grad()
        loss = backward(model, step)
        optimizer.step()
        run.log({"loss": loss}, step=step)
    found = records(run)
    for at in (0, 1):
        assert list(series(found, f"layers/{at}/gradient_norm")) == [at, at + 2], "optimizers that step in turn"
    told = of_kind(Signals, found)[-1]
    assert told.gradient_norm is None
    assert "not all parameters" in told.why["gradient_norm"]


def adversaries(
    run: Run, *, watch: Callable[[Run, torch.nn.Module, torch.optim.Optimizer], None]
) -> tuple[list[Record], dict[str, dict[int, float]]]:
    """Two models trained in turn, and their norms at each step."""
    models = {"first": model_of(0), "second": model_of(1)}
    optimizers = {name: torch.optim.SGD(one.parameters(), lr=0.01) for name, one in models.items()}
    for name, one in models.items():
        watch(run, one, optimizers[name])
    norms: dict[str, dict[int, float]] = {name: {} for name in models}
    for step in range(6):
        for name, one in models.items():
            optimizers[name].zero_grad()
            loss = backward(one, step)
            norms[name][step] = norm(one)
            optimizers[name].step()
        run.log({"loss": loss}, step=step)
    return records(run), norms


def test_the_second_watched_model_has_names_of_its_own(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    found, norms = adversaries(run, watch=lambda run, model, optimizer: run.watch(model, optimizer, every=1))
    for name, total, layers in (
        ("first", "train/gradient_norm", "layers/"),
        ("second", "train/Sequential/gradient_norm", "layers/Sequential."),
    ):
        told = series(found, total)
        assert told == pytest.approx(norms[name], rel=1e-5)
        parts = [series(found, f"{layers}{module}/gradient_norm") for module in "01"]
        assert [math.hypot(*(one[step] for one in parts)) for step in told] == pytest.approx(list(told.values()))
    assert len(said_of_layers(found)) == len(said_of_layers(found, "layers of Sequential")) == 1


def test_models_are_called_as_the_user_says(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    names = iter(["generator", "critic"])
    found, norms = adversaries(
        run, watch=lambda run, model, optimizer: run.watch(model, optimizer, every=1, name=next(names))
    )
    assert series(found, "train/generator/gradient_norm") == pytest.approx(norms["first"], rel=1e-5)
    assert series(found, "train/critic/gradient_norm") == pytest.approx(norms["second"], rel=1e-5)
    assert list(series(found, "layers/critic.0/gradient_norm")) == list(range(6))
    assert not series(found, "train/gradient_norm")


def test_a_model_or_a_name_that_is_watched_already_is_refused_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    run.watch(model, name="critic", every=1)
    for again, name, said in (
        (torch.nn.DataParallel(model), None, "this Sequential is watched already"),
        (model_of(), "critic", "a model called 'critic' is watched already"),
        (model_of(), "", "name='' is no name"),
    ):
        run._failed.clear()
        with caplog.at_level(logging.WARNING, logger="barograph"):
            run.watch(again, name=name)
        assert said in caplog.text
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    backward(model, 0)
    optimizer.step()
    assert list(series(records(run), "layers/critic.0/gradient_norm")) == [0]


def test_what_may_be_spent_goes_round_among_the_models_and_their_time_counts_once(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    models = [model_of(seed) for seed in range(3)]
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.01) for one in models]
    for one, optimizer in zip(models, optimizers, strict=True):
        run.watch(one, optimizer)
    for step in range(300):
        for one, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            loss = backward(one, step)
            optimizer.step()
        run.log({"loss": loss}, step=step)
    began = [one._began_at for one in run._watched]
    assert None not in began
    assert run.budget.wall_s < 60.0
    wall_s = run.budget.wall_s
    backward(models[0], 0)
    optimizers[0].step()
    assert began[-1] is not None
    assert run._watched[0]._began_at is not None
    assert run.budget.wall_s - wall_s == pytest.approx(run._watched[0]._began_at - began[-1])
    found = records(run)
    counts = [len(series(found, f"layers/{name}/gradient_norm")) for name in ("0", "Sequential.0", "Sequential_2.0")]
    assert min(counts) >= 1
    assert max(counts) <= min(counts) + 1


def test_a_sparse_gradient_has_its_norm_and_takes_none_from_the_others(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(10, 4, sparse=True), torch.nn.Linear(4, 1))
    optimizers = [torch.optim.SparseAdam(model[0].parameters()), torch.optim.Adam(model[1].parameters())]
    run.watch(model, every=1)
    norms = {}
    for step in range(4):
        model.zero_grad()
        loss = model(torch.tensor([1, 1, 2, step])).square().mean()
        loss.backward()
        embedding = model[0].weight.grad
        assert embedding is not None
        assert isinstance(embedding, torch.Tensor)
        norms[step] = [float(embedding.to_dense().norm()), norm(model[1])]
        for optimizer in optimizers:
            optimizer.step()
        run.log({"loss": loss}, step=step)
    found = records(run)
    assert not of_kind(CollectorFailed, found)
    for at in (0, 1):
        told = series(found, f"layers/{at}/gradient_norm")
        assert told == pytest.approx({step: one[at] for step, one in norms.items()}, rel=1e-5)
    whole = {step: math.hypot(*one) for step, one in norms.items()}
    assert series(found, "train/gradient_norm") == pytest.approx(whole, rel=1e-5)


def test_parameters_that_an_optimizer_gets_later_are_measured_from_then_on(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.01)
    run.watch(model, every=1)
    for step in range(4):
        if step == 2:
            optimizer.add_param_group({"params": list(model[1].parameters())})
        model.zero_grad()
        loss = backward(model, step)
        optimizer.step()
        run.log({"loss": loss}, step=step)
    found = records(run)
    assert list(series(found, "layers/0/gradient_norm")) == [0, 1, 2, 3]
    assert list(series(found, "layers/1/gradient_norm")) == [2, 3]
    assert list(series(found, "train/gradient_norm")) == [2, 3]


def test_an_optimizer_that_is_never_heard_is_told_of_and_told_again_when_it_is(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    run.watch(model, every=1)
    for step in range(LONG_UNHEARD):
        run.log({"loss": 1.0}, step=step)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(LONG_UNHEARD, LONG_UNHEARD + 2):
        loss = backward(model, step)
        optimizer.step()
        run.log({"loss": loss}, step=step)
    found = records(run)
    assert [one.running for one in said_of_layers(found)] == [True, False, True]
    assert "Not one step" in said_of_layers(found)[1].detail
    assert list(series(found, "layers/0/gradient_norm")) == [LONG_UNHEARD, LONG_UNHEARD + 1]


def compiled(run: Run | None) -> tuple[int, int, list[float]]:
    """Graph breaks and graphs of an optimizer's step that is compiled, and the losses."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = model_of()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if run is not None:
        run.watch(model, optimizer, every=1)
    step_of = torch.compile(functools.partial(optimizer.step), backend="eager")
    losses = []
    for step in range(6):
        optimizer.zero_grad()
        losses.append(float(backward(model, step)))
        step_of()
        if run is not None:
            run.log({"loss": losses[-1]}, step=step)
    counters = torch._dynamo.utils.counters
    return sum(counters["graph_break"].values()), counters["stats"]["unique_graphs"], losses


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_is_measured_and_its_graphs_stay_as_they_are(tmp_path: Path) -> None:
    """torch itself breaks the graph around the arithmetic of every step; what is compiled there must stay one graph."""
    run = init("p", dir=tmp_path)
    breaks, graphs, losses = compiled(run)
    found = records(run)
    bare_breaks, bare_graphs, bare_losses = compiled(None)
    assert losses == bare_losses
    assert graphs == bare_graphs
    assert breaks <= bare_breaks
    assert not of_kind(CollectorFailed, found)
    assert list(series(found, "layers/0/update_norm")) == list(range(6))


@pytest.mark.parametrize("global_hooks", [False, True])
def test_a_hook_that_fails_takes_no_other_hook_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, global_hooks: bool
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("not today")

    monkeypatch.setattr("barograph.collect.gradients.LayerGradients.take", fails)
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.watch(model, None if global_hooks else optimizer, every=1)
    heard: list[int] = []
    register = register_optimizer_step_pre_hook if global_hooks else optimizer.register_step_pre_hook
    after_ours = register(lambda *_: heard.append(1))
    for step in range(3):
        loss = backward(model, step)
        optimizer.step()
        run.log({"loss": loss}, step=step)
    after_ours.remove()
    assert len(heard) == 3
    found = records(run)
    assert [one.name for one in of_kind(CollectorFailed, found)] == ["layers"]
    assert not optimizer._optimizer_step_pre_hooks


def test_a_model_that_could_not_be_watched_takes_no_name(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    run.watch(model, torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.01))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.watch(model, optimizer, every=1)
    loss = backward(model, 0)
    optimizer.step()
    run.log({"loss": loss}, step=0)
    found = records(run)
    assert list(series(found, "layers/0/gradient_norm")) == [0]
    assert [one.running for one in said_of_layers(found)] == [False, True]


def test_a_hook_that_fails_at_a_log_leaves_the_log_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("not today")

    run = init("p", dir=tmp_path)
    model = model_of()
    run.watch(model, every=1)
    monkeypatch.setattr(WatchedModel, "logged", fails)
    for step in range(3):
        run.log({"loss": 1.0}, step=step)
    assert [one.step for one in of_kind(Step, records(run))] == [0, 1, 2]

"""A plain loop is watched from its optimizer's steps: no change to the loop, and none to what it computes."""

import logging
import math
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from barograph.collect.begin import init
from barograph.collect.run import Run
from barograph.journal import TailReader, layout
from barograph.journal.wide_rows import metrics_of
from barograph.records import Alert, Collector, CollectorFailed, Columns, Record, Step

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


def model_of() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))


def norm(module: torch.nn.Module) -> float:
    """Of all its gradients."""
    return math.sqrt(
        sum(float(one.grad.double().square().sum()) for one in module.parameters() if one.grad is not None)
    )


def loop(
    run: Run,
    *,
    steps: int = 6,
    log_every: int = 1,
    watch: str = "both",
    every: int | None = 1,
    spoil: int | None = None,
) -> tuple[list[float], list[dict[str, float]]]:
    """Losses, and the gradient norm of each module, of a small regression."""
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if watch == "both":
        run.watch(model, optimizer, every=every)
    elif watch == "model":
        run.watch(model, every=every)
    generator = torch.Generator().manual_seed(1)
    losses, norms = [], []
    for step in range(steps):
        x = torch.randn(8, 4, generator=generator)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if step == spoil:
            next(model.parameters()).grad = torch.full((4, 4), math.nan)
        norms.append({name: norm(module) for name, module in model.named_children()})
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % log_every == 0:
            run.log({"loss": losses[-1]}, step=step)
    return losses, norms


@pytest.mark.parametrize("watch", ["both", "model"])
def test_norms_belong_to_the_step_that_is_logged_for_them(tmp_path: Path, watch: str) -> None:
    run = init("p", dir=tmp_path)
    _, norms = loop(run, watch=watch)
    found = records(run)
    for module in "01":
        assert series(found, f"layers/{module}/gradient_norm") == pytest.approx(
            {step: one[module] for step, one in enumerate(norms)}, rel=1e-5
        )
    assert list(series(found, "layers/0/update_norm").values()) == pytest.approx(
        [0.1 * one["0"] for one in norms], rel=1e-3
    )
    assert [one.running for one in of_kind(Collector, found) if one.name == "layers"] == [True]


def test_where_not_every_step_is_logged_the_steps_between_are_counted(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    _, norms = loop(run, steps=9, log_every=3)
    assert series(records(run), "layers/0/gradient_norm") == pytest.approx(
        {step: one["0"] for step, one in enumerate(norms)}, rel=1e-5
    )


def test_every_so_many_steps_if_that_is_asked_for(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    loop(run, steps=10, every=4)
    assert list(series(records(run), "layers/0/gradient_norm")) == [3, 7]


def test_the_training_is_bit_identical_and_nothing_is_left_on_the_optimizer(tmp_path: Path) -> None:
    watched = init("p", dir=tmp_path)
    plain = init("p", dir=tmp_path)
    assert loop(watched)[0] == loop(plain, watch="none")[0]
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = init("p", dir=tmp_path)
    run.watch(model, optimizer)
    run.finish()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    watched.finish()
    plain.finish()


def test_another_models_optimizer_is_not_heard(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.watch(model_of(), every=1)
    other = model_of()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    other(torch.zeros(1, 4)).sum().backward()
    optimizer.step()
    assert series(records(run), "layers/0/gradient_norm") == {}


def test_gradients_that_are_no_numbers_raise_an_alert(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    loop(run, spoil=3)
    alerts = [one for one in of_kind(Alert, records(run)) if one.condition == "exploding_gradients"]
    assert alerts
    assert alerts[0].first_step == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("a model", None, None), "watch was given a str"),
        ((torch.nn.Linear(1, 1), "an optimizer", None), "watch was given a str"),
        ((torch.nn.Linear(1, 1), None, 0), "every=0 is no number of steps"),
    ],
)
def test_what_cannot_be_watched_is_said_and_raises_nothing(
    tmp_path: Path, given: tuple[object, object, int | None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = init("p", dir=tmp_path)
    model, optimizer, every = given
    with caplog.at_level(logging.WARNING, logger="barograph"):
        run.watch(model, optimizer, every=every)
    (failed,) = of_kind(CollectorFailed, records(run))
    assert failed.name == "watch"
    assert said in failed.error


def test_a_model_without_trainable_parameters_says_why_it_has_no_norms(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.watch(torch.nn.Linear(2, 2).requires_grad_(False))
    (said,) = [one for one in of_kind(Collector, records(run)) if one.name == "layers"]
    assert (said.running, said.detail) == (False, "No parameter of the model is trained.")


def test_a_hook_that_raises_is_left_out_and_the_loop_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = init("p", dir=tmp_path)
    expected = loop(plain, watch="none")[0]
    plain.finish()

    def fails(*_: object) -> None:
        raise RuntimeError("not today")

    monkeypatch.setattr("barograph.collect.gradients.LayerGradients.take", fails)
    run = init("p", dir=tmp_path)
    assert loop(run)[0] == expected
    found = records(run)
    assert [one.name for one in of_kind(CollectorFailed, found)] == ["layers"]
    assert [one.loss for one in of_kind(Step, found)] == expected


def test_a_run_that_nobody_watches_has_no_hooks(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path, monitor=False)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    run.finish()

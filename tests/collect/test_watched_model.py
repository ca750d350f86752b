"""A plain loop is watched from its optimizer's steps: no change to the loop, and none to what it computes."""

import itertools
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
from barograph.records import Alert, Collector, CollectorFailed, Columns, Record, RejectedValue, Signals, Step

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
    assert said in caplog.text
    (left_out,) = of_kind(RejectedValue, records(run))
    assert left_out.key == "watch()"
    assert said in left_out.value_type


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


def two_groups(model: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Matrices, and the rest: so every module has some of both."""
    parameters = list(model.parameters())
    return [one for one in parameters if one.dim() == 2], [one for one in parameters if one.dim() != 2]


def test_two_optimizers_make_one_row_a_step_with_all_that_both_did(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    matrices, vectors = two_groups(model)
    optimizers = [torch.optim.SGD(matrices, lr=0.1), torch.optim.AdamW(vectors, lr=0.01)]
    run.watch(model, every=1)
    norms, updates = [], []
    for step in range(6):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        norms.append({name: norm(module) for name, module in model.named_children()})
        before = [one.detach().clone() for one in model.parameters()]
        for optimizer in optimizers:
            optimizer.step()
        moved = [
            float((one.detach() - old).double().square().sum())
            for one, old in zip(model.parameters(), before, strict=True)
        ]
        updates.append([math.sqrt(sum(moved[:2])), math.sqrt(sum(moved[2:]))])
        for optimizer in optimizers:
            optimizer.zero_grad()
        run.log({"loss": float(loss.detach())}, step=step)
    found = records(run)
    for at, module in enumerate("01"):
        for name, expected in (
            ("gradient_norm", [one[module] for one in norms]),
            ("update_norm", [one[at] for one in updates]),
        ):
            told = series(found, f"layers/{module}/{name}")
            assert list(told) == list(range(6))
            assert list(told.values()) == pytest.approx(expected, rel=1e-5)
    assert len([one for one in of_kind(Step, found) if one.loss is None]) == 6
    whole = [math.hypot(*one.values()) for one in norms]
    assert list(series(found, "train/gradient_norm").values()) == pytest.approx(whole, rel=1e-5)


def test_one_of_two_optimizers_is_watched_with_its_own_parameters_alone(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    own = torch.optim.SGD(model[0].parameters(), lr=0.1)
    other = torch.optim.SGD(model[1].parameters(), lr=0.1)
    run.watch(model, own, every=1)
    for step in range(3):
        model(torch.ones(2, 4)).sum().backward()
        own.step()
        other.step()
        run.log({"loss": 1.0}, step=step)
    found = records(run)
    assert list(series(found, "layers/0/update_norm")) == [0, 1, 2]
    assert not series(found, "layers/1/gradient_norm")
    assert not series(found, "train/gradient_norm"), "it would be the norm of some of the gradients"


def test_an_optimizer_of_another_model_says_so(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.watch(model_of(), torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1))
    (said,) = [one for one in of_kind(Collector, records(run)) if one.name == "layers"]
    assert not said.running
    assert "no parameter of the model" in said.detail


@pytest.mark.parametrize("fused", [False, True])
def test_under_a_loss_scaler_the_norms_are_those_without_its_scale(tmp_path: Path, fused: bool) -> None:
    """A fused optimizer divides by the scale within its step, and leaves a step out there too; that has no row."""
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    run.watch(model, optimizer, every=1)
    true = []
    for step in range(12):
        loss = model(torch.randn(8, 4, generator=torch.Generator().manual_seed(step))).square().mean()
        scaler.scale(loss).backward()
        if step in {0, 1, 6}:
            first = next(model.parameters()).grad
            assert first is not None
            first[0, 0] = math.inf
        true.append(norm(model[1]) / scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        run.log({"loss": float(loss.detach())}, step=step)
    found = records(run)
    stepped = [step for step in range(12) if step not in {0, 1, 6}]
    assert series(found, "layers/1/gradient_norm") == pytest.approx({step: true[step] for step in stepped}, rel=1e-5)
    assert not of_kind(Alert, found)
    assert not of_kind(CollectorFailed, found)


def test_a_norm_that_the_loop_logs_is_not_derived_again(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.log({"grad_norm": 7.0}, step=0)
    run.watch(model, optimizer, every=1)
    for step in range(1, 4):
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        run.log({"loss": 1.0, "grad_norm": 7.0}, step=step)
    found = records(run)
    assert list(series(found, "layers/0/gradient_norm")) == [1, 2, 3]
    assert not series(found, "train/gradient_norm")
    assert of_kind(Signals, found)[-1].gradient_norm == 7.0


def test_the_derived_norm_and_logged_tokens_are_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1_000)
    run = init("p", dir=tmp_path)
    model = model_of()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer, every=1)
    monkeypatch.setattr("barograph.collect.run.time.time", lambda: float(next(clock)))
    for step in range(8):
        model(torch.ones(2, 4)).sum().backward()
        last = math.hypot(norm(model[0]), norm(model[1]))
        optimizer.step()
        optimizer.zero_grad()
        run.log({"loss": 1.0, "throughput/tokens": 512}, step=step)
    run.flush()
    monkeypatch.undo()
    told = of_kind(Signals, records(run))[-1]
    assert told.gradient_norm == pytest.approx(last, rel=1e-5)
    assert told.tokens_per_sec is not None, told.why
    assert told.tokens_per_sec > 0.0

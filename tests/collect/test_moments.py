"""Second moments at a save: what torch has in memory, by name, summed in float64; and why there are none."""

import math

import pytest
import torch

from barograph.collect.moments import optimizer_moments
from barograph.records import OptimizerMoments


def trained(optimizer: str = "AdamW", **settings: object) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Two layers after three steps; the second one frozen."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    dict(model.named_parameters())["1.weight"].requires_grad = False
    made = getattr(torch.optim, optimizer)([one for one in model.parameters() if one.requires_grad], lr=0.1, **settings)
    for _ in range(3):
        model(torch.ones(3, 4)).square().sum().backward()
        made.step()
        made.zero_grad()
    return model, made


def test_the_sums_are_those_of_the_optimizers_own_tensors_in_float64() -> None:
    model, optimizer = trained()
    found = optimizer_moments(7, model, optimizer)
    assert isinstance(found, OptimizerMoments)
    assert (found.step, found.optimizer, found.non_finite) == (7, "AdamW", {})
    assert list(found.sums) == ["0.weight", "0.bias", "1.bias"]  # the frozen one has none
    for name, parameter in model.named_parameters():
        if name in found.sums:
            moment = optimizer.state[parameter]["exp_avg_sq"]
            assert found.sums[name] == float(moment.double().sum())
            assert found.elements[name] == moment.numel()


def test_what_is_no_number_is_counted() -> None:
    model, optimizer = trained()
    moment = optimizer.state[dict(model.named_parameters())["0.weight"]]["exp_avg_sq"]
    moment[0, :2] = math.nan
    moment[1, 0] = math.inf
    found = optimizer_moments(1, model, optimizer)
    assert isinstance(found, OptimizerMoments)
    assert found.non_finite == {"0.weight": 3}
    assert not math.isfinite(found.sums["0.weight"])
    assert math.isfinite(found.sums["0.bias"])


def test_names_are_those_of_the_model_without_its_wrappers() -> None:
    model, optimizer = trained()
    wrapped = torch.nn.Module()
    wrapped.add_module("module", model)
    found = optimizer_moments(1, wrapped, optimizer)
    assert isinstance(found, OptimizerMoments)
    assert "0.weight" in found.sums


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_an_optimizer_without_second_moments_says_so(name: str) -> None:
    said = optimizer_moments(1, *trained(name))
    assert isinstance(said, str)
    assert said.startswith(f"{name} keeps no second moments")


def test_before_the_first_step_there_is_nothing_to_say() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    assert optimizer_moments(0, model, optimizer) is None
    assert isinstance(optimizer_moments(1, model, optimizer), str), "after it, none are none"


def test_no_model_or_optimizer_is_a_sentence_and_no_error() -> None:
    model, optimizer = trained()
    for given in ((None, optimizer), (model, None), (model, object())):
        assert optimizer_moments(1, *given) == "The trainer gave no model, or no optimizer."


def test_reading_changes_nothing() -> None:
    model, optimizer = trained()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    moments = [optimizer.state[one]["exp_avg_sq"].clone() for one in optimizer.state]
    optimizer_moments(1, model, optimizer)
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    for kept, state in zip(moments, optimizer.state.values(), strict=True):
        assert torch.equal(kept, state["exp_avg_sq"])

"""Whose parameters an optimizer has is found from all of them, whenever they come."""

import gc

import torch
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.layer_columns import columns
from barograph.collect.optimizer_parts import OptimizerParts, ids


@given(st.permutations(["own", "own", "other", "other"]), st.booleans())
def test_an_optimizer_trains_the_model_if_any_of_its_parameters_is_the_models(order: list[str], grouped: bool) -> None:
    own, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    waiting = {"own": list(own.parameters()), "other": list(other.parameters())}
    chosen = [waiting[name].pop() for name in order]
    groups = [{"params": [one]} for one in chosen] if grouped else chosen
    parts = OptimizerParts(columns(own))
    optimizer = torch.optim.SGD(groups, lr=0.1)
    assert parts.has(optimizer)
    assert parts.of(optimizer).parameters == {id(one) for one in own.parameters()} < ids(optimizer)
    assert not parts.has(torch.optim.SGD(other.parameters(), lr=0.1))


def test_what_an_optimizer_gets_later_counts_from_then_on() -> None:
    own, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    parts = OptimizerParts(columns(own))
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    assert not parts.has(optimizer)
    for at, one in enumerate(own.parameters(), start=1):
        optimizer.add_param_group({"params": [one]})
        assert parts.has(optimizer)
        assert len(parts.of(optimizer).parameters) == at
    assert parts.of(optimizer) is parts.of(optimizer) is parts.known(optimizer)


def test_an_optimizer_that_is_gone_is_forgotten() -> None:
    own = torch.nn.Linear(2, 2)
    parts = OptimizerParts(columns(own))
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    parts.of(optimizer)
    del optimizer
    gc.collect()
    assert not len(parts._parts)

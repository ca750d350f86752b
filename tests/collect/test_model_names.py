"""Models that are watched beside each other have names that differ."""

import pytest
import torch

from barograph.collect.model_names import LONGEST_NAME, given_name, model_name, unwrapped
from barograph.errors import UsageError


class Critic(torch.nn.Linear):
    """A model of a class of its own."""


def test_a_model_is_called_after_its_class_whatever_wraps_it() -> None:
    model = Critic(1, 1)
    wrapped = torch.nn.DataParallel(model)
    compiled = torch.compile(model)
    assert isinstance(compiled, torch.nn.Module)
    assert unwrapped(wrapped) is unwrapped(compiled) is model
    assert model_name(wrapped, set()) == "Critic"


def test_names_that_are_taken_are_numbered() -> None:
    taken: list[str] = []
    for _ in range(4):
        taken.append(model_name(Critic(1, 1), taken))
    assert taken == ["Critic", "Critic_2", "Critic_3", "Critic_4"]


def test_a_given_name_is_one_part_of_a_path() -> None:
    assert given_name("adversary/critic", {"critic"}) == "adversary_critic"


@pytest.mark.parametrize("name", ["", 3, "x" * (LONGEST_NAME + 1), "taken"])
def test_what_is_no_name_of_its_own_is_refused(name: object) -> None:
    with pytest.raises(UsageError):
        given_name(name, {"taken"})

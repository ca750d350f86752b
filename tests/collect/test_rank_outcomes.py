"""Of several ranks, the one whose own loss went wrong first is accused, and no other."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.batches import KeptBatches
from barograph.collect.rank_outcomes import RankOutcomes, asked_for


def outcomes(*steps: tuple[int, float, float | None]) -> RankOutcomes:
    """Of (step, own loss, norm of the gradients)."""
    fold = RankOutcomes(rank=0, ranks=4)
    for step, loss, norm in steps:
        fold.update(step, [torch.tensor(loss)], None if norm is None else torch.tensor(norm))
    return fold


@given(st.floats(width=32), st.sampled_from([0.0, 1.5, 1e30, None]))
def test_where_the_gradients_are_numbers_a_loss_is_by_its_own_batch(loss: float, norm: float | None) -> None:
    assert outcomes((6, 2.0, 1.0), (7, loss, norm)).not_ours(7) == ""


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_gradients_that_are_none_while_the_own_loss_is_one_come_from_elsewhere(norm: float) -> None:
    said = outcomes((6, 2.0, 1.0), (7, 2.1, norm)).not_ours(7)
    assert said.startswith("the loss of rank 0 is a number in this step, and the gradients of all 4 ranks are none:")
    assert "overflow in the backward pass" in said


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_none_is_by_its_own_batch_unless_the_weights_were_lost_before(loss: float) -> None:
    assert outcomes((6, 2.0, 1.0), (7, loss, math.nan)).not_ours(7) == ""
    assert outcomes((7, loss, math.nan)).not_ours(7) == ""
    said = outcomes((6, 2.0, math.nan), (7, loss, math.nan)).not_ours(7)
    assert said == "the gradients of step 6 were no numbers already, so the weights were lost"


def test_a_step_that_was_not_seen_accuses_as_before() -> None:
    assert outcomes().not_ours(3) == ""


def test_the_examples_of_an_innocent_rank_are_not_recorded_and_the_reason_is() -> None:
    kept = KeptBatches()
    for step in (6, 7):
        kept.update(step, {"input_ids": torch.tensor([[step, 2]])})
    fold = outcomes((6, 2.0, 1.0), (7, 2.1, math.nan))
    told = asked_for(7, kept=kept, outcomes=fold, all_ranks=False)
    assert told is not None
    assert (told.step, told.examples, told.left_out) == (7, [], 0)
    assert told.why == fold.not_ours(7)
    assert asked_for(7, kept=kept, outcomes=fold, all_ranks=True) is None, "another rank records its own"
    for alone in (fold, None):
        guilty = asked_for(6, kept=kept, outcomes=alone, all_ranks=True)
        assert guilty is not None
        assert [one.tokens for one in guilty.examples] == [2]

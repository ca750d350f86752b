"""What a rank returns as its loss, made the mean of its own tokens again."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Trainer
from trl import SFTTrainer

from barograph.collect.label_share import LabelShare, shares
from barograph.collect.observed import Labels, Observed, own_mean, read
from barograph.errors import UsageError

TOKEN_LOSSES = st.lists(st.floats(1e-3, 20.0), min_size=1, max_size=8)


@given(st.lists(TOKEN_LOSSES, min_size=2, max_size=5))
def test_the_own_mean_is_the_mean_of_own_tokens_however_many_the_others_have(ranks: list[list[float]]) -> None:
    of_all = sum(map(len, ranks))
    for own in ranks:
        returned = sum(own) * len(ranks) / of_all
        found = own_mean(returned, own=len(own), of_all=of_all, ranks=len(ranks))
        assert found == pytest.approx(sum(own) / len(own))


@given(st.lists(TOKEN_LOSSES, min_size=2, max_size=5))
def test_weighted_by_their_tokens_the_own_means_are_the_loss_of_the_step(ranks: list[list[float]]) -> None:
    of_all = sum(map(len, ranks))
    returned = [sum(own) * len(ranks) / of_all for own in ranks]
    means = [
        own_mean(loss, own=len(own), of_all=of_all, ranks=len(ranks)) for loss, own in zip(returned, ranks, strict=True)
    ]
    weighted = sum((mean or 0.0) * len(own) for mean, own in zip(means, ranks, strict=True)) / of_all
    assert weighted == pytest.approx(sum(returned) / len(ranks)), "which is what the Trainer logs"


@given(st.floats(), st.integers(1, 10**6), st.integers(2, 4096))
def test_with_as_many_tokens_on_every_rank_the_loss_is_bit_for_bit_what_it_was(
    loss: float, own: int, ranks: int
) -> None:
    assert repr(own_mean(loss, own=own, of_all=own * ranks, ranks=ranks)) == repr(loss)


def test_a_rank_without_a_label_has_no_loss_and_a_nan_stays_one() -> None:
    assert own_mean(0.0, own=0.0, of_all=40.0, ranks=2) is None
    assert math.isnan(own_mean(math.nan, own=0.0, of_all=0.0, ranks=2) or 0.0)
    found = read(Observed(losses=(0.0, 0.0), labels=Labels(own=0.0, of_all=40.0, ranks=2)))
    assert (found.loss, found.unreadable) == (None, None)


@given(st.lists(st.lists(st.sampled_from([-100, 3, 7]), min_size=2, max_size=9), min_size=1, max_size=4), st.booleans())
def test_labels_are_counted_as_the_trainer_counts_them(rows: list[list[int]], shifted: bool) -> None:
    trainer = object.__new__(Trainer)
    trainer.__dict__.update(
        model_accepts_loss_kwargs=True,
        compute_loss_func=None,
        _loss_shifts_labels=shifted,
        args=SimpleNamespace(average_tokens_across_devices=True, world_size=1, n_gpu=1),
        accelerator=SimpleNamespace(parallelism_config=None),
        model=None,
        is_deepspeed_enabled=False,
    )
    window = [{"labels": torch.tensor([row])} for row in rows]
    theirs = trainer._get_num_items_in_batch(window, torch.device("cpu"))
    fold = LabelShare(2, shifted=shifted)
    for micro_batch in window:
        fold.update(micro_batch, theirs)
    found = fold.take()
    assert found is not None
    assert (found.own, found.of_all, found.ranks) == (float(theirs), float(theirs), 2)
    assert fold.take() is None, "the next window begins anew"


def test_labels_that_are_shifted_already_are_taken_as_they_are() -> None:
    fold = LabelShare(2, shifted=True)
    fold.update({"labels": torch.tensor([[1, 2, 3]]), "shift_labels": torch.tensor([[2, 3, -100, 4]])}, 9)
    assert fold.take() == Labels(own=3.0, of_all=9.0, ranks=2)


def test_a_loss_that_is_divided_by_no_count_is_left_as_it_is() -> None:
    fold = LabelShare(2, shifted=True)
    fold.update({"labels": torch.tensor([[1, 2, 3]])}, None)
    assert fold.take() is None


@pytest.mark.parametrize("inputs", [None, {}, {"labels": [1, 2]}])
def test_labels_that_cannot_be_counted_are_refused_with_what_to_do(inputs: object) -> None:
    with pytest.raises(UsageError, match=r"no tensor of labels to count.*Set average_tokens_across_devices=False"):
        LabelShare(2, shifted=True).update(inputs, 9)


class HandsOn(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Adds something to the loss that the Trainer computes."""

    def compute_loss(self, model: object, inputs: object, *args: object, **named: object) -> object:
        return super().compute_loss(model, inputs, *args, **named) + 0.1


class Names(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Hands the count on by its name."""

    def compute_loss(self, model: object, inputs: object, return_outputs: object = False, **named: object) -> object:
        count = named["num_items_in_batch"]
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch=count)


class Forgets(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Takes the count and does not use it, so that the loss is the mean of a micro-batch."""

    def compute_loss(
        self, model: object, inputs: object, return_outputs: object = False, num_items_in_batch: object = None
    ) -> object:
        return super().compute_loss(model, inputs, return_outputs)


class Own(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Computes its loss itself."""

    def compute_loss(self, model: object, inputs: object, **named: object) -> object:
        return (model, inputs, named)


class OwnStep(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Makes its step itself."""

    def training_step(self, model: object, inputs: object, *args: object) -> object:
        return (model, inputs, args)


def of_ranks(kind: type[Trainer], ranks: int = 2, **changes: object) -> Trainer:
    trainer = object.__new__(kind)
    settings: dict[str, object] = {
        "accelerator": SimpleNamespace(num_processes=ranks, parallelism_config=None),
        "args": SimpleNamespace(average_tokens_across_devices=True),
        "model": None,
        "is_deepspeed_enabled": False,
    }
    trainer.__dict__.update({**settings, **changes})
    return trainer


@pytest.mark.parametrize("kind", [Trainer, SFTTrainer, HandsOn, Names])
def test_a_trainer_that_hands_the_count_on_shares_one_mean(kind: type[Trainer]) -> None:
    assert shares(of_ranks(kind)).shared
    assert shares(of_ranks(kind)).detail == "Of the batches of this rank, one of 2: the mean over its own label tokens."
    assert shares(of_ranks(kind, ranks=1)).ranks == 1
    assert not shares(of_ranks(kind, ranks=1)).shared


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        (of_ranks(Forgets), "Forgets.compute_loss does not hand num_items_in_batch on, so that this is not known"),
        (of_ranks(Own), "Own.compute_loss does not hand"),
        (of_ranks(OwnStep), "OwnStep.training_step does not hand"),
        (of_ranks(Trainer, compute_loss=len), "a function in the place of Trainer.compute_loss does not hand"),
        (
            of_ranks(Trainer, model=SimpleNamespace(_tp_size=2)),
            "it says how many this one had, and the ranks share batches",
        ),
        (
            of_ranks(Trainer, args=SimpleNamespace(average_tokens_across_devices=False)),
            r"^Of the batches of this rank, one of 2\.$",
        ),
    ],
)
def test_where_it_is_not_known_the_loss_is_left_and_that_is_said(trainer: Trainer, said: str) -> None:
    found = shares(trainer)
    assert not found.shared
    assert re.search(said, found.detail), found.detail

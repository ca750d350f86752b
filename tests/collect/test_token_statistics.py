"""Entropy and greatest probability are those of the sampled positions, and the training does not notice."""

import math
from types import SimpleNamespace

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.collect.token_statistics import POSITIONS, TokenSampler, token_statistics


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 40), st.integers(0, 2**31))
def test_over_all_positions_they_are_the_means_that_scipy_finds(
    batch: int, positions: int, vocabulary: int, seed: int
) -> None:
    logits = torch.randn(batch, positions, vocabulary, generator=generator(seed)) * 3
    found = token_statistics(logits, None, generator=generator(), positions=batch * positions)
    probabilities = logits.double().softmax(-1).reshape(-1, vocabulary).numpy()
    entropy = float(scipy.stats.entropy(probabilities, axis=-1).mean())
    assert float(found.entropy) == pytest.approx(entropy, rel=1e-4, abs=1e-6)  # float32 knows 1 - p to 6e-8
    assert float(found.top1_probability) == pytest.approx(float(probabilities.max(-1).mean()), rel=1e-4)


@pytest.mark.parametrize(("logit", "entropy", "top1"), [(0.0, math.log(8), 1 / 8), (1e4, 0.0, 1.0)])
def test_the_ends_are_certainty_and_indifference(logit: float, entropy: float, top1: float) -> None:
    logits = torch.zeros(2, 5, 8)
    logits[..., 3] = logit
    found = token_statistics(logits, None, generator=generator())
    assert (float(found.entropy), float(found.top1_probability)) == pytest.approx((entropy, top1), abs=1e-6)


def test_only_positions_that_count_are_looked_at() -> None:
    """Certain where it counts, indifferent elsewhere, and the other way round."""
    logits = torch.zeros(4, 50, 8)
    logits[:, ::5, 0] = 1e4
    valid = torch.zeros(4, 50, dtype=torch.bool)
    valid[:, ::5] = True
    for seed in range(5):
        assert float(token_statistics(logits, valid, generator=generator(seed)).entropy) == pytest.approx(0.0, abs=1e-5)
        other = token_statistics(logits, ~valid, generator=generator(seed))
        assert float(other.entropy) == pytest.approx(math.log(8), rel=1e-5)


def test_fewer_positions_than_asked_for_are_enough_and_none_is_no_number() -> None:
    logits = torch.zeros(1, POSITIONS * 2, 4)
    valid = torch.zeros(1, POSITIONS * 2, dtype=torch.bool)
    assert math.isnan(float(token_statistics(logits, valid, generator=generator()).entropy))
    valid[0, 7] = True
    assert float(token_statistics(logits, valid, generator=generator()).entropy) == pytest.approx(math.log(4))


def test_a_word_that_is_ruled_out_costs_no_number() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[..., 0] = -math.inf
    found = token_statistics(logits, None, generator=generator())
    assert float(found.entropy) == pytest.approx(math.log(3))


def test_the_sample_of_a_long_batch_is_near_its_mean() -> None:
    logits = torch.randn(8, 512, 32, generator=generator(1))
    whole = token_statistics(logits, None, generator=generator(), positions=8 * 512)
    found = [float(token_statistics(logits, None, generator=generator(seed)).entropy) for seed in range(40)]
    assert sum(found) / 40 == pytest.approx(float(whole.entropy), rel=0.02)


class Model(torch.nn.Module):
    """Returns what it was given, as a model of transformers does."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, **_: object) -> object:
        return self.output


def test_the_hook_hears_one_pass_and_is_gone() -> None:
    logits = torch.zeros(2, 6, 8)
    model, sampler = Model(SimpleNamespace(logits=logits)), TokenSampler()
    before = torch.get_rng_state()
    assert sampler.arm(model)
    returned = model(labels=torch.zeros(2, 6, dtype=torch.int64))
    sampler.disarm()
    assert returned is model.output
    assert not model._forward_hooks
    found = sampler.take()
    assert found is not None
    assert float(found.entropy) == pytest.approx(math.log(8))
    assert sampler.take() is None
    assert sampler.why is None
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"


def test_labels_shift_by_one_and_a_mask_stands_in_for_them() -> None:
    logits = torch.zeros(1, 4, 8)
    logits[0, 1, 0] = 1e4
    sampler = TokenSampler()
    for named, certain in (
        ({"labels": torch.tensor([[-100, -100, 5, -100]])}, True),
        ({"labels": torch.tensor([[-100, 5, -100, -100]])}, False),
        ({"attention_mask": torch.tensor([[0, 1, 0, 0]])}, True),
    ):
        model = Model(SimpleNamespace(logits=logits))
        assert sampler.arm(model)
        model(**named)
        sampler.disarm()
        found = sampler.take()
        assert found is not None
        assert (float(found.entropy) < 1e-5) is certain


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (SimpleNamespace(logits=None), "the model's output (SimpleNamespace) has no logits"),
        ((torch.zeros(1),), "the model's output (tuple) has no logits"),
        (SimpleNamespace(logits=torch.zeros(2, 3)), "has no logits"),
    ],
)
def test_a_pass_without_logits_raises_nothing_and_says_why(output: object, said: str) -> None:
    model, sampler = Model(output), TokenSampler()
    assert sampler.arm(model)
    assert model() is output
    sampler.disarm()
    assert sampler.take() is None
    assert said in str(sampler.why)


def test_what_cannot_be_hooked_says_why() -> None:
    sampler = TokenSampler()
    assert not sampler.arm("a model")
    assert sampler.why == "The training step was given a str, not a model."
    compiled = torch.nn.Linear(2, 2)
    compiled.compile(backend="eager")
    assert not sampler.arm(compiled)
    assert "compiled in place" in str(sampler.why)

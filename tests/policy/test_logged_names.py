"""What trainers log is understood by name, with or without `train/`, and whatever is no number is passed over."""

import math
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.policy.logged_names import Calibration, is_score, logged


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_the_trainers_own_names(prefix: str) -> None:
    said = logged(
        {
            f"{prefix}learning_rate": 1e-4,
            f"{prefix}grad_norm": 2.0,
            f"{prefix}entropy": 1.5,
            f"{prefix}num_input_tokens_seen": 4096,
            f"{prefix}loss": 3.0,
            f"{prefix}epoch": 0.1,
        }
    )
    assert (said.learning_rate, said.gradient_norm, said.token_entropy, said.tokens_seen) == (1e-4, 2.0, 1.5, 4096.0)
    assert (said.validation_loss, said.calibration, said.scores, said.rewards) == (None, None, {}, False)


@pytest.mark.parametrize("name", ["eval/loss", "eval_loss", "val/loss", "val_loss", "validation/loss"])
def test_an_evaluation_loss_is_a_score_too(name: str) -> None:
    said = logged({name: 1.25})
    assert (said.validation_loss, said.scores) == (1.25, {name: 1.25})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"fixed_eval_ece": 0.1, "fixed_eval_n": 50}, Calibration(0.1, 50)),
        ({"train/fixed_eval_ece": 0.1}, Calibration(0.1, None)),
        ({"math/fixed_eval_ece": 0.1, "math/fixed_eval_n": 7, "fixed_eval_n": 9}, Calibration(0.1, 7)),
        ({"eval/ece": 0.2, "eval/n": 3}, Calibration(0.2, 3)),
        ({"ece": 0.2, "n": math.nan}, Calibration(0.2, None)),
        ({"piece": 0.2}, None),
    ],
)
def test_a_calibration_error_is_found_with_its_answers(values: dict[str, float], expected: Calibration | None) -> None:
    assert logged(values).calibration == expected


@pytest.mark.parametrize(
    "name",
    [
        "eval/runtime",
        "eval_samples_per_second",
        "eval/epoch",
        "eval_model_preparation_time",
        "fixed_eval_n",
        "eval/num_tokens",
        "eval_steps_per_second",
        "fixed_eval_ece",
        "train_loss",
        "evaluate",
        "learning_rate",
    ],
)
def test_durations_and_sizes_are_no_scores(name: str) -> None:
    assert not is_score(name)


@pytest.mark.parametrize("name", ["eval/accuracy", "eval_math_em", "fixed_eval_em", "test/exact_match", "eval/loss"])
def test_scores_are(name: str) -> None:
    assert is_score(name)


@pytest.mark.parametrize("name", ["reward", "rewards/chosen", "train/reward_std", "objective/kl"])
def test_rewards_are_noticed(name: str) -> None:
    assert logged({name: 0.5}).rewards


@given(
    st.dictionaries(
        st.text(max_size=30) | st.sampled_from(["lr", "eval_loss", "fixed_eval_ece", "fixed_eval_n", "grad_norm"]),
        st.floats() | st.integers() | st.none() | st.text(max_size=3) | st.booleans() | st.complex_numbers(),
        max_size=8,
    )
)
def test_nothing_that_is_logged_raises(values: dict[str, object]) -> None:
    # What callers hand over is not always what they say it is.
    said = logged(cast(Mapping[str, float], values))
    assert all(isinstance(value, float) for value in said.scores.values())


def test_a_name_without_end_is_passed_over() -> None:
    assert logged({"eval/" + "x" * 10_000: 1.0, "lr": 10**400}).scores == {}


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_the_share_of_groups_with_equal_rewards_is_noticed(prefix: str) -> None:
    assert logged({f"{prefix}frac_reward_zero_std": 0.75, f"{prefix}reward": 0.0}).equal_rewards == 0.75
    assert logged({f"{prefix}reward": 0.0}).equal_rewards is None

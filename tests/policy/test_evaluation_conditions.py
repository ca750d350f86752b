"""Overfitting, calibration beside what chance gives, and scores that never change."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.policy import load
from barograph.policy.evaluation_conditions import (
    Evaluation,
    Evaluations,
    Scores,
    calibrated_error,
    poor_calibration,
    val_train_gap,
)

OURS, SEED = load("default").alerts, load("contract").alerts


def evaluated(*losses: float, training: float | None = 1.0) -> Evaluations:
    fold = Evaluations()
    for place, loss in enumerate(losses):
        fold.update(Evaluation(100 * (place + 1), loss, training))
    return fold


@given(losses=st.lists(st.floats(0.0, 10.0) | st.just(math.nan), min_size=1, max_size=30))
def test_the_best_is_the_least_and_the_first_of_equals(losses: list[float]) -> None:
    fold = evaluated(*losses)
    finite = [loss for loss in losses if math.isfinite(loss)]
    assert fold.newest is not None
    assert fold.newest.step == 100 * len(losses)
    if not finite:
        assert (fold.best, fold.since_best, fold.count) == (None, 0, 0)
        return
    assert fold.best is not None
    place = losses.index(min(finite))
    assert (fold.best.loss, fold.best.step) == (min(finite), 100 * (place + 1))


@given(losses=st.lists(st.floats(0.0, 10.0) | st.just(math.nan) | st.just(math.inf), max_size=30))
def test_an_evaluation_that_is_no_number_is_neither_better_nor_worse(losses: list[float]) -> None:
    every = evaluated(*losses)
    finite = evaluated(*(loss for loss in losses if math.isfinite(loss)))
    assert (every.count, every.since_best) == (finite.count, finite.since_best)
    assert (None if every.best is None else every.best.loss) == (None if finite.best is None else finite.best.loss)


@given(losses=st.lists(st.sampled_from([1.0, 1.1, math.nan, math.inf]), max_size=8))
def test_evaluations_changed_if_any_two_numbers_among_them_differ(losses: list[float]) -> None:
    assert evaluated(*losses).changed == (len({loss for loss in losses if math.isfinite(loss)}) > 1)


def test_a_second_evaluation_of_a_step_takes_the_place_of_the_first() -> None:
    fold = evaluated(2.0, 1.5)
    fold.update(Evaluation(200, 1.6, 1.0))
    assert (fold.count, fold.since_best) == (2, 0)
    fold.update(Evaluation(200, math.nan, 1.0))
    fold.update(Evaluation(200, 1.7, 1.0))
    assert (fold.count, fold.since_best) == (2, 0)


@pytest.mark.parametrize(
    ("loss", "ours", "seeds", "title"),
    [
        (1.2, False, False, ""),
        (1.35, True, True, "The evaluation loss is 0.35 above the training loss"),
        (1.6, True, True, "Overfitting: the evaluation loss is 0.6 above the training loss"),
    ],
)
def test_the_gap_has_the_seeds_bounds(loss: float, ours: bool, seeds: bool, title: str) -> None:
    fold = evaluated(1.1, loss)
    assert val_train_gap(fold, table=OURS.val_train_gap).seen is ours
    found = val_train_gap(fold, table=SEED.val_train_gap)
    assert (found.seen, found.title) == (seeds, title)


def test_ours_asks_for_a_rise_as_well() -> None:
    falling = evaluated(1.9, 1.7, 1.5)
    assert val_train_gap(falling, table=SEED.val_train_gap).seen
    assert val_train_gap(falling, table=OURS.val_train_gap).seen is False


def test_a_gap_of_nothing_is_not_known() -> None:
    for fold in (Evaluations(), evaluated(1.0, training=None), evaluated(math.nan)):
        assert val_train_gap(fold, table=OURS.val_train_gap).seen is None


@pytest.mark.parametrize(
    ("answers", "published"), [(20, 0.156), (50, 0.099), (100, 0.072), (500, 0.031), (5000, 0.010)]
)
def test_the_error_of_a_calibrated_model_is_what_was_measured(answers: int, published: float) -> None:
    mean = np.mean([calibrated_error(answers, quantile) for quantile in np.linspace(0.51, 0.99, 25)])
    assert published * 0.85 < mean < published * 1.6
    assert calibrated_error(answers, 0.95) > published


@given(answers=st.integers(1, 100_000))
def test_more_answers_never_need_a_larger_error(answers: int) -> None:
    assert 0.0 < calibrated_error(2 * answers, 0.95) <= calibrated_error(answers, 0.95) * 1.05


@pytest.mark.parametrize("answers", [100, 400])
def test_one_calibrated_model_in_twenty_is_above_the_quantile(answers: int) -> None:
    random = np.random.default_rng(5)
    above = 0
    for _ in range(400):
        confidence = random.uniform(0.5, 1.0, answers)
        right = random.random(answers) < confidence
        bins = np.minimum((confidence * 10).astype(int), 9)
        error = sum(abs((right[bins == one] - confidence[bins == one]).sum()) for one in range(10)) / answers
        above += error > calibrated_error(answers, 0.95)
    assert 4 <= above <= 40


def test_calibration_is_judged_by_value_or_beside_chance() -> None:
    assert poor_calibration(1, 0.31, None, table=SEED.poor_calibration).seen
    assert poor_calibration(1, 0.30, None, table=SEED.poor_calibration).seen is False
    assert poor_calibration(1, 0.08, 100, table=OURS.poor_calibration).seen is False, "well within chance"
    assert poor_calibration(1, 0.08, 1000, table=OURS.poor_calibration).seen
    without = poor_calibration(1, 0.5, None, table=OURS.poor_calibration)
    assert without.seen is None
    assert "fixed_eval_n" in without.reason
    assert poor_calibration(1, math.nan, 100, table=OURS.poor_calibration).seen is None


def constant(*values: float, needed: int = 3) -> bool | None:
    fold = Scores(replace(OURS.constant_evaluation, evaluations=needed))
    for step, value in enumerate(values):
        fold.update(step, {"eval/exact_match": value})
    return fold.constant().seen


def test_a_score_that_never_changes_is_found_and_one_that_reached_the_top_is_not() -> None:
    assert constant() is None
    assert constant(0.0, 0.0) is None
    assert constant(0.0, 0.0, 0.0)
    assert constant(0.5, 0.0, 0.0, 0.0)
    assert constant(0.5, 1.0, 1.0, 1.0) is False, "solved"
    assert constant(1.0, 1.0, 1.0), "from the first evaluation on: it measures nothing"
    assert constant(0.0, 0.1, 0.0) is False
    assert constant(math.nan, math.nan, math.nan)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (0, "at step 2."),
        (1, "at step 2. 1 other did not change either."),
        (2, "at step 2. 2 others did not change either."),
    ],
)
def test_the_other_scores_that_did_not_change_are_counted(others: int, words: str) -> None:
    fold = Scores(replace(OURS.constant_evaluation, evaluations=3))
    for step in range(3):
        fold.update(step, {"eval/loss": 4.0, **{f"eval/score_{at}": 0.5 for at in range(others)}})
    assert fold.constant().text.endswith(words)


def test_the_same_evaluation_said_twice_counts_once_and_names_are_bounded() -> None:
    fold = Scores(OURS.constant_evaluation)
    for _ in range(20):
        fold.update(1, {"eval/loss": 1.0})
    assert fold.constant().seen is None
    for step in range(10):
        fold.update(step, {f"eval/{name}": 0.5 for name in range(10_000)})
    assert len(fold.constant().subjects) <= 256

"""What evaluations say reaches the condition that it is about, in the order in which it is logged."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.policy import load
from barograph.policy.evaluation_watch import EvaluationWatch
from barograph.policy.logged_names import Calibration
from barograph.policy.watched_conditions import WatchedConditions
from barograph.records import Alert

POLICY = load("default")
BEGAN = 1.7e9


class Watched:
    """An evaluation watch beside the conditions that it tells."""

    def __init__(self) -> None:
        ids = itertools.count(1)
        self.conditions = WatchedConditions(POLICY, new_id=lambda: f"alert-{next(ids)}")
        self.watch = EvaluationWatch(POLICY, self.conditions)

    def word(self, name: str) -> str:
        return self.conditions.words()[name]

    def alert(self, name: str) -> Alert:
        found = self.conditions.current(name)
        assert found is not None
        return found


def test_each_kind_of_number_is_told_to_its_own_condition_and_to_no_other() -> None:
    watched = Watched()
    about = ["non_finite_evaluation", "val_train_gap", "poor_calibration", "constant_evaluation"]
    assert {watched.word(name) for name in about} == {"no_data"}
    watched.watch.numbers(1, BEGAN, {"eval/loss": 1.0}, training_loss=1.0)
    watched.watch.loss(1, BEGAN, 1.0, training_loss=1.0)
    assert [watched.word(name) for name in about] == ["ok", "ok", "no_data", "no_data"]
    watched.watch.calibration(1, BEGAN, Calibration(0.01, 100))
    for step in range(POLICY.alerts.constant_evaluation.evaluations):
        watched.watch.scores(step, BEGAN, {"eval/exact_match": 0.0})
    assert [watched.word(name) for name in about] == ["ok", "ok", "ok", "firing"]
    assert {name for name, word in watched.conditions.words().items() if word != "no_data"} == set(about)


def test_a_number_of_answers_that_was_said_once_holds_until_another_is_said() -> None:
    watched = Watched()
    watched.watch.calibration(1, BEGAN, Calibration(0.4, None))
    assert watched.word("poor_calibration") == "no_data"
    watched.watch.calibration(2, BEGAN, Calibration(0.4, 200))
    watched.watch.calibration(3, BEGAN, Calibration(0.4, None))
    assert (watched.alert("poor_calibration").count, watched.alert("poor_calibration").evidence["answers"]) == (
        2,
        200.0,
    )


@given(
    logs=st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from(["eval/a_loss", "eval/b_loss", "eval/c_loss"])),
        min_size=1,
        max_size=20,
    ).map(sorted)
)
def test_an_alert_of_evaluations_that_are_no_numbers_counts_their_steps(logs: list[tuple[int, str]]) -> None:
    watched = Watched()
    for step, name in logs:
        watched.watch.numbers(step, BEGAN, {name: math.nan}, training_loss=1.0)
    found = watched.alert("non_finite_evaluation")
    assert found.count == len({step for step, _ in logs})
    assert set(found.subjects) == {name for _, name in logs}
    assert found.first_step == logs[0][0]


def test_a_set_that_is_a_number_ends_nothing_while_another_is_none() -> None:
    watched = Watched()
    watched.watch.numbers(1, BEGAN, {"eval/a_loss": math.nan, "eval/b_loss": 1.0}, training_loss=1.0)
    for step in range(2, 9):
        watched.watch.numbers(step, BEGAN + step, {"eval/b_loss": 1.0}, training_loss=1.0)
    assert (watched.word("non_finite_evaluation"), watched.alert("non_finite_evaluation").count) == ("firing", 1)
    watched.watch.numbers(9, BEGAN + 9, {"eval/a_loss": 1.0}, training_loss=1.0)
    assert watched.word("non_finite_evaluation") == "recovering"
    watched.watch.numbers(10, BEGAN + 10, {"eval/b_loss": 1.0}, training_loss=1.0)
    assert watched.word("non_finite_evaluation") == "ok"


def test_sets_that_are_logged_one_by_one_are_one_evaluation_for_its_end_too() -> None:
    watched = Watched()
    sets = ("eval/a_loss", "eval/b_loss", "eval/c_loss")
    words = []
    for step, loss in enumerate((math.nan, 1.0, 1.0), 1):
        for name in sets:
            watched.watch.numbers(step, BEGAN + step, {name: loss}, training_loss=1.0)
        words.append(watched.word("non_finite_evaluation"))
    assert words == ["firing", "recovering", "ok"]


@pytest.mark.parametrize(("step", "sound"), [(0, True), (99, True), (100, False), (150, False), (200, True)])
def test_it_says_whether_a_step_was_evaluated_to_a_number(step: int, sound: bool) -> None:
    watched = Watched()
    watched.watch.numbers(100, BEGAN, {"eval/loss": math.nan}, training_loss=1.0)
    watched.watch.numbers(200, BEGAN, {"eval/loss": 1.0}, training_loss=1.0)
    assert watched.watch.sound_at(step) == sound


def test_the_losses_are_kept_with_the_loss_of_training_that_was_known_then() -> None:
    watched = Watched()
    watched.watch.loss(10, BEGAN, 2.0, training_loss=1.9)
    watched.watch.loss(20, BEGAN, 2.5, training_loss=None)
    losses = watched.watch.losses
    assert losses.best is not None
    assert (losses.best.loss, losses.best.training_loss) == (2.0, 1.9)
    assert losses.newest is not None
    assert losses.newest.training_loss is None
    assert watched.word("val_train_gap") == "no_data"

"""A loss that stays above where it was: what is said of it, and what to do."""

import math

import numpy as np
import pytest
from msgspec.structs import replace

from barograph.policy import Policy, load, rules
from barograph.policy.checked import Checked
from barograph.policy.loss_conditions import NOT_PROGRESS
from barograph.policy.loss_diverged import CAME_BACK, LossDiverged
from barograph.policy.training_watch import TrainingWatch
from barograph.records import Alert, Record

POLICIES = [load("default"), load("contract")]
TABLE = POLICIES[0].alerts.loss_diverged


def fold_of(policy: Policy) -> LossDiverged:
    return LossDiverged(policy.alerts.loss_diverged, rules.divergence(policy))


def after(losses: list[float], norms: list[float] | None = None, *, policy: Policy = POLICIES[0]) -> Checked:
    fold = fold_of(policy)
    found = [fold.update(step, loss, None if norms is None else norms[step - 1]) for step, loss in enumerate(losses, 1)]
    return found[-1]


@pytest.mark.parametrize("policy", POLICIES, ids=["default", "contract"])
def test_a_loss_that_stays_above_its_beginning_says_so_with_its_numbers(policy: Policy) -> None:
    found = after([4.0] * 3 + [6.0] * 17, policy=policy)
    assert found.seen
    assert found.title == "The loss stays at 6; it began at 4"
    assert found.text == "The mean of the 17 losses up to step 20 is 6, 1.50 times the 4 of the first 3 up to step 3."
    assert found.recommendation == "", "that of the table, which is about the learning rate"
    assert found.evidence == {
        "mean": 6.0,
        "losses": 17.0,
        "level": 4.0,
        "level_step": 3.0,
        "level_losses": 3.0,
        "ratio": 1.15,
    }
    assert found.step == 20


def test_one_first_loss_is_named_as_one_and_so_is_what_the_gradients_did() -> None:
    found = after([4.0, *[6.0] * 15], [2.0, 90.0, *[5.0] * 14])
    assert "1.50 times the 4 of the first one. The norm of the gradients rose to 45 times its first." in found.text
    assert (found.evidence["norm_ratio"], found.evidence["surge"]) == (45.0, 10.0)


def test_a_rise_on_the_way_has_advice_of_its_own() -> None:
    found = after([2.0 + 0.01 * (step % 3) for step in range(100)] + [2.5] * 20)
    assert found.seen
    assert found.recommendation == TABLE.recommendation_later
    assert found.title == "The loss stays at 2.5; it had been at 2.01"
    assert "of the 50 up to step" in found.text
    assert "standard errors above the noise" in found.text
    assert found.evidence["standard_errors"] > found.evidence["sigma"] == TABLE.sigma


def test_what_came_back_says_so_and_too_few_losses_say_nothing() -> None:
    assert after([2.0] * 100 + [3.0] * 30 + [2.0] * 30) == Checked(seen=False, text=CAME_BACK)
    few = after([2.0] * 17)
    assert (few.seen, few.reason) == (None, "fewer than 18 losses are known")


def test_a_curve_that_begins_anew_is_not_compared_with_the_one_before() -> None:
    fold = fold_of(POLICIES[0])
    for step in range(200):
        fold.update(step, 2.0)
    fold.begin_anew()
    assert {fold.update(step, 3.0).seen for step in range(100, 300)} == {None, False}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"min_recent": 21}, "`min_recent` is above `recent`"),
        ({"recent": 51}, "`recent` is above `block`"),
        ({"start_losses": 17}, "`start_losses` is below"),
    ],
)
def test_numbers_that_would_switch_a_rule_off_are_refused(changed: dict[str, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(TABLE, **changed)


def watched(losses: list[float], *, norms: list[float] | None = None, policy: Policy = POLICIES[0]) -> list[Alert]:
    """The lines of this condition that a watch over these losses writes."""
    watch = TrainingWatch(policy)
    said: list[Record] = []
    for step, loss in enumerate(losses, 1):
        said += watch.step(step, 1.7e9 + step, loss=loss, gradient_norm=None if norms is None else norms[step - 1])
    return [one for one in said if isinstance(one, Alert) and one.condition == "loss_diverged"]


@pytest.mark.parametrize("policy", POLICIES, ids=["default", "contract"])
def test_a_learning_rate_far_too_high_is_an_alert_within_twenty_steps_and_over_when_the_loss_is_back(
    policy: Policy,
) -> None:
    noise = np.random.default_rng(0).standard_normal(200)
    losses = [4.2, *(6.5 + 0.5 * noise[:60]).tolist(), *(4.0 + 0.2 * noise[60:]).tolist()]
    norms = [2.0, 50.0, 30.0, 300.0, *(3.0 + 0.0 * noise[3:]).tolist()]
    lines = watched(losses, norms=norms, policy=policy)
    fired = next(one for one in lines if one.state == "firing")
    assert fired.step is not None
    assert fired.step <= 20
    assert (fired.level, fired.category) == ("critical", "loss")
    assert "ten times lower" in fired.recommendation
    assert [one.state for one in lines][-2:] == ["recovering", "resolved"]
    assert CAME_BACK in lines[-1].text


def test_a_loss_that_is_no_number_neither_counts_nor_ends_it() -> None:
    risen = [4.0] * 3 + [6.0] * 20
    (fired,) = [one for one in watched([*risen, *[math.nan] * 50]) if one.state == "firing"]
    assert fired.step == 20
    assert {one.state for one in watched([*risen, *[math.nan] * 50])} == {"pending", "firing"}


@pytest.mark.parametrize(("times", "level"), [(1.06, "warning"), (1.5, "critical")])
def test_a_small_rise_on_the_way_is_less_grave_than_a_great_one(times: float, level: str) -> None:
    noise = 1.0 + 0.01 * np.random.default_rng(1).standard_normal(400)
    losses = np.where(np.arange(400) < 300, 2.0, 2.0 * times) * noise
    (fired,) = [one for one in watched(losses.tolist()) if one.state == "firing"][:1]
    assert fired.level == level
    assert "go back to the last checkpoint" in fired.recommendation


def test_an_attempt_that_goes_back_is_not_compared_with_the_one_before() -> None:
    watch = TrainingWatch(POLICIES[0])
    said = [watch.step(step, 1.7e9 + step, loss=2.0) for step in range(1, 201)]
    said += [watch.step(step, 1.7e9 + 300 + step, loss=3.0) for step in range(101, 401)]
    assert [one for lines in said for one in lines if isinstance(one, Alert) and one.condition == "loss_diverged"] == []


def test_the_loss_of_reinforcement_learning_has_no_level() -> None:
    watch = TrainingWatch(POLICIES[0])
    watch.metrics(0, 1.7e9, {"reward": 0.5})
    for step in range(1, 100):
        watch.step(step, 1.7e9 + step, loss=2.0 if step < 4 else 4.0)
    told = watch.signals(100, 1.7e9 + 100)
    assert told.conditions["loss_diverged"] == "no_data"
    assert told.why["conditions.loss_diverged"] == NOT_PROGRESS

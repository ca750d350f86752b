"""Two observers tell of the gradients, and one alert comes of it: neither silences the other, no step counts twice."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.layer_activity import LayerName, LayerValues
from barograph.policy import Policy, load
from barograph.policy.gradient_watch import RECENT_REWARDS, GradientWatch
from barograph.policy.watched_conditions import WatchedConditions
from barograph.records import Alert

DEFAULT, CONTRACT = load("default"), load("contract")
WARM_UP = DEFAULT.streaming.warm_up_steps
BEGAN = 1.7e9
NAMES = (LayerName("model.layers.0", ""), LayerName("model.layers.1", ""))


class Watched:
    """A gradient watch beside the conditions that it tells."""

    def __init__(self, policy: Policy = CONTRACT) -> None:
        ids = itertools.count(1)
        self.conditions = WatchedConditions(policy, new_id=lambda: f"alert-{next(ids)}")
        self.watch = GradientWatch(policy, self.conditions)

    def word(self, name: str) -> str:
        return self.conditions.words()[name]

    def alert(self, name: str) -> Alert:
        found = self.conditions.current(name)
        assert found is not None
        return found

    def norms(self, *norms: float, first: int = 1) -> None:
        for step, norm in enumerate(norms, first):
            self.watch.update(step, BEGAN + step, norm)

    def layers(self, step: int, *norms: float | None) -> None:
        self.watch.layers(step, BEGAN + step, LayerValues(names=NAMES, gradient=list(norms)))


def test_the_norm_of_a_step_is_known_at_that_step_alone() -> None:
    watched = Watched()
    assert (watched.watch.norm, watched.watch.norm_at(1)) == (None, None)
    watched.norms(2.0, 3.0)
    assert (watched.watch.norm, watched.watch.norm_at(2), watched.watch.norm_at(1)) == (3.0, 3.0, None)


@pytest.mark.parametrize("policy", [DEFAULT, CONTRACT], ids=["default", "contract"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [1, 5, 60])
def test_a_norm_that_is_no_number_explodes_even_while_it_warms_up(policy: Policy, bad: float, at: int) -> None:
    watched = Watched(policy)
    watched.norms(*([1.0] * (at - 1)), bad)
    found = watched.alert("exploding_gradients")
    assert (found.state, found.step, found.first_step) == ("firing", at, at)


@given(norms=st.lists(st.floats(0.0, 1e9), min_size=1, max_size=WARM_UP))
@settings(max_examples=30)
def test_while_it_warms_up_no_norm_that_is_a_number_is_judged(norms: list[float]) -> None:
    watched = Watched(DEFAULT)
    watched.norms(*norms)
    for name in ("exploding_gradients", "vanishing_gradients"):
        assert watched.word(name) == "no_data"
        assert watched.conditions.reasons()[f"conditions.{name}"] == f"the first {WARM_UP} norms are ignored"


@given(scale=st.floats(1e-6, 1e6))
@settings(max_examples=20)
def test_ours_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    watched = Watched(DEFAULT)
    watched.norms(*(scale * (1.0 + 0.1 * math.sin(step)) for step in range(80)))
    assert (watched.word("exploding_gradients"), watched.word("vanishing_gradients")) == ("ok", "ok")
    watched.norms(200.0 * scale, first=81)
    assert watched.word("exploding_gradients") == "firing"


def test_a_usual_norm_does_not_end_what_layers_of_the_newest_collection_show() -> None:
    watched = Watched()
    watched.layers(1, 1.0, 500.0)
    assert watched.alert("exploding_gradients").subjects == ["model.layers.1"]
    watched.norms(1.0, 1.0, first=2)
    assert (watched.word("exploding_gradients"), watched.alert("exploding_gradients").count) == ("firing", 1)
    watched.layers(4, 1.0, 1.0)
    watched.norms(1.0, first=5)
    assert watched.word("exploding_gradients") == "recovering"


def test_layers_alone_begin_and_end_it_where_no_norm_of_steps_is_known() -> None:
    watched = Watched()
    watched.layers(1, 1.0, 1e-6)
    assert watched.word("vanishing_gradients") == "ok", "the bound of the alert is lower than that of the layers"
    watched.layers(1, 1.0, 1e-8)
    assert watched.alert("vanishing_gradients").subjects == ["model.layers.1"]
    watched.layers(2, 1.0, 1.0)
    assert watched.word("vanishing_gradients") == "recovering"


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_step_that_both_tell_of_counts_once_and_the_layers_are_named(norm_first: bool) -> None:
    watched = Watched()
    watched.norms(1.0)
    if norm_first:
        watched.norms(math.nan, first=2)
        watched.layers(2, 1.0, math.nan)
    else:
        watched.layers(2, 1.0, math.nan)
        watched.norms(math.nan, first=2)
    found = watched.alert("exploding_gradients")
    assert (found.count, found.subjects) == (1, ["model.layers.1"])
    watched.norms(math.nan, first=3)
    assert watched.alert("exploding_gradients").count == 2


def test_dead_layers_and_imbalance_are_of_the_collections_and_not_of_the_norm() -> None:
    watched = Watched()
    watched.norms(0.0, math.nan)
    assert (watched.word("dead_layers"), watched.word("gradient_imbalance")) == ("no_data", "no_data")
    watched.layers(3, 1e-4, 1.0)
    assert (watched.word("dead_layers"), watched.word("gradient_imbalance")) == ("ok", "firing")
    watched.watch.layers(4, BEGAN + 4, LayerValues(available=False, reason="they are sharded"))
    assert watched.conditions.reasons()["conditions.dead_layers"]
    assert watched.watch.layer_activity.summary().reason == "they are sharded"


def test_equal_rewards_of_the_newest_logs_explain_gradients_of_zero() -> None:
    table = CONTRACT.alerts.vanishing_gradients
    watched = Watched()
    watched.norms(0.0)
    assert watched.alert("vanishing_gradients").recommendation == table.recommendation
    for share in (math.nan, 1.0, *[0.0] * (RECENT_REWARDS - 1)):
        watched.watch.rewards(share)
        watched.norms(0.0, first=2)
    assert watched.alert("vanishing_gradients").recommendation == table.recommendation_equal_rewards
    watched.watch.rewards(0.0)
    watched.norms(0.0, first=3)
    assert watched.alert("vanishing_gradients").recommendation == table.recommendation


def test_what_gradients_are_clipped_to_is_known_to_the_advice_about_them() -> None:
    table = CONTRACT.alerts.exploding_gradients
    watched = Watched()
    watched.watch.update(1, BEGAN, 500.0, max_norm=1.0)
    assert watched.alert("exploding_gradients").recommendation == table.recommendation_clipped
    watched.watch.update(2, BEGAN, 500.0)
    assert watched.alert("exploding_gradients").recommendation == table.recommendation


def test_a_learning_rate_of_zero_takes_the_blame_for_weights_that_stay() -> None:
    watched = Watched(DEFAULT)
    values = LayerValues(names=NAMES, gradient=[1.0, 1.0], weight=[2.0, 2.0], update=[0.0, 0.0])
    for step in range(25):
        watched.watch.layers(step, BEGAN + step, values, learning_rate=0.0)
    assert watched.conditions.reasons()["conditions.dead_layers"] == "the learning rate is 0, and moves no weight"
    watched.watch.layers(25, BEGAN + 25, values, learning_rate=1e-4)
    assert watched.alert("dead_layers").title == "No step moves any weight"


def test_two_histories_are_kept_where_the_policy_asks_for_two() -> None:
    table = replace(DEFAULT.alerts.vanishing_gradients, history=40, min_history=4)
    other = Watched(replace(DEFAULT, alerts=replace(DEFAULT.alerts, vanishing_gradients=table)))
    same = Watched(DEFAULT)
    for watched in (other, same):
        watched.norms(*([1.0] * WARM_UP), *([1.0] * 10), *([1e-5] * 5))
    assert other.word("vanishing_gradients") == "firing"
    assert {other.word("exploding_gradients"), same.word("vanishing_gradients")} == {"no_data"}, "20 norms are needed"
    short = Watched(replace(DEFAULT, alerts=replace(DEFAULT.alerts, vanishing_gradients=replace(table, history=4))))
    short.norms(*([1.0] * WARM_UP), *([1.0] * 10), *([1e-5] * 4))
    assert short.word("vanishing_gradients") != "firing", "its median has come down with the norms"

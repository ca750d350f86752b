"""Norms that are no numbers explode, zero vanishes, and everything else is set beside what the run usually has."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import median_abs_deviation

from barograph.analysis.layer_activity import LayerActivity, LayerName, LayerSummary, LayerValues
from barograph.policy import load, rules
from barograph.policy.alert_tables import DeadLayersTable
from barograph.policy.checked import Checked
from barograph.policy.gradient_conditions import (
    NormHistory,
    UsualNorm,
    dead_layers,
    exploding_gradients,
    exploding_layers,
    gradient_imbalance,
    vanishing_gradients,
    vanishing_layers,
)

OURS, SEED = load("default").alerts, load("contract").alerts
USUAL = UsualNorm(1.0, 0.1)
norms = st.floats(1e-6, 1e6)


@given(history=st.lists(norms, min_size=5, max_size=60))
def test_the_usual_norm_is_the_median_with_its_robust_spread(history: list[float]) -> None:
    fold = NormHistory(history=1_000, min_history=5, warm_up_steps=0)
    for norm in history:
        fold.update(norm)
    usual = fold.usual
    assert usual is not None
    logs = [math.log(norm) for norm in history]
    assert usual.median == pytest.approx(math.exp(statistics.median(logs)))
    assert usual.log_scale == pytest.approx(median_abs_deviation(logs, scale="normal"), abs=1e-9)


@given(history=st.lists(norms, min_size=20, max_size=40))
def test_what_is_no_number_or_zero_changes_nothing_that_is_usual(history: list[float]) -> None:
    with_them = NormHistory(history=30, min_history=5, warm_up_steps=3)
    without = NormHistory(history=30, min_history=5, warm_up_steps=3)
    for norm in history:
        without.update(norm)
        for one in (norm, math.nan, math.inf, 0.0, -1.0):
            with_them.update(one)
    assert with_them.usual == without.usual


def test_the_first_norms_are_not_usual_and_too_few_say_nothing() -> None:
    fold = NormHistory(history=100, min_history=3, warm_up_steps=2)
    for norm in (50.0, 50.0, 1.0, 1.0):
        fold.update(norm)
    assert fold.usual is None
    fold.update(1.0)
    assert fold.usual == UsualNorm(1.0, 0.0)


@pytest.mark.parametrize("norm", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("tables", [OURS, SEED])
@pytest.mark.parametrize("usual", [USUAL, None])
def test_a_norm_that_is_no_number_explodes_always(norm: float, tables: object, usual: UsualNorm | None) -> None:
    table = OURS.exploding_gradients if tables is OURS else SEED.exploding_gradients
    found = exploding_gradients(4, norm, usual=usual, table=table, layers=("a",))
    assert found.seen
    assert found.subjects == ("a",)


@pytest.mark.parametrize(
    ("norm", "seen"), [(100.0, False), (100.1, True), (1e-9, False)], ids=["at it", "above it", "tiny"]
)
def test_the_seeds_bound_for_exploding(norm: float, seen: bool) -> None:
    assert exploding_gradients(1, norm, usual=None, table=SEED.exploding_gradients).seen is seen


def test_ours_needs_many_times_the_median_and_many_deviations() -> None:
    table = OURS.exploding_gradients
    assert exploding_gradients(1, 10.1, usual=USUAL, table=table).seen
    assert exploding_gradients(1, 9.9, usual=USUAL, table=table).seen is False
    wild = UsualNorm(1.0, 1.0)
    assert exploding_gradients(1, 10.1, usual=wild, table=table).seen is False
    assert exploding_gradients(1, 1e9, usual=None, table=table).seen is None


@given(norm=st.floats(0.0, 1e3))
def test_a_norm_never_explodes_and_vanishes_at_once(norm: float) -> None:
    for tables in (OURS, SEED):
        large = exploding_gradients(1, norm, usual=USUAL, table=tables.exploding_gradients)
        small = vanishing_gradients(1, norm, usual=USUAL, table=tables.vanishing_gradients)
        assert not (large.seen and small.seen)


def test_zero_vanishes_always_and_nan_never() -> None:
    for table in (OURS.vanishing_gradients, SEED.vanishing_gradients):
        for usual in (USUAL, None):
            assert vanishing_gradients(1, 0.0, usual=usual, table=table).seen
            assert vanishing_gradients(1, math.nan, usual=usual, table=table).seen is False
    assert vanishing_gradients(1, 9e-8, usual=None, table=SEED.vanishing_gradients).seen
    assert vanishing_gradients(1, 1e-7, usual=None, table=SEED.vanishing_gradients).seen is False
    assert vanishing_gradients(1, 9e-4, usual=USUAL, table=OURS.vanishing_gradients).seen
    assert vanishing_gradients(1, 2e-3, usual=USUAL, table=OURS.vanishing_gradients).seen is False
    assert vanishing_gradients(1, 2e-3, usual=None, table=OURS.vanishing_gradients).seen is None


NAMES = tuple(LayerName(f"model.layers.{block}", "") for block in range(4))


def activity(*collections: list[float], policy: str = "contract") -> LayerActivity:
    fold = LayerActivity(rules.layer_activity(load(policy)))
    for step, gradient in enumerate(collections):
        fold.update(step, LayerValues(names=NAMES, gradient=gradient))
    return fold


def summary(*collections: list[float], policy: str = "contract") -> LayerSummary:
    return activity(*collections, policy=policy).summary()


def looked_for_dead(
    fold: LayerActivity,
    *,
    table: DeadLayersTable = OURS.dead_layers,
    learning_rate: float | None = None,
    equal_rewards: float | None = None,
) -> Checked:
    return dead_layers(
        9, fold.summary(), fold.rows(), table=table, learning_rate=learning_rate, equal_rewards=equal_rewards
    )


def test_dead_layers_alert_below_the_policys_share() -> None:
    one_dead, most_dead = activity([0.0, 1.0, 1.0, 1.0]), activity([0.0, 0.0, 0.0, 1.0])
    assert looked_for_dead(one_dead, table=SEED.dead_layers).seen is False
    found = looked_for_dead(most_dead, table=SEED.dead_layers)
    assert found.seen
    assert found.subjects == ("model.layers.0", "model.layers.1", "model.layers.2")
    assert found.text.endswith("the gradients of model.layers.0, model.layers.1, model.layers.2 stay zero.")
    assert looked_for_dead(one_dead).seen, "one is worth a word"
    assert looked_for_dead(activity([1.0] * 4)).seen is False


def collected(
    count: int,
    gradient: list[float | None],
    update: list[float | None],
    *,
    weight: float = 2.0,
    policy: str = "default",
) -> LayerActivity:
    """The same collection so many times, of weights that stay where their update is zero."""
    fold = LayerActivity(rules.layer_activity(load(policy)))
    for step in range(count):
        weights = [weight if not one else weight + 0.01 * step for one in update]
        fold.update(step, LayerValues(names=NAMES, gradient=gradient, weight=weights, update=update))
    return fold


def test_a_layer_that_no_gradient_reaches_while_others_have_one_is_dead_and_said_to_be_detached() -> None:
    fold = collected(30, [None, 1.0, 1.0, 1.0], [0.0, 0.1, 0.1, 0.1])
    found = looked_for_dead(fold)
    assert found.seen
    assert found.text == "3/4 layers active, 1 dead at step 9: no gradient reaches model.layers.0."
    assert found.recommendation == "", "the policy's own names detached graphs"
    for count in range(5):
        assert looked_for_dead(collected(count, [None, 1.0, 1.0, 1.0], [0.0, 0.1, 0.1, 0.1])).seen is not True


def test_a_block_with_gradients_that_is_in_no_optimizer_is_told_and_how_to_mend_it() -> None:
    found = looked_for_dead(collected(30, [1.0] * 4, [0.1, 0.0, 0.1, 0.1]))
    assert found.seen
    assert found.subjects == ("model.layers.1",)
    assert "no step moves the weights of model.layers.1, which have gradients" in found.text
    assert found.recommendation == OURS.dead_layers.recommendation_still


def test_where_no_gradient_reaches_anything_no_layer_is_named_and_nothing_is_known_of_their_size() -> None:
    fold = collected(30, [None] * 4, [0.0] * 4)
    found = looked_for_dead(fold)
    assert (found.title, found.subjects) == ("No gradient reaches any trained parameter", ())
    assert found.text.endswith("no gradient reaches any of the 4 layers.")
    assert found.recommendation == OURS.dead_layers.recommendation_no_gradient
    for looked in (
        exploding_layers(9, fold.summary(), table=OURS.exploding_gradients),
        vanishing_layers(9, fold.summary(), fold.rows(), table=OURS.vanishing_gradients),
    ):
        assert (looked.seen, looked.reason) == (None, "no layer has a gradient at step 9")


def test_an_optimizer_that_steps_inside_of_the_backward_pass_kills_nothing() -> None:
    fold = LayerActivity(rules.layer_activity(load("default")))
    for step in range(30):
        fold.update(
            step, LayerValues(names=NAMES, gradient=[None] * 4, weight=[2.0 + 0.01 * step] * 4, update=[0.0] * 4)
        )
    assert looked_for_dead(fold).seen is None
    assert {row.status for row in fold.rows()} == {"unknown"}


def test_two_collections_that_are_far_apart_are_enough_for_what_stays_away() -> None:
    fold = LayerActivity(rules.layer_activity(load("default")))
    for step, told in ((1, None), (600, True)):
        weight = [2.0, 2.0, 2.0 + step, 2.0 + step]
        values = LayerValues(names=NAMES, gradient=[None, 1.0, 1.0, 1.0], weight=weight, update=[0.0, 0.0, 0.1, 0.1])
        fold.update(step, values)
        found = looked_for_dead(fold)
        assert bool(found.seen) == bool(told)
    assert found.subjects == ("model.layers.0", "model.layers.1")
    assert found.text.endswith(
        "no gradient reaches model.layers.0; no step moves the weights of model.layers.1, which have gradients."
    )


def test_what_explains_that_nothing_moves_takes_the_blame_from_the_layers() -> None:
    zero, still = collected(30, [0.0] * 4, [0.0] * 4), collected(30, [1.0] * 4, [0.0] * 4)
    equal = looked_for_dead(zero, equal_rewards=1.0)
    assert (equal.seen, "the rewards are equal within up to 100% of the groups" in equal.reason) == (None, True)
    assert looked_for_dead(zero, equal_rewards=0.5).seen
    assert looked_for_dead(still, learning_rate=0.0).reason == "the learning rate is 0, and moves no weight"
    assert looked_for_dead(still, learning_rate=1e-4).title == "No step moves any weight"
    some = collected(30, [0.0, 1.0, 1.0, 1.0], [0.0, 0.1, 0.1, 0.1])
    assert looked_for_dead(some, equal_rewards=1.0).seen, "the others have gradients"


def test_gradients_of_zero_name_the_reward_where_all_of_a_group_are_equal() -> None:
    table = OURS.vanishing_gradients
    found = vanishing_gradients(1, 0.0, usual=None, table=table, equal_rewards=1.0)
    assert found.recommendation == table.recommendation_equal_rewards
    assert "the rewards are equal within up to 100% of the groups" in found.text
    fold = activity([1.0] * 4, [0.0] * 4, policy="default")
    layers = vanishing_layers(1, fold.summary(), fold.rows(), table=table, equal_rewards=1.0)
    assert layers.recommendation == table.recommendation_equal_rewards
    assert layers.evidence["equal_rewards_share"] == 1.0
    some = activity([1.0] * 4, [0.0, 1.0, 1.0, 1.0], policy="default")
    assert vanishing_layers(1, some.summary(), some.rows(), table=table, equal_rewards=1.0).recommendation == ""
    for share in (None, 0.5, math.nan):
        other = vanishing_gradients(1, 0.0, usual=None, table=table, equal_rewards=share)
        assert (other.recommendation, "reward" in other.text) == ("", False)


def test_clipping_is_advised_only_where_it_is_not_done_and_would_help() -> None:
    table = OURS.exploding_gradients
    assert exploding_gradients(1, 50.0, usual=USUAL, table=table).recommendation == ""
    clipped = exploding_gradients(1, 50.0, usual=USUAL, table=table, max_norm=1.0)
    assert clipped.recommendation == table.recommendation_clipped
    assert clipped.text.endswith("They are clipped to 1.")
    assert exploding_gradients(1, 50.0, usual=USUAL, table=table, max_norm=100.0).recommendation == ""
    for max_norm in (None, 1.0):
        bad = exploding_gradients(1, math.nan, usual=USUAL, table=table, max_norm=max_norm)
        assert bad.recommendation == table.recommendation_non_finite


def test_where_the_gradients_of_all_layers_explode_none_of_them_is_a_clue() -> None:
    found = exploding_layers(1, summary([math.nan] * 4), table=OURS.exploding_gradients)
    assert (found.seen, found.subjects) == (True, ())
    assert found.text == "At step 1 the gradients are no numbers in all 4 layers."


def test_layers_that_are_not_measured_are_not_known_to_be_well() -> None:
    fold = activity()
    fold.update(1, LayerValues(available=False, reason="the parameters are sharded"))
    nothing = fold.summary()
    found = [
        dead_layers(1, nothing, [], table=OURS.dead_layers),
        gradient_imbalance(1, nothing, table=OURS.gradient_imbalance),
        exploding_layers(1, nothing, table=OURS.exploding_gradients),
        vanishing_layers(1, nothing, [], table=OURS.vanishing_gradients),
    ]
    assert {one.seen for one in found} == {None}
    assert {one.reason for one in found} == {"the parameters are sharded"}


def test_imbalance_names_both_ends() -> None:
    found = gradient_imbalance(1, summary([1.0, 2000.0, 1.0, 1.5]), table=SEED.gradient_imbalance)
    assert found.seen
    assert found.subjects == ("model.layers.1", "model.layers.0")
    assert found.evidence["imbalance_ratio"] == pytest.approx(2000.0)
    assert gradient_imbalance(1, summary([1.0, 999.0, 1.0, 1.0]), table=SEED.gradient_imbalance).seen is False


@pytest.mark.parametrize("norm", [math.nan, math.inf, 101.0])
def test_single_layers_explode(norm: float) -> None:
    found = exploding_layers(1, summary([1.0, norm, 1.0, 1.0]), table=OURS.exploding_gradients)
    assert found.seen
    assert found.subjects == ("model.layers.1",)
    assert exploding_layers(1, summary([1.0] * 4), table=OURS.exploding_gradients).seen is False


def test_single_layers_vanish_below_the_policys_own_bound() -> None:
    def found(norm: float, below: float) -> bool | None:
        fold = activity([1.0, norm, 1.0, 1.0])
        table = replace(SEED.vanishing_gradients, below=below)
        return vanishing_layers(1, fold.summary(), fold.rows(), table=table).seen

    assert found(1e-8, 1e-7)
    assert found(1e-6, 1e-7) is False, "the monitor's bound is 1e-5, the alert's 1e-7"
    assert found(1e-6, 0.0), "without one, the layer's status is enough"

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


def test_dead_layers_alert_below_the_policys_share() -> None:
    one_dead, most_dead = summary([0.0, 1.0, 1.0, 1.0]), summary([0.0, 0.0, 0.0, 1.0])
    assert dead_layers(1, one_dead, table=SEED.dead_layers).seen is False
    found = dead_layers(1, most_dead, table=SEED.dead_layers)
    assert found.seen
    assert found.subjects == ("model.layers.0", "model.layers.1", "model.layers.2")
    assert dead_layers(1, one_dead, table=OURS.dead_layers).seen, "one is worth a word"
    assert dead_layers(1, summary([1.0] * 4), table=OURS.dead_layers).seen is False


def test_layers_that_are_not_measured_are_not_known_to_be_well() -> None:
    fold = activity()
    fold.update(1, LayerValues(available=False, reason="the parameters are sharded"))
    nothing = fold.summary()
    found = [
        dead_layers(1, nothing, table=OURS.dead_layers),
        gradient_imbalance(1, nothing, table=OURS.gradient_imbalance),
        exploding_layers(1, nothing),
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
    found = exploding_layers(1, summary([1.0, norm, 1.0, 1.0]))
    assert found.seen
    assert found.subjects == ("model.layers.1",)
    assert exploding_layers(1, summary([1.0] * 4)).seen is False


def test_single_layers_vanish_below_the_policys_own_bound() -> None:
    def found(norm: float, below: float) -> bool | None:
        fold = activity([1.0, norm, 1.0, 1.0])
        table = replace(SEED.vanishing_gradients, below=below)
        return vanishing_layers(1, fold.summary(), fold.rows(), table=table).seen

    assert found(1e-8, 1e-7)
    assert found(1e-6, 1e-7) is False, "the monitor's bound is 1e-5, the alert's 1e-7"
    assert found(1e-6, 0.0), "without one, the layer's status is enough"

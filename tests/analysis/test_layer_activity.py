"""Layers: an adapter that starts is not dead, a NaN is not healthy, and what is not measured is neither."""

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.layer_activity import LayerActivity, LayerName, LayerPart, LayerRow, LayerRule, LayerValues
from barograph.errors import UsageError

DEFAULT = LayerRule(
    dead_below=0.0,
    dead_checks=5,
    needs_zero_weight=True,
    vanishing_below=0.0,
    exploding_above=math.inf,
    vanishing_ratio=0.001,
    exploding_ratio=100.0,
    min_history=20,
    history=100,
)
CONTRACT = LayerRule(
    dead_below=0.0,
    dead_checks=1,
    needs_zero_weight=False,
    vanishing_below=1e-5,
    exploding_above=100.0,
    vanishing_ratio=0.0,
    exploding_ratio=math.inf,
    min_history=1,
    history=100,
)
MODULE = "model.layers.3.self_attn.q_proj"
ADAPTER = (LayerName(MODULE, "A"), LayerName(MODULE, "B"))
BLOCK = (LayerName("model.layers.0", ""),)


def one_block(norms: Sequence[float | None], rule: LayerRule) -> LayerRow:
    """The row of one block whose gradients had these norms, one collection each."""
    fold = LayerActivity(rule)
    for step, norm in enumerate(norms):
        fold.update(step, LayerValues(names=BLOCK, gradient=[norm]))
    (row,) = fold.rows()
    return row


def one_adapter(gradients: Sequence[tuple[float, float]], rule: LayerRule, *, b_weight: float | None) -> LayerRow:
    """The row of one adapter whose A and B had these norms."""
    fold = LayerActivity(rule)
    for step, (a, b) in enumerate(gradients):
        weights = [1.0, b_weight]
        fold.update(step, LayerValues(names=ADAPTER, gradient=[a, b], weight=weights, kind="lora"))
    (row,) = fold.rows()
    return row


@given(st.floats(0.0, 1e300), st.floats(0.0, 1e300))
def test_a_module_has_the_norm_of_its_parts_together(a: float, b: float) -> None:
    row = one_adapter([(a, b)], CONTRACT, b_weight=1.0)
    assert row.current_grad_norm == pytest.approx(math.hypot(a, b), rel=1e-12, abs=1e-160)
    assert (row.a_grad_norm, row.b_grad_norm) == (a, b)


@pytest.mark.parametrize("rule", [CONTRACT, DEFAULT])
def test_an_adapter_whose_b_is_zero_and_learns_is_active_though_its_a_has_no_gradient(rule: LayerRule) -> None:
    assert one_adapter([(0.0, 0.3)], rule, b_weight=0.0).status == "active"


@pytest.mark.parametrize("rule", [CONTRACT, DEFAULT])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_never_healthy(rule: LayerRule, bad: float) -> None:
    row = one_adapter([(0.1, 0.1)] * 30 + [(bad, 0.1)], rule, b_weight=1.0)
    assert row.status == "non_finite"
    assert row.current_grad_norm is not None
    assert not math.isfinite(float(row.current_grad_norm))
    assert row.why in {"its gradient is NaN", "its gradient is Infinity"}
    assert row.mean_grad_norm == pytest.approx(math.hypot(0.1, 0.1))
    assert one_block([0.1, bad], rule).status == "non_finite"
    assert one_block([0.1, bad, 0.1], rule).status == "active"


def test_a_gradient_that_was_not_there_is_unknown_and_not_zero() -> None:
    row = one_block([0.1, None], CONTRACT)
    assert (row.status, row.current_grad_norm, row.num_updates, row.why) == ("unknown", None, 1, "it had no gradient")
    assert row.mean_grad_norm == pytest.approx(0.1)
    assert one_block([None] * 50, DEFAULT).status == "unknown"


def test_under_the_contract_a_zero_gradient_is_dead_at_once() -> None:
    assert one_block([0.0], CONTRACT).status == "dead"
    assert one_block([1e-6], CONTRACT).status == "vanishing"
    assert one_block([1e-5], CONTRACT).status == "active"
    assert one_block([100.0], CONTRACT).status == "active"
    assert one_block([100.1], CONTRACT).status == "exploding"


def test_by_default_a_layer_is_dead_only_after_some_collections_and_starts_until_then() -> None:
    assert one_block([0.0] * 4, DEFAULT).status == "starting"
    assert one_block([0.0] * 5, DEFAULT).status == "dead"
    assert one_block([0.0] * 20 + [0.1], DEFAULT).status == "active"
    assert one_block([0.1] * 20 + [0.0], DEFAULT).status == "vanishing"
    assert one_block([0.0] * 4 + [None] * 9 + [0.0], DEFAULT).status == "dead"


def test_an_adapter_is_dead_by_default_only_while_its_b_is_zero() -> None:
    nothing = [(0.0, 0.0)] * 5
    assert one_adapter(nothing, DEFAULT, b_weight=0.0).status == "dead"
    learned = one_adapter(nothing, DEFAULT, b_weight=0.7)
    assert (learned.status, learned.b_weight_norm) == ("vanishing", 0.7)
    assert "its B has learned" in learned.why
    assert one_adapter(nothing, DEFAULT, b_weight=None).status == "unknown"
    assert one_adapter(nothing, CONTRACT, b_weight=None).status == "dead"


def test_by_default_norms_are_set_beside_the_layers_own_median_of_before() -> None:
    usual = [0.01, 0.02, 0.03] * 10
    assert one_block([*usual, 1.9], DEFAULT).status == "active"
    exploding = one_block([*usual, 2.1], DEFAULT)
    assert (exploding.status, exploding.median_grad_norm) == ("exploding", 0.02)
    assert exploding.why == "its gradient norm 2.1 is 105 times its median 0.02"
    assert one_block([*usual, 1.9e-5], DEFAULT).status == "vanishing"
    assert one_block([*usual[:10], 2.1], DEFAULT).status == "active"


def test_a_layer_that_begins_to_learn_after_many_zeros_does_not_explode() -> None:
    assert one_block([0.0] * 60 + [0.5], DEFAULT).status == "active"


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=150))
@settings(max_examples=30)
def test_mean_and_greatest_are_of_what_is_kept(norms: list[float]) -> None:
    row = one_block(norms, DEFAULT)
    assert row.mean_grad_norm == pytest.approx(np.mean(norms[-100:]), rel=1e-9)
    assert row.max_grad_norm == max(norms[-100:])
    assert row.num_updates == len(norms)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=39))
@settings(max_examples=30)
def test_the_median_is_that_of_the_collections_before(norms: list[float]) -> None:
    before = norms[:-1]
    expected = pytest.approx(float(np.median(before)), rel=1e-9) if len(before) >= 20 else None
    assert one_block(norms, DEFAULT).median_grad_norm == expected


def test_the_median_of_a_long_history_is_at_most_a_twentieth_of_it_old() -> None:
    norms = np.random.default_rng(0).random(337).tolist()
    assert one_block(norms, DEFAULT).median_grad_norm == pytest.approx(float(np.median(norms[234:334])), rel=1e-9)


def test_the_update_ratio_is_that_of_all_parts_and_needs_all_of_them() -> None:
    fold = LayerActivity(DEFAULT)
    values = LayerValues(names=ADAPTER, gradient=[0.1, 0.1], weight=[3.0, 4.0], update=[0.03, 0.04], kind="lora")
    fold.update(1, values)
    (row,) = fold.rows()
    assert row.weight_norm == 5.0
    assert row.current_update == pytest.approx(0.05)
    assert row.update_ratio == pytest.approx(0.01)
    fold.update(2, replace(values, update=[0.03, None]))
    (row,) = fold.rows()
    assert (row.current_update, row.update_ratio) == (None, None)
    assert row.mean_update == pytest.approx(0.05)
    fold.update(3, replace(values, weight=[0.0, 0.0]))
    assert fold.rows()[0].update_ratio is None


def test_rows_are_in_natural_order_and_know_their_block() -> None:
    names = tuple(LayerName(f"model.layers.{block}.mlp.up_proj", "") for block in (10, 2, 0))
    names += (LayerName("model.embed_tokens", ""),)
    fold = LayerActivity(DEFAULT)
    fold.update(1, LayerValues(names=names, gradient=[1.0] * 4))
    assert [(row.module, row.block) for row in fold.rows()] == [
        ("model.embed_tokens", None),
        ("model.layers.0.mlp.up_proj", 0),
        ("model.layers.2.mlp.up_proj", 2),
        ("model.layers.10.mlp.up_proj", 10),
    ]


def test_of_two_stacks_of_blocks_the_larger_one_counts() -> None:
    names = tuple(LayerName(f"language.layers.{block}", "") for block in range(4))
    names = (*names, LayerName("vision.blocks.0", ""))
    fold = LayerActivity(DEFAULT)
    fold.update(1, LayerValues(names=names, gradient=[1.0] * 5))
    assert [row.block for row in fold.rows()] == [0, 1, 2, 3, None]


def test_the_summary_says_it_as_the_seed_does() -> None:
    names = tuple(LayerName(f"model.layers.{block}", "") for block in range(28))
    fold = LayerActivity(CONTRACT)
    norms = [0.0] * 4 + [0.1 * (block + 1) for block in range(24)]
    fold.update(7, LayerValues(names=names, gradient=norms))
    summary = fold.summary()
    assert summary.sentence == "24/28 layers active, 4 dead"
    assert (summary.total_layers, summary.active_layers, summary.dead_layers) == (28, 24, 4)
    assert summary.dead == [f"model.layers.{block}" for block in range(4)]
    assert summary.top_active_layers == [f"model.layers.{block}" for block in (27, 26, 25, 24, 23)]
    assert summary.active_share == pytest.approx(24 / 28)
    assert summary.imbalance_ratio == pytest.approx(24.0)
    assert (summary.largest, summary.smallest) == ("model.layers.27", "model.layers.4")


def test_layers_that_start_or_are_not_measured_are_no_evidence_of_death() -> None:
    names = tuple(LayerName(f"model.layers.{block}", "") for block in range(3))
    fold = LayerActivity(DEFAULT)
    fold.update(1, LayerValues(names=names, gradient=[0.0, None, math.nan]))
    summary = fold.summary()
    assert (summary.active_share, summary.imbalance_ratio) == (1.0, None)
    assert summary.sentence == ("0/3 layers active, 1 with gradients that are no numbers, 1 starting, 1 not measured")
    assert LayerActivity(DEFAULT).summary().active_share is None


def test_a_training_that_cannot_be_measured_says_why_and_has_no_rows() -> None:
    fold = LayerActivity(DEFAULT)
    assert fold.summary().sentence == "no layer has been measured yet"
    fold.update(1, LayerValues(available=False, reason="the parameters are sharded"))
    summary = fold.summary()
    assert (summary.available, summary.total_layers, fold.rows()) == (False, 0, [])
    assert summary.sentence == "layers are not measured: the parameters are sharded"


def test_modules_may_come_and_go() -> None:
    fold = LayerActivity(DEFAULT)
    other = (LayerName("model.layers.1", ""), *BLOCK)
    fold.update(1, LayerValues(names=BLOCK, gradient=[1.0]))
    fold.update(2, LayerValues(names=other, gradient=[2.0, 3.0]))
    fold.update(3, LayerValues(names=other[:1], gradient=[4.0]))
    assert [(row.module, row.current_grad_norm, row.step, row.num_updates) for row in fold.rows()] == [
        ("model.layers.0", 3.0, 2, 2),
        ("model.layers.1", 4.0, 3, 2),
    ]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(UsageError, match="1 values of gradient for 2 columns"):
        LayerActivity(DEFAULT).update(1, LayerValues(names=ADAPTER, gradient=[1.0]))


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_history_read_back_as_arrays_gives_what_the_training_saw(collections: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    gradient = np.exp(random.standard_normal((collections, 2)))
    gradient[random.random((collections, 2)) < 0.05] = math.nan
    weight, update = np.exp(random.standard_normal((collections, 2))), random.random((collections, 2))
    live, again = LayerActivity(DEFAULT), LayerActivity(DEFAULT)
    for at in range(collections):
        row = [part[at].tolist() for part in (gradient, weight, update)]
        live.update(at * 10, LayerValues(names=ADAPTER, gradient=row[0], weight=row[1], update=row[2], kind="lora"))
        read = LayerValues(names=ADAPTER, gradient=gradient[at], weight=weight[at], update=update[at], kind="lora")
        again.update(at * 10, read)
    assert repr(again.rows()) == repr(live.rows())
    assert again.summary() == live.summary()


PARTS: tuple[LayerPart, ...] = ("A", "B", "")


def test_a_collection_of_392_columns_costs_far_less_than_a_step() -> None:
    names = tuple(LayerName(f"model.layers.{at // 14}.m{at % 7}", PARTS[at // 7 % 2]) for at in range(392))
    norms = np.random.default_rng(0).random(392).tolist()
    values = LayerValues(names=names, gradient=norms, weight=norms, update=norms, kind="lora")
    fold = LayerActivity(DEFAULT)
    began = time.perf_counter()
    for step in range(100):
        fold.update(step, values)
    assert (time.perf_counter() - began) / 100 < 0.01
    assert fold.summary().total_layers == 196


def test_frozen_modules_are_told_as_they_were_counted_last() -> None:
    fold = LayerActivity(CONTRACT)
    names = (LayerName("model.layers.0", ""),)
    assert fold.summary().frozen_layers is None
    for frozen in (None, 3, 0):
        fold.update(1, LayerValues(names=names, gradient=[1.0], frozen=frozen))
        assert fold.summary().frozen_layers == frozen
    assert fold.summary().sentence == "1/1 layers active"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0.0, 1.0, math.nan]),
            st.sampled_from([0.0, 0.1, math.nan]),
            st.sampled_from([0.0, 0.01]),
        ),
        max_size=12,
    )
)
def test_a_module_is_called_still_or_cut_off_only_while_nothing_ever_moved_it(
    seen: list[tuple[float | None, float, float]],
) -> None:
    """Its gradient, its update, and what its weight changed by between the collections; another module learns."""
    fold = LayerActivity(CONTRACT)
    names = (LayerName("a", ""), LayerName("b", ""))
    weight = 1.0
    for step, (gradient, update, drift) in enumerate(seen):
        weight += drift
        fold.update(
            step, LayerValues(names=names, gradient=[gradient, 1.0], weight=[weight, 1.0], update=[update, 0.1])
        )
    if not seen:
        return
    why = fold.rows()[0].why
    moved = [update > 0.0 or (place > 0 and drift > 0.0) for place, (_, update, drift) in enumerate(seen)]
    if "did not move" in why:
        assert not any(moved)
    if "reached it" in why:
        away = next((place for place, one in enumerate(reversed(seen)) if one[0] is not None), len(seen))
        assert away >= 2
        assert not any(moved[-2:])

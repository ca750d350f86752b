"""The rings of the layers' norms hold the newest ones and nothing else; what is no number is in none of them."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barograph.analysis.layer_history import LayerHistory, LayersCollected, layers_kept
from barograph.analysis.layer_status import LayerRule

HISTORY = 4
RULE = LayerRule(
    dead_below=0.0,
    dead_checks=3,
    needs_zero_weight=True,
    vanishing_below=0.0,
    exploding_above=math.inf,
    vanishing_ratio=0.0,
    exploding_ratio=math.inf,
    min_history=2,
    history=HISTORY,
)

Floats = NDArray[np.float64]


def collected(gradients: list[float | None], updates: list[float] | None = None) -> LayersCollected:
    """One collection of some modules; None: there was no gradient."""
    count = len(gradients)
    nothing = (np.full(count, math.nan), np.zeros(count, dtype=np.bool_))
    return LayersCollected(
        gradient=np.array([math.nan if one is None else one for one in gradients], dtype=np.float64),
        measured=np.array([one is not None for one in gradients], dtype=np.bool_),
        a=nothing,
        b=nothing,
        weight=np.full(count, math.nan),
        b_weight=np.full(count, math.nan),
        update=np.array(updates if updates is not None else [math.nan] * count, dtype=np.float64),
    )


def places(*at: int) -> NDArray[np.int64]:
    return np.array(at, dtype=np.int64)


gradient = st.none() | st.floats(0.0, 1e6) | st.just(0.0) | st.sampled_from([math.nan, math.inf])
collections = st.lists(
    st.dictionaries(st.integers(0, 2), st.tuples(gradient, st.floats(0.0, 1e6) | st.just(math.nan))), max_size=14
)


@settings(max_examples=60)
@given(seen=collections)
def test_what_is_kept_is_what_a_list_of_each_module_would_keep(
    seen: list[dict[int, tuple[float | None, float]]],
) -> None:
    fold = LayerHistory(3, history=HISTORY)
    gradients: dict[int, list[float]] = defaultdict(list)
    updates: dict[int, list[float]] = defaultdict(list)
    there: dict[int, list[float]] = defaultdict(list)
    for step, modules in enumerate(seen):
        now = collected([one[0] for one in modules.values()], [one[1] for one in modules.values()])
        fold.take(step, now, places(*modules), rule=RULE, medians=False)
        for at, (norm, update) in modules.items():
            if norm is not None:
                there[at].append(norm)
                gradients[at] += [norm] if math.isfinite(norm) else []
            updates[at] += [update] if math.isfinite(update) else []
    for ring, counts, kept in ((fold.gradients, fold.kept, gradients), (fold.updates, fold.updated, updates)):
        told = layers_kept(ring, counts)
        for at in range(3):
            newest = kept[at][-HISTORY:]
            if not newest:
                assert not math.isfinite(told.mean[at])
                assert not math.isfinite(told.greatest[at])
            else:
                assert told.mean[at] == pytest.approx(sum(newest) / len(newest), rel=1e-12)
                assert told.greatest[at] == max(newest)
    for at in range(3):
        assert fold.taken[at] == len(there[at])
        assert fold.moved[at] == any(0.0 < norm < math.inf for norm in there[at])
        in_a_row = next((place for place, norm in enumerate(reversed(there[at])) if norm != 0.0), len(there[at]))
        assert fold.zeros[at] == in_a_row


@given(norms=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12))
def test_the_median_is_that_of_what_was_kept_before_the_collection(norms: list[float]) -> None:
    fold = LayerHistory(1, history=HISTORY)
    for step, norm in enumerate(norms):
        fold.take(step, collected([norm]), places(0), rule=RULE, medians=True)
        before = norms[max(0, step - HISTORY) : step]
        if len(before) < RULE.min_history:
            assert math.isnan(fold.median[0])
        else:
            assert fold.median[0] == pytest.approx(float(np.median(before)), rel=1e-12)


def test_a_median_that_is_not_asked_for_stays_as_it_was() -> None:
    fold = LayerHistory(1, history=HISTORY)
    for step, norm in enumerate([1.0, 3.0, 50.0]):
        fold.take(step, collected([norm]), places(0), rule=RULE, medians=step == 2)
    assert fold.median[0] == 2.0
    fold.take(3, collected([70.0]), places(0), rule=RULE, medians=False)
    assert fold.median[0] == 2.0


@given(norms=st.lists(st.floats(0.0, 1e3), max_size=8), new=st.integers(0, 5))
def test_new_modules_change_nothing_of_those_that_were_there(norms: list[float], new: int) -> None:
    fold = LayerHistory(2, history=HISTORY)
    for step, norm in enumerate(norms):
        fold.take(step, collected([norm, 2.0 * norm]), places(0, 1), rule=RULE, medians=True)
    more = fold.with_more(new)
    assert more.count == 2 + new
    assert more.history == fold.history
    fresh = LayerHistory(new, history=HISTORY)
    for name, value in vars(fold).items():
        if isinstance(value, np.ndarray):
            both = getattr(more, name)
            assert len(both) == 2 + new
            np.testing.assert_array_equal(both[:2], value)
            np.testing.assert_array_equal(both[2:], getattr(fresh, name))


def test_a_module_that_is_not_in_a_collection_keeps_what_is_known_of_it() -> None:
    fold = LayerHistory(2, history=HISTORY)
    fold.take(1, collected([1.0, 2.0]), places(0, 1), rule=RULE, medians=False)
    fold.take(5, collected([3.0]), places(1), rule=RULE, medians=False)
    assert fold.gradient.tolist() == [1.0, 3.0]
    assert fold.step.tolist() == [1, 5]
    assert fold.taken.tolist() == [1, 2]


def test_an_empty_ring_has_no_mean_and_no_greatest_and_no_modules_have_none_of_them() -> None:
    told = layers_kept(np.full((1, HISTORY), math.nan), places(0))
    assert math.isnan(told.mean[0])
    assert told.greatest[0] == -math.inf
    nobody = layers_kept(np.zeros((0, HISTORY)), places())
    assert (nobody.mean, nobody.greatest) == ([], [])

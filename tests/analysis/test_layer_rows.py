"""The summary of the layers counts each of them once, names what it counts, and says what it does not know."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.layer_rows import TOP, LayerNow, LayerSummary, layer_summary
from barograph.analysis.layer_status import GRAVITY, LayerStatus


def norm_of(status: LayerStatus) -> st.SearchStrategy[float]:
    """Norms that a layer of that status may have."""
    if status in {"dead", "starting"}:
        return st.just(0.0)
    if status in {"unknown", "non_finite"}:
        return st.sampled_from([math.nan, math.inf])
    return st.floats(0.0, 1e300)


statuses = st.lists(st.sampled_from(GRAVITY), max_size=12)
some_layers = statuses.flatmap(
    lambda words: st.tuples(
        *(
            st.builds(LayerNow, st.just(f"model.layers.{at}"), st.just(word), norm_of(word), st.just(word != "unknown"))
            for at, word in enumerate(words)
        )
    )
)


def summed(*layers: LayerNow) -> LayerSummary:
    return layer_summary(layers, collections=7, step=70, kind="full")


@given(layers=some_layers)
def test_every_layer_is_counted_once_and_those_that_are_named_in_their_order(layers: tuple[LayerNow, ...]) -> None:
    found = summed(*layers)
    for status in GRAVITY:
        named = [layer.module for layer in layers if layer.status == status]
        assert getattr(found, f"{status}_layers") == len(named)
        if status in {"dead", "vanishing", "exploding", "non_finite"}:
            assert getattr(found, status) == named
    assert sum(getattr(found, f"{status}_layers") for status in GRAVITY) == found.total_layers == len(layers)


@given(layers=some_layers)
def test_the_imbalance_is_that_of_the_greatest_and_the_smallest_finite_norm_above_zero(
    layers: tuple[LayerNow, ...],
) -> None:
    found = summed(*layers)
    norms = {layer.module: layer.norm for layer in layers if math.isfinite(layer.norm) and layer.norm > 0.0}
    assert found.top_active_layers == sorted(norms, key=lambda name: (norms[name], name), reverse=True)[:TOP]
    if len(norms) < 2:
        assert (found.imbalance_ratio, found.largest, found.smallest) == (None, None, None)
        return
    assert found.largest is not None
    assert found.smallest is not None
    assert (norms[found.largest], norms[found.smallest]) == (max(norms.values()), min(norms.values()))
    ratio = max(norms.values()) / min(norms.values())
    assert found.imbalance_ratio == (ratio if math.isfinite(ratio) else None)


@given(layers=some_layers)
def test_the_active_share_is_of_those_of_which_something_is_known(layers: tuple[LayerNow, ...]) -> None:
    known = [layer for layer in layers if layer.status not in {"starting", "unknown"}]
    share = summed(*layers).active_share
    if not known:
        assert share is None
    else:
        assert share == pytest.approx(sum(layer.status != "dead" for layer in known) / len(known))


def test_the_sentence_counts_the_active_ones_and_every_other_word_that_applies() -> None:
    one_of_each = [LayerNow(status, status, 1.0, True) for status in GRAVITY]
    assert summed(*one_of_each).sentence == (
        "1/7 layers active, 1 dead, 1 with gradients that are no numbers, 1 exploding, 1 vanishing, 1 starting,"
        " 1 not measured"
    )
    assert summed(LayerNow("a", "active", 1.0, True)).sentence == "1/1 layers active"
    assert summed().sentence == "no layer has been measured yet"


@given(layers=some_layers, frozen=st.none() | st.integers(0, 50))
def test_frozen_layers_are_told_where_somebody_counted_them_and_never_among_the_others(
    layers: tuple[LayerNow, ...], frozen: int | None
) -> None:
    found = layer_summary(layers, collections=7, step=70, kind="full", frozen=frozen)
    plain = summed(*layers)
    assert (found.frozen_layers, found.total_layers, found.active_share) == (
        frozen,
        plain.total_layers,
        plain.active_share,
    )
    assert ("frozen" in found.sentence) == bool(frozen and layers)
    if not frozen:
        assert found.sentence == plain.sentence


def test_frozen_layers_are_told_beside_the_trained_ones() -> None:
    layers = [LayerNow(f"model.layers.{at}", "active", 1.0, True) for at in range(5)]
    found = layer_summary(layers, collections=7, step=70, kind="full", frozen=1)
    assert found.sentence == "5/5 trained layers active, 1 frozen"


@given(layers=some_layers)
def test_layers_with_a_gradient_are_counted_whatever_it_is(layers: tuple[LayerNow, ...]) -> None:
    assert summed(*layers).measured_layers == sum(layer.measured for layer in layers)


def test_what_is_not_available_says_why_and_the_rest_is_told_as_it_was_given() -> None:
    found = layer_summary((), collections=0, step=None, kind=None, available=False, reason="they are sharded")
    assert (found.available, found.reason) == (False, "they are sharded")
    assert found.sentence == "layers are not measured: they are sharded"
    told = summed(LayerNow("a", "active", 1.0, True))
    assert (told.collections, told.step, told.kind, told.available, told.reason) == (7, 70, "full", True, "")

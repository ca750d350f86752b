"""The status of a layer: one word, with its numbers, and never a healthy one for what is no number or not measured."""

import math
from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.layer_status import (
    FAR_STEPS,
    FEW,
    GRAVITY,
    LEAST_STILL,
    LayerRule,
    LayerSeen,
    LayerStatus,
    layer_status,
)

RULE = LayerRule(
    dead_below=0.0,
    dead_checks=3,
    needs_zero_weight=True,
    vanishing_below=1e-6,
    exploding_above=1e3,
    vanishing_ratio=0.01,
    exploding_ratio=100.0,
    min_history=5,
    history=50,
)
SEEN = LayerSeen(measured=True, norm=1.0, median=1.0, zeros=0, moved=True, b_weight=math.nan, adapter=False)

norms = st.floats(0.0) | st.sampled_from([0.0, math.nan, math.inf, 5e-324])
rules = st.builds(
    LayerRule,
    dead_below=st.sampled_from([0.0, 1e-9]),
    dead_checks=st.integers(1, 4),
    needs_zero_weight=st.booleans(),
    vanishing_below=st.sampled_from([0.0, 1e-5]),
    exploding_above=st.sampled_from([100.0, math.inf]),
    vanishing_ratio=st.sampled_from([0.0, 0.001]),
    exploding_ratio=st.sampled_from([100.0, math.inf]),
    min_history=st.just(1),
    history=st.just(10),
)
everything = st.builds(
    LayerSeen,
    measured=st.booleans(),
    norm=norms,
    median=norms,
    zeros=st.integers(0, 6),
    moved=st.booleans(),
    b_weight=norms,
    adapter=st.booleans(),
    absent=st.integers(0, 6),
    absent_steps=st.integers(0, 200),
    still=st.integers(-1, 30),
    still_steps=st.integers(0, 200),
)


def test_every_status_has_its_place_in_the_order_of_gravity() -> None:
    assert sorted(GRAVITY) == sorted(get_args(LayerStatus))
    assert (GRAVITY[0], GRAVITY[-1]) == ("non_finite", "active")


@given(seen=everything, rule=rules)
def test_only_an_active_layer_has_no_reason_and_only_a_finite_gradient_is_active(
    seen: LayerSeen, rule: LayerRule
) -> None:
    found = layer_status(seen, rule=rule)
    assert (found.status == "active") == (found.why == "")
    if found.status == "active":
        assert seen.measured
        assert math.isfinite(seen.norm)
        assert seen.norm > rule.dead_below
    assert (found.status == "non_finite") == (seen.measured and not math.isfinite(seen.norm))


@given(seen=everything, rule=rules)
def test_what_was_not_measured_is_unknown_until_it_stayed_away_for_long(seen: LayerSeen, rule: LayerRule) -> None:
    found = layer_status(replace(seen, measured=False), rule=rule)
    often = seen.absent >= max(FEW, rule.dead_checks)
    assert found.status == ("dead" if often or (seen.absent >= FEW and seen.absent_steps >= FAR_STEPS) else "unknown")
    assert layer_status(replace(seen, measured=False, absent=1), rule=rule).status == "unknown"


@given(seen=everything, rule=rules)
def test_weights_that_moved_once_are_never_called_still(seen: LayerSeen, rule: LayerRule) -> None:
    assert "did not move" not in layer_status(replace(seen, still=-1), rule=rule).why
    short = replace(seen, still=LEAST_STILL - 1, still_steps=FAR_STEPS - 1)
    assert "did not move" not in layer_status(short, rule=rule).why


@given(seen=everything, rule=rules)
def test_a_dead_layer_had_no_gradient_for_long_enough_and_an_adapter_no_weight_either(
    seen: LayerSeen, rule: LayerRule
) -> None:
    seen = replace(seen, measured=True, still=-1)
    if layer_status(seen, rule=rule).status == "dead":
        assert seen.norm <= rule.dead_below
        assert seen.zeros >= rule.dead_checks
        assert seen.b_weight == 0.0 or not (seen.adapter and rule.needs_zero_weight)


@given(norm=st.floats(1e-300, 1e300), median=st.floats(1e-300, 1e300), factor=st.sampled_from([2.0**-20, 2.0**20]))
def test_ratios_do_not_depend_on_the_scale_of_the_loss(norm: float, median: float, factor: float) -> None:
    free = replace(RULE, vanishing_below=0.0, exploding_above=math.inf)
    assume(all(1e-290 < value * factor < 1e290 for value in (norm, median)))
    plain = layer_status(replace(SEEN, norm=norm, median=median), rule=free).status
    scaled = layer_status(replace(SEEN, norm=norm * factor, median=median * factor), rule=free).status
    assert plain == scaled


@dataclass
class Case:
    """One thing that is seen, and what it is called."""

    seen: LayerSeen
    status: LayerStatus
    why: str


ZERO = replace(SEEN, norm=0.0, zeros=3)
ADAPTER = replace(ZERO, adapter=True)


@pytest.mark.parametrize(
    "case",
    [
        Case(SEEN, "active", ""),
        Case(replace(SEEN, norm=100.0), "active", ""),
        Case(replace(SEEN, norm=100.1), "exploding", "its gradient norm 100 is 100 times its median 1"),
        Case(replace(SEEN, norm=0.01), "active", ""),
        Case(replace(SEEN, norm=0.0099), "vanishing", "its gradient norm 0.0099 is 0.0099 times its median 1"),
        Case(replace(SEEN, norm=1001.0, median=1000.0), "exploding", "its gradient norm 1e+03 is above 1e+03"),
        Case(replace(SEEN, norm=9e-7, median=9e-7), "vanishing", "its gradient norm 9e-07 is below 1e-06"),
        Case(replace(SEEN, norm=500.0, median=math.nan), "active", ""),
        Case(replace(SEEN, norm=500.0, median=0.0), "active", ""),
        Case(replace(SEEN, norm=math.nan), "non_finite", "its gradient is NaN"),
        Case(replace(SEEN, norm=math.inf), "non_finite", "its gradient is Infinity"),
        Case(replace(SEEN, measured=False), "unknown", "it had no gradient"),
        Case(replace(SEEN, measured=False, absent=2), "unknown", "it had no gradient"),
        Case(replace(SEEN, measured=False, absent=3), "dead", "no gradient reached it in 3 collections in a row"),
        Case(
            replace(SEEN, measured=False, absent=2, absent_steps=100),
            "dead",
            "no gradient reached it in 2 collections in a row",
        ),
        Case(replace(SEEN, still=4), "active", ""),
        Case(replace(SEEN, still=1, still_steps=500), "active", ""),
        Case(
            replace(SEEN, still=2, still_steps=100),
            "dead",
            "its weights did not move in any of 2 collections, with a gradient",
        ),
        Case(replace(SEEN, still=5), "dead", "its weights did not move in any of 5 collections, with a gradient"),
        Case(replace(SEEN, still=5, norm=math.nan), "non_finite", "its gradient is NaN"),
        Case(
            replace(ZERO, zeros=1, moved=False),
            "starting",
            "its gradient is zero in 1 collection in a row, of 3 that make it dead",
        ),
        Case(
            replace(ZERO, zeros=2),
            "vanishing",
            "its gradient is zero in 2 collections in a row, of 3 that make it dead",
        ),
        Case(ZERO, "dead", "its gradient is zero in 3 collections in a row"),
        Case(
            replace(ADAPTER, b_weight=0.0), "dead", "its gradient is zero in 3 collections in a row, and its B is zero"
        ),
        Case(
            replace(ADAPTER, b_weight=0.5),
            "vanishing",
            "its gradient is zero in 3 collections in a row, but its B has learned: its norm is 0.5",
        ),
        Case(
            ADAPTER, "unknown", "its gradient is zero in 3 collections in a row, and the norm of its B is not measured"
        ),
    ],
    ids=lambda case: f"{case.status}-{case.seen.norm:g}",
)
def test_the_words_are_those_of_the_rule(case: Case) -> None:
    found = layer_status(case.seen, rule=RULE)
    assert (found.status, found.why) == (case.status, case.why)

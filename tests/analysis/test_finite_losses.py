"""Every NaN and infinity is counted and placed; nothing else is."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.finite_losses import NO_LOSSES, FiniteLosses, finite_losses, joined_losses


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.floats()), max_size=30))
def test_it_agrees_with_looking_at_each_loss(curve: list[tuple[int, float]]) -> None:
    bad = [step for step, loss in curve if math.isnan(loss) or math.isinf(loss)]
    assert finite_losses((step for step, _ in curve), (loss for _, loss in curve)) == FiniteLosses(
        points=len(curve),
        non_finite=len(bad),
        first_step=bad[0] if bad else None,
        last_step=bad[-1] if bad else None,
    )


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 99), st.floats()), max_size=9), max_size=5))
def test_the_counts_of_parts_add_up_to_those_of_the_whole(parts: list[list[tuple[int, float]]]) -> None:
    counted = [finite_losses((step for step, _ in part), (loss for _, loss in part)) for part in parts]
    whole = [point for part in parts for point in part]
    assert joined_losses(counted) == finite_losses((step for step, _ in whole), (loss for _, loss in whole))


def test_an_empty_curve_has_no_points_and_no_steps() -> None:
    assert finite_losses([], []) == NO_LOSSES == FiniteLosses(points=0, non_finite=0, first_step=None, last_step=None)


def test_the_order_is_the_curves_and_not_the_steps() -> None:
    found = finite_losses([7, 3, 5], [math.nan, 1.0, -math.inf])
    assert (found.first_step, found.last_step) == (7, 5)


def test_the_largest_finite_loss_is_finite() -> None:
    assert finite_losses([1], [1.7976931348623157e308]).non_finite == 0


@pytest.mark.parametrize(("steps", "losses"), [([1, 2], [0.5]), ([1], [0.5, math.nan])])
def test_steps_and_losses_that_do_not_match_are_refused(steps: list[int], losses: list[float]) -> None:
    with pytest.raises(IndexError):
        finite_losses(steps, losses)

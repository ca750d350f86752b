"""One curve from parts: what is shown, what the seed would have built, and what stays behind as a ghost."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.curve_parts import CurvePart, curve_of, split_where_it_goes_back, writers_apart
from barograph.analysis.loss_curve import Curve


def part(attempt: int, points: dict[int, float]) -> CurvePart:
    return CurvePart(
        attempt=attempt, steps=np.array([*points], np.int64), losses=np.array([*points.values()], np.float64)
    )


def of(*parts: CurvePart) -> Curve:
    return curve_of(parts, files=len(parts), averaged=False)


def shown(curve: Curve) -> dict[int, float]:
    return dict(zip(curve.steps.tolist(), curve.losses.tolist(), strict=True))


def test_a_ghost_tail_is_hidden_and_stays_in_the_seeds_curve() -> None:
    first = part(1, dict.fromkeys(range(500), 1.0))
    second = part(2, dict.fromkeys(range(300, 400), 1.3))
    curve = of(first, second)
    assert curve.steps.tolist() == list(range(400))
    assert curve.losses[-1] == 1.3
    assert (curve.merged_steps[-1], curve.merged_losses[-1]) == (499, 1.0)
    assert (curve.ghost_points, curve.attempts) == (100, 2)


def test_the_last_word_on_a_step_counts() -> None:
    assert shown(of(part(1, {1: 5.0, 2: 4.0}), part(1, {2: 3.0}))) == {1: 5.0, 2: 3.0}


def test_a_third_attempt_hides_what_two_older_ones_had() -> None:
    curve = of(part(1, dict.fromkeys(range(10), 1.0)), part(2, {8: 2.0, 9: 2.0}), part(3, {5: 3.0}))
    assert shown(curve) == {**dict.fromkeys(range(5), 1.0), 5: 3.0}
    assert curve.ghost_points == 4


def test_nothing_is_a_curve_without_points() -> None:
    curve = of()
    assert (len(curve.steps), len(curve.merged_steps), curve.ghost_points, curve.attempts) == (0, 0, 0, 0)
    assert len(of(part(1, {})).steps) == 0


def test_non_finite_losses_are_points() -> None:
    assert math.isnan(shown(of(part(1, {1: math.nan})))[1])


def test_a_file_whose_steps_go_back_holds_two_attempts() -> None:
    steps = np.array([1, 2, 3, 4, 2, 3, 4, 5, 1])
    found = split_where_it_goes_back(steps, np.ones(9), attempt=4)
    assert [(one.attempt, one.steps.tolist()) for one in found] == [(4, [1, 2, 3, 4]), (5, [2, 3, 4, 5]), (6, [1])]


def test_two_processes_that_take_turns_are_no_new_attempts() -> None:
    steps = np.array([1, 1, 2, 1, 2, 3, 3, 2])
    assert len(split_where_it_goes_back(steps, np.ones(8), attempt=1)) == 1


@given(st.lists(st.dictionaries(st.integers(0, 40), st.floats(0.0, 9.0), max_size=30), max_size=5))
def test_each_step_is_there_once_in_order_and_by_the_newest_attempt_that_reached_it(
    attempts: list[dict[int, float]],
) -> None:
    expected: dict[int, float] = {}
    for points in attempts:
        if points:
            first = min(points)
            expected = {step: loss for step, loss in expected.items() if step < first} | points
    curve = of(*(part(number + 1, points) for number, points in enumerate(attempts)))
    assert shown(curve) == dict(sorted(expected.items()))
    merged: dict[int, float] = {}
    for points in attempts:
        merged |= points
    assert dict(zip(curve.merged_steps.tolist(), curve.merged_losses.tolist(), strict=True)) == dict(
        sorted(merged.items())
    )
    assert curve.ghost_points == len(merged) - len(expected)


@given(st.lists(st.integers(0, 2), min_size=60, max_size=200))
def test_writers_that_take_turns_far_apart_are_told_apart(turns: list[int]) -> None:
    begins, at = (0, 10_000, 20_000), [0, 0, 0]
    steps = []
    for writer in turns:
        steps.append(begins[writer] + at[writer])
        at[writer] += 1
    back = sum(after < before - 1 for before, after in pairwise(steps))
    found = writers_apart(np.array(steps))
    assert sorted(place for one in found for place in one.tolist()) == list(range(len(steps)))
    if back > 10:
        own = [{turns[place] for place in one.tolist()} for one in found]
        assert all(len(one) == 1 for one in own)


def test_a_few_resumes_are_one_writer() -> None:
    steps = np.concatenate([np.arange(100), np.arange(50, 150), np.arange(120, 200)])
    assert [len(one) for one in writers_apart(steps)] == [280]

"""The pace: one number from 0 to 1 drives the learning rate, the checkpoints and the end."""

import math
import sys

from hypothesis import given
from hypothesis import strategies as st

from barograph.train.pace import FINAL_SHARE, Pace

WARM_UP_STEPS = 30


def in_steps(max_steps: int) -> Pace:
    """A pace that the clock does not move."""
    return Pace(seconds=math.inf, max_steps=max_steps, warm_up_steps=WARM_UP_STEPS)


@given(st.integers(1, 10_000), st.data())
def test_without_a_clock_progress_is_the_share_of_steps(max_steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, max_steps))
    assert in_steps(max_steps).progress(step) == step / max_steps


@given(st.integers(WARM_UP_STEPS + 1, 10_000))
def test_the_rate_rises_to_its_peak_and_then_only_falls_to_the_final_share(max_steps: int) -> None:
    pace = in_steps(max_steps)
    assert pace.learning_rate_share(0) <= 1 / WARM_UP_STEPS
    after = [pace.learning_rate_share(step) for step in range(WARM_UP_STEPS, max_steps + 1, 1 + max_steps // 50)]
    assert after == sorted(after, reverse=True)
    assert math.isclose(pace.learning_rate_share(max_steps), FINAL_SHARE)
    assert math.isclose(pace.learning_rate_share(10 * max_steps), FINAL_SHARE)


def test_time_ends_the_training_whatever_the_steps() -> None:
    pace = Pace(seconds=1e-9, max_steps=sys.maxsize, warm_up_steps=1)
    assert pace.progress(1) > 1


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_the_plan_is_never_less_than_what_was_done(max_steps: int, step: int) -> None:
    assert in_steps(max_steps).planned_steps(step) >= step
    assert in_steps(max_steps).planned_steps(min(step, max_steps)) == max_steps


@given(st.floats(1e-3, 10.0))
def test_a_trial_step_gives_a_plan_of_at_least_one_step(step_seconds: float) -> None:
    assert 1 <= Pace(seconds=1.0, max_steps=500, warm_up_steps=1).steps_at(step_seconds) <= 500

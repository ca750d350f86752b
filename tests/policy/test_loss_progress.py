"""Progress is never claimed above the beginning, and the beginning is never taken from an explosion."""

import math
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from barograph.policy.loss_progress import FIRST, LossBeginning, Progress


def begun(*losses: float) -> LossBeginning:
    fold = LossBeginning()
    for loss in losses:
        fold.update(loss)
    return fold


def progress(*losses: float, now: float, noise: float | None) -> Progress:
    found = begun(*losses).progress(now, noise)
    assert found is not None
    return found


losses = st.lists(st.floats(0.1, 20.0), min_size=FIRST, max_size=FIRST)


@given(
    first=losses, now=st.floats(0.1, 20.0), noise=st.none() | st.floats(0.0, 2.0), more=st.lists(st.floats(0.0, 9.0))
)
def test_nothing_is_gained_that_is_not_below_the_beginning(
    first: list[float], now: float, noise: float | None, more: list[float]
) -> None:
    found = progress(*first, now=now, noise=noise)
    assert found.began in {first[0], median(first)}
    if found.gained:
        assert found.now < found.began <= median(first)
    elif not found.rose:
        assert now >= median(first)
    assert progress(*first, *more, now=now, noise=noise) == found, "later losses are no beginning"


@given(jump=st.floats(1.0, 30.0), after=st.floats(4.13, 30.0))
def test_an_explosion_at_the_second_step_leaves_the_first_loss_as_the_beginning(jump: float, after: float) -> None:
    found = progress(4.17, *[4.17 + jump] * 9, now=after, noise=0.1)
    assert (found.rose, found.began) == (True, 4.17)
    assert not found.gained
    assert progress(4.17, *[4.17 + jump] * 9, now=3.5, noise=0.1).gained


def test_a_first_loss_that_noise_explains_is_not_the_beginning() -> None:
    found = progress(1.2, *[1.8, 2.2, 1.4, 1.8, 1.9, 1.7, 1.8, 2.0, 1.6], now=1.6, noise=0.4)
    assert (found.rose, found.began, found.gained) == (False, 1.8, True)


def test_too_few_losses_and_losses_that_are_no_numbers_are_no_beginning() -> None:
    assert begun(*[4.0] * (FIRST - 1)).progress(3.0, 0.1) is None
    assert begun(*[math.nan, math.inf] * FIRST).progress(3.0, 0.1) is None
    assert begun(*[4.0] * FIRST).progress(None, 0.1) is None
    assert begun(math.nan, *[4.0] * FIRST).progress(3.0, None) == Progress(4.0, 3.0, False, True)

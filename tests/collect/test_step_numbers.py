"""The steps of an optimizer have the numbers that the loop logs for them, in whichever order it does both."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from barograph.collect import step_numbers
from barograph.collect.layer_norms import LayerNorms
from barograph.collect.step_numbers import StepNumbers

LAST = 40


class Loop:
    """A training loop as `StepNumbers` sees it, its gradients stood for by numbers."""

    def __init__(self, *, next_step: int = 0) -> None:
        self.found: list[tuple[int, int]] = []
        """Number, and step of the loop, of each row, in the order of recording."""
        self._of: dict[int, int] = {}
        self._norms: list[LayerNorms] = []
        self.numbers = StepNumbers(lambda step, at, norms: self.found.append((step, self._of[id(norms)])))
        self.next_step = next_step
        self.gradient: int | None = None
        self._was: int | None = None
        self._backward = 0

    def zero(self) -> None:
        self.gradient = None

    def backward(self) -> None:
        self._backward += 1
        self.gradient = self._backward

    def optimizer(self, step: int) -> None:
        """The optimizer makes what the loop calls `step`."""
        norms = LayerNorms((), "full", gradients=(), changes=(), without=frozenset())
        self._norms.append(norms)
        self._of[id(norms)] = step
        self.numbers.step_begins(self.next_step)
        self.numbers.take(norms)
        self._was = self.gradient

    def log(self, step: int, *, loss: bool = True) -> None:
        def new() -> bool:
            return self.gradient is not None and self.gradient != self._was

        self.numbers.logged(step, loss=loss, new_gradients=new)
        self.next_step = step + 1


def run_loop(
    order: str,
    *,
    first: int,
    every: int = 1,
    phase: int = 0,
    zero: str = "top",
    skipped: frozenset[int] = frozenset(),
    loss: bool = True,
    next_step: int = 0,
) -> Loop:
    """Steps `first` to `LAST`; logs those that are `phase` modulo `every`; `order`: log `after` the optimizer's step,
    `before` it, or before the backward pass (`forward`)."""
    loop = Loop(next_step=next_step)
    for step in range(first, LAST):
        logs = step % every == phase % every
        if zero == "top":
            loop.zero()
        if order == "forward" and logs:
            loop.log(step, loss=loss)
        if zero == "middle":
            loop.zero()
        loop.backward()
        if order == "before" and logs:
            loop.log(step, loss=loss)
        if step not in skipped:
            loop.optimizer(step)
        if zero == "end":
            loop.zero()
        if order == "after" and logs:
            loop.log(step, loss=loss)
    loop.numbers.close()
    return loop


@settings(deadline=None, max_examples=300)
@given(
    order=st.sampled_from(["after", "before"]),
    first=st.sampled_from([0, 1, 2, 7]),
    every=st.integers(1, 12),
    phase=st.integers(0, 11),
    zero=st.sampled_from(["top", "middle", "end"]),
    loss=st.booleans(),
)
def test_every_step_has_its_number_in_either_order_and_wherever_counting_and_logging_begin(
    order: str, first: int, every: int, phase: int, zero: str, loss: bool
) -> None:
    # One step from 0 and then a log of 1 looks like a loop that counts from 1 and logs after.
    assume(not (order == "before" and first == 0 and every > 1 and phase % every == 1))
    found = run_loop(order, first=first, every=every, phase=phase, zero=zero, loss=loss).found
    assert found == [(step, step) for step in range(first, LAST)]


@pytest.mark.parametrize("zero", ["top", "middle", "end"])
@pytest.mark.parametrize("every", [1, 10])
def test_a_loss_that_is_logged_before_the_backward_pass_belongs_to_the_step_to_come(zero: str, every: int) -> None:
    found = run_loop("forward", first=0, every=every, zero=zero).found
    assert found == [(step, step) for step in range(LAST)]


@settings(deadline=None)
@given(st.sampled_from(["after", "before"]), st.sampled_from(["top", "middle"]), st.frozensets(st.integers(0, 39)))
def test_steps_that_a_loss_scaler_leaves_out_shift_no_other(order: str, zero: str, skipped: frozenset[int]) -> None:
    found = run_loop(order, first=0, zero=zero, skipped=skipped).found
    assert found == [(step, step) for step in range(LAST) if step not in skipped]


def test_a_resumed_run_goes_on_where_it_stood_or_from_an_older_checkpoint() -> None:
    for first, every, phase in ((20, 1, 0), (20, 10, 9), (10, 10, 0), (10, 1, 0)):
        loop = run_loop("after", first=first, every=every, phase=phase, next_step=20)
        assert loop.found == [(step, step) for step in range(first, LAST)], (first, every, phase)


def test_without_any_log_the_steps_are_counted_and_do_not_wait_for_ever() -> None:
    loop = Loop()
    for step in range(250):
        loop.optimizer(step)
        assert len(loop.found) >= step - step_numbers.MOST_WAITING
    loop.numbers.close()
    assert loop.found == [(step, step) for step in range(250)]


def test_rows_wait_for_the_first_log_for_a_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()
    loop.optimizer(0)
    loop.optimizer(1)
    assert loop.found == []
    monkeypatch.setattr(step_numbers, "LONGEST_WAIT_S", 0.0)
    loop.optimizer(2)
    assert loop.found == [(0, 0), (1, 1)]


def test_a_row_waits_no_longer_than_until_the_next_step() -> None:
    loop = Loop()
    loop.optimizer(0)
    loop.log(0)
    for step in range(1, 5):
        loop.optimizer(step)
        assert loop.found[-1] == (step - 1, step - 1)


@pytest.mark.parametrize("scale", [7, 1024])
def test_numbers_that_rise_by_more_than_one_are_taken_as_they_are_logged(scale: int) -> None:
    for order in ("after", "before"):
        loop = Loop()
        for step in range(10):
            loop.zero()
            loop.backward()
            if order == "before":
                loop.log(scale * step)
            loop.optimizer(step)
            if order == "after":
                loop.log(scale * step)
        loop.numbers.close()
        assert loop.found == [(scale * step, step) for step in range(10)], order


def test_several_optimizer_steps_of_one_logged_step_share_its_number() -> None:
    loop = Loop()
    for step in range(6):
        for _ in range(5):
            loop.zero()
            loop.backward()
            loop.optimizer(step)
        loop.log(step)
    assert loop.found == [(step, step) for step in range(6) for _ in range(5)]


def test_an_evaluation_that_counts_in_its_own_way_shifts_nothing() -> None:
    loop = Loop()
    for step in range(30):
        loop.zero()
        loop.backward()
        loop.optimizer(step)
        if step % 10 == 0:
            loop.log(step)
        if step % 7 == 6:
            loop.log(step // 7, loss=False)
    loop.numbers.close()
    assert loop.found == [(step, step) for step in range(30)]


def test_a_norm_that_is_logged_before_the_step_and_a_loss_after_it_agree() -> None:
    loop = Loop()
    for step in range(10):
        loop.zero()
        loop.backward()
        loop.log(step, loss=False)
        loop.optimizer(step)
        loop.log(step)
    assert loop.found == [(step, step) for step in range(10)]


def test_what_is_logged_before_training_begins_is_no_step() -> None:
    for first in (0, 1):
        loop = Loop()
        loop.log(0, loss=False)
        for step in range(first, 10):
            loop.zero()
            loop.backward()
            loop.optimizer(step)
            loop.log(step)
        assert loop.found == [(step, step) for step in range(first, 10)]

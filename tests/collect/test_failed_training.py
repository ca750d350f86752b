"""Whoever watches a trainer learns that its `train` failed, once, and the user gets the error that was raised."""

import gc
import weakref

import pytest

from barograph.collect.failed_training import watch


class Loop:
    """The least that can be watched; fails if it was told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def train(self, steps: int = 1) -> int:
        """Trains, or fails."""
        if self.error is not None:
            raise self.error
        return steps


class Careful(Loop):
    """Tries once more with what the base class does."""

    def train(self, steps: int = 1) -> int:
        try:
            return super().train(steps)
        except ValueError:
            self.error = None
            return super().train(steps)


class Notes:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def training_failed(self, error: BaseException) -> None:
        self.errors.append(error)


@pytest.mark.parametrize("error", [ValueError("labels"), KeyboardInterrupt(), SystemExit(3)])
def test_an_error_is_told_once_and_raised_as_it_is(error: BaseException) -> None:
    loop, other, notes, others = Loop(error), Loop(ValueError("another's")), Notes(), Notes()
    watch(loop, notes)
    watch(loop, notes)
    watch(other, others)
    for _ in range(2):
        with pytest.raises(type(error)) as raised:
            loop.train()
        assert raised.value is error
    assert notes.errors == [error, error]
    assert others.errors == []


def test_a_trainer_that_nobody_else_holds_can_be_trained() -> None:
    notes = Notes()

    def watched() -> Loop:
        loop = Loop()
        watch(loop, notes)
        return loop

    assert watched().train(7) == 7
    assert notes.errors == []


def test_what_a_subclass_overcomes_is_no_failure() -> None:
    plain, careful, notes = Loop(), Careful(ValueError("too large")), Notes()
    watch(plain, notes)
    watch(careful, notes)
    assert careful.train(5) == 5
    assert notes.errors == []


def test_a_train_of_the_users_on_the_trainer_itself_stays() -> None:
    loop, notes = Loop(ValueError("labels")), Notes()
    original = loop.train
    loop.train = lambda steps=1: original(steps) + 1  # type: ignore[method-assign]  # as users do
    watch(loop, notes)
    with pytest.raises(ValueError, match="labels"):
        loop.train()
    assert len(notes.errors) == 1
    loop.error = None
    assert loop.train(5) == 6
    assert set(vars(loop)) == {"error", "train"}


def test_watching_keeps_neither_alive_and_wraps_a_class_once() -> None:
    loop, notes = Loop(), Notes()
    watch(loop, notes)
    wrapped = vars(Loop)["train"]
    watch(Loop(), notes)
    assert vars(Loop)["train"] is wrapped
    assert (wrapped.__name__, wrapped.__doc__) == ("train", "Trains, or fails.")
    held_loop, held_notes = weakref.ref(loop), weakref.ref(notes)
    gc.disable()
    try:
        del loop, notes
        assert (held_loop(), held_notes()) == (None, None)
    finally:
        gc.enable()

"""What stands in the place of a method hears every call, changes none, and leaves no trace."""

import copy
import gc
import pickle
import weakref
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.stand_in import StandIn


class Loop:
    """The least that can be listened to."""

    def training_step(self, loss: object, *, scale: int = 1) -> object:
        return loss, scale


class Named(Loop):
    """Returns its name with the loss."""

    def __init__(self, name: str) -> None:
        self.name = name

    def training_step(self, loss: object, *, scale: int = 1) -> object:
        return self.name, loss


def own_step(loss: object) -> object:
    """A step that a user put on a trainer."""
    return "own", loss


class Heard:
    """Takes note of calls and their results."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[object, ...], dict[str, object]]] = []
        self.results: list[object] = []
        self.errors: list[str] = []

    def before(self, arguments: tuple[object, ...], named: Mapping[str, object]) -> None:
        self.calls.append((arguments, dict(named)))

    def after(self, result: object) -> None:
        self.results.append(result)

    def failed(self, error: Exception) -> None:
        self.errors.append(str(error))


@given(st.lists(st.tuples(st.integers(), st.integers())))
def test_every_call_is_heard_in_its_order_and_returns_what_it_would(calls: list[tuple[int, int]]) -> None:
    loop, heard = Loop(), Heard()
    StandIn(loop, "training_step", failed=heard.failed, before=heard.before, after=heard.after)
    returned = [loop.training_step(loss, scale=scale) for loss, scale in calls]
    assert returned == calls == heard.results
    assert heard.calls == [((loss,), {"scale": scale}) for loss, scale in calls]


def test_an_error_of_the_method_passes_through() -> None:
    heard = Heard()

    class Broken:
        def train(self) -> None:
            raise ZeroDivisionError("theirs")

    broken = Broken()
    StandIn(broken, "train", failed=heard.failed, after=heard.after)
    with pytest.raises(ZeroDivisionError, match="theirs"):
        broken.train()
    assert heard.results == []


def test_an_error_of_who_listens_is_told_and_the_call_goes_on() -> None:
    loop, heard = Loop(), Heard()

    def fails(*_: object) -> None:
        raise ValueError("ours")

    StandIn(loop, "training_step", failed=heard.failed, before=fails, after=fails)
    assert loop.training_step(2.5, scale=3) == (2.5, 3)
    assert heard.errors == ["ours", "ours"]


def test_who_stops_to_listen_in_a_call_does_not_hear_its_end() -> None:
    loop, heard = Loop(), Heard()
    stand_in = StandIn(
        loop, "training_step", failed=heard.failed, before=lambda *_: stand_in.remove(), after=heard.after
    )
    assert [loop.training_step(2.5), loop.training_step(0.5)] == [(2.5, 1), (0.5, 1)]
    assert heard.results == []


def test_what_was_there_is_put_back() -> None:
    plain, patched = Loop(), Loop()
    patched.training_step = own_step  # type: ignore[method-assign,assignment]  # as users do
    for loop, before in ((plain, {}), (patched, {"training_step": own_step})):
        stand_in = StandIn(loop, "training_step", failed=Heard().failed)
        assert set(vars(loop)) == {"training_step"}
        stand_in.remove()
        assert vars(loop) == before


def test_an_object_is_freed_at_once_while_it_is_listened_to() -> None:
    loop = Loop()
    stand_in = StandIn(loop, "training_step", failed=Heard().failed)
    watched = weakref.ref(loop)
    gc.disable()
    try:
        del loop
        assert watched() is None
    finally:
        gc.enable()
    stand_in.remove()
    with pytest.raises(ReferenceError, match="training_step was called after its owner had been freed"):
        stand_in(1.5)


@pytest.mark.parametrize("patched", [False, True])
def test_a_copy_has_its_own_method_and_is_not_heard(*, patched: bool) -> None:
    loop, heard = Named("original"), Heard()
    if patched:
        loop.training_step = own_step  # type: ignore[method-assign,assignment]  # as users do
    stand_in = StandIn(loop, "training_step", failed=heard.failed, after=heard.after)
    for copied in (copy.deepcopy(loop), pickle.loads(pickle.dumps(loop))):
        copied.name = "copy"
        assert copied.training_step(0.5) == ("own" if patched else "copy", 0.5)
        assert heard.results == []
    stand_in.remove()


def test_a_wrap_over_ours_stays_and_ours_only_passes_through() -> None:
    loop, heard = Loop(), Heard()
    stand_in = StandIn(loop, "training_step", failed=heard.failed, after=heard.after)
    inner = loop.training_step

    def outer(loss: object) -> object:
        return inner(loss)

    loop.training_step = outer  # type: ignore[method-assign,assignment]  # as users do
    stand_in.remove()
    assert loop.training_step is outer
    assert loop.training_step(1.5) == (1.5, 1)
    assert heard.results == []

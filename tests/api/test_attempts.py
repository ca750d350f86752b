"""The limit on wrong tokens: per address, for a minute, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from barograph.api.attempts import ALLOWED, WINDOW, WrongTokens


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=60).map(sorted))
def test_no_window_takes_more_than_the_allowed_number(asked: list[float]) -> None:
    wrong = WrongTokens()
    taken: list[float] = []
    for now in asked:
        if wrong.seconds_to_wait("a", now=now) == 0.0:
            wrong.update("a", now=now)
            taken.append(now)
    began: float | None = None
    count = 0
    for now in taken:
        if began is None or now - began >= WINDOW:
            began, count = now, 0
        count += 1
        assert count <= ALLOWED


def test_whoever_waits_may_try_again() -> None:
    wrong = WrongTokens()
    for _ in range(ALLOWED):
        assert wrong.seconds_to_wait("a", now=5.0) == 0.0
        wrong.update("a", now=5.0)
    assert wrong.seconds_to_wait("a", now=6.0) == WINDOW - 1.0
    assert wrong.seconds_to_wait("a", now=5.0 + WINDOW) == 0.0
    wrong.update("a", now=5.0 + WINDOW)
    assert wrong.seconds_to_wait("a", now=5.0 + WINDOW) == 0.0, "a new window has begun"


def test_one_address_does_not_lock_out_another() -> None:
    wrong = WrongTokens()
    for _ in range(ALLOWED + 5):
        wrong.update("a", now=0.0)
    assert wrong.seconds_to_wait("b", now=0.0) == 0.0


def test_many_addresses_do_not_fill_the_memory() -> None:
    wrong = WrongTokens()
    for number in range(20_000):
        wrong.update(str(number), now=0.0)
    assert len(wrong._seen) <= 4096

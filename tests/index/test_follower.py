"""How soon the indexing thread looks again."""

from hypothesis import given
from hypothesis import strategies as st

from barograph.index.follower import LONGEST_PAUSE_S, pause_after

SECONDS = st.floats(0.0, 1e6)
EVERY_S = st.floats(0.001, LONGEST_PAUSE_S)


@given(SECONDS, EVERY_S, st.booleans())
def test_however_long_a_scan_took_the_next_one_comes_within_a_second(took_s: float, every_s: float, news: bool) -> None:
    assert every_s <= pause_after(took_s, every_s=every_s, news=news) <= LONGEST_PAUSE_S == 1.0


@given(SECONDS, EVERY_S)
def test_a_scan_that_found_news_does_not_slow_the_next_one_down(took_s: float, every_s: float) -> None:
    assert pause_after(took_s, every_s=every_s, news=True) == every_s


def test_an_idle_root_that_takes_long_to_look_at_is_looked_at_less_often() -> None:
    assert pause_after(0.05, every_s=0.25, news=False) == 0.5


def test_who_asks_for_longer_pauses_gets_them() -> None:
    assert pause_after(9.0, every_s=5.0, news=False) == 5.0

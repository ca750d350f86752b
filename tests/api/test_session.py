"""The session cookie: good for its time under its token, and for nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from barograph.api.session import LIFETIME, cookie_value, issue_session, session_is_valid
from barograph.api.token import Token

TOKEN = Token("t" * 43)
times = st.floats(min_value=0, max_value=4e9)


@given(times, st.floats(min_value=0, max_value=LIFETIME - 1))
def test_a_session_is_good_until_it_ends(now: float, later: float) -> None:
    cookie = issue_session(TOKEN, now=now)
    assert session_is_valid(TOKEN, cookie, now=now + later)
    assert not session_is_valid(TOKEN, cookie, now=now + LIFETIME)


@given(times, st.text(min_size=1))
def test_a_session_ends_with_its_token(now: float, other: str) -> None:
    cookie = issue_session(TOKEN, now=now)
    assert not session_is_valid(Token(TOKEN.value + "x"), cookie, now=now)


@given(times, st.data())
def test_no_changed_cookie_is_valid(now: float, data: st.DataObject) -> None:
    cookie = issue_session(TOKEN, now=now)
    at = data.draw(st.integers(0, len(cookie) - 1))
    put = data.draw(st.sampled_from("0123456789abcdefABCDEF.-+ "))
    changed = cookie[:at] + put + cookie[at + 1 :]
    assert session_is_valid(TOKEN, changed, now=now) == (changed == cookie)


@given(st.text(), times)
def test_no_text_is_a_session(text: str, now: float) -> None:
    assert not session_is_valid(TOKEN, text, now=now)


def test_the_cookie_does_not_hold_the_token() -> None:
    assert TOKEN.value not in issue_session(TOKEN, now=0.0)


def test_a_cookie_is_found_by_its_whole_name() -> None:
    header = "other=1; barograph-8080x=2; barograph-8080=3; barograph-8080=4"
    assert cookie_value(header, "barograph-8080") == "3"
    assert cookie_value(header, "barograph") is None
    assert cookie_value("", "barograph") is None
    assert cookie_value("barograph", "barograph") is None

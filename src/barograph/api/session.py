"""The cookie that a browser holds after it showed the token once.

The cookie is `<expiry>.<signature>`, not the token: cookies go to every port of a host, so another server on the same
machine may see it. It ends by itself, it ends when the token is replaced, and the server keeps no list.
"""

import re

from barograph.api.token import Token

LIFETIME = 7 * 24 * 3600
"""Seconds that a sign-in lasts."""
_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")


def issue_session(token: Token, *, now: float) -> str:
    """A cookie value that is good for `LIFETIME` seconds from `now` (seconds since 1970)."""
    expiry = int(now) + LIFETIME
    return f"{expiry}.{token.sign(f'session {expiry}')}"


def session_is_valid(token: Token, cookie: str, *, now: float) -> bool:
    """Whether `cookie` was issued under this token and has not ended."""
    parts = _COOKIE.fullmatch(cookie)
    if parts is None or int(parts[1]) <= now:
        return False
    return Token(token.sign(f"session {parts[1]}")).matches(parts[2])


def cookie_value(header: str, name: str) -> str | None:
    """The value of cookie `name` in a `Cookie` header, or None. The first one counts."""
    for part in header.split(";"):
        key, separator, value = part.strip().partition("=")
        if separator and key == name:
            return value
    return None

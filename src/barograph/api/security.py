"""Who may come in: the rules that every request must pass, whatever its route or method. `edge` applies them.

The threat: any page that is open in the operator's browser can send requests to this machine, and a name that such a
page controls can be made to point here (DNS rebinding). So, in this order, for every request:

1. `Host` must be a name of ours: a loopback name, the very address that the connection came to, or an `--allowed-host`.
   Any port will do: a port says nothing about who asks, and `ssh -L 9000:localhost:8080` makes it another one.
2. A page of another origin may neither read nor write (`Sec-Fetch-Site`); only the pages themselves may be linked to.
3. A method that is not GET or HEAD needs an `Origin` that is this very server, if a browser sent it.
4. Sizes are bounded.
5. Beyond loopback the token is required everywhere but at `/healthz` and `POST /api/login`.

What is not listed here is refused: rules 1 to 4 know no exempt route and no exempt method.
"""

import ipaddress
import re
from collections.abc import Iterable

from litestar.types import HTTPScope
from msgspec import Struct

from barograph.api.attempts import WrongTokens
from barograph.api.session import cookie_value, session_is_valid
from barograph.api.token import Token

LARGEST_BODY = 8192
"""Bytes; the only body is that of the sign-in form."""
_LONGEST_PATH = 1024
_LONGEST_QUERY = 8192
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9.-]{1,253}))(?::[0-9]{1,5})?")
_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="barograph"'),)


class Access(Struct, frozen=True, kw_only=True):
    """Who may come in."""

    allowed_hosts: frozenset[str] = frozenset()
    """Names, lower case and without port, that `Host` may have besides the loopback names."""
    token: Token | None = None
    """The secret that is required; None where only this machine can connect."""
    cookie: str = "barograph"
    """Name of the session cookie; it differs per port, because cookies do not."""


class Head(Struct, frozen=True, kw_only=True):
    """What a request says about itself, as far as it is judged."""

    method: str
    """GET, POST, ..."""
    path: str
    """Decoded path."""
    query_length: int = 0
    """Bytes."""
    hosts: tuple[str, ...] = ()
    """Every `Host` header."""
    origins: tuple[str, ...] = ()
    """Every `Origin` header."""
    fetch_sites: tuple[str, ...] = ()
    """Every `Sec-Fetch-Site` header."""
    authorizations: tuple[str, ...] = ()
    """Every `Authorization` header."""
    cookies: tuple[str, ...] = ()
    """Every `Cookie` header."""
    body_length: int = 0
    """The `Content-Length`; one more than the limit where it is no number."""
    arrived_at: str | None = None
    """The address of ours that the connection came to."""
    came_from: str = "unknown"
    """The address that the connection came from, as the socket says; forwarding headers are not believed."""
    wants_html: bool = False
    """Whether `Accept` names HTML."""


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a request goes no further."""

    status: int
    """HTTP status."""
    error: str
    """One sentence."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers that this status asks for."""


def forged_or_oversized(head: Head, allowed_hosts: frozenset[str]) -> Refusal | None:
    """Rules 1 to 4: the reason to refuse, or None."""
    if len(head.hosts) != 1 or not host_is_ours(head.hosts[0], allowed_hosts, arrived_at=head.arrived_at):
        return Refusal(
            status=421,
            error="This server does not answer to that Host; if the name is yours, start it with --allowed-host NAME.",
        )
    writes = head.method not in ("GET", "HEAD")
    linkable = head.path in ("/", "/healthz") or head.path.startswith("/assets/")
    if (writes or not linkable) and any(site not in ("same-origin", "none") for site in head.fetch_sites):
        return Refusal(status=403, error="Pages of other origins may not use this server.")
    if writes and any(not _is_own_origin(origin, head.hosts[0]) for origin in head.origins):
        return Refusal(status=403, error="The Origin of this request is not this server.")
    if len(head.path) > _LONGEST_PATH or head.query_length > _LONGEST_QUERY:
        return Refusal(status=414, error=f"The address is too long; a query has at most {_LONGEST_QUERY} bytes.")
    if head.body_length > LARGEST_BODY:
        return body_too_large()
    return None


def without_token(head: Head, access: Access, wrong_tokens: WrongTokens, *, now: float, clock: float) -> Refusal | None:
    """Rule 5: the reason to refuse, or None. Notes a wrong token.

    `now` is the wall clock in seconds since 1970, by which sessions end; `clock` is monotonic.
    """
    token = access.token
    if token is None or head.path == "/healthz" or (head.method, head.path) == ("POST", "/api/login"):
        return None
    # A proxy in front may use `Authorization: Basic` for itself; that is no token of ours, right or wrong.
    bearers = [value for value in head.authorizations if value[:7].lower() == "bearer "]
    if bearers:
        wait = wrong_tokens.seconds_to_wait(head.came_from, now=clock)
        if wait > 0:
            return too_many_wrong_tokens(wait)
        if len(bearers) == 1 and token.matches(bearers[0][7:].strip()):
            return None
        wrong_tokens.update(head.came_from, now=clock)
        return wrong_token()
    sessions = (cookie_value(header, access.cookie) for header in head.cookies)
    if any(value is not None and session_is_valid(token, value, now=now) for value in sessions):
        return None
    return Refusal(
        status=401,
        error="This server asks for its token: sign in at / or send `Authorization: Bearer TOKEN`.",
        headers=_CHALLENGE,
    )


def wrong_token() -> Refusal:
    """The refusal of a token that is not ours."""
    return Refusal(
        status=401,
        error="That is not the token of this server; `barograph token` prints it on the machine that serves.",
        headers=_CHALLENGE,
    )


def too_many_wrong_tokens(wait: float) -> Refusal:
    """The refusal of an address that showed too many wrong tokens; `wait` in seconds."""
    seconds = max(1, round(wait))
    return Refusal(
        status=429,
        error=f"Too many wrong tokens from this address; try again in {seconds} s.",
        headers=(("Retry-After", str(seconds)),),
    )


def body_too_large() -> Refusal:
    """The refusal of a body over the limit; the rest of it is not read."""
    return Refusal(
        status=413, error=f"The body is larger than {LARGEST_BODY} bytes.", headers=(("Connection", "close"),)
    )


def host_is_ours(host: str, allowed: frozenset[str], *, arrived_at: str | None) -> bool:
    """Whether a `Host` header names this server.

    An address literal cannot be rebound by DNS, so loopback addresses and the address that the connection came to
    are ours; every other name must be in `allowed`.
    """
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    name = (parts["six"] or parts["name"]).lower().removesuffix(".")
    if name == "localhost" or name in allowed:
        return True
    try:
        address = ipaddress.ip_address(name)
        return address.is_loopback or (arrived_at is not None and address == _address(arrived_at))
    except ValueError:
        return False


def read_head(scope: HTTPScope) -> Head:
    """The judged parts of an ASGI scope."""
    fields: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        fields.setdefault(name.lower(), []).append(value.decode("latin-1"))

    def every(name: bytes) -> tuple[str, ...]:
        return tuple(fields.get(name, ()))

    server = scope.get("server")
    client = scope.get("client")
    return Head(
        method=str(scope["method"]),
        path=scope["path"],
        query_length=len(scope["query_string"]),
        hosts=every(b"host"),
        origins=every(b"origin"),
        fetch_sites=every(b"sec-fetch-site"),
        authorizations=every(b"authorization"),
        cookies=every(b"cookie"),
        body_length=_body_length(every(b"content-length")),
        arrived_at=server[0] if server else None,
        came_from=client[0] if client else "unknown",
        wants_html=any("text/html" in value for value in every(b"accept")),
    )


def _is_own_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` is `host` over either scheme (a proxy may add TLS). `null` is nobody's."""
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of a socket; one that takes both families names IPv4 peers as `::ffff:192.0.2.1`."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _body_length(lengths: Iterable[str]) -> int:
    return max((int(said) if said.isdecimal() and len(said) < 16 else LARGEST_BODY + 1 for said in lengths), default=0)

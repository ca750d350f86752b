"""The rules as a pure function: what each refuses, whatever the route and the method."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.api.attempts import ALLOWED, WrongTokens
from barograph.api.security import Access, Head, Refusal, forged_or_oversized, host_is_ours, without_token
from barograph.api.session import issue_session
from barograph.api.token import Token

NOBODY: frozenset[str] = frozenset()
OURS = ("127.0.0.1:8080", "localhost:8080", "LOCALHOST", "localhost.:9000", "[::1]:8080", "127.8.8.8", "127.0.0.1")
FORGED = (
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example:8080",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io:8080",
    "localhost@evil.example",
    "evil.example#localhost",
    "evil.example/localhost",
    "localhost:8080:80",
    "localhost:port",
    "local\thost",
    " localhost",
    "localhost ",
    "localhost,evil.example",
    "192.168.1.5:8080",
    "10.0.0.1",
    "0.0.0.0:8080",
    "[::]:8080",
    "[::ffff:10.0.0.1]",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "::1",
    "[localhost]",
    "lоcalhost",  # a Cyrillic o
    "",
    ":8080",
    "*",
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FROB")
PATHS = ("/", "/healthz", "/assets/a.js", "/api/runs", "/api/login", "/api/status/live", "/nope", "")
methods = st.sampled_from(METHODS)
writes = methods.filter(lambda method: method not in ("GET", "HEAD"))
paths = st.sampled_from(PATHS)
TOKEN = Token("t" * 43)
ACCESS = Access(token=TOKEN, cookie="barograph-8080")


def head(method: str = "GET", path: str = "/api/runs", **fields: object) -> Head:
    return msgspec.convert({"hosts": ("localhost:8080",), **fields, "method": method, "path": path}, Head)


def status(refused: Refusal | None) -> int | None:
    return None if refused is None else refused.status


@pytest.mark.parametrize("host", OURS)
def test_loopback_names_are_ours_on_any_port(host: str) -> None:
    assert host_is_ours(host, NOBODY, arrived_at="127.0.0.1")


@pytest.mark.parametrize("host", FORGED)
def test_a_host_that_is_not_ours_is_refused_on_every_route_and_method(host: str) -> None:
    for method in METHODS:
        for path in PATHS:
            asked = head(method, path, hosts=(host,), arrived_at="127.0.0.1")
            assert status(forged_or_oversized(asked, NOBODY)) == 421


@given(
    method=methods, path=paths, hosts=st.sampled_from([(), ("localhost", "localhost"), ("localhost", "evil.example")])
)
def test_no_host_and_two_hosts_are_refused(method: str, path: str, hosts: tuple[str, ...]) -> None:
    assert status(forged_or_oversized(head(method, path, hosts=hosts), NOBODY)) == 421


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_passes_for_a_host_unless_it_is_one_of_ours(text: str, port: str) -> None:
    if host_is_ours(text, NOBODY, arrived_at=None):
        name = (
            text.lower().partition("]")[0] if text.startswith("[") else text.lower().rpartition(":")[0] or text.lower()
        )
        assert name.startswith(("localhost", "127.", "[::1", "[0"))


def test_an_allowed_name_is_ours_and_no_other_is() -> None:
    allowed = frozenset({"dash.example.org"})
    assert host_is_ours("dash.example.org", allowed, arrived_at=None)
    assert host_is_ours("DASH.example.org:443", allowed, arrived_at=None)
    assert not host_is_ours("evil.dash.example.org", allowed, arrived_at=None)
    assert not host_is_ours("example.org", allowed, arrived_at=None)


def test_the_address_that_the_connection_came_to_is_ours() -> None:
    assert host_is_ours("192.168.1.5:8080", NOBODY, arrived_at="192.168.1.5")
    assert host_is_ours("192.168.1.5", NOBODY, arrived_at="::ffff:192.168.1.5")
    assert host_is_ours("[fe80::1]:8080", NOBODY, arrived_at="fe80::1%eth0")
    assert not host_is_ours("192.168.1.6:8080", NOBODY, arrived_at="192.168.1.5")
    assert not host_is_ours("evil.example", NOBODY, arrived_at="evil.example")


@given(method=methods, site=st.sampled_from(["cross-site", "same-site", "", "CROSS-SITE", "same-origin, cross-site"]))
def test_pages_of_other_origins_get_nothing_from_the_api(method: str, site: str) -> None:
    for path in ("/api/runs", "/api/login", "/api/openapi.json", "/api", "/nope", "/status/training_status.json"):
        assert status(forged_or_oversized(head(method, path, fetch_sites=(site,)), NOBODY)) == 403


@given(method=writes, path=paths)
def test_pages_of_other_origins_may_write_nowhere(method: str, path: str) -> None:
    assert status(forged_or_oversized(head(method, path, fetch_sites=("cross-site",)), NOBODY)) == 403


def test_a_link_from_elsewhere_to_the_page_works() -> None:
    for path in ("/", "/assets/index-12345678.js"):
        assert forged_or_oversized(head("GET", path, fetch_sites=("cross-site",)), NOBODY) is None


@given(
    method=writes,
    path=paths,
    origin=st.sampled_from(
        (
            "http://evil.example",
            "null",
            "",
            "http://localhost",
            "http://localhost:8081",
            "http://localhost:8080.evil",
            "https://127.0.0.1:8080",
            "file://",
            "http://localhost:8080/",
            "http://evil@localhost:8080",
        )
    ),
)
def test_a_write_from_another_origin_is_refused(method: str, path: str, origin: str) -> None:
    assert status(forged_or_oversized(head(method, path, origins=(origin,)), NOBODY)) == 403
    assert status(forged_or_oversized(head(method, path, origins=("http://localhost:8080", origin)), NOBODY)) == 403


def test_host_and_origin_of_one_attacker_do_not_vouch_for_each_other() -> None:
    asked = head("POST", "/api/login", hosts=("evil.example",), origins=("http://evil.example",))
    assert status(forged_or_oversized(asked, NOBODY)) == 421


@given(method=methods, path=paths)
def test_what_our_own_page_sends_passes(method: str, path: str) -> None:
    asked = head(method, path, origins=("http://localhost:8080",), fetch_sites=("same-origin",))
    assert forged_or_oversized(asked, NOBODY) is None
    assert forged_or_oversized(head(method, path), NOBODY) is None, "and so does a program without such headers"


def test_sizes_are_bounded() -> None:
    assert status(forged_or_oversized(head(query_length=8193), NOBODY)) == 414
    assert forged_or_oversized(head(query_length=8192), NOBODY) is None
    assert status(forged_or_oversized(head(path="/" + "a" * 1024), NOBODY)) == 414
    assert status(forged_or_oversized(head("POST", body_length=8193), NOBODY)) == 413


@given(method=methods, path=paths)
def test_without_the_token_only_health_and_the_form_are_open(method: str, path: str) -> None:
    refused = without_token(head(method, path), ACCESS, WrongTokens(), now=0.0, clock=0.0)
    is_open = path == "/healthz" or (method, path) == ("POST", "/api/login")
    assert status(refused) == (None if is_open else 401)


@given(method=methods, path=paths, bearer=st.text(max_size=60).filter(lambda text: text.strip() != TOKEN.value))
def test_a_wrong_token_opens_nothing(method: str, path: str, bearer: str) -> None:
    asked = head(method, path, authorizations=(f"Bearer {bearer}",))
    refused = without_token(asked, ACCESS, WrongTokens(), now=0.0, clock=0.0)
    assert refused is None or TOKEN.value not in refused.error
    assert status(refused) in (401, None)
    assert refused is not None or path == "/healthz" or path == "/api/login"


@given(method=methods, path=paths)
def test_the_token_or_a_session_opens_every_route(method: str, path: str) -> None:
    session = issue_session(TOKEN, now=100.0)
    for fields in (
        {"authorizations": (f"Bearer {TOKEN.value}",)},
        {"authorizations": (f"bearer  {TOKEN.value} ",)},
        {"cookies": (f"a=b; barograph-8080={session}",)},
        {"authorizations": ("Basic YTpi",), "cookies": (f"barograph-8080={session}",)},
    ):
        assert without_token(head(method, path, **fields), ACCESS, WrongTokens(), now=100.0, clock=0.0) is None


def test_two_tokens_in_one_request_are_refused() -> None:
    asked = head(authorizations=(f"Bearer {TOKEN.value}", f"Bearer {TOKEN.value}"))
    assert status(without_token(asked, ACCESS, WrongTokens(), now=0.0, clock=0.0)) == 401


def test_the_token_in_the_cookie_or_under_another_name_opens_nothing() -> None:
    session = issue_session(TOKEN, now=0.0)
    for cookie in (f"barograph-8080={TOKEN.value}", f"barograph-9090={session}", f"xbarograph-8080={session}"):
        assert status(without_token(head(cookies=(cookie,)), ACCESS, WrongTokens(), now=0.0, clock=0.0)) == 401


def test_a_guesser_has_to_wait_even_with_the_right_token() -> None:
    wrong = WrongTokens()
    guess = head(authorizations=("Bearer no",), came_from="192.0.2.1")
    for _ in range(ALLOWED):
        assert status(without_token(guess, ACCESS, wrong, now=0.0, clock=0.0)) == 401
    right = head(authorizations=(f"Bearer {TOKEN.value}",), came_from="192.0.2.1")
    refused = without_token(right, ACCESS, wrong, now=0.0, clock=0.0)
    assert refused is not None
    assert refused.status == 429
    assert ("Retry-After", "60") in refused.headers
    assert without_token(right, ACCESS, wrong, now=0.0, clock=61.0) is None


def test_an_access_does_not_print_its_token() -> None:
    assert TOKEN.value not in repr(ACCESS)

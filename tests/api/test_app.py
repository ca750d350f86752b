"""Every route of the router table with every method: forged, unauthorised, hostile and harmless requests."""

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from httpx import Response
from litestar import Litestar, get
from litestar.testing import TestClient

from barograph.api.app import create_app
from barograph.api.attempts import WrongTokens
from barograph.api.edge import Edge
from barograph.api.problems import answer_exception
from barograph.api.security import Access
from barograph.api.token import Token
from barograph.views.documents import Problem

Client = TestClient[Edge]
TOKEN = "the-secret-canary-0123456789-abcdefghijklmnop"
ENDLESS = "/api/events"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB")
PARAMETERS = {"run": "alpha", "alert": "a1", "name": "index-12345678.js", "checkpoint": "newest"}
HEADERS = {
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "cache-control",
}


@functools.cache
def every_path() -> list[str]:
    """One address for each route of the router table, and one that is no route."""
    paths = []
    for route in create_app(Path("nowhere")).routes.routes:
        path = route.path_format
        for name, value in PARAMETERS.items():
            path = path.replace("{" + name + "}", value)
        assert "{" not in path, f"give a value for the parameter of {path}"
        paths.append(path)
    return [*paths, "/nothing/of/that/name"]


def every_request(client: Client, let_in: bool = True, /, **headers: str) -> Iterator[tuple[str, str, Response]]:
    """The answers to all; that of an event stream has no end where it is `let_in`, and `test_events.py` has it."""
    for path in every_path():
        for method in METHODS:
            if not (let_in and (method, path) == ("GET", ENDLESS)):
                yield method, path, client.request(method, path, headers=headers, follow_redirects=False)


@pytest.fixture
def guarded(root: Path, open_client: Callable[..., Client]) -> Client:
    """A client, without the token, of an application that asks for one."""
    return open_client(root, access=Access(token=Token(TOKEN), cookie="barograph-8080"))


def test_the_router_table_is_the_one_that_is_documented() -> None:
    assert sorted(set(every_path())) == [
        "/",
        "/api/alerts",
        "/api/alerts/a1/acknowledge",
        "/api/checkpoints",
        "/api/checkpoints/newest",
        "/api/checkpoints/newest/tensors",
        "/api/events",
        "/api/export",
        "/api/layers",
        "/api/login",
        "/api/openapi.json",
        "/api/runs",
        "/api/runs/alpha",
        "/api/series",
        "/api/signals",
        "/api/status/live",
        "/api/status/system",
        "/api/throughput/samples",
        "/api/unified",
        "/api/verdicts",
        "/assets/index-12345678.js",
        "/healthz",
        "/metrics",
        "/nothing/of/that/name",
        "/status/index-12345678.js",
    ]


def test_a_forged_host_is_refused_everywhere(client: Client) -> None:
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1:8080"):
        for method, path, answer in every_request(client, False, Host=host, Origin=f"http://{host}"):
            assert answer.status_code == 421, (method, path, host)


def test_a_cross_site_page_gets_only_pages(client: Client) -> None:
    for method, path, answer in every_request(client, False, **{"Sec-Fetch-Site": "cross-site"}):
        is_page = path in ("/", "/healthz") or path.startswith("/assets/")
        if not (is_page and method in ("GET", "HEAD")):
            assert answer.status_code == 403, (method, path)


def test_a_forged_origin_writes_nowhere(client: Client) -> None:
    for method, path, answer in every_request(client, Origin="http://evil.example"):
        if method not in ("GET", "HEAD"):
            assert answer.status_code == 403, (method, path)


def test_without_the_token_nothing_is_served_but_health(guarded: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "barograph-8080=9999999999." + "0" * 64}):
        for method, path, answer in every_request(guarded, False, **headers):
            if path == "/healthz" or (method, path) == ("POST", "/api/login"):
                assert answer.status_code in (200, 204, 400, 405), (method, path)
            else:
                assert answer.status_code in (401, 429), (method, path, headers)
            if "Authorization" not in headers:
                assert answer.status_code != 429


def test_with_the_token_everything_is_served(guarded: Client) -> None:
    for method, path, answer in every_request(guarded, Authorization=f"Bearer {TOKEN}"):
        assert answer.status_code not in (401, 403, 421, 429), (method, path)


def test_every_answer_carries_the_protecting_headers(client: Client, guarded: Client) -> None:
    forged = [{}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}]
    for one in (client, guarded):
        for headers in forged:
            for method, path, answer in every_request(one, **headers):
                assert set(answer.headers) >= HEADERS, (method, path, HEADERS - set(answer.headers))
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
                assert not any(name.startswith("access-control-") for name in answer.headers), (method, path)
                assert len(answer.headers.get_list("content-type")) <= 1


def test_a_refusal_is_a_document_with_one_sentence(client: Client, guarded: Client) -> None:
    for one in (client, guarded):
        for method, path, answer in every_request(one, Origin="http://evil.example"):
            if answer.status_code >= 400 and method != "HEAD":
                problem = msgspec.json.decode(answer.content, type=Problem)
                assert answer.headers["content-type"] == "application/json", (method, path)
                assert problem.status == answer.status_code
                assert problem.error.endswith(".")
                assert "Traceback" not in problem.error


def test_head_is_get_without_the_body(client: Client) -> None:
    for path in every_path():
        if path == ENDLESS:
            continue
        got, head = client.get(path), client.head(path)
        assert head.status_code == got.status_code, path
        assert head.content == b""
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.headers.get("etag") == got.headers.get("etag")


def files_under(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below `root`, the index left out: its owner writes it by itself."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in root.rglob("*")
        if ".barograph" not in path.parts
    }


def test_no_request_changes_a_file(open_client: Callable[..., Client], root: Path) -> None:
    client = open_client(root)
    before = files_under(root.parent)
    for _ in every_request(client):
        pass
    assert files_under(root.parent) == before


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b"x" * 8193, 413),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"x" * 5_000_000, 413),
        ({"Content-Length": "many"}, b"", 413),
    ],
)
def test_a_large_body_is_refused(guarded: Client, headers: dict[str, str], content: bytes, status: int) -> None:
    assert guarded.post("/api/login", headers=headers, content=content).status_code == status


def test_a_large_body_without_a_length_is_refused(guarded: Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    assert guarded.post("/api/login", content=endless()).status_code == 413


def test_a_long_address_is_refused(client: Client) -> None:
    assert client.get("/api/runs?" + "a" * 8193).status_code == 414
    assert client.get("/" + "a" * 2000).status_code == 414


def test_signing_in_gives_a_session_that_opens_the_api(guarded: Client) -> None:
    page = guarded.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert 'action="api/login"' in page.text
    assert "<script" not in page.text
    assert page.headers["referrer-policy"] == "same-origin", "else the browser sends the form with `Origin: null`"
    answer = guarded.post(
        "/api/login", data={"token": TOKEN}, headers={"Origin": "http://127.0.0.1:8080"}, follow_redirects=False
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "../"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("barograph-8080=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert TOKEN not in str(answer.headers)
    assert guarded.get("/api/runs").status_code == 200
    assert guarded.get("/").status_code == 200


def test_behind_tls_the_cookie_is_secure(root: Path, open_client: Callable[..., Client]) -> None:
    access = Access(token=Token(TOKEN), allowed_hosts=frozenset({"dash.example.org"}))
    answer = open_client(root, access=access).post(
        "/api/login",
        data={"token": TOKEN},
        headers={"Host": "dash.example.org", "Origin": "https://dash.example.org"},
        follow_redirects=False,
    )
    assert answer.status_code == 303
    assert "Secure" in answer.headers["set-cookie"]


def test_a_wrong_token_gets_the_form_again_and_then_has_to_wait(guarded: Client) -> None:
    for _ in range(10):
        answer = guarded.post("/api/login", data={"token": "<b>wrong</b>"}, headers={"Accept": "text/html"})
        assert answer.status_code == 401
        assert 'action="login"' in answer.text
        assert "<b>" not in answer.text
        assert "set-cookie" not in answer.headers
    answer = guarded.post("/api/login", data={"token": TOKEN})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) <= 60


def test_a_broken_form_is_no_500(guarded: Client) -> None:
    for content in (b"", b"token=", b"token", b"token=%ff%00&token=b", b"\xff\xfe", b"token=" + b"x" * 600):
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "x"):
            answer = guarded.post("/api/login", content=content, headers={"Content-Type": kind})
            assert answer.status_code in (400, 401), (content, kind)


def test_no_cookie_is_set_where_no_token_is_asked_for(client: Client) -> None:
    answer = client.post("/api/login", data={"token": "x"})
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


def test_the_token_is_in_no_answer_and_no_log(guarded: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"}, {"X-Token": TOKEN}):
        for path in (
            *(set(every_path()) - {ENDLESS}),
            f"/api/runs/{TOKEN}",
            f"/api/series?run={TOKEN}&name=x&buckets={TOKEN}",
        ):
            answer = guarded.get(path, headers=headers)
            if TOKEN not in path:
                seen.append(f"{answer.headers} {answer.text}")
    seen.append(str(guarded.post("/api/login", data={"token": TOKEN}, follow_redirects=False).headers))
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("barograph", "uvicorn", "litestar"))
    ]
    assert TOKEN not in "\n".join([*seen, *ours])


@pytest.mark.parametrize("access", [Access(), Access(token=Token(TOKEN))])
def test_a_failure_of_ours_is_a_500_without_a_traceback(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    @get("/api/boom", sync_to_thread=False)
    def boom() -> bytes:
        secret = TOKEN
        raise RuntimeError(f"<script>alert({len(secret)})</script>")

    routes = Litestar(
        [boom], exception_handlers={Exception: answer_exception}, logging_config=None, openapi_config=None
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with TestClient(
        Edge(routes, access, wrong_tokens=WrongTokens()), "http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        answer = client.get("/api/boom?secret=1", headers=headers)
    assert answer.status_code == 500
    assert set(answer.headers) >= HEADERS
    assert answer.json() == {"error": "The server failed on this request; its log says why.", "status": 500}
    assert "RuntimeError" in caplog.text, "the operator does see it"
    assert TOKEN not in caplog.text


def test_web_sockets_are_not_served(client: Client) -> None:
    for path in ("/", "/api/runs"):
        answer = client.get(path, headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x"})
        assert answer.status_code == 200

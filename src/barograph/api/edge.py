"""The outermost layer: asks `security` about every request, and puts the protecting headers on every answer.

It stands in front of the router, so answers to unknown routes, wrong methods and failures pass through it as well.
"""

import asyncio
import contextlib
import time
from typing import cast

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import (
    HTTPReceiveMessage,
    HTTPScope,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)

from barograph.api.attempts import WrongTokens
from barograph.api.pages import POLICY, sign_in_page
from barograph.api.problems import problem_body
from barograph.api.security import (
    LARGEST_BODY,
    Access,
    Head,
    Refusal,
    body_too_large,
    forged_or_oversized,
    read_head,
    without_token,
)

_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": POLICY.encode(),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
"""Headers of every answer; a page of ours may say otherwise for itself."""
_BODY_SECONDS = 10.0
_AT_ONCE = 128
_TOO_MANY = Refusal(status=503, error="Too many requests at a time.", headers=(("Retry-After", "1"),))
_REFUSED_S = 0.25
"""How long an answer is held back that says to come again later: who asks at once again would keep the server busy with
refusals alone. It takes no place meanwhile."""


class Edge:
    """The ASGI application in front of the routes."""

    def __init__(self, routes: Litestar, access: Access, *, wrong_tokens: WrongTokens) -> None:
        self.routes = routes
        """The application behind the edge."""
        self._access = access
        self._wrong_tokens = wrong_tokens
        self._at_once = 0

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Serve one connection; there are no web sockets here, and uvicorn is told so."""
        if scope["type"] == ScopeType.HTTP:
            # The three arguments of ASGI are of one kind; their types do not say so.
            await self._serve(cast("HTTPScope", scope), cast("Receive", receive), cast("Send", send))
        elif scope["type"] == "lifespan":
            await self.routes(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        head = read_head(scope)
        answer = _with_headers(send, without_body=head.method == "HEAD")
        refused = forged_or_oversized(head, self._access.allowed_hosts) or without_token(
            head, self._access, self._wrong_tokens, now=time.time(), clock=time.monotonic()
        )
        if refused is not None:
            await _refuse(answer, head, refused)
            return
        if head.method == "HEAD":
            # A HEAD is a GET whose body is not sent: one rule here instead of a second method on every route.
            scope = scope.copy()
            scope["method"] = "GET"
        elif head.method != "GET":
            # Before it takes a place among the requests: whoever sends slowly keeps nobody out.
            body = await _read_body(receive)
            if isinstance(body, Refusal):
                await _refuse(answer, head, body)
                return
            receive = _replay(body, receive)
        await self._let_through(scope, head, receive, answer)

    async def _let_through(self, scope: HTTPScope, head: Head, receive: Receive, answer: Send) -> None:
        if self._at_once >= _AT_ONCE:
            await asyncio.sleep(_REFUSED_S)
            await _refuse(answer, head, _TOO_MANY)
            return
        place = contextlib.ExitStack()
        self._at_once += 1
        place.callback(self._leave)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not any(name == b"content-length" for name, _ in message["headers"]):
                    # A stream goes on as long as its client likes, and is made only as fast as that takes it.
                    place.close()
                elif message["status"] == 503:
                    place.close()
                    await asyncio.sleep(_REFUSED_S)
            await answer(message)

        with place:
            await self.routes(scope, receive, watched)

    def _leave(self) -> None:
        self._at_once -= 1


async def _read_body(receive: Receive) -> bytes | Refusal:
    """The whole body, which is small, before any route runs."""
    content = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return content
                content += message.get("body", b"")
                if len(content) > LARGEST_BODY:
                    return body_too_large()
                if not message.get("more_body", False):
                    return content
    except TimeoutError:
        return Refusal(
            status=408,
            error=f"The body did not come within {_BODY_SECONDS:.0f} s.",
            headers=(("Connection", "close"),),
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then what comes after it."""
    waiting = [body]

    async def replay() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay


def _with_headers(send: Send, *, without_body: bool) -> Send:
    over = False

    async def answer(message: Message) -> None:
        nonlocal over
        if over:
            return
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS.items() if name not in said]
            message["headers"] = [*message["headers"], *added]
        elif message["type"] == "http.response.body" and without_body:
            # The rest of an answer in parts is not waited for: it may have no end.
            message["body"], message["more_body"], over = b"", False, True
        await send(message)

    return answer


async def _refuse(answer: Send, head: Head, refused: Refusal) -> None:
    """Answer with the refusal: the sign-in page where a person looks at `/`, a document elsewhere."""
    headers = dict(refused.headers)
    if refused.status == 401 and head.path == "/" and head.wants_html:
        page = sign_in_page()
        body = page.content
        headers |= {**page.headers, "Content-Type": page.media_type}
    else:
        body = problem_body(refused.status, refused.error)
        headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await answer({"type": "http.response.start", "status": refused.status, "headers": encoded})
    await answer({"type": "http.response.body", "body": body, "more_body": False})

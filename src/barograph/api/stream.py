"""`GET /api/events`: one answer that goes on, and says what changed as it changes (server-sent events)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from barograph.api.events import Events, Listener
from barograph.api.routes import RUN_PATTERN, problem_specs
from barograph.records.codec import encode_document
from barograph.views.documents import EventChange, EventHello, EventReset, IndexState
from barograph.views.times import document_time

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 2000
"""How long a browser waits before it connects again."""

_HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back until it has a page of them
]
_DESCRIPTION = (
    "Server-sent events that say what changed, never the values themselves. First `hello`; then a `change` for each "
    "batch of news, with an `id`. A client that connects again with `Last-Event-ID` gets what it missed, or `reset`: "
    "fetch everything anew. One that reads too slowly loses the oldest changes, and `dropped` counts them. A comment "
    "comes every 15 seconds. After a 503 a browser does not connect again by itself: the page has to."
)


def event_route(events: Events, index_state: Callable[[], Awaitable[IndexState]]) -> HTTPRouteHandler:
    """The route over `events`."""

    @get(
        "/api/events",
        operation_id="events",
        summary="What changes, as it changes",
        description=_DESCRIPTION,
        media_type=MEDIA_TYPE,
        responses={
            200: ResponseSpec(
                EventHello | EventChange | EventReset,
                description="The `data` of each event, as JSON: of `hello`, `change` and `reset`.",
                generate_examples=False,
                media_type=MEDIA_TYPE,
            ),
            **problem_specs(busy="256 streams are open."),
        },
    )
    async def changes(
        run: Annotated[
            str | None, QueryParameter(pattern=RUN_PATTERN, description="Only changes of the run of this id.")
        ] = None,
        last_event_id: Annotated[
            str | None,
            HeaderParameter(
                name="Last-Event-ID", max_length=128, description="The `id` of the last event that was received."
            ),
        ] = None,
    ) -> ASGIApp:
        index = await index_state()

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            with events.listen(run=run, last_event_id=last_event_id) as listener:
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                await _say(send, _greeting(listener, index))
                await _tell(listener, receive, send)

        return answer

    return changes


async def _tell(listener: Listener, receive: Receive, send: Send) -> None:
    """Everything that comes, until the client or the server ends it.

    `send` waits while the connection holds more than it can get rid of; meanwhile nothing is made for this client.
    """
    watching = asyncio.create_task(_close_when_gone(listener, receive))
    try:
        while (text := await listener.next()) is not None:
            await _say(send, text)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        watching.cancel()


async def _close_when_gone(listener: Listener, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close()


async def _say(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


def _greeting(listener: Listener, index: IndexState) -> bytes:
    hello = EventHello(id=listener.id, index=index, timestamp=document_time(time.time()))
    text = f"retry: {RETRY_MS}\nid: {listener.id}\nevent: hello\ndata: ".encode() + encode_document(hello) + b"\n\n"
    if listener.reset is None:
        return text
    return text + b"event: reset\ndata: " + encode_document(EventReset(reason=listener.reset)) + b"\n\n"

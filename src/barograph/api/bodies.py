"""Bodies that are made once and sent many times: bytes, their gzip form, and the tag by which a browser keeps them.

A document says when it was made (`timestamp`), which is no change of what it says: the tag leaves that field out, so
an idle dashboard costs a 304. Two bodies with one tag may therefore differ in their timestamp, and the tag is a weak
one. The compressed form has a tag of its own.
"""

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable

import msgspec
from litestar import Request, Response
from litestar.datastructures import State

from barograph.records.codec import encode_document

REVALIDATE = "private, no-cache"
FOREVER = "private, max-age=31536000, immutable"
_WORTH_COMPRESSING = 1024
_LEVEL = 1
"""Level 1: a document of 20 kB costs about a fifth of a millisecond; level 9 costs several times that for a few
per cent less."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that can be sent as they are."""

    content: bytes
    """The body."""
    compressed: bytes | None
    """The body in gzip form; None where that saves nothing."""
    tag: str
    """Hex digest of what the body says, the base of its ETag."""
    media_type: str
    """Its Content-Type."""
    cache_control: str
    """How long a browser may use it without asking."""
    headers: dict[str, str] = {}
    """Headers of its own, where a page differs from the default of `edge`."""


def make_body(
    content: bytes,
    *,
    media_type: str,
    cache_control: str,
    identity: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Body:
    """A body with its gzip form and its tag; `identity` is what the tag is made of, by default the content."""
    compressed = gzip.compress(content, _LEVEL, mtime=0) if len(content) >= _WORTH_COMPRESSING else None
    return Body(
        content=content,
        compressed=compressed if compressed is not None and len(compressed) < len(content) else None,
        tag=hashlib.blake2b(content if identity is None else identity, digest_size=16).hexdigest(),
        media_type=media_type,
        cache_control=cache_control,
        headers=headers or {},
    )


def document_body(document: msgspec.Struct) -> Body:
    """The JSON body of a document, its `timestamp` left out of the tag."""
    content = encode_document(document)
    identity = content
    if "timestamp" in document.__struct_fields__:
        identity = encode_document(msgspec.structs.replace(document, timestamp=""))
    return make_body(content, media_type="application/json", cache_control=REVALIDATE, identity=identity)


def send_body(body: Body, request: Request[object, object, State], *, status: int = 200) -> Response[bytes]:
    """`body` as the client can take it, or 304 if the client has it."""
    compress = body.compressed is not None and takes_gzip(request.headers.get("accept-encoding", ""))
    tag = f'W/"{body.tag}{"-gzip" if compress else ""}"'
    headers = {"ETag": tag, "Cache-Control": body.cache_control, "Vary": "Accept-Encoding", **body.headers}
    if status == 200 and names_tag(request.headers.get("if-none-match", ""), tag):
        return Response(b"", status_code=304, headers=headers)
    if compress:
        headers["Content-Encoding"] = "gzip"
    content = body.compressed if compress and body.compressed is not None else body.content
    return Response(content, status_code=status, media_type=body.media_type, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` header names gzip and does not give it weight zero."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def names_tag(if_none_match: str, tag: str) -> bool:
    """Whether an `If-None-Match` header names `tag`, by weak comparison (RFC 9110, section 8.8.3.2)."""
    wanted = tag.removeprefix("W/")
    return any(part.strip() == "*" or part.strip().removeprefix("W/") == wanted for part in if_none_match.split(","))


class BodyCache:
    """Bodies by question, each good for one state of the index and for a limited time.

    The time limit is there because some documents speak of the present: a silent run becomes a crashed one without
    any new record. Memory is bounded: the bodies used least recently go first, whatever clients ask for. May be used
    from several threads.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bodies: OrderedDict[Hashable, tuple[Hashable, float, Body]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, question: Hashable, *, state: Hashable, now: float, seconds: float) -> Body | None:
        """The standing body for `question`, if it was made of `state` less than `seconds` before `now` (monotonic)."""
        with self._lock:
            if question not in self._bodies:
                return None
            of, made, body = self._bodies[question]
            if of != state or now - made >= seconds:
                return None
            self._bodies.move_to_end(question)
            return body

    def update(self, question: Hashable, body: Body, *, state: Hashable, now: float) -> None:
        """Keep `body`; drop others until the limit holds."""
        with self._lock:
            if question in self._bodies:
                self._bytes -= _size(self._bodies.pop(question)[2])
            self._bodies[question] = (state, now, body)
            self._bytes += _size(body)
            while self._bytes > self._most_bytes and self._bodies:
                self._bytes -= _size(self._bodies.popitem(last=False)[1][2])


def _size(body: Body) -> int:
    return len(body.content) + len(body.compressed or b"") + 512

"""Bodies that are made once and sent many times: bytes, their compressed forms, and the tag by which they are kept.

A document says when it was made (`timestamp`), which is no change of what it says: the tag leaves that field out, so
an idle dashboard costs a 304. Two bodies with one tag may therefore differ in their timestamp, and the tag is a weak
one. Each compressed form has a tag of its own.

zstd at level 1 makes 43 kB of numbers smaller than gzip at level 1 does, in a quarter of the time (0.06 ms against 0.29
ms; higher levels of both cost several times that for a few per cent). So it is sent to everyone who takes it, and the
gzip form is made only when somebody asks for it.
"""

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Literal

import msgspec
import zstandard
from litestar import Request, Response
from litestar.datastructures import State

from barograph.records.codec import encode_document

Coding = Literal["zstd", "gzip"]
"""The compressions that are offered, the preferred one first."""

REVALIDATE = "private, no-cache"
FOREVER = "private, max-age=31536000, immutable"
_WORTH_COMPRESSING = 1024
_LEVEL = 1
_AT_ONCE = 256 * 1024
"""Bodies of this size on are compressed where they are made: later, it would hold up the event loop."""
_CODINGS: tuple[Coding, ...] = ("zstd", "gzip")
_COMPRESSED_ALREADY = ("image/png", "image/webp", "image/x-icon", "font/")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that can be sent as they are."""

    content: bytes
    """The body."""
    tag: str
    """Hex digest of what the body says, the base of its ETag."""
    media_type: str
    """Its Content-Type."""
    cache_control: str
    """How long a browser may use it without asking."""
    headers: dict[str, str] = {}
    """Headers of its own, where a page differs from the default of `edge`."""
    forms: dict[Coding, bytes] = {}
    """The compressed forms that were made so far; together they are never longer than the body."""

    @property
    def compressible(self) -> bool:
        """Whether it is sent compressed to who takes that."""
        return len(self.content) >= _WORTH_COMPRESSING and not self.media_type.startswith(_COMPRESSED_ALREADY)

    def form(self, coding: Coding) -> bytes:
        """The body in a compressed form, which is made when it is first asked for."""
        made = self.forms.get(coding)
        if made is None:
            made = _compress(self.content, coding)
            if len(made) + sum(map(len, self.forms.values())) <= len(self.content):
                self.forms[coding] = made
        return made


def make_body(
    content: bytes,
    *,
    media_type: str,
    cache_control: str,
    identity: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Body:
    """A body with its tag; `identity` is what the tag is made of, by default the content."""
    body = Body(
        content=content,
        tag=hashlib.blake2b(content if identity is None else identity, digest_size=16).hexdigest(),
        media_type=media_type,
        cache_control=cache_control,
        headers=headers or {},
        forms={},
    )
    if body.compressible and len(content) >= _AT_ONCE:
        for coding in _CODINGS:
            body.form(coding)
    return body


def document_body(document: msgspec.Struct, *, finite: bool = False) -> Body:
    """The JSON body of a document, its `timestamp` left out of the tag."""
    return _stamped_body(document, encode_document(document, finite=finite))


def null_body(document: msgspec.Struct) -> Body:
    """The same of a document of the seeds, in which what is not finite is `null`."""
    return _stamped_body(document, msgspec.json.encode(document))


def json_body(content: bytes) -> Body:
    """The body of a document that is JSON already."""
    return make_body(content, media_type="application/json", cache_control=REVALIDATE)


def _stamped_body(document: msgspec.Struct, content: bytes) -> Body:
    identity = content
    stamp = getattr(document, "timestamp", None)
    if isinstance(stamp, str):
        identity = content.replace(b'"timestamp":%b' % msgspec.json.encode(stamp), b"")
    return make_body(content, media_type="application/json", cache_control=REVALIDATE, identity=identity)


def send_body(body: Body, request: Request[object, object, State], *, status: int = 200) -> Response[bytes]:
    """`body` as the client can take it, or 304 if the client has it."""
    coding = wanted_coding(request.headers.get("accept-encoding", "")) if body.compressible else None
    tag = f'W/"{body.tag}{"" if coding is None else f"-{coding}"}"'
    headers = {"ETag": tag, "Cache-Control": body.cache_control, "Vary": "Accept-Encoding", **body.headers}
    if status == 200 and names_tag(request.headers.get("if-none-match", ""), tag):
        return Response(b"", status_code=304, headers=headers)
    if coding is not None:
        headers["Content-Encoding"] = coding
    content = body.content if coding is None else body.form(coding)
    return Response(content, status_code=status, media_type=body.media_type, headers=headers)


def wanted_coding(accept_encoding: str) -> Coding | None:
    """The compression that an `Accept-Encoding` header gives the greatest weight (RFC 9110, section 12.5.3).

    Of equal ones it is the first of ours. None where the client takes neither, or prefers the plain body.
    """
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        weights[coding] = _weight(parameters)
    otherwise = weights.get("*", 0.0)
    best = max(_CODINGS, key=lambda coding: weights.get(coding, otherwise))
    weight = weights.get(best, otherwise)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameters: list[str]) -> float:
    """The `q` of one coding: 1 if there is none, 0 if it cannot be read."""
    said = next((one.partition("=")[2].strip() for one in parameters if one.partition("=")[0].strip() == "q"), "1")
    return float(said) if said[:1] in ("0", "1") and said.replace(".", "", 1).isdecimal() and len(said) <= 5 else 0.0


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
    """Bytes that a kept body may come to: its forms, which are made later, are together no longer than itself."""
    return 2 * len(body.content) + 512


def _compress(content: bytes, coding: Coding) -> bytes:
    if coding == "zstd":
        return zstandard.compress(content, _LEVEL)
    return gzip.compress(content, _LEVEL, mtime=0)

"""Refusals as documents: one sentence, the status, never a traceback and never HTML made of what was asked."""

import logging

from litestar import Request, Response
from litestar.datastructures import State
from litestar.enums import MediaType
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from barograph.api.rendering import Overloaded
from barograph.errors import (
    BarographError,
    IndexRebuilding,
    NoDocument,
    UnknownAlert,
    UnknownCheckpoint,
    UnknownRun,
    UnknownSeries,
    UsageError,
    WriteError,
)
from barograph.records.codec import encode_document
from barograph.views.documents import Problem

RETRY_AFTER_S = "1"
"""When to ask again for what is not indexed yet, or was too much."""

_UNKNOWN = (UnknownRun, UnknownSeries, UnknownCheckpoint, UnknownAlert, NoDocument)

_log = logging.getLogger("barograph.api")


def problem_body(status: int, error: str) -> bytes:
    """The JSON body of a refusal."""
    return encode_document(Problem(error=error, status=status))


def problem_response(status: int, error: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A refusal as a route answers it."""
    return Response(problem_body(status, error), status_code=status, media_type=MediaType.JSON, headers=headers)


def answer_exception(request: Request[object, object, State], exception: Exception) -> Response[bytes]:
    """The answer to anything that a route raised: the one catching boundary of a request."""
    if isinstance(exception, UsageError):
        status = 404 if isinstance(exception, _UNKNOWN) else 400
        return problem_response(status, _said(exception))
    if isinstance(exception, IndexRebuilding | Overloaded | WriteError):
        return problem_response(503, _said(exception), {"Retry-After": RETRY_AFTER_S})
    if isinstance(exception, NotFoundException):
        return problem_response(404, "There is nothing here. The routes are listed in /api/openapi.json.")
    if isinstance(exception, MethodNotAllowedException):
        allowed = (exception.headers or {}).get("allow", "GET")
        return problem_response(405, f"This route answers to {allowed} only.", {"Allow": allowed})
    if isinstance(exception, ValidationException):
        return problem_response(400, _what_is_invalid(exception))
    if isinstance(exception, HTTPException) and 400 <= exception.status_code < 500:
        return problem_response(exception.status_code, "The request cannot be understood.")
    if isinstance(exception, BarographError):
        _log.error("a %s request failed: %s", request.method, exception)
        return problem_response(503, f"The documents cannot be read now: {exception.problem}.")
    # The route's name, not the URL: what a client sends stays out of the log.
    _log.error("a %s request failed", request.method, exc_info=exception)
    return problem_response(500, "The server failed on this request; its log says why.")


def _said(exception: BarographError) -> str:
    """What was wrong and what to do; not `where`: that may be a path of this machine."""
    return " ".join(f"{part}." for part in (exception.problem, exception.advice) if part)


def _what_is_invalid(exception: ValidationException) -> str:
    """One sentence that names the parameters; what was sent is not repeated."""
    found = exception.extra if isinstance(exception.extra, list) else []
    parts = [f"`{part['key']}`: {_lower_first(part['message'])}" for part in found if isinstance(part, dict)]
    if not parts:
        # Litestar's own sentence for a missing parameter; it holds names from our code, and the path.
        name = exception.detail.partition("parameter '")[2].partition("'")[0]
        return f"The parameter `{name}` is missing." if name else "The parameters cannot be read."
    return f"The request has parameters that cannot be used: {'; '.join(parts)}."


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]

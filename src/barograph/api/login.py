"""Signing in: the token once, as a form, for a session cookie."""

import time
from typing import Annotated

from litestar import Request, Response, post
from litestar.datastructures import Cookie, State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import URLEncodedBody
from msgspec import Meta, Struct

from barograph.api.attempts import WrongTokens
from barograph.api.pages import sign_in_page
from barograph.api.problems import problem_response
from barograph.api.security import Access, read_head, too_many_wrong_tokens, wrong_token
from barograph.api.session import LIFETIME, issue_session
from barograph.views.documents import Problem


class SignIn(Struct, frozen=True, kw_only=True):
    """The form of the sign-in page."""

    token: Annotated[str, Meta(min_length=1, max_length=512, description="The token of this server.")]


def login_route(access: Access, wrong_tokens: WrongTokens) -> HTTPRouteHandler:
    """`POST /api/login`: answers 303 to `/` with the cookie, or says why not."""

    @post(
        "/api/login",
        status_code=303,
        sync_to_thread=False,
        operation_id="login",
        summary="Exchange the token for a session cookie",
        description="For browsers; a script sends `Authorization: Bearer TOKEN` instead.",
        responses={
            303: ResponseSpec(None, description="Signed in: the cookie is set, `Location` is the page."),
            400: ResponseSpec(Problem, description="The form has no token.", generate_examples=False),
            401: ResponseSpec(Problem, description="That is not the token.", generate_examples=False),
            403: ResponseSpec(Problem, description="The form came from another origin.", generate_examples=False),
            413: ResponseSpec(Problem, description="The form is too large.", generate_examples=False),
            421: ResponseSpec(Problem, description="The Host is none of ours.", generate_examples=False),
            404: ResponseSpec(Problem, description="This server asks for no token.", generate_examples=False),
            429: ResponseSpec(Problem, description="Too many wrong tokens.", generate_examples=False),
        },
    )
    def login(
        request: Request[object, object, State],
        data: URLEncodedBody[SignIn],
    ) -> Response[bytes]:
        if access.token is None:
            return problem_response(404, "This server listens on this machine only and asks for no token.")
        address = read_head(request.scope).came_from
        wait = wrong_tokens.seconds_to_wait(address, now=time.monotonic())
        if wait > 0:
            refused = too_many_wrong_tokens(wait)
            return problem_response(refused.status, refused.error, dict(refused.headers))
        if not access.token.matches(data.token.strip()):
            wrong_tokens.update(address, now=time.monotonic())
            return _try_again(request)
        cookie = Cookie(
            key=access.cookie,
            value=issue_session(access.token, now=time.time()),
            max_age=LIFETIME,
            httponly=True,
            samesite="strict",
            # A proxy with TLS in front shows in the Origin; plain HTTP would drop a Secure cookie.
            secure=request.headers.get("origin", "").startswith("https://"),
        )
        return Response(b"", status_code=303, headers={"Location": "../"}, cookies=[cookie])

    return login


def _try_again(request: Request[object, object, State]) -> Response[bytes]:
    refused = wrong_token()
    headers = dict(refused.headers)
    if "text/html" not in request.headers.get("accept", ""):
        return problem_response(refused.status, refused.error, headers)
    page = sign_in_page(refused.error, action="login")
    return Response(
        page.content, status_code=refused.status, media_type=page.media_type, headers={**page.headers, **headers}
    )

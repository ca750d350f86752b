"""The OpenAPI description of the routes, as JSON only: the pages that Litestar offers load scripts from elsewhere."""

import functools
from collections.abc import Sequence

import msgspec
from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from barograph.api.bodies import REVALIDATE, Body, make_body, send_body
from barograph.api.routes import Asked

_VERSION = "1"
"""Of the interface, not of the package: grows when a field changes its meaning, which new fields do not."""


def describe(routes: Sequence[HTTPRouteHandler]) -> Body:
    """The OpenAPI 3.1 document of `routes`, whose documents are described by their Structs."""
    config = OpenAPIConfig(
        title="barograph",
        version=_VERSION,
        description="What the runs under one folder do and did. Non-finite numbers are spelled as strings.",
        render_plugins=[JsonRenderPlugin()],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        security=[{}, {"token": []}],
    )
    schema = Litestar(routes, openapi_config=config, logging_config=None).openapi_schema.to_schema()
    return make_body(msgspec.json.encode(schema), media_type="application/json", cache_control=REVALIDATE)


def description_route(routes: Sequence[HTTPRouteHandler]) -> HTTPRouteHandler:
    """`GET /api/openapi.json`, made when it is first asked for."""
    description = functools.cache(lambda: describe(routes))

    @get("/api/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi(request: Asked) -> Response[bytes]:
        return send_body(description(), request)

    return openapi

"""The OpenAPI description of the routes, as JSON only: the pages that Litestar offers load scripts from elsewhere."""

import functools
from collections.abc import Sequence

import msgspec
from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from barograph.analysis.delta_spectrum import DeltaSpectrum
from barograph.analysis.layer_drift import DriftLayer, DriftSummary, LayerDrift
from barograph.analysis.weight_stability import StabilityLayer
from barograph.api.bodies import REVALIDATE, Body, make_body, send_body
from barograph.api.routes import Asked
from barograph.policy.weight_stability import ParameterStability, StabilitySummary, WeightAlert

NULL_FOR_NON_FINITE: tuple[type[msgspec.Struct], ...] = (
    LayerDrift,
    DriftSummary,
    DriftLayer,
    DeltaSpectrum,
    ParameterStability,
    StabilitySummary,
    StabilityLayer,
    WeightAlert,
)
"""Documents in whose JSON a number that is not finite is `null`."""

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
    _allow_null(schema["components"]["schemas"])
    return make_body(msgspec.json.encode(schema), media_type="application/json", cache_control=REVALIDATE)


def _allow_null(schemas: dict[str, dict[str, object]]) -> None:
    """Say of every float in the seeds' documents that it may be null: that is how those spell what is not finite."""
    for document in NULL_FOR_NON_FINITE:
        found = schemas[document.__name__]["properties"]
        assert isinstance(found, dict)
        for field in found.values():
            if field.get("type") == "number":
                field["type"] = ["number", "null"]


def description_route(routes: Sequence[HTTPRouteHandler]) -> HTTPRouteHandler:
    """`GET /api/openapi.json`, made when it is first asked for."""
    description = functools.cache(lambda: describe(routes))

    @get("/api/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi(request: Asked) -> Response[bytes]:
        return send_body(description(), request)

    return openapi

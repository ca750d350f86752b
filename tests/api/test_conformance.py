"""An independent oracle: schemathesis derives requests from the OpenAPI document and judges every answer by it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from barograph.api.app import create_app
from barograph.api.security import Access
from barograph.index import Indexer

OPERATIONS = (
    ("/api/runs", "GET"),
    ("/api/runs/{run}", "GET"),
    ("/api/series", "GET"),
    ("/api/status/live", "GET"),
    ("/api/checkpoints", "GET"),
    ("/api/checkpoints/{checkpoint}", "GET"),
    ("/api/checkpoints/{checkpoint}/tensors", "GET"),
    ("/api/unified", "GET"),
    ("/api/verdicts", "GET"),
    ("/api/alerts", "GET"),
    ("/api/alerts/{alert}/acknowledge", "POST"),
    ("/api/layers", "GET"),
    ("/api/signals", "GET"),
    ("/api/status/system", "GET"),
    ("/api/throughput/samples", "GET"),
    ("/status/{name}", "GET"),
    ("/healthz", "GET"),
    ("/metrics", "GET"),
    ("/api/login", "POST"),
)
STREAMS = {("/api/events", "GET"), ("/api/export", "GET")}
"""The one has no end, the other is text of two kinds: no JSON to validate. They have tests of their own."""
CASES = [
    *((path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS),
    *(
        (path, method, GenerationMode.NEGATIVE)
        for path, method in OPERATIONS
        if path not in ("/api/runs", "/healthz", "/metrics")
    ),
]
"""Nothing can be wrong about a question without parameters."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> schemathesis.BaseSchema:
    """The description as schemathesis reads it from the application itself, over a root that is indexed already."""
    root = tmp_path_factory.mktemp("conformance")
    write_run(root, "alpha")
    with Indexer(root) as indexer:
        indexer.scan()
    app = create_app(root, access=Access(allowed_hosts=frozenset({"testserver"})))

    async def without_lifespan(
        scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        # schemathesis begins and ends a lifespan with every request; the index needs no follower here.
        if scope["type"] != "lifespan":
            await app(scope, receive, send)

    return schemathesis.openapi.from_asgi("/api/openapi.json", without_lifespan)


def _can_be_used(name: str, value: object) -> bool:
    """What a schema cannot say, or the description leaves out: lengths of names, the ladder of weights."""
    if name == "name":
        return bool(value) and all(value)  # type: ignore[arg-type]  # a text, or a list of texts
    return name not in ("smoothing", "cursor", "since", "until")


def test_every_described_operation_is_asked(schema: schemathesis.BaseSchema) -> None:
    assert {(one.ok().path, one.ok().method.upper()) for one in schema.get_all_operations()} == {*OPERATIONS, *STREAMS}


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_answer_is_as_described(
    schema: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method]

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data(), st.booleans())
    def conforms(data: st.DataObject, known: bool) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if known and mode is GenerationMode.POSITIVE:
            # A random name is no run; let half of the requests get past that.
            case.path_parameters = dict.fromkeys(case.path_parameters or {}, "alpha")
            case.query = {**(case.query or {}), **{name: "alpha" for name in case.query or {} if name == "run"}}
            case.query = {**case.query, **{name: "loss" for name in case.query if name == "name"}}
        if mode is GenerationMode.POSITIVE:
            case.query = {name: value for name, value in (case.query or {}).items() if _can_be_used(name, value)}
        window = [name for name in ("first", "last") if name in (case.query or {})]
        if len(window) == 2 and mode is GenerationMode.POSITIVE:
            # The one rule that a schema cannot state.
            case.query |= dict(zip(window, sorted(case.query[name] for name in window), strict=True))
        case.call_and_validate(checks=CHECKS)

    conforms()

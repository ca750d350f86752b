"""The OpenAPI document: true to the routes, to the Structs, and to what a client that follows it gets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from litestar.testing import TestClient

from barograph.api.edge import Edge
from barograph.views import documents, monitor_documents, verdict_documents, weight_documents

Client = TestClient[Edge]

DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "/api/runs": documents.Runs,
    "/api/runs/{run}": documents.RunDetail,
    "/api/series": documents.SeriesSet,
    "/api/status/live": documents.LiveStatus,
    "/api/checkpoints": weight_documents.Checkpoints,
    "/api/checkpoints/{checkpoint}": weight_documents.CheckpointDetail,
    "/api/checkpoints/{checkpoint}/tensors": weight_documents.CheckpointTensors,
    "/api/unified": weight_documents.Unified,
    "/api/verdicts": verdict_documents.Verdicts,
    "/api/alerts": monitor_documents.Alerts,
    "/api/signals": monitor_documents.SignalsNow,
    "/api/layers": monitor_documents.Layers,
    "/api/status/system": monitor_documents.SystemStatus,
    "/api/throughput/samples": monitor_documents.ThroughputSamples,
    "/healthz": documents.Healthz,
}


class Reference(msgspec.Struct, rename={"ref": "$ref", "choices": "oneOf"}):
    ref: str = ""
    choices: list["Reference"] = []


class Content(msgspec.Struct):
    schema: Reference


class Answer(msgspec.Struct):
    description: str
    content: dict[str, Content] = {}


class Bounds(msgspec.Struct):
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""


class Parameter(msgspec.Struct):
    name: str
    schema: Bounds
    description: str = ""


class Operation(msgspec.Struct, rename="camel"):
    operation_id: str
    summary: str
    responses: dict[str, Answer]
    parameters: list[Parameter] = []


class Property(msgspec.Struct):
    description: str = ""


class Schema(msgspec.Struct):
    properties: dict[str, Property] = {}
    required: list[str] = []


class Components(msgspec.Struct):
    schemas: dict[str, Schema]


class Description(msgspec.Struct):
    openapi: str
    paths: dict[str, dict[str, Operation]]
    components: Components


@pytest.fixture(scope="module")
def description(client: Client) -> Description:
    answer = client.get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return msgspec.json.decode(answer.content, type=Description)


def operations(description: Description) -> Iterator[tuple[str, str, Operation]]:
    for path, methods in description.paths.items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_openapi_3_1_and_names_every_data_route(description: Description) -> None:
    assert description.openapi == "3.1.0"
    assert set(description.paths) == {
        *DOCUMENTS,
        "/api/events",
        "/api/export",
        "/api/login",
        "/api/alerts/{alert}/acknowledge",
        "/metrics",
        "/status/{name}",
    }


def test_the_events_are_described_by_their_documents(description: Description) -> None:
    content = description.paths["/api/events"]["get"].responses["200"].content["text/event-stream"]
    names = {one.ref.rpartition("/")[2] for one in content.schema.choices}
    assert names == {"EventHello", "EventChange", "EventReset"}
    assert names | {"ChangedRun"} <= set(description.components.schemas)
    assert {one.name for one in description.paths["/api/events"]["get"].parameters} == {"run", "Last-Event-ID"}


def test_a_route_is_described_by_its_document(description: Description) -> None:
    for path, document in DOCUMENTS.items():
        (content,) = description.paths[path]["get"].responses["200"].content.values()
        assert content.schema.ref == f"#/components/schemas/{document.__name__}"
        schema = description.components.schemas[document.__name__]
        fields = msgspec.structs.fields(document)
        assert set(schema.properties) == {field.encode_name for field in fields}
        assert set(schema.required) == set(schema.properties), "every field is always present"


def test_every_field_has_its_sentence(description: Description) -> None:
    missing = [
        f"{name}.{field}"
        for name, schema in description.components.schemas.items()
        for field, said in schema.properties.items()
        if not said.description and field != "type"
    ]
    assert missing == []


def test_every_parameter_and_every_answer_has_its_sentence(description: Description) -> None:
    for path, method, operation in operations(description):
        assert operation.summary, (path, method)
        assert all(parameter.description for parameter in operation.parameters), (path, method)
        assert all(answer.description for answer in operation.responses.values()), (path, method)


def test_refusals_are_described_as_problems(description: Description) -> None:
    for path, _, operation in operations(description):
        for status, answer in operation.responses.items():
            if status.startswith(("4", "5")):
                (content,) = answer.content.values()
                assert content.schema.ref == "#/components/schemas/Problem", (path, status)
        assert {"400", "403"} <= set(operation.responses), path


def test_the_bounds_of_the_series_are_in_it(description: Description) -> None:
    bounds = {parameter.name: parameter.schema for parameter in description.paths["/api/series"]["get"].parameters}
    assert (bounds["buckets"].minimum, bounds["buckets"].maximum) == (1, 4000)
    assert (bounds["smoothing"].minimum, bounds["smoothing"].maximum) == (0, 0.999)
    assert (bounds["first"].minimum, bounds["last"].minimum) == (0, 0)


def test_no_page_that_loads_scripts_from_elsewhere_is_served(client: Client) -> None:
    for path in ("/api", "/schema", "/api/redoc", "/api/swagger", "/api/openapi.yaml", "/api/openapi.json/redoc"):
        assert client.get(path).status_code == 404, path


def test_the_description_is_kept_by_the_client(client: Client) -> None:
    first = client.get("/api/openapi.json")
    assert client.get("/api/openapi.json", headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_a_server_with_a_token_describes_the_same(
    client: Client, root: Path, open_client: Callable[..., Client]
) -> None:
    from barograph.api.security import Access
    from barograph.api.token import Token

    guarded = open_client(root, access=Access(token=Token("t" * 43)))
    answer = guarded.get("/api/openapi.json", headers={"Authorization": f"Bearer {'t' * 43}"})
    assert answer.content == client.get("/api/openapi.json").content

"""The routes about what the monitors in the training loop say: alerts, layers, throughput, machines."""

from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta, Struct

from barograph.api.bodies import send_body
from barograph.api.reading import Reading
from barograph.api.routes import Asked, NamedRun, Run, answers, problem_specs
from barograph.records.codec import encode_document
from barograph.views.documents import Problem
from barograph.views.layers import MOST_COLUMNS
from barograph.views.monitor_documents import (
    Acknowledged,
    Alerts,
    Layers,
    Quantity,
    SignalsNow,
    SystemStatus,
    ThroughputSamples,
)
from barograph.views.throughput_samples import MOST

LONGEST_NOTE = 500


class Seen(Struct, frozen=True, kw_only=True):
    """What a person says of an alert."""

    note: Annotated[str, Meta(max_length=LONGEST_NOTE, description="A remark; may be empty.")] = ""


def monitor_routes(reading: Reading) -> list[HTTPRouteHandler]:
    """The routes that answer with what was derived while the model trained."""

    @get(
        "/api/alerts",
        operation_id="alerts",
        summary="The alerts of a run",
        description="With what to do, the numbers behind each, its life, the examples of the batch, every condition"
        " that is watched, and the advice that follows.",
        responses=answers(Alerts, unknown="There is no such run."),
    )
    async def alerts(request: Asked, run: Run = None) -> Response[bytes]:
        return send_body(await reading.alerts(run), request)

    @get(
        "/api/layers",
        operation_id="layers",
        summary="What the gradients of each layer say",
        description="One row per adapter module or block, from the newest attempt; and a heatmap over its steps.",
        responses=answers(Layers, unknown="There is no such run."),
    )
    async def layers(
        request: Asked,
        run: Run = None,
        quantity: Annotated[
            Quantity, QueryParameter(description="What the heatmap shows: gradient_norm or update_ratio.")
        ] = "gradient_norm",
        columns: Annotated[
            int, QueryParameter(ge=1, le=MOST_COLUMNS, description="At most so many columns of the heatmap.")
        ] = 60,
    ) -> Response[bytes]:
        return send_body(await reading.layers(run, quantity, columns), request)

    @get(
        "/api/status/system",
        operation_id="system_status",
        summary="The machines of a run",
        description="Processor, memory, disk and every GPU of the machines that train and evaluate. Made for polling"
        " every five to ten seconds.",
        responses=answers(SystemStatus, unknown="There is no such run."),
    )
    async def system_status(request: Asked, run: Run = None) -> Response[bytes]:
        return send_body(await reading.system_status(run), request)

    @get(
        "/api/throughput/samples",
        operation_id="throughput_samples",
        summary="How fast steps were, and how full the GPU was then",
        description="Of the newest attempt, oldest first.",
        responses=answers(ThroughputSamples, unknown="There is no such run."),
    )
    async def throughput_samples(
        request: Asked,
        run: Run = None,
        limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="At most so many, the newest.")] = 200,
    ) -> Response[bytes]:
        return send_body(await reading.throughput_samples(run, limit), request)

    @get(
        "/api/signals",
        operation_id="signals",
        summary="What a training derived of itself",
        description="Loss, noise, trend, plateau, gradients, throughput and the parts of a step, as the training"
        " process last said.",
        responses=answers(SignalsNow, unknown="There is no such run."),
    )
    async def signals(request: Asked, run: Run = None) -> Response[bytes]:
        return send_body(await reading.signals(run), request)

    return [alerts, signals, _acknowledge_route(reading), layers, system_status, throughput_samples]


def _acknowledge_route(reading: Reading) -> HTTPRouteHandler:
    @post(
        "/api/alerts/{alert:str}/acknowledge",
        status_code=200,
        operation_id="acknowledge",
        summary="Say that somebody has seen an alert",
        description="It is written into the run's journal; the alert stays what it is. Saying it again replaces the"
        " note. The body is a JSON object, and may be left out.",
        responses={
            200: ResponseSpec(Acknowledged, description="It is on disk.", generate_examples=False),
            **problem_specs(
                unknown="There is no such run, or it has no alert of that id.",
                busy="The journal cannot be written now, or the index is being built.",
            ),
            413: ResponseSpec(Problem, description="The body is too large.", generate_examples=False),
        },
    )
    async def acknowledge(
        alert: Annotated[
            str,
            PathParameter(
                pattern="^[0-9A-Za-z_.-]{1,64}$", description="Id of the alert, as `GET /api/alerts` has it."
            ),
        ],
        run: NamedRun,
        data: JSONBody[Seen | None] = None,
    ) -> Response[bytes]:
        answer = await reading.acknowledge(run, alert, note=data.note if data else "")
        return Response(encode_document(answer), media_type="application/json")

    return acknowledge

"""The routes: which document answers which question. The views make the documents; here are names and bounds only.

A run is named by its id and looked up in the index; an id is never part of a path on disk.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, PathParameter, QueryParameter
from msgspec import Meta

from barograph.analysis.rollup import SMOOTHING
from barograph.api.bodies import send_body
from barograph.api.pages import Site
from barograph.api.problems import problem_response
from barograph.api.reading import Reading
from barograph.index.curve import LAST
from barograph.records.quantities import RUN_ID
from barograph.views.documents import Healthz, LiveStatus, Problem, RunDetail, Runs, SeriesSet
from barograph.views.series import Asked as Window

TEXT = "text/plain"
LAST_STEP = 2**53 - 1
"""The greatest step that JavaScript can name exactly."""

MOST_SERIES, MOST_NAME, MOST_BUCKETS = 64, 512, 64_000
_LADDER = ", ".join(str(weight) for weight in (0, *SMOOTHING))
RUN_PATTERN = f"^{RUN_ID}$"
_RUN_ID = "Id of the run: the name of its folder."
Asked = Request[object, object, State]
Run = Annotated[
    str | None,
    QueryParameter(pattern=RUN_PATTERN, description="Id of the run; by default the one that moved last."),
]
NamedRun = Annotated[str, QueryParameter(pattern=RUN_PATTERN, description=_RUN_ID)]


def document_routes(reading: Reading) -> list[HTTPRouteHandler]:
    """The routes that answer with documents of the views."""

    @get(
        "/api/runs",
        operation_id="runs",
        summary="All runs under the root",
        description="The run that moved last comes first.",
        responses=answers(Runs),
    )
    async def runs(request: Asked) -> Response[bytes]:
        return send_body(await reading.runs(), request)

    @get(
        "/api/runs/{run:str}",
        operation_id="run_detail",
        summary="One run",
        description="Everything known about one run but its points.",
        responses=answers(RunDetail, unknown="There is no such run."),
    )
    async def run_detail(
        request: Asked, run: Annotated[str, PathParameter(pattern=RUN_PATTERN, description=_RUN_ID)]
    ) -> Response[bytes]:
        return send_body(await reading.run_detail(run), request)

    @get(
        "/api/series",
        operation_id="series",
        summary="Series of a run, in buckets",
        description="Minimum, maximum, mean and last value per bucket of steps; no bucket hides a spike. With the"
        " cursors of an earlier answer, only what is new.",
        responses=answers(SeriesSet, unknown="There is no such run, or it has none of these series."),
    )
    async def series(
        request: Asked,
        run: NamedRun,
        name: Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=MOST_NAME)]],
            QueryParameter(min_items=1, max_items=MOST_SERIES, description="A name, such as `loss`; may be repeated."),
        ],
        first: Annotated[int, QueryParameter(ge=0, le=LAST_STEP, description="First step of the window.")] = 0,
        last: Annotated[int, QueryParameter(ge=0, le=LAST_STEP, description="Last step of the window.")] = LAST_STEP,
        since: Annotated[float | None, QueryParameter(description="The same by time: unix seconds.")] = None,
        until: Annotated[float | None, QueryParameter(description="The same by time: unix seconds.")] = None,
        buckets: Annotated[int, QueryParameter(ge=1, le=4000, description="At most so many buckets.")] = 1000,
        smoothing: Annotated[
            float, QueryParameter(ge=0.0, le=0.999, description=f"Weight of the past in the moving average: {_LADDER}.")
        ] = 0.0,
        attempt: Annotated[
            int | None,
            QueryParameter(ge=1, le=999_999, description="That attempt alone, with what a newer one went over again."),
        ] = None,
        times: Annotated[bool, QueryParameter(description="Whether to tell the time of each bucket.")] = False,
        ranks: Annotated[bool, QueryParameter(description="Whether to compare the ranks.")] = False,
        cursor: Annotated[
            list[Annotated[str, Meta(max_length=100)]] | None,
            QueryParameter(max_items=MOST_SERIES, description="The cursor of each name, as an earlier answer gave it."),
        ] = None,
    ) -> Response[bytes]:
        if first > last:
            return problem_response(400, "`first` is after `last`: the window holds no step.")
        if smoothing not in (0.0, *SMOOTHING):
            return problem_response(400, f"There is no smoothing of {smoothing}. Ask for one of {_LADDER}.")
        if buckets * len(name) > MOST_BUCKETS:
            said = f"{len(name)} series of {buckets} buckets are too much for one answer."
            return problem_response(400, f"{said} Ask for at most {MOST_BUCKETS} buckets in all.")
        for bound in (since, until):
            if bound is not None and not math.isfinite(bound):
                return problem_response(400, "A time is not finite: `since` and `until` are unix seconds.")
        asked = Window(
            first=first,
            last=LAST if last == LAST_STEP else last,
            since=since,
            until=until,
            buckets=buckets,
            smoothing=smoothing,
            attempt=attempt,
            times=times,
            ranks=ranks,
        )
        return send_body(await reading.series(run, tuple(name), tuple(cursor or ()), asked), request)

    @get(
        "/api/status/live",
        operation_id="live_status",
        summary="What a run does now",
        description="Made for polling every second or two: answers 304 while nothing changed.",
        responses=answers(LiveStatus, unknown="There is no such run."),
    )
    async def live_status(request: Asked, run: Run = None) -> Response[bytes]:
        return send_body(await reading.live_status(run), request)

    @get(
        "/metrics",
        operation_id="metrics",
        summary="What Prometheus reads",
        description="State, step, loss, throughput and alerts of every run, in the text format 0.0.4.",
        media_type=TEXT,
        responses={
            200: ResponseSpec(str, description="The text.", generate_examples=False, media_type=TEXT),
            304: ResponseSpec(None, description="The text that `If-None-Match` names is still the newest."),
            **problem_specs(),
        },
    )
    async def metrics(request: Asked) -> Response[bytes]:
        return send_body(await reading.metrics(), request)

    @get(
        "/healthz",
        operation_id="healthz",
        summary="The server lives",
        description="Holds no data of any run and asks for no token.",
        responses=answers(Healthz),
    )
    async def healthz(request: Asked) -> Response[bytes]:
        return send_body(await reading.health(), request)

    return [runs, run_detail, series, live_status, metrics, healthz]


def page_routes(site: Site) -> list[HTTPRouteHandler]:
    """The web UI, from the table that was read at start."""

    @get("/", include_in_schema=False, sync_to_thread=False)
    def home(request: Asked) -> Response[bytes]:
        return send_body(site.home, request, status=site.home_status)

    @get("/assets/{name:path}", include_in_schema=False, sync_to_thread=False)
    def asset(request: Asked, name: FromPath[str]) -> Response[bytes]:
        found = site.assets.get(name.removeprefix("/"))
        if found is None:
            return problem_response(404, "The web UI has no file of that name.")
        return send_body(found, request)

    return [home, asset]


def answers(document: type[msgspec.Struct], *, unknown: str | None = None) -> dict[int, ResponseSpec]:
    """What the OpenAPI says of a route: the real document, though the route sends it as finished bytes."""
    return {
        200: ResponseSpec(document, description="The document.", generate_examples=False),
        304: ResponseSpec(None, description="The document that `If-None-Match` names is still the newest."),
        **problem_specs(unknown=unknown),
    }


def problem_specs(
    *,
    unknown: str | None = None,
    busy: str = "The documents cannot be read now, or do not have it yet: the index is being built."
    " Or too much is asked for at a time.",
) -> dict[int, ResponseSpec]:
    """What the OpenAPI says of the refusals of a route."""
    problems: Sequence[tuple[int, str | None]] = (
        (400, "A parameter is missing or out of range."),
        (401, "The server asks for its token."),
        (403, "A page of another origin asked."),
        (404, unknown),
        (414, "The address is too long."),
        (421, "The Host is none of this server's names."),
        (429, "Too many wrong tokens came from this address."),
        (503, busy),
    )
    return {
        status: ResponseSpec(Problem, description=said, generate_examples=False)
        for status, said in problems
        if said is not None
    }

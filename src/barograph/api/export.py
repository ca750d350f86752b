"""`GET /api/export`: every point of a run, as a download that is made while it is sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream
from msgspec import Meta

from barograph.api.reading import Reading
from barograph.api.routes import LAST_STEP, MOST_NAME, MOST_SERIES, RUN_PATTERN, problem_specs
from barograph.index.curve import LAST
from barograph.views.export import ExportedPoint, Format, Selection

_MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


_DESCRIPTION = (
    "CSV with a header line, or JSON lines: all points as they were logged, never sampled. Names that a spreadsheet "
    "would take for formulas begin with an apostrophe in the CSV."
)


def export_route(reading: Reading) -> HTTPRouteHandler:
    """The route over what `reading` reads."""

    @get(
        "/api/export",
        operation_id="export",
        summary="Every point of a run",
        description=_DESCRIPTION,
        media_type="text/csv",
        responses={
            200: ResponseSpec(
                ExportedPoint,
                description="One such line per point; in the CSV, its fields in this order.",
                generate_examples=False,
                media_type="application/jsonl",
            ),
            **problem_specs(unknown="There is no such run, or it has no such series."),
        },
    )
    async def export(
        run: Annotated[str, QueryParameter(pattern=RUN_PATTERN, description="Id of the run.")],
        name: Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=MOST_NAME)]] | None,
            QueryParameter(max_items=MOST_SERIES, description="A series; may be repeated. Without any, all of them."),
        ] = None,
        format: Annotated[Format, QueryParameter(description="`csv` or `jsonl`.")] = "csv",  # noqa: A002 - its name
        first: Annotated[int, QueryParameter(ge=0, le=LAST_STEP, description="First step.")] = 0,
        last: Annotated[int, QueryParameter(ge=0, le=LAST_STEP, description="Last step.")] = LAST_STEP,
        hidden: Annotated[
            bool, QueryParameter(description="Whether points that a newer attempt has gone over again come too.")
        ] = True,
    ) -> Stream:
        end = LAST if last == LAST_STEP else last
        selection = Selection(names=tuple(name or ()), first=first, last=end, hidden=hidden)
        pieces = await reading.export(run, selection, format)

        async def sent() -> AsyncIterator[bytes]:
            while (text := await asyncio.to_thread(next, pieces, None)) is not None:
                yield text

        headers = {"Content-Disposition": f'attachment; filename="{run}.{format}"', "X-Accel-Buffering": "no"}
        return Stream(sent(), media_type=_MEDIA_TYPES[format], headers=headers)

    return export

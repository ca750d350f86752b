"""The routes about checkpoints and their weights, and about what is judged."""

from typing import Annotated

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from barograph.analysis.layer_drift import LayerDrift
from barograph.analysis.training_status import TrainingStatus
from barograph.api.bodies import send_body
from barograph.api.problems import problem_response
from barograph.api.reading import Reading
from barograph.api.routes import Asked, NamedRun, Run, answers, problem_specs
from barograph.policy.weight_stability import ParameterStability
from barograph.views.unified import WeightsDocument
from barograph.views.verdict_documents import Verdicts
from barograph.views.weight_documents import CheckpointDetail, Checkpoints, CheckpointTensors, Unified

CHECKPOINT_PATTERN = "^(newest|[0-9a-f]{16})$"
WEIGHTS: dict[str, WeightsDocument] = {
    f"{name}.json": name
    for name in ("layer_drift", "layer_drift_history", "parameter_stability", "parameter_stability_history")
}
TRAINING = "training_status.json"
DOCUMENTS = (TRAINING, *WEIGHTS)
LAST_LAYER = 999_999

CheckpointId = Annotated[
    str,
    PathParameter(
        pattern=CHECKPOINT_PATTERN, description="Id of the checkpoint, as the list has it; or `newest`, of those read."
    ),
]


def weights_routes(reading: Reading) -> list[HTTPRouteHandler]:
    """The routes that answer with what passes over checkpoints came to."""

    @get(
        "/api/checkpoints",
        operation_id="checkpoints",
        summary="Checkpoints of a run",
        description="Which were saved, which were read, and how far each layer had moved in each.",
        responses=answers(Checkpoints, unknown="There is no such run."),
    )
    async def checkpoints(request: Asked, run: Run = None) -> Response[bytes]:
        return send_body(await reading.checkpoints(run), request)

    @get(
        "/api/checkpoints/{checkpoint:str}",
        operation_id="checkpoint_detail",
        summary="The weights of one checkpoint",
        description="Drift and stability, layer by layer, with what the policy says of them.",
        responses=answers(CheckpointDetail, unknown="There is no such run, or no such checkpoint."),
    )
    async def checkpoint_detail(request: Asked, checkpoint: CheckpointId, run: NamedRun) -> Response[bytes]:
        return send_body(await reading.checkpoint_detail(run, checkpoint), request)

    @get(
        "/api/checkpoints/{checkpoint:str}/tensors",
        operation_id="checkpoint_tensors",
        summary="The tensors of one layer of a checkpoint",
        description="Layer -1 holds embeddings and the rest.",
        responses=answers(CheckpointTensors, unknown="There is no such run or checkpoint, or it was not read."),
    )
    async def checkpoint_tensors(
        request: Asked,
        checkpoint: CheckpointId,
        run: NamedRun,
        layer: Annotated[int, QueryParameter(ge=-1, le=LAST_LAYER, description="Block; -1 for the rest.")],
    ) -> Response[bytes]:
        return send_body(await reading.checkpoint_tensors(run, checkpoint, layer), request)

    @get(
        "/api/unified",
        operation_id="unified",
        summary="All analyses of a run in one",
        description="The newest documents about the weights, and how good they are.",
        responses=answers(Unified, unknown="There is no such run."),
    )
    async def unified(request: Asked, run: Run = None) -> Response[bytes]:
        return send_body(await reading.unified(run), request)

    @get(
        "/api/verdicts",
        operation_id="verdicts",
        summary="Every verdict on a run",
        description="The loss curve, the gradients, drift and stability, judged now; and what was recorded of others.",
        responses=answers(Verdicts, unknown="There is no such run."),
    )
    async def verdicts(request: Asked, run: NamedRun) -> Response[bytes]:
        return send_body(await reading.verdicts(run), request)

    return [checkpoints, checkpoint_detail, checkpoint_tensors, unified, verdicts, _status_route(reading)]


def _status_route(reading: Reading) -> HTTPRouteHandler:
    @get(
        "/status/{name:str}",
        operation_id="status_document",
        summary="A document of the run's `status` folder",
        description="Made of the index and judged by the server's policy, not read from the folder. A history is a list"
        " of such documents, oldest first.",
        responses={
            200: ResponseSpec(
                TrainingStatus | LayerDrift | ParameterStability | list[LayerDrift] | list[ParameterStability],
                description="The document, or the list of the last ones.",
                generate_examples=False,
            ),
            304: ResponseSpec(None, description="The document that `If-None-Match` names is still the newest."),
            **problem_specs(unknown="There is no such document, or nothing of it was measured."),
        },
    )
    async def status_document(
        request: Asked,
        name: Annotated[
            str, PathParameter(max_length=64, description=f"File name of the document: {', '.join(DOCUMENTS)}.")
        ],
        run: Run = None,
    ) -> Response[bytes]:
        if name == TRAINING:
            return send_body(await reading.training_status(run), request)
        document = WEIGHTS.get(name)
        if document is None:
            return problem_response(404, f"There is no such document. These are served: {', '.join(DOCUMENTS)}.")
        return send_body(await reading.weights_document(run, document), request)

    return status_document

"""The document about verdicts: its fields, in order, each with a sentence."""

from typing import Annotated

from msgspec import Meta, Struct

from barograph.policy.judgement import Judged
from barograph.records.quantities import VerdictWord


class Verdicts(Struct, frozen=True, kw_only=True):
    """Every verdict on one run: the document of `GET /api/verdicts`."""

    run: Annotated[str, Meta(description="Run id.")]
    verdict: Annotated[VerdictWord, Meta(description="The gravest of them.")]
    verdicts: Annotated[list[Judged], Meta(description="Of the curve, the gradients, the weights; then recorded ones.")]
    policy: Annotated[str, Meta(description="Name of the policy that judged.")]
    timestamp: Annotated[str, Meta(description="When this document was made.")]

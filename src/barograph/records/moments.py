"""What the optimizer remembered of the gradients when a checkpoint was saved."""

from typing import Annotated

from msgspec import Meta, Struct, field

from barograph.records import quantities
from barograph.records.quantities import Count, Seconds


class OptimizerMoments(
    Struct, frozen=True, kw_only=True, tag_field="type", tag="optimizer_moments", omit_defaults=True
):
    """The optimizer's second moments (the running mean of squared gradients, by Adam) at one save.

    They are summed over each parameter while they are in memory, so that nobody need unpickle the optimizer's file.
    """

    step: Annotated[quantities.Step, Meta(description="Step whose weights were saved.")]
    time: Annotated[Seconds, Meta(description="When the save ended.")]
    optimizer: Annotated[str, Meta(description="Class of the optimizer.")]
    sums: Annotated[
        dict[str, float], Meta(description="Parameter -> sum of its second moments; NaN or infinite if one of them is.")
    ]
    elements: Annotated[dict[str, Count], Meta(description="Parameter -> how many there are.")]
    without: Annotated[
        Count, Meta(description="Parameters that the optimizer has a state of, and no second moment of their shape.")
    ] = 0
    non_finite: Annotated[
        dict[str, Count], Meta(description="Parameter -> how many are NaN or infinite, where any is.")
    ] = field(default_factory=dict)

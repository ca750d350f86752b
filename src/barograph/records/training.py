"""What is observed while a model trains: steps, checkpoints, and which collectors ran."""

from typing import Annotated

from msgspec import Meta, Struct, field

from barograph.records import quantities
from barograph.records.quantities import Seconds


class Step(Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="step", omit_defaults=True):
    """Values of one optimizer step; `type`, `step` and `loss` are the line that loss-curve readers know.

    A user's keys live in `metrics`, so none of them can collide with ours. Wide rows hold `values` in the order of
    the `Columns` line whose `id` they carry. A line without `loss` is a row of metrics, not a point of the curve.
    """

    step: Annotated[quantities.Step, Meta(description="Optimizer step.")]
    loss: Annotated[float | None, Meta(description="Training loss at this step, in nats; may be NaN.")] = None
    time: Annotated[Seconds, Meta(description="When the step was logged.")]
    metrics: Annotated[dict[str, float], Meta(description="Name to value.")] = field(default_factory=dict)
    columns: Annotated[str | None, Meta(description="Id of the header line that names `values`.")] = None
    values: Annotated[list[float], Meta(description="Values of a wide row, in its header's order.")] = field(
        default_factory=list
    )


class Columns(Struct, frozen=True, kw_only=True, tag_field="type", tag="columns", omit_defaults=True):
    """Header of wide rows: names the values that later `Step` lines carry; repeated every 1,000 rows."""

    id: Annotated[str, Meta(description="Hash of the names.")]
    names: Annotated[list[str], Meta(description="Metric names, in the order of `values`.")]


class Checkpoint(Struct, frozen=True, kw_only=True, tag_field="type", tag="checkpoint", omit_defaults=True):
    """A checkpoint was saved."""

    step: Annotated[quantities.Step, Meta(description="Step whose weights it holds.")]
    time: Annotated[Seconds, Meta(description="When the save ended.")]
    path: Annotated[str, Meta(description="The folder, absolute on the writing machine.")]


class Collector(Struct, frozen=True, kw_only=True, tag_field="type", tag="collector", omit_defaults=True):
    """One collector says that it runs, or why it does not."""

    time: Annotated[Seconds, Meta(description="When it was said.")]
    name: Annotated[str, Meta(description="Which collector, such as `raw_loss`.")]
    running: Annotated[bool, Meta(description="Whether it collects.")]
    detail: Annotated[str, Meta(description="What it does, or why it does not run.")]


class CollectorFailed(Struct, frozen=True, kw_only=True, tag_field="type", tag="collector_failed", omit_defaults=True):
    """A collector raised; it was detached and training went on."""

    time: Annotated[Seconds, Meta(description="When it failed.")]
    name: Annotated[str, Meta(description="Which collector.")]
    error: Annotated[str, Meta(description="Type and message of the exception.")]
    step: Annotated[quantities.Step | None, Meta(description="Newest step when it failed.")] = None

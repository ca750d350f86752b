"""What one pass over a checkpoint's tensors saw: sums and counts from which drift and stability follow.

A norm is the square root of a sum of squares over several tensors, so sums are recorded, not norms: they add up, and
a new analysis needs no second reading. The dot product of reference and current is (r + c - d) / 2 of the three sums.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from barograph.records import quantities
from barograph.records.quantities import AlertLevel, Count, Seconds

ReferenceOrigin = Literal["named", "adapter", "run", "first_checkpoint"]
"""Who says what the reference is: the user, the adapter's own config, the run's banner, or nobody, so that it is the
first checkpoint."""

TensorState = Literal["compared", "alone", "adapted", "missing", "extra", "reshaped", "integer"]

Shape = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(description="Size of each dimension.")]


class TensorPass(Struct, frozen=True, kw_only=True, tag_field="type", tag="tensor_pass", omit_defaults=True):
    """One tensor of one checkpoint, read once against its reference; null where a side was not read.

    Sums and extremes are over the finite elements, in float64; what is not finite is counted beside them.
    """

    checkpoint: Annotated[str, Meta(description="Name of the checkpoint folder.")]
    reference: Annotated[str | None, Meta(description="Name of what it was compared with; null if with nothing.")] = (
        None
    )
    step: Annotated[quantities.Step | None, Meta(description="Step of the checkpoint, if its name says one.")] = None
    time: Annotated[Seconds, Meta(description="When the pass began.")]
    tensor: Annotated[str, Meta(description="Name of the tensor.")]
    state: Annotated[
        TensorState,
        Meta(
            description="`compared` both sides; `alone` without a reference; `adapted` by thin factors on the"
            " reference; `missing` in the checkpoint; `extra` in it; `reshaped`; `integer`, no weights."
        ),
    ]
    dtype: Annotated[str | None, Meta(description="Format in the checkpoint, such as `BF16`.")] = None
    shape: Annotated[Shape | None, Meta(description="Shape in the checkpoint.")] = None
    reference_dtype: Annotated[str | None, Meta(description="Format in the reference.")] = None
    reference_shape: Annotated[Shape | None, Meta(description="Shape in the reference.")] = None
    elements: Annotated[Count, Meta(description="Elements of the tensor, in the checkpoint if it is there.")]
    rows: Annotated[Count | None, Meta(description="Size of its first dimension, if it has two or more.")] = None
    delta_squares: Annotated[float | None, Meta(description="Sum of squares of current less reference.")] = None
    reference_squares: Annotated[float | None, Meta(description="Sum of squares of the reference.")] = None
    current_squares: Annotated[float | None, Meta(description="Sum of squares of the checkpoint.")] = None
    reference_max: Annotated[float | None, Meta(description="Largest magnitude in the reference.")] = None
    current_max: Annotated[float | None, Meta(description="Largest magnitude in the checkpoint.")] = None
    current_min: Annotated[
        float | None, Meta(description="Smallest magnitude above zero in the checkpoint; null if there is none.")
    ] = None
    reference_nan: Annotated[Count | None, Meta(description="NaN elements of the reference.")] = None
    reference_infinite: Annotated[Count | None, Meta(description="Infinite elements of the reference.")] = None
    current_nan: Annotated[Count | None, Meta(description="NaN elements of the checkpoint.")] = None
    current_infinite: Annotated[Count | None, Meta(description="Infinite elements of the checkpoint.")] = None
    reference_zeros: Annotated[Count | None, Meta(description="Elements of the reference that are zero.")] = None
    current_zeros: Annotated[Count | None, Meta(description="Elements of the checkpoint that are zero.")] = None
    reference_zero_rows: Annotated[Count | None, Meta(description="Rows of the reference without a non-zero.")] = None
    current_zero_rows: Annotated[Count | None, Meta(description="Rows of the checkpoint without a non-zero.")] = None
    changed: Annotated[Count | None, Meta(description="Elements whose bits differ.")] = None
    fingerprint: Annotated[
        str | None,
        Meta(description="64-bit hash of the checkpoint's tensor, 16 hex digits; equal bytes give equal ones."),
    ] = None


class WeightsPass(Struct, frozen=True, kw_only=True, tag_field="type", tag="weights_pass", omit_defaults=True):
    """One checkpoint was read once; its `TensorPass` lines stand before this one."""

    checkpoint: Annotated[str, Meta(description="Name of the checkpoint folder.")]
    path: Annotated[str, Meta(description="The folder or file, absolute on the reading machine.")]
    reference: Annotated[str | None, Meta(description="Name of the reference; null if there was none.")] = None
    reference_path: Annotated[str | None, Meta(description="Where the reference lies.")] = None
    reference_origin: Annotated[ReferenceOrigin | None, Meta(description="Who says that it is the reference.")] = None
    no_reference: Annotated[str | None, Meta(description="Why there was no reference; null if there was one.")] = None
    step: Annotated[quantities.Step | None, Meta(description="Step of the checkpoint, if its name says one.")] = None
    time: Annotated[Seconds, Meta(description="When it began.")]
    seconds: Annotated[float, Meta(description="How long it took.")]
    tensors: Annotated[Count, Meta(description="How many `TensorPass` lines belong to it.")]
    bytes_read: Annotated[Count, Meta(description="Bytes read from both sides.")]
    unchanged: Annotated[
        Count, Meta(description="Tensors known to be the reference's, whose reference was not read again.")
    ] = 0
    job: Annotated[str | None, Meta(description="Id of the job that it was for; null if it was for none.")] = None
    stamp: Annotated[str, Meta(description="Hash of the checkpoint's file names, sizes and times.")]
    reference_stamp: Annotated[str | None, Meta(description="The same of the reference.")] = None
    adapter: Annotated[bool, Meta(description="Whether the checkpoint is an adapter on the reference.")] = False


RANKS: tuple[ReferenceOrigin, ...] = ("named", "adapter", "run", "first_checkpoint")
"""References, the best first: what was read against one is not replaced by what was read against a lesser one."""


def reference_rank(summary: WeightsPass) -> int:
    """How good the reference of a pass was: 0 is the one that the user named, the greatest number is none."""
    return origin_rank(summary.reference_origin)


def origin_rank(origin: ReferenceOrigin | None) -> int:
    """The same of what is said to be a reference."""
    return len(RANKS) if origin is None else RANKS.index(origin)


class Finding(Struct, frozen=True, kw_only=True):
    """What a policy says of one part of the weights, with what may cause it and what to do."""

    name: Annotated[str, Meta(description="Which rule, such as `exploding`.")]
    severity: Annotated[AlertLevel, Meta(description="`info` says how to read a number; the others ask for a look.")]
    layer: Annotated[int | None, Meta(description="Block; -1 for embeddings and the rest; null for the whole model.")]
    message: Annotated[str, Meta(description="One sentence with its numbers.")]
    cause: Annotated[str, Meta(description="What commonly causes it.")]
    action: Annotated[str, Meta(description="What to do about it.")]

"""One tensor of a checkpoint beside its reference: what stands behind a layer's bar.

The formulas are those of `layer_drift` and `weight_stability`, over one tensor instead of a block.
"""

import math
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from barograph.records import TensorPass
from barograph.records.quantities import Count
from barograph.records.weights import TensorState


class TensorDrift(Struct, frozen=True, kw_only=True):
    """One tensor; null is what was not measured, or is no number."""

    tensor: Annotated[str, Meta(description="Its name.")]
    state: Annotated[TensorState, Meta(description="Which sides have it, as in `TensorPass`.")]
    dtype: Annotated[str | None, Meta(description="Format in the checkpoint.")]
    shape: Annotated[list[int] | None, Meta(description="Shape in the checkpoint.")]
    elements: Annotated[Count, Meta(description="Its elements.")]
    relative_change: Annotated[float | None, Meta(description="delta_norm / reference_norm.")]
    delta_norm: Annotated[float | None, Meta(description="L2 norm of current less reference.")]
    reference_norm: Annotated[float | None, Meta(description="L2 norm of the reference.")]
    current_norm: Annotated[float | None, Meta(description="L2 norm of the checkpoint.")]
    fraction_changed: Annotated[float | None, Meta(description="Share of elements whose bits differ.")]
    max_abs_weight: Annotated[float | None, Meta(description="Largest finite magnitude.")]
    min_abs_weight: Annotated[float | None, Meta(description="Smallest magnitude above zero.")]
    non_finite: Annotated[Count | None, Meta(description="Elements that are NaN or infinite.")]
    zero_fraction: Annotated[float | None, Meta(description="Share of elements that are zero.")]
    zero_rows: Annotated[Count | None, Meta(description="Rows without a non-zero.")]


def tensor_drift(rows: Iterable[TensorPass]) -> list[TensorDrift]:
    """One entry per row, in their order."""
    return [_of_one(row) for row in rows]


def _of_one(row: TensorPass) -> TensorDrift:
    current_bad = (row.current_nan or 0) + (row.current_infinite or 0)
    reference_bad = (row.reference_nan or 0) + (row.reference_infinite or 0)
    delta = None if current_bad or reference_bad else _norm(row.delta_squares)
    reference = None if reference_bad else _norm(row.reference_squares)
    counted = row.current_nan is not None
    return TensorDrift(
        tensor=row.tensor,
        state=row.state,
        dtype=row.dtype,
        shape=row.shape,
        elements=row.elements,
        relative_change=delta / reference if delta is not None and reference else None,
        delta_norm=delta,
        reference_norm=reference,
        current_norm=None if current_bad else _norm(row.current_squares),
        fraction_changed=_share(row.changed, row.elements),
        max_abs_weight=row.current_max,
        min_abs_weight=row.current_min,
        non_finite=current_bad if counted else None,
        zero_fraction=_share(row.current_zeros, row.elements),
        zero_rows=row.current_zero_rows,
    )


def _norm(squares: float | None) -> float | None:
    return math.sqrt(squares) if squares is not None and math.isfinite(squares) else None


def _share(count: int | None, elements: int) -> float | None:
    return count / elements if count is not None and elements else None

"""Points -> at most so many buckets of equal width in steps, without hiding anything that sticks out."""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray


class Buckets(Struct, frozen=True, kw_only=True):
    """One entry per non-empty bucket, in the order of the steps. What only finite values have is NaN without any."""

    first: Annotated[NDArray[np.int64], Meta(description="[buckets], first step.")]
    step: Annotated[NDArray[np.int64], Meta(description="[buckets], last step.")]
    minimum: Annotated[NDArray[np.float64], Meta(description="[buckets], least finite value.")]
    maximum: Annotated[NDArray[np.float64], Meta(description="[buckets], greatest finite value.")]
    mean: Annotated[NDArray[np.float64], Meta(description="[buckets], mean of the finite values.")]
    last: Annotated[NDArray[np.float64], Meta(description="[buckets], last finite value.")]
    count: Annotated[NDArray[np.int64], Meta(description="[buckets], points, non-finite ones included.")]
    non_finite: Annotated[NDArray[np.int64], Meta(description="[buckets], points that are NaN or infinite.")]
    end: Annotated[NDArray[np.int64], Meta(description="[buckets], place of the last point among the points.")]


def bucketed(steps: NDArray[np.int64], values: NDArray[np.float64], *, buckets: int) -> Buckets:
    """The points in at most `buckets` buckets; `steps: [points]` ascend, `values: [points]` belong to them.

    The width is the least whole number of steps that suffices, so a short series has one bucket per step.
    """
    if len(steps) == 0:
        none, nothing = np.empty(0, dtype=np.int64), np.empty(0)
        return Buckets(
            first=none,
            step=none,
            minimum=nothing,
            maximum=nothing,
            mean=nothing,
            last=nothing,
            count=none,
            non_finite=none,
            end=none,
        )
    span = int(steps[-1]) - int(steps[0]) + 1
    bucket = (steps - steps[0]) // -(-span // buckets)
    starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    count = np.diff(np.append(starts, len(steps)))
    end = starts + count - 1
    finite = np.isfinite(values)
    finite_count = np.add.reduceat(finite.astype(np.int64), starts)
    known = finite_count > 0
    minimum = np.where(known, np.minimum.reduceat(np.where(finite, values, np.inf), starts), np.nan)
    maximum = np.where(known, np.maximum.reduceat(np.where(finite, values, -np.inf), starts), np.nan)
    # Divided before they are added: the sum of finite values need not be finite.
    shares = np.where(finite, values, 0.0) / np.repeat(np.maximum(finite_count, 1), count)
    mean = np.where(known, np.clip(np.add.reduceat(shares, starts), minimum, maximum), np.nan)
    place = np.maximum.reduceat(np.where(finite, np.arange(len(values)), -1), starts)
    last = np.where(known, values[np.maximum(place, 0)], np.nan)
    return Buckets(
        first=steps[starts],
        step=steps[end],
        minimum=minimum,
        maximum=maximum,
        mean=mean,
        last=last,
        count=count,
        non_finite=count - finite_count,
        end=end,
    )

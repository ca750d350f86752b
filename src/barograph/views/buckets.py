"""How wide the buckets of a chart are, and which rows fall into which.

A bucket is a range of steps, aligned to a multiple of its width, and a width is one of a few: 1, 2, 3, then 4, 5, 6 or
7 times a power of two. So while a run grows, the buckets that a page holds stay the same buckets until the width
changes, which happens once per 14 to 25 per cent of growth, and a refresh needs to send the newest one only.
"""

import numpy as np
from numpy.typing import NDArray

from barograph.analysis.rollup import Rollup
from barograph.records.quantities import Step


def bucket_width(first: Step, last: Step, *, buckets: int) -> int:
    """The least such width, in steps, with which `buckets` aligned buckets cover the steps `first` to `last`.

    It leaves at most a quarter of the buckets unused, apart from what alignment costs.
    """
    width, scale, digit = 1, 1, 1
    while last // width - first // width + 1 > buckets:
        digit += 1
        if digit == 8:
            scale, digit = scale * 2, 4
        width = scale * digit
    return width


def bucket_starts(rows: Rollup, *, width: int) -> NDArray[np.intp]:
    """Places of the first row of each bucket; a row belongs to the bucket of its first step."""
    if not len(rows):
        return np.empty(0, dtype=np.intp)
    bucket = rows.lo // width
    return np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))

"""Bias-corrected exponential moving average, as a fold over single values and over a whole array.

    m_t = w m_{t-1} + (1 - w) x_t,   c_t = w c_{t-1} + (1 - w),   average = m_t / c_t,   m_0 = c_0 = 0

with w the weight of the past (Kingma & Ba 2015, Adam, section 3). It is the weighted mean of all values so far with
weights w^age, which pandas calls `ewm(alpha=1 - w, adjust=True, ignore_na=False)`. A value that is NaN or infinite is
skipped and the weight of the past decays all the same; pandas lets an infinity through, this does not.
"""

import math
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.errors import UsageError

_BLOCK = 64


class MovingAverage(Struct, frozen=True, kw_only=True):
    """State of the fold: `update` gives the next one."""

    past: Annotated[float, Meta(ge=0.0, lt=1.0, description="Weight of the past, w; 0 follows every value.")]
    value: Annotated[float, Meta(description="The average; NaN until a finite value was seen.")] = math.nan
    weight: Annotated[float, Meta(description="c_t, the sum of the weights given so far.")] = 0.0

    def update(self, value: float) -> "MovingAverage":
        """The state after one more value; float64."""
        decayed = self.past * self.weight
        if not math.isfinite(value):
            return MovingAverage(past=self.past, value=self.value, weight=decayed)
        weight = decayed + (1.0 - self.past)
        share = (1.0 - self.past) / weight
        # Both products before the sum: a difference of two huge values could overflow.
        average = value if decayed == 0.0 else (1.0 - share) * self.value + share * value
        return MovingAverage(past=self.past, value=average, weight=weight)


def moving_average(values: NDArray[np.float64], *, past: float) -> NDArray[np.float64]:
    """The average after each of `values: [n]`, as `MovingAverage` would give it one by one; NaN before any finite one.

    Raises `UsageError` unless 0 <= past < 1.
    """
    if not 0.0 <= past < 1.0:
        raise UsageError(f"the weight of the past is {past}", advice="Give a number of at least 0 and less than 1")
    finite = np.isfinite(values)
    if past == 0.0:
        return _carried_forward(values, finite)
    total = _decayed_sums(np.where(finite, values, 0.0), past)
    weight = _decayed_sums(finite.astype(np.float64), past)
    average = np.full(len(values), math.nan)
    np.divide(total, weight, out=average, where=finite)
    return _carried_forward(average, finite)


def _decayed_sums(values: NDArray[np.float64], past: float) -> NDArray[np.float64]:
    """s_t = past s_{t-1} + (1 - past) x_t, block by block: in a block it is one triangular matrix product."""
    count = len(values)
    blocks = -(-count // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[:count] = values
    age = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None]
    triangle = np.where(age >= 0, (1.0 - past) * past ** np.maximum(age, 0), 0.0)
    sums: NDArray[np.float64] = padded.reshape(blocks, _BLOCK) @ triangle
    decay = past ** np.arange(1, _BLOCK + 1)
    carries, carry = [], 0.0
    for own in sums[:, -1].tolist():
        carries.append(carry)
        carry = own + carry * float(decay[-1])
    sums += np.array(carries)[:, None] * decay
    return sums.reshape(-1)[:count]


def _carried_forward(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each unknown value replaced by the last known one before it; NaN where there is none."""
    place = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1)) if len(values) else np.zeros(0, int)
    return np.where(place >= 0, values[np.maximum(place, 0)], math.nan)

"""Arrays <-> bytes of a row: columns of equal length, and what can be said in two numbers is said in two numbers.

Steps mostly count up by a constant, counts are mostly all the same; such a column is its first number and its stride.
Every other one is stored as it is, eight bytes a value: reading it costs no more than looking at it, and NaN, the
infinities and the sign of zero survive. Floats are compared by their bits.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from barograph.analysis.rollup import ALL, Rollup
from barograph.index.schema import IndexDamaged

Column = NDArray[np.int64] | NDArray[np.float64]

_HEAD = struct.Struct("<IB")
_LINE = struct.Struct("<qq")
_INTEGERS = 4
"""Columns of a rollup that hold whole numbers: first step, last step, count, finite."""
_FLOATS = 4


def encode_columns(columns: Sequence[Column]) -> bytes:
    """The columns, all of the same length, as bytes."""
    kinds, parts = bytearray(), []
    for column in columns:
        bits = np.ascontiguousarray(column).view(np.int64)
        if _is_line(bits):
            kinds.append(1)
            stride = int(bits[1]) - int(bits[0]) if len(bits) > 1 else 0
            parts.append(_LINE.pack(int(bits[0]), _wrapped(stride)))
        else:
            kinds.append(0)
            parts.append(bits.astype("<i8", copy=False).tobytes())
    return b"".join([_HEAD.pack(len(columns[0]), len(columns)), bytes(kinds), *parts])


def decode_columns(data: bytes) -> list[NDArray[np.int64]]:
    """The bits of the columns; view one as float64 if it is one. Raises `IndexDamaged`."""
    try:
        length, count = _HEAD.unpack_from(data)
        place = _HEAD.size + count
        columns: list[NDArray[np.int64]] = []
        for kind in data[_HEAD.size : place]:
            if kind:
                first, stride = _LINE.unpack_from(data, place)
                columns.append(first + stride * np.arange(length, dtype=np.int64))
                place += _LINE.size
            else:
                columns.append(np.frombuffer(data, dtype="<i8", count=length, offset=place))
                place += 8 * length
    except (struct.error, ValueError) as error:
        raise IndexDamaged(f"a block of points cannot be read: {error}") from error
    return columns


def encode_points(steps: NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """Points as bytes."""
    return encode_columns([steps, values])


def decode_points(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps and values. Raises `IndexDamaged`."""
    steps, values = decode_columns(data)
    return steps, values.view(np.float64)


def encode_rollup(rows: Rollup) -> bytes:
    """Rows of spans as bytes; they have the sums of all weights."""
    floats = (rows.minimum, rows.maximum, rows.mean, rows.last, *rows.decayed)
    return encode_columns([rows.lo, rows.hi, rows.count, rows.finite, *floats])


def decode_rollup(data: bytes, *, weights: tuple[int, ...] = ALL) -> Rollup:
    """What `encode_rollup` was given, with the sums of some weights. Raises `IndexDamaged`."""
    columns = decode_columns(data)
    floats = [column.view(np.float64) for column in columns[_INTEGERS:]]
    sums = [floats[_FLOATS + weight] for weight in weights]
    return Rollup(
        lo=columns[0],
        hi=columns[1],
        count=columns[2],
        finite=columns[3],
        minimum=floats[0],
        maximum=floats[1],
        mean=floats[2],
        last=floats[3],
        decayed=np.array(sums) if sums else np.empty((0, len(columns[0]))),
        weights=weights,
    )


def _is_line(bits: NDArray[np.int64]) -> bool:
    """Whether the numbers are an arithmetic progression, in arithmetic that wraps around as `decode_columns` does."""
    if len(bits) < 3:
        return len(bits) == 1
    if int(bits[2]) - int(bits[1]) != int(bits[1]) - int(bits[0]):
        return False
    differences = np.diff(bits)
    return bool((differences == differences[0]).all())


def _wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63

"""The compiled inner loops of the pass: one chunk of two tensors in, a row of partial results out.

A chunk is walked in blocks of 1,024 elements, which stay in the first-level cache while they are read several times:
once as integers (extremes, zeros, changes, and whether anything is not finite), once as floats (the sums), once for
the fingerprint. Extremes and counts come from the bits, so they are exact and never depend on how a comparison treats
a NaN. Squares of large bfloat16 tensors are added in float32 within a block, which is twice as fast, and in float64
between blocks; everything else is summed in float64 throughout. A block that holds a NaN, an infinity, or squares
outside float32's range is summed element by element in float64.

`fastmath` allows reordering and fused multiply-add only: no assumption that values are finite.

Functions without types are compiled once per width of what they are given; numba infers the types. Results are
written into a row of partial results, and the few tuples here stay inside a kernel.

The kernels are compiled on first use and kept in numba's cache. Where that can be written nowhere (package and home
both read-only) they are compiled again in each process, in about two seconds; `NUMBA_CACHE_DIR` names another place.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])
Words = NDArray[np.uint64]
Kernel = Callable[[Words, Words, Words, int, int, NDArray[np.float64]], int]

BLOCK = 1024
"""Elements that are looked at together; a constant of the fingerprint."""

FEW = 64 * BLOCK
"""Tensors of fewer elements are summed in float64, because errors of single blocks do not average out in them."""

KEYS: Words = np.random.default_rng(20251125).integers(0, 2**64, size=BLOCK, dtype=np.uint64)
"""Random words of the fingerprint, enough for a block of 8-byte elements; constants of its format."""

DELTA, REFERENCE, CURRENT = 0, 1, 2
REFERENCE_MAX, CURRENT_MAX, CURRENT_MIN = 3, 4, 5
REFERENCE_NAN, REFERENCE_INFINITE, CURRENT_NAN, CURRENT_INFINITE = 6, 7, 8, 9
REFERENCE_ZEROS, CURRENT_ZEROS, CHANGED = 10, 11, 12
REFERENCE_ZERO_ROWS, CURRENT_ZERO_ROWS = 13, 14
PARTIALS = 15
"""Length of a row of partial results, by the names above: squares, extremes, counts."""

_FAST = {"reassoc", "nsz", "contract"}


def compiled(function: Function) -> Function:
    """Compile on first call, without the GIL; into the cache if there is a place for it."""
    try:
        made: Function = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no place for the cache
        made = njit(nogil=True)(function)
    return made


def part(*, fast: bool = False) -> Callable[[Function], Function]:
    """What only compiled functions call: no entry from Python, no file in the cache."""

    def decorated(function: Function) -> Function:
        options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "fastmath": _FAST if fast else False}
        made: Function = njit(nogil=True, **options)(function)
        return made

    return decorated


@part()
def _mixed(state, word):
    """The fingerprint `state` after one more word (the finaliser of splitmix64); both are 64-bit."""
    h = (np.uint64(state) ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
    h ^= h >> np.uint64(29)
    h = h * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(32))


@part(fast=True)
def _hashed(words, first, count, keys):
    """NH (Black et al. 1999) of `count` words: the sum of products of 32-bit halves, each with its key added."""
    total = np.uint64(0)
    for i in range(count):
        at = np.uint64(i)
        word, key = words[np.uint64(first) + at], keys[at]
        low = np.uint64(np.uint32(np.uint32(word) + np.uint32(key)))
        high = np.uint64(np.uint32(np.uint32(word >> np.uint64(32)) + np.uint32(key >> np.uint64(32))))
        total += low * high
    return total


@part()
def _scanned(a, b, first, count, magnitude):
    """Largest magnitude of a and of b, smallest of b above zero less one, zeros of a and b, changed elements."""
    bits = a.dtype.type
    one, zero = bits(1), bits(0)
    most_a, most_b, least_b = zero, zero, bits(~zero)
    zeros_a, zeros_b, changed = zero, zero, zero
    for i in range(count):
        at = np.uint64(first) + np.uint64(i)
        x, y = a[at], b[at]
        p, q = bits(x & magnitude), bits(y & magnitude)
        most_a, most_b = max(most_a, p), max(most_b, q)
        least_b = min(least_b, bits(q - one))  # zero wraps to the top
        zeros_a = bits(zeros_a + bits(p == zero))
        zeros_b = bits(zeros_b + bits(q == zero))
        changed = bits(changed + bits(x != y))
    return most_a, most_b, least_b, zeros_a, zeros_b, changed


@part()
def _zero_rows(bits, first, count, width, row_is_zero, magnitude):
    """Rows of `width` that end in this block and hold only zeros, and whether the row that goes on does so far.

    `first` counts from the beginning of a row of the chunk. A row is left at its first element that is not zero, so
    ordinary rows cost one look each.
    """
    rows, at, end = 0, first, first + count
    while at < end:
        stop = min(end, at - at % width + width)
        if at % width == 0:
            row_is_zero = True
        while row_is_zero and at < stop:
            row_is_zero = (bits[np.uint64(at)] & magnitude) == 0
            at += 1
        at = stop
        if at % width == 0 and row_is_zero:
            rows += 1
    return rows, row_is_zero


@part()
def _taken(x, y, sums):
    """One element of each side, in float64, with everything that can be wrong with it."""
    if np.isnan(x):
        sums[REFERENCE_NAN] += 1
    elif np.isinf(x):
        sums[REFERENCE_INFINITE] += 1
    else:
        sums[REFERENCE] += x * x
        sums[REFERENCE_MAX] = max(sums[REFERENCE_MAX], abs(x))
    if np.isnan(y):
        sums[CURRENT_NAN] += 1
    elif np.isinf(y):
        sums[CURRENT_INFINITE] += 1
    else:
        sums[CURRENT] += y * y
        sums[CURRENT_MAX] = max(sums[CURRENT_MAX], abs(y))
        if y != 0.0:
            sums[CURRENT_MIN] = min(sums[CURRENT_MIN], abs(y))
    if np.isfinite(x) and np.isfinite(y):
        sums[DELTA] += (y - x) * (y - x)


@part()
def _bf16(bits):
    """A bfloat16 as float32: its bits are the upper half."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@part(fast=True)
def _low(word):
    """The first bfloat16 of two as float32."""
    return np.uint32(word << np.uint32(16)).view(np.float32)


@part(fast=True)
def _high(word):
    """The second one."""
    return np.uint32(word & np.uint32(0xFFFF0000)).view(np.float32)


@part(fast=True)
def _sums_bf16(a, b, first, count):
    """Squares of delta, reference and current over `count` words of two elements, in float32.

    Over a block this may be 3e-7 off, one way or the other; over the many blocks of a large tensor it is 3e-8.
    """
    delta, reference, current = np.float32(0), np.float32(0), np.float32(0)
    for i in range(count):
        at = np.uint64(first) + np.uint64(i)
        x0, x1, y0, y1 = _low(a[at]), _high(a[at]), _low(b[at]), _high(b[at])
        d0, d1 = y0 - x0, y1 - x1
        delta += d0 * d0 + d1 * d1
        reference += x0 * x0 + x1 * x1
        current += y0 * y0 + y1 * y1
    return np.float64(delta), np.float64(reference), np.float64(current)


@part(fast=True)
def _exact_sums_bf16(a, b, first, count):
    """The same with every square in float64, for tensors of few blocks; half as fast."""
    delta, reference, current = 0.0, 0.0, 0.0
    for i in range(count):
        at = np.uint64(first) + np.uint64(i)
        x0, x1 = np.float64(_low(a[at])), np.float64(_high(a[at]))
        y0, y1 = np.float64(_low(b[at])), np.float64(_high(b[at]))
        delta += (y0 - x0) * (y0 - x0) + (y1 - x1) * (y1 - x1)
        reference += x0 * x0 + x1 * x1
        current += y0 * y0 + y1 * y1
    return delta, reference, current


@part(fast=True)
def _sum_bf16(b, first, count):
    """Squares of one side, for a block of a large tensor in which nothing changed; two sums for independent lanes."""
    low, high = np.float32(0), np.float32(0)
    for i in range(count):
        word = b[np.uint64(first) + np.uint64(i)]
        low += _low(word) * _low(word)
        high += _high(word) * _high(word)
    return np.float64(low) + np.float64(high)


@part(fast=True)
def _sums_wide(a, b, first, count):
    """Squares of delta, reference and current over float32 or float64 elements, in float64."""
    delta, reference, current = 0.0, 0.0, 0.0
    for i in range(count):
        at = np.uint64(first) + np.uint64(i)
        x, y = np.float64(a[at]), np.float64(b[at])
        delta += (y - x) * (y - x)
        reference += x * x
        current += y * y
    return delta, reference, current


@part()
def _counted(zeros_a, zeros_b, changes, rows_a, rows_b, sums):
    """Add the counts of a chunk; they are kept apart from `sums` while it is walked, which is a third faster."""
    sums[REFERENCE_ZEROS] += zeros_a
    sums[CURRENT_ZEROS] += zeros_b
    sums[CHANGED] += changes
    sums[REFERENCE_ZERO_ROWS] += rows_a
    sums[CURRENT_ZERO_ROWS] += rows_b


@part()
def _summed(delta, reference, current, reference_max, current_max, current_min, sums):
    """Add a block's squares and widen the extremes by its own; `current_min` is NaN where all of it is zero."""
    sums[DELTA] += np.float64(delta)
    sums[REFERENCE] += np.float64(reference)
    sums[CURRENT] += np.float64(current)
    sums[REFERENCE_MAX] = max(sums[REFERENCE_MAX], np.float64(reference_max))
    sums[CURRENT_MAX] = max(sums[CURRENT_MAX], np.float64(current_max))
    if not np.isnan(current_min):
        sums[CURRENT_MIN] = min(sums[CURRENT_MIN], np.float64(current_min))


@part()
def _narrow_pass(a, b, keys, count, width, sums):
    """The body of `bf16_pass`."""
    a16, b16, a32, b32 = a.view(np.uint16), b.view(np.uint16), a.view(np.uint32), b.view(np.uint32)
    magnitude = np.uint16(0x7FFF)
    # Squares of what lies between stay within float32, also 1,024 of them.
    least, most = np.uint16((127 - 50) << 7), np.uint16((127 + 50) << 7)
    zero, top = np.uint16(0), np.uint16(0xFFFF)
    hashed = np.uint64(count)
    zeros_a, zeros_b, changes = np.int64(0), np.int64(0), np.int64(0)
    rows_a, rows_b = 0, 0
    row_a, row_b = False, False
    first = 0
    while first < count:
        block = min(count - first, BLOCK)
        found = _scanned(a16, b16, first, block, magnitude)
        most_a, most_b, least_b, changed = found[0], found[1], found[2], found[5]
        zeros_a += np.int64(found[3])
        zeros_b += np.int64(found[4])
        changes += np.int64(found[5])
        if width:
            rows, row_a = _zero_rows(a16, first, block, width, row_a, magnitude) if found[3] else (0, False)
            rows_a += rows
            rows, row_b = _zero_rows(b16, first, block, width, row_b, magnitude) if found[4] else (0, False)
            rows_b += rows
        hashed = _mixed(hashed, _hashed(b, first >> 2, (block + 3) >> 2, keys))
        ordinary = (most_a >= least or most_a == zero) and (most_b >= least or most_b == zero)
        ordinary = ordinary and max(most_a, most_b) < most
        delta, reference, current = 0.0, 0.0, 0.0
        if ordinary and count < FEW:
            delta, reference, current = _exact_sums_bf16(a32, b32, first >> 1, block >> 1)
        elif ordinary and changed:
            delta, reference, current = _sums_bf16(a32, b32, first >> 1, block >> 1)
            ordinary = delta > 1e-25  # smaller squares would vanish
        elif ordinary:
            current = _sum_bf16(b32, first >> 1, block >> 1)
            reference = current
        if ordinary:
            smallest = np.float32(np.nan) if least_b == top else _bf16(np.uint16(least_b + np.uint16(1)))
            _summed(delta, reference, current, _bf16(most_a), _bf16(most_b), smallest, sums)
            if block & 1:
                last = np.uint64(first + block - 1)
                x, y = np.float64(_bf16(a16[last])), np.float64(_bf16(b16[last]))
                _summed((y - x) * (y - x), x * x, y * y, 0.0, 0.0, np.nan, sums)
        else:
            for i in range(first, first + block):
                _taken(np.float64(_bf16(a16[np.uint64(i)])), np.float64(_bf16(b16[np.uint64(i)])), sums)
        first += block
    _counted(zeros_a, zeros_b, changes, rows_a, rows_b, sums)
    return hashed


@part()
def _wide_pass(a_bits, b_bits, a, b, words, per_word, keys, count, width, sums, magnitude, infinite):
    """As `_narrow_pass`, for elements that are summed in float64: their bits and the same as floats."""
    bits = b_bits.dtype.type
    one, zero = bits(1), bits(0)
    three = np.empty(3, b_bits.dtype)
    values = three.view(b.dtype)
    hashed = np.uint64(count)
    zeros_a, zeros_b, changes = np.int64(0), np.int64(0), np.int64(0)
    rows_a, rows_b = 0, 0
    row_a, row_b = False, False
    first = 0
    while first < count:
        block = min(count - first, BLOCK)
        found = _scanned(a_bits, b_bits, first, block, magnitude)
        zeros_a += np.int64(found[3])
        zeros_b += np.int64(found[4])
        changes += np.int64(found[5])
        if width:
            rows, row_a = _zero_rows(a_bits, first, block, width, row_a, magnitude) if found[3] else (0, False)
            rows_a += rows
            rows, row_b = _zero_rows(b_bits, first, block, width, row_b, magnitude) if found[4] else (0, False)
            rows_b += rows
        hashed = _mixed(hashed, _hashed(words, first // per_word, (block + per_word - 1) // per_word, keys))
        if max(found[0], found[1]) < infinite:
            delta, reference, current = _sums_wide(a, b, first, block)
            three[0], three[1], three[2] = found[0], found[1], bits(found[2] + one)
            smallest = np.float64(np.nan) if three[2] == zero else np.float64(values[2])
            _summed(delta, reference, current, values[0], values[1], smallest, sums)
        else:
            for i in range(first, first + block):
                _taken(np.float64(a[np.uint64(i)]), np.float64(b[np.uint64(i)]), sums)
        first += block
    _counted(zeros_a, zeros_b, changes, rows_a, rows_b, sums)
    return hashed


@compiled
def bf16_pass(a: Words, b: Words, keys: Words, count: int, width: int, sums: NDArray[np.float64]) -> int:
    """One chunk of bfloat16: adds to `sums: [PARTIALS]`, returns the fingerprint of `b`.

    `a`, `b`: `count` elements in 64-bit words, the last one filled up with zeros. `width`: elements per row, of which
    the chunk holds whole ones; 0 where rows mean nothing. The other kernels take and give the same.
    """
    return _narrow_pass(a, b, keys, count, width, sums)


@compiled
def f32_pass(a: Words, b: Words, keys: Words, count: int, width: int, sums: NDArray[np.float64]) -> int:
    """One chunk of float32."""
    a_bits, b_bits = a.view(np.uint32), b.view(np.uint32)
    magnitude, infinite = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
    a_floats, b_floats = a.view(np.float32), b.view(np.float32)
    return _wide_pass(a_bits, b_bits, a_floats, b_floats, b, 2, keys, count, width, sums, magnitude, infinite)


@compiled
def f64_pass(a: Words, b: Words, keys: Words, count: int, width: int, sums: NDArray[np.float64]) -> int:
    """One chunk of float64."""
    magnitude, infinite = np.uint64(0x7FFFFFFFFFFFFFFF), np.uint64(0x7FF0000000000000)
    return _wide_pass(a, b, a.view(np.float64), b.view(np.float64), b, 1, keys, count, width, sums, magnitude, infinite)


@compiled
def widened_bf16(words: Words, count: int, out: Words) -> None:
    """`count` bfloat16 as float32 in `out`, exactly; the last word is filled up with zeros."""
    given, made = words.view(np.uint16), out.view(np.uint32)
    made[count] = np.uint32(0)
    for i in range(count):
        at = np.uint64(i)
        made[at] = np.uint32(np.uint32(given[at]) << np.uint32(16))


@compiled
def widened_f16(words: Words, count: int, out: Words) -> None:
    """As `widened_bf16`: exponent and fraction moved into place, then the exponent's bias put right.

    No fast mathematics here: the factor could be squared into an infinity.
    """
    given, made, floats = words.view(np.uint16), out.view(np.uint32), out.view(np.float32)
    made[count] = np.uint32(0)
    for i in range(count):
        at = np.uint64(i)
        bits = np.uint32(given[at])
        rest = np.uint32(np.uint32(bits & np.uint32(0x7FFF)) << np.uint32(13))
        if np.uint32(bits & np.uint32(0x7FFF)) >= np.uint32(0x7C00):
            made[at] = np.uint32(rest | np.uint32(0x7F800000))
        else:
            floats[at] = rest.view(np.float32) * np.float32(2.0**112)
        made[at] = np.uint32(made[at] | np.uint32(np.uint32(bits & np.uint32(0x8000)) << np.uint32(16)))

"""The compiled inner loops of the pass: chunks of two tensors in, rows of partial results out.
It is long because everything compiled is here, where numba keeps one cache for it. From the inside out: single blocks
of 1,024 elements, whatever their bits are; runs of blocks of bfloat16 by vector instructions; pieces, which are what a
buffer holds; and chunks, which are read piece by piece. `pread` is called from the compiled code, so that a thread
holds no lock for as long as several chunks take, and a piece is still in the second-level cache when it is summed.

A block is read several times while it stays in the first-level cache: once as integers (extremes, zeros, changes, and
whether anything is not finite), once as floats (the sums), once for the fingerprint. A run of bfloat16, which is what
most weights are, is read once, and everything is done to it in registers. Extremes and counts come from the bits, so
they are exact and never depend on how a comparison treats a NaN.

Everything is summed in float64, but for eight squares at a time of a run: they are added in float32 as a tree, which
costs at most 9e-8 of a norm and, if every rounding goes the same way, 1.2e-7 of the norm of a change. A run that holds
a NaN, an infinity, squares outside float32's range, or two elements so far apart that float32 cannot hold their
difference, is taken as single blocks, and a block that holds a NaN or an infinity element by element.

`fastmath` allows reordering and fused multiply-add only: no assumption that values are finite.

Functions without types are compiled once per width of what they are given; numba infers the types. Results are
written into a row of partial results, and the few tuples here stay inside a kernel.

The kernels are compiled on first use and kept in numba's cache. Where that can be written nowhere (package and home
both read-only) they are compiled again in each process, in about two seconds; `NUMBA_CACHE_DIR` names another place.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])
Words = NDArray[np.uint64]
Kernel = Callable[
    [
        NDArray[np.int64],
        Words,
        Words,
        Words,
        NDArray[np.int64],
        int,
        NDArray[np.float64],
        Words,
        NDArray[np.uint8],
    ],
    int,
]

BLOCK = 1024
"""Elements that are looked at together; a constant of the fingerprint."""

RUN = 16
"""Blocks in a run. Few enough that one odd element does not slow down many others."""

PIECE_BYTES = 256 * 1024
"""Bytes of a side that are read at once: two such buffers fit into the second-level cache."""

ALIGNMENT = 4096
"""A buffer's address and a file's offset agree modulo this, because copying between them is a fifth faster then."""

A_FILE, A_OFFSET, B_FILE, B_OFFSET = 0, 1, 2, 3
"""Places in a source: open file and byte of each side. A file of -1: `b` is in memory, or `a` is `b`."""

KEYS: Words = np.random.default_rng(20251125).integers(0, 2**64, size=BLOCK, dtype=np.uint64)
"""Random words of the fingerprint, enough for a block of 8-byte elements; constants of its format."""

DELTA, REFERENCE, CURRENT = 0, 1, 2
REFERENCE_MAX, CURRENT_MAX, CURRENT_MIN = 3, 4, 5
REFERENCE_NAN, REFERENCE_INFINITE, CURRENT_NAN, CURRENT_INFINITE = 6, 7, 8, 9
REFERENCE_ZEROS, CURRENT_ZEROS, CHANGED = 10, 11, 12
REFERENCE_ZERO_ROWS, CURRENT_ZERO_ROWS = 13, 14
PARTIALS = 15
"""Length of a row of partial results, by the names above: squares, extremes, counts."""

NONE, NO = np.int64(0), np.bool_(False)
"""Where a count begins, and a flag. Of a plain 0 numba makes a type of its own and compiles what it is given twice."""

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
def _zero_rows(bits, place, first, count, width, row_is_zero, magnitude):
    """Rows of `width` that end among `count` elements and hold only zeros; whether the row that goes on does so far.

    `place` is where the elements begin in `bits`, `first` counts from the beginning of a row. A row is left at its
    first element that is not zero, so ordinary rows cost one look each.
    """
    rows, at, end = 0, first, first + count
    while at < end:
        stop = min(end, at - at % width + width)
        if at % width == 0:
            row_is_zero = True
        while row_is_zero and at < stop:
            row_is_zero = (bits[np.uint64(place + at - first)] & magnitude) == 0
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


@part()
def _above_zero(least):
    """The smallest magnitude above zero as `_scanned` gives it; NaN where there is none."""
    return np.float32(np.nan) if least == np.uint16(0xFFFF) else _bf16(np.uint16(least + np.uint16(1)))


@part(fast=True)
def _sums_bf16(a, b, first, count):
    """Squares of delta, reference and current over `count` elements, every one of them in float64."""
    delta, reference, current = 0.0, 0.0, 0.0
    for i in range(count):
        at = np.uint64(first) + np.uint64(i)
        x, y = np.float64(_bf16(a[at])), np.float64(_bf16(b[at]))
        delta += (y - x) * (y - x)
        reference += x * x
        current += y * y
    return delta, reference, current


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
def _narrow_blocks(a16, b16, words, keys, place, first, count, width, hashed, row_a, row_b, sums):
    """Blocks of bfloat16 whatever their bits are: `count` elements from `place` on, `first` of the chunk."""
    magnitude, infinite = np.uint16(0x7FFF), np.uint16(0x7F80)
    zeros_a, zeros_b, changes = np.int64(0), np.int64(0), np.int64(0)
    rows_a, rows_b = 0, 0
    end = place + count
    while place < end:
        block = min(end - place, BLOCK)
        found = _scanned(a16, b16, place, block, magnitude)
        most_a, most_b, least_b = found[0], found[1], found[2]
        zeros_a += np.int64(found[3])
        zeros_b += np.int64(found[4])
        changes += np.int64(found[5])
        if width:
            rows, row_a = _zero_rows(a16, place, first, block, width, row_a, magnitude) if found[3] else (0, NO)
            rows_a += rows
            rows, row_b = _zero_rows(b16, place, first, block, width, row_b, magnitude) if found[4] else (0, NO)
            rows_b += rows
        hashed = _mixed(hashed, _hashed(words, place >> 2, (block + 3) >> 2, keys))
        if max(most_a, most_b) < infinite:
            delta, reference, current = _sums_bf16(a16, b16, place, block)
            smallest = _above_zero(least_b)
            _summed(delta, reference, current, _bf16(most_a), _bf16(most_b), smallest, sums)
        else:
            for i in range(place, place + block):
                _taken(np.float64(_bf16(a16[np.uint64(i)])), np.float64(_bf16(b16[np.uint64(i)])), sums)
        place += block
        first += block
    _counted(zeros_a, zeros_b, changes, rows_a, rows_b, sums)
    return hashed, row_a, row_b


I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
LANES = 32
"""Elements of a vector: the 64 bytes of the widest registers. On other machines the compiler takes several."""
WORDS16, WORDS32, WORDS64 = ir.VectorType(I16, LANES), ir.VectorType(I32, LANES // 2), ir.VectorType(I64, LANES // 4)
FLOATS = ir.VectorType(ir.FloatType(), LANES // 2)
DOUBLES = ir.VectorType(ir.DoubleType(), LANES // 2)
TREE = 4
"""Vectors whose squares are added in float32: two elements to a word, so eight squares to a lane."""

RUN_MOST_A, RUN_MOST_B, RUN_LEAST_A, RUN_LEAST_B, RUN_ABOVE, RUN_BELOW, RUN_CHANGED = 0, 1, 2, 3, 4, 5, 6
RUN_COUNTS = 7
"""Length of the integers that a run gives: extremes of magnitudes, by how much the first of a pair lies above and below
the second, and changed elements."""


def _every(vector, value):
    """That constant in every lane."""
    return ir.Constant(vector, [ir.Constant(vector.element, value)] * vector.count)


def _from_address(builder, address, kind):
    """What lies there, wherever that is."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _llvm(builder, name, result, *given):
    """The value of one of LLVM's own functions."""
    of = ir.FunctionType(result, [one.type for one in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, of, name), given)


def _kept_extreme(builder, slot, value, compare):
    """`slot` becomes `value` in the lanes where `compare` says so."""
    kept = builder.load(slot)
    builder.store(builder.select(compare(value, kept), value, kept), slot)


def _kept_count(builder, slot, lanes):
    """`slot` becomes larger by the lanes that are true."""
    found = _llvm(builder, f"llvm.ctpop.i{LANES}", I32, builder.bitcast(lanes, I32))
    builder.store(builder.add(builder.load(slot), builder.zext(found, I64)), slot)


def _kept_sum(builder, slot, squares):
    """`slot` becomes larger by these squares, which are added pair by pair in float32."""
    while len(squares) > 1:
        squares = [builder.fadd(one, other) for one, other in zip(squares[::2], squares[1::2], strict=True)]
    builder.store(builder.fadd(builder.load(slot), builder.fpext(squares[0], DOUBLES)), slot)


def _run_code(_context, builder, _signature, given):
    """The instructions of `_run_bf16`: see there."""
    b = builder
    a_address, b_address, key_address, blocks, hashed, counts, squares = given
    zero, magnitude, bytes_of_block = _every(WORDS16, 0), _every(WORDS16, 0x7FFF), ir.Constant(I64, 2 * BLOCK)
    extremes = [cgutils.alloca_once_value(b, one) for one in (zero, zero, magnitude, magnitude, zero, zero)]
    changed = cgutils.alloca_once_value(b, ir.Constant(I64, 0))
    sums = [cgutils.alloca_once_value(b, _every(DOUBLES, 0.0)) for _ in range(3)]
    state = cgutils.alloca_once_value(b, hashed)
    more, less = (lambda x, y: b.icmp_unsigned(">", x, y)), (lambda x, y: b.icmp_unsigned("<", x, y))
    above, below = (lambda x, y: b.icmp_signed(">", x, y)), (lambda x, y: b.icmp_signed("<", x, y))
    with cgutils.for_range(b, blocks, intp=I64) as block:
        begin = b.mul(block.index, bytes_of_block)
        products = cgutils.alloca_once_value(b, _every(WORDS64, 0))
        with cgutils.for_range(b, ir.Constant(I64, BLOCK // LANES // TREE), intp=I64) as step:
            parts: tuple[list[ir.Value], ...] = ([], [], [])
            for part_of_step in range(TREE):
                within = b.add(b.mul(step.index, ir.Constant(I64, 64 * TREE)), ir.Constant(I64, 64 * part_of_step))
                at = b.add(begin, within)
                x = _from_address(b, b.add(a_address, at), WORDS16)
                y = _from_address(b, b.add(b_address, at), WORDS16)
                p, q = b.and_(x, magnitude), b.and_(y, magnitude)
                apart = b.sub(p, q)
                for slot, value, compare in zip(
                    extremes, (p, q, p, q, apart, apart), (more, more, less, less, above, below), strict=True
                ):
                    _kept_extreme(b, slot, value, compare)
                _kept_count(b, changed, b.icmp_unsigned("!=", x, y))
                x, y = b.bitcast(x, WORDS32), b.bitcast(y, WORDS32)
                x0, y0 = (b.bitcast(b.shl(one, _every(WORDS32, 16)), FLOATS) for one in (x, y))
                x1, y1 = (b.bitcast(b.and_(one, _every(WORDS32, 0xFFFF0000)), FLOATS) for one in (x, y))
                pairs = (b.fsub(y0, x0), b.fsub(y1, x1)), (x0, x1), (y0, y1)
                for into, (low, high) in zip(parts, pairs, strict=True):
                    into.append(_llvm(b, "llvm.fmuladd.v16f32", FLOATS, high, high, b.fmul(low, low)))
                keyed = b.bitcast(b.add(y, _from_address(b, b.add(key_address, within), WORDS32)), WORDS64)
                low, high = b.and_(keyed, _every(WORDS64, 0xFFFFFFFF)), b.lshr(keyed, _every(WORDS64, 32))
                b.store(b.add(b.load(products), b.mul(low, high)), products)
            for slot, part_squares in zip(sums, parts, strict=True):
                _kept_sum(b, slot, part_squares)
        h = b.xor(b.load(state), _llvm(b, "llvm.vector.reduce.add.v8i64", I64, b.load(products)))
        h = b.mul(h, ir.Constant(I64, 0x9E3779B97F4A7C15))
        h = b.xor(h, b.lshr(h, ir.Constant(I64, 29)))
        h = b.mul(h, ir.Constant(I64, 0xBF58476D1CE4E5B9))
        b.store(b.xor(h, b.lshr(h, ir.Constant(I64, 32))), state)
    found = [
        b.sext(_llvm(b, f"llvm.vector.reduce.{name}.v{LANES}i16", I16, b.load(slot)), I64)
        for slot, name in zip(extremes, ("umax", "umax", "umin", "umin", "smax", "smin"), strict=True)
    ]
    for place, value in enumerate([*found, b.load(changed)]):
        b.store(value, b.inttoptr(b.add(counts, ir.Constant(I64, 8 * place)), I64.as_pointer()))
    for place, slot in enumerate(sums):
        start = ir.Constant(ir.DoubleType(), 0.0)
        value = _llvm(b, "llvm.vector.reduce.fadd.v16f64", ir.DoubleType(), start, b.load(slot))
        b.store(value, b.inttoptr(b.add(squares, ir.Constant(I64, 8 * place)), ir.DoubleType().as_pointer()))
    return b.load(state)


@intrinsic
def _run_bf16(_typing, a, b, keys, blocks, hashed, counts, squares):
    """The fingerprint after `blocks` whole blocks; `counts: int64[RUN_COUNTS]` and `squares: float64[3]` are filled.

    All but the two numbers are addresses. It is written as vector instructions because no compiler makes one loop of
    it: 16-bit extremes, 32-bit floats, 64-bit products and float64 sums in one walk, each in lanes of its own width,
    are twice as fast as a loop for each.
    """
    address = types.intp
    return types.uint64(address, address, address, types.intp, types.uint64, address, address), _run_code


@part()
def _is_ordinary(counts, squares):
    """Whether the squares of a run are right: finite, not so small that some have vanished, of exact differences."""
    least, most, apart = 1e-25, np.inf, 16 << 7
    delta = counts[RUN_CHANGED] == 0 or least < squares[DELTA] < most
    reference = counts[RUN_MOST_A] == 0 or least < squares[REFERENCE] < most
    current = counts[RUN_MOST_B] == 0 or least < squares[CURRENT] < most
    return delta and reference and current and counts[RUN_ABOVE] < apart and counts[RUN_BELOW] > -apart


@part()
def _narrow_piece(a16, b16, words, keys, first, count, width, hashed, row_a, row_b, sums):
    """A piece of bfloat16 that begins with element `first` of its chunk: the fingerprint, and the rows that go on."""
    magnitude = np.uint16(0x7FFF)
    counts, squares = np.empty(RUN_COUNTS, np.int64), np.empty(3, np.float64)
    place = NONE
    while place < count:
        size = min(count - place, RUN * BLOCK)
        size = size - size % BLOCK if size > BLOCK else size
        ordinary = False
        if size % BLOCK == 0:
            after = _run_bf16(
                a16.ctypes.data + 2 * place,
                b16.ctypes.data + 2 * place,
                keys.ctypes.data,
                size // BLOCK,
                hashed,
                counts.ctypes.data,
                squares.ctypes.data,
            )
            ordinary = _is_ordinary(counts, squares)
        if ordinary:
            hashed = after
            zeros_a, zeros_b, rows_a, rows_b = np.int64(0), np.int64(0), 0, 0
            smallest = _bf16(np.uint16(counts[RUN_LEAST_B]))
            if counts[RUN_LEAST_A] == 0 or counts[RUN_LEAST_B] == 0:
                found = _scanned(a16, b16, place, size, magnitude)
                zeros_a, zeros_b = np.int64(found[3]), np.int64(found[4])
                smallest = _above_zero(found[2])
            if width:
                at = first + place
                rows_a, row_a = _zero_rows(a16, place, at, size, width, row_a, magnitude) if zeros_a else (0, NO)
                rows_b, row_b = _zero_rows(b16, place, at, size, width, row_b, magnitude) if zeros_b else (0, NO)
            most_a, most_b = _bf16(np.uint16(counts[RUN_MOST_A])), _bf16(np.uint16(counts[RUN_MOST_B]))
            _summed(squares[DELTA], squares[REFERENCE], squares[CURRENT], most_a, most_b, smallest, sums)
            _counted(zeros_a, zeros_b, counts[RUN_CHANGED], rows_a, rows_b, sums)
        else:
            hashed, row_a, row_b = _narrow_blocks(
                a16, b16, words, keys, place, first + place, size, width, hashed, row_a, row_b, sums
            )
        place += size
    return hashed, row_a, row_b


@part()
def _wide_piece(
    a_bits, b_bits, a, b, words, keys, first, count, width, hashed, row_a, row_b, sums, magnitude, infinite
):
    """As `_narrow_piece`, for elements that are summed in float64: their bits and the same as floats."""
    bits = b_bits.dtype.type
    one, zero = bits(1), bits(0)
    per_word = 8 // b_bits.itemsize
    three = np.empty(3, b_bits.dtype)
    values = three.view(b.dtype)
    zeros_a, zeros_b, changes = np.int64(0), np.int64(0), np.int64(0)
    rows_a, rows_b = 0, 0
    place = NONE
    while place < count:
        block = min(count - place, BLOCK)
        at = first + place
        found = _scanned(a_bits, b_bits, place, block, magnitude)
        zeros_a += np.int64(found[3])
        zeros_b += np.int64(found[4])
        changes += np.int64(found[5])
        if width:
            rows, row_a = _zero_rows(a_bits, place, at, block, width, row_a, magnitude) if found[3] else (0, NO)
            rows_a += rows
            rows, row_b = _zero_rows(b_bits, place, at, block, width, row_b, magnitude) if found[4] else (0, NO)
            rows_b += rows
        hashed = _mixed(hashed, _hashed(words, place // per_word, (block + per_word - 1) // per_word, keys))
        if max(found[0], found[1]) < infinite:
            delta, reference, current = _sums_wide(a, b, place, block)
            three[0], three[1], three[2] = found[0], found[1], bits(found[2] + one)
            smallest = np.float64(np.nan) if three[2] == zero else np.float64(values[2])
            _summed(delta, reference, current, values[0], values[1], smallest, sums)
        else:
            for i in range(place, place + block):
                _taken(np.float64(a[np.uint64(i)]), np.float64(b[np.uint64(i)]), sums)
        place += block
    _counted(zeros_a, zeros_b, changes, rows_a, rows_b, sums)
    return hashed, row_a, row_b


_pread = types.ExternalFunction("pread", types.intp(types.intc, types.intp, types.intp, types.int64))
"""`pread(2)`, found by its name when a kernel is loaded, so that kernels can be kept in a cache."""


@part()
def _read(file, offset, size, words):
    """The words of the buffer before what was read; -1 if not all of it could be."""
    before = offset % ALIGNMENT if offset % 8 == 0 else 0
    words[(before + size) >> 3] = np.uint64(0)
    done = 0
    while done < size:
        count = _pread(np.int32(file), words.ctypes.data + before + done, size - done, offset + done)
        if count <= 0:
            return -1
        done += count
    return before >> 3


@part()
def _filled(source, byte, size, a, b, stop):
    """The words of `a` and of `b` before `size` bytes from `byte` on; -1 if they could not be read, or are to stop."""
    if stop[0]:
        return -1, -1
    if source[B_FILE] < 0:
        return byte >> 3, byte >> 3
    in_b = _read(source[B_FILE], source[B_OFFSET] + byte, size, b)
    if source[A_FILE] < 0 or in_b < 0:
        return in_b, in_b
    in_a = _read(source[A_FILE], source[A_OFFSET] + byte, size, a)
    return (in_a, in_b) if in_a >= 0 else (-1, -1)


@compiled
def narrow_pass(a16, b16, source, a, b, keys, counts, width, sums, fingerprints, stop):
    """The compiled `bf16_pass`; `a16`, `b16`: the buffers as elements."""
    byte = NONE
    for chunk in range(len(counts)):
        count = counts[chunk]
        hashed, row_a, row_b, first = np.uint64(count), NO, NO, NONE
        while first < count:
            piece = min(count - first, PIECE_BYTES // 2)
            in_a, in_b = _filled(source, byte, 2 * piece, a, b, stop)
            if in_b < 0:
                return chunk
            hashed, row_a, row_b = _narrow_piece(
                a16[4 * in_a :],
                b16[4 * in_b :],
                b[in_b:],
                keys,
                first,
                piece,
                width,
                hashed,
                row_a,
                row_b,
                sums[chunk],
            )
            first += piece
            byte += 2 * piece
        fingerprints[chunk] = hashed
    return len(counts)


@compiled
def wide_pass(bits, floats, magnitude, infinite, source, a, b, keys, counts, width, sums, fingerprints, stop):
    """As `narrow_pass`, for elements as wide as those of `bits` and `floats`, which are empty."""
    byte, size = NONE, bits.itemsize
    for chunk in range(len(counts)):
        count = counts[chunk]
        hashed, row_a, row_b, first = np.uint64(count), NO, NO, NONE
        while first < count:
            piece = min(count - first, PIECE_BYTES // size)
            in_a, in_b = _filled(source, byte, size * piece, a, b, stop)
            if in_b < 0:
                return chunk
            x, y = a[in_a:], b[in_b:]
            hashed, row_a, row_b = _wide_piece(
                x.view(bits.dtype),
                y.view(bits.dtype),
                x.view(floats.dtype),
                y.view(floats.dtype),
                y,
                keys,
                first,
                piece,
                width,
                hashed,
                row_a,
                row_b,
                sums[chunk],
                magnitude,
                infinite,
            )
            first += piece
            byte += size * piece
        fingerprints[chunk] = hashed
    return len(counts)


def bf16_pass(
    source: NDArray[np.int64],
    a: Words,
    b: Words,
    keys: Words,
    counts: NDArray[np.int64],
    width: int,
    sums: NDArray[np.float64],
    fingerprints: Words,
    stop: NDArray[np.uint8],
) -> int:
    """Chunks of bfloat16 that follow each other in a file: the number of them that could be read, from the first on.

    `counts: [chunks]` elements of each. `source: int64[4]` says where they are; `a` and `b` are buffers for a piece of
    each side, the same one where the sides are the same bytes. If they are in memory (one chunk only), its last word
    is filled up with zeros. `width`: elements per row, of which a chunk holds whole ones; 0 where rows mean nothing.
    `sums: [chunks, PARTIALS]` is added to, `fingerprints: [chunks]` becomes those of `b`. `stop: uint8[1]`: nothing
    more is read once it is not zero. The other kernels take and give the same.
    """
    # Views are made here because making them costs more than anything else when a kernel is compiled.
    a16, b16 = a.view(np.uint16), b.view(np.uint16)
    return int(narrow_pass(a16, b16, source, a, b, keys, counts, width, sums, fingerprints, stop))


f32_pass: Kernel = partial(
    wide_pass, np.empty(0, np.uint32), np.empty(0, np.float32), np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
)
f64_pass: Kernel = partial(
    wide_pass,
    np.empty(0, np.uint64),
    np.empty(0, np.float64),
    np.uint64(0x7FFFFFFFFFFFFFFF),
    np.uint64(0x7FF0000000000000),
)


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

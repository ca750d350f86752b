"""How a tensor is cut into chunks, how a chunk reaches a kernel, and how the chunks' results become the tensor's.

A chunk is at most 1 MiB per side. It holds whole rows, or a part of one long row, so that rows of zeros can be counted;
the cut is a constant of the fingerprint's format. How much is read at once is not: kernels read a chunk in pieces.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.errors import MissingExtra
from barograph.weights.safetensors_header import TensorSlot

try:
    from barograph.weights import kernels
except ImportError as error:
    raise MissingExtra("numba", extra="weights", purpose="Reading the weights of checkpoints") from error

CHUNK_BYTES = 1024 * 1024
WORD = 8
CHUNK_WORDS = CHUNK_BYTES // WORD + 1
_MASK = 2**64 - 1


class Span(Struct, frozen=True):
    """Elements of a tensor that are one chunk."""

    first: int
    count: int


class TensorSums(Struct, frozen=True, kw_only=True):
    """What the pass found in one tensor, over both sides; over one side, both are that side."""

    delta_squares: float
    reference_squares: float
    current_squares: float
    reference_max: float
    current_max: float
    current_min: float | None
    """None where no element is finite and not zero."""
    reference_nan: int
    reference_infinite: int
    current_nan: int
    current_infinite: int
    reference_zeros: int
    current_zeros: int
    reference_zero_rows: int | None
    """None where the tensor has no rows."""
    current_zero_rows: int | None
    changed: int
    fingerprint: str | None
    """None where the two sides have different formats."""


def computed_dtype(slots: Sequence[TensorSlot]) -> str:
    """The format in which tensors of these formats are compared; each of them fits into it exactly."""
    kinds = {slot.dtype for slot in slots}
    if kinds == {"BF16"}:
        return "BF16"
    return "F64" if "F64" in kinds else "F32"


def row_width(shape: Sequence[int]) -> int:
    """Elements per row, a row being all that shares the first index; 0 for a tensor of fewer than two dimensions."""
    return math.prod(shape[1:]) if len(shape) > 1 else 0


def spans(shape: Sequence[int], *, most: int) -> Iterator[Span]:
    """The chunks of a tensor, in order: whole rows, up to `most` elements; or, for longer rows, pieces of one row."""
    total, width = math.prod(shape), row_width(shape)
    if 0 < width <= most:
        most -= most % width
    stride = width if width > most else max(total, 1)
    for row in range(0, total, stride):
        end = min(row + stride, total)
        for first in range(row, end, most):
            yield Span(first, min(most, end - first))


def most_elements(dtype: str) -> int:
    """Elements of a full chunk."""
    return CHUNK_BYTES // {"BF16": 2, "F32": 4, "F64": 8}[dtype]


class Buffers:
    """The memory of one thread: a piece of each side, and what a chunk of another format takes, when there is one."""

    def __init__(self) -> None:
        words = (kernels.PIECE_BYTES + kernels.ALIGNMENT) // WORD + 1
        self.pieces = aligned_words(words), aligned_words(words)

    @cached_property
    def _read(self) -> tuple[kernels.Words, kernels.Words]:
        return aligned_words(CHUNK_WORDS), aligned_words(CHUNK_WORDS)

    @cached_property
    def _wide(self) -> tuple[kernels.Words, kernels.Words]:
        return aligned_words(CHUNK_WORDS), aligned_words(CHUNK_WORDS)

    def filled(self, side: int, slot: TensorSlot, span: Span, *, dtype: str) -> kernels.Words:
        """The span of a tensor, read and widened to `dtype`; valid until the same side is filled again."""
        read, width = self._read[side], slot.item_bytes
        size = span.count * width
        read[size // WORD] = 0
        target = memoryview(read.view(np.uint8))  # type: ignore[arg-type]
        slot.file.read_into(target[:size], slot.offset + span.first * width)
        if slot.dtype == dtype:
            return read
        wide = self._wide[side]
        if slot.dtype == "BF16":
            kernels.widened_bf16(read, span.count, wide)
        elif slot.dtype == "F16":
            kernels.widened_f16(read, span.count, wide)
        if dtype == "F64":
            narrow = (read if slot.dtype == "F32" else wide).view(np.float32)[: span.count]
            # A copy first: both may be the same memory.
            wide.view(np.float64)[: span.count] = narrow.copy()
        return wide


def aligned_words(count: int) -> kernels.Words:
    """Zeros that begin at a page."""
    page = kernels.ALIGNMENT // WORD
    made = np.zeros(count + page, np.uint64)
    first = -made.ctypes.data % kernels.ALIGNMENT // WORD
    return made[first : first + count]


def kernel_of(dtype: str) -> kernels.Kernel:
    """The compiled pass over chunks of that format."""
    return {"BF16": kernels.bf16_pass, "F32": kernels.f32_pass, "F64": kernels.f64_pass}[dtype]


def compile_kernel(dtype: str) -> None:
    """Have the kernel of that format ready, by giving it nothing to do.

    Compiling in the thread that waits anyway takes a fifth less than in another one, where memory is given back and
    taken anew all the time, and Ctrl-C ends it.
    """
    nothing, words = np.zeros(0, np.int64), np.zeros(1, np.uint64)
    kernel_of(dtype)(
        np.array([-1, 0, -1, 0]), words, words, kernels.KEYS, nothing, 0, no_partials(0), words, np.zeros(1, np.uint8)
    )


def no_partials(count: int) -> NDArray[np.float64]:
    """Rows of partial results for `count` chunks, before any is added."""
    made = np.zeros((count, kernels.PARTIALS))
    made[:, kernels.CURRENT_MIN] = math.inf
    return made


def folded(
    partials: NDArray[np.float64], fingerprints: kernels.Words, *, shape: Sequence[int], same_format: bool
) -> TensorSums:
    """The tensor's results from those of its chunks, in their order."""
    k = kernels
    # As lists: most tensors have few chunks, and then numpy's calls cost more than its sums save.
    columns: list[list[float]] = partials.T.tolist()
    smallest = min(columns[k.CURRENT_MIN], default=math.inf)
    reference_rows, current_rows = _zero_rows(partials, shape)
    return TensorSums(
        delta_squares=math.fsum(columns[k.DELTA]),
        reference_squares=math.fsum(columns[k.REFERENCE]),
        current_squares=math.fsum(columns[k.CURRENT]),
        reference_max=max(columns[k.REFERENCE_MAX], default=0.0),
        current_max=max(columns[k.CURRENT_MAX], default=0.0),
        current_min=smallest if math.isfinite(smallest) else None,
        reference_nan=int(sum(columns[k.REFERENCE_NAN])),
        reference_infinite=int(sum(columns[k.REFERENCE_INFINITE])),
        current_nan=int(sum(columns[k.CURRENT_NAN])),
        current_infinite=int(sum(columns[k.CURRENT_INFINITE])),
        reference_zeros=int(sum(columns[k.REFERENCE_ZEROS])),
        current_zeros=int(sum(columns[k.CURRENT_ZEROS])),
        reference_zero_rows=reference_rows,
        current_zero_rows=current_rows,
        changed=int(sum(columns[k.CHANGED])),
        fingerprint=_fingerprint(fingerprints.tolist()) if same_format else None,
    )


def _zero_rows(partials: NDArray[np.float64], shape: Sequence[int]) -> tuple[int | None, int | None]:
    """Rows of zeros on both sides; a row that was cut is one if all of its pieces are."""
    width, k = row_width(shape), kernels
    if len(shape) < 2:
        return None, None
    pieces, rows = len(partials), shape[0]
    if not width or not rows or pieces <= rows or pieces % rows:
        return int(partials[:, k.REFERENCE_ZERO_ROWS].sum()), int(partials[:, k.CURRENT_ZERO_ROWS].sum())
    zeros = partials.reshape(rows, pieces // rows, -1).sum(axis=1)
    return int((zeros[:, k.REFERENCE_ZEROS] == width).sum()), int((zeros[:, k.CURRENT_ZEROS] == width).sum())


def _fingerprint(parts: Sequence[int]) -> str:
    """The chunks' fingerprints as one, in order; the mixing step is that of the kernels."""
    state = len(parts)
    for part in parts:
        h = ((state ^ part) * 0x9E3779B97F4A7C15) & _MASK
        h ^= h >> 29
        h = (h * 0xBF58476D1CE4E5B9) & _MASK
        state = h ^ (h >> 32)
    return f"{state:016x}"

"""The streaming pass: pairs of tensors in, their sums out, every byte read once.

Threads take units of several chunks from one queue, so a single huge embedding keeps all of them busy. Tensors that
are compared in the format in which they are stored are read by the compiled kernel itself; others are read and widened
here, a chunk at a time. Memory does not grow with the model: each thread has the same few buffers, and a tensor's
partial results live until its last chunk. The order of addition is that of the chunks, so the result does not depend
on the number of threads.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.weights import kernels
from barograph.weights.chunks import (
    CHUNK_BYTES,
    Buffers,
    TensorSums,
    compile_kernel,
    computed_dtype,
    folded,
    kernel_of,
    most_elements,
    no_partials,
    row_width,
    spans,
)
from barograph.weights.safetensors_header import TensorSlot

Progress = Callable[[int], None]

UNIT_CHUNKS = 8
"""Chunks that a thread takes at most: taking them costs little, and even a slow disk shows progress."""
SHARES = 4
"""A thread takes at most one in so many of what is left for it."""
IN_MEMORY = np.array([-1, 0, -1, 0], np.int64)
"""The source of a chunk that was read here."""


class Pair(Struct, frozen=True, kw_only=True):
    """One tensor on both sides, of one shape; without a reference it is compared with itself."""

    current: TensorSlot
    reference: TensorSlot | None = None

    @property
    def computed_dtype(self) -> str:
        """The format in which the two sides are compared."""
        return computed_dtype([self.current] if self.reference is None else [self.current, self.reference])

    @property
    def read_once(self) -> bool:
        """Whether both sides are the same bytes of the same file, or there is but one."""
        other = self.reference
        if other is None:
            return True
        here, there = self.current.file.identity, other.file.identity
        return (here, self.current.offset, self.current.dtype) == (there, other.offset, other.dtype)

    @property
    def bytes_to_read(self) -> int:
        """Bytes that the pass reads for it."""
        once = self.current.elements * self.current.item_bytes
        return once if self.read_once or self.reference is None else once + self.current.elements * self._other_bytes

    @property
    def _other_bytes(self) -> int:
        assert self.reference is not None
        return self.reference.item_bytes


def fused_pass(
    pairs: Sequence[Pair], *, threads: int | None = None, progress: Progress | None = None
) -> list[TensorSums]:
    """The sums of every pair, in the order of `pairs`.

    `progress` is told bytes as they are read, from several threads, one at a time. Raises `CheckpointChanged` when a
    file is cut while it is read.
    """
    for dtype in {pair.computed_dtype for pair in pairs}:
        compile_kernel(dtype)
    count = threads or len(os.sched_getaffinity(0))
    work = _Work(pairs, threads=count, progress=progress)
    with ThreadPoolExecutor(count, thread_name_prefix="barograph-weights") as pool:
        try:
            for done in [pool.submit(work.run) for _ in range(count)]:
                done.result()
        finally:
            work.stop()
    return work.results()


class _Tensor:
    """A tensor on its way through the threads: its partial results, until the last chunk is done."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.dtype = pair.computed_dtype
        most, shape = most_elements(self.dtype), pair.current.shape
        self.spans = list(spans(shape, most=most))
        width = row_width(shape)
        self.width = width if width <= most else 0
        self.kernel = kernel_of(self.dtype)
        self.read_once = pair.read_once
        self.as_stored = pair.current.dtype == self.dtype == (pair.reference or pair.current).dtype
        self.bytes_per_element = pair.bytes_to_read // pair.current.elements if self.spans else 0
        self.counts = np.array([span.count for span in self.spans], np.int64)
        self.partials = no_partials(len(self.spans))
        self.fingerprints = np.zeros(len(self.spans), np.uint64)
        self.left = len(self.spans)

    def passed(self, chunks: slice, buffers: Buffers, stop: NDArray[np.uint8]) -> int:
        """Have the kernel read these chunks; the first one that it has not, which is their end if all is well."""
        now, before = self.pair.current, self.pair.reference
        skipped = self.spans[chunks.start].first * now.item_bytes
        source = np.array([-1, 0, now.file.descriptor, now.offset + skipped], np.int64)
        a, b = buffers.pieces
        if before is None or self.read_once:
            a = b
        else:
            source[:2] = before.file.descriptor, before.offset + skipped
        return int(chunks.start + self._run(source, a, b, chunks, stop))

    def passed_alone(self, chunk: int, buffers: Buffers, stop: NDArray[np.uint8]) -> None:
        """Read one chunk here and have the kernel sum it. Raises what reading raises."""
        span, slot = self.spans[chunk], self.pair.reference
        a = b = buffers.filled(1, self.pair.current, span, dtype=self.dtype)
        if slot is not None and not self.read_once:
            a = buffers.filled(0, slot, span, dtype=self.dtype)
        self._run(IN_MEMORY, a, b, slice(chunk, chunk + 1), stop)

    def _run(
        self, source: NDArray[np.int64], a: kernels.Words, b: kernels.Words, chunks: slice, stop: NDArray[np.uint8]
    ) -> int:
        partials, fingerprints = self.partials[chunks], self.fingerprints[chunks]
        return self.kernel(source, a, b, kernels.KEYS, self.counts[chunks], self.width, partials, fingerprints, stop)

    def sums(self) -> TensorSums:
        """The whole tensor's results."""
        other = self.pair.reference
        same = other is None or other.dtype == self.pair.current.dtype
        return folded(self.partials, self.fingerprints, shape=self.pair.current.shape, same_format=same)


class _Work:
    """The queue of units, and what has become of them."""

    def __init__(self, pairs: Sequence[Pair], *, threads: int, progress: Progress | None) -> None:
        self._pairs = pairs
        self._threads = threads
        self._progress = progress
        self._lock = threading.Lock()
        self._left = sum(pair.bytes_to_read for pair in pairs)
        self._units = self._all_units()
        self._done: dict[int, TensorSums] = {}
        self._stop = np.zeros(1, np.uint8)

    def run(self) -> None:
        """One thread: take units until there are none."""
        buffers = Buffers()
        try:
            while not self._stop[0]:
                with self._lock:
                    found = next(self._units, None)
                if found is None:
                    return
                self._pass_over(found, buffers)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A thread failed or nobody waits: the others end at their next piece."""
        self._stop[0] = 1

    def results(self) -> list[TensorSums]:
        """The sums of every pair, in order."""
        return [self._done[index] for index in range(len(self._pairs))]

    def _all_units(self) -> "Iterator[_Unit]":
        """Chunks of every tensor, several at a time; fewer when little is left, so that the threads end together."""
        for index, pair in enumerate(self._pairs):
            tensor = _Tensor(pair)
            if not tensor.spans:
                self._done[index] = tensor.sums()
            first, chunks = 0, len(tensor.spans)
            while first < chunks:
                share = self._left // (SHARES * self._threads * 2 * CHUNK_BYTES)
                end = min(chunks, first + max(1, min(UNIT_CHUNKS, share)))
                size = int(tensor.counts[first:end].sum()) * tensor.bytes_per_element
                self._left -= size
                yield _Unit(index=index, tensor=tensor, chunks=slice(first, end), bytes=size)
                first = end

    def _pass_over(self, unit: "_Unit", buffers: Buffers) -> None:
        tensor, chunks = unit.tensor, unit.chunks
        reached = tensor.passed(chunks, buffers, self._stop) if tensor.as_stored else chunks.start
        for chunk in range(reached, chunks.stop):
            if self._stop[0]:
                return
            # Also where the kernel could not read on: the same attempt here says why.
            tensor.partials[chunk] = no_partials(1)[0]
            tensor.passed_alone(chunk, buffers, self._stop)
        with self._lock:
            tensor.left -= chunks.stop - chunks.start
            complete = not tensor.left
            if self._progress is not None:
                self._progress(unit.bytes)
        if complete:
            self._done[unit.index] = tensor.sums()


class _Unit(Struct, frozen=True, kw_only=True):
    """Chunks of one tensor that a thread takes at once."""

    index: int
    tensor: _Tensor
    chunks: slice
    bytes: int

"""The streaming pass: pairs of tensors in, their sums out, every byte read once.

Threads take chunks from one queue, so a single huge embedding keeps all of them busy. Memory does not grow with the
model: each thread has four chunks, and a tensor's partial results live until its last chunk. The order of addition is
that of the chunks, so the result does not depend on the number of threads.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from barograph.weights import kernels
from barograph.weights.chunks import (
    Buffers,
    Span,
    TensorSums,
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


class Pair(Struct, frozen=True, kw_only=True):
    """One tensor on both sides, of one shape; without a reference it is compared with itself."""

    current: TensorSlot
    reference: TensorSlot | None = None

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

    `progress` is told bytes as they are read, from several threads. Raises `CheckpointChanged` when a file is cut
    while it is read.
    """
    work = _Work(pairs, progress=progress)
    count = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count, thread_name_prefix="barograph-weights") as pool:
        try:
            for done in [pool.submit(work.run) for _ in range(count)]:
                done.result()
        finally:
            work.stopped = True
    return work.results()


class _Tensor:
    """A tensor on its way through the threads: its partial results, until the last chunk is done."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        both = [pair.current] if pair.reference is None else [pair.current, pair.reference]
        self.dtype = computed_dtype(both)
        most, shape = most_elements(self.dtype), pair.current.shape
        self.spans = list(spans(shape, most=most))
        width = row_width(shape)
        self.width = width if width <= most else 0
        self.kernel = kernel_of(self.dtype)
        self.read_once = pair.read_once
        self.bytes_per_element = pair.bytes_to_read // pair.current.elements if self.spans else 0
        self.partials = no_partials(len(self.spans))
        self.fingerprints = [0] * len(self.spans)
        self.left = len(self.spans)

    def sums(self) -> TensorSums:
        """The whole tensor's results."""
        other = self.pair.reference
        same = other is None or other.dtype == self.pair.current.dtype
        return folded(self.partials, self.fingerprints, shape=self.pair.current.shape, same_format=same)


class _Work:
    """The queue of chunks, and what has become of them."""

    def __init__(self, pairs: Sequence[Pair], *, progress: Progress | None) -> None:
        self._pairs = pairs
        self._progress = progress
        self._lock = threading.Lock()
        self._chunks = self._all_chunks()
        self._done: dict[int, TensorSums] = {}
        self.stopped = False
        """Set when a thread failed or nobody waits: the others end at their next chunk."""

    def run(self) -> None:
        """One thread: take chunks until there are none."""
        buffers = Buffers()
        try:
            while not self.stopped:
                with self._lock:
                    found = next(self._chunks, None)
                if found is None:
                    return
                self._pass_over(found, buffers)
        except BaseException:
            self.stopped = True
            raise

    def results(self) -> list[TensorSums]:
        """The sums of every pair, in order."""
        return [self._done[index] for index in range(len(self._pairs))]

    def _all_chunks(self) -> "Iterator[_Chunk]":
        """Every chunk of every tensor, one tensor after the other."""
        for index, pair in enumerate(self._pairs):
            tensor = _Tensor(pair)
            if not tensor.spans:
                self._done[index] = tensor.sums()
            for place, span in enumerate(tensor.spans):
                yield _Chunk(index=index, tensor=tensor, place=place, span=span)

    def _pass_over(self, chunk: "_Chunk", buffers: Buffers) -> None:
        tensor, span, pair = chunk.tensor, chunk.span, chunk.tensor.pair
        a = b = buffers.filled(1, pair.current, span, dtype=tensor.dtype)
        if pair.reference is not None and not tensor.read_once:
            a = buffers.filled(0, pair.reference, span, dtype=tensor.dtype)
        partials = tensor.partials[chunk.place]
        tensor.fingerprints[chunk.place] = tensor.kernel(a, b, kernels.KEYS, span.count, tensor.width, partials)
        with self._lock:
            tensor.left -= 1
            if not tensor.left:
                self._done[chunk.index] = tensor.sums()
        if self._progress is not None:
            self._progress(tensor.bytes_per_element * span.count)


class _Chunk(Struct, frozen=True, kw_only=True):
    """A chunk and where its results go."""

    index: int
    tensor: _Tensor
    place: int
    span: Span

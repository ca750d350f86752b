"""The last batches of a training, kept by reference, so that an alert can name the examples of its step.

Nothing of them is copied or read until an alert asks, which may be a while after the step, where a disk or a device
keeps the writer's thread waiting. Only token ids, masks and a dataset index are kept, never pixels or sounds, and of
those no more than `KEPT_BYTES`.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from barograph.collect.device_values import is_tensor
from barograph.records import Batch
from barograph.records.alerts import Example

KEPT_STEPS = 512
"""Most steps whose batches are kept, the newest."""

KEPT_BYTES = 64_000_000
"""Most bytes of batches that are kept, in host and device memory together."""

FEWEST_STEPS = 4
"""Newest steps whose batches are kept whatever they weigh."""

KEPT = f"the newest {KEPT_STEPS} steps, at most {KEPT_BYTES // 1_000_000} MB of them"
"""What is kept, in words."""

MOST_EXAMPLES = 64
"""Examples of a step that are recorded."""

TEXT = 200
"""Characters of an example that are recorded."""

_TOKENS = 400
"""Tokens that are turned into text for them."""

INDEX = ("index", "idx", "example_id", "example_index", "sample_id", "id", "__index__")
"""Columns that may say an example's place in its dataset."""

_KEPT = ("input_ids", "attention_mask", *INDEX)

Tokens = NDArray[np.int64]
Decode = Callable[[Sequence[int]], str]
MicroBatch = Mapping[str, object]


class _Step(Struct):
    """The micro-batches of a step, and what they weigh."""

    step: int
    micro_batches: list[MicroBatch] = field(default_factory=list)
    bytes: int = 0


class KeptBatches:
    """A fold over the micro-batches of one training."""

    def __init__(self, decode: Decode | None = None, *, most_bytes: int = KEPT_BYTES) -> None:
        """`decode` turns token ids into text; it may raise anything."""
        self._decode = decode
        self._most_bytes = most_bytes
        self._bytes = 0
        self._steps: deque[_Step] = deque()

    def update(self, step: int, inputs: object) -> None:
        """Keep one micro-batch of `step`."""
        if not isinstance(inputs, Mapping):
            return
        kept = {name: inputs[name] for name in _KEPT if name in inputs}
        if not self._steps or self._steps[-1].step != step:
            self._steps.append(_Step(step))
        size = sum(_bytes(values) for values in kept.values())
        self._steps[-1].micro_batches.append(kept)
        self._steps[-1].bytes += size
        self._bytes += size
        while len(self._steps) > KEPT_STEPS or (self._bytes > self._most_bytes and len(self._steps) > FEWEST_STEPS):
            self._bytes -= self._steps.popleft().bytes

    def record(self, step: int) -> Batch:
        """The examples of `step`, or why there are none. Waits for a device."""
        found = next((one for one in reversed(self._steps) if one.step == step), None)
        if found is not None:
            batch = batch_record(step, found.micro_batches, self._decode)
            if batch is not None:
                return batch
            why = "its batches have no input_ids of two dimensions"
        elif not self._steps or step > self._steps[-1].step:
            why = "no batch of this step was seen"
        else:
            why = f"the alert came when the batches of step {self._steps[0].step} were the oldest still kept ({KEPT})"
        return Batch(step=step, time=time.time(), examples=[], why=why)


def batch_record(step: int, micro_batches: Sequence[MicroBatch], decode: Decode | None) -> Batch | None:
    """The record of the examples of a step, the first of every micro-batch before the second of any."""
    examples = list(_examples(micro_batches, decode))
    if not examples:
        return None
    rows = sum(_rows(one.get("input_ids")) for one in micro_batches)
    examples.sort(key=lambda one: (one.micro_batch, one.row))
    return Batch(step=step, time=time.time(), examples=examples, left_out=max(0, rows - len(examples)))


def _examples(micro_batches: Sequence[MicroBatch], decode: Decode | None) -> Iterator[Example]:
    counts = [_rows(one.get("input_ids")) for one in micro_batches]
    wanted = sorted((row, at) for at, count in enumerate(counts) for row in range(count))[:MOST_EXAMPLES]
    for row, at in wanted:
        inputs = micro_batches[at]
        ids = _row(inputs["input_ids"], row)
        mask = inputs.get("attention_mask")
        if mask is not None and _rows(mask) == counts[at]:
            shown = _row(mask, row)
            if shown.shape == ids.shape:
                ids = ids[shown != 0]
        yield Example(
            micro_batch=at,
            row=row,
            hash=hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").tobytes()).hexdigest()[:16],
            tokens=int(ids.size),
            index=_index(inputs, row),
            text=_text(ids, decode),
        )


def _bytes(values: object) -> int:
    """What a tensor or an array weighs; a list of Python's by the pointers in it."""
    weight = getattr(values, "nbytes", None)
    return weight if type(weight) is int else 8 * len(values) if isinstance(values, list) else 0


def _rows(values: object) -> int:
    """Examples in `[example, position]`; 0 for anything else."""
    shape: tuple[int, ...] = getattr(values, "shape", ())
    return int(shape[0]) if len(shape) == 2 else 0


def _row(values: object, row: int) -> Tokens:
    found = values[row]  # type: ignore[index]  # it has two dimensions
    if is_tensor(found):
        found = found.detach().cpu().numpy()
    return np.asarray(found, dtype=np.int64).reshape(-1)


def _index(inputs: MicroBatch, row: int) -> int | None:
    for name in INDEX:
        column = inputs.get(name)
        if column is None:
            continue
        try:
            return int(column[row])  # type: ignore[index]  # what has no rows raises
        except (TypeError, ValueError, IndexError, KeyError, RuntimeError):
            continue
    return None


def _text(ids: Tokens, decode: Decode | None) -> str | None:
    if decode is None:
        return None
    try:
        text = decode(ids[:_TOKENS].tolist())
    except Exception:  # noqa: BLE001 - a user's tokenizer may raise anything, and the hash still names the example
        return None
    return text[:TEXT] if isinstance(text, str) else None

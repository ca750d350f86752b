"""The last batches of a training, kept by reference, so that an alert can name the examples of its step.

Nothing of them is copied or read until an alert asks. Only token ids, labels, masks and a dataset index are kept, never
pixels or sounds.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from barograph.collect.device_values import is_tensor
from barograph.records import Batch
from barograph.records.alerts import Example

KEPT_STEPS = 16
"""Newest steps whose batches are kept."""

MOST_EXAMPLES = 64
"""Examples of a step that are recorded."""

TEXT = 200
"""Characters of an example that are recorded."""

_TOKENS = 400
"""Tokens that are turned into text for them."""

INDEX = ("index", "idx", "example_id", "example_index", "sample_id", "id", "__index__")
"""Columns that may say an example's place in its dataset."""

_KEPT = ("input_ids", "attention_mask", "labels", *INDEX)

Tokens = NDArray[np.int64]
Decode = Callable[[Sequence[int]], str]
MicroBatch = Mapping[str, object]


class KeptBatches:
    """A fold over the micro-batches of one training."""

    def __init__(self, decode: Decode | None = None, *, most_steps: int = KEPT_STEPS) -> None:
        """`decode` turns token ids into text; it may raise anything."""
        self._decode = decode
        self._steps: deque[tuple[int, list[MicroBatch]]] = deque(maxlen=most_steps)

    def update(self, step: int, inputs: object) -> None:
        """Keep one micro-batch of `step`."""
        if not isinstance(inputs, Mapping):
            return
        kept = {name: inputs[name] for name in _KEPT if name in inputs}
        if self._steps and self._steps[-1][0] == step:
            self._steps[-1][1].append(kept)
        else:
            self._steps.append((step, [kept]))

    def record(self, step: int) -> Batch | None:
        """The examples of `step`; None if its batches are gone, or had no token ids. Waits for a device."""
        for known, micro_batches in reversed(self._steps):
            if known == step:
                return batch_record(step, micro_batches, self._decode)
        return None


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

"""What an adapter adds to each matrix, kept as two thin factors: scale L R, with L [rows, r] and R [r, columns].

Norms come from the r x r products of the factors, so the delta itself (as large as the model) never exists.
"""

import re

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from barograph.errors import CheckpointError, UnsupportedFormat
from barograph.weights import kernels
from barograph.weights.checkpoint import Checkpoint
from barograph.weights.chunks import CHUNK_BYTES
from barograph.weights.safetensors_header import TensorSlot

FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.default)?(?:\.weight)?\Z")
PREFIX = "base_model.model."
UNREAD = ("lora_magnitude_vector", "trainable_tokens", "lora_ranknum", "lora_E")
"""Parts of names of what changes a matrix beyond L R."""


class ThinDelta(Struct, frozen=True, kw_only=True):
    """The change of one matrix; all in float64."""

    left: NDArray[np.float64]
    """[rows, r]"""
    right: NDArray[np.float64]
    """[r, columns]"""
    scale: float

    @property
    def squares(self) -> float:
        """Sum of squares of all elements: scale^2 sum((L'L) * (R R')), because trace((L R)'(L R)) is that."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.scale**2 * float(np.sum((self.left.T @ self.left) * (self.right @ self.right.T)))

    @property
    def transposed(self) -> "ThinDelta":
        """The same change of the transposed matrix."""
        return ThinDelta(left=self.right.T, right=self.left.T, scale=self.scale)

    def dot(self, slot: TensorSlot) -> float:
        """Sum of delta times the matrix in `slot`, which is read some rows at a time; products in float32."""
        rows, columns = len(self.left), self.right.shape[1]
        right = np.ascontiguousarray(self.right.T, dtype=np.float32)
        step = max(1, CHUNK_BYTES // (4 * columns))
        total = 0.0
        with np.errstate(invalid="ignore", over="ignore"):
            for first in range(0, rows, step):
                count = min(step, rows - first)
                block = matrix(slot, first=first * columns, count=count * columns).reshape(count, columns)
                total += float(np.sum(self.left[first : first + count] * (block @ right)))
        return self.scale * total


def matrix(slot: TensorSlot, *, first: int, count: int) -> NDArray[np.floating]:
    """`count` elements of a tensor from `first` on: float32, or float64 where they are."""
    size = slot.item_bytes
    read = np.zeros(count * size // 8 + 1, np.uint64)
    slot.file.read_into(memoryview(read.view(np.uint8))[: count * size], slot.offset + first * size)  # type: ignore[arg-type]
    if slot.dtype == "F64":
        return read.view(np.float64)[:count]
    if slot.dtype == "F32":
        return read.view(np.float32)[:count]
    wide = np.empty(count // 2 + 1, np.uint64)
    (kernels.widened_bf16 if slot.dtype == "BF16" else kernels.widened_f16)(read, count, wide)
    return wide.view(np.float32)[:count]


def base_name(name: str) -> str:
    """What a tensor of an adapter is called in the base model; peft wraps what it changes in a `base_layer`."""
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def thin_deltas(checkpoint: Checkpoint) -> dict[str, ThinDelta]:
    """Name of the base model's weight -> its change, for every pair of factors of an adapter.

    Raises `CheckpointError` for a factor without the other, or that does not fit it, and `UnsupportedFormat` for
    parts that change a matrix in another way.
    """
    assert checkpoint.adapter is not None
    factors: dict[str, dict[str, TensorSlot]] = {}
    embeddings = set()
    for name, slot in checkpoint.tensors.items():
        if any(part in name for part in UNREAD):
            raise UnsupportedFormat(
                f"the adapter has {name!r}: only LoRA's two factors are read",
                where=str(slot.file.path),
                advice="Merge the adapter into its base model (peft: merge_and_unload()), save it, and compare that",
            )
        found = FACTOR.fullmatch(name)
        if found is not None:
            factors.setdefault(found["module"], {})[found["side"]] = slot
            if found["embedding"]:
                embeddings.add(found["module"])
    deltas = {}
    for module, sides in factors.items():
        name = base_name(module)
        delta = _delta(sides, module=name, checkpoint=checkpoint)
        deltas[f"{name}.weight"] = delta.transposed if module in embeddings else delta
    return deltas


def is_factor(name: str) -> bool:
    """Whether a tensor of an adapter is one of LoRA's factors."""
    return FACTOR.fullmatch(name) is not None


def _delta(sides: dict[str, TensorSlot], *, module: str, checkpoint: Checkpoint) -> ThinDelta:
    assert checkpoint.adapter is not None
    advice = "Save the adapter again with peft"
    if len(sides) < 2:
        raise CheckpointError(
            f"the adapter of {module!r} has only {'A' if 'A' in sides else 'B'}",
            where=str(checkpoint.path),
            advice=advice,
        )
    a, b = _factor(sides["A"], is_a=True), _factor(sides["B"], is_a=False)
    if a.shape[0] != b.shape[1] or not a.shape[0]:
        raise CheckpointError(
            f"the factors of {module!r} have shapes {sides['A'].shape} and {sides['B'].shape}, which do not multiply",
            where=str(checkpoint.path),
            advice=advice,
        )
    return ThinDelta(left=b, right=a, scale=checkpoint.adapter.scale(module, rank=a.shape[0]))


def _factor(slot: TensorSlot, *, is_a: bool) -> NDArray[np.float64]:
    """A factor as a matrix [first dimension, all others]; a convolution's B must be 1 x 1, so that B A is its delta."""
    if not slot.is_float or len(slot.shape) < 2:
        raise CheckpointError(
            f"factor {slot.name!r} is {slot.dtype} of shape {slot.shape}, no matrix of weights",
            where=str(slot.file.path),
            advice="Save the adapter again with peft",
        )
    values = matrix(slot, first=0, count=slot.elements).astype(np.float64)
    flat = values.reshape(slot.shape[0], -1)
    if not is_a and len(slot.shape) > 2 and flat.shape[1] != slot.shape[1]:
        raise UnsupportedFormat(
            f"factor {slot.name!r} of shape {slot.shape} is a convolution of its own",
            where=str(slot.file.path),
            advice="Merge the adapter into its base model (peft: merge_and_unload()), and compare that",
        )
    return flat

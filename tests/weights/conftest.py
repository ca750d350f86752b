"""Checkpoints written byte by byte, without the library whose format they have, and what numpy says of them."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from msgspec import Struct
from numpy.typing import NDArray

BITS = {"BF16": np.uint16, "F16": np.uint16, "F32": np.uint32, "F64": np.uint64, "I64": np.uint64, "U8": np.uint8}
Array = NDArray[np.generic]


class Stored(Struct, frozen=True):
    """A tensor as a file holds it."""

    dtype: str
    shape: tuple[int, ...]
    bits: Array

    @property
    def values(self) -> NDArray[np.float64]:
        """Its elements in float64, by numpy alone."""
        flat = self.bits.reshape(-1)
        with np.errstate(invalid="ignore"):  # a signalling NaN is one
            if self.dtype == "BF16":
                return (flat.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
            kind = {"F16": np.float16, "F32": np.float32, "F64": np.float64}[self.dtype]
            return flat.view(kind).astype(np.float64)


def stored(values: object, *, dtype: str = "F32", shape: tuple[int, ...] | None = None) -> Stored:
    """Numbers in a format of weights; bfloat16 by cutting off the lower half."""
    array = np.asarray(values, np.float64)
    shape = array.shape if shape is None else shape
    with np.errstate(over="ignore"):
        if dtype == "BF16":
            bits: Array = (array.astype(np.float32).reshape(-1).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
        else:
            kind = {"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype]
            bits = array.astype(kind).reshape(-1).view(BITS[dtype])
    return Stored(dtype, shape, bits.reshape(shape))


def header_of(tensors: Mapping[str, Stored]) -> dict[str, object]:
    """The header of a file that holds these tensors, one after the other."""
    header: dict[str, object] = {}
    offset = 0
    for name, one in tensors.items():
        size = one.bits.nbytes
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [offset, offset + size]}
        offset += size
    return header


def file_bytes(header: object, body: bytes) -> bytes:
    """A file with that header, which may be text, and those bytes behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def write(path: Path, tensors: Mapping[str, Stored], *, config: Mapping[str, object] | None = None) -> Path:
    """A checkpoint: a file if the path has that suffix, else a folder with model.safetensors. Returns `path`."""
    place = path if path.suffix == ".safetensors" else path / "model.safetensors"
    place.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(one.bits.tobytes() for one in tensors.values())
    place.write_bytes(file_bytes(header_of(tensors), body))
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return path


def write_sharded(folder: Path, shards: Mapping[str, Mapping[str, Stored]]) -> Path:
    """A checkpoint in shards with its index."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in shards.items():
        write(folder / name, tensors)
    mapped = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": mapped}))
    return folder


class Oracle(Struct, frozen=True):
    """What float64 arithmetic says of two tensors: the independent answer."""

    delta_squares: float
    reference_squares: float
    current_squares: float
    reference_max: float
    current_max: float
    current_min: float | None
    reference_nan: int
    reference_infinite: int
    current_nan: int
    current_infinite: int
    reference_zeros: int
    current_zeros: int


def oracle(reference: Stored, current: Stored) -> Oracle:
    """Straightforward numpy over the finite elements; sums by `math.fsum`, which is exact."""
    x, y = reference.values, current.values
    fine_x, fine_y = np.isfinite(x), np.isfinite(y)
    both = fine_x & fine_y
    magnitudes = np.abs(y[fine_y])
    above = magnitudes[magnitudes > 0.0]
    with np.errstate(over="ignore"):
        squares = [math.fsum((part**2).tolist()) for part in (y[both] - x[both], x[fine_x], y[fine_y])]
    return Oracle(
        delta_squares=squares[0],
        reference_squares=squares[1],
        current_squares=squares[2],
        reference_max=float(np.abs(x[fine_x]).max(initial=0.0)),
        current_max=float(magnitudes.max(initial=0.0)),
        current_min=float(above.min()) if above.size else None,
        reference_nan=int(np.isnan(x).sum()),
        reference_infinite=int(np.isinf(x).sum()),
        current_nan=int(np.isnan(y).sum()),
        current_infinite=int(np.isinf(y).sum()),
        reference_zeros=int((x == 0.0).sum()),
        current_zeros=int((y == 0.0).sum()),
    )


class Workshop(Struct, frozen=True):
    """What tests of weights are made with."""

    stored: Callable[..., Stored] = stored
    write: Callable[..., Path] = write
    write_sharded: Callable[..., Path] = write_sharded
    file_bytes: Callable[[object, bytes], bytes] = file_bytes
    header_of: Callable[[Mapping[str, Stored]], dict[str, object]] = header_of
    oracle: Callable[[Stored, Stored], Oracle] = oracle
    tensor: Callable[[str, tuple[int, ...], Array], Stored] = Stored


@pytest.fixture(scope="session")
def make() -> Workshop:
    """Tensors, files, checkpoints, and what numpy says of them."""
    return Workshop()

"""The header of a safetensors file, read by hand and believed in nothing.

    8 bytes: length n of the header, little-endian | n bytes of JSON | the tensors, one after the other

The JSON maps each name to its `dtype`, `shape` and `data_offsets` (begin and end, from the end of the header). The
tensors lie without gap or overlap from the first byte to the last one. Format by Hugging Face,
https://github.com/huggingface/safetensors#format; what its own reader refuses is refused here.
"""

import math
import struct
from typing import NoReturn

from msgspec import Struct

from barograph.errors import CheckpointError, UnsupportedFormat
from barograph.weights.strict_json import strict_json
from barograph.weights.weight_file import WeightFile

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""
MAX_NAME = 1_000
MAX_DIMENSIONS = 64
FLOATS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}
"""Formats of weights that are read, and bytes per element."""
INTEGERS = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}
"""Formats of counters and masks, and bytes per element."""
REFUSED = ("F8_", "F6_", "F4", "E8M0", "C64", "F8")
"""How the names of formats begin that are known and not read."""
QUANTISED = ("weight", "_packed", "qzeros", "_scale", "_scales", "_blocks")
"""How the names of tensors end under which quantised weights are stored as integers."""


class TensorSlot(Struct, frozen=True, kw_only=True):
    """Where one tensor lies, and what it is."""

    name: str
    dtype: str
    """As the format spells it: `BF16`, `F32`."""
    shape: tuple[int, ...]
    file: WeightFile
    offset: int
    """First byte, from the beginning of the file."""

    @property
    def elements(self) -> int:
        """Product of the shape; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return FLOATS.get(self.dtype) or INTEGERS[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether it can be a weight."""
        return self.dtype in FLOATS


def tensor_slots(file: WeightFile) -> list[TensorSlot]:
    """Every tensor of the file, in the order of its bytes. Raises `CheckpointError` for whatever is not exactly so."""
    header, begin = _header(file)
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    slots = [_slot(name, entry, file=file, begin=begin) for name, entry in entries.items()]
    slots.sort(key=lambda slot: (slot.offset, slot.elements))
    reached = begin
    for slot in slots:
        if slot.offset != reached:
            what = "overlap" if slot.offset < reached else "leave a gap"
            _refuse(file, f"tensor {_said(slot.name)} begins at byte {slot.offset}, not at {reached}: tensors {what}")
        reached += slot.elements * slot.item_bytes
    if reached > file.size:
        _refuse(file, f"it should have {reached} bytes and has {file.size}: it is not complete")
    if reached < file.size:
        _refuse(file, f"{file.size - reached} bytes follow the last tensor, which ends at byte {reached}")
    return slots


def _header(file: WeightFile) -> tuple[dict[str, object], int]:
    """The JSON object, and the first byte after it."""
    if file.size < LENGTH_BYTES:
        _refuse(file, f"it has {file.size} bytes, and the length of the header alone takes {LENGTH_BYTES}")
    (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES, 0))
    if length > MAX_HEADER_BYTES:
        _refuse(file, f"its header claims {length} bytes, more than {MAX_HEADER_BYTES}")
    if LENGTH_BYTES + length > file.size:
        _refuse(file, f"its header claims {length} bytes, and the file has {file.size}: it is not complete")
    try:
        text = file.read(length, LENGTH_BYTES).decode("utf-8")
        if not text.startswith("{"):
            _refuse(file, f"its header begins with {text[:1]!r}, not with an object")
        found = strict_json(text)
    except ValueError as error:
        raise _error(file, f"its header is no proper JSON: {str(error)[:200]}") from error
    assert isinstance(found, dict), "a text that begins with a brace"
    return found, LENGTH_BYTES + length


def _slot(name: str, entry: object, *, file: WeightFile, begin: int) -> TensorSlot:
    """One entry of the header. A shape whose bytes are not those between its offsets is refused."""
    if len(name) > MAX_NAME:
        _refuse(file, f"a tensor's name has {len(name)} characters")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        _refuse(file, f"tensor {_said(name)} has half a character in its name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(file, f"tensor {_said(name)} must have dtype, shape and data_offsets and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        _refuse(file, f"the shape of tensor {_said(name)} is {str(shape)[:80]}")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse(file, f"the data_offsets of tensor {_said(name)} are {str(offsets)[:80]}")
    size = _item_bytes(dtype, name=name, shape=shape, file=file)
    if math.prod(shape) * size != offsets[1] - offsets[0]:
        _refuse(
            file,
            f"tensor {_said(name)} of shape {str(shape)[:80]} in {dtype} takes {math.prod(shape) * size} bytes,"
            f" its offsets give {offsets[1] - offsets[0]}",
        )
    return TensorSlot(name=name, dtype=str(dtype), shape=tuple(shape), file=file, offset=begin + offsets[0])


def _sizes(value: object) -> bool:
    """Whether it is a list of whole numbers that a file can have."""
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**63 for one in value)


def _item_bytes(dtype: object, *, name: str, shape: list[int], file: WeightFile) -> int:
    if not isinstance(dtype, str):
        _refuse(file, f"the dtype of tensor {_said(name)} is {str(dtype)[:40]}")
    if dtype in FLOATS:
        return FLOATS[dtype]
    quantised = len(shape) >= 2 and name.endswith(QUANTISED)
    if dtype in INTEGERS and not quantised:
        return INTEGERS[dtype]
    if dtype not in INTEGERS and not dtype.startswith(REFUSED):
        _refuse(file, f"the dtype of tensor {_said(name)} is {dtype[:40]!r}, which is unknown")
    raise UnsupportedFormat(
        f"tensor {_said(name)} is {dtype}: quantised weights are not read",
        where=str(file.path),
        advice="Dequantise the model and save it in bfloat16, or compare the checkpoints it was made from",
    )


def _said(name: str) -> str:
    """A name as a message shows it: short, and without characters that a terminal obeys."""
    return repr(name if len(name) <= 100 else f"{name[:100]}...")


def _refuse(file: WeightFile, problem: str) -> NoReturn:
    raise _error(file, problem)


def _error(file: WeightFile, problem: str) -> CheckpointError:
    return CheckpointError(
        f"not a whole safetensors file: {problem}",
        where=str(file.path),
        advice="A checkpoint that is still being written is complete later; otherwise copy or save it again",
    )

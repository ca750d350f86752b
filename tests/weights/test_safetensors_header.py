"""A safetensors file is exactly what its header says, or it is refused with the file and the reason."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from barograph.errors import CheckpointError, UnsupportedFormat
from barograph.weights.safetensors_header import MAX_HEADER_BYTES, TensorSlot, tensor_slots
from barograph.weights.weight_file import opened


def slots(path: Path) -> list[TensorSlot]:
    with opened(path) as file:
        return tensor_slots(file)


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as found:
        slots(path)
    assert str(path) in str(found.value)
    assert found.value.advice
    return str(found.value)


@pytest.fixture
def good(tmp_path: Path, make: Any) -> Path:
    tensors = {"a": make.stored([[1.0, 2.0]]), "b": make.stored(3.0, dtype="F64"), "c": make.stored([0.5] * 3)}
    return Path(make.write(tmp_path / "x.safetensors", tensors))


def test_what_the_format_s_own_library_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "scalar": np.array(2.0, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "wide": np.arange(12, dtype=np.float64).reshape(3, 4),
        "half": np.ones(5, np.float16),
        "ids": np.arange(3, dtype=np.int64),
    }
    save_file(arrays, path, metadata={"format": "pt"})
    found = {slot.name: slot for slot in slots(path)}
    assert {name: slot.shape for name, slot in found.items()} == {name: one.shape for name, one in arrays.items()}
    assert [name for name, slot in found.items() if not slot.is_float] == ["ids"]
    raw = path.read_bytes()
    for name, one in load_file(path).items():
        slot = found[name]
        assert raw[slot.offset : slot.offset + slot.elements * slot.item_bytes] == one.tobytes()


def test_a_file_that_was_cut_anywhere_is_refused(good: Path) -> None:
    whole = good.read_bytes()
    assert len(slots(good)) == 3
    for length in range(len(whole)):
        good.write_bytes(whole[:length])
        refused(good)
    good.write_bytes(whole + b"\0")
    assert "1 bytes follow the last tensor" in refused(good)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, MAX_HEADER_BYTES + 1])
def test_a_header_that_claims_to_be_huge_is_not_believed(good: Path, length: int) -> None:
    good.write_bytes(struct.pack("<Q", length) + good.read_bytes()[8:])
    assert f"its header claims {length} bytes" in refused(good)


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "body", "said"),
    [
        (b"", 0, "begins with ''"),
        (b"[]", 0, "begins with '['"),
        (b"{", 0, "no proper JSON"),
        (b"\xff\xfe", 0, "no proper JSON"),
        (b"{" + b'"a":{' * 100_000, 0, "no proper JSON: it is nested too deep"),
        (b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 4, "NaN is no number of JSON"),
        (
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            8,
            "names 'a' twice",
        ),
        (b'{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4, "names 'dtype' twice"),
        ({"a": 5}, 0, "must have dtype, shape and data_offsets"),
        ({"a": entry() | {"x": 1}}, 8, "and nothing else"),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8, "must have dtype"),
        ({"a": entry(dtype=7)}, 8, "dtype of tensor 'a' is 7"),
        ({"a": entry(dtype="Q17")}, 8, "'Q17', which is unknown"),
        ({"a": entry(shape="2")}, 8, "the shape of tensor 'a' is 2"),
        ({"a": entry(shape=[-2])}, 8, "the shape of tensor 'a' is [-2]"),
        ({"a": entry(shape=[2.0])}, 8, "the shape of tensor 'a' is [2.0]"),
        ({"a": entry(shape=[True, 2])}, 8, "the shape of tensor 'a' is [True, 2]"),
        ({"a": entry(shape=[2**70])}, 8, "the shape of tensor 'a'"),
        ({"a": entry(shape=[1] * 65, offsets=(0, 4))}, 4, "the shape of tensor 'a'"),
        ({"a": entry(shape=[2**40, 2**40], offsets=(0, 8))}, 8, "takes 4835703278458516698824704 bytes"),
        ({"a": entry(offsets=(8, 0))}, 8, "data_offsets of tensor 'a' are [8, 0]"),
        ({"a": entry(offsets=(0,))}, 8, "data_offsets of tensor 'a' are [0]"),
        ({"a": entry(offsets=(-8, 0))}, 8, "data_offsets of tensor 'a'"),
        ({"a": entry(offsets=(0, 4))}, 8, "takes 8 bytes, its offsets give 4"),
        ({"a": entry(), "b": entry(offsets=(4, 12))}, 12, "tensors overlap"),
        ({"a": entry(), "b": entry()}, 8, "tensors overlap"),
        ({"a": entry(), "b": entry(offsets=(12, 20))}, 20, "tensors leave a gap"),
        ({"a": entry(offsets=(4, 12))}, 12, "tensors leave a gap"),
        ({"a": entry(offsets=(2**62, 2**62 + 8))}, 8, "tensors leave a gap"),
        ({"n" * 1_001: entry()}, 8, "name has 1001 characters"),
        ({"\ud800": entry()}, 8, "half a character in its name"),
    ],
)
def test_what_is_not_exactly_the_format_is_refused(
    tmp_path: Path, make: Any, header: object, body: int, said: str
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(make.file_bytes(header, bytes(body)))
    assert said in refused(path)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "F6_E2M3"])
def test_formats_of_few_bits_are_refused_by_name(tmp_path: Path, make: Any, dtype: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(make.file_bytes({"w": entry(dtype=dtype, shape=[8], offsets=(0, 8))}, bytes(8)))
    with pytest.raises(UnsupportedFormat, match=f"'w' is {dtype}: quantised weights are not read"):
        slots(path)


@pytest.mark.parametrize("name", ["q_proj.qweight", "q_proj.weight", "mlp.weight_packed", "experts.down_proj_blocks"])
def test_integers_that_stand_for_weights_are_refused_and_counters_are_not(tmp_path: Path, make: Any, name: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(make.file_bytes({name: entry(dtype="U8", shape=[2, 4], offsets=(0, 8))}, bytes(8)))
    with pytest.raises(UnsupportedFormat, match="quantised"):
        slots(path)
    path.write_bytes(make.file_bytes({"position_ids": entry(dtype="I64", shape=[1, 1], offsets=(0, 8))}, bytes(8)))
    assert [slot.is_float for slot in slots(path)] == [False]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_flipped_byte_of_the_header_gets_past_without_an_error_of_ours(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, make: Any
) -> None:
    tensors = {"a": make.stored([[1.0, 2.0]]), "layers.0.b": make.stored([3.0, 1.0], dtype="F64")}
    path = make.write(tmp_path_factory.getbasetemp() / "flipped.safetensors", tensors)
    whole = bytearray(path.read_bytes())
    end = 8 + len(json.dumps(make.header_of(tensors)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        found = slots(path)
    except CheckpointError:
        return
    # What is left is a whole file all the same: every byte belongs to exactly one tensor.
    assert sum(slot.elements * slot.item_bytes for slot in found) == 24

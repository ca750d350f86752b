"""The pass agrees with float64 numpy: counts and extremes exactly, norms within 1e-7, whatever the bits are."""

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from barograph.errors import CheckpointChanged
from barograph.weights.chunks import CHUNK_BYTES, TensorSums, spans
from barograph.weights.fused_pass import Pair, fused_pass
from barograph.weights.safetensors_header import TensorSlot, tensor_slots
from barograph.weights.weight_file import opened

BITS = {"BF16": np.uint16, "F16": np.uint16, "F32": np.uint32, "F64": np.uint64}
EXACT = (
    "reference_max",
    "current_max",
    "current_min",
    "reference_nan",
    "reference_infinite",
    "current_nan",
    "current_infinite",
    "reference_zeros",
    "current_zeros",
)
SUMS = ("delta_squares", "reference_squares", "current_squares")
UNIT = {"BF16": 2.0**-133, "F16": 2.0**-24, "F32": 2.0**-149, "F64": 2.0**-1074}
"""Smallest number above zero of each format."""


def passed(make: Any, folder: Path, reference: Any, current: Any, *, threads: int = 1) -> TensorSums:
    """The pass over two tensors, each in a file of its own, the second at an odd offset."""
    before = make.write(folder / "a.safetensors", {"w": reference})
    after = make.write(
        folder / "b.safetensors", {"first": make.tensor("U8", (1,), np.zeros(1, np.uint8)), "w": current}
    )
    with opened(before) as one, opened(after) as other:
        a, b = tensor_slots(one)[0], tensor_slots(other)[1]
        return fused_pass([Pair(reference=a, current=b)], threads=threads)[0]


def assert_agrees(make: Any, found: TensorSums, reference: Any, current: Any, *, tolerance: float = 2e-7) -> None:
    """Squares within `tolerance` (twice that of a norm), everything else exactly."""
    wanted = make.oracle(reference, current)
    assert {name: getattr(found, name) for name in EXACT} == {name: getattr(wanted, name) for name in EXACT}
    assert found.changed == int((reference.bits != current.bits).sum())
    for name in SUMS:
        have, want = getattr(found, name), getattr(wanted, name)
        assert have == want or math.isclose(have, want, rel_tol=tolerance, abs_tol=UNIT[current.dtype] ** 2), name


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(), dtype=st.sampled_from(sorted(BITS)), size=st.sampled_from([0, 1, 2, 3, 7, 1023, 1024, 1025, 3000])
)
def test_any_two_tensors_of_any_bits(data: st.DataObject, dtype: str, size: int, tmp_path: Path, make: Any) -> None:
    kind = BITS[dtype]
    few = hnp.arrays(kind, min(size, 8), elements=hnp.from_dtype(np.dtype(kind)))
    fill = np.random.default_rng(data.draw(st.integers(0, 2**32))).standard_normal(size)
    plain = make.stored(fill * 0.02, dtype=dtype).bits.copy()
    a, b = plain.copy(), plain.copy()
    places = data.draw(st.lists(st.integers(0, max(size - 1, 0)), min_size=min(size, 8), max_size=min(size, 8)))
    a[places] = data.draw(few)
    b[places] = data.draw(few)
    if dtype == "F64":  # squares beyond float64 are infinite on both sides, and then nothing can be compared
        a, b = (np.where(np.abs(one.view(np.float64)) > 1e150, np.uint64(0), one) for one in (a, b))
    reference, current = make.tensor(dtype, (size,), a), make.tensor(dtype, (size,), b)
    assert_agrees(make, passed(make, tmp_path, reference, current), reference, current)


@pytest.mark.parametrize("dtype", sorted(BITS))
@pytest.mark.parametrize("scale", [1e-30, 1e-7, 0.02, 1.0, 3e4, 1e25])
def test_norms_are_right_at_every_scale(dtype: str, scale: float, tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(40_001)
    reference, current = make.stored(scale * x, dtype=dtype), make.stored(scale * (x + 1e-3), dtype=dtype)
    assert_agrees(make, passed(make, tmp_path, reference, current), reference, current)


def test_a_tensor_of_one_value_has_its_norm(tmp_path: Path, make: Any) -> None:
    for value in (1.0, 1.0078125, 0.333251953125, 1e-20):
        reference, current = (
            make.stored(np.full(5_000, value), dtype="BF16"),
            make.stored(np.zeros(5_000), dtype="BF16"),
        )
        assert_agrees(make, passed(make, tmp_path, reference, current), reference, current)


@pytest.mark.parametrize("size", [1023, 1024, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("shape", ["normal", "lognormal", "heavy"])
def test_norms_of_large_tensors_are_within_a_ten_millionth(size: int, shape: str, tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(size)
    drawn = {
        "normal": rng.standard_normal(size),
        "lognormal": np.exp(2 * rng.standard_normal(size)),
        "heavy": rng.standard_t(2, size),
    }
    x = drawn[shape]
    reference = make.stored(x, dtype="BF16")
    for current in (make.stored(x * 1.01, dtype="BF16"), reference):
        found, wanted = passed(make, tmp_path, reference, current), make.oracle(reference, current)
        for name in SUMS:
            have, want = math.sqrt(getattr(found, name)), math.sqrt(getattr(wanted, name))
            assert math.isclose(have, want, rel_tol=1e-7), name


def test_a_change_of_one_last_bit_is_seen(tmp_path: Path, make: Any) -> None:
    for dtype, kind in BITS.items():
        reference = make.stored(np.full(2_050, 1e-3), dtype=dtype)
        bits = reference.bits.copy()
        bits[2_049] ^= kind(1)
        current = make.tensor(dtype, (2_050,), bits)
        found = passed(make, tmp_path, reference, current)
        assert found.changed == 1
        assert found.delta_squares > 0.0
        assert_agrees(make, found, reference, current)


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(sorted(BITS), 2)))
def test_two_formats_are_compared_in_the_wider_one(a: str, b: str, tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(150_001)
    x[[3, 70_000]] = math.nan, math.inf
    x[5] = 0.0
    reference, current = make.stored(x, dtype=a), make.stored(x, dtype=b)
    for one, other in ((reference, current), (current, reference)):
        found = passed(make, tmp_path, one, other)
        wanted = make.oracle(one, other)
        assert {name: getattr(found, name) for name in EXACT} == {name: getattr(wanted, name) for name in EXACT}
        assert found.fingerprint is None
        for name in SUMS:
            assert math.isclose(getattr(found, name), getattr(wanted, name), rel_tol=2e-7)


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_many_chunks_and_any_number_of_threads_give_one_answer(dtype: str, tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(0)
    x = 0.02 * rng.standard_normal((701, 997))
    reference, current = make.stored(x, dtype=dtype), make.stored(1.01 * x, dtype=dtype)
    found = [passed(make, tmp_path, reference, current, threads=threads) for threads in (1, 2, 5)]
    assert found[0] == found[1] == found[2]
    assert_agrees(make, found[0], reference, current)


def test_rows_of_zeros_are_counted_wherever_chunks_and_blocks_end(tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(4)
    for rows, columns in ((3, 1), (5, 7), (900, 3), (33, 1024), (9, 1500), (4, 300_001), (2, 700_000), (1, 5), (3, 0)):
        x = rng.standard_normal((rows, columns)) + 3.0
        y = x.copy()
        x[::3] = 0.0
        y[1::2] = 0.0
        y[0, : columns - 1] = 0.0
        reference, current = make.stored(x, dtype="BF16"), make.stored(y, dtype="BF16")
        found = passed(make, tmp_path, reference, current)
        assert found.reference_zero_rows == int((x == 0.0).all(axis=1).sum()) * (columns > 0)
        assert found.current_zero_rows == int((y == 0.0).all(axis=1).sum()) * (columns > 0)
    vector = make.stored(np.zeros(9))
    assert passed(make, tmp_path, vector, vector).current_zero_rows is None


@settings(max_examples=100, deadline=None)
@given(shape=st.lists(st.integers(0, 40), max_size=4), most=st.integers(1, 100))
def test_spans_cover_every_element_once_in_order(shape: list[int], most: int) -> None:
    covered = [place for span in spans(shape, most=most) for place in range(span.first, span.first + span.count)]
    assert covered == list(range(math.prod(shape)))
    assert all(0 < span.count <= most for span in spans(shape, most=most))


def test_equal_bytes_have_equal_fingerprints_and_others_do_not(tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**16, 5_000, dtype=np.uint16)
    whole = make.tensor("BF16", (5_000,), bits)
    first = passed(make, tmp_path, whole, whole).fingerprint
    assert first is not None
    seen = {first}
    for place in range(0, 5_000, 97):
        other = bits.copy()
        other[place] ^= np.uint16(1 << place % 16)
        seen.add(passed(make, tmp_path, whole, make.tensor("BF16", (5_000,), other)).fingerprint or "")
    swapped = np.concatenate([bits[1024:2048], bits[:1024], bits[2048:]])
    seen.add(passed(make, tmp_path, whole, make.tensor("BF16", (5_000,), swapped)).fingerprint or "")
    assert len(seen) == 2 + len(range(0, 5_000, 97))
    assert passed(make, tmp_path, make.tensor("BF16", (5_000,), swapped), whole).fingerprint == first


def test_the_fingerprint_is_a_format_and_stays_what_it_is(tmp_path: Path, make: Any) -> None:
    found = {}
    for dtype in BITS:
        one = make.stored(np.arange(300_000).reshape(300, 1000) / 7.0, dtype=dtype)
        found[dtype] = passed(make, tmp_path, one, one).fingerprint
    assert found == {
        "BF16": "a74e7272eb1d4708",
        "F16": "a310ee2298bbd794",
        "F32": "5dc24b34ac6ad103",
        "F64": "ccf4061ba17d8953",
    }


def slot_of(path: Path, file: Any) -> TensorSlot:
    return tensor_slots(file)[0]


def test_a_file_that_is_cut_while_it_is_read_is_an_error_and_no_signal(tmp_path: Path, make: Any) -> None:
    path = make.write(tmp_path / "x.safetensors", {"w": make.stored(np.ones(CHUNK_BYTES))})
    with opened(path) as file:
        slot = slot_of(path, file)
        os.truncate(path, CHUNK_BYTES)
        with pytest.raises(CheckpointChanged, match="the file ends at byte") as found:
            fused_pass([Pair(current=slot)])
        assert str(path) in str(found.value)
        with pytest.raises(CheckpointChanged, match="changed while it was read"):
            file.must_be_unchanged()


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path, make: Any) -> None:
    current = make.stored(np.arange(10.0))
    path = make.write(tmp_path / "x.safetensors", {"w": current})
    with opened(path) as file:
        slot = slot_of(path, file)
        path.unlink()
        assert fused_pass([Pair(current=slot)])[0].current_squares == 285.0
        file.must_be_unchanged()


def test_progress_counts_every_byte(tmp_path: Path, make: Any) -> None:
    told: list[int] = []
    path = make.write(tmp_path / "x.safetensors", {"w": make.stored(np.ones((600, 1000)))})
    with opened(path) as file:
        fused_pass([Pair(current=slot_of(path, file))], progress=told.append)
    assert sum(told) == 600 * 1000 * 4

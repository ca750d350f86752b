"""The pass agrees with float64 numpy: counts and extremes exactly, norms within 1e-7, whatever the bits are."""

import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from barograph.errors import CheckpointChanged, CheckpointError
from barograph.weights import kernels
from barograph.weights.chunks import CHUNK_BYTES, Buffers, Span, TensorSums, kernel_of, no_partials, spans
from barograph.weights.fused_pass import IN_MEMORY, Pair, fused_pass
from barograph.weights.safetensors_header import TensorSlot, tensor_slots
from barograph.weights.weight_file import WeightFile, opened

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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=st.sampled_from([16_384, 16_385, 33_000, 131_072 + 1_030]))
def test_any_bits_anywhere_in_long_runs(data: st.DataObject, size: int, tmp_path: Path, make: Any) -> None:
    """Few elements are odd, so that most runs are ordinary and some are not."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    a, b = (make.stored(0.02 * rng.standard_normal(size), dtype="BF16").bits.copy() for _ in range(2))
    for one in (a, b):
        places = data.draw(st.lists(st.integers(0, size - 1), max_size=3))
        odd = hnp.arrays(np.uint16, len(places), elements=hnp.from_dtype(np.dtype(np.uint16)))
        one[places] = data.draw(odd)
    shape = (size // 2, 2) if size % 2 == 0 else (size,)
    reference, current = (make.tensor("BF16", shape, bits.reshape(shape)) for bits in (a, b))
    found = passed(make, tmp_path, reference, current)
    assert_agrees(make, found, reference, current)
    if len(shape) == 2:
        assert found.reference_zero_rows == int((reference.values == 0.0).reshape(shape).all(axis=1).sum())
        assert found.current_zero_rows == int((current.values == 0.0).reshape(shape).all(axis=1).sum())


@pytest.mark.parametrize(("before", "after"), [(128, -135 * 2.0**-17), (129, -225 * 2.0**-22), (174, -223 * 2.0**-17)])
def test_a_large_tensor_of_one_change_has_its_norm(before: float, after: float, tmp_path: Path, make: Any) -> None:
    """Float32 sums of a whole block are 3e-7 off here, because all of them are rounded the same way."""
    reference, current = (make.stored(np.full(65_536, value / 128), dtype="BF16") for value in (before, after))
    found, wanted = passed(make, tmp_path, reference, current), make.oracle(reference, current)
    assert math.isclose(math.sqrt(found.delta_squares), math.sqrt(wanted.delta_squares), rel_tol=1e-7)


@pytest.mark.parametrize("apart", [2, 8, 12, 17, 20])
def test_no_choice_of_weights_makes_errors_add_up_to_a_ten_millionth(apart: int, tmp_path: Path, make: Any) -> None:
    """Eight squares of a lane are added in float32: of many octets the one whose error is largest, in every lane.

    `apart`: binary orders between the two sides; from 16 on, float32 cannot hold all differences.
    """
    rng = np.random.default_rng(apart)
    x, y = (
        ((128 + rng.integers(0, 128, (8, 200_000))) * 2.0 ** -rng.integers(7, 11, (8, 200_000))).astype(np.float32)
        for _ in range(2)
    )
    y *= np.float32(-(2.0**-apart))
    delta, wide = y - x, y.astype(np.float64) - x.astype(np.float64)
    # A pair by fused multiply-add, as the kernel has it where the processor does.
    first, second = delta[::2] ** 2, delta[1::2].astype(np.float64) ** 2
    sums = (first.astype(np.float64) + second).astype(np.float32)
    rounded = ((sums[0] + sums[1]) + (sums[2] + sums[3])).astype(np.float64)
    exact = (wide**2).sum(axis=0)
    for worst in (np.argmax(rounded / exact), np.argmin(rounded / exact)):
        # Words of two elements: an octet is a pair of each of four vectors, which are 16 words long.
        a, b = (np.tile(one[:, worst].reshape(4, 1, 2), (600, 16, 1)).reshape(-1) for one in (x, y))
        reference, current = make.stored(a, dtype="BF16"), make.stored(b, dtype="BF16")
        found, wanted = passed(make, tmp_path, reference, current), make.oracle(reference, current)
        for name in SUMS:
            have, want = math.sqrt(getattr(found, name)), math.sqrt(getattr(wanted, name))
            assert math.isclose(have, want, rel_tol=1e-7), (name, have / want - 1)


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


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_where_in_a_file_a_tensor_begins_changes_nothing(dtype: str, tmp_path: Path, make: Any) -> None:
    tensor = make.stored(np.random.default_rng(6).standard_normal((300, 1001)), dtype=dtype)
    found = []
    for before in (0, 1, 7, 8, 63, 64, 4095, 4096):
        filler = make.tensor("U8", (before,), np.zeros(before, np.uint8))
        tensors = {"filler": filler, "w": tensor}
        begin = 8 + len(json.dumps(make.header_of(tensors)))
        header = json.dumps(make.header_of(tensors)).encode() + b" " * (-begin % 4096)
        path = tmp_path / "x.safetensors"
        path.write_bytes(make.file_bytes(header, filler.bits.tobytes() + tensor.bits.tobytes()))
        with opened(path) as file:
            slot = tensor_slots(file)[-1]
            assert slot.offset % 4096 == before % 4096
            found.append(fused_pass([Pair(current=slot)], threads=1)[0])
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("dtype", ["BF16", "F32", "F64"])
def test_a_kernel_that_reads_and_one_that_is_given_memory_agree(dtype: str, tmp_path: Path, make: Any) -> None:
    count = CHUNK_BYTES // 8
    path = make.write(tmp_path / "x.safetensors", {"w": make.stored(np.arange(count) / 7.0, dtype=dtype)})
    buffers, found = Buffers(), []
    with opened(path) as file:
        slot = tensor_slots(file)[0]
        read = np.array([-1, 0, file.descriptor, slot.offset], np.int64)
        for source, words in (
            (read, buffers.pieces[1]),
            (IN_MEMORY, buffers.filled(1, slot, Span(0, count), dtype=dtype)),
        ):
            sums, prints, counts = no_partials(1), np.zeros(1, np.uint64), np.array([count])
            stop = np.zeros(1, np.uint8)
            done = kernel_of(dtype)(source, words, words, kernels.KEYS, counts, 0, sums, prints, stop)
            found.append((done, sums.tolist(), prints.tolist()))
    assert found[0] == found[1]
    assert found[0][0] == 1


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


def test_a_file_that_cannot_be_read_is_an_error_that_says_why(tmp_path: Path, make: Any) -> None:
    path = make.write(tmp_path / "x.safetensors", {"w": make.stored(np.ones(5_000))})
    with opened(path) as file:
        slot = slot_of(path, file)
        descriptor = os.open(path, os.O_WRONLY)
        try:
            unreadable = WeightFile(
                path=path, descriptor=descriptor, size=file.size, modified_ns=file.modified_ns, identity=file.identity
            )
            with pytest.raises(CheckpointError, match="cannot be read: Bad file descriptor"):
                fused_pass([Pair(current=msgspec.structs.replace(slot, file=unreadable))])
        finally:
            os.close(descriptor)


def test_after_the_bar_fails_nothing_more_is_read(tmp_path: Path, make: Any) -> None:
    """Ctrl-C reaches whoever waits or draws; the threads end with what they have in hand."""
    told: list[int] = []

    def interrupted(count: int) -> None:
        told.append(count)
        raise KeyboardInterrupt

    path = make.write(tmp_path / "x.safetensors", {"w": make.stored(np.ones((40, CHUNK_BYTES // 4)))})
    with opened(path) as file, pytest.raises(KeyboardInterrupt):
        fused_pass([Pair(current=slot_of(path, file))], threads=2, progress=interrupted)
    assert sum(told) <= 2 * 8 * CHUNK_BYTES


def test_a_kernel_that_is_told_to_stop_reads_nothing(tmp_path: Path, make: Any) -> None:
    path = make.write(tmp_path / "x.safetensors", {"w": make.stored(np.ones(1_000))})
    with opened(path) as file:
        slot, words = slot_of(path, file), Buffers().pieces[1]
        source = np.array([-1, 0, file.descriptor, slot.offset], np.int64)
        sums, prints, counts = no_partials(1), np.zeros(1, np.uint64), np.array([1_000])
        stop = np.ones(1, np.uint8)
        assert kernel_of("F32")(source, words, words, kernels.KEYS, counts, 0, sums, prints, stop) == 0
    assert sums[0, kernels.CURRENT] == 0.0
    assert not words.any()


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

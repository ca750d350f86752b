"""A compressed journal is read by the offsets of the original, and what it says of itself is not believed."""

import struct
import subprocess
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barograph.errors import DamagedArchive
from barograph.journal import Batch, Position, TailReader
from barograph.journal.archive import FRAME_BYTES, MOST_FRAME_BYTES, SEEKABLE, SKIPPABLE, Archive
from barograph.journal.layout import archive_of
from barograph.journal.seal import frames, seal
from barograph.records import Step
from barograph.records.codec import encode_line

NAME = "train-000001-20260101T000000.jsonl"


def line(step: int) -> bytes:
    return encode_line(Step(step=step, loss=1.0 / (step + 1), time=float(step)))


def packed(pieces: Sequence[bytes], *, level: int = 3) -> list[tuple[bytes, int]]:
    """Frames, and what each holds."""
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return [(compressor.compress(piece), len(piece)) for piece in pieces]


def archive(
    pieces: Sequence[tuple[bytes, int]], *, count: int | None = None, flags: int = 0, each: bytes = b""
) -> bytes:
    """An archive of frames and of what the seek table says that they hold; `each` follows every entry of the table."""
    entries = b"".join(struct.pack("<II", len(frame), size) + each for frame, size in pieces)
    table = entries + struct.pack("<IBI", len(pieces) if count is None else count, flags, SEEKABLE)
    return b"".join(frame for frame, _ in pieces) + struct.pack("<II", SKIPPABLE, len(table)) + table


def reader(folder: Path, content: bytes, position: Position | None = None) -> TailReader:
    """Of an archive with that content."""
    archive_of(folder / NAME).write_bytes(content)
    return TailReader(folder, folder / NAME, position)


def batches(opened: TailReader, limit: int = 4 << 20) -> list[Batch]:
    """All that it reads, to the end."""
    with opened:
        found = [opened.read(limit)]
        while found[-1].more:
            found.append(opened.read(limit))
    return found


def steps(found: Sequence[Batch]) -> list[int]:
    return [entry.record.step for batch in found for entry in batch.entries if isinstance(entry.record, Step)]


TEXT = st.lists(
    st.one_of(st.binary(max_size=40), st.just(b"\n"), st.binary(max_size=3).map(lambda part: part * 30_000))
)


@settings(max_examples=25, deadline=None)
@example(parts=[b"x" * FRAME_BYTES, b"\n"], cuts=[FRAME_BYTES - 1])
@given(parts=TEXT, cuts=st.lists(st.integers(0, 400_000), max_size=6))
def test_every_offset_of_an_archive_is_that_of_the_original(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    whole = b"".join(parts)
    path = folder / NAME
    path.write_bytes(whole)
    with path.open("rb") as file:
        pieces = list(frames(file.fileno(), len(whole)))
    assert b"".join(pieces) == whole
    assert all(0 < len(piece) <= FRAME_BYTES for piece in pieces)
    assert all(piece.endswith(b"\n") or b"\n" not in piece for piece in pieces[:-1])
    seal(folder, path, expected=path.stat())
    assert not path.exists()
    with archive_of(path).open("rb") as file:
        opened = Archive(file.fileno(), where="here")
        assert opened.size == len(whole)
        for cut in cuts:
            found = opened.read(1_000, cut)
            assert found.data == whole[cut : cut + 1_000]
            assert found.more == (cut + 1_000 < len(whole) or (cut < len(whole) and not found.data))


@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 2_000), stop=st.integers(0, 2_000), torn=st.binary(max_size=20))
def test_a_reader_that_stops_in_the_original_goes_on_in_the_archive(
    tmp_path_factory: pytest.TempPathFactory, count: int, stop: int, torn: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / NAME
    head = b"".join(line(step) for step in range(min(stop, count)))
    path.write_bytes(head)
    before = batches(TailReader(folder, path))
    whole = head + b"".join(line(step) for step in range(min(stop, count), count)) + torn.replace(b"\n", b"")
    path.write_bytes(whole)
    plain = batches(TailReader(folder, path, before[-1].position))
    seal(folder, path, expected=path.stat())
    after = batches(TailReader(folder, path, before[-1].position))
    assert steps(before) + steps(after) == list(range(count))
    assert (after[-1].position, after[-1].torn) == (plain[-1].position, plain[-1].torn)


def test_the_plain_tool_reads_an_archive(tmp_path: Path) -> None:
    path = tmp_path / NAME
    whole = b"".join(line(step) for step in range(5_000))
    path.write_bytes(whole)
    seal(tmp_path, path, expected=path.stat())
    done = subprocess.run(["zstd", "-dc", archive_of(path)], capture_output=True, check=True)
    assert done.stdout == whole


def test_tables_with_checksums_and_frames_without_content_are_read(tmp_path: Path) -> None:
    pieces = [(b"", 0), *packed([line(1), b"", line(2)])]
    found = batches(reader(tmp_path, archive(pieces, flags=0x80, each=b"sums")))
    assert steps(found) == [1, 2]


def test_an_original_wins_over_the_archive_beside_it(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(line(7))
    assert steps(batches(reader(tmp_path, archive(packed([line(1)]))))) == [7]


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 10, 16, 17, 24, 40])
def test_an_archive_that_is_cut_short_is_refused_and_said_where(tmp_path: Path, cut: int) -> None:
    whole = archive(packed([line(1), line(2)]))
    with pytest.raises(DamagedArchive, match=rf"the archive has .*\(at {NAME}.zst\).*zstd -d"):
        reader(tmp_path, whole[cut + 1 :] if cut > 20 else whole[: -cut - 1])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (archive(packed([line(1)]), count=4_000_000), "4000000 frames"),
        (archive(packed([line(1)]), count=(1 << 32) - 1), "4294967295 frames"),
        (archive(packed([line(1)]), count=0), "beginning"),
        (archive(packed([line(1)]), flags=0x7C), "flags 0x7c"),
        (b"more" + archive(packed([line(1)])), "frames of"),
        (archive([(packed([line(1)])[0][0], MOST_FRAME_BYTES + 1)]), "more than 8388608 bytes"),
        (archive([(b"", MOST_FRAME_BYTES)] * 1_000), "more than 256 times"),
        (b"", "no seek table"),
        (line(1), "no seek table"),
    ],
)
def test_a_table_that_lies_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(DamagedArchive, match=what):
        reader(tmp_path, content)


def test_a_frame_that_lies_costs_that_frame(tmp_path: Path) -> None:
    good = packed([line(step) for step in range(5)])
    for number, lie in enumerate(
        [
            (good[2][0], good[2][1] + 1),
            (good[2][0], good[2][1] - 1),
            (good[2][0][:-1] + b"\0", good[2][1]),
            (b"\0" * 40, good[2][1]),
            (zstandard.ZstdCompressor(write_content_size=False).compress(line(2)), good[2][1] + 5),
            (zstandard.ZstdCompressor().compress(b"\n" * (64 << 20)), good[2][1]),
            (good[2][0] + good[2][0], 2 * good[2][1]),
        ]
    ):
        found = batches(reader(tmp_path, archive([*good[:2], lie, *good[3:]])))
        assert steps(found) == [0, 1, 3, 4], number
        (bad,) = [one for batch in found for one in batch.bad]
        assert (bad.offset, bad.length, bad.reason) == (good[0][1] + good[1][1], lie[1], "damaged")
        assert "frame 2 " in bad.detail
        assert f"{NAME}.zst, byte {len(good[0][0]) + len(good[1][0])}" in bad.detail


def test_a_line_that_runs_into_a_damaged_frame_is_one_bad_line_with_it(tmp_path: Path) -> None:
    first = line(1) + b'{"type":"step","st'
    content = archive([*packed([first]), (b"junk", 100), *packed([line(3)])])
    for limit in (1, 4 << 20):
        found = batches(reader(tmp_path, content), limit)
        assert steps(found) == [1, 3]
        (bad,) = [one for batch in found for one in batch.bad]
        assert (bad.offset, bad.offset + bad.length, bad.reason) == (len(line(1)), len(first) + 100, "damaged")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_and_no_cut_crashes_a_reader_or_makes_a_line_up(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(archive(packed([line(1) + line(2), line(3), line(4) + b"torn"])))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(content)))
    folder = tmp_path_factory.mktemp("any")
    found: list[Batch] = []
    with suppress(DamagedArchive):
        found = batches(reader(folder, bytes(content[: cut or None])))
    assert set(steps(found)) <= {1, 2, 3, 4}


def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    frame = zstandard.ZstdCompressor().compress(bytes(MOST_FRAME_BYTES))
    count = (16 << 20) // MOST_FRAME_BYTES  # as much as any archive may hold
    opened = reader(tmp_path, archive([(frame, MOST_FRAME_BYTES)] * count))
    tracemalloc.start()
    with opened:
        for _ in range(3):
            assert opened.read().more
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64_000_000


def test_an_overlong_line_in_an_archive_is_passed_over_like_any(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(line(1) + bytes(i * 7 % 251 | 128 for i in range(3_000_000)) + b"\n" + line(2))
    plain = batches(TailReader(tmp_path, path), 100)
    seal(tmp_path, path, expected=path.stat())
    found = batches(TailReader(tmp_path, path), 100)
    assert steps(found) == [1, 2]
    assert [batch.bad for batch in found if batch.bad] == [batch.bad for batch in plain if batch.bad]


def test_the_end_of_an_archive_is_found_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / NAME
    whole = b"".join(line(step) for step in range(5_000))
    path.write_bytes(whole)
    seal(tmp_path, path, expected=path.stat())
    with TailReader(tmp_path, path) as opened:
        assert opened.size == len(whole)
        opened.position = Position(offset=opened.size - len(line(4_999)))
        assert steps([opened.read()]) == [4_999]

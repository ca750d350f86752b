"""A reader returns what is whole, once, wherever it stops and however the file grows; and opens nothing but files."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barograph.errors import UnsafePath
from barograph.journal import BadLine, Batch, Entry, Position, TailReader
from barograph.records import Alert, Heartbeat, Step
from barograph.records.codec import encode_line

Reader = Callable[[Path], Batch]

LIMIT = 200
GOOD = tuple(encode_line(Step(step=step, loss=step / 4, time=1.0, metrics={"é": 0.5})) for step in range(5))
PIECES = (
    *GOOD,
    encode_line(Alert(time=2.0, title="☃" * 20)),
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf" + GOOD[0],
    GOOD[1][:-1] + b"\r\n",
    b"no json\n",
    b'{"type":"later"}\n',
    b"\0" * 30 + b"\n",
    b"x" * LIMIT + b"\n",
    b"x" * (LIMIT + 1) + b"\n",
    b"y" * (3 * LIMIT) + b"\n",
    GOOD[2][:40] + GOOD[3],
)
TAILS = (b"", GOOD[4][:-1], b"{", b"\0" * 50, b"z" * (LIMIT + 1), b"z" * (4 * LIMIT), b"\r")


def grown(path: Path, content: bytes, cuts: list[int], limit: int, *, reopen: bool) -> tuple[list[object], Batch]:
    """What a reader finds in a file that grows to `content` in the given pieces, and its last batch."""
    found: list[Entry] = []
    bad: list[BadLine] = []
    path.write_bytes(b"")
    reader = TailReader(path.parent, path, line_limit=LIMIT)
    last = reader.read(limit)
    for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        with path.open("ab") as file:
            file.write(content[begin:end])
        if reopen:
            reader.close()
            reader = TailReader(path.parent, path, reader.position, line_limit=LIMIT)
        while True:
            last = reader.read(limit)
            found += last.entries
            bad += last.bad
            if not last.more:
                break
            assert last.torn == 0, "the end was not reached"
    reader.close()
    return [*found, *bad], last


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_split_of_reads_and_growth_finds_what_one_read_finds(data: st.DataObject, tmp_path: Path) -> None:
    content = b"".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=8))) + data.draw(st.sampled_from(TAILS))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    limit = data.draw(st.integers(1, 3 * LIMIT))
    path = tmp_path / "x.jsonl"
    at_once, end = grown(path, content, [], 1 << 20, reopen=False)
    in_pieces, end_of_pieces = grown(path, content, cuts, limit, reopen=data.draw(st.booleans()))
    assert in_pieces == at_once
    assert end_of_pieces.position == end.position
    assert end_of_pieces.torn == end.torn


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=8), tail=st.sampled_from(TAILS))
@example(pieces=[b"\n"], tail=b"")
@example(pieces=[], tail=b"")
def test_a_file_is_its_lines_and_each_is_found_at_its_offset(pieces: list[bytes], tail: bytes, tmp_path: Path) -> None:
    content = b"".join(pieces) + tail
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    found, end = grown(path, content, [], 1 << 20, reopen=False)
    lines = content.split(b"\n")
    begins = [sum(len(line) + 1 for line in lines[:index]) for index in range(len(lines))]
    whole = {
        begin: len(line) for begin, line in zip(begins[:-1], lines[:-1], strict=True) if line.removesuffix(b"\r") != b""
    }
    assert {one.offset: one.length for one in found if isinstance(one, Entry | BadLine)} == whole
    assert len(found) == len(whole)
    assert end.torn == len(lines[-1])


def test_a_record_torn_at_any_byte_costs_nothing_but_itself_until_its_rest_arrives(tmp_path: Path) -> None:
    before, torn, after = GOOD[0], encode_line(Step(step=1, loss=float("nan"), time=1.0)), GOOD[2]
    path = tmp_path / "x.jsonl"
    for length in range(len(torn)):
        path.write_bytes(before + torn[:length])
        with TailReader(tmp_path, path) as reader:
            first = reader.read()
            assert [entry.record for entry in first.entries] == [Step(step=0, loss=0.0, time=1.0, metrics={"é": 0.5})]
            assert (first.bad, first.torn, first.position) == ([], length, Position(offset=len(before)))
            again = reader.read()
            assert (again.entries, again.bad, again.torn) == ([], [], length)
            with path.open("ab") as file:
                file.write(torn[length:] + after)
            rest = reader.read()
        assert [entry.offset for entry in rest.entries] == [len(before), len(before) + len(torn)]
        assert (rest.bad, rest.torn) == ([], 0)


def test_a_torn_record_that_another_was_glued_to_costs_both_and_no_third(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for length in range(1, len(GOOD[1]) - 1):
        path.write_bytes(GOOD[0] + GOOD[1][:length] + GOOD[2] + GOOD[3])
        with TailReader(tmp_path, path) as reader:
            batch = reader.read()
        assert [entry.record.step for entry in batch.entries if isinstance(entry.record, Step)] == [0, 3]
        assert [line.offset for line in batch.bad] == [len(GOOD[0])]


def test_no_flipped_bit_of_a_file_makes_a_record_that_was_not_written(tmp_path: Path) -> None:
    content = b"".join(GOOD[:3])
    written = [Step(step=step, loss=step / 4, time=1.0, metrics={"é": 0.5}) for step in range(3)]
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    for bit in range(8 * len(content)):
        with path.open("r+b") as file, TailReader(tmp_path, path) as reader:
            file.seek(bit // 8)
            file.write(bytes([content[bit // 8] ^ 1 << bit % 8]))
            file.flush()
            batch = reader.read()
            file.seek(bit // 8)
            file.write(content[bit // 8 : bit // 8 + 1])
        assert all(entry.record in written for entry in batch.entries)
        assert len(batch.entries) >= 1
        assert len(batch.entries) + len(batch.bad) + bool(batch.torn) >= 2


@pytest.mark.parametrize(
    ("content", "good", "bad", "torn"),
    [
        (b"", 0, [], 0),
        (b"\n\n\n", 0, [], 0),
        (b"\r\n\r\n", 0, [], 0),
        (b"\xef\xbb\xbf" + GOOD[0], 1, [], 0),
        (b"\xef\xbb\xbf", 0, [], 3),
        (GOOD[0] + b"\xef\xbb\xbf" + GOOD[1], 1, ["checksum"], 0),
        (GOOD[0].replace(b"\n", b"\r\n") * 3, 3, [], 0),
        (GOOD[0][:-1], 0, [], len(GOOD[0]) - 1),
        (GOOD[0] + b"\0" * 4096, 1, [], 4096),
        (GOOD[0] + b"\0" * 4096 + b"\n" + GOOD[1], 2, ["not_json"], 0),
        (GOOD[0] + b"\0" * 4096 + GOOD[1] + GOOD[2], 2, ["checksum"], 0),
        (b"\xff\xfe\n" + GOOD[1], 1, ["not_json"], 0),
        (GOOD[0].replace(b"0.0", b"0.5") + GOOD[1], 1, ["checksum"], 0),
    ],
)
def test_what_others_and_power_failures_leave_is_counted(
    content: bytes, good: int, bad: list[str], torn: int, tmp_path: Path, read: Reader
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    batch = read(path)
    assert len(batch.entries) == good
    assert [line.reason for line in batch.bad] == bad
    assert batch.torn == torn


def test_a_line_of_exactly_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    empty = len(encode_line(Alert(time=1.0, title=""))) - 1
    fitting = encode_line(Alert(time=1.0, title="a" * (LIMIT - empty)))
    longer = encode_line(Alert(time=1.0, title="a" * (LIMIT - empty + 1)))
    path.write_bytes(fitting + longer + fitting)
    with TailReader(tmp_path, path, line_limit=LIMIT) as reader:
        batch = reader.read()
    assert [entry.length for entry in batch.entries] == [LIMIT, LIMIT]
    assert [(line.offset, line.length, line.reason) for line in batch.bad] == [(LIMIT + 1, LIMIT + 1, "too_long")]
    assert batch.bad[0].detail == f"too_long: {LIMIT + 1} bytes, the limit is {LIMIT}"


GIGABYTE_LINE = """
import os, resource, sys
from pathlib import Path
from barograph.journal import TailReader
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
steps, bad = [], []
with TailReader(path.parent, path) as reader:
    while True:
        batch = reader.read()
        steps += [entry.record.step for entry in batch.entries]
        bad += [(line.offset, line.length, line.reason) for line in batch.bad]
        if not batch.more:
            break
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, steps, bad, batch.torn)
"""


def test_a_line_of_a_gigabyte_is_refused_in_little_memory_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(GOOD[0])
        file.seek(1 << 30)
        file.write(b"\n" + GOOD[1])
    said = subprocess.run(
        [sys.executable, "-c", GIGABYTE_LINE, path], capture_output=True, text=True, check=True
    ).stdout
    grown_kib, facts = said.split(maxsplit=1)
    assert facts.strip() == f"[0, 1] [({len(GOOD[0])}, {(1 << 30) - len(GOOD[0])}, 'too_long')] 0"
    assert int(grown_kib) < 64 * 1024


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_bytes(GOOD[0])
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    (tmp_path / "nowhere.jsonl").symlink_to("nowhere")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "fifo.jsonl")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(tmp_path / "socket.jsonl"))
        for name in ("link", "zero", "nowhere", "folder", "fifo", "socket"):
            with pytest.raises(UnsafePath, match=rf"not a regular file.*{name}\.jsonl"):
                TailReader(tmp_path, tmp_path / f"{name}.jsonl")
    with TailReader(tmp_path, tmp_path / "real.jsonl") as reader:
        assert len(reader.read().entries) == 1


def test_a_device_is_not_opened(tmp_path: Path) -> None:
    node = tmp_path / "device.jsonl"
    try:
        os.mknod(node, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("device files cannot be made here")
    with pytest.raises(UnsafePath, match="not a regular file"):
        TailReader(tmp_path, node)


def test_no_path_leads_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "x.jsonl").write_bytes(GOOD[0])
    (root / "logs").symlink_to(outside)
    (root / "file").write_bytes(GOOD[0])
    for path in (
        outside / "x.jsonl",
        root / ".." / "outside" / "x.jsonl",
        root / "logs" / "x.jsonl",
        root / "file" / "x.jsonl",
        root,
        Path("/proc/self/environ"),
        root / "a\0b.jsonl",
    ):
        with pytest.raises(UnsafePath):
            TailReader(root, path)
    with pytest.raises(FileNotFoundError):
        TailReader(root, root / "missing.jsonl")


def test_no_descriptor_is_left_open_by_a_refusal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jsonl")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(UnsafePath):
            TailReader(tmp_path, tmp_path / "fifo.jsonl")
        with pytest.raises(FileNotFoundError):
            TailReader(tmp_path, tmp_path / "missing.jsonl")
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_twice_closes_nothing_of_others(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD[0])
    reader = TailReader(tmp_path, path)
    reader.close()
    other = os.open(path, os.O_RDONLY)
    reader.close()
    assert os.read(other, 1) == b"{"
    os.close(other)


def test_lines_of_other_kinds_keep_their_place_among_the_known(tmp_path: Path, read: Reader) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(encode_line(Heartbeat(time=1.0)) + b'{"type":"later"}\n' + GOOD[1])
    assert [type(entry.record).__name__ for entry in read(path).entries] == ["Heartbeat", "Unknown", "Step"]

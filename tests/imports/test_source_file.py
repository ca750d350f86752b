"""One file of another tool: what must not be opened is not, and what is broken costs one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import ImportFailed, NothingYet
from barograph.imports.source_file import SourceFile


def lines(path: Path) -> list[tuple[int, bytes, str | None]]:
    with SourceFile(path) as file:
        return [(line.offset, line.data, line.problem) for line in file.lines()]


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20))
def test_every_line_is_found_at_its_offset(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("lines") / "log"
    content = b"first\n" + b"\n".join(parts)
    path.write_bytes(content)
    for offset, data, problem in lines(path):
        assert problem is not None or content[offset : offset + len(data)] == data
    found = [data for _, data, problem in lines(path) if problem is None]
    wanted = [part.rstrip(b"\r") for part in [b"first", *parts]]
    assert found == [part for part in wanted if part.strip() and part.strip(b"\0")]


def test_a_mark_of_byte_order_and_carriage_returns_are_no_part_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo")
    assert [data for _, data, _ in lines(path)] == [b"one", b"two"]


def test_a_tail_of_nul_bytes_is_one_problem_and_what_came_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n" + b"\0" * 5000)
    (_, first, _), (offset, data, problem) = lines(path)
    assert (first, offset, data) == (b"one", 4, b"")
    assert problem == "5,000 NUL bytes, as a machine leaves that lost its power"


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_passed_over_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"one\n")
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\ntwo\n")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from barograph.imports.source_file import SourceFile\n"
        "with SourceFile(Path(sys.argv[1])) as file:\n"
        "    print([(line.data, line.problem) for line in file.lines()])\n"
        "print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    said, peak = done.stdout.splitlines()
    assert said.startswith("[(b'one', None), (b'', 'too long: 1,073,741,820 bytes")
    assert said.endswith("(b'two', None)]")
    assert int(peak) < 64_000, "kilobytes, most of which are numpy and the interpreter"


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    (tmp_path / "x.jsonl").mkdir()
    said = {"fifo": "not a regular file", "link": "this is a link", "x.jsonl": "a folder where a file must be"}
    for name, problem in said.items():
        with pytest.raises(ImportFailed, match=problem) as failure:
            SourceFile(tmp_path / name)
        assert str(tmp_path / name) in str(failure.value)
    with pytest.raises(ImportFailed, match="not a regular file"):
        SourceFile(Path("/dev/zero"))


def test_a_link_is_refused_with_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("{}\n")
    (tmp_path / "link").symlink_to("real.jsonl")
    with pytest.raises(ImportFailed, match=r"Name what it leads to: real\.jsonl"):
        SourceFile(tmp_path / "link")


@pytest.mark.parametrize("name", ["absent", "nul\0byte", "long" * 100])
def test_what_is_not_there_is_one_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImportFailed, match=r"cannot be read|not read"):
        SourceFile(tmp_path / name)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(ImportFailed, match="Permission denied"):
        SourceFile(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n"])
def test_an_empty_file_holds_nothing_yet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(NothingYet, match="the file is empty"):
        SourceFile(tmp_path / "log")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        ("step,loss\n".encode("utf-16"), "UTF-16"),
        (b"SQLite format 3\0", "SQLite"),
    ],
)
def test_what_is_no_log_is_called_by_its_name(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / "log").write_bytes(head)
    with pytest.raises(ImportFailed, match=said):
        SourceFile(tmp_path / "log")


def test_what_is_appended_after_opening_is_for_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    with SourceFile(path) as file:
        with path.open("a") as more:
            more.write("two\n")
        assert [line.data for line in file.lines()] == [b"one"]


def test_a_document_that_is_no_text_says_at_which_byte(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"a": "\xff"}')
    with SourceFile(path) as file, pytest.raises(ImportFailed, match=r"no UTF-8.*byte 7"):
        file.document()

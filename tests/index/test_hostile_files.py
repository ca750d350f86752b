"""Files that nobody should open, and lines that nobody should hold in memory."""

import os
import socket
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from barograph.index import Index, Indexer, query
from barograph.index.source import SourceState
from barograph.records import Step
from barograph.records.codec import encode_line


def logs_of(root: Path) -> Path:
    logs = root / "r" / "logs"
    logs.mkdir(parents=True)
    (logs / "train-000001-20260101T000000.jsonl").write_bytes(encode_line(Step(step=1, loss=1.0, time=1.0)))
    return logs


def seen(root: Path) -> tuple[list[SourceState], list[str]]:
    """The files that were read, and what was said of the others."""
    with Index(root).snapshot() as snapshot:
        return [one.state for one in query.sources(snapshot, "r")], query.notices(snapshot, "r")


def root_notices(root: Path) -> list[str]:
    """What was said of the root itself."""
    with Index(root).snapshot() as snapshot:
        return query.root_notices(snapshot)


@pytest.mark.parametrize("kind", ["fifo", "link", "dangling", "device", "folder", "socket"])
@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_never_opened_and_said(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = logs_of(tmp_path / "root")
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(encode_line(Step(step=666, loss=6.0, time=1.0)))
    path = logs / "train-000002-20260101T000000.jsonl"
    server = None
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        monkeypatch.chdir(logs)  # the name of a socket must be short
        server.bind(path.name)
    else:
        path.symlink_to({"link": secret, "dangling": tmp_path / "nothing", "device": Path("/dev/zero")}[kind])
    with Indexer(tmp_path / "root") as indexer:
        indexer.scan()
        states, notices = seen(tmp_path / "root")
    if server is not None:
        server.close()
    assert [state.last_step for state in states] == [1]
    assert notices == [f"logs/{path.name} is no regular file, so it is not read"]


def test_logs_that_are_a_link_are_not_followed(tmp_path: Path) -> None:
    logs = logs_of(tmp_path / "elsewhere")
    (tmp_path / "root" / "r").mkdir(parents=True)
    (tmp_path / "root" / "r" / "logs").symlink_to(logs)
    with Indexer(tmp_path / "root") as indexer:
        assert not indexer.scan().changed
        assert root_notices(tmp_path / "root") == ["r/logs is a link, so it is not read"]


def test_a_file_that_turns_into_a_fifo_is_forgotten(tmp_path: Path) -> None:
    logs = logs_of(tmp_path)
    path = logs / "train-000001-20260101T000000.jsonl"
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        path.unlink()
        os.mkfifo(path)
        assert indexer.scan().runs == ("r",)
        states, notices = seen(tmp_path)
    assert states == []
    assert "is no regular file" in notices[0]


@pytest.mark.parametrize("size", [10**8, pytest.param(10**9, marks=pytest.mark.slow)])
def test_a_huge_line_is_refused_in_little_memory(tmp_path: Path, size: int) -> None:
    path = logs_of(tmp_path) / "train-000002-20260101T000000.jsonl"
    good = encode_line(Step(step=2, loss=2.0, time=1.0))
    with path.open("wb") as file:
        file.write(good)
        file.truncate(len(good) + size)  # a hole: zeros that take no disk
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + good)
    tracemalloc.start()
    with Indexer(tmp_path) as indexer:
        indexer.scan()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    state = seen(tmp_path)[0][1]
    assert (state.good, state.bad, state.torn) == (2, 1, 0)
    assert f"byte {len(good)}: too_long" in state.examples[0]
    assert peak < 64e6


def test_an_overlong_line_that_grows_between_scans_is_refused_once(tmp_path: Path) -> None:
    path = logs_of(tmp_path) / "train-000002-20260101T000000.jsonl"
    good = encode_line(Step(step=2, loss=2.0, time=1.0))
    with Indexer(tmp_path) as indexer:
        for part in (good, *[b"x" * 700_000] * 3, b"\n", good):
            with path.open("ab") as file:
                file.write(part)
            indexer.scan()
            if part[0] == ord("x"):
                assert seen(tmp_path)[0][1].torn > 0
        state = seen(tmp_path)[0][1]
    assert (state.good, state.bad, state.torn) == (2, 1, 0)


def test_a_file_may_grow_while_it_is_read(tmp_path: Path) -> None:
    path = logs_of(tmp_path) / "train-000002-20260101T000000.jsonl"
    lines = [encode_line(Step(step=step, loss=1.0, time=1.0)) for step in range(3_000)]
    path.touch()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            for line in lines:
                file.write(line[:20])
                file.write(line[20:])

    writer = threading.Thread(target=write)
    with Indexer(tmp_path) as indexer:
        writer.start()
        until = time.monotonic() + 20
        while writer.is_alive() and time.monotonic() < until:
            indexer.scan()
        writer.join()
        indexer.scan()
        with Index(tmp_path).snapshot() as snapshot:
            found = query.series_points(snapshot, "r", "loss")
            bad = query.sources(snapshot, "r")[1].state.bad
    assert found.steps.tolist() == [1, *range(3_000)]
    assert bad == 0


def test_a_run_that_is_a_link_is_said_until_it_is_gone(tmp_path: Path) -> None:
    logs_of(tmp_path / "elsewhere")
    root = tmp_path / "root"
    logs_of(root)
    link = root / "linked"
    with Indexer(root) as indexer:
        indexer.scan()
        assert root_notices(root) == []
        link.symlink_to(tmp_path / "elsewhere" / "r")
        assert not indexer.scan().changed
        assert root_notices(root) == ["linked is a link, so it is not read"]
        with Index(root).snapshot() as snapshot:
            assert query.run_names(snapshot) == ["r"]
    with Indexer(root) as indexer:
        indexer.scan()
        assert root_notices(root) == ["linked is a link, so it is not read"]
        link.unlink()
        indexer.scan()
        assert root_notices(root) == []


def test_a_link_to_a_run_beside_it_hides_nothing_and_is_not_said(tmp_path: Path) -> None:
    logs_of(tmp_path)
    (tmp_path / "latest").symlink_to("r")
    (tmp_path / "last").symlink_to(tmp_path.resolve() / "r")
    (tmp_path / "loop").symlink_to("loop")
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert root_notices(tmp_path) == ["loop is a link, so it is not read"]


def test_of_many_links_the_first_are_said(tmp_path: Path) -> None:
    for place in range(30):
        (tmp_path / f"link{place:02}").symlink_to("/nowhere")
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        said = root_notices(tmp_path)
    assert len(said) == 20
    assert said[0].startswith("link00 ")

"""What a disk can do to a writer: be full, be gone, come back, refuse to sync. Nothing is raised, loss is counted."""

import contextlib
import itertools
import logging
import os
import shutil
import subprocess
import time
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.journal import JournalWriter, metrics_of
from barograph.journal.append_file import AppendFile
from barograph.journal.wide_rows import WIDE
from barograph.records import Banner, Columns, LostRecords, Record, Step

Opener = Callable[[], Banner]
Records = Callable[[Path], list[list[Record]]]


def step(number: int) -> Step:
    return Step(step=number, loss=number / 2, time=1.0)


def wide(number: int) -> Step:
    return Step(step=number, time=1.0, metrics={f"norm/{index}": number + index / 8 for index in range(WIDE)})


def log(writer: JournalWriter, numbers: range, make: Callable[[int], Step] = step) -> None:
    for number in numbers:
        writer.append(number, make, number)


def steps(records: list[Record]) -> list[int]:
    return [record.step for record in records if isinstance(record, Step)]


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def fill(disk: Path) -> Path:
    """Takes the rest of a disk; returns the file to remove for space."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return ballast


def test_a_full_disk_costs_what_the_backlog_cannot_hold_and_every_loss_is_counted(
    small_disk: Path, banner: Opener, records_of: Records, caplog: pytest.LogCaptureFixture
) -> None:
    run = small_disk / "r"
    (run / "logs").mkdir(parents=True)
    writer = JournalWriter(run, banner, interval=0.01, backlog_bytes=100_000)
    log(writer, range(5))
    assert writer.flush()
    ballast = fill(small_disk)
    numbers, number = itertools.count(5), 4
    began = time.monotonic()
    while writer.trouble is None:  # the last page of the file has room for a few dozen lines
        number = next(numbers)
        log(writer, range(number, number + 1))
        time.sleep(0.001)
        assert time.monotonic() - began < 20.0
    log(writer, range(number + 1, number + 1001))
    logged = number + 1001
    assert "records wait (at most 100000 bytes of lines)" in caplog.text
    assert not writer.flush(timeout=0.1)
    path = writer.path or run
    wait_until(lambda: path.read_bytes().endswith(b"}\n"))  # between two tries the torn half is cut off
    ballast.unlink()
    assert writer.flush()
    assert not writer.trouble
    log(writer, range(logged, logged + 10))
    assert writer.close()
    (records,) = records_of(run)
    lost = [record for record in records if isinstance(record, LostRecords)]
    assert len(lost) == 1
    assert lost[0].reason == "disk"
    assert lost[0].count >= 300
    written = steps(records)
    assert written == sorted(written)
    missing = sorted(set(range(logged + 10)) - set(written))
    assert (lost[0].count, lost[0].first_step, lost[0].last_step) == (len(missing), missing[0], missing[-1])
    before = [record for record in records[: records.index(lost[0])] if isinstance(record, Step)]
    assert before[-1].step == missing[0] - 1, "the line stands where the gap is"
    assert logged - 1 in written, "the newest are kept"
    assert len([said for said in caplog.records if said.levelno == logging.WARNING]) == 1


def test_a_disk_that_is_full_from_the_start_is_waited_for(
    small_disk: Path, banner: Opener, records_of: Records
) -> None:
    run = small_disk / "r"
    (run / "logs").mkdir(parents=True)
    ballast = fill(small_disk)
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(10))
    wait_until(lambda: writer.trouble is not None)
    ballast.unlink()
    assert writer.close()
    assert records_of(run) == [[banner(), *map(step, range(10))]]


def test_a_part_that_was_lost_before_its_banner_was_written_leaves_one_banner(
    small_disk: Path, banner: Opener, records_of: Records
) -> None:
    run = small_disk / "r"
    (run / "logs").mkdir(parents=True)
    ballast = fill(small_disk)
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(10))
    wait_until(lambda: writer.trouble is not None)
    first = writer.path
    assert first is not None
    first.unlink()
    wait_until(lambda: writer.path is not None and writer.path.exists())  # it may have the same name again
    ballast.unlink()
    assert writer.close()
    (records,) = records_of(run)
    assert [record.part for record in records if isinstance(record, Banner)] == [2]
    assert records[1:] == [*map(step, range(10))]


def test_a_short_write_is_cut_back_to_its_last_whole_line(small_disk: Path) -> None:
    line = b"0123456789abcdef" * 50 + b"\n"
    path = small_disk / "x.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    file = AppendFile(descriptor, path, sync_after=0.0)
    assert file.write(line * 5) == (5 * len(line), None)
    ballast = fill(small_disk)
    whole, trouble = file.write(line * 100)
    assert whole % len(line) == 0
    assert trouble is not None
    assert path.read_bytes() == line * (5 + whole // len(line))
    assert file.usable()
    ballast.unlink()
    assert file.write(line) == (len(line), None)
    assert path.read_bytes() == line * (6 + whole // len(line))
    file.close()


def test_a_file_system_that_turns_writable_again_is_written_to(
    small_disk: Path, banner: Opener, records_of: Records
) -> None:
    run = small_disk / "r"
    (run / "logs").mkdir(parents=True)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    writer = JournalWriter(run, banner)
    log(writer, range(10))
    wait_until(lambda: writer.trouble is not None)
    assert "Read-only file system" in (writer.trouble or "")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert writer.flush()
    assert writer.close()
    assert records_of(run) == [[banner(), *map(step, range(10))]]


def test_a_file_system_that_is_torn_away_and_comes_back_empty_gets_what_follows(
    tmp_path: Path, small_disk: Path, banner: Opener, records_of: Records
) -> None:
    run = small_disk / "r"
    (run / "logs").mkdir(parents=True)
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(10))
    assert writer.flush()
    shutil.rmtree(run)
    subprocess.run(["umount", "-l", small_disk], check=True)
    log(writer, range(10, 20))
    wait_until(lambda: writer.trouble is not None)
    assert not run.exists(), "what lies under a mount point is not ours to fill"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small_disk], check=True)
    (run / "logs").mkdir(parents=True)
    log(writer, range(20, 30))
    assert writer.flush()
    assert writer.close()
    (records,) = records_of(run)
    assert isinstance(records[0], Banner)
    assert records[0].part == 2
    assert steps(records)[-10:] == list(range(20, 30))


def test_a_run_that_is_removed_while_it_is_written_is_begun_again_with_a_banner(
    run: Path, banner: Opener, records_of: Records, caplog: pytest.LogCaptureFixture
) -> None:
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5))
    assert writer.flush()
    shutil.rmtree(run)
    wait_until(lambda: (run / "logs").is_dir())
    log(writer, range(5, 10))
    assert writer.flush()
    assert writer.close()
    (records,) = records_of(run)
    assert steps(records) == list(range(5, 10))
    assert isinstance(records[0], Banner)
    assert (records[0].part, records[0].part_reason) == (2, "the part before was removed or changed by someone else")
    assert writer.trouble is None
    assert not caplog.records


def test_a_root_that_is_removed_is_not_made_again_and_is_written_to_when_it_is_back(
    tmp_path: Path, banner: Opener, records_of: Records, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "root" / "r"
    (run / "logs").mkdir(parents=True)
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5))
    assert writer.flush()
    shutil.rmtree(run.parent)
    wait_until(lambda: writer.trouble is not None)
    log(writer, range(5, 10))
    assert not run.parent.exists()
    run.parent.mkdir()
    assert writer.flush()
    assert writer.close()
    (records,) = records_of(run)
    assert steps(records) == list(range(5, 10))
    assert len(caplog.records) == 1


class Tensor:
    """Stands for what a queue holds on to: something that can be seen to be let go."""

    def __init__(self, value: float) -> None:
        self.value = value


def test_what_waits_for_a_disk_is_lines_not_values_and_the_oldest_go_counted(
    tmp_path: Path, banner: Opener, records_of: Records
) -> None:
    width, rows = 200, 1_000
    names = [f"norm/{index}" for index in range(width)]

    def row(number: int, tensors: list[Tensor]) -> Step:
        return Step(
            step=number, loss=0.5, time=1.0, metrics={name: t.value for name, t in zip(names, tensors, strict=True)}
        )

    (tmp_path / "root").touch()
    run = tmp_path / "root" / "r"
    writer = JournalWriter(run, banner, interval=0.01, backlog_bytes=500_000)
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    tracemalloc.start()
    most = 0
    for number in range(rows):
        tensors = [Tensor(number + index / 8) for index in range(width)]
        alive.add(tensors[0])
        writer.append(number, row, number, tensors)
        if number % 100 == 0:
            wait_until(lambda: len(alive) <= 1)  # the one in `tensors` here
            most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert most < 3_000_000
    assert writer.trouble is not None
    (tmp_path / "root").unlink()
    (run / "logs").mkdir(parents=True)
    assert writer.close()
    (records,) = records_of(run)
    headers = {record.id: record.names for record in records if isinstance(record, Columns)}
    kept = [record for record in records if isinstance(record, Step)]
    for one in kept:
        assert metrics_of(one, headers) == {name: one.step + index / 8 for index, name in enumerate(names)}
    lost = [(one.count, one.first_step, one.last_step, one.reason) for one in records if isinstance(one, LostRecords)]
    assert lost == [(rows - len(kept), 0, rows - len(kept) - 1, "disk")]
    assert steps(records) == list(range(rows - len(kept), rows))
    assert len(kept) > 100


@pytest.mark.parametrize("act", ["remove", "truncate", "append"])
def test_a_file_that_someone_else_changes_is_left_for_a_new_part(
    act: str, run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5))
    assert writer.flush()
    first = writer.path
    assert first is not None
    if act == "remove":
        first.unlink()
    elif act == "truncate":
        os.truncate(first, 10)
    else:
        with first.open("ab") as file:
            file.write(b'{"type":"step","step":99,"time":1.0}')
    wait_until(lambda: writer.path not in {first, None})
    log(writer, range(5, 10))
    assert writer.close()
    first.unlink(missing_ok=True)
    (records,) = records_of(run)
    assert steps(records) == list(range(5, 10))
    assert isinstance(records[0], Banner)
    assert records[0].part == 2


def test_a_folder_that_is_renamed_is_written_to_under_its_new_name(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5))
    assert writer.flush()
    run.rename(run.with_name("renamed"))
    time.sleep(1.2)  # longer than it takes to look after the file
    log(writer, range(5, 10))
    assert writer.close()
    assert [steps(records) for records in records_of(run.with_name("renamed"))] == [list(range(10))]


def test_a_failed_sync_is_never_tried_again_on_the_same_file(
    run: Path, banner: Opener, records_of: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fails_once(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fails_once)
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5))
    assert writer.flush()
    first = writer.path
    wait_until(lambda: writer.path not in {first, None})
    log(writer, range(5, 10))
    assert writer.close()
    before, after = records_of(run)
    assert (steps(before), steps(after)) == (list(range(5)), list(range(5, 10)))
    assert isinstance(after[0], Banner)
    assert (after[0].part, after[0].part_reason) == (2, "fdatasync failed on the part before")
    assert synced[0] not in synced[1:]


def test_a_disk_that_never_syncs_does_not_cause_a_flood_of_files(
    run: Path, banner: Opener, records_of: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    writer = JournalWriter(run, banner, interval=0.01)
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < 3.4:
        log(writer, range(number, number + 1))
        number += 1
        time.sleep(0.01)
    writer.close()
    parts = records_of(run)
    assert 2 <= len(parts) <= 3, "one after 1 s, one after 2 s more, the next would come 4 s later"
    assert [one for records in parts for one in steps(records)] == list(range(number))


def test_a_file_system_without_sync_is_no_failure(
    run: Path, banner: Opener, records_of: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def unknown(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fdatasync", unknown)
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5))
    wait_until(lambda: calls)
    log(writer, range(5, 10))
    assert writer.close()
    assert [steps(records) for records in records_of(run)] == [list(range(10))]


def test_what_was_written_is_synced_within_two_seconds_even_while_more_comes(
    run: Path, banner: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced_at: list[float] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        synced_at.append(time.monotonic())
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", watched)
    began = time.monotonic()
    writer = JournalWriter(run, banner, interval=0.001)
    while time.monotonic() - began < 2.4:
        log(writer, range(200))
        time.sleep(0.0005)
    writer.close()
    assert all(later - before < 2.0 for before, later in itertools.pairwise([began, *synced_at]))
    assert len(synced_at) >= 2


def test_wide_rows_that_go_to_a_new_part_find_their_header_there(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner, interval=0.01)
    log(writer, range(5), wide)
    assert writer.flush()
    first = writer.path
    assert first is not None
    os.truncate(first, 0)
    wait_until(lambda: writer.path not in {first, None})
    log(writer, range(5, 8), wide)
    assert writer.close()
    _, records = records_of(run)
    headers: dict[str, list[str]] = {}
    found = []
    for record in records:
        if isinstance(record, Columns):
            headers[record.id] = record.names
        elif isinstance(record, Step):
            found.append((record.step, metrics_of(record, headers)))
    assert found == [(number, wide(number).metrics) for number in range(5, 8)]

"""What is appended reaches the file, whole and in order, and what cannot is counted; nothing is ever raised."""

import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barograph.errors import WriteError
from barograph.journal import JournalWriter, NotYet, metrics_of
from barograph.journal.wide_rows import WIDE
from barograph.journal.writer import QUEUED_VALUES
from barograph.records import Banner, CollectorFailed, Columns, Heartbeat, LostRecords, Record, Step

Opener = Callable[[], Banner]
Records = Callable[[Path], list[list[Record]]]


def step(number: int) -> Step:
    return Step(step=number, loss=number / 2, time=1.0)


def log(writer: JournalWriter, numbers: range) -> None:
    for number in numbers:
        writer.append(number, step, number)


def steps(records: list[Record]) -> list[int]:
    return [record.step for record in records if isinstance(record, Step)]


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_a_file_is_the_banner_and_then_what_was_appended_in_order(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner)
    log(writer, range(500))
    assert writer.close()
    (records,) = records_of(run)
    assert records == [banner(), *map(step, range(500))]
    assert writer.newest_step == 499
    assert writer.path is not None
    assert writer.path.parent == run / "logs"


def test_flush_returns_when_what_was_appended_is_in_the_file(run: Path, banner: Opener, records_of: Records) -> None:
    writer = JournalWriter(run, banner)
    for number in range(5):
        log(writer, range(100 * number, 100 * (number + 1)))
        assert writer.flush()
        assert steps(records_of(run)[0]) == list(range(100 * (number + 1)))
    writer.close()
    assert writer.flush()


def test_flush_gives_up_when_its_time_is_over(tmp_path: Path, banner: Opener) -> None:
    (tmp_path / "file").touch()
    writer = JournalWriter(tmp_path / "file" / "r", banner)
    began = time.monotonic()
    assert not writer.flush(timeout=0.3)
    assert 0.25 < time.monotonic() - began < 2.0
    writer.close()


def test_closing_twice_and_appending_afterwards_do_nothing(run: Path, banner: Opener, records_of: Records) -> None:
    writer = JournalWriter(run, banner)
    log(writer, range(3))
    assert writer.close()
    log(writer, range(3, 6))
    writer.close()
    assert steps(records_of(run)[0]) == [0, 1, 2]


def test_two_threads_at_once_lose_nothing_and_keep_each_ones_order(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner, interval=0.001)
    threads = [threading.Thread(target=log, args=(writer, range(begin, 20_000, 4))) for begin in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close()
    written = steps(records_of(run)[0])
    assert sorted(written) == list(range(20_000))
    for begin in range(4):
        assert [number for number in written if number % 4 == begin] == list(range(begin, 20_000, 4))


def test_two_writers_of_one_run_get_files_of_their_own(run: Path, banner: Opener, records_of: Records) -> None:
    writers = [JournalWriter(run, banner) for _ in range(3)]
    for index, writer in enumerate(writers):
        log(writer, range(100 * index, 100 * index + 100))
    assert [writer.close() for writer in writers] == [True, True, True]
    assert len({writer.path for writer in writers}) == 3
    assert sorted(steps(records) for records in records_of(run)) == [
        list(range(begin, begin + 100)) for begin in (0, 100, 200)
    ]


def test_a_heartbeat_comes_at_its_time_with_the_newest_step_whether_or_not_anything_is_logged(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner, interval=0.01, heartbeat=0.2)
    time.sleep(0.7)
    log(writer, range(3, 8))
    writer.append(2, step, 2)
    time.sleep(0.7)
    writer.close()
    beats = [record for record in records_of(run)[0] if isinstance(record, Heartbeat)]
    assert 4 <= len(beats) <= 7
    assert beats[0].step is None
    assert beats[-1].step == 7
    assert all(0.19 < later.time - before.time < 0.5 for before, later in itertools.pairwise(beats))


class Gate:
    """A maker that holds the writer's thread up until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.opened.wait(10.0)


def test_a_full_queue_drops_the_oldest_and_says_how_many_and_which(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer, gate = JournalWriter(run, banner, capacity=10, interval=0.01), Gate()
    writer.append(None, gate)
    assert gate.entered.wait(10.0)
    log(writer, range(25))
    writer.append(None, functools.partial(Heartbeat, time=1.0))
    gate.opened.set()
    assert writer.close()
    lost = [record for record in records_of(run)[0] if isinstance(record, LostRecords)]
    assert [(one.count, one.first_step, one.last_step, one.reason) for one in lost] == [(16, 0, 15, "queue_full")]
    assert [record for record in records_of(run)[0] if not isinstance(record, LostRecords)] == [
        banner(),
        *map(step, range(16, 25)),
        Heartbeat(time=1.0),
    ]


def test_a_full_queue_keeps_what_has_no_step_in_its_place(run: Path, banner: Opener, records_of: Records) -> None:
    writer, gate = JournalWriter(run, banner, capacity=10, interval=0.01), Gate()
    writer.append(None, gate)
    assert gate.entered.wait(10.0)
    for number in range(40):
        writer.append(number, step, number)
        if number % 4 == 0:
            writer.append(None, functools.partial(Heartbeat, time=float(number), step=number))
    gate.opened.set()
    assert writer.close()
    (records,) = records_of(run)
    assert [one.step for one in records if isinstance(one, Heartbeat)] == list(range(0, 40, 4))
    kept = [one.step for one in records if isinstance(one, Heartbeat | Step)]
    assert kept == sorted(kept, key=lambda one: one or 0), "and the order stays"
    lost = [one for one in records if isinstance(one, LostRecords)]
    assert sum(one.count for one in lost) == 40 - len(steps(records))
    assert steps(records)[-1] == 39


def test_one_wide_row_costs_the_narrow_ones_after_it_no_room(run: Path, banner: Opener, records_of: Records) -> None:
    wide = Step(step=0, time=1.0, metrics={str(index): 0.5 for index in range(50_000)})
    writer = JournalWriter(run, banner, interval=0.01)
    writer.append_wide(50_000, 0, lambda: wide)
    assert writer.flush()
    gate = Gate()
    writer.append(None, gate)
    assert gate.entered.wait(10.0)
    log(writer, range(1, 10_001))
    gate.opened.set()
    assert writer.close()
    (records,) = records_of(run)
    assert not [one for one in records if isinstance(one, LostRecords)]
    assert sorted(set(steps(records))) == list(range(10_001))


def test_the_queue_holds_fewer_wide_rows_than_narrow_ones(run: Path, banner: Opener, records_of: Records) -> None:
    values = {str(index): 0.5 for index in range(4_000)}

    def wide(number: int) -> Step:
        return Step(step=number, time=1.0, metrics=values)

    fitting = QUEUED_VALUES // len(values)
    writer, gate = JournalWriter(run, banner, interval=0.01), Gate()
    writer.append_wide(len(values), 0, wide, 0)
    writer.append(None, gate)
    assert gate.entered.wait(10.0)
    for number in range(1, fitting + 8):
        writer.append_wide(len(values), number, wide, number)
    gate.opened.set()
    assert writer.close()
    (records,) = records_of(run)
    assert steps(records) == [0, *range(8, fitting + 8)]
    assert [(one.count, one.first_step, one.last_step) for one in records if isinstance(one, LostRecords)] == [
        (7, 1, 7)
    ]


def test_overflow_under_load_is_counted_exactly(run: Path, banner: Opener, records_of: Records) -> None:
    writer = JournalWriter(run, banner, capacity=50, interval=0.01)
    threads = [threading.Thread(target=log, args=(writer, range(begin, 30_000, 2))) for begin in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close()
    (records,) = records_of(run)
    lost = [record for record in records if isinstance(record, LostRecords)]
    assert lost
    assert len(steps(records)) + sum(record.count for record in lost) == 30_000
    missing = set(range(30_000)) - set(steps(records))
    assert {min(missing), max(missing)} <= {edge for one in lost for edge in (one.first_step, one.last_step)}


def test_a_value_that_is_on_its_way_is_waited_for_and_order_is_kept(
    run: Path, banner: Opener, records_of: Records
) -> None:
    arrived = threading.Event()

    def late() -> Step:
        if not arrived.is_set():
            raise NotYet
        return step(1)

    writer = JournalWriter(run, banner, interval=0.01)
    writer.append(0, step, 0)
    writer.append(1, late)
    writer.append(2, step, 2)
    wait_until(lambda: writer.newest_step == 0)
    assert not writer.flush(timeout=0.1)
    assert steps(records_of(run)[0]) == [0]
    arrived.set()
    assert writer.flush()
    assert steps(records_of(run)[0]) == [0, 1, 2]
    writer.close()


def test_a_generator_that_waits_in_its_middle_says_nothing_twice(
    run: Path, banner: Opener, records_of: Records
) -> None:
    tries = 0

    def pair() -> Iterator[Step]:
        nonlocal tries
        tries += 1
        yield step(1)
        if tries < 3:
            raise NotYet
        yield step(2)

    writer = JournalWriter(run, banner, interval=0.01)
    writer.append(1, pair)
    assert writer.close()
    assert steps(records_of(run)[0]) == [1, 2]


def test_a_record_that_cannot_be_made_is_said_and_costs_no_other(
    run: Path, banner: Opener, records_of: Records, caplog: pytest.LogCaptureFixture
) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError

    def fail(error: Exception) -> Step:
        raise error

    writer = JournalWriter(run, banner)
    log(writer, range(3))
    writer.append(3, fail, ZeroDivisionError("by the user"))
    writer.append(4, fail, Unspeakable())
    writer.append(5, lambda: Step(step=object(), time=1.0))  # type: ignore[arg-type]  # what no encoder can write
    log(writer, range(6, 9))
    assert writer.close()
    (records,) = records_of(run)
    assert steps(records) == [0, 1, 2, 6, 7, 8]
    errors = [record.error for record in records if isinstance(record, CollectorFailed)]
    assert errors[0] == "ZeroDivisionError: by the user"
    assert len(errors) == 3
    assert "Unspeakable" in errors[1]
    assert len([said for said in caplog.records if said.levelno >= logging.WARNING]) == 1


def test_a_loop_whose_records_cannot_be_made_does_not_hold_up_the_others(
    run: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(run, banner)
    for number in range(500):
        writer.append(number, lambda: step(1 // 0))
        writer.append(number, step, number)
    assert writer.flush(timeout=5.0)
    assert writer.close()
    (records,) = records_of(run)
    assert steps(records) == list(range(500))
    assert len([record for record in records if isinstance(record, CollectorFailed)]) == 500


def test_a_maker_may_return_nothing_one_or_many(run: Path, banner: Opener, records_of: Records) -> None:
    writer = JournalWriter(run, banner)
    writer.append(7, lambda: None)
    writer.append(8, list)
    writer.append(1, lambda: step(1))
    writer.append(3, lambda: (step(2), step(3)))
    assert writer.close()
    assert steps(records_of(run)[0]) == [1, 2, 3]
    assert writer.newest_step == 3


def test_the_opener_is_asked_again_until_it_knows(run: Path, banner: Opener, records_of: Records) -> None:
    asked: list[float] = []

    def rank_1() -> Banner:
        asked.append(time.monotonic())
        if len(asked) < 4:
            raise NotYet
        return banner()

    writer = JournalWriter(run, rank_1, interval=0.01)
    log(writer, range(3))
    assert writer.flush()
    assert writer.close()
    assert steps(records_of(run)[0]) == [0, 1, 2]
    assert len(asked) == 4


@pytest.mark.parametrize("error", [OSError("no space"), ValueError("a bug"), WriteError("no number left")])
def test_an_opener_that_raises_is_complained_of_once_and_tried_once_a_second(
    error: Exception, run: Path, banner: Opener, records_of: Records, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[float] = []

    def failing() -> Banner:
        asked.append(time.monotonic())
        if len(asked) < 2:
            raise error
        return banner()

    writer = JournalWriter(run, failing, interval=0.005)
    log(writer, range(10))
    wait_until(lambda: writer.trouble is not None)
    assert str(error) in (writer.trouble or "")
    assert writer.path is None
    assert writer.flush()
    assert writer.trouble is None
    assert writer.close()
    assert all(later - before > 0.9 for before, later in itertools.pairwise(asked))
    assert records_of(run) == [[banner(), *map(step, range(10))]]
    assert len(caplog.records) == 1
    assert str(error) in caplog.text
    assert "Training goes on" in caplog.text


def test_closing_where_nothing_can_be_written_is_quick_and_says_what_is_lost(
    tmp_path: Path, banner: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    writer = JournalWriter(tmp_path / "file" / "r", banner)
    log(writer, range(7))
    began = time.monotonic()
    assert not writer.close()
    assert time.monotonic() - began < 1.0
    assert "7 records could not be written" in caplog.text
    assert "Not a directory" in caplog.text


def test_closing_right_after_the_folder_came_back_writes_everything(
    tmp_path: Path, banner: Opener, records_of: Records
) -> None:
    writer = JournalWriter(tmp_path / "r", banner)
    log(writer, range(5))
    wait_until(lambda: writer.trouble is not None)
    (tmp_path / "r" / "logs").mkdir(parents=True)
    assert writer.close()
    assert steps(records_of(tmp_path / "r")[0]) == [0, 1, 2, 3, 4]


def test_a_value_that_never_arrives_does_not_hold_up_closing_for_ever(
    run: Path, banner: Opener, records_of: Records, caplog: pytest.LogCaptureFixture
) -> None:
    arrived = threading.Event()

    def never() -> Step:
        if not arrived.is_set():
            raise NotYet
        return step(1)

    writer = JournalWriter(run, banner)
    writer.append(0, step, 0)
    writer.append(1, never)
    assert not writer.close(timeout=0.3)
    assert "0.3 s were not enough" in caplog.text
    assert steps(records_of(run)[0]) == [0]
    arrived.set()  # lets the thread end
    wait_until(lambda: len(records_of(run)[0]) == 3)


def test_wide_rows_are_written_after_their_header(run: Path, banner: Opener, records_of: Records) -> None:
    def wide(number: int) -> Step:
        return Step(step=number, time=1.0, metrics={f"norm/{index}": number + index / 8 for index in range(WIDE)})

    writer = JournalWriter(run, banner)
    for number in range(5):
        writer.append(number, wide, number)
    writer.close()
    (records,) = records_of(run)
    headers = {record.id: record.names for record in records if isinstance(record, Columns)}
    rows = [record for record in records if isinstance(record, Step)]
    assert len(headers) == 1
    assert [row.columns is not None for row in rows] == [False, True, True, True, True]
    assert [metrics_of(row, headers) for row in rows] == [wide(number).metrics for number in range(5)]

"""What goes into a backlog comes out in order, or is counted as lost, oldest first, with its steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.journal.backlog import Backlog, Lost, Waiting


def entry(number: int, lines: int = 1) -> Waiting:
    return Waiting(b"".join(b"%05d.%d\n" % (number, line) for line in range(lines)), 1, number, number)


@given(
    acts=st.lists(
        st.tuples(st.just("append"), st.integers(1, 3)) | st.tuples(st.just("write"), st.integers(0, 40)), max_size=80
    ),
    most=st.integers(1, 3_000),
)
def test_every_line_is_written_in_order_or_its_entry_is_counted(acts: list[tuple[str, int]], most: int) -> None:
    backlog = Backlog(most=most)
    appended: list[Waiting] = []
    written = b""
    for act, number in acts:
        if act == "append":
            appended.append(entry(len(appended), number))
            backlog.append(appended[-1])
        else:
            batch = backlog.batch(16)
            whole = batch[: batch.rfind(b"\n", 0, number) + 1]  # a short write, cut back to its last line
            written += whole
            backlog.written(len(whole))
    rest = backlog.batch(1 << 20)
    backlog.written(len(rest))
    assert len(backlog) == 0
    lines = (written + rest).splitlines(keepends=True)
    assert lines == sorted(lines)
    whole_ones = {one.first for one in appended if all(line in lines for line in one.lines.splitlines(keepends=True))}
    missing = [one.first for one in appended if one.first not in whole_ones]
    said = backlog.lost.take("disk")
    assert (said.count if said else 0) == len(missing)
    if said:
        assert (said.first_step, said.last_step) == (missing[0], missing[-1])
    if appended:
        assert appended[-1].lines.splitlines(keepends=True)[-1] in lines, "the newest is never dropped"


def test_its_size_is_that_of_what_waits() -> None:
    backlog = Backlog(most=10_000)
    for number in range(10_000):
        backlog.append(entry(number))
        if number % 100 == 99:
            backlog.written(len(backlog.batch(100)))
    assert 40 < len(backlog) < 100


def test_a_dropped_loss_is_a_loss_still_and_a_dropped_heartbeat_is_none() -> None:
    backlog = Backlog(most=1)
    backlog.append(Waiting(b"lost\n", 7, 3, 12))
    backlog.append(Waiting(b"beat\n", 0, None, None))
    backlog.append(entry(20))
    backlog.append(entry(21))
    assert backlog.records() == 7 + 1 + 1
    said = backlog.lost.take("queue_full")
    assert said is not None
    assert (said.count, said.first_step, said.last_step, said.reason) == (8, 3, 20, "queue_full")
    assert backlog.lost.take("disk") is None


@pytest.mark.parametrize("steps", [[], [None], [5, None, 2], [0]])
def test_a_loss_is_said_until_it_is_taken(steps: list[int | None]) -> None:
    lost = Lost()
    for step in steps:
        lost.add(1, step, step)
    known = [step for step in steps if step is not None]
    for said in (lost.said("disk"), lost.said("disk"), lost.take("disk")):
        assert (said.count if said else 0) == len(steps)
        if said:
            assert (said.first_step, said.last_step) == (min(known, default=None), max(known, default=None))
    assert lost.said("disk") is None


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 3))
def test_what_is_kept_outlives_what_is_not_and_comes_in_its_order(kept: list[bool], written: int) -> None:
    backlog = Backlog(most=20 * (100 + 150))
    told: list[bytes] = []
    for number, keep in enumerate(kept):
        line = b"%03d" % number + b"x" * 96 + b"\n"
        step = None if keep else number
        backlog.append(Waiting(line, 1, step, step, kept=keep))
        if number % 10 < written:
            batch = backlog.batch(100)
            told.append(batch)
            backlog.written(len(batch))
    told.append(backlog.batch(1 << 20))
    backlog.written(len(told[-1]))
    lines = b"".join(told).splitlines()
    assert lines == sorted(lines)
    numbers = {int(line[:3]) for line in lines}
    said = backlog.lost.take("disk")
    assert len(numbers) + (said.count if said else 0) == len(kept)
    if sum(kept) <= 9:  # so many are less than half of it
        assert {number for number, keep in enumerate(kept) if keep} <= numbers
    assert (len(backlog), backlog.records()) == (0, 0)

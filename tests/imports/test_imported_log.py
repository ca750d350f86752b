"""Attempts of a log: what a row's attempt is does not depend on the rows after it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.curve_parts import split_where_it_goes_back
from barograph.imports.imported_log import EXAMPLES, MOST_ATTEMPTS, Refusals, Row, with_attempts

ROWS = st.lists(
    st.builds(
        Row, step=st.integers(0, 30), loss=st.none() | st.floats(0, 5), writer=st.sampled_from(["train", "rank1"])
    ),
    max_size=60,
)


@given(ROWS, st.integers(0, 60))
def test_a_log_that_grew_keeps_the_attempts_that_it_had(rows: list[Row], length: int) -> None:
    assert with_attempts(rows[:length]) == with_attempts(rows)[:length]


@given(ROWS, st.integers(0, 60), st.data())
def test_so_does_one_of_several_trainings(rows: list[Row], length: int, data: st.DataObject) -> None:
    runs = data.draw(st.lists(st.sampled_from("abc"), min_size=len(rows), max_size=len(rows)))
    assert with_attempts(rows[:length], runs[:length]) == with_attempts(rows, runs)[:length]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80))
def test_attempts_begin_where_the_analysis_splits(steps: list[int]) -> None:
    found = with_attempts([Row(step=step, loss=1.0) for step in steps])
    parts = split_where_it_goes_back(np.array(steps), np.ones(len(steps)), attempt=1)
    assert [row.attempt for row in found] == [part.attempt for part in parts for _ in part.steps]


def test_a_row_without_a_loss_begins_no_attempt() -> None:
    rows = [Row(step=100, loss=1.0), Row(step=50), Row(step=101, loss=1.0)]
    assert [row.attempt for row in with_attempts(rows)] == [1, 1, 1]


def test_two_trainings_that_take_turns_are_two_attempts() -> None:
    rows = [Row(step=step, loss=1.0) for step in (100, 1, 101, 2, 102, 3)]
    assert [row.attempt for row in with_attempts(rows, list("ababab"))] == [1, 2, 1, 2, 1, 2]


def test_after_a_hundred_attempts_no_further_one_begins() -> None:
    found = with_attempts([Row(step=step, loss=1.0) for _ in range(300) for step in (9, 0)])
    assert max(row.attempt for row in found) == MOST_ATTEMPTS


def test_all_refusals_are_counted_and_the_first_described() -> None:
    refused = Refusals()
    for number in range(50):
        refused.update("log", place=f"line {number}", reason="x" * 1000)
    assert (refused.count, len(refused.examples), len(refused.examples[0].reason)) == (50, EXAMPLES, 300)

"""A wide row says what the narrow one said, and any reader that has seen the newest header understands it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import LineError
from barograph.journal.wide_rows import REPEAT, WIDE, WideRows, columns, metrics_of
from barograph.records import Columns, Step, codec


def step(number: int, width: int, prefix: str = "norm") -> Step:
    metrics = {f"{prefix}/{index}": float(number * index) for index in range(width)}
    return Step(step=number, loss=0.5, time=1.0, metrics=metrics)


def read(lines: list[Columns | Step]) -> list[Step]:
    headers: dict[str, list[str]] = {}
    steps = []
    for line in lines:
        if isinstance(line, Columns):
            headers[line.id] = line.names
        else:
            steps.append(Step(step=line.step, loss=line.loss, time=line.time, metrics=metrics_of(line, headers)))
    return steps


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([0, 1, WIDE - 1, WIDE, WIDE + 5])), max_size=30
    )
)
def test_what_is_written_wide_reads_as_it_was_logged(rows: list[tuple[str, int]]) -> None:
    logged = [step(number, width, prefix) for number, (prefix, width) in enumerate(rows)]
    fold = WideRows()
    assert read([line for one in logged for line in fold.update(one)]) == logged


def test_a_row_becomes_wide_at_its_second_appearance_and_the_header_comes_again() -> None:
    fold = WideRows()
    lines = [fold.update(step(number, WIDE)) for number in range(2 * REPEAT + 2)]
    assert lines[0] == (step(0, WIDE),)
    with_header = [number for number, said in enumerate(lines) if isinstance(said[0], Columns)]
    assert with_header == [1, 1 + REPEAT, 1 + 2 * REPEAT]
    assert lines[2][0] == Step(
        step=2,
        loss=0.5,
        time=1.0,
        columns=columns(tuple(step(0, WIDE).metrics)).id,
        values=[2.0 * index for index in range(WIDE)],
    )


def test_narrow_rows_stay_as_they_are() -> None:
    fold = WideRows()
    for number in range(5):
        assert fold.update(step(number, WIDE - 1)) == (step(number, WIDE - 1),)
    assert fold.headers() == ()


def test_headers_are_those_that_rows_refer_to() -> None:
    fold = WideRows()
    fold.update(step(0, WIDE))
    assert fold.headers() == ()
    fold.update(step(1, WIDE))
    assert fold.headers() == (columns(tuple(step(0, WIDE).metrics)),)


def test_a_log_of_ever_new_names_is_written_narrow_and_remembers_few() -> None:
    fold = WideRows()
    for number in range(200):
        assert fold.update(step(number, WIDE, prefix=f"p{number}")) == (step(number, WIDE, prefix=f"p{number}"),)
    assert fold.update(step(0, WIDE, prefix="p199")) == (step(0, WIDE, prefix="p199"),)
    assert len(fold.update(step(0, WIDE, prefix="p0"))) == 2


def test_a_row_without_its_header_is_refused() -> None:
    row = Step(step=1, time=1.0, columns="0123", values=[1.0, math.nan])
    with pytest.raises(LineError, match="no such header before it") as refused:
        metrics_of(row, {})
    assert refused.value.reason == "unknown_columns"
    with pytest.raises(LineError, match="1 names for 2 values"):
        metrics_of(row, {"0123": ["a"]})


@pytest.mark.parametrize("width", [WIDE, 60])
def test_rows_whose_header_or_values_may_not_fit_into_a_line_stay_narrow(width: int) -> None:
    limit = 300 + 25 * 50
    fold = WideRows(line_limit=limit)
    prefix = "norm" if width > WIDE else "a long name of a norm that is in the header " * 2
    for number in range(3):
        assert fold.update(step(number, width, prefix)) == (step(number, width, prefix),)
    for number in range(3):
        lines = fold.update(step(number, WIDE, "n"))
        assert all(len(codec.encode_line(line)) <= limit for line in lines)
    assert len(lines) == 1
    assert lines[0] != step(2, WIDE, "n")

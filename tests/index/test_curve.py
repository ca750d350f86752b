"""The curve of a run, from its pyramids, against what plain numpy makes of all points."""

import math
import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from numpy.typing import NDArray

from barograph.analysis.rollup import SMOOTHING, averages, carried
from barograph.index import IndexDamaged, points, pyramid
from barograph.index.curve import LAST, Shown, count_points, curve, odd_points, parts_of, shown_parts
from barograph.index.database import open_empty
from barograph.index.points import NewPoints, add_points
from barograph.index.pyramid import CHUNK

Pair = tuple[NDArray[np.int64], NDArray[np.float64]]


class Written(Struct, frozen=True):
    """Points of one series of one file, in the order of the file."""

    source: int
    attempt: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    connection = open_empty()
    yield connection
    connection.close()


def write(connection: sqlite3.Connection, written: Written, *, batch: int) -> None:
    """Adds the points as scans of `batch` lines would, beside another series of the same file."""
    for number, begin in enumerate(range(0, len(written.steps), batch)):
        new = NewPoints()
        part = slice(begin, begin + batch)
        for place, (step, value) in enumerate(
            zip(written.steps[part].tolist(), written.values[part].tolist(), strict=True)
        ):
            new.update((1, 2), place=place, step=step, values=[value, -value])
        add_points(connection, new.mixed(), source=written.source, number=number)


def shown(connection: sqlite3.Connection, files: Sequence[Written], hidden_from: dict[int, int]) -> list[Shown]:
    parts = parts_of(connection, [(one.source, one.attempt) for one in files], series=1)
    return shown_parts(connection, parts, hidden_from=hidden_from)


def oracle(files: Sequence[Written], hidden_from: dict[int, int]) -> Pair:
    """What is shown, by step: nothing from a newer attempt's beginning on, and the newer one where both have a step."""
    rows = [
        (step, -one.attempt, place, value)
        for one in files
        for place, (step, value) in enumerate(zip(one.steps.tolist(), one.values.tolist(), strict=True))
        if step < hidden_from.get(one.attempt, 2**63)
    ]
    newest: dict[int, int] = {}
    for step, attempt, _, _ in rows:
        newest[step] = min(attempt, newest.get(step, 0))
    kept = sorted((row for row in rows if row[1] == newest[row[0]]), key=lambda row: (row[0], row[2]))
    return np.array([row[0] for row in kept], dtype=np.int64), np.array([row[3] for row in kept])


def check(connection: sqlite3.Connection, files: Sequence[Written], hidden_from: dict[int, int], *, seed: int) -> None:
    """Random windows at random coarseness say what numpy says."""
    random = np.random.default_rng(seed)
    steps, values = oracle(files, hidden_from)
    ascending = all(np.all(np.diff(one.steps) >= 0) for one in files)
    found = shown(connection, files, hidden_from)
    greatest = int(max(one.steps.max() for one in files))
    for _ in range(12):
        first, last = sorted(random.integers(0, greatest + 2, 2).tolist())
        at_least = int(random.choice([1, 7, 100, 1_000]))
        rows = curve(connection, found, first=first, last=last, at_least=at_least, weights=(1, 3))
        inside = (steps >= first) & (steps <= last)
        own, finite = values[inside], np.isfinite(values[inside])
        everything = sum(int(((one.steps >= first) & (one.steps <= last)).sum()) for one in files)
        assert int(rows.count.sum()) == len(own)
        assert count_points(connection, [one.part for one in found], first=first, last=last) == everything
        assert int(rows.finite.sum()) == int(finite.sum())
        assert len(rows) >= min(at_least, len(own))
        if finite.any():
            assert np.fmin.reduce(rows.minimum) == own[finite].min()
            assert np.fmax.reduce(rows.maximum) == own[finite].max()
            assert np.nansum(rows.mean * rows.finite) == pytest.approx(math.fsum(own[finite]), rel=1e-9, abs=1e-6)
        odd = odd_points(connection, found, first=first, last=last, limit=50)
        assert odd.steps.tolist() == steps[inside][~finite][:50].tolist()
        if ascending:
            _check_rows(rows.count, rows.lo, rows.hi, steps=steps[inside])
            past = curve(connection, found, first=0, last=first - 1, at_least=1, weights=(1, 3))
            for weight in (1, 3):
                smooth = averages(rows, weight=weight, before=carried(past, weight=weight))
                ends = np.flatnonzero(inside)[np.cumsum(rows.count) - 1]
                clean = pd.Series(np.where(np.isfinite(values), values, np.nan))
                wanted = clean.ewm(alpha=1 - SMOOTHING[weight], adjust=True, ignore_na=True).mean().to_numpy()
                np.testing.assert_allclose(smooth, wanted[ends], rtol=1e-9, atol=1e-12)


def _check_rows(
    counts: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64], *, steps: NDArray[np.int64]
) -> None:
    """Rows partition the points, and each says the steps that it holds."""
    ends = np.cumsum(counts)
    assert first.tolist() == steps[ends - counts].tolist()
    assert last.tolist() == steps[ends - 1].tolist()


def noisy(random: np.random.Generator, size: int, *, odd: float) -> NDArray[np.float64]:
    values = random.normal(2.0, 1.0, size)
    bad = random.random(size) < odd
    values[bad] = random.choice([math.nan, math.inf, -math.inf], int(bad.sum()))
    return values


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("batch", [700, 5_000, 40_000])
def test_any_window_of_a_long_series_is_that_of_its_points(empty: sqlite3.Connection, seed: int, batch: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 6 * 16 * CHUNK // 5))
    steps = np.cumsum(random.integers(0, 4, size))  # some steps twice, some left out
    one = Written(1, 1, steps, noisy(random, size, odd=float(random.choice([0.0, 0.001, 0.5]))))
    write(empty, one, batch=batch)
    check(empty, [one], {}, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_resumed_run_shows_the_newest_attempt_and_no_ghost(empty: sqlite3.Connection, seed: int) -> None:
    random = np.random.default_rng(seed)
    begins = 0
    files: list[Written] = []
    hidden_from: dict[int, int] = {}
    for attempt in (1, 2, 3):
        size = int(random.integers(2, 3 * CHUNK))
        early = np.sort(random.integers(0, begins + 1, int(random.integers(0, 3))))  # rows before the first loss
        steps = np.concatenate([early, begins + np.arange(size)])
        files.append(Written(attempt, attempt, steps, noisy(random, len(steps), odd=0.01)))
        if attempt > 1:
            hidden_from |= {older: min(begins, hidden_from.get(older, begins)) for older in range(1, attempt)}
        write(empty, files[-1], batch=int(random.integers(100, 3_000)))
        begins = int(random.integers(0, begins + size))
    check(empty, files, hidden_from, seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_steps_that_go_back_lose_and_double_nothing(empty: sqlite3.Connection, seed: int) -> None:
    random = np.random.default_rng(seed)
    pieces = [
        int(random.integers(0, 5_000)) + np.arange(int(random.integers(1, 2 * CHUNK)))
        for _ in range(int(random.integers(2, 6)))
    ]
    steps = np.concatenate(pieces)
    one = Written(1, 1, steps, noisy(random, len(steps), odd=0.01))
    write(empty, one, batch=int(random.integers(500, 6_000)))
    check(empty, [one], {}, seed=seed)


def test_steps_that_only_go_down_are_sorted_within_chunks(empty: sqlite3.Connection) -> None:
    steps = np.arange(3 * CHUNK)[::-1]
    one = Written(1, 1, steps, steps.astype(np.float64))
    write(empty, one, batch=1_000)
    found = curve(empty, shown(empty, [one], {}), first=0, last=LAST, at_least=LAST)
    assert found.lo.tolist() == list(range(3 * CHUNK))
    assert found.last.tolist() == list(range(3 * CHUNK))
    assert len(pyramid.segments(empty, source=1, series=1)) <= 3


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2**63 - 1), st.floats(allow_nan=True, allow_infinity=True)), max_size=8),
        max_size=50,
    )
)
def test_points_of_any_step_are_counted_and_found(scans: list[list[tuple[int, float]]]) -> None:
    connection = open_empty()
    for number, scan in enumerate(scans):
        new = NewPoints()
        for place, (step, value) in enumerate(scan):
            new.update((1,), place=place, step=step, values=[value])
        add_points(connection, new.mixed(), source=1, number=number)
    whole = [point for scan in scans for point in scan]
    found = shown_parts(connection, parts_of(connection, [(1, 1)], series=1), hidden_from={})
    rows = curve(connection, found, first=0, last=LAST, at_least=LAST, weights=())
    assert rows.lo.tolist() == sorted(step for step, _ in whole)
    assert int(rows.finite.sum()) == sum(math.isfinite(value) for _, value in whole)
    assert count_points(connection, [one.part for one in found], first=0, last=LAST) == len(whole)
    connection.close()


@pytest.mark.parametrize("table", ["block", "odd", "segment", "loose"])
def test_a_damaged_row_is_never_read_as_points(empty: sqlite3.Connection, table: str) -> None:
    steps = np.arange(10 * CHUNK + 5)
    write(empty, Written(1, 1, steps, np.where(steps % 9, 1.0, math.nan)), batch=50_000)
    column = {"block": "data", "odd": "data", "segment": "newest", "loose": "points"}[table]
    empty.execute(f"UPDATE {table} SET {column} = zeroblob(length({column}))")

    def read_all() -> None:
        found = shown_parts(empty, parts_of(empty, [(1, 1)], series=1), hidden_from={})
        curve(empty, found, first=0, last=LAST, at_least=1)
        odd_points(empty, found, first=0, last=LAST, limit=10)

    with pytest.raises(IndexDamaged, match="checksum"):
        read_all()


def test_a_block_that_is_gone_is_damage_and_no_gap(empty: sqlite3.Connection) -> None:
    one = Written(1, 1, np.arange(10 * CHUNK), np.ones(10 * CHUNK))
    write(empty, one, batch=50_000)
    empty.execute("DELETE FROM block WHERE level = 0 AND number = 1")
    found = shown(empty, [one], {})
    with pytest.raises(IndexDamaged, match="missing"):
        curve(empty, found, first=0, last=LAST, at_least=LAST)


def test_an_empty_window_has_no_rows(empty: sqlite3.Connection) -> None:
    one = Written(1, 1, np.arange(100) + 10, np.ones(100))
    write(empty, one, batch=30)
    found = shown(empty, [one], {})
    for first, last in ((0, 9), (110, LAST), (50, 40)):
        assert len(curve(empty, found, first=first, last=last, at_least=1)) == 0


def test_few_blocks_are_read_however_long_a_series_is(empty: sqlite3.Connection) -> None:
    steps = np.arange(64 * 16 * CHUNK // 16)
    mixed = np.zeros(len(steps), dtype=points._MIXED)
    mixed["series"], mixed["step"], mixed["value"] = 1, steps, np.sin(steps / 1e4)
    points._sort_out(empty, mixed, source=1, number=1)
    found = shown_parts(empty, parts_of(empty, [(1, 1)], series=1), hidden_from={})
    asked: list[str] = []
    empty.set_trace_callback(asked.append)
    whole = curve(empty, found, first=0, last=LAST, at_least=1_000)
    empty.set_trace_callback(None)
    assert 1_000 <= len(whole) < 17_000
    assert len(asked) <= 8

"""What a snapshot says of files that grow while nobody looks, and of runs that it does not have yet."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.errors import IndexRebuilding, UnknownRun, UnknownSeries
from barograph.index import Index, Indexer, query
from barograph.index.query import Source
from barograph.records import Banner, RunComplete, Step
from barograph.records.codec import encode_line

BEGUN = encode_line(Banner(run="r", attempt=1, writer="train", time=1.0))
PADDING = b'{"type":"padding","x":"' + b"x" * 900_000 + b'"}\n'
"""An unknown kind; six of them are more than one read takes."""


def log(root: Path, *lines: bytes, run: str = "r") -> Path:
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / "train-000001-20260101T000000.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(lines))
    return path


def only(root: Path) -> Source:
    with Index(root).snapshot() as snapshot:
        return query.sources(snapshot, "r")[0]


def looks_between_transactions(indexer: Indexer, look: Callable[[], None]) -> None:
    """Scans, and calls `look` before each transaction of the scan."""

    def traced(statement: str) -> None:
        if statement.startswith("BEGIN"):
            look()

    indexer._connection.set_trace_callback(traced)
    indexer.scan()
    indexer._connection.set_trace_callback(None)


def test_a_file_is_behind_from_its_growth_to_the_next_scan(tmp_path: Path) -> None:
    path = log(tmp_path, BEGUN)
    os.utime(path, (1_000.0, 1_000.0))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert (only(tmp_path).grown_ns, only(tmp_path).behind) == (1_000 * 10**9, False)
        log(tmp_path, b'{"type":"st')
        os.utime(path, (2_000.0, 2_000.0))
        assert (only(tmp_path).grown_ns, only(tmp_path).behind) == (2_000 * 10**9, True)
        indexer.scan()
        assert (only(tmp_path).grown_ns, only(tmp_path).behind) == (2_000 * 10**9, False), "a torn line was looked at"
        path.unlink()
        assert (only(tmp_path).grown_ns, only(tmp_path).behind) == (2_000 * 10**9, False)


def test_a_file_that_is_read_in_parts_grew_when_it_grew(tmp_path: Path) -> None:
    path = log(tmp_path, BEGUN, *[PADDING] * 6, encode_line(RunComplete(time=2.0)))
    os.utime(path, (1_000.0, 1_000.0))
    seen: list[tuple[int, bool]] = []

    def look() -> None:
        with Index(tmp_path).snapshot() as snapshot:
            found = query.sources_by_run(snapshot).get("r", [])
        seen.extend((source.grown_ns, source.behind) for source in found)

    with Indexer(tmp_path) as indexer:
        looks_between_transactions(indexer, look)
    look()
    assert {behind for _, behind in seen} == {True, False}, "the scan was looked at before its end"
    assert {grown for grown, _ in seen} == {1_000 * 10**9}


def test_a_time_to_come_counts_as_the_time_of_the_scan_that_first_saw_it(tmp_path: Path) -> None:
    path = log(tmp_path, BEGUN)
    tomorrow = time.time() + 86_400.0
    os.utime(path, (tomorrow, tomorrow))
    with Indexer(tmp_path) as indexer:
        before = time.time_ns()
        indexer.scan()
        first = only(tmp_path).grown_ns
        assert before <= first <= time.time_ns()
        indexer.scan()
        assert only(tmp_path).grown_ns == first
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert only(tmp_path).grown_ns == first


def test_what_is_not_in_an_unfinished_index_is_not_known_to_be_missing(tmp_path: Path) -> None:
    log(tmp_path, encode_line(Step(step=1, loss=1.0, time=1.0)))
    with Index(tmp_path).snapshot() as snapshot, pytest.raises(IndexRebuilding, match="run 'r' is not in it yet"):
        query.sources(snapshot, "r")
    with Indexer(tmp_path) as indexer:
        with Index(tmp_path).snapshot() as snapshot, pytest.raises(IndexRebuilding):
            query.series_points(snapshot, "r", "loss")
        indexer.scan()
        indexer._connection.execute("UPDATE about SET complete = 0")
        with Index(tmp_path).snapshot() as snapshot:
            assert len(query.series_points(snapshot, "r", "loss").steps) == 1
            with pytest.raises(IndexRebuilding, match="series 'x' of run 'r' is not in it yet"):
                query.series_points(snapshot, "r", "x")
        indexer._connection.execute("UPDATE about SET complete = 1")
        with Index(tmp_path).snapshot() as snapshot:
            with pytest.raises(UnknownRun, match="There is no run 's'"):
                query.sources(snapshot, "s")
            with pytest.raises(UnknownSeries, match="Run 'r' has no series 'x'"):
                query.series_points(snapshot, "r", "x")


def test_a_root_that_is_not_there_has_no_runs_to_wait_for(tmp_path: Path) -> None:
    with Index(tmp_path / "nowhere").snapshot() as snapshot, pytest.raises(UnknownRun):
        query.sources(snapshot, "r")


def test_the_progress_of_a_first_scan_goes_from_nothing_to_everything(tmp_path: Path) -> None:
    log(tmp_path, BEGUN, *[PADDING] * 6)
    log(tmp_path, BEGUN, PADDING, run="s")
    seen: list[float] = []

    def look() -> None:
        with Index(tmp_path).snapshot() as snapshot:
            seen.append(query.progress(snapshot))

    look()
    with Indexer(tmp_path) as indexer:
        looks_between_transactions(indexer, look)
    look()
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert len(set(seen)) >= 4


def test_without_a_journal_there_is_no_progress_to_make(tmp_path: Path) -> None:
    with Index(tmp_path).snapshot() as snapshot:
        assert query.progress(snapshot) == 0.0

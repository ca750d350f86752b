"""What the index knows outlives the compression of what it was read from; and who is compressed, and when."""

import logging
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.index import Follower, Index, Indexer, query
from barograph.index.source import SourceState
from barograph.journal.layout import archive_of
from barograph.journal.seal import seal
from barograph.records import Record, RunComplete, Step
from barograph.records.codec import encode_line

BEGUN = "20260101T000000"
WEEK_S = 7 * 86_400.0


def log(root: Path, *records: Record, run: str = "r", attempt: int = 1, age_s: float = 0.0) -> Path:
    """Appends records to a journal file, which was last written `age_s` seconds ago."""
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"train-{attempt:06d}-{BEGUN}.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(encode_line(record) for record in records))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def loss(step: int) -> Step:
    return Step(step=step, loss=1.0 / (step + 1), time=float(step))


END = RunComplete(time=9.0, exit_code=0)


def steps(root: Path, run: str = "r") -> list[int]:
    with Index(root).snapshot() as snapshot:
        return [int(step) for step in query.series_points(snapshot, run, "loss").steps]


def states(root: Path, run: str = "r") -> list[tuple[int, str, SourceState, bool]]:
    with Index(root).snapshot() as snapshot:
        return [(one.id, one.path, one.state, one.behind) for one in query.sources(snapshot, run)]


def notices(root: Path) -> list[str]:
    with Index(root).snapshot() as snapshot:
        return query.notices(snapshot, "r")


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_source_that_is_compressed_keeps_its_row_its_offset_and_its_points(tmp_path: Path) -> None:
    path = log(tmp_path, *(loss(step) for step in range(3_000)), END)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        ((number, name, before, _),) = states(tmp_path)
        seal(tmp_path, path, expected=path.stat())
        (change,) = indexer.scan().changed
        assert (change.run, change.what) == ("r", ("files",))
        ((number_now, name_now, after, behind),) = states(tmp_path)
        assert (number_now, name_now, behind) == (number, name, False)
        assert (after.position, after.good, after.grown_ns) == (before.position, before.good, before.grown_ns)
        assert after.identity.archived
        assert steps(tmp_path) == list(range(3_000))
        assert not indexer.scan().changed
        assert not notices(tmp_path)
        log(tmp_path, loss(3_000), attempt=2)
        indexer.scan()
    with Indexer(tmp_path) as indexer:
        assert not indexer.scan().changed
        assert steps(tmp_path) == list(range(3_001))
        archive = archive_of(path)
        subprocess.run(["zstd", "-dq", "--rm", archive], check=True)
        assert indexer.scan().changed[0].what == ("files",)
        assert states(tmp_path)[0][0] == number
        assert steps(tmp_path) == list(range(3_001))


def test_lines_that_came_just_before_the_compression_are_read_from_the_archive(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1), loss(2))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        log(tmp_path, loss(3), END)
        seal(tmp_path, path, expected=path.stat())
        assert indexer.scan().changed[0].what == ("points", "run_complete")
        assert steps(tmp_path) == [1, 2, 3]


def test_an_archive_that_was_never_seen_is_read_and_a_rebuild_gives_the_same(tmp_path: Path) -> None:
    path = log(tmp_path, *(loss(step) for step in range(20_000)), END)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
    before = states(tmp_path)[0][2]
    seal(tmp_path, path, expected=path.stat())
    (tmp_path / ".barograph" / "index.sqlite").unlink()
    with Indexer(tmp_path) as indexer:
        assert indexer.scan().changed[0].what == ("files", "points", "run_complete")
    after = states(tmp_path)[0][2]
    assert steps(tmp_path) == list(range(20_000))
    assert (after.position, after.head, after.good, after.complete) == (
        before.position,
        before.head,
        before.good,
        before.complete,
    )


def test_both_of_them_count_once_and_it_is_said(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1), loss(2), END)
    whole = path.read_bytes()
    seal(tmp_path, path, expected=path.stat())
    path.write_bytes(whole)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert steps(tmp_path) == [1, 2]
        assert notices(tmp_path) == [f"logs/{path.name}.zst lies beside its original, so it is not read"]
        path.unlink()
        indexer.scan()
        assert steps(tmp_path) == [1, 2]
        assert not notices(tmp_path)


def test_an_archive_of_something_else_is_another_file(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1), loss(2))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        path.write_bytes(encode_line(loss(7)) * 3)
        seal(tmp_path, path, expected=path.stat())
        indexer.scan()
        assert steps(tmp_path) == [7, 7, 7]


def test_a_damaged_archive_is_said_once_and_takes_nothing_away_until_it_changes(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1), END)
    log(tmp_path, loss(2), attempt=2)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        seal(tmp_path, path, expected=path.stat())
        whole = archive_of(path).read_bytes()
        archive_of(path).write_bytes(whole[:-1])
        assert indexer.scan().changed[0].what == ("files",)
        assert steps(tmp_path) == [1, 2]
        (notice,) = notices(tmp_path)
        assert notice.startswith(f"r/logs/{path.name} cannot be read: the archive has no seek table")
        assert not indexer.scan().changed
        assert notices(tmp_path) == [notice]
        archive_of(path).write_bytes(whole)
        indexer.scan()
        assert not notices(tmp_path)
        assert steps(tmp_path) == [1, 2]


def test_a_damaged_frame_is_a_bad_line_at_its_place(tmp_path: Path) -> None:
    path = log(tmp_path, *(loss(step) for step in range(5_000)), END)
    seal(tmp_path, path, expected=path.stat())
    content = bytearray(archive_of(path).read_bytes())
    content[40] ^= 1
    archive_of(path).write_bytes(content)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        ((_, _, state, _),) = states(tmp_path)
        found = steps(tmp_path)
        assert (state.bad, found[-1]) == (1, 4_999)
        assert 3_000 < len(found) == state.good - 1 < 5_000
        assert "frame 0" in state.examples[0]
        assert not indexer.scan().changed


def test_only_what_is_complete_and_old_is_offered(tmp_path: Path) -> None:
    old = WEEK_S + 60.0
    log(tmp_path, loss(1), END, run="complete", age_s=old)
    log(tmp_path, loss(1), run="silent", age_s=50 * old)
    log(tmp_path, loss(1), END, run="young", age_s=WEEK_S - 60.0)
    log(tmp_path, loss(1), run="restarted", age_s=2 * old)
    log(tmp_path, loss(2), run="restarted", attempt=2, age_s=old)
    log(tmp_path, loss(1), END, run="to_come", age_s=-old)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        offered = [(one.path.parts[-3], one.path.name[6:12]) for one in indexer.complete_files(quiet_s=WEEK_S)]
        assert offered == [("restarted", "000001"), ("complete", "000001")]
        log(tmp_path, loss(2), run="complete", age_s=0.0)
        log(tmp_path, loss(2), run="silent", attempt=2, age_s=0.0)
        indexer.scan()
        offered = [(one.path.parts[-3], one.path.name[6:12]) for one in indexer.complete_files(quiet_s=WEEK_S)]
        assert offered == [("silent", "000001"), ("restarted", "000001")]


def test_a_follower_compresses_what_is_complete_and_keeps_answering(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [log(tmp_path, *(loss(step) for step in range(2_000)), END, run=f"r{run}", age_s=60.0) for run in range(3)]
    live = log(tmp_path, loss(1), run="live", age_s=60.0)
    archive_of(paths[2]).write_bytes(b"not ours")
    with (
        caplog.at_level(logging.INFO, logger="barograph"),
        Follower(tmp_path, every_s=0.01, seal_after_s=30.0) as follower,
    ):
        wait_for(lambda: not paths[0].exists() and not paths[1].exists())
        wait_for(lambda: len(caplog.records) == 2)
        time.sleep(0.1)
        with follower.index.snapshot() as snapshot:
            for run in range(3):
                assert query.series_points(snapshot, f"r{run}", "loss").steps.tolist() == list(range(2_000))
    assert [path.exists() for path in (*paths, live)] == [False, False, True, True]
    assert "2 journal files of finished attempts compressed: 0.3 MB before" in caplog.messages[0]
    assert "1 journal file could not be compressed" in caplog.messages[1]
    assert f"r2/logs/{paths[2].name}" in caplog.messages[1]


def test_by_default_nothing_younger_than_a_week_is_touched(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1), END, age_s=WEEK_S - 60.0)
    older = log(tmp_path, loss(1), END, run="old", age_s=WEEK_S + 60.0)
    with Follower(tmp_path, every_s=0.01):
        wait_for(lambda: not older.exists())
    assert path.exists()


def test_a_root_in_which_no_index_can_lie_is_left_alone(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1), END, age_s=60.0)
    (tmp_path / ".barograph").touch()
    with Follower(tmp_path, every_s=0.01, seal_after_s=0.0) as follower:
        wait_for(lambda: follower.indexing)
        time.sleep(0.2)
    assert path.exists()

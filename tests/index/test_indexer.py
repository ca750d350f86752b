"""What one scan after another makes of files that grow, shrink, vanish and are replaced."""

import math
import os
import sqlite3
from pathlib import Path

import pytest

from barograph.errors import RootBusy, UnknownRun, UnknownSeries
from barograph.index import Index, Indexer, query
from barograph.index.source import SourceState
from barograph.records import Answer, Banner, Columns, ExactMatch, Record, RejectedValue, Step
from barograph.records.codec import encode_line

BEGUN = "20260101T000000"


def log(root: Path, *records: Record, run: str = "r", writer: str = "train", attempt: int = 1) -> Path:
    """Appends records to a journal file, as its writer would."""
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{writer}-{attempt:06d}-{BEGUN}.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(encode_line(record) for record in records))
    return path


def loss(step: int, value: float = 1.0, **metrics: float) -> Step:
    return Step(step=step, loss=value, time=float(step), metrics=metrics)


def points(root: Path, name: str = "loss", run: str = "r") -> list[tuple[int, float]]:
    with Index(root).snapshot() as snapshot:
        found = query.series_points(snapshot, run, name)
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def names(root: Path, run: str = "r") -> list[str]:
    with Index(root).snapshot() as snapshot:
        return query.series_names(snapshot, run)


def state(root: Path, run: str = "r", place: int = 0) -> SourceState:
    with Index(root).snapshot() as snapshot:
        return query.sources(snapshot, run)[place].state


def notices(root: Path, run: str = "r") -> list[str]:
    with Index(root).snapshot() as snapshot:
        return query.notices(snapshot, run)


def test_a_scan_tells_which_runs_moved_and_which_are_gone(tmp_path: Path) -> None:
    log(tmp_path, loss(1), run="a")
    log(tmp_path, loss(1), run="b")
    with Indexer(tmp_path) as indexer:
        assert indexer.scan().runs == ("a", "b")
        assert not indexer.scan().changed
        log(tmp_path, loss(2), run="b")
        assert indexer.scan().runs == ("b",)
        (tmp_path / "a").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
        gone = indexer.scan()
        assert (gone.changed, gone.gone) == ((), ("a",))
        with Index(tmp_path).snapshot() as snapshot:
            assert query.run_names(snapshot) == ["b"]
            with pytest.raises(UnknownRun, match="'a'"):
                query.sources(snapshot, "a")
            with pytest.raises(UnknownSeries, match="'nothing'"):
                query.series_points(snapshot, "b", "nothing")


def test_non_finite_values_are_points_and_missing_ones_are_none(tmp_path: Path) -> None:
    log(tmp_path, loss(1, math.nan), loss(2, math.inf), loss(3, -math.inf), Step(step=4, time=1.0), loss(5, -0.0))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        found = points(tmp_path)
    assert [step for step, _ in found] == [1, 2, 3, 5]
    assert math.isnan(found[0][1])
    assert [value for _, value in found[1:]] == [math.inf, -math.inf, 0.0]
    assert math.copysign(1.0, found[3][1]) == -1.0


def test_a_metric_called_loss_belongs_to_the_loss(tmp_path: Path) -> None:
    log(tmp_path, loss(1, 3.0), Step(step=2, time=1.0, metrics={"loss": 2.0}))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert points(tmp_path) == [(1, 3.0), (2, 2.0)]


def test_another_ranks_values_do_not_mix_with_the_runs(tmp_path: Path) -> None:
    log(tmp_path, loss(1, 3.0))
    log(tmp_path, loss(1, 9.0, speed=4.0), writer="rank3")
    log(tmp_path, Step(step=1, time=1.0, metrics={"eval/loss": 2.0}), writer="evaluate")
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert names(tmp_path) == ["eval/loss", "loss", "rank/3/loss", "rank/3/speed"]
        assert points(tmp_path) == [(1, 3.0)]
        assert points(tmp_path, "rank/3/loss") == [(1, 9.0)]


def test_wide_rows_are_named_by_their_header_and_refused_without_one(tmp_path: Path) -> None:
    wide = Step(step=1, time=1.0, loss=2.0, columns="c", values=[0.5, math.nan])
    path = log(tmp_path, wide)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert (state(tmp_path).good, state(tmp_path).bad) == (0, 1)
        assert "byte 0: unknown_columns" in state(tmp_path).examples[0]
        log(tmp_path, Columns(id="c", names=["a", "b"]))
        indexer.scan()
        begins = path.stat().st_size
        log(tmp_path, wide, Step(step=2, time=1.0, columns="c", values=[1.0]))
        indexer.scan()
        assert points(tmp_path, "a") == [(1, 0.5)]
        assert math.isnan(points(tmp_path, "b")[0][1])
        assert points(tmp_path) == [(1, 2.0)]
        found = state(tmp_path)
        assert (found.good, found.bad) == (2, 2)
        assert f"byte {begins + len(encode_line(wide))}: unknown_columns" in found.examples[1]


def test_an_exact_match_is_a_point_of_its_own_series(tmp_path: Path) -> None:
    match = ExactMatch(
        step=7, time=1.0, checkpoint="c", probe_set="p", task="syllo", level="hard", regime="plain_sft",
        correct=1, n=4, exact_match=0.25, low=0.1, high=0.6, confidence=0.95, base_rate=0.5,
    )  # fmt: skip
    log(tmp_path, match, writer="evaluate")
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert points(tmp_path, "exact_match/syllo/hard/plain_sft") == [(7, 0.25)]
        with Index(tmp_path).snapshot() as snapshot:
            assert query.events(snapshot, "r", ExactMatch) == [match]


@pytest.mark.parametrize("name", ["a/b//c", "<img src=x onerror=alert(1)>", "é中🌡", "nul\x00l", "x" * 10_000, ""])
def test_any_text_can_name_a_metric(tmp_path: Path, name: str) -> None:
    log(tmp_path, Step(step=1, time=1.0, metrics={name: 2.0}))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert names(tmp_path) == [name]
        assert points(tmp_path, name) == [(1, 2.0)]


def test_lines_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1))
    with path.open("ab") as file:
        file.write(b'{"type":"step","step":2,"loss":1.0,"time":1.0}\n')
        file.write(b'{"type":"hologram","x":1}\n')
        file.write(b'{"type":"step","step":true,"loss":1.0,"time":1.0}\nrubbish\n{"type":"st')
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        found = state(tmp_path)
    assert (found.good, found.unchecked, found.unknown, found.bad, found.torn) == (2, 2, 1, 2, 11)
    assert [example.split(": ")[1] for example in found.examples] == ["wrong_type", "not_json"]
    assert found.examples[0].startswith(f"r/logs/{path.name}, byte ")


def test_a_torn_tail_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1))
    line = encode_line(loss(2))
    with Indexer(tmp_path) as indexer:
        for byte in line:
            with path.open("ab") as file:
                file.write(bytes([byte]))
            assert indexer.scan().runs == ("r",)
        assert points(tmp_path) == [(1, 1.0), (2, 1.0)]
        assert (state(tmp_path).bad, state(tmp_path).torn) == (0, 0)


@pytest.mark.parametrize("how", ["shrunk", "replaced", "rewritten"])
def test_a_file_that_is_not_what_was_read_is_read_again(tmp_path: Path, how: str) -> None:
    path = log(tmp_path, *(loss(step) for step in range(5)), loss(5, 2.0, other=1.0))
    log(tmp_path, loss(9, 9.0), writer="rank1")
    new = encode_line(loss(70, 7.0)) * (1 if how == "shrunk" else 20)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert len(points(tmp_path)) == 6
        if how == "replaced":
            path.rename(path.with_suffix(".old"))
        path.write_bytes(new)
        assert indexer.scan().runs == ("r",)
        assert points(tmp_path) == [(70, 7.0)] * (len(new) // len(encode_line(loss(70, 7.0))))
        assert names(tmp_path) == ["loss", "rank/1/loss"]
        assert points(tmp_path, "rank/1/loss") == [(9, 9.0)]


def test_a_run_that_lost_a_file_keeps_only_what_is_there(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    second = log(tmp_path, loss(2), attempt=2)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        second.unlink()
        assert indexer.scan().runs == ("r",)
        assert points(tmp_path) == [(1, 1.0)]


def test_a_root_that_is_itself_a_run_is_that_run(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    with Indexer(tmp_path / "r") as indexer:
        assert indexer.scan().runs == ("r",)
        assert points(tmp_path / "r") == [(1, 1.0)]


def test_a_banner_is_known_without_its_bulk_and_kept_whole(tmp_path: Path) -> None:
    banner = Banner(run="r", attempt=1, writer="train", time=1.0, config="{}", versions={"torch": "2"}, total_steps=9)
    log(tmp_path, banner)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        found = state(tmp_path).banner
        assert found is not None
        assert (found.config, found.versions, found.total_steps) == (None, {}, 9)
        with Index(tmp_path).snapshot() as snapshot:
            assert query.events(snapshot, "r", Banner) == [banner]


def test_events_come_newest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    for attempt in (1, 2):
        banners = [Banner(run="r", attempt=attempt, writer="train", time=float(time)) for time in range(3)]
        log(tmp_path, *banners, attempt=attempt)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        with Index(tmp_path).snapshot() as snapshot:
            found = query.events(snapshot, "r", Banner, limit=4)
    assert [(banner.attempt, banner.time) for banner in found] == [(2, 2.0), (2, 1.0), (2, 0.0), (1, 2.0)]


def test_a_snapshot_does_not_change_while_it_is_open(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        with Index(tmp_path).snapshot() as snapshot:
            before = query.revisions(snapshot)
            log(tmp_path, loss(2))
            indexer.scan()
            assert len(query.series_points(snapshot, "r", "loss").steps) == 1
            assert query.revisions(snapshot) == before
        with Index(tmp_path).snapshot() as snapshot:
            assert len(query.series_points(snapshot, "r", "loss").steps) == 2
            assert query.revisions(snapshot) != before


def test_an_index_folder_that_was_deleted_stops_its_indexer(tmp_path: Path) -> None:
    log(tmp_path, loss(1))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        (tmp_path / ".barograph" / "index.lock").unlink()
        with pytest.raises(RootBusy, match="deleted while it was in use"):
            indexer.scan()


def test_a_full_disk_fails_the_scan_and_loses_nothing(tmp_path: Path) -> None:
    log(tmp_path, *(loss(step) for step in range(50_000)))
    with Indexer(tmp_path) as indexer:
        (pages,) = indexer._connection.execute("PRAGMA page_count").fetchone()
        indexer._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            indexer.scan()
        indexer._connection.execute("PRAGMA max_page_count = 1000000")
        assert indexer.scan().rebuilt is None
        assert [step for step, _ in points(tmp_path)] == list(range(50_000))


def test_a_run_whose_name_is_no_text_is_passed_over(tmp_path: Path) -> None:
    os.makedirs(os.fsencode(tmp_path) + b"/\xff\xfe/logs")
    log(tmp_path, loss(1))
    with Indexer(tmp_path) as indexer:
        assert indexer.scan().runs == ("r",)


def test_a_foreign_file_name_is_not_read_and_said(tmp_path: Path) -> None:
    path = log(tmp_path, loss(1))
    path.rename(path.with_name("train_loss.jsonl"))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert names(tmp_path) == []
        assert "train_loss.jsonl is not named like a journal file" in notices(tmp_path)[0]
        (tmp_path / "r" / "logs" / "train_loss.jsonl").unlink()
        assert indexer.scan().runs == ("r",)
        assert notices(tmp_path) == []


def test_an_answer_is_read_and_counted_and_not_kept(tmp_path: Path) -> None:
    answer = Answer(
        step=4, time=9.0, checkpoint="checkpoint-4", probe_set="p", probe="1", task="syllo", level="easy",
        regime="plain_sft", answer="a" * 999, golden="b", correct=False, tokens=3, generation_ms=1.0,
    )  # fmt: skip
    log(tmp_path, answer, writer="evaluate")
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        found = state(tmp_path)
        assert (found.good, found.last_time) == (1, 9.0)
        assert indexer._connection.execute("SELECT count(*) FROM event").fetchone() == (0,)


def test_the_first_rejected_values_are_named_and_all_are_counted(tmp_path: Path) -> None:
    log(tmp_path, *(RejectedValue(time=1.0, key=f"k{place}", value_type="str", step=1) for place in range(4)))
    log(tmp_path, RejectedValue(time=1.0, key="step", value_type="str"), attempt=2)
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        found = state(tmp_path)
        assert (found.rejected, found.rejected_examples) == (4, ("'k0' (str)", "'k1' (str)", "'k2' (str)"))
        assert state(tmp_path, place=1).rejected_examples == ("a whole row, for its step (str)",)


def test_the_first_loss_is_told_from_the_first_step(tmp_path: Path) -> None:
    log(tmp_path, Step(step=4, time=1.0, metrics={"eval/loss": 1.0}))
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        assert (state(tmp_path).first_step, state(tmp_path).first_loss) == (4, None)
        log(tmp_path, loss(6), loss(5, math.nan))
        indexer.scan()
        assert (state(tmp_path).first_step, state(tmp_path).first_loss) == (4, 5)

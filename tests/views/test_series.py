"""Laws of a series in buckets: what is no number is counted, and never smoothed over."""

import math
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import UnknownSeries
from barograph.index import Index, Indexer
from barograph.records import Step
from barograph.records.codec import encode_document, encode_line
from barograph.views import live_status, series_set
from barograph.views.documents import Series
from barograph.views.series import Asked, _rounded

VALUES = st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf]))


def of_values(values: list[float], *, buckets: int, smoothing: float) -> Series:
    with tempfile.TemporaryDirectory(prefix="barograph-test-") as folder:
        logs = Path(folder) / "r" / "logs"
        logs.mkdir(parents=True)
        lines = [encode_line(Step(step=step, loss=value, time=1.0)) for step, value in enumerate(values)]
        (logs / "train-000001-20260101T000000.jsonl").write_bytes(b"".join(lines))
        with Indexer(Path(folder)) as indexer:
            indexer.scan()
        asked = Asked(buckets=buckets, smoothing=smoothing)
        return series_set(Index(Path(folder)), "r", ["loss"], asked=asked).series[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 20), st.sampled_from([0.0, 0.9]))
def test_a_bucket_without_a_finite_value_has_no_average(values: list[float], buckets: int, smoothing: float) -> None:
    found = of_values(values, buckets=buckets, smoothing=smoothing)
    averages = [None] * len(found.last) if found.smoothed is None else found.smoothed
    if smoothing:
        assert [one is None for one in averages] == [one is None for one in found.last]
    else:
        assert found.smoothed is None


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 20))
def test_the_buckets_together_count_every_non_finite_point(values: list[float], buckets: int) -> None:
    found = of_values(values, buckets=buckets, smoothing=0.0)
    assert sum(found.non_finite_in_bucket) == found.non_finite_count == sum(not math.isfinite(one) for one in values)
    for first, step, said in zip(found.first, found.step, found.non_finite_in_bucket, strict=True):
        assert said == sum(not math.isfinite(one) for one in values[first : step + 1])


def test_beyond_the_points_that_are_listed_the_buckets_still_count() -> None:
    found = of_values([math.nan] * 3_000 + [1.0], buckets=1_000, smoothing=0.9)
    assert (len(found.non_finite), found.non_finite_count) == (1_000, 3_000)
    assert sum(found.non_finite_in_bucket) == 3_000
    assert found.smoothed is not None
    assert found.smoothed[:-1] == [None] * (len(found.step) - 1)


def run_of(root: Path, *, steps: range, attempt: int = 1, writer: str = "train", scale: float = 1.0) -> None:
    """Appends a line per step: a loss, a metric every tenth step, and times a second apart."""
    logs = root / "r" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    lines = [
        encode_line(
            Step(
                step=step,
                loss=scale * (1.0 + math.sin(step)),
                time=1_000.0 * attempt + step,
                metrics={"eval/x": float(step)} if step % 10 == 0 else {},
            )
        )
        for step in steps
    ]
    with (logs / f"{writer}-{attempt:06d}-20260101T000000.jsonl").open("ab") as file:
        file.write(b"".join(lines))


def scanned(root: Path) -> Index:
    with Indexer(root) as indexer:
        indexer.scan()
    return Index(root)


def columns_of(one: Series) -> tuple[Sequence[object], ...]:
    """What a page holds of an answer."""
    single = one.last
    return (
        one.first,
        one.step,
        one.minimum or single,
        one.maximum or single,
        one.mean or single,
        one.last,
        one.smoothed or [],
        one.count,
        one.time or [],
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(1, 60), st.booleans())
def test_what_a_page_holds_after_partial_answers_is_the_whole_answer(
    growth: list[int], buckets: int, windowed: bool
) -> None:
    with tempfile.TemporaryDirectory(prefix="barograph-test-") as folder:
        root, asked = Path(folder), Asked(buckets=buckets, smoothing=0.9, times=True, first=7 if windowed else 0)
        run_of(root, steps=range(20))
        held = series_set(scanned(root), "r", ["loss"], asked=asked).series[0]
        columns, held_first, reached = columns_of(held), held.first, 20
        for more in growth:
            run_of(root, steps=range(reached, reached + more))
            reached += more
            index = scanned(root)
            (new,) = series_set(index, "r", ["loss"], asked=asked, cursors=[held.cursor]).series
            (whole,) = series_set(index, "r", ["loss"], asked=asked).series
            if new.partial:
                kept = sum(first < new.from_step for first in held_first)
                columns = tuple([*old[:kept], *fresh] for old, fresh in zip(columns, columns_of(new), strict=True))
            else:
                columns = columns_of(new)
            held_first = whole.first
            assert columns == columns_of(whole)
            assert (new.points, new.non_finite_count, new.cursor) == (
                whole.points,
                whole.non_finite_count,
                whole.cursor,
            )
            assert new.partial or new.width != held.width
            held = new


def test_a_cursor_of_another_story_brings_everything(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100))
    held = series_set(scanned(tmp_path), "r", ["loss"]).series[0]
    run_of(tmp_path, steps=range(50, 60), attempt=2)
    (new,) = series_set(scanned(tmp_path), "r", ["loss"], cursors=[held.cursor]).series
    assert (new.partial, new.points, new.hidden_points) == (False, 60, 50)
    for wrong in ("", "x", "1.2.3", "1.2.3.4", "1.2.3.4.5.6", f"{held.cursor}9", "-1.-1.-1.-1", "9" * 99):
        (new,) = series_set(Index(tmp_path), "r", ["loss"], cursors=[wrong]).series
        assert not new.partial


def test_nothing_new_costs_one_bucket(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(5_000))
    index = scanned(tmp_path)
    asked = Asked(smoothing=0.99)
    (held,) = series_set(index, "r", ["loss"], asked=asked).series
    document = series_set(index, "r", ["loss"], asked=asked, cursors=[held.cursor])
    (new,) = document.series
    assert (new.partial, len(new.step), new.step[-1]) == (True, 1, 4_999)
    assert len(encode_document(document)) < 1_000


def test_a_late_point_of_an_early_step_is_not_missed(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100))
    held = series_set(scanned(tmp_path), "r", ["loss"]).series[0]
    run_of(tmp_path, steps=range(3, 4))
    (new,) = series_set(scanned(tmp_path), "r", ["loss"], cursors=[held.cursor]).series
    assert (new.partial, new.points) == (False, 101)


def test_an_attempt_can_be_asked_for_whole(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100))
    run_of(tmp_path, steps=range(50, 60), attempt=2, scale=3.0)
    index = scanned(tmp_path)
    (first,) = series_set(index, "r", ["loss"], asked=Asked(attempt=1)).series
    (second,) = series_set(index, "r", ["loss"], asked=Asked(attempt=2)).series
    assert (first.step, first.hidden_points) == (list(range(100)), 0)
    assert second.step == list(range(50, 60))
    (none,) = series_set(index, "r", ["loss"], asked=Asked(attempt=9)).series
    assert (none.step, none.points) == ([], 0)


def test_elapsed_time_leaves_out_the_time_between_attempts(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100))
    run_of(tmp_path, steps=range(50, 60), attempt=2)
    document = series_set(scanned(tmp_path), "r", ["loss"], asked=Asked(times=True))
    (found,) = document.series
    assert found.time == [*(1_000.0 + step for step in range(50)), *(2_000.0 + step for step in range(50, 60))]
    # attempt 1 ran from 1000 to 1099; attempt 2 began at 2050, when 99 s had been spent
    assert [row.zero for row in document.attempts] == [1_000.0, 1_951.0]


@pytest.mark.parametrize("steps", [200, 20_000])
def test_a_window_of_time_is_the_window_of_its_steps(tmp_path: Path, steps: int) -> None:
    run_of(tmp_path, steps=range(steps))
    index = scanned(tmp_path)
    asked = Asked(since=1_000.0 + 33, until=1_000.0 + steps - 50.5, buckets=10)
    (found,) = series_set(index, "r", ["loss"], asked=asked).series
    assert (found.first[0], found.step[-1], found.points) == (33, steps - 51, steps - 83)
    for since, until in ((0.0, 999.0), (1e9, 2e9)):
        (none,) = series_set(index, "r", ["loss"], asked=Asked(since=since, until=until)).series
        assert none.points == 0


def test_a_sparse_series_has_the_times_of_its_own_rows(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(200))
    (found,) = series_set(scanned(tmp_path), "r", ["eval/x"], asked=Asked(times=True)).series
    assert found.time == [1_000.0 + step for step in range(0, 200, 10)]


def test_several_series_come_in_the_order_of_their_names_and_an_unknown_one_is_empty(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(30))
    index = scanned(tmp_path)
    found = series_set(index, "r", ["eval/x", "nothing", "loss"]).series
    assert [(one.name, one.points) for one in found] == [("eval/x", 3), ("nothing", 0), ("loss", 30)]
    with pytest.raises(UnknownSeries, match="'nothing'"):
        series_set(index, "r", ["nothing"])


def test_ranks_are_compared_bucket_by_bucket(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100), scale=1.0)
    run_of(tmp_path, steps=range(100), scale=3.0, writer="rank1")
    run_of(tmp_path, steps=range(80), scale=2.0, writer="rank2")
    (found,) = series_set(scanned(tmp_path), "r", ["loss"], asked=Asked(ranks=True, buckets=10)).series
    ranks = found.ranks
    assert ranks is not None
    assert [(row.rank, row.points, row.last_step) for row in ranks.ranks] == [(0, 100, 99), (1, 100, 99), (2, 80, 79)]
    assert (ranks.straggler, ranks.behind_steps) == (2, 20)
    assert ranks.highest == [1] * 10
    assert found.mean is not None
    for place, mean in enumerate(found.mean):
        assert mean is not None
        shares = [1.0, 3.0, 2.0] if place < 8 else [1.0, 3.0]
        assert ranks.minimum[place] == pytest.approx(mean, rel=2e-4, abs=1e-4)
        assert ranks.maximum[place] == pytest.approx(3 * mean, rel=2e-4, abs=1e-4)
        assert ranks.mean[place] == pytest.approx(sum(shares) / len(shares) * mean, rel=2e-4, abs=1e-4)


def test_a_single_point_is_exact_and_an_aggregate_is_rounded(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(40))
    index = scanned(tmp_path)
    (points,) = series_set(index, "r", ["loss"]).series
    assert points.last == [1.0 + math.sin(step) for step in range(40)]
    assert (points.minimum, points.maximum, points.mean) == (None, None, None)
    (coarse,) = series_set(index, "r", ["loss"], asked=Asked(buckets=5)).series
    assert coarse.mean is not None
    for place, mean in enumerate(coarse.mean):
        own = [1.0 + math.sin(step) for step in range(coarse.first[place], coarse.step[place] + 1)]
        wanted = math.fsum(own) / len(own)
        assert mean == (float(f"{wanted:.5g}") if wanted < 1 else round(wanted, 4))  # the loss lies between 0 and 2


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.integers(-30, 30))
def test_rounding_keeps_five_digits_and_the_decimals_that_were_asked_for(values: list[float], finest: int) -> None:
    for given_value, found in zip(values, _rounded(np.array(values), finest=finest).tolist(), strict=True):
        assert found == pytest.approx(given_value, rel=5.1e-5, abs=0.0)
        if abs(finest) <= 15:
            assert abs(found - given_value) <= 0.51 * 10.0**-finest or found == given_value


@pytest.mark.parametrize("offset", [0.0, 1e6, 1.7e9])
def test_values_that_lie_close_together_stay_apart(tmp_path: Path, offset: float) -> None:
    logs = tmp_path / "r" / "logs"
    logs.mkdir(parents=True)
    lines = [encode_line(Step(step=step, loss=offset + step / 1_000, time=1.0)) for step in range(1_000)]
    (logs / "train-000001-20260101T000000.jsonl").write_bytes(b"".join(lines))
    (found,) = series_set(scanned(tmp_path), "r", ["loss"], asked=Asked(buckets=100)).series
    assert found.mean is not None
    for place, mean in enumerate(found.mean):
        assert mean == pytest.approx(offset + (found.first[place] + found.step[place]) / 2_000, abs=1e-5)
    assert len(set(found.mean)) == len(found.mean)


def test_over_coarse_rows_partial_answers_partition_the_points(tmp_path: Path) -> None:
    reached, asked = 120_001, Asked(buckets=10)
    run_of(tmp_path, steps=range(1, reached))
    (held,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked).series
    buckets = list(zip(held.first, held.step, held.count, strict=True))
    partial = 0
    for _ in range(6):
        run_of(tmp_path, steps=range(reached, reached + 1_500))
        reached += 1_500
        (new,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked, cursors=[held.cursor]).series
        kept = [bucket for bucket in buckets if bucket[0] < new.from_step] if new.partial else []
        partial += new.partial
        buckets = [*kept, *zip(new.first, new.step, new.count, strict=True)]
        assert sum(count for _, _, count in buckets) == new.points == reached - 1
        assert all(before[1] < after[0] for before, after in pairwise(buckets))
        held = new
    assert partial >= 3


def test_a_sparse_series_of_a_long_run_has_the_times_of_its_own_rows(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(70_000))
    for buckets in (10, 1_000):
        asked = Asked(times=True, buckets=buckets)
        (found,) = series_set(scanned(tmp_path), "r", ["eval/x"], asked=asked).series
        assert found.time == [1_000.0 + step for step in found.step]


def test_two_files_of_one_attempt_are_smoothed_point_by_point(tmp_path: Path) -> None:
    logs = tmp_path / "r" / "logs"
    logs.mkdir(parents=True)
    for part in (0, 1):  # one says 0 at even steps, the other 1 at odd ones
        lines = [encode_line(Step(step=step, loss=float(part), time=1.0)) for step in range(part, 60_000, 2)]
        (logs / f"train-000001-20260101T00000{part}.jsonl").write_bytes(b"".join(lines))
    index = scanned(tmp_path)
    for buckets in (10, 100, 1_000):
        (found,) = series_set(index, "r", ["loss"], asked=Asked(buckets=buckets, smoothing=0.97)).series
        assert found.smoothed is not None
        late = [value for value in found.smoothed[1:] if value is not None]
        assert all(0.48 < value < 0.52 for value in late)


def test_a_file_that_was_cut_and_written_again_is_sent_whole(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(500))
    path = tmp_path / "r" / "logs" / "train-000001-20260101T000000.jsonl"
    before = path.read_bytes()
    with Indexer(tmp_path) as indexer:
        indexer.scan()
        (held,) = series_set(Index(tmp_path), "r", ["loss"]).series
        head = b"".join(before.splitlines(keepends=True)[:100])
        path.write_bytes(head)
        indexer.scan()
        run_of(tmp_path, steps=range(100, 500), scale=2.0)
        indexer.scan()
        (new,) = series_set(Index(tmp_path), "r", ["loss"], cursors=[held.cursor]).series
    assert (new.partial, new.points) == (False, 500)


def test_late_points_before_a_window_change_its_smoothed_line(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100, 300))
    asked = Asked(first=200, smoothing=0.99)
    (held,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked).series
    run_of(tmp_path, steps=range(50), scale=500.0)
    (new,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked, cursors=[held.cursor]).series
    assert not new.partial


def test_the_first_nan_of_an_attempt_knows_the_last_value_before_it_in_any_window(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100))
    logs = tmp_path / "r" / "logs"
    lines = [encode_line(Step(step=step, loss=math.nan if step == 100 else 1.0, time=1.0)) for step in range(100, 120)]
    (logs / "train-000002-20260101T000000.jsonl").write_bytes(b"".join(lines))
    index = scanned(tmp_path)
    for first in (0, 100):
        (found,) = series_set(index, "r", ["loss"], asked=Asked(first=first)).series
        assert [(point.step, point.after) for point in found.non_finite] == [(100, 1.0 + math.sin(99))]


def test_ranks_that_come_late_and_rank_0_behind_are_seen(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(96))
    run_of(tmp_path, steps=range(20), writer="rank1", scale=5.0)
    asked = Asked(ranks=True, buckets=10)
    (held,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked).series
    run_of(tmp_path, steps=range(20, 200), writer="rank1", scale=5.0)
    (new,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked, cursors=[held.cursor]).series
    assert not new.partial
    assert new.ranks is not None
    assert new.ranks.highest == [1] * 10
    assert [(row.rank, row.points, row.last_step) for row in new.ranks.ranks] == [(0, 96, 95), (1, 200, 199)]
    assert (new.ranks.straggler, new.ranks.behind_steps) == (0, 104)
    run_of(tmp_path, steps=range(96, 97))
    (last,) = series_set(scanned(tmp_path), "r", ["loss"], asked=asked, cursors=[new.cursor]).series
    assert last.partial
    assert last.ranks is not None
    assert [row.points for row in last.ranks.ranks] == [97, 200]


def test_a_nan_on_any_rank_is_counted_in_its_bucket_and_lights_the_run(tmp_path: Path) -> None:
    run_of(tmp_path, steps=range(100))
    logs = tmp_path / "r" / "logs"
    lines = [encode_line(Step(step=step, loss=math.nan if step == 42 else 1.0, time=1.0)) for step in range(100)]
    (logs / "rank1-000001-20260101T000000.jsonl").write_bytes(b"".join(lines))
    index = scanned(tmp_path)
    (found,) = series_set(index, "r", ["loss"], asked=Asked(ranks=True, buckets=10)).series
    assert found.ranks is not None
    assert sum(found.ranks.non_finite) == 1
    assert [row.non_finite for row in found.ranks.ranks] == [0, 1]
    live = live_status(index)
    assert live.health_lights.loss == "critical"
    assert live.health == "critical"

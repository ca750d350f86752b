"""What changed: unions lose nothing, numbers have no gap, and nothing grows without bound."""

from hypothesis import given
from hypothesis import strategies as st

from barograph.api.changes import NAMED, News, Ring, union
from barograph.index import Change, ScanResult

RUNS = st.sampled_from(["a", "b", "c", "d"])
KINDS = st.sampled_from(["points", "heartbeat", "alert", "files", "any"])


@st.composite
def scans(draw: st.DrawFn) -> ScanResult:
    changed = draw(st.dictionaries(RUNS, st.sets(KINDS, min_size=1)))
    gone = draw(st.sets(RUNS)) - set(changed)
    return ScanResult(
        changed=tuple(Change(run=run, what=tuple(sorted(what))) for run, what in changed.items()),
        gone=tuple(sorted(gone)),
        rebuilt=draw(st.sampled_from([None, "damaged"])),
    )


@given(st.lists(scans(), max_size=6))
def test_a_union_says_of_each_run_what_the_scans_said_last(found: list[ScanResult]) -> None:
    news = union(found, timestamp="now")
    expected: dict[str, set[str] | None] = {}
    for result in found:
        expected |= dict.fromkeys(result.gone)  # what comes back is told by the scan that finds it again
        for change in result.changed:
            expected[change.run] = (expected.get(change.run) or set()) | set(change.what)
    assert {change.run: set(change.what) for change in news.changed} == {
        run: what for run, what in expected.items() if what is not None
    }
    assert set(news.gone) == {run for run, what in expected.items() if what is None}
    assert news.rebuilt == any(result.rebuilt for result in found)
    assert len(news.changed) == len({change.run for change in news.changed})


def test_more_runs_than_can_be_named_mean_that_everything_may_have_changed() -> None:
    def scan(runs: int) -> ScanResult:
        return ScanResult(changed=tuple(Change(run=f"r{i}", what=("points",)) for i in range(runs)), gone=())

    assert len(union([scan(NAMED)], timestamp="")) == NAMED
    assert union([scan(NAMED + 1)], timestamp="now") == News(rebuilt=True, timestamp="now")


@given(scans(), RUNS)
def test_the_part_about_a_run_names_no_other(found: ScanResult, run: str) -> None:
    news = union([found], timestamp="now")
    part = news.about(run)
    named = {change.run for change in news.changed} | set(news.gone)
    assert (part is None) == (run not in named and not news.rebuilt)
    if part is not None:
        assert {change.run for change in part.changed} | set(part.gone) == named & {run}
        assert part.rebuilt == news.rebuilt
    assert news.about(None) == news


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 8), st.integers(1, 20))
def test_a_ring_keeps_the_newest_under_both_bounds(sizes: list[int], most: int, most_named: int) -> None:
    ring = Ring(most=most, most_named=most_named)
    told: list[News] = []
    for size in sizes:
        told.append(News(gone=tuple(f"r{i}" for i in range(size)), timestamp=str(len(told))))
        ring.update(told[-1])
        kept = [ring.get(number) for number in range(ring.before_oldest + 1, ring.newest + 1)]
        assert kept == told[ring.before_oldest :], "what is kept is the end, without a gap"
        assert ring.get(ring.before_oldest) is None
        assert ring.get(ring.newest + 1) is None
        assert 1 <= len(kept) <= most
        assert len(kept) == 1 or sum(len(one) for one in told[ring.before_oldest :]) <= most_named
    assert ring.newest == len(sizes)

"""Advice is written when it says another thing, and rarely when only its numbers do; what is newest is never old."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.streaming import Change
from barograph.policy import load
from barograph.policy.advice import advice
from barograph.policy.advice_watch import DERIVED_SHARE, DERIVED_STEPS, LEAST_STEPS, WRITTEN_SHARE, AdviceWatch
from barograph.policy.evaluation_conditions import Evaluations
from barograph.policy.situation import Situation
from barograph.records import Advice, Alert
from barograph.records.alerts import AdviceItem
from barograph.records.signals import TrendWord

POLICY = load("default")
NOW = Situation(
    step=0,
    total_steps=None,
    alerts={},
    schedule=None,
    evaluations=Evaluations(),
    plateau=None,
    trend="improving",
    change=Change(ratio=-0.2, steps=100),
    spikes=(),
    saves=(),
)
DEAD = {"dead_layers": Alert(time=1.0, title="Dead", condition="dead_layers", subjects=["model.layers.3"])}

totals = st.none() | st.sampled_from([50, 600, 20_000])


def at(step: int, *, gain: int = 20, **changes: object) -> Situation:
    """A training whose loss fell by `gain` percent."""
    return replace(NOW, step=step, change=Change(ratio=-gain / 100, steps=100), **changes)


def substance(items: list[AdviceItem]) -> list[tuple[str, str, list[str]]]:
    return [(item.action, item.confidence, item.subjects) for item in items]


seen = st.lists(
    st.tuples(st.integers(0, 150), st.integers(10, 40), st.booleans(), st.sampled_from(["improving", "stable"])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(seen=seen, total=totals)
def test_what_is_written_always_says_what_the_newest_does_and_no_line_is_the_one_before(
    seen: list[tuple[int, int, bool, TrendWord]], total: int | None
) -> None:
    fold, step, lines = AdviceWatch(POLICY), 0, list[Advice]()
    for further, gain, dead, trend in seen:
        step += further
        now = at(step, gain=gain, trend=trend, alerts=DEAD if dead else {}, total_steps=total)
        line = fold.update(now, time=float(step))
        assert fold.newest is not None
        assert fold.newest.items == advice(now, table=POLICY.advice)
        assert (fold.newest.step, fold.newest.time, fold.newest.policy) == (step, float(step), "default")
        if line is not None:
            assert line == fold.newest
            lines.append(line)
        assert substance(lines[-1].items) == substance(fold.newest.items)
    assert all(one.items != other.items for one, other in itertools.pairwise(lines))


@given(gains=st.lists(st.integers(10, 40), min_size=2, max_size=20), total=totals)
def test_numbers_alone_are_written_after_a_share_of_the_training(gains: list[int], total: int | None) -> None:
    fold, lines = AdviceWatch(POLICY), list[Advice]()
    for place, gain in enumerate(gains):
        line = fold.update(at(7 * place, gain=gain, total_steps=total), time=0.0)
        lines += [] if line is None else [line]
    for one, other in itertools.pairwise(lines):
        made = other.step or 0
        wait = max(DERIVED_STEPS, WRITTEN_SHARE * made) if total is None else max(LEAST_STEPS, WRITTEN_SHARE * total)
        assert made - (one.step or 0) >= wait


def test_the_end_is_written_if_anything_of_it_is_new_and_only_then() -> None:
    fold = AdviceWatch(POLICY)
    assert fold.update(at(100), time=1.0) is not None
    assert fold.update(at(101, gain=21), time=2.0) is None, "another number, a step later"
    ended = fold.update(at(102, ended=True), time=3.0)
    assert ended is not None
    assert ended.items[0].text.startswith("Ended at step 102.")
    assert fold.update(at(102, ended=True), time=4.0) is None
    again = fold.update(at(102, gain=22, ended=True), time=5.0)
    assert again is not None
    assert "22%" in again.items[0].text


@pytest.mark.parametrize(
    ("total", "age"), [(None, DERIVED_STEPS), (20_000, DERIVED_STEPS), (600, 12), (50, LEAST_STEPS), (0, LEAST_STEPS)]
)
def test_it_is_derived_anew_after_some_steps_and_sooner_in_a_short_training(total: int | None, age: int) -> None:
    fold = AdviceWatch(POLICY)
    assert fold.stale(0, total_steps=total), "there is none yet"
    fold.update(at(40), time=1.0)
    assert next(step for step in range(40, 200) if fold.stale(step, total_steps=total)) == 40 + age
    assert not fold.stale(10, total_steps=total), "steps that went back"
    assert age == DERIVED_STEPS or age == max(LEAST_STEPS, DERIVED_SHARE * (total or 0))

"""An alert has one id over its life, its states follow each other in one order only, and its count never falls."""

import itertools
import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.policy.alert_life import AT_ONCE, AlertLife
from barograph.policy.alert_tables import Life
from barograph.records import Alert
from barograph.records.alerts import AlertStateWord

NEXT: dict[AlertStateWord | None, set[AlertStateWord]] = {
    None: {"pending", "firing"},
    "pending": {"pending", "firing", "resolved"},
    "firing": {"firing", "recovering", "resolved"},
    "recovering": {"firing", "recovering", "resolved"},
    "resolved": {"pending", "firing", "resolved"},
}

Look = bool | None


def life(*, fire_after: int = 1, resolve_after: int = 3, cooldown_s: float = 60.0) -> AlertLife:
    ids = itertools.count(1)
    rule = Life(severity="warning", fire_after=fire_after, resolve_after=resolve_after, cooldown_s=cooldown_s)
    return AlertLife("loss_spike", "loss", rule, "Look at the batch.", "default", lambda: f"alert-{next(ids)}")


def seen(
    fold: AlertLife, step: int, time: float, subjects: tuple[str, ...] = (), *, again: bool = False
) -> Alert | None:
    return fold.seen(step, time, "It is so", f"at step {step}", {"value": 1.0}, subjects, again=again)


def looked(fold: AlertLife, looks: Iterable[Look], *, seconds: float = 1.0) -> list[Alert]:
    """The lines of one look after the other; None is a look that knew nothing."""
    lines = []
    for step, look in enumerate(looks, 1):
        line = None
        if look is None:
            fold.no_data()
        else:
            line = seen(fold, step, step * seconds) if look else fold.not_seen(step, step * seconds)
        if line is not None:
            lines.append(line)
    return lines


def states(lines: Iterable[Alert]) -> list[tuple[str, AlertStateWord, int]]:
    return [(line.id, line.state, line.count) for line in lines]


@given(
    looks=st.lists(st.sampled_from([True, True, False, None]), max_size=80),
    fire_after=st.integers(1, 4),
    resolve_after=st.integers(1, 4),
    cooldown_s=st.sampled_from([0.0, 3.0, 1e9]),
    seconds=st.sampled_from([0.0, 0.01, 1.0, 7.0]),
)
def test_states_follow_their_order_and_counts_never_fall(
    looks: list[Look], fire_after: int, resolve_after: int, cooldown_s: float, seconds: float
) -> None:
    fold = life(fire_after=fire_after, resolve_after=resolve_after, cooldown_s=cooldown_s)
    lines = looked(fold, looks, seconds=seconds)
    last = fold.end(1e6)
    lines += [last] if last is not None else []
    for _, group in itertools.groupby(lines, key=lambda line: line.id):
        before: Alert | None = None
        for line in group:
            assert line.state in NEXT[None if before is None else before.state]
            assert line.first_step is not None
            assert line.step is not None
            assert line.first_step <= line.step
            if before is not None:
                assert (line.count, line.first_step) >= (before.count, before.first_step)
                assert line.first_step == before.first_step
            before = line
    identities = [line.id for line in lines]
    assert identities == sorted(identities, key=lambda one: int(one.split("-")[1])), "an alert that ended came back"
    if fold.current is not None:
        assert lines[-1].count == fold.current.count, "the end told less than was counted"


@given(looks=st.lists(st.booleans(), max_size=60), fire_after=st.integers(1, 5))
def test_it_fires_only_when_seen_so_often_in_a_row(looks: list[bool], fire_after: int) -> None:
    fold = life(fire_after=fire_after, resolve_after=1)
    lines = looked(fold, looks)
    longest = max((len(list(group)) for value, group in itertools.groupby(looks) if value), default=0)
    assert any(line.state == "firing" for line in lines) == (longest >= fire_after)


@given(looks=st.lists(st.sampled_from([True, False, None]), max_size=40))
def test_what_nobody_knows_changes_no_alert(looks: list[Look]) -> None:
    known = [look for look in looks if look is not None]
    fold, other = life(fire_after=2), life(fire_after=2)
    lines, without = looked(fold, looks, seconds=0.0), looked(other, known, seconds=0.0)
    assert [line[1:] for line in states(lines)] == [line[1:] for line in states(without)]


def test_a_whole_life() -> None:
    fold = life(fire_after=2, resolve_after=2)
    words = [fold.word]
    for look in (True, True, False, True, False, False):
        looked(fold, [look])
        words.append(fold.word)
    assert words == ["ok", "pending", "firing", "recovering", "firing", "recovering", "ok"]
    lines = looked(life(fire_after=2, resolve_after=2), [True, True, False, True, False, False])
    assert states(lines) == [
        ("alert-1", "pending", 1),
        ("alert-1", "firing", 2),
        ("alert-1", "recovering", 2),
        ("alert-1", "firing", 3),
        ("alert-1", "recovering", 3),
        ("alert-1", "resolved", 3),
    ]
    first = lines[0]
    assert (first.level, first.category, first.policy) == ("warning", "loss", "default")
    assert (first.condition, first.recommendation) == ("loss_spike", "Look at the batch.")
    assert (lines[-1].first_step, lines[-1].step, lines[-1].text) == (1, 6, "at step 4")


def test_a_pending_one_that_goes_away_never_fired() -> None:
    lines = looked(life(fire_after=3), [True, True, False])
    assert states(lines) == [("alert-1", "pending", 1), ("alert-1", "resolved", 2)]


@pytest.mark.parametrize(("after_s", "identity", "count"), [(60.0, "alert-1", 2), (61.0, "alert-2", 1)])
def test_seen_again_within_the_cooldown_it_is_the_same_alert(after_s: float, identity: str, count: int) -> None:
    fold = life(resolve_after=1)
    seen(fold, 1, 0.0)
    resolved = fold.not_seen(2, 10.0)
    assert resolved is not None
    assert resolved.state == "resolved"
    again = seen(fold, 3, 10.0 + after_s)
    assert again is not None
    assert (again.id, again.state, again.count) == (identity, "firing", count)


def test_ten_thousand_steps_are_one_alert_with_a_count_and_few_lines() -> None:
    fold = life()
    lines = [line for step in range(10_000) if (line := seen(fold, step, step * 0.1)) is not None]
    last = fold.end(1000.0)
    assert last is not None
    assert {line.id for line in lines} == {"alert-1"}
    assert last.count == 10_000
    assert len(lines) < 50
    assert all(later.time - earlier.time >= 10.0 for earlier, later in itertools.pairwise(lines))
    assert fold.end(1001.0) is None, "the end is told once"


@pytest.mark.parametrize("seconds", [0.01, 1.0])
def test_a_condition_that_comes_and_goes_at_every_step_fills_no_disk(seconds: float) -> None:
    fold = life(resolve_after=1)
    lines = looked(fold, [step % 2 == 0 for step in range(10_000)], seconds=seconds)
    assert len(lines) <= AT_ONCE + 10_000 * seconds / 10.0 + 1
    last = fold.end(1e6) or lines[-1]
    assert (last.id, last.state, last.count) == ("alert-1", "resolved", 5_000)


def test_an_end_that_had_to_wait_is_told_before_a_new_alert() -> None:
    fold = life(resolve_after=1, cooldown_s=0.0)
    lines = looked(fold, [step % 2 == 0 for step in range(40)], seconds=0.0)
    assert [line.state for line in lines] == ["firing", "resolved"] * (AT_ONCE // 2)
    assert seen(fold, 41, 5.0) is None
    assert fold.not_seen(42, 5.0) is None
    ended = fold.not_seen(43, 15.0)
    assert ended is not None
    assert (ended.state, ended.id) == ("resolved", lines[-1].id)
    begun = seen(fold, 44, 16.0)
    assert begun is not None
    assert begun.id != ended.id


def test_first_subjects_are_told_at_once_and_the_same_sighting_counts_once() -> None:
    fold = life()
    first = seen(fold, 5, 0.0)
    more = seen(fold, 5, 0.1, ("layers.3",), again=True)
    assert first is not None
    assert more is not None
    assert (first.subjects, more.subjects, more.count, more.id) == ([], ["layers.3"], 1, first.id)
    many = life()
    line = seen(many, 1, 0.0, tuple(str(one) for one in range(100)))
    assert line is not None
    assert len(line.subjects) == 20


def word_of(fold: AlertLife) -> str:
    return fold.word


def test_without_data_the_alert_stays_open_and_an_error_is_no_alert() -> None:
    fold = life(resolve_after=1)
    seen(fold, 1, 0.0)
    fold.no_data()
    assert word_of(fold) == "no_data"
    assert [one.state for one in (fold.current,) if one is not None] == ["firing"]
    fold.not_seen(2, 1.0)
    assert word_of(fold) == "ok"
    assert not fold.open
    fold.error()
    fold.no_data()
    assert word_of(fold) == "error"


@pytest.mark.parametrize("look", [True, False])
def test_a_watcher_that_starts_again_goes_on_with_what_is_recorded(look: bool) -> None:
    first = life(resolve_after=1)
    line = seen(first, 7, 100.0)
    assert line is not None
    fold = life(resolve_after=1)
    fold.resume(line)
    assert fold.current == line
    after = seen(fold, 9, 200.0) if look else fold.not_seen(9, 200.0)
    assert after is not None
    assert (after.id, after.first_step, after.count) == (line.id, 7, 2 if look else 1)
    assert after.state == ("firing" if look else "resolved")
    resumed = life()
    resumed.resume(after)
    assert resumed.word == ("firing" if look else "ok")
    assert resumed.idle == (not look)


def test_a_clock_that_is_set_back_or_is_no_number_stops_nothing() -> None:
    fold = life(resolve_after=1)
    assert seen(fold, 1, math.nan) is not None
    assert fold.not_seen(2, math.nan) is not None
    back = life()
    seen(back, 1, 1e9)
    line = seen(back, 2, 5.0)
    assert line is not None
    assert line.count == 2

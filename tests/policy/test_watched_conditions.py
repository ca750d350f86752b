"""The lives of the conditions together: each has a word and, without one of its own, a reason; and those that are off
or have failed stay so."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.policy import Policy, load
from barograph.policy.checked import NOT_SEEN, SWITCHED_OFF, Checked, unknown
from barograph.policy.watched_conditions import CATEGORIES, NOT_YET, WatchedConditions, fired, life_of
from barograph.records import Alert
from barograph.records.alerts import AlertStateWord

POLICY = load("default")
BEGAN = 1.7e9
SEEN = Checked(seen=True, title="It is", text="It is so.", evidence={"loss": 1.0}, subjects=("a",))
NAMES = sorted(NOT_YET)


def conditions(policy: Policy = POLICY) -> WatchedConditions:
    ids = itertools.count(1)
    return WatchedConditions(policy, new_id=lambda: f"alert-{next(ids)}")


def switched_off(*names: str) -> Policy:
    tables = {name: replace(getattr(POLICY.alerts, name), enabled=False) for name in names}
    return replace(POLICY, alerts=replace(POLICY.alerts, **tables))


looks = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["seen", "not", "unknown", "failed"]), st.floats(0.0, 100.0)),
    max_size=40,
)


def looked(fold: WatchedConditions, seen: Iterable[tuple[str, str, float]]) -> None:
    time = BEGAN
    for step, (name, found, further) in enumerate(seen):
        time += further
        if found == "failed":
            fold.failed(name, "it broke")
        elif found == "unknown":
            fold.unknown(name, "nobody knows")
        else:
            fold.judge(name, SEEN if found == "seen" else NOT_SEEN, step=step, time=time)


@given(seen=looks)
def test_a_condition_has_a_reason_exactly_while_nothing_is_known_of_it(seen: list[tuple[str, str, float]]) -> None:
    fold = conditions()
    looked(fold, seen)
    words, reasons = fold.words(), fold.reasons()
    assert list(words) == list(NOT_YET)
    silent = {f"conditions.{name}" for name, word in words.items() if word in {"no_data", "error"}}
    assert set(reasons) == silent
    assert all(reasons.values())


@given(seen=looks)
def test_one_that_failed_stays_in_error_and_one_that_is_off_is_never_looked_for(
    seen: list[tuple[str, str, float]],
) -> None:
    broken, off = {name for name, found, _ in seen if found == "failed"}, NAMES[0]
    fold = conditions(switched_off(off))
    looked(fold, seen)
    for name in broken - {off}:
        assert (fold.words()[name], fold.reasons()[f"conditions.{name}"]) == ("error", "it broke")
    assert fold.off(off)
    assert not fold.off(NAMES[1])
    assert (fold.words()[off], fold.reasons()[f"conditions.{off}"]) == ("no_data", SWITCHED_OFF)
    assert off not in {one.condition for one in [*fold.lines, *fold.active]}


@given(seen=looks)
def test_the_open_alerts_are_those_of_the_lives_in_the_order_of_the_policy(seen: list[tuple[str, str, float]]) -> None:
    fold = conditions()
    looked(fold, seen)
    assert [one.condition for one in fold.active] == [name for name in NOT_YET if fold.current(name) is not None]
    assert all(one.state != "resolved" for one in fold.active)
    assert all((one.category, one.policy) == (CATEGORIES[one.condition], "default") for one in fold.active)
    assert len({one.id for one in fold.active}) == len(fold.active)


def test_a_change_of_a_word_is_noticed_once_and_what_stays_is_none() -> None:
    fold = conditions()
    assert fold.changed, "at first nobody was told anything"
    fold.changed = False
    fold.judge("masked_loss", NOT_SEEN, step=1, time=BEGAN)
    assert (fold.changed, fold.words()["masked_loss"]) == (True, "ok")
    fold.changed = False
    fold.judge("masked_loss", NOT_SEEN, step=2, time=BEGAN)
    assert not fold.changed
    fold.judge("masked_loss", unknown("it cannot be told"), step=3, time=BEGAN)
    assert (fold.changed, fold.reasons()["conditions.masked_loss"]) == (True, "it cannot be told")
    assert fold.lines == []


def test_the_step_and_the_words_of_what_was_found_stand_before_those_of_the_table() -> None:
    fold = conditions()
    fold.judge("non_finite_loss", replace(SEEN, step=77, recommendation="Do that."), step=99, time=BEGAN)
    fold.judge("masked_loss", SEEN, step=99, time=BEGAN)
    own, general = fold.lines
    assert (own.step, own.recommendation, own.title, own.subjects) == (77, "Do that.", "It is", ["a"])
    assert (general.step, general.recommendation) == (99, POLICY.alerts.masked_loss.recommendation)
    assert fold.goes_on("masked_loss", BEGAN + 1e6)
    assert not fold.goes_on("loss_spike", BEGAN)


def test_what_is_known_further_of_a_step_is_not_counted_again() -> None:
    fold = conditions()
    fold.judge("non_finite_loss", SEEN, step=1, time=BEGAN)
    fold.judge("non_finite_loss", SEEN, step=1, time=BEGAN, again=True)
    assert [one.count for one in fold.active] == [1]
    fold.judge("non_finite_loss", SEEN, step=2, time=BEGAN)
    assert [one.count for one in fold.active] == [2]


def test_at_the_end_counts_that_were_not_written_are() -> None:
    fold = conditions()
    for step in range(30):
        fold.judge("non_finite_loss", SEEN, step=step, time=BEGAN)
    assert [one.count for one in fold.lines] == [1]
    fold.lines = []
    fold.end(BEGAN + 1)
    assert [one.count for one in fold.lines] == [30]


@pytest.mark.parametrize("name", sorted(CATEGORIES))
def test_a_life_is_that_of_the_policys_table(name: str) -> None:
    life = life_of(name, POLICY, new_id=lambda: "one")
    table = getattr(POLICY.alerts, name)
    lines = [life.seen(step, BEGAN, "T", "t", {}) for step in range(table.life.fire_after)]
    alert = lines[-1]
    assert alert is not None
    assert (alert.state, alert.level, alert.recommendation) == ("firing", table.life.severity, table.recommendation)
    assert all(one is None or one.state == "pending" for one in lines[:-1])


def test_alerts_that_fire_or_recover_have_fired() -> None:
    states: tuple[AlertStateWord, ...] = ("pending", "firing", "recovering", "resolved")
    every = [Alert(time=1.0, title="T", condition=state, state=state) for state in states]
    assert set(fired(every)) == {"firing", "recovering"}

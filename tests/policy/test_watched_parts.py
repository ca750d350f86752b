"""The parts of the watch and what hangs on each: nothing twice, nothing that does not exist, nothing left out."""

import itertools

import pytest

from barograph.policy import load, watched_parts
from barograph.policy.training_watch import TrainingWatch
from barograph.policy.watched_conditions import NOT_YET
from barograph.records import Signals

BEGAN = 1.7e9


def test_every_condition_that_is_watched_is_looked_for_by_one_part() -> None:
    looked_for = list(itertools.chain.from_iterable(watched_parts.CONDITIONS.values()))
    assert sorted(looked_for) == sorted(NOT_YET)
    assert len(set(looked_for)) == len(looked_for)


def test_every_field_of_a_part_is_one_that_may_be_unknown_and_of_no_other_part() -> None:
    fields = list(itertools.chain.from_iterable(watched_parts.FIELDS.values()))
    assert len(set(fields)) == len(fields)
    empty = Signals(step=0, time=0.0)
    for field in set(fields) - {"advice"}:
        assert getattr(empty, field) in {None, "unknown"}


def test_what_is_missing_takes_only_conditions_that_are_watched() -> None:
    for conditions in watched_parts.WITHOUT.values():
        assert set(conditions) <= set(NOT_YET)
    for what in set(watched_parts.WITHOUT) - {"layers", "hardware"}:
        assert what in Signals.__struct_fields__


@pytest.mark.parametrize("what", sorted(watched_parts.WITHOUT))
def test_the_reason_why_something_is_not_measured_is_that_of_its_conditions(what: str) -> None:
    fold = TrainingWatch(load())
    fold.unavailable(what, "nobody measures it here")
    told = fold.signals(0, BEGAN)
    assert {name for name in told.conditions if told.why[f"conditions.{name}"] == "nobody measures it here"} == set(
        watched_parts.WITHOUT[what]
    )
    assert set(told.conditions.values()) == {"no_data"}


def test_every_field_that_is_null_at_first_has_a_part_or_a_reason_of_its_own() -> None:
    told = TrainingWatch(load()).signals(0, BEGAN)
    missing = [name for name in Signals.__struct_fields__ if getattr(told, name) is None]
    assert missing
    assert all(told.why[name] for name in missing)

"""Learned means better than before and better than a constant answer; where that cannot be told, it is said."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.policy import Policy, exact_match_gain, load
from barograph.records import ExactMatch


def policy(*, min_gain: float = 0.4, min_items: int = 100) -> Policy:
    ours = load()
    table = msgspec.structs.replace(ours.exact_match_gain, min_gain=min_gain, min_items=min_items)
    return msgspec.structs.replace(ours, exact_match_gain=table)


def match(step: int, correct: int, n: int = 100, *, probe_set: str = "p", constant: int = 0) -> ExactMatch:
    return ExactMatch(
        step=step,
        time=1.0,
        checkpoint=f"checkpoint-{step}",
        probe_set=probe_set,
        task="syllo",
        level="easy",
        regime="plain",
        correct=correct,
        n=n,
        exact_match=correct / n,
        base_rate=constant / n,
        low=0.0,
        high=1.0,
        confidence=0.95,
    )


@pytest.mark.parametrize(
    ("first", "newest", "word"),
    [
        (None, None, "SKIP"),
        (match(1, 30), None, "SKIP"),
        (None, match(2, 100), "SKIP"),
        (match(1, 30), match(1, 100), "SKIP"),
        (match(2, 30), match(1, 100), "SKIP"),
        (match(1, 0), match(2, 100), "PASS"),
        (match(1, 30), match(2, 70), "PASS"),
        (match(1, 30), match(2, 69), "FAIL"),
        (match(1, 70), match(2, 30), "FAIL"),
        (match(1, 100), match(2, 100), "FAIL"),
        (match(1, 0), match(2, 60, constant=50), "FAIL"),
        (match(1, 0), match(2, 90, constant=50), "PASS"),
        (match(1, 0, 99), match(2, 99, 99), "SKIP"),
        (match(1, 0, 10), match(2, 100), "SKIP"),
        (match(1, 0), match(2, 10, 10), "SKIP"),
        (match(1, 0, probe_set="q"), match(2, 100), "ERROR"),
    ],
)
def test_the_ladder(first: ExactMatch | None, newest: ExactMatch | None, word: str) -> None:
    found = exact_match_gain(first, newest, policy=policy(), now=12.5)
    assert found.verdict == word, found.message
    assert found.name == "exact_match_gain"
    assert found.policy == "default"
    assert found.time == 12.5
    assert found.thresholds == {"min_gain": 0.4, "min_items": 100.0}


def test_the_message_and_the_numbers_say_what_was_compared() -> None:
    found = exact_match_gain(match(10, 30), match(20, 70, constant=20), policy=policy(), now=0.0)
    assert found.subject == "syllo easy"
    assert found.message == (
        "exact match 0.30 at step 10, 0.70 [0.00, 1.00] at step 20 (n = 100); a constant answer scores 0.20"
    )
    assert found.numbers == {"first": 0.3, "newest": 0.7, "base_rate": 0.2, "gain": 0.4, "n": 100.0}
    few = exact_match_gain(match(10, 3, 10), match(20, 7, 10), policy=policy(), now=0.0)
    assert few.message.endswith("; fewer than 100 probes")
    other = exact_match_gain(match(10, 3, probe_set="q"), match(20, 7), policy=policy(), now=0.0)
    assert "checkpoint-10 and checkpoint-20 answered different probe sets" in other.message
    assert other.numbers == {}


@settings(deadline=None)
@given(first=st.integers(0, 100), newest=st.integers(0, 100), constant=st.integers(0, 100), percent=st.integers(0, 100))
def test_the_threshold_is_met_exactly_where_the_counts_meet_it(
    first: int, newest: int, constant: int, percent: int
) -> None:
    found = exact_match_gain(
        match(1, first), match(2, newest, constant=constant), policy=policy(min_gain=percent / 100), now=0.0
    )
    assert (found.verdict == "PASS") == (newest - max(first, constant) >= percent)
    assert found.numbers["gain"] == float(Fraction(newest - max(first, constant), 100))

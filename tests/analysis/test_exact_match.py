"""Laws of the exact match and its interval, and scipy as their oracle."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from barograph.analysis import exact_match, wilson_interval
from barograph.errors import UsageError
from barograph.records import Answer


def answer(probe: str, *, correct: bool, step: int = 1, level: str = "easy", golden: str = "x") -> Answer:
    return Answer(
        step=step,
        time=0.0,
        checkpoint=f"checkpoint-{step}",
        probe_set="p",
        probe=probe,
        task="syllo",
        level=level,
        regime="plain_sft",
        answer="x",
        golden=golden,
        correct=correct,
        tokens=1,
        generation_ms=1.0,
    )


@given(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_interval_is_that_of_scipy(counts: tuple[int, int], confidence: float) -> None:
    correct, n = counts
    wanted = binomtest(correct, n).proportion_ci(confidence_level=confidence, method="wilson")
    found = wilson_interval(correct, n, confidence=confidence)
    assert found.low == pytest.approx(wanted.low, abs=1e-12)
    assert found.high == pytest.approx(wanted.high, abs=1e-12)
    assert 0.0 <= found.low <= correct / n <= found.high <= 1.0


def test_the_interval_reaches_zero_and_one_exactly() -> None:
    assert wilson_interval(0, 7, confidence=0.95).low == 0.0
    assert wilson_interval(7, 7, confidence=0.95).high == 1.0


@pytest.mark.parametrize(("correct", "n", "confidence"), [(0, 0, 0.95), (2, 1, 0.95), (-1, 1, 0.95), (1, 2, 1.0)])
def test_an_interval_that_cannot_be_is_refused(correct: int, n: int, confidence: float) -> None:
    with pytest.raises(UsageError, match="no interval exists"):
        wilson_interval(correct, n, confidence=confidence)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["easy", "hard"]), st.booleans()), max_size=50))
def test_every_answer_counts_once_in_its_group(given_answers: list[tuple[int, str, bool]]) -> None:
    answers = [
        answer(f"p{place}", correct=correct, step=step, level=level)
        for place, (step, level, correct) in enumerate(given_answers)
    ]
    found = exact_match(answers, confidence=0.95, time=9.0)
    asked = Counter((step, level) for step, level, _ in given_answers)
    right = Counter((step, level) for step, level, correct in given_answers if correct)
    assert {(one.step, one.level): (one.n, one.correct) for one in found} == {
        key: (asked[key], right[key]) for key in asked
    }
    assert [(one.step, one.level) for one in found] == sorted(asked)
    assert all(one.exact_match == one.correct / one.n and one.time == 9.0 for one in found)


def test_no_answers_give_no_record() -> None:
    assert exact_match([], confidence=0.95, time=0.0) == []


def test_a_probe_that_was_answered_twice_counts_with_its_last_answer() -> None:
    (found,) = exact_match([answer("p", correct=True), answer("p", correct=False)], confidence=0.95, time=0.0)
    assert (found.n, found.correct) == (1, 0)


@given(st.lists(st.sampled_from(["yes", "no", "cannot determine"]), min_size=1, max_size=40))
def test_the_base_rate_is_what_the_best_constant_answer_scores(goldens: list[str]) -> None:
    answers = [answer(f"p{place}", correct=False, golden=golden) for place, golden in enumerate(goldens)]
    (found,) = exact_match(answers, confidence=0.95, time=0.0)
    assert found.base_rate == max(goldens.count(constant) for constant in goldens) / len(goldens)

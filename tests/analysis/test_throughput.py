"""Throughput: n steps have n durations, and every rate is a ratio of sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.throughput import StepTiming, Throughput, ThroughputRule, TokensSeen

RULE = ThroughputRule(
    window=50,
    ema_alpha=0.1,
    baseline_steps=20,
    trend_min_steps=20,
    trend_share=0.10,
    warm_up_steps=5,
    judged_steps=50,
)


def timing(tokens: float | None, seconds: float = 1.0) -> StepTiming:
    return StepTiming(tokens=tokens, seconds=seconds)


def fold(timings: list[StepTiming], rule: ThroughputRule = RULE) -> Throughput:
    found = Throughput(rule)
    for step, one in enumerate(timings, start=1):
        found.update(step, 1000.0 + step, one)
    return found


@given(st.integers(1, 60), st.floats(1.0, 1e6), st.floats(1e-3, 100.0))
def test_a_steady_run_has_its_rate_from_the_first_step_on(steps: int, tokens: float, seconds: float) -> None:
    found = fold([timing(tokens, seconds)] * steps)
    rate = pytest.approx(tokens / seconds, rel=1e-9)
    assert [found.current, found.ema, found.average] == [rate, rate, rate]
    assert found.seconds_per_step == pytest.approx(seconds, rel=1e-9)


@given(st.lists(st.tuples(st.floats(0.0, 1e5), st.floats(0.01, 10.0)), min_size=1, max_size=200))
def test_rates_are_sums_of_tokens_over_sums_of_seconds(steps: list[tuple[float, float]]) -> None:
    found = fold([timing(tokens, seconds) for tokens, seconds in steps])
    newest = steps[-RULE.window :]
    assert found.average == pytest.approx(sum(one[0] for one in steps) / sum(one[1] for one in steps))
    assert found.current == pytest.approx(sum(one[0] for one in newest) / sum(one[1] for one in newest))


def test_the_moving_average_weighs_steps_by_their_time() -> None:
    found = fold([timing(100.0, 1.0), timing(100.0, 3.0)])
    assert found.ema == pytest.approx((0.9 * 100.0 + 100.0) / (0.9 * 1.0 + 3.0))


def test_the_baseline_is_a_median_after_the_warm_up_and_stays() -> None:
    slow, usual, one_slow = [timing(10.0)] * 5, [timing(100.0)] * 19, [timing(1.0)]
    found = fold([*slow, *usual])
    assert found.baseline is None
    assert found.reasons()["tokens_per_sec_baseline"] == "19 of 20 steps after the first 5"
    found = fold([*slow, *usual, *one_slow, *[timing(50.0)] * 100])
    assert found.baseline == 100.0


@pytest.mark.parametrize(
    ("older", "newer", "word"),
    [(100.0, 100.0, "stable"), (100.0, 109.0, "stable"), (100.0, 115.0, "improving"), (100.0, 85.0, "degrading")],
)
def test_the_trend_compares_the_halves_of_the_window(older: float, newer: float, word: str) -> None:
    found = fold([*[timing(1.0)] * 5, *[timing(older)] * 25, *[timing(newer)] * 25])
    assert found.trend == word


def test_the_warm_up_is_no_trend_and_too_few_steps_have_none() -> None:
    assert fold([timing(1.0)] * 24).trend == "unknown"
    assert fold([*[timing(1.0)] * 5, *[timing(100.0)] * 20]).trend == "stable"


def test_steps_without_tokens_count_for_seconds_and_for_no_rate() -> None:
    found = fold([timing(None, 2.0)] * 30)
    assert (found.current, found.ema, found.average, found.baseline) == (None, None, None, None)
    assert found.seconds_per_step == 2.0
    assert found.reasons()["tokens_per_sec"] == "the tokens of the steps are not known"
    assert "seconds_per_step" not in found.reasons()
    mixed = fold([timing(100.0, 1.0), timing(None, 9.0), timing(300.0, 1.0)])
    assert mixed.current == 200.0


@given(st.sampled_from([math.nan, math.inf, -1.0]))
def test_what_is_no_number_changes_nothing_and_is_counted(bad: float) -> None:
    clean, dirty = fold([timing(100.0)] * 30), fold([*[timing(100.0)] * 15, timing(5.0, bad), *[timing(100.0)] * 15])
    assert (dirty.current, dirty.ema, dirty.average) == (clean.current, clean.ema, clean.average)
    assert (dirty.steps, dirty.left_out) == (30, 1)
    assert fold([timing(bad), timing(100.0)]).average == 100.0


def test_shares_are_those_of_the_time_of_the_steps_that_say_so() -> None:
    split = StepTiming(tokens=1.0, seconds=4.0, data_wait_s=1.0, forward_backward_s=2.0, optimizer_s=0.5)
    found = fold([split, split, timing(1.0, 100.0)])
    assert found.data_wait_share == pytest.approx(0.25)
    assert found.forward_backward_share == pytest.approx(0.5)
    assert found.optimizer_share == pytest.approx(0.125)
    silent = fold([timing(1.0)])
    assert silent.data_wait_share is None
    assert silent.reasons()["data_wait_share"] == "the steps do not say how their time was spent"


def test_the_time_that_is_left_is_that_of_the_steps_that_are_left() -> None:
    found = fold([timing(1.0, 2.0)] * 10)
    assert found.eta_s(100, 10) == pytest.approx(180.0)
    assert found.eta_s(10, 10) == 0.0
    assert found.eta_s(5, 10) == 0.0
    assert found.eta_s(None, 10) is None
    assert found.reasons()["eta_s"] == "the number of planned steps is not known"
    assert "eta_s" not in found.reasons(total_steps=100)


def test_before_the_first_step_everything_is_null_with_a_reason() -> None:
    empty = Throughput(RULE)
    assert (empty.current, empty.seconds_per_step, empty.eta_s(10, 0), empty.trend) == (None, None, None, "unknown")
    assert set(empty.reasons().values()) == {"no step has been timed yet"}


def test_samples_are_the_newest_steps() -> None:
    found = fold([timing(float(step)) for step in range(1, 101)])
    samples = found.samples()
    assert [one.step for one in samples] == list(range(41, 101))
    assert (samples[-1].time, samples[-1].tokens_per_sec) == (1100.0, 100.0)


def test_counts_beyond_what_a_double_can_sum_are_not_known_and_stop_nothing() -> None:
    found = fold([timing(1.7e308, 1e-3)] * 100)
    assert (found.current, found.average, found.ema) == (None, None, None)
    assert found.seconds_per_step == pytest.approx(1e-3)


@given(st.lists(st.tuples(st.floats(1.0, 1e5), st.floats(0.01, 10.0)), min_size=55, max_size=120))
def test_the_time_of_a_token_is_a_median_of_the_newest_steps_and_above_its_bound(
    steps: list[tuple[float, float]],
) -> None:
    found = fold([timing(tokens, seconds) for tokens, seconds in steps])
    usual, surer = found.token_time(confidence=0.5), found.token_time(confidence=0.95)
    assert usual is not None
    assert surer is not None
    times = sorted(seconds / tokens for tokens, seconds in steps[-50:])
    assert usual.median == surer.median == (times[24] + times[25]) / 2.0
    assert surer.least <= usual.least <= usual.median
    assert sum(one < surer.least for one in times) <= 50 / 2 - 1.64 * math.sqrt(50) / 2


def test_the_bound_is_below_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    below = 0
    for _ in range(400):
        found = fold([timing(1000.0, one) for one in np.exp(random.standard_normal(60)).tolist()])
        usual = found.token_time(confidence=0.9)
        assert usual is not None
        below += usual.least < 1e-3
    assert 0.85 < below / 400 < 0.97


def test_too_few_steps_have_no_usual_time_of_a_token() -> None:
    assert fold([timing(1.0)] * 54).token_time(confidence=0.9) is None
    assert fold([timing(0.0)] * 100).token_time(confidence=0.9) is None, "no token was trained on"


def counted(every: int, steps: int, tokens: float = 100.0, *, own: float | None = None) -> Throughput:
    """Steps of a second whose tokens are counted all together every so many of them."""
    found = Throughput(RULE)
    for step in range(1, steps + 1):
        found.update(step, 1000.0 + 7.0 * step, timing(own))
        if step % every == 0:
            found.count(TokensSeen(step, 1000.0 + 7.0 * step, tokens * step))
    return found


@given(every=st.integers(1, 120), steps=st.integers(1, 400))
def test_tokens_that_are_counted_now_and_then_are_those_of_the_steps_between(every: int, steps: int) -> None:
    found = counted(every, steps)
    assert found.seconds_per_step == 1.0
    if steps < 2 * every:
        assert (found.current, found.average) == (None, None), "the first count says nothing of how many were before"
        return
    assert found.average == pytest.approx(100.0)
    if steps % every < RULE.window:
        assert found.current == pytest.approx(100.0)
    assert found.steps == steps
    assert found.baseline in (None, 100.0)


def test_the_rates_of_counted_tokens_are_of_active_time_and_their_samples_too() -> None:
    found = counted(10, 200)
    assert (found.current, found.baseline, found.trend) == (100.0, 100.0, "stable")
    assert found.ema == pytest.approx(100.0)
    assert {one.tokens_per_sec for one in found.samples()[:50]} <= {100.0, None}
    assert found.samples()[-1].tokens_per_sec == 100.0
    judged = found.token_time(confidence=0.8)
    assert judged is not None
    assert judged.median == pytest.approx(0.01)


def test_a_count_says_nothing_beside_steps_that_say_their_own_tokens() -> None:
    assert counted(10, 200, own=30.0).average == 30.0


def test_without_any_timed_step_the_pace_is_that_between_the_counts() -> None:
    found = Throughput(RULE)
    assert not found.count(TokensSeen(10, 1000.0, 500.0))
    assert found.count(TokensSeen(20, 1005.0, 1500.0))
    assert (found.current, found.seconds_per_step) == (200.0, 0.5)
    for seen in (TokensSeen(20, 1006.0, 1600.0), TokensSeen(30, 1006.0, 1.0), TokensSeen(40, None, 10.0)):
        assert not found.count(seen)

"""The times of steps: n steps have n durations, and what belongs to no step is in none."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect import step_times
from barograph.collect.step_times import StepTimes


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


SPANS = st.lists(st.tuples(*[st.floats(0.001, 10.0)] * 7), min_size=1, max_size=8)


@given(SPANS)
def test_the_durations_are_those_of_the_parts_and_pauses_are_in_none(steps: list[tuple[float, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(step_times, "time", clock)
        times = StepTimes()
        found = []
        for wait, begins, passes, clips, optimizer, ends, pause in steps:
            times.data_asked()
            clock.now += wait
            times.data_there()
            clock.now += begins
            times.micro_batch()
            clock.now += passes / 2
            times.micro_batch()
            clock.now += passes / 2
            times.clips()
            clock.now += clips
            found.append(times.optimizer_begins(batch_size=4, sequence_length=8))
            clock.now += optimizer
            times.optimizer_ends()
            clock.now += ends
            times.step_ends()
            clock.now += pause
        assert len(found) == len(steps)
        for timing, step in zip(found, steps, strict=True):
            assert timing is not None
            assert timing.data_wait_s == pytest.approx(step[0])
            assert timing.forward_backward_s == pytest.approx(step[2])
            assert (timing.batch_size, timing.sequence_length, timing.tokens) == (4, 8, None)
        first = found[0]
        assert first is not None
        assert first.optimizer_s is None
        assert first.seconds == pytest.approx(steps[0][0] + steps[0][2] + steps[0][3])
        for timing, before, step in zip(found[1:], steps, steps[1:], strict=False):
            assert timing is not None
            assert timing.optimizer_s == pytest.approx(before[4])
            assert timing.seconds == pytest.approx(step[0] + step[2] + step[3] + before[4] + before[5])


def test_the_seconds_of_a_whole_training_are_its_wall_time_without_the_pauses() -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(step_times, "time", clock)
        times = StepTimes()
        total = 0.0
        for pause in (0.0, 50.0, 0.0):
            times.data_asked()
            clock.now += 1.0
            times.data_there()
            times.micro_batch()
            clock.now += 2.0
            timing = times.optimizer_begins()
            assert timing is not None
            total += timing.seconds
            clock.now += 3.0
            times.optimizer_ends()
            times.step_ends()
            clock.now += pause
        assert total == pytest.approx(3 * 6.0 - 3.0)  # the last optimizer's step belongs to a step that never came


def test_a_step_that_was_not_seen_whole_has_no_times() -> None:
    assert StepTimes().optimizer_begins() is None


def test_a_window_without_a_step_is_in_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(step_times, "time", clock)
    times = StepTimes()
    for lost in (True, False):
        times.data_asked()
        clock.now += 1.0
        times.data_there()
        times.micro_batch()
        clock.now += 7.0 if lost else 2.0
        if lost:
            times.window_is_lost()
    timing = times.optimizer_begins()
    assert timing is not None
    assert timing.seconds == pytest.approx(3.0)


def test_marks_out_of_order_raise_nothing() -> None:
    acts = ("data_asked", "data_there", "micro_batch", "clips", "optimizer_begins", "optimizer_ends", "step_ends")
    for order in itertools.permutations(acts, 3):
        times = StepTimes()
        for act in order:
            getattr(times, act)()
        assert times.optimizer_begins() is None or "micro_batch" in order

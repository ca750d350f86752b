"""Laws of the run state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis import WriterSigns, run_state

LIMIT = 15.0


def signs(
    *,
    silent_s: float = 0.0,
    ended: bool = False,
    exit_code: int | None = None,
    paused_at: float | None = None,
    end_reason: str | None = None,
    pause_reason: str | None = None,
) -> WriterSigns:
    return WriterSigns(
        attempt=2,
        began=100.0,
        silent_s=silent_s,
        last_time=200.0,
        paused_at=paused_at,
        pause_reason=pause_reason,
        ended_at=300.0 if ended else None,
        exit_code=exit_code,
        end_reason=end_reason,
    )


def test_a_silent_log_of_another_tool_is_idle_and_not_crashed() -> None:
    silent = replace(signs(silent_s=3600.0), imported="table")
    found = run_state(silent, crashed_after_s=15.0)
    assert found.state == "idle"
    assert "does not say how training ended" in found.reason
    assert run_state(replace(silent, silent_s=1.0), crashed_after_s=15.0).state == "training"
    assert run_state(replace(silent, ended_at=1.0, exit_code=0), crashed_after_s=15.0).state == "completed"


def test_without_an_attempt_a_run_is_idle() -> None:
    state = run_state(None, crashed_after_s=LIMIT)
    assert (state.state, state.since) == ("idle", None)
    assert state.reason == "No training attempt has been made"


@given(st.floats(0.0, LIMIT))
def test_a_writer_that_is_heard_is_training(silent_s: float) -> None:
    state = run_state(signs(silent_s=silent_s), crashed_after_s=LIMIT)
    assert (state.state, state.since) == ("training", 100.0)


@given(st.floats(LIMIT, 1e9, exclude_min=True), st.one_of(st.none(), st.just(150.0)))
def test_silence_beats_everything_but_a_completion(silent_s: float, paused_at: float | None) -> None:
    state = run_state(signs(silent_s=silent_s, paused_at=paused_at), crashed_after_s=LIMIT)
    assert (state.state, state.since) == ("crashed", 200.0)
    assert ("while paused" in state.reason) == (paused_at is not None)


@given(st.floats(0.0, 1e9), st.one_of(st.none(), st.just(150.0)))
def test_a_completion_beats_silence_and_pause(silent_s: float, paused_at: float | None) -> None:
    for exit_code in (0, None):
        found = signs(silent_s=silent_s, paused_at=paused_at, ended=True, exit_code=exit_code)
        state = run_state(found, crashed_after_s=LIMIT)
        assert (state.state, state.since) == ("completed", 300.0)


@pytest.mark.parametrize(
    ("exit_code", "why", "said"),
    [
        (0, None, "Attempt 2 said that it completed"),
        (0, "the loss is low enough", "Attempt 2 said that it completed: the loss is low enough"),
        (None, None, "Attempt 2 ended without saying whether it succeeded"),
        (
            None,
            "the process ended without finish()",
            "Attempt 2 ended without saying whether it succeeded: the process ended without finish()",
        ),
    ],
)
def test_an_end_that_nobody_judged_is_told_from_success(exit_code: int | None, why: str | None, said: str) -> None:
    state = run_state(signs(ended=True, exit_code=exit_code, end_reason=why), crashed_after_s=LIMIT)
    assert (state.state, state.reason) == ("completed", said)


def test_a_completion_with_an_error_is_a_crash_and_says_what_happened() -> None:
    state = run_state(signs(ended=True, exit_code=1, end_reason="ValueError: x"), crashed_after_s=LIMIT)
    assert (state.state, state.since) == ("crashed", 300.0)
    assert state.reason == "Attempt 2 ended with exit code 1: ValueError: x"


@pytest.mark.parametrize(("why", "said"), [(None, "Attempt 2 was paused"), ("lunch", "Attempt 2 was paused: lunch")])
def test_only_a_pause_record_makes_a_run_paused(why: str | None, said: str) -> None:
    state = run_state(signs(paused_at=150.0, pause_reason=why), crashed_after_s=LIMIT)
    assert (state.state, state.since, state.reason) == ("paused", 150.0, said)

"""What a dead or hanging process cannot say of itself."""

import pytest
from msgspec.structs import replace

from barograph.analysis.run_state import RunState
from barograph.policy import load
from barograph.policy.run_conditions import run_crashed, run_silent
from barograph.records.quantities import RunStateWord

TABLE = load("contract").alerts.run_silent
CRASHED = load("contract").alerts.run_crashed


def state(word: RunStateWord) -> RunState:
    return RunState(state=word, since=None, reason=f"It is {word}")


@pytest.mark.parametrize(
    ("since", "usual", "seen"),
    [
        (600.0, None, False),
        (601.0, None, True),
        (601.0, 30.0, True),
        (601.0, 31.0, False),
        (1300.0, 60.0, True),
        (None, 1.0, None),
    ],
)
def test_a_run_is_silent_after_so_long_and_so_many_steps(
    since: float | None, usual: float | None, seen: bool | None
) -> None:
    found = run_silent(state("training"), step=7, since_step_s=since, seconds_per_step=usual, table=TABLE)
    assert found.seen is seen
    if seen:
        assert "Its newest step is 7" in found.text


@pytest.mark.parametrize(
    ("word", "silent", "crashed"),
    [
        ("training", True, False),
        ("paused", False, False),
        ("completed", False, False),
        ("crashed", False, True),
        ("idle", None, None),
    ],
)
def test_only_a_living_run_is_silent_and_only_a_dead_one_crashed(
    word: RunStateWord, silent: bool | None, crashed: bool | None
) -> None:
    found = run_silent(state(word), step=None, since_step_s=1e6, seconds_per_step=None, table=TABLE)
    assert found.seen is silent
    assert run_crashed(state(word), step=9, silent_s=20.0).seen is crashed


def test_what_the_policy_switches_off_is_not_looked_for() -> None:
    silent = run_silent(
        state("training"), step=1, since_step_s=1e6, seconds_per_step=None, table=replace(TABLE, enabled=False)
    )
    crashed = run_crashed(state("crashed"), step=1, silent_s=20.0, table=replace(CRASHED, enabled=False))
    for found in (silent, crashed):
        assert (found.seen, found.reason) == (None, "switched off by the policy")
    assert run_crashed(state("crashed"), step=1, silent_s=20.0, table=CRASHED).seen


def test_a_span_is_said_as_people_do() -> None:
    titles = [
        run_silent(state("training"), step=1, since_step_s=since, seconds_per_step=None, table=TABLE).title
        for since in (700.0, 10_000.0)
    ]
    assert titles == ["No step for 12 min", "No step for 2.8 h"]
    assert run_crashed(state("crashed"), step=9, silent_s=20.0).title == "The training crashed after step 9"

"""Laws of what is shown when attempts overlap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis import AttemptSteps, begins_at, shown_until

LOGS = st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=4)
"""Per attempt, the steps that it logged, in any order."""


def attempt(number: int, *, rows: list[int], losses: list[int]) -> AttemptSteps:
    """An attempt that logged a loss at `losses` and other metrics at `rows`."""
    steps = rows + losses
    return AttemptSteps(
        attempt=number,
        first_step=min(steps, default=None),
        last_step=max(steps, default=None),
        first_loss=min(losses, default=None),
    )


def cuts(logs: list[list[int]]) -> dict[int, int]:
    return shown_until(
        [
            AttemptSteps(
                attempt=number,
                first_step=min(steps, default=None),
                last_step=max(steps, default=None),
                first_loss=min(steps, default=None),
            )
            for number, steps in enumerate(logs, start=1)
        ]
    )


def shown(logs: list[list[int]]) -> list[tuple[int, int, int]]:
    """(step, attempt, place in its attempt) of every shown point."""
    limits = cuts(logs)
    points = [(step, number, place) for number, steps in enumerate(logs, start=1) for place, step in enumerate(steps)]
    return sorted(point for point in points if point[0] < limits.get(point[1], 10**9))


@settings(deadline=None)
@given(LOGS)
def test_a_point_is_shown_unless_a_newer_attempt_had_begun_by_its_step(logs: list[list[int]]) -> None:
    wanted = [
        (step, number, place)
        for number, steps in enumerate(logs, start=1)
        for place, step in enumerate(steps)
        if all(step < min(newer, default=31) for newer in logs[number:])
    ]
    assert shown(logs) == sorted(wanted)


@settings(deadline=None)
@given(LOGS)
def test_each_step_shows_one_attempt_only(logs: list[list[int]]) -> None:
    seen: dict[int, int] = {}
    for step, attempt, _ in shown(logs):
        assert seen.setdefault(step, attempt) == attempt


@settings(deadline=None)
@given(LOGS)
def test_the_newest_attempt_that_logged_anything_is_shown_whole(logs: list[list[int]]) -> None:
    newest = max((number for number, steps in enumerate(logs, start=1) if steps), default=0)
    kept = [step for step, attempt, _ in shown(logs) if attempt == newest]
    assert kept == (sorted(logs[newest - 1]) if newest else [])


def test_a_third_attempt_shorter_than_the_second_leaves_no_ghost_tail() -> None:
    logs = [list(range(100)), list(range(60, 150)), list(range(80, 90))]
    assert [(step, attempt) for step, attempt, _ in shown(logs)] == [
        *((step, 1) for step in range(60)),
        *((step, 2) for step in range(60, 80)),
        *((step, 3) for step in range(80, 90)),
    ]
    assert cuts(logs) == {1: 60, 2: 80}


def test_an_attempt_that_logged_nothing_hides_nothing() -> None:
    assert cuts([[1, 2], []]) == {}


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=5), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_an_attempt_begins_at_its_first_loss_whatever_else_it_logged(rows: list[int], losses: list[int]) -> None:
    assert begins_at(attempt(2, rows=rows, losses=losses)) == min(losses)


def test_a_row_of_metrics_at_the_resume_step_hides_nothing_before_and_after_the_first_loss() -> None:
    older = attempt(1, rows=[], losses=[1, 2, 3, 4, 5, 6])
    assert shown_until([older, attempt(2, rows=[4], losses=[])]) == {}
    assert shown_until([older, attempt(2, rows=[4, 4], losses=[])]) == {}
    assert shown_until([older, attempt(2, rows=[4], losses=[5, 6])]) == {1: 5}


@settings(deadline=None)
@given(st.sets(st.integers(0, 9), min_size=2))
def test_an_attempt_that_goes_on_without_any_loss_begins_at_its_first_step(rows: set[int]) -> None:
    assert begins_at(attempt(2, rows=sorted(rows), losses=[])) == min(rows)

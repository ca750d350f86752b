"""One NaN is enough to fail, too few losses are no pass, and the verdict carries what it was made of."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.finite_losses import finite_losses
from barograph.policy import Policy, load, loss_finite
from barograph.records import Verdict


def policy(*, max_non_finite: int, min_points: int) -> Policy:
    ours = load()
    table = msgspec.structs.replace(ours.loss_finite, max_non_finite=max_non_finite, min_points=min_points)
    return msgspec.structs.replace(ours, name="by hand", loss_finite=table)


def verdict(losses: list[float], *, max_non_finite: int, min_points: int) -> Verdict:
    found = finite_losses(range(100, 100 + len(losses)), losses)
    return loss_finite(found, policy=policy(max_non_finite=max_non_finite, min_points=min_points), now=12.5)


@pytest.mark.parametrize(
    ("losses", "max_non_finite", "word", "message"),
    [
        ([], 0, "SKIP", "only 0 losses, fewer than 3"),
        ([1.0, 2.0], 0, "SKIP", "only 2 losses, fewer than 3"),
        ([1.0, 2.0, 3.0], 0, "PASS", "all 3 losses are finite"),
        ([0.0, 0.0, 0.0], 0, "PASS", "all 3 losses are finite"),
        ([math.nan], 0, "FAIL", "1 of 1 losses are NaN or infinite, at step 100"),
        ([1.0, math.inf, 3.0], 0, "FAIL", "1 of 3 losses are NaN or infinite, at step 101"),
        ([1.0, -math.inf, 3.0, math.nan], 0, "FAIL", "2 of 4 losses are NaN or infinite, from step 101 to step 103"),
        ([1.0, math.nan, 3.0], 1, "WARN", "1 of 3 losses are NaN or infinite, at step 101"),
        ([math.nan, math.nan, 3.0], 1, "FAIL", "2 of 3 losses are NaN or infinite, from step 100 to step 101"),
    ],
)
def test_the_ladder(losses: list[float], max_non_finite: int, word: str, message: str) -> None:
    found = verdict(losses, max_non_finite=max_non_finite, min_points=3)
    assert (found.verdict, found.message) == (word, message)
    assert found.name == "loss_finite"
    assert found.policy == "by hand"
    assert found.time == 12.5
    assert found.thresholds == {"max_non_finite": float(max_non_finite), "min_points": 3.0}
    assert found.numbers["points"] == len(losses)


@settings(deadline=None)
@given(losses=st.lists(st.floats(), max_size=20), max_non_finite=st.integers(0, 5), min_points=st.integers(1, 10))
def test_a_pass_means_enough_losses_and_every_one_finite(
    losses: list[float], max_non_finite: int, min_points: int
) -> None:
    found = verdict(losses, max_non_finite=max_non_finite, min_points=min_points)
    bad = sum(not math.isfinite(loss) for loss in losses)
    assert (found.verdict == "PASS") == (bad == 0 and len(losses) >= min_points)
    assert (found.verdict == "FAIL") == (bad > max_non_finite)
    assert (found.verdict == "SKIP") == (bad == 0 and len(losses) < min_points)


@pytest.mark.parametrize("name", ["default", "contract"])
def test_no_shipped_policy_passes_a_run_without_losses(name: str) -> None:
    assert loss_finite(finite_losses([], []), policy=load(name), now=0.0).verdict == "SKIP"

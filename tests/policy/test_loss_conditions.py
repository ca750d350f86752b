"""NaN at its own step, a hidden NaN by its two signs, spikes as episodes at the step of the jump."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.plateau import PlateauResult
from barograph.policy import load
from barograph.policy.alert_tables import LossSpikeTable
from barograph.policy.loss_conditions import LossSpikes, masked_loss, non_finite_loss, plateau

ROBUST = load("default").alerts.loss_spike
RATIO = load("contract").alerts.loss_spike
NAN = load("default").alerts.non_finite_loss
NON_FINITE = (math.nan, math.inf, -math.inf)


@given(loss=st.floats())
def test_a_loss_is_non_finite_if_it_is_no_number(loss: float) -> None:
    found = non_finite_loss(7, loss, table=NAN)
    assert found.seen == (not math.isfinite(loss))
    assert (found.step == 7) == bool(found.seen)


def test_the_alert_spells_what_the_loss_is() -> None:
    assert [non_finite_loss(3, loss, table=NAN).title for loss in NON_FINITE] == [
        "The loss is NaN",
        "The loss is Infinity",
        "The loss is -Infinity",
    ]


@given(loss=st.sampled_from(NON_FINITE), norm=st.none() | st.floats())
def test_weights_are_untouched_only_if_the_gradients_are_known_to_be_numbers(loss: float, norm: float | None) -> None:
    found = non_finite_loss(3, loss, norm, table=NAN)
    sound = norm is not None and math.isfinite(norm)
    assert ("untouched" in found.text) == sound
    assert ("lost" in found.text) == (not sound)
    assert found.recommendation == (NAN.recommendation_untouched if sound else "")
    assert ("labels -100" in found.text) == (sound and math.isnan(loss))
    assert ("gradient_norm" in found.evidence) == (norm is not None)


@given(loss=st.none() | st.floats(), norm=st.none() | st.floats())
def test_a_loss_is_masked_only_if_it_is_zero_and_the_gradients_are_no_numbers(
    loss: float | None, norm: float | None
) -> None:
    seen = masked_loss(1, loss, norm).seen
    if loss is None or (loss == 0.0 and norm is None):
        assert seen is None
    else:
        assert seen == (loss == 0.0 and norm is not None and not math.isfinite(norm))


def noisy(count: int, *, seed: int, noise: float = 0.02) -> list[float]:
    random = np.random.default_rng(seed)
    return [float(one) for one in 2.0 * (1.0 + noise * random.standard_normal(count))]


@pytest.mark.parametrize(("table", "factor"), [(ROBUST, 1.4), (RATIO, 2.2)])
def test_a_jump_is_seen_at_its_own_step_and_once(table: LossSpikeTable, factor: float) -> None:
    fold = LossSpikes(table)
    losses = noisy(200, seed=1)
    losses[150] *= factor
    seen = [step for step, loss in enumerate(losses) if fold.update(step, loss).seen]
    assert seen == [150]
    assert (fold.episodes, list(fold.newest)) == (1, [150])


@pytest.mark.parametrize("table", [ROBUST, RATIO])
def test_a_shift_is_one_episode_that_began_with_the_jump(table: LossSpikeTable) -> None:
    fold = LossSpikes(table)
    losses = noisy(100, seed=2) + [3.0 * one for one in noisy(100, seed=3)]
    found = [fold.update(step, loss) for step, loss in enumerate(losses)]
    later = [one for one in found[101:] if one.seen]
    assert (fold.episodes, list(fold.newest)) == (1, [100])
    assert found[100].seen
    assert later
    assert all("steps, from step 100 to step" in one.text for one in later)
    assert all(one.title.startswith("The loss jumped to ") for one in later)


@given(heights=st.lists(st.floats(1.5, 20.0), min_size=1, max_size=8), rule=st.sampled_from([ROBUST, RATIO]))
def test_the_peak_of_an_alert_is_the_greatest_of_its_hits_with_what_was_expected_there(
    heights: list[float], rule: LossSpikeTable
) -> None:
    fold, hits = LossSpikes(rule), list[tuple[float, int]]()
    losses = [2.0 + 0.01 * math.sin(place) for place in range(60 + 40 * len(heights))]
    for place, height in enumerate(heights):
        losses[60 + 40 * place] *= height
    for step, loss in enumerate(losses):
        found = fold.update(step, loss)
        if found.seen:
            hits.append((loss, step))
            peak, peak_step = max(hits, key=lambda hit: (hit[0], -hit[1]))
            assert (found.evidence["peak"], found.evidence["peak_step"]) == (peak, float(peak_step))
            assert found.evidence["expected"] == pytest.approx(2.0, rel=0.6 if rule is RATIO else 0.05)
            assert f"{peak:.4g} at step {peak_step} (" in found.title
            assert found.step == step
            assert (f"{fold.episodes} spikes" in found.text) == (fold.episodes > 1)
    fold.forget_alert()
    for step in range(len(losses), len(losses) + 20):
        fold.update(step, 2.0 + 0.01 * math.sin(step))
    assert fold.update(10_000, 9.0).evidence["peak_step"] == 10_000.0, "another alert has its own peak"


@pytest.mark.parametrize("table", [ROBUST, RATIO])
def test_what_is_no_number_is_no_spike_and_changes_nothing(table: LossSpikeTable) -> None:
    with_them, without = LossSpikes(table), LossSpikes(table)
    seen = []
    for step, loss in enumerate(noisy(120, seed=4)):
        expected = without.update(step, loss)
        assert with_them.update(step, loss) == expected
        seen += [with_them.update(step, one).seen for one in NON_FINITE]
    assert set(seen) == {False}


@pytest.mark.parametrize(("table", "least"), [(ROBUST, ROBUST.min_window), (RATIO, RATIO.mean_of)])
def test_the_first_losses_are_not_judged(table: LossSpikeTable, least: int) -> None:
    fold = LossSpikes(table)
    found = [fold.update(step, 1.0) for step in range(least + 1)]
    assert [one.seen for one in found] == [None] * least + [False]
    assert str(least) in found[0].reason


def test_the_seeds_ratio_leaves_the_loss_itself_out_of_its_baseline() -> None:
    fold = LossSpikes(RATIO)
    for step in range(10):
        fold.update(step, 1.0)
    assert fold.update(10, 2.0).seen is False, "twice is not more than twice"
    assert fold.update(11, 2.21).seen, "ten losses with a mean of 1.1"
    below = LossSpikes(RATIO)
    for step in range(10):
        below.update(step, -1.0)
    assert below.update(10, 5.0).seen is None, "a mean below zero has no double"


def test_any_number_of_episodes_takes_no_memory() -> None:
    fold = LossSpikes(replace(ROBUST, merge=1))
    for step in range(5_000):
        fold.update(step, 10.0 if step % 50 == 49 else 1.0)
    assert fold.episodes == 100
    assert len(fold.newest) == 64


@pytest.mark.parametrize(("said", "seen"), [(True, True), (False, False), (None, None)])
def test_a_plateau_is_what_its_rule_says(said: bool | None, seen: bool | None) -> None:
    result = PlateauResult(
        plateau=said,
        expected_gain=0.001,
        expected_gain_high=0.004,
        rising=False,
        horizon_steps=50.0,
        steps=100,
        why="by the last 100 losses",
    )
    found = plateau(result, min_gain=0.01)
    assert found.seen is seen
    if seen:
        assert found.text == "By the last 100 losses."
        assert plateau(result, min_gain=0.01, before="It fell.").text == "By the last 100 losses. It fell."
        assert found.evidence["expected_gain_high"] == 0.004
    if seen is None:
        assert found.reason == "by the last 100 losses"


@given(loss=st.floats(), norm=st.none() | st.floats(), processes=st.integers(1, 8))
def test_a_gradient_that_is_no_number_beside_a_sound_loss_is_that_of_another_process(
    loss: float, norm: float | None, processes: int
) -> None:
    found = non_finite_loss(7, loss, norm, table=NAN, processes=processes)
    another = processes > 1 and math.isfinite(loss) and norm is not None and not math.isfinite(norm)
    assert found.seen == (another or not math.isfinite(loss))
    assert ("another process" in found.text) == another

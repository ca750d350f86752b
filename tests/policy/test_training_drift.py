"""The verdict on a curve: the seed's under `contract`, ours under `default`."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from barograph.analysis.curve_parts import CurvePart, curve_of
from barograph.analysis.loss_curve import loss_curve
from barograph.errors import PolicyError
from barograph.policy import TrainingDrift, curve_rule, load, training_drift

Floats = NDArray[np.float64]
COUNT = 1000
STEPS = np.arange(COUNT)
SEEDS = 60


def judged(losses: Floats, *, policy: str = "default", metrics: tuple[str, ...] = ()) -> TrainingDrift:
    part = CurvePart(attempt=1, steps=np.arange(len(losses)), losses=losses)
    return of([part], policy=policy, metrics=metrics)


def of(parts: list[CurvePart], *, policy: str = "default", metrics: tuple[str, ...] = ()) -> TrainingDrift:
    rules = load(policy)
    curve = curve_of(parts, files=1, averaged=False, metrics=metrics)
    return training_drift(loss_curve(curve, rule=curve_rule(rules)), policy=rules, now=0.0)


def noisy(shape: Floats, seed: int, noise: float = 0.02) -> Floats:
    return shape * (1.0 + noise * np.random.default_rng(seed).standard_normal(len(shape)))


def exponential(seed: int) -> Floats:
    shape: Floats = 1.5 + 3.0 * np.exp(-STEPS / np.random.default_rng(seed + 900).uniform(50, 400))
    return noisy(shape, seed)


def power_law(seed: int) -> Floats:
    power = np.random.default_rng(seed + 900).uniform(0.2, 0.6)
    shape = np.asarray(1.5 + 9.0 * (1.0 + STEPS) ** -power, np.float64)
    return noisy(shape, seed)


def diverging(seed: int) -> Floats:
    shape: Floats = 1.6 * np.exp(np.clip((STEPS - 500) / 500, 0, None) * np.log(6.5))
    return noisy(shape, seed)


def with_nan(seed: int) -> Floats:
    losses = exponential(seed)
    losses[17 * seed % 998 + 1] = math.nan
    return losses


def with_spike(seed: int) -> Floats:
    losses = exponential(seed)
    losses[100 + 13 * seed % 890] *= 1.3
    return losses


def flat(seed: int) -> Floats:
    return np.full(COUNT, 2.0 + seed / 100)


def names(found: TrainingDrift) -> list[str]:
    return [one.name for one in found.findings]


@pytest.mark.parametrize("make", [exponential, power_law])
def test_a_healthy_noisy_decay_passes(make: Callable[[int], Floats]) -> None:
    words = [judged(make(seed)).verdict.verdict for seed in range(SEEDS)]
    assert words.count("PASS") >= 0.95 * SEEDS


@pytest.mark.parametrize(
    ("make", "word", "name"),
    [
        (diverging, "FAIL", "divergence"),
        (with_nan, "WARN", "non_finite_loss"),
        (with_spike, "WARN", "loss_spike"),
        (flat, "WARN", "flat"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[[int], Floats], word: str, name: str) -> None:
    found = [judged(make(seed)) for seed in range(SEEDS)]
    assert sum(one.verdict.verdict == word and name in names(one) for one in found) >= 0.95 * SEEDS
    assert all(one.verdict.advice for one in found if one.verdict.verdict != "PASS")


def test_a_resume_with_a_ghost_tail_is_named_and_judged_without_it() -> None:
    losses = exponential(3)
    diverged = CurvePart(attempt=1, steps=STEPS, losses=np.where(STEPS > 600, 40.0, losses))
    resumed = CurvePart(attempt=2, steps=STEPS[500:900], losses=losses[500:900])
    found = of([diverged, resumed])
    assert (found.verdict.verdict, names(found)) == ("PASS", ["ghost_tail"])
    assert "100 points of older ones" in found.findings[0].message
    assert found.verdict.numbers["final_loss"] == 40.0  # the seed's curve still ends in the ghost


def test_a_curve_that_ends_in_no_number_fails_whatever_else_it_did() -> None:
    losses = exponential(0)
    losses[700:] = math.nan
    found = judged(losses)
    assert (found.verdict.verdict, found.findings[0].name) == ("FAIL", "non_finite_tail")
    assert "first such one is at step 700" in found.verdict.message
    assert found.verdict.steps[0] == 700


def test_the_seeds_verdict_has_its_words() -> None:
    clean = 2.0 * np.exp(-STEPS / 300.0)
    found = judged(clean, policy="contract")
    assert found.verdict.verdict == "PASS"
    assert found.verdict.message == "smoothness=1.00, convergence_ratio=0.04, instability_events=0, final_loss=0.072"
    assert found.score == pytest.approx(1.0, abs=1e-4)
    spiky = clean.copy()
    spiky[500] *= 3.0
    warned = judged(spiky, policy="contract")
    assert warned.verdict.verdict == "WARN"
    assert warned.verdict.message.endswith("; warnings: instability_events=1 > 0")
    assert warned.score is not None
    assert warned.score <= 0.5
    assert warned.verdict.thresholds["smoothness_gte"] == 0.7


def test_the_seed_never_fails_and_ours_does() -> None:
    losses = diverging(0)
    losses[-1] = math.nan
    assert judged(losses, policy="contract").verdict.verdict == "WARN"
    assert judged(losses).verdict.verdict == "FAIL"


@pytest.mark.parametrize("policy", ["contract", "default"])
def test_a_short_curve_is_skipped_with_the_seeds_sentence(policy: str) -> None:
    found = judged(np.ones(9), policy=policy)
    assert found.verdict.verdict == "SKIP"
    assert found.verdict.message == "only 9 step records (< min_steps=10); curve too short to fit reliably"
    assert found.score is None


def test_no_step_at_all_has_the_seeds_sentence_under_the_contract() -> None:
    found = training_drift(None, policy=load("contract"), now=0.0)
    assert found.verdict.message == "only 0 step records (< min_steps=10); curve too short to fit reliably"


def test_no_curve_is_skipped_and_never_passes() -> None:
    found = training_drift(None, policy=load(), now=0.0, nothing="no logs")
    assert (found.verdict.verdict, found.verdict.message, found.verdict.numbers) == ("SKIP", "no logs", {})


def test_rewards_are_skipped_by_ours_and_printed_by_the_seeds() -> None:
    assert judged(exponential(0), metrics=("reward",)).verdict.verdict == "SKIP"
    assert judged(exponential(0), metrics=("reward",), policy="contract").verdict.verdict in ("PASS", "WARN")


def test_all_losses_no_numbers_is_no_pass_anywhere() -> None:
    losses = np.full(100, math.nan)
    assert judged(losses).verdict.verdict == "FAIL"
    assert judged(losses, policy="contract").verdict.verdict == "WARN"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("min_steps", "1"),
        ("rolling_window", "1"),
        ("spike_sigma", "0.0"),
        ("assert_smoothness_gte", "1.1"),
        ("assert_convergence_ratio_lte", "0.0"),
        ("assert_instability_events_lte", "-1"),
        ("min_stepz", "10"),
        ("spike_min_window", "51"),
        ("trend_max_blocks", "19"),
        ("divergence_ratio", "1.1"),
    ],
)
def test_values_out_of_the_specs_ranges_and_unknown_keys_are_refused_by_name(
    key: str, value: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'base = "contract"\n[training_drift]\n{key} = {value}\n')
    with pytest.raises(PolicyError, match=key):
        load(file)


def shaped(*levels: float, count: int = 300, noise: float = 0.02, seed: int = 0) -> Floats:
    """A curve through these levels, evenly spaced."""
    return noisy(np.interp(np.arange(count), np.linspace(0, count, len(levels)), levels), seed, noise)


@pytest.mark.parametrize(
    ("levels", "word"),
    [
        ((4.0, 2.0, 2.95), "WARN"),
        ((4.0, 2.0, 2.9, 2.9), "WARN"),
        ((2.0, 2.8, 2.7), "WARN"),
        ((4.0, 2.0, 1.8), "PASS"),
        ((1.30, 1.25), "PASS"),
        ((4.0, 0.3, 1.3, 0.5), "WARN"),
        ((4.0, 1.6, 1.6, 1.6, 8.0), "FAIL"),
    ],
)
def test_curves_that_rise_are_named_at_any_length_and_falling_ones_pass(levels: tuple[float, ...], word: str) -> None:
    for count in (100, 300, 2000):
        found = judged(shaped(*levels, count=count)).verdict
        assert found.verdict == word, (count, found.message)
        assert "fell to 1." not in found.message


def test_a_few_points_after_a_restart_are_too_few_whatever_was_before() -> None:
    before = CurvePart(attempt=1, steps=STEPS, losses=exponential(0))
    restarted = CurvePart(attempt=2, steps=np.arange(3), losses=np.array([2.5, 50.0, 900.0]))
    found = of([before, restarted])
    assert (found.verdict.verdict, found.verdict.message) == (
        "SKIP",
        "only 3 step records (< min_steps=10); curve too short to fit reliably",
    )


def test_rewards_do_not_hide_an_end_in_no_number() -> None:
    losses = exponential(0)
    losses[-80:] = math.nan
    found = judged(losses, metrics=("reward",))
    assert (found.verdict.verdict, names(found)) == ("FAIL", ["non_finite_tail"])


def test_spikes_that_are_the_rule_are_noise() -> None:
    losses = exponential(0)
    losses[::60] *= 2.0  # one in each window, so that none of them is known to come again
    found = judged(losses)
    assert found.verdict.verdict == "PASS"
    assert "that is their noise" in found.findings[0].message

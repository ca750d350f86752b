"""The signals are what the folds say, under names that each have one owner; what none of them knows has its reason."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.streaming import StreamingLoss
from barograph.analysis.throughput import Rates, StepTiming, Throughput
from barograph.policy import live_signals, load, rules
from barograph.policy.evaluation_conditions import Evaluation, Evaluations
from barograph.records import Signals
from barograph.records.signals import TrendWord

POLICY = load("default")
EMPTY = Signals(step=100, time=1.0)
RESULT = PlateauResult(
    plateau=True,
    expected_gain=0.001,
    expected_gain_high=0.005,
    rising=False,
    horizon_steps=250.0,
    steps=250,
    why="it gains 0.1%",
)


def timed(*timings: tuple[float, float]) -> Throughput:
    fold = Throughput(rules.throughput(POLICY))
    for step, (tokens, seconds) in enumerate(timings):
        fold.update(step, None, StepTiming(tokens=tokens, seconds=seconds, data_wait_s=seconds / 2))
    return fold


def test_every_rate_is_a_field_of_the_signals_and_no_part_has_one_of_another() -> None:
    parts = (
        live_signals.OF_LOSSES,
        live_signals.OF_PLATEAU,
        live_signals.OF_THROUGHPUT,
        live_signals.OF_EVALUATIONS,
        tuple(live_signals.NOTHING),
    )
    every = [field for part in parts for field in part]
    assert set(every) <= set(Signals.__struct_fields__)
    assert len(set(every)) == len(every)
    assert Rates.__struct_fields__ == live_signals.OF_THROUGHPUT


@given(
    timings=st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(1e-3, 10.0)), max_size=40),
    total=st.none() | st.integers(0, 1000),
)
def test_the_rates_are_those_of_the_fold_and_what_it_does_not_know_it_explains(
    timings: list[tuple[float, float]], total: int | None
) -> None:
    fold = timed(*timings)
    told = live_signals.with_throughput(EMPTY, fold, total_steps=total)
    for field, value in asdict(fold.rates(total_steps=total, step=EMPTY.step)).items():
        assert getattr(told, field) == value
        assert (field in told.why) == (value is None or value == "unknown")


def test_a_rate_has_the_name_of_what_it_is() -> None:
    told = live_signals.with_throughput(EMPTY, timed((100.0, 2.0), (300.0, 2.0)), total_steps=110)
    assert (told.tokens_per_sec, told.tokens_per_sec_avg, told.seconds_per_step) == (100.0, 100.0, 2.0)
    assert told.eta_s == 20.0
    assert (told.data_wait_share, told.optimizer_share) == (0.5, None)
    assert told.tokens_per_sec_ema == pytest.approx((0.9 * 100 + 300) / (0.9 * 2 + 2))


@pytest.mark.parametrize(
    ("trend", "plateau", "word"),
    [
        ("improving", True, "stable"),
        ("improving", False, "improving"),
        ("improving", None, "improving"),
        ("degrading", True, "degrading"),
    ],
)
def test_a_loss_that_stays_is_not_said_to_fall(trend: TrendWord, plateau: bool | None, word: TrendWord) -> None:
    before = Signals(step=1, time=1.0, loss_trend=trend)
    result = PlateauResult(**{**asdict(RESULT), "plateau": plateau})
    assert live_signals.with_plateau(before, result).loss_trend == word


def test_a_plateau_that_cannot_be_said_and_one_without_a_bound_say_why() -> None:
    unknown = live_signals.with_plateau(EMPTY, PlateauResult(**{**asdict(RESULT), "plateau": None, "why": "too short"}))
    assert {field: unknown.why[field] for field in live_signals.OF_PLATEAU} == dict.fromkeys(
        live_signals.OF_PLATEAU, "too short"
    )
    halves = live_signals.with_plateau(EMPTY, PlateauResult(**{**asdict(RESULT), "expected_gain_high": None}))
    assert (halves.plateau, halves.expected_gain_high) == (True, None)
    assert "upper bound" in halves.why["expected_gain_high"]


@pytest.mark.parametrize(
    ("loss", "training", "gap", "why"),
    [
        (2.5, 2.0, 0.5, None),
        (2.5, None, None, "no training loss was known at that evaluation"),
        (math.nan, 2.0, math.nan, "it is NaN at step 7"),
        (math.inf, 2.0, math.inf, "it is Infinity at step 7"),
    ],
)
def test_the_gap_is_that_of_the_newest_evaluation(
    loss: float, training: float | None, gap: float | None, why: str | None
) -> None:
    fold = Evaluations()
    fold.update(Evaluation(5, 1.0, 1.0))
    fold.update(Evaluation(7, loss, training))
    told = live_signals.with_evaluations(EMPTY, fold)
    assert repr((told.validation_loss, told.val_train_gap)) == repr((loss, gap))
    assert told.why.get("val_train_gap") == why


def test_without_an_evaluation_both_of_its_fields_say_so() -> None:
    told = live_signals.with_evaluations(EMPTY, Evaluations())
    assert [told.why[field] for field in live_signals.OF_EVALUATIONS] == ["no evaluation loss is logged"] * 2


@given(losses=st.lists(st.floats(0.1, 10.0) | st.sampled_from([math.nan, math.inf]), max_size=40))
def test_the_losses_are_told_as_their_fold_has_them(losses: list[float]) -> None:
    fold = StreamingLoss(rules.streaming(POLICY))
    for step, loss in enumerate(losses):
        fold.update(step, loss)
    told = live_signals.with_losses(EMPTY, fold)
    assert (told.streaming_ce, told.loss_variance, told.loss_noise) == (fold.streaming_ce, fold.variance, fold.noise)
    assert told.non_finite == sum(not math.isfinite(loss) for loss in losses)
    missing = [field for field in live_signals.OF_LOSSES if getattr(told, field) in {None, "unknown"}]
    assert all(told.why[field] for field in missing)


def test_a_reason_of_somebody_who_knows_stands_before_the_general_one_and_what_is_known_has_none() -> None:
    told = Signals(step=1, time=1.0, learning_rate=1e-4, why={"learning_rate": "not yet", "mfu": "the fold's own"})
    found = live_signals.explained(
        told, {"token_entropy": "no logits are kept", "conditions.plateau": "too few", "mfu": "the GPU is not known"}
    )
    assert "learning_rate" not in found.why
    assert found.why["token_entropy"] == "no logits are kept"
    assert found.why["mfu"] == "the GPU is not known"
    assert found.why["top1_probability"] == live_signals.NOTHING["top1_probability"]
    assert found.why["conditions.plateau"] == "too few"

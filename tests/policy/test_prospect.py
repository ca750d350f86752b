"""Why to go on: a reason with its numbers, as sure as what is known, and of the past where the training is over."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.streaming import Change
from barograph.policy import load
from barograph.policy.evaluation_conditions import Evaluation, Evaluations
from barograph.policy.learning_rate_conditions import Schedule
from barograph.policy.loss_progress import Progress
from barograph.policy.prospect import go_on
from barograph.policy.situation import Situation
from barograph.records import Alert
from barograph.records.alerts import AdviceItem, AlertStateWord, Confidence
from barograph.records.signals import TrendWord

TABLE = load("default").advice
FELL = Change(ratio=-0.05, steps=1000)
FLAT = PlateauResult(
    plateau=True,
    expected_gain=0.001,
    expected_gain_high=0.005,
    rising=False,
    horizon_steps=250.0,
    steps=250,
    why="it gains 0.1%",
)
DECAYS, OVER = Schedule(1000, 5e-5, 1e-4), Schedule(1000, 1e-6, 1e-4)


def evaluated(*losses: float) -> Evaluations:
    fold = Evaluations()
    for place, loss in enumerate(losses, 1):
        fold.update(Evaluation(100 * place, loss, None))
    return fold


def alert(condition: str, state: AlertStateWord = "firing", *, count: int = 1, **evidence: float) -> Alert:
    return Alert(
        time=1.0,
        title="It is",
        condition=condition,
        state=state,
        evidence=evidence,
        count=count,
        first_step=500,
        step=600,
    )


NOW = Situation(
    step=1000,
    total_steps=2000,
    alerts={},
    schedule=None,
    evaluations=Evaluations(),
    plateau=None,
    trend="unknown",
    change=None,
    spikes=(),
    saves=(),
)
NO_LABELS = {"non_finite_loss": alert("non_finite_loss", gradient_norm=0.0)}
NO_EVALUATION = {"non_finite_evaluation": alert("non_finite_evaluation", count=2)}
STAYS = evaluated(1.0, 1.1, 1.2, 1.3)


def said(now: Situation, *, alone: bool = True) -> AdviceItem:
    return go_on(now, table=TABLE, alone=alone)


situations = st.builds(
    Situation,
    step=st.integers(0, 2000),
    total_steps=st.none() | st.integers(1, 2000),
    alerts=st.sampled_from(
        [{}, NO_LABELS, NO_EVALUATION, {**NO_LABELS, **NO_EVALUATION}, {"plateau": alert("plateau")}]
    ),
    schedule=st.sampled_from([None, DECAYS, OVER]),
    evaluations=st.lists(st.sampled_from([1.0, 1.1, 0.9, math.nan, math.inf]), max_size=6).map(
        lambda losses: evaluated(*losses)
    ),
    plateau=st.sampled_from([None, FLAT, replace(FLAT, plateau=False), replace(FLAT, plateau=None)]),
    trend=st.sampled_from(["improving", "stable", "degrading", "unknown"]),
    change=st.sampled_from([None, FELL, Change(ratio=0.2, steps=10)]),
    spikes=st.lists(st.integers(0, 2000), max_size=5).map(sorted),
    saves=st.just(()),
    ended=st.booleans(),
)


@given(now=situations, alone=st.booleans())
def test_it_is_sure_only_where_nothing_else_is_advised_and_nothing_happened(now: Situation, alone: bool) -> None:
    item = said(now, alone=alone)
    assert item.action == "continue"
    assert item.because
    assert item.text.endswith(".")
    if item.confidence == "high":
        assert alone
        assert not now.alerts
    assert item.text.startswith("Ended at step " if now.ended else "Continue")
    assert ("Continue" in item.text) != now.ended


@given(now=situations, alone=st.booleans())
def test_every_alert_of_what_was_no_number_is_in_its_text_and_in_what_it_rests_on(now: Situation, alone: bool) -> None:
    item = said(now, alone=alone)
    for name in ("non_finite_loss", "non_finite_evaluation"):
        assert any(one.startswith(f"alert {name} ") for one in item.because) == (name in now.alerts)
    assert ("no number at step 500" in item.text) == ("non_finite_loss" in now.alerts)
    assert ("no number since step 500" in item.text) == ("non_finite_evaluation" in now.alerts)


@given(now=situations)
def test_the_numbers_of_a_fall_are_told_only_of_a_loss_that_falls(now: Situation) -> None:
    assert "fell by" not in said(replace(now, trend="stable")).text
    assert "fell by" not in said(replace(now, plateau=FLAT)).text


@pytest.mark.parametrize(
    ("changes", "words", "confidence"),
    [
        ({}, "Continue: too little is known yet to say more.", "low"),
        ({"trend": "improving"}, "Continue: the loss falls.", "high"),
        (
            {"trend": "improving", "change": FELL},
            "Continue: the loss fell by 5.0% over the last 1,000 steps.",
            "high",
        ),
        ({"trend": "improving", "change": Change(ratio=0.1, steps=9)}, "Continue: the loss falls.", "high"),
        ({"trend": "improving", "evaluations": STAYS}, "Continue only for a reason of yours", "low"),
        ({"trend": "stable", "evaluations": evaluated(1.0, 0.9)}, "Continue: the evaluation loss falls.", "high"),
        ({"trend": "stable", "evaluations": evaluated(1.0, 0.9, math.nan)}, "Continue: nothing says that", "medium"),
        ({"trend": "improving", "evaluations": evaluated(*[math.nan] * 4)}, "Continue: the loss falls.", "high"),
        ({"trend": "stable", "evaluations": evaluated(1.0)}, "Continue: nothing says that the loss has", "medium"),
        ({"trend": "stable"}, "Continue: nothing says that the loss has stopped falling for good.", "medium"),
        ({"trend": "degrading"}, "Continue, and watch the evaluation loss: the training loss rises.", "low"),
        ({"plateau": FLAT, "evaluations": evaluated(1.0)}, "Continue: the training loss is flat, and the ev", "medium"),
        ({"plateau": FLAT, "schedule": OVER}, "Continue only if an evaluation says so", "low"),
        ({"plateau": FLAT, "schedule": DECAYS}, "Continue: the training loss is flat, and the learning", "medium"),
        ({"plateau": FLAT}, "Continue for now, and look at an evaluation", "low"),
        ({"alerts": {"plateau": alert("plateau")}, "schedule": DECAYS}, "Continue: the training loss is fl", "medium"),
        ({"alerts": NO_LABELS}, "Continue, but look at the labels of the newest batches first.", "medium"),
        (
            {"alerts": {"non_finite_loss": alert("non_finite_loss", count=9, gradient_norm=0.0)}},
            "Continue, but look at the labels of the newest batches first.",
            "low",
        ),
    ],
)
def test_the_reason_is_that_of_what_is_known(changes: dict[str, object], words: str, confidence: Confidence) -> None:
    item = said(replace(NOW, **changes))
    assert item.text.startswith(words)
    assert item.confidence == confidence


def test_a_loss_that_fell_from_above_its_own_beginning_is_set_beside_the_beginning() -> None:
    falls = replace(NOW, trend="improving", change=Change(ratio=-0.72, steps=199))
    for progress in (Progress(4.2, 3.9, True, True), Progress(4.2, 3.9, False, True)):
        item = said(replace(falls, progress=progress))
        assert item.text == "Continue: the loss is 7.1% below where it began, after a rise."
    usual = said(replace(falls, change=Change(ratio=-0.07, steps=199), progress=Progress(4.2, 3.9, False, True)))
    assert usual.text == "Continue: the loss fell by 7.0% over the last 199 steps."


def test_of_a_schedule_that_was_not_seen_whole_it_is_not_said_that_it_has_not_decayed() -> None:
    item = said(replace(NOW, plateau=FLAT, schedule=replace(DECAYS, whole=False)))
    assert item.text.endswith("how far the learning rate has decayed is not known from this attempt alone.")
    assert item.confidence == "low"
    over = said(replace(NOW, plateau=FLAT, schedule=replace(OVER, whole=False)))
    assert "the schedule is over" in over.text, "its whole peak can only have been greater"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (-0.001, "fell by 0.1% over the last 1,000 steps"),
        (-0.0999, "fell by 10.0% over"),
        (-0.1, "fell by 10% over"),
        (-0.47, "fell by 47% over"),
        (-0.984, "fell by 98% over"),
        (-0.9876, "fell by 98.76% over"),
        (-0.999999, "fell by 99.99% over"),
        (-1.0, "fell by 100.00% over"),
    ],
)
def test_a_loss_that_is_not_zero_never_fell_by_all_of_itself(ratio: float, words: str) -> None:
    assert words in said(replace(NOW, trend="improving", change=Change(ratio=ratio, steps=1000))).text


def test_what_happened_on_the_way_is_told_and_takes_the_certainty() -> None:
    falls = replace(NOW, trend="improving", spikes=(800, 850, 900))
    item = said(falls)
    assert item.text == "Continue: the loss falls. It came back after each of 3 spikes, the newest at step 900."
    assert item.confidence == "medium"
    again = replace(falls, spikes=(), alerts={"non_finite_loss": alert("non_finite_loss", "recovering", count=4)})
    assert said(again).text == (
        "Continue: the loss falls. The loss was no number 4 times since step 500, and is a number again: the weights"
        " are not lost."
    )
    evaluation = replace(falls, spikes=(), alerts=NO_EVALUATION)
    assert said(evaluation).text == (
        "Continue: the loss falls. Look at the evaluation: its loss is no number since step 500."
    )
    assert said(evaluation).confidence == "medium"


def test_a_training_that_is_over_is_told_by_its_step_and_the_steps_that_were_planned() -> None:
    over = replace(NOW, step=1234, ended=True, trend="improving")
    assert said(over).text == "Ended at step 1,234 of 2,000. The loss still fell: a longer training may gain more."
    assert said(replace(over, total_steps=None)).text.startswith("Ended at step 1,234. ")
    words: dict[TrendWord, str] = {
        "stable": "The loss hardly changed at the end",
        "degrading": "The training loss rose at the end",
        "unknown": "Too little is known of it",
    }
    for trend, expected in words.items():
        assert f"2,000. {expected}" in said(replace(over, trend=trend)).text

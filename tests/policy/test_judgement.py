"""Every verdict has its numbers beside their thresholds; what was not measured is SKIP, with the reason."""

import itertools
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.policy import load
from barograph.policy.judgement import BESIDE, Figure, Measured, gravest, judged, judgement
from barograph.records import Verdict
from barograph.records.quantities import AlertLevel, VerdictWord
from barograph.records.weights import Finding

POLICY = load("default")
GRAVITY: tuple[VerdictWord, ...] = ("FAIL", "ERROR", "WARN", "PASS", "SKIP")


def verdict(
    numbers: dict[str, float] | None = None, *, thresholds: dict[str, float] | None = None, advice: str = ""
) -> Verdict:
    return Verdict(
        name="training_drift",
        verdict="WARN",
        message="It is so.",
        advice=advice,
        numbers=numbers or {},
        thresholds=thresholds or {},
        policy="default",
        time=1.0,
    )


def only(one: Verdict) -> Figure:
    (figure,) = judged(one).figures
    return figure


def finding(severity: AlertLevel, action: str) -> Finding:
    return Finding(name="spike", severity=severity, layer=None, message="m", cause="c", action=action)


@given(words=st.lists(st.sampled_from(GRAVITY)))
def test_the_gravest_word_counts_and_no_data_only_where_nothing_else_was_said(words: list[VerdictWord]) -> None:
    assert sorted(GRAVITY) == sorted(get_args(VerdictWord))
    expected = next((word for word in GRAVITY if word in words), "SKIP")
    assert gravest(words) == expected
    assert all(gravest([*words, word]) == gravest([word, expected]) for word in GRAVITY)


@given(value=st.floats(allow_nan=False, allow_infinity=False), threshold=st.floats(allow_nan=False))
@pytest.mark.parametrize("name", sorted(BESIDE))
def test_a_number_holds_on_the_right_side_of_its_threshold_and_on_it(name: str, value: float, threshold: float) -> None:
    limit, sign = BESIDE[name]
    figure = only(verdict({name: value}, thresholds={limit: threshold}))
    assert (figure.name, figure.value, figure.text, figure.sign, figure.threshold) == (
        name,
        value,
        None,
        sign,
        threshold,
    )
    assert figure.held == (value >= threshold if sign == ">=" else value <= threshold)
    assert only(verdict({name: threshold}, thresholds={limit: threshold})).held is True


@pytest.mark.parametrize(
    ("value", "text", "held"), [(math.nan, "nan", None), (math.inf, "inf", False), (-math.inf, "-inf", True)]
)
def test_a_number_that_is_not_finite_is_a_text_and_nan_is_on_no_side(
    value: float, text: str, held: bool | None
) -> None:
    figure = only(verdict({"convergence_ratio": value}, thresholds={"convergence_ratio_lte": 0.7}))
    assert (figure.value, figure.text, figure.held) == (None, text, held)


def test_a_number_without_a_threshold_is_compared_with_nothing() -> None:
    unknown = only(verdict({"first_loss": 2.0}, thresholds={"convergence_ratio_lte": 1.0}))
    missing = only(verdict({"convergence_ratio": 0.5}))
    for figure in (unknown, missing):
        assert (figure.sign, figure.threshold, figure.held) == (None, None, None)


def test_what_to_do_is_the_verdicts_own_advice_else_that_of_the_first_grave_finding() -> None:
    info, grave, later = finding("info", "nothing"), finding("warning", "look"), finding("critical", "stop")
    assert judged(verdict(advice="first"), [grave]).advice == "first"
    assert judged(verdict(), [info, grave, later]).advice == "look"
    assert judged(verdict(), [info]).advice == ""
    assert judged(verdict(), iter([info, grave])).findings == [info, grave]


@given(reasons=st.lists(st.text(min_size=1), min_size=3, max_size=3))
def test_of_nothing_every_verdict_is_skipped_with_its_reason(reasons: list[str]) -> None:
    curve, drift, stability = reasons
    nothing = Measured(curve=None, no_curve=curve, no_drift=drift, no_stability=stability)
    found = judgement(nothing, policy=POLICY, now=5.0)
    assert [one.name for one in found] == ["training_drift", "gradient_ghost", "layer_drift", "weight_stability"]
    assert {one.verdict for one in found} == {"SKIP"}
    said = [found[0].message, found[2].message, found[3].message]
    assert all(reason in message for reason, message in zip(reasons, said, strict=True))
    assert all(one.message and not one.findings for one in found)
    assert all(one.name != other.name for one, other in itertools.combinations(found, 2))

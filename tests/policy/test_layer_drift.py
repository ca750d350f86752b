"""Bands, colours and patterns under `contract` are the document's; what cannot be judged is never passed."""

import math

import pytest

from barograph.analysis.layer_drift import LayerDrift, layer_drift
from barograph.policy import drift_band, drift_colour, drift_findings, interpreted, load
from barograph.policy import layer_drift as verdict
from barograph.records import TensorPass

CONTRACT, DEFAULT = load("contract"), load("default")


def drift(*changes: float, reference: float = 1.0, **more: object) -> LayerDrift:
    rows = [
        TensorPass(
            checkpoint="c",
            reference="base",
            time=0.0,
            tensor=f"layers.{i}.w",
            state="compared",
            elements=1,
            delta_squares=change**2,
            reference_squares=reference**2,
            current_squares=1.0,
            changed=1,
            **more,  # type: ignore[arg-type]
        )
        for i, change in enumerate(changes)
    ]
    return layer_drift(rows, pattern_ratio=1.5)


@pytest.mark.parametrize(
    ("change", "band"),
    [
        (0.0, "minimal"),
        (0.0999, "minimal"),
        (0.1, "normal"),
        (0.3, "normal"),
        (0.3001, "significant"),
        (5.0, "significant"),
        (math.nan, None),
    ],
)
def test_the_bands_are_the_contract_s(change: float, band: str | None) -> None:
    assert drift_band(change, policy=CONTRACT) == band


@pytest.mark.parametrize(
    ("change", "colour"),
    [(0.0, "green"), (0.1999, "green"), (0.2, "yellow"), (0.35, "yellow"), (0.3501, "red"), (math.nan, None)],
)
def test_the_colours_are_the_contract_s(change: float, colour: str | None) -> None:
    assert drift_colour(change, policy=CONTRACT) == colour


def test_an_ordinary_fine_tuning_is_normal_under_ours() -> None:
    assert [drift_band(change, policy=DEFAULT) for change in (1e-5, 0.0027, 0.28)] == [
        "minimal",
        "normal",
        "significant",
    ]


def test_findings_carry_the_document_s_cause_and_come_gravest_first() -> None:
    found = drift_findings(drift(0.5, 0.1, 0.1, 0.1), policy=CONTRACT)
    assert [(one.name, one.severity) for one in found] == [("bottom_heavy", "warning"), ("normal", "info")]
    assert found[0].cause == "Unusual - may indicate low-level feature learning"
    assert found[1].cause == "Normal training adaptation"
    found = drift_findings(drift(0.1, 0.1, 0.1, 0.5), policy=CONTRACT)
    assert {one.name for one in found} == {"top_heavy", "normal"}
    assert interpreted(drift(0.1), policy=CONTRACT).findings == drift_findings(drift(0.1), policy=CONTRACT)


def test_what_was_not_compared_is_a_warning() -> None:
    rows = [
        TensorPass(
            checkpoint="c",
            time=0.0,
            tensor="a",
            state="compared",
            elements=1,
            delta_squares=0.01,
            reference_squares=1.0,
            current_squares=1.0,
            changed=1,
        ),
        TensorPass(checkpoint="c", time=0.0, tensor="gone", state="missing", elements=1),
    ]
    found = drift_findings(layer_drift(rows, pattern_ratio=1.5), policy=DEFAULT)
    assert found[0].name == "not_compared"
    assert found[0].message == "tensors that could not be compared: 1 missing (gone)"


@pytest.mark.parametrize("policy", [CONTRACT, DEFAULT], ids=lambda policy: policy.name)
def test_weights_that_are_no_numbers_are_critical_under_every_policy(policy: object) -> None:
    document = drift(0.1, 0.1, current_nan=1)
    found = drift_findings(document, policy=policy)  # type: ignore[arg-type]
    assert [(one.name, one.severity, one.layer) for one in found[:2]] == [
        ("non_finite", "critical", 0),
        ("non_finite", "critical", 1),
    ]
    assert verdict(document, policy=policy, now=1.0).verdict == "FAIL"  # type: ignore[arg-type]


def test_no_ratio_is_an_error_and_never_a_pass() -> None:
    document = drift(0.1, reference=0.0)
    assert drift_findings(document, policy=CONTRACT)[0].name == "zero_reference"
    assert verdict(document, policy=CONTRACT, now=1.0).verdict == "ERROR"


def test_the_verdict_follows_from_the_findings() -> None:
    assert verdict(drift(0.2, 0.2), policy=CONTRACT, now=1.0).verdict == "PASS"
    found = verdict(drift(0.4, 0.4), policy=CONTRACT, now=1.0)
    assert (found.verdict, found.name, found.thresholds["significant_above"]) == ("WARN", "layer_drift", 0.3)

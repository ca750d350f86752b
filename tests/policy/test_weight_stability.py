"""Alerts and health under `contract` are the document's word for word; under `default` they mean something."""

import json
import math

import msgspec
import pytest

from barograph.analysis.norm_change import norm_change
from barograph.analysis.weight_stability import WeightStability, weight_stability
from barograph.policy import ParameterStability, load, parameter_stability, weight_alerts
from barograph.policy.weight_stability import WeightAlert
from barograph.policy.weight_stability import weight_stability as verdict
from barograph.records import TensorPass

CONTRACT, DEFAULT = load("contract"), load("default")

SAMPLE = """{
  "timestamp": "2025-11-25T02:51:43.024363",
  "checkpoint": "deployed",
  "step": null,
  "summary": {
    "num_layers": 28,
    "avg_weight_norm": 222.3419,
    "std_weight_norm": 143.9439,
    "max_weight_norm": 649.2462,
    "min_weight_norm": 126.7223,
    "health_status": "warning",
    "total_alerts": 2,
    "warning_alerts": 2,
    "critical_alerts": 0
  },
  "alerts": [
    {
      "layer": 26,
      "type": "exploding",
      "severity": "warning",
      "value": 106.5,
      "threshold": 100.0,
      "message": "Layer 26 has extreme weight values"
    }
  ],
  "layers": [
    {
      "layer_idx": 0,
      "weight_norm": 169.27,
      "max_abs_weight": 96.5,
      "min_abs_weight": 1.28e-8
    }
  ]
}"""
"""The document that users asked for, word for word."""


def row(
    block: int, *, largest: float = 1.0, smallest: float | None = 1e-3, norm: float = 100.0, **more: object
) -> TensorPass:
    base = TensorPass(
        checkpoint="deployed",
        time=1764039103.024363,
        tensor=f"model.layers.{block}.w" if block >= 0 else "model.embed_tokens.weight",
        state="alone",
        dtype="BF16",
        elements=1000,
        rows=100,
        current_squares=norm**2,
        current_max=largest,
        current_min=smallest,
        current_nan=0,
        current_infinite=0,
        current_zeros=0,
        current_zero_rows=0,
    )
    return msgspec.structs.replace(base, **more)


def beside(block: int, *, reference_max: float = 1.0, reference: float = 100.0, **more: object) -> TensorPass:
    """A tensor with its reference."""
    return row(
        block,
        reference="base",
        reference_squares=reference**2,
        reference_max=reference_max,
        reference_nan=0,
        reference_infinite=0,
        reference_zeros=0,
        reference_zero_rows=0,
        **more,  # type: ignore[arg-type]
    )


def measured(*rows: TensorPass) -> WeightStability:
    return weight_stability(rows)


def contract(*rows: TensorPass) -> ParameterStability:
    return parameter_stability(measured(*rows), policy=CONTRACT)


def short(alerts: list[WeightAlert]) -> list[tuple[int, str, str]]:
    return [(alert.layer, alert.type, alert.severity) for alert in alerts]


def test_the_document_has_the_sample_s_keys_types_and_order() -> None:
    sample = json.loads(SAMPLE)
    rows = [row(block, largest=96.5, smallest=1.28e-8, norm=169.27) for block in range(28)]
    rows[26] = row(26, largest=106.5, norm=649.2462)
    document = json.loads(msgspec.json.encode(contract(*rows)))
    pairs = [(sample, document), (sample["summary"], document["summary"])]
    pairs += [(sample["alerts"][0], document["alerts"][0]), (sample["layers"][0], document["layers"][0])]
    for part, ours in pairs:
        assert list(ours)[: len(part)] == list(part)
        assert [type(value) for key, value in ours.items() if key in part] == [type(value) for value in part.values()]
    assert {key: document["alerts"][0][key] for key in sample["alerts"][0]} == sample["alerts"][0]
    assert document["summary"]["health_status"] == "warning"
    assert document["summary"]["total_alerts"] == document["summary"]["warning_alerts"] == 1
    assert document["layers"][0]["weight_norm"] == pytest.approx(169.27)


@pytest.mark.parametrize(
    ("largest", "severity"),
    [(100.0, None), (100.01, "warning"), (150.0, "warning"), (150.01, "critical"), (1e30, "critical")],
)
def test_exploding_is_strictly_above_the_contract_s_numbers(largest: float, severity: str | None) -> None:
    alerts = contract(row(0, largest=largest)).alerts
    assert short(alerts) == ([(0, "exploding", severity)] if severity else [])


@pytest.mark.parametrize(
    ("smallest", "severity"),
    [(1e-10, None), (9e-11, "warning"), (1e-12, "warning"), (9e-13, "critical"), (None, None)],
)
def test_vanishing_is_strictly_below_the_contract_s_numbers(smallest: float | None, severity: str | None) -> None:
    alerts = contract(row(0, smallest=smallest)).alerts
    assert short(alerts) == ([(0, "vanishing", severity)] if severity else [])


def test_health_is_the_gravest_alert() -> None:
    assert contract(row(0)).summary.health_status == "healthy"
    assert contract(row(0), row(1, largest=120.0)).summary.health_status == "warning"
    found = contract(row(0, largest=120.0), row(1, smallest=1e-13))
    assert found.summary.health_status == "critical"
    assert (found.summary.total_alerts, found.summary.warning_alerts, found.summary.critical_alerts) == (2, 1, 1)
    assert [alert.severity for alert in found.alerts] == ["critical", "warning"]


@pytest.mark.parametrize("policy", [CONTRACT, DEFAULT], ids=lambda policy: policy.name)
@pytest.mark.parametrize("block", [0, -1])
@pytest.mark.parametrize("field", ["current_nan", "current_infinite"])
def test_weights_that_are_no_numbers_are_critical_under_every_policy(policy: object, block: int, field: str) -> None:
    found = parameter_stability(measured(row(0), row(block, **{field: 1})), policy=policy)  # type: ignore[arg-type]
    assert (block, "non_finite", "critical") in short(found.alerts)
    assert found.summary.health_status == "critical"


def test_causes_and_actions_are_the_document_s_tables() -> None:
    low = contract(row(0, largest=120.0), *[row(block) for block in range(1, 8)]).alerts[0]
    assert (low.cause, low.action) == ("Training instability", "Consider reducing LR")
    top = contract(*[row(block) for block in range(7)], row(7, largest=120.0)).alerts[0]
    assert (top.cause, top.action) == ("Normal for LMs (residual accumulation)", "Monitor trend")
    small = contract(row(0, smallest=1e-11)).alerts[0]
    assert (small.cause, small.action) == ("Dying neurons", "Check gradient flow")


def test_ours_does_not_warn_of_large_gains_that_the_reference_has_as_well() -> None:
    rows = [beside(block, largest=110.0, reference_max=108.0, smallest=1e-14) for block in range(4)]
    assert weight_alerts(measured(*rows), policy=DEFAULT) == []
    assert short(contract(*rows).alerts) != []


@pytest.mark.parametrize(("largest", "severity"), [(19.9, None), (20.1, "warning"), (40.1, "critical")])
def test_ours_warns_of_a_maximum_that_outgrew_the_reference_s(largest: float, severity: str | None) -> None:
    rows = [beside(0, largest=5.0, reference_max=10.0), beside(1, largest=largest, reference_max=2.0)]
    alerts = weight_alerts(measured(*rows), policy=DEFAULT)
    assert short(alerts) == ([(1, "exploding", severity)] if severity else [])
    if alerts:
        assert alerts[0].threshold == (20.0 if severity == "warning" else 40.0)


def test_ours_does_not_judge_small_weights_by_their_growth() -> None:
    assert weight_alerts(measured(beside(0, largest=0.9, reference_max=0.001)), policy=DEFAULT) == []


def test_ours_warns_of_rows_that_died() -> None:
    alerts = weight_alerts(measured(beside(0, current_zero_rows=1), beside(1, current_zero_rows=2)), policy=DEFAULT)
    assert short(alerts) == [(1, "zero_rows", "critical"), (0, "zero_rows", "warning")]
    assert weight_alerts(measured(row(-1, current_zero_rows=50), row(0)), policy=DEFAULT) == [], "unused tokens"


@pytest.mark.parametrize(("norm", "alerts"), [(100.0, 0), (299.0, 0), (301.0, 1), (34.0, 0), (33.0, 1)])
def test_ours_warns_of_norms_far_from_the_reference_s_both_ways(norm: float, alerts: int) -> None:
    assert len(weight_alerts(measured(beside(0, norm=norm)), policy=DEFAULT)) == alerts


@pytest.mark.parametrize(("norm", "alerts"), [(100.0, 0), (301.0, 1), (33.0, 1)])
def test_a_spike_is_against_the_checkpoint_before(norm: float, alerts: int) -> None:
    now = measured(row(0, norm=norm, step=30))
    change = norm_change(
        now, [measured(row(0, step=20, checkpoint="checkpoint-20")), measured(row(0, step=40, norm=1.0))]
    )
    found = parameter_stability(now, policy=DEFAULT, change=change)
    assert short(found.alerts) == [(0, "spike", "warning")] * alerts
    assert found.earlier_checkpoint == "checkpoint-20"
    assert weight_alerts(now, policy=CONTRACT, change=change) == [], "the contract has no such rule"


def test_ours_warns_near_the_end_of_a_format() -> None:
    alerts = weight_alerts(
        measured(row(0, dtype="F16", largest=7000.0), row(1, dtype="BF16", largest=7000.0)), policy=DEFAULT
    )
    assert short(alerts) == [(0, "dtype_max", "warning")]


def test_the_verdict_follows_from_health() -> None:
    for rows, word in (([row(0)], "PASS"), ([row(0, largest=120.0)], "WARN"), ([row(0, current_nan=1)], "FAIL")):
        found = verdict(contract(*rows), policy=CONTRACT, now=7.0)
        assert (found.verdict, found.name, found.policy, found.time) == (word, "weight_stability", "contract", 7.0)


def test_an_infinite_value_is_null_with_its_reason() -> None:
    found = contract(row(0, current_infinite=1))
    document = json.loads(msgspec.json.encode(found))
    place = next(i for i, alert in enumerate(found.alerts) if math.isinf(alert.value))
    assert document["alerts"][place]["value"] is None
    assert document["why"][f"alerts[{place}].value"] == "it is infinite"

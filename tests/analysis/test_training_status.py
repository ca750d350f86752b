"""The status document: every key in its order, valid JSON whatever the losses are, and a reason for every null."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.layer_activity import LayerActivity, LayerName, LayerRule, LayerValues
from barograph.analysis.training_status import StatusSample, TrainingStatus, training_status
from barograph.records import Alert, Signals

KEYS = [
    "status",
    "current_step",
    "total_steps",
    "epoch",
    "loss",
    "learning_rate",
    "timestamp",
    "model_name",
    "max_output_tokens",
    "context_window",
    "batch_step",
    "batch_total_steps",
    "batch_number",
    "batch_queue_size",
    "current_file",
    "current_prompt",
    "golden_answer",
    "model_answer",
    "answer_matches",
    "recent_examples",
    "total_evals",
    "total_correct",
    "accuracy_percent",
    "validation_loss",
    "val_train_gap",
    "error_message",
    "error_type",
    "fixed_eval_em",
    "fixed_eval_ce",
    "fixed_eval_ece",
    "fixed_eval_trend",
    "accuracy_last_20",
    "accuracy_last_50",
    "accuracy_trend",
    "pattern_heatmap",
    "lora_stats",
    "lora_summary",
    "streaming_ce",
    "loss_variance",
    "token_entropy",
    "loss_trend",
    "active_alerts",
    "alert_summary",
    "tokens_per_sec",
    "tokens_per_sec_avg",
    "throughput_trend",
    "tokens_per_sec_baseline",
    "throughput_vram_samples",
    "why",
]
"""As the reference of endpoints lists them."""

RULE = LayerRule(
    dead_below=0.0,
    dead_checks=1,
    needs_zero_weight=False,
    vanishing_below=1e-5,
    exploding_above=100.0,
    vanishing_ratio=0.0,
    exploding_ratio=math.inf,
    min_history=1,
    history=100,
)
NUMBERS = st.floats() | st.none()


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is no JSON")


def document(status: TrainingStatus) -> dict[str, object]:
    """What a strict reader of JSON makes of it."""
    read: dict[str, object] = json.loads(msgspec.json.encode(status), parse_constant=refuse)
    return read


def layers(gradient: list[float | None]) -> LayerActivity:
    fold = LayerActivity(RULE)
    names = tuple(LayerName(f"model.layers.{block}", "") for block in range(len(gradient)))
    fold.update(3, LayerValues(names=names, gradient=gradient))
    return fold


def test_keys_are_those_of_the_reference_in_their_order() -> None:
    assert list(document(training_status(status="training", now=0.0))) == KEYS


def test_with_nothing_known_every_null_has_its_reason_and_nothing_is_zero() -> None:
    found = document(training_status(status="idle", now=0.0))
    why = found["why"]
    assert isinstance(why, dict)
    empty = {field for field, value in found.items() if value is None or value == "unknown"}
    assert set(why) == empty
    assert set(found) - empty == {"status", "timestamp", "why"}
    assert found["timestamp"] == "1970-01-01T00:00:00+00:00"
    assert "not measured" not in why.values()


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_it_is_valid_json_with_any_number_in_it(
    loss: float | None, average: float | None, rate: float | None, norm: float | None, memory: float | None
) -> None:
    fold = layers([norm, 0.5])
    sample = StatusSample(
        timestamp=None,
        step=1,
        tokens_per_sec=rate,
        vram_used_gb=memory,
        vram_pct=memory,
        batch_size=None,
        sequence_length=None,
    )
    found = document(
        training_status(
            status="training",
            now=1.0,
            loss=loss,
            signals=Signals(step=3, time=1.0, streaming_ce=average, tokens_per_sec=rate),
            summary=fold.summary(),
            rows=fold.rows(),
            samples=[sample],
            metrics={} if norm is None else {"fixed_eval_ce": norm},
        )
    )
    why = found["why"]
    assert isinstance(why, dict)
    assert set(why) == {field for field, value in found.items() if value is None or value == "unknown"}
    for field, value in (("loss", loss), ("streaming_ce", average), ("tokens_per_sec", rate)):
        assert found[field] == (value if value is not None and math.isfinite(value) else None)


def test_a_loss_that_is_nan_is_null_and_says_so() -> None:
    found = training_status(status="training", now=1.0, step=7, loss=math.nan)
    assert (found.loss, found.why["loss"]) == (None, "it is NaN at step 7")


def test_reasons_of_the_signals_and_of_the_caller_are_kept() -> None:
    signals = Signals(step=7, time=1.0, why={"token_entropy": "the model returns no logits"})
    found = training_status(status="training", now=1.0, signals=signals, why={"epoch": "a stream has no epochs"})
    assert (found.why["token_entropy"], found.why["epoch"]) == ("the model returns no logits", "a stream has no epochs")
    assert found.current_step == 7


def test_alerts_that_are_not_over_are_listed_with_the_keys_of_the_seed() -> None:
    def alert(name: str, **said: object) -> Alert:
        return msgspec.convert({"type": "alert", "time": 1.0, "title": name, "id": name} | said, Alert)

    alerts = [
        alert("nan", level="critical", category="loss", text="NaN at step 7", recommendation="Stop.", step=7, count=9),
        alert("slow", state="recovering"),
        alert("old", state="resolved"),
        alert("perhaps", state="pending"),
    ]
    found = training_status(status="training", now=1.0, alerts=alerts)
    assert found.active_alerts is not None
    assert [one.message for one in found.active_alerts] == ["nan", "slow"]
    assert found.alert_summary is not None
    assert (found.alert_summary.total, found.alert_summary.critical, found.alert_summary.warning) == (2, 1, 1)
    first = msgspec.to_builtins(found.active_alerts[0])
    assert {key: first[key] for key in ("severity", "category", "message", "details", "recommendation")} == {
        "severity": "critical",
        "category": "loss",
        "message": "nan",
        "details": "NaN at step 7",
        "recommendation": "Stop.",
    }
    quiet = training_status(status="training", now=1.0, alerts=[])
    assert quiet.active_alerts == []
    assert quiet.alert_summary is not None
    assert quiet.alert_summary.total == 0


def test_layers_are_told_and_a_gradient_that_is_nan_is_null_with_its_status() -> None:
    fold = layers([0.5, math.nan, 0.0])
    found = training_status(status="training", now=1.0, summary=fold.summary(), rows=fold.rows())
    assert found.lora_summary is not None
    assert found.lora_summary.active_layers == 1
    assert found.lora_stats is not None
    assert found.lora_stats["model.layers.0"].current_grad_norm == 0.5
    bad = found.lora_stats["model.layers.1"]
    assert (bad.current_grad_norm, bad.status) == (None, "non_finite")
    assert found.lora_stats["model.layers.2"].status == "dead"


def test_layers_that_cannot_be_measured_are_null_with_the_reason() -> None:
    fold = LayerActivity(RULE)
    fold.update(1, LayerValues(available=False, reason="the parameters are sharded"))
    found = training_status(status="training", now=1.0, summary=fold.summary(), rows=fold.rows())
    assert (found.lora_stats, found.lora_summary) == (None, None)
    assert found.why["lora_summary"] == "layers are not measured: the parameters are sharded"


@pytest.mark.parametrize(("count", "kept"), [(0, None), (5, 5), (100, 60)])
def test_the_newest_60_samples_are_kept(count: int, kept: int | None) -> None:
    samples = [
        StatusSample(
            timestamp=None,
            step=step,
            tokens_per_sec=1.0,
            vram_used_gb=None,
            vram_pct=None,
            batch_size=8,
            sequence_length=512,
        )
        for step in range(count)
    ]
    found = training_status(status="training", now=1.0, samples=samples).throughput_vram_samples
    assert (None if found is None else len(found)) == kept
    assert not found or found[-1].step == count - 1

"""The document `status/training_status.json`: what a training says of itself, for readers of the seeds' pages.

The base keys of the old writer come first, then those of seed 001, then ours, then `why`. Every key is always present;
null is not measured, and `why` says why. A number that is not finite is null too, and `why` spells it: the document is
valid JSON whatever the losses are.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from barograph.analysis.layer_activity import LayerRow, LayerStatus, LayerSummary
from barograph.records import Alert, Signals
from barograph.records.alerts import AlertCategory, AlertStateWord
from barograph.records.quantities import AlertLevel, Count, RunStateWord, Step, spelled
from barograph.records.signals import TrendWord

SAMPLES = 60
"""Newest samples that the document holds."""


class StatusAlert(Struct, frozen=True, kw_only=True):
    """An alert that is not over; the first six keys are those of seed 001's alerts."""

    severity: Annotated[AlertLevel, Meta(description="`info`, `warning` or `critical`.")]
    category: Annotated[AlertCategory, Meta(description="What it is about.")]
    message: Annotated[str, Meta(description="One line.")]
    details: Annotated[str, Meta(description="With the numbers.")]
    recommendation: Annotated[str, Meta(description="What to do; empty for an alert of the user's.")]
    timestamp: Annotated[str, Meta(description="When that was said of it, ISO 8601 UTC.")]
    id: Annotated[str, Meta(description="Its identity; empty for one of the user's.")]
    condition: Annotated[str, Meta(description="Table of the policy that raised it.")]
    state: Annotated[AlertStateWord, Meta(description="Where in its life it is.")]
    step: Annotated[Step | None, Meta(description="Newest step when that was said.")]
    count: Annotated[Count, Meta(description="How often the condition was seen.")]


class StatusAlertSummary(Struct, frozen=True, kw_only=True):
    """How many alerts are not over."""

    total: Annotated[Count, Meta(description="All.")]
    critical: Annotated[Count, Meta(description="Critical ones.")]
    warning: Annotated[Count, Meta(description="Warnings.")]
    info: Annotated[Count, Meta(description="The others.")]


class StatusLayer(Struct, frozen=True, kw_only=True):
    """One layer; null is not measured, or no number: then its status says so."""

    mean_grad_norm: Annotated[float | None, Meta(description="Mean of the gradient norms that are kept.")]
    max_grad_norm: Annotated[float | None, Meta(description="Greatest of them.")]
    current_grad_norm: Annotated[float | None, Meta(description="Newest one.")]
    mean_update: Annotated[float | None, Meta(description="Mean norm of the changes by one step.")]
    max_update: Annotated[float | None, Meta(description="Greatest of them.")]
    current_update: Annotated[float | None, Meta(description="Newest one.")]
    update_ratio: Annotated[float | None, Meta(description="|dW| / |W|.")]
    num_updates: Annotated[Count, Meta(description="Collections in which it had a gradient.")]
    status: Annotated[LayerStatus, Meta(description="What the policy says of it.")]


class StatusSample(Struct, frozen=True, kw_only=True):
    """Throughput and memory at one step: also a sample of `GET /api/throughput/samples`."""

    timestamp: Annotated[str | None, Meta(description="When, ISO 8601 UTC.")]
    step: Annotated[Step | None, Meta(description="The step.")]
    tokens_per_sec: Annotated[float | None, Meta(description="Throughput then.")]
    vram_used_gb: Annotated[
        float | None, Meta(description="GPU memory in use, of the GPU that has most in use, 1e9 bytes.")
    ]
    vram_pct: Annotated[float | None, Meta(description="Of the fullest GPU, percent.")]
    batch_size: Annotated[Count | None, Meta(description="Examples of the step.")]
    sequence_length: Annotated[Count | None, Meta(description="Greatest length of its sequences.")]


class StatusExample(Struct, frozen=True, kw_only=True):
    """One answer of the model beside the one that was wanted."""

    step: Annotated[Step | None, Meta(description="When it was asked.")]
    prompt: Annotated[str | None, Meta(description="What it was asked.")]
    golden_answer: Annotated[str | None, Meta(description="What was wanted.")]
    model_answer: Annotated[str | None, Meta(description="What it said.")]
    matches: Annotated[bool | None, Meta(description="Whether that is the same.")]


class StatusHeatmapCell(Struct, frozen=True, kw_only=True):
    """One cell of the heatmap of patterns and lengths."""

    em: Annotated[float | None, Meta(description="Share of right answers; null if there were none.")]
    n: Annotated[Count, Meta(description="Answers.")]


class StatusHeatmap(Struct, frozen=True, kw_only=True):
    """Right answers by pattern and length."""

    rows: Annotated[list[str], Meta(description="Patterns.")]
    columns: Annotated[list[str], Meta(description="Lengths.")]
    cells: Annotated[list[list[StatusHeatmapCell]], Meta(description="By row and column.")]


class TrainingStatus(Struct, frozen=True, kw_only=True):
    """The document `training_status.json`."""

    status: Annotated[RunStateWord, Meta(description="What the run does.")]
    current_step: Annotated[Step | None, Meta(description="Newest step.")]
    total_steps: Annotated[Step | None, Meta(description="Steps that are planned.")]
    epoch: Annotated[float | None, Meta(description="Epochs made.")]
    loss: Annotated[float | None, Meta(description="Newest training loss, nats.")]
    learning_rate: Annotated[float | None, Meta(description="Newest learning rate.")]
    timestamp: Annotated[str, Meta(description="When this was written, ISO 8601 UTC.")]
    model_name: Annotated[str | None, Meta(description="Model that is trained.")]
    max_output_tokens: Annotated[Count | None, Meta(description="Most tokens of an answer.")]
    context_window: Annotated[Count | None, Meta(description="Most tokens of a training example.")]
    batch_step: Annotated[Step | None, Meta(description="Step within the queued file.")]
    batch_total_steps: Annotated[Step | None, Meta(description="Steps that the queued file needs.")]
    batch_number: Annotated[Count | None, Meta(description="Which file of the queue.")]
    batch_queue_size: Annotated[Count | None, Meta(description="Files that wait.")]
    current_file: Annotated[str | None, Meta(description="File that is trained on.")]
    current_prompt: Annotated[str | None, Meta(description="Prompt of the newest answer.")]
    golden_answer: Annotated[str | None, Meta(description="Answer that was wanted.")]
    model_answer: Annotated[str | None, Meta(description="The model's answer.")]
    answer_matches: Annotated[bool | None, Meta(description="Whether they are the same.")]
    recent_examples: Annotated[list[StatusExample] | None, Meta(description="The last 5.")]
    total_evals: Annotated[Count | None, Meta(description="Answers that were judged.")]
    total_correct: Annotated[Count | None, Meta(description="Right ones.")]
    accuracy_percent: Annotated[float | None, Meta(description="Share of right ones, percent.")]
    validation_loss: Annotated[float | None, Meta(description="Newest evaluation loss, nats.")]
    val_train_gap: Annotated[float | None, Meta(description="It less the training loss about then, nats.")]
    error_message: Annotated[str | None, Meta(description="What the training died of.")]
    error_type: Annotated[str | None, Meta(description="Type of that error.")]
    fixed_eval_em: Annotated[float | None, Meta(description="Right answers of the fixed evaluation, ratio.")]
    fixed_eval_ce: Annotated[float | None, Meta(description="Its cross-entropy, nats.")]
    fixed_eval_ece: Annotated[float | None, Meta(description="Its expected calibration error.")]
    fixed_eval_trend: Annotated[TrendWord | None, Meta(description="Its direction.")]
    accuracy_last_20: Annotated[float | None, Meta(description="Right ones of the last 20 answers, ratio.")]
    accuracy_last_50: Annotated[float | None, Meta(description="Right ones of the last 50 answers, ratio.")]
    accuracy_trend: Annotated[TrendWord | None, Meta(description="Direction of the answers.")]
    pattern_heatmap: Annotated[StatusHeatmap | None, Meta(description="Right answers by pattern and length.")]
    lora_stats: Annotated[dict[str, StatusLayer] | None, Meta(description="Layer or adapter -> its gradients.")]
    lora_summary: Annotated[LayerSummary | None, Meta(description="All of them together.")]
    streaming_ce: Annotated[float | None, Meta(description="Moving average of the loss, nats.")]
    loss_variance: Annotated[float | None, Meta(description="Variance of the last losses, nats squared.")]
    token_entropy: Annotated[float | None, Meta(description="Mean entropy of predicted tokens, nats.")]
    loss_trend: Annotated[TrendWord, Meta(description="Direction of the loss.")]
    active_alerts: Annotated[list[StatusAlert] | None, Meta(description="Alerts that are not over.")]
    alert_summary: Annotated[StatusAlertSummary | None, Meta(description="How many.")]
    tokens_per_sec: Annotated[float | None, Meta(description="Throughput of the last steps: tokens of rank 0 alone.")]
    tokens_per_sec_avg: Annotated[float | None, Meta(description="Of the whole attempt.")]
    throughput_trend: Annotated[TrendWord, Meta(description="Direction of the throughput.")]
    tokens_per_sec_baseline: Annotated[float | None, Meta(description="Early in the attempt, after warming up.")]
    throughput_vram_samples: Annotated[list[StatusSample] | None, Meta(description="The last 60.")]
    why: Annotated[dict[str, str], Meta(description="Field that is null -> reason.")]


class RunError(Struct, frozen=True, kw_only=True):
    """What a training died of."""

    message: str | None = None
    """Its text."""
    type: str | None = None
    """Type of the exception."""
    why: dict[str, str] = field(default_factory=dict)
    """Field of the document that is null -> reason."""


_TYPE = re.compile(r"[A-Za-z_][\w.]*")
"""An exception's type, as a traceback says it."""

QUEUE = "the run is not fed by a training queue"
ANSWERS = "no answers of the model are judged while it trains"
FIXED = "no fixed evaluation has reported it"
SIGNALS = "nothing is derived of this training yet"

_REASONS: dict[str, str] = {
    "current_step": "no step has been seen",
    "total_steps": "the number of planned steps is not known",
    "epoch": "the training does not say it",
    "loss": "no loss has been seen",
    "learning_rate": "the training does not report it",
    "model_name": "the training does not name its model",
    "max_output_tokens": "no answers are generated while it trains",
    "context_window": "the training does not say it",
    **dict.fromkeys(("batch_step", "batch_total_steps", "batch_number", "batch_queue_size", "current_file"), QUEUE),
    **dict.fromkeys(("current_prompt", "golden_answer", "model_answer", "answer_matches", "recent_examples"), ANSWERS),
    **dict.fromkeys(("total_evals", "total_correct", "accuracy_percent"), ANSWERS),
    **dict.fromkeys(("accuracy_last_20", "accuracy_last_50", "accuracy_trend", "pattern_heatmap"), ANSWERS),
    "validation_loss": "no evaluation loss has been logged",
    "val_train_gap": "no evaluation loss has been logged",
    "error_message": "no error",
    "error_type": "no error",
    **dict.fromkeys(("fixed_eval_em", "fixed_eval_ce", "fixed_eval_ece", "fixed_eval_trend"), FIXED),
    "lora_stats": "the gradients of layers are not collected",
    "lora_summary": "the gradients of layers are not collected",
    **dict.fromkeys(("streaming_ce", "loss_variance", "token_entropy", "loss_trend"), SIGNALS),
    "active_alerts": "no conditions are watched",
    "alert_summary": "no conditions are watched",
    **dict.fromkeys(("tokens_per_sec", "tokens_per_sec_avg", "tokens_per_sec_baseline", "throughput_trend"), SIGNALS),
    "throughput_vram_samples": "no steps have been timed",
}

REPORTED = ("fixed_eval_em", "fixed_eval_ce", "fixed_eval_ece", "accuracy_last_20", "accuracy_last_50")
"""Fields that are taken of what a training reports of itself under their own names."""


def training_status(
    *,
    status: RunStateWord,
    now: float,
    signals: Signals | None = None,
    loss: float | None = None,
    step: int | None = None,
    total_steps: int | None = None,
    epoch: float | None = None,
    learning_rate: float | None = None,
    model_name: str | None = None,
    max_output_tokens: int | None = None,
    context_window: int | None = None,
    alerts: Sequence[Alert] | None = None,
    summary: LayerSummary | None = None,
    rows: Sequence[LayerRow] | None = None,
    samples: Sequence[StatusSample] | None = None,
    metrics: Mapping[str, float] | None = None,
    error_message: str | None = None,
    error_type: str | None = None,
    why: Mapping[str, str] | None = None,
) -> TrainingStatus:
    """The document at `now`, seconds since 1970.

    `loss`, `learning_rate` and `step` stand before those of `signals`; `alerts` may hold finished ones, and is None if
    none are watched. `metrics` are values under their field's name that a training reports of itself, such as
    `fixed_eval_em`. `why` adds reasons to, or replaces, those that follow from what was given.
    """
    told = signals or Signals(step=0, time=now)
    said = Numbers({**_REASONS, **told.why, **(why or {})})
    reported = metrics or {}
    measured = summary if summary is not None and summary.available and summary.total_layers else None
    if summary is not None and measured is None:
        said.reasons.update(dict.fromkeys(("lora_stats", "lora_summary"), summary.sentence))
    active = None if alerts is None else [_alert(one) for one in alerts if one.state in {"firing", "recovering"}]
    newest_step = step if step is not None else signals.step if signals is not None else None
    at = "" if newest_step is None else f" at step {newest_step}"
    document = TrainingStatus(
        status=status,
        current_step=newest_step,
        total_steps=total_steps,
        epoch=said.finite("epoch", epoch),
        loss=said.finite("loss", loss, at),
        learning_rate=said.finite("learning_rate", told.learning_rate if learning_rate is None else learning_rate),
        timestamp=_iso(now),
        model_name=model_name,
        max_output_tokens=max_output_tokens,
        context_window=context_window,
        batch_step=None,
        batch_total_steps=None,
        batch_number=None,
        batch_queue_size=None,
        current_file=None,
        current_prompt=None,
        golden_answer=None,
        model_answer=None,
        answer_matches=None,
        recent_examples=None,
        total_evals=None,
        total_correct=None,
        accuracy_percent=None,
        validation_loss=said.finite("validation_loss", told.validation_loss),
        val_train_gap=said.finite("val_train_gap", told.val_train_gap),
        error_message=error_message,
        error_type=error_type,
        **{field: said.finite(field, reported.get(field)) for field in REPORTED},
        fixed_eval_trend=None,
        accuracy_trend=None,
        pattern_heatmap=None,
        lora_stats=None if measured is None or rows is None else {row.module: _layer(row) for row in rows},
        lora_summary=measured,
        streaming_ce=said.finite("streaming_ce", told.streaming_ce),
        loss_variance=said.finite("loss_variance", told.loss_variance),
        token_entropy=said.finite("token_entropy", told.token_entropy),
        loss_trend=told.loss_trend,
        active_alerts=active,
        alert_summary=None if active is None else _counts(active),
        tokens_per_sec=said.finite("tokens_per_sec", told.tokens_per_sec),
        tokens_per_sec_avg=said.finite("tokens_per_sec_avg", told.tokens_per_sec_avg),
        throughput_trend=told.throughput_trend,
        tokens_per_sec_baseline=said.finite("tokens_per_sec_baseline", told.tokens_per_sec_baseline),
        throughput_vram_samples=[_sample(one) for one in samples[-SAMPLES:]] if samples else None,
        why={},
    )
    return replace(document, why=_why(document, said.reasons))


def error_of(reason: str | None) -> RunError:
    """What the reason of a crash says: `ValueError: no such file` has a message and a type. An exception without a text
    is its type alone, and a reason that names no exception is a message alone."""
    if not reason:
        return RunError()
    kind, colon, message = reason.partition(": ")
    if not _TYPE.fullmatch(kind):
        return RunError(message=reason, why={"error_type": "what ended the training names no type"})
    if not colon or not message.strip():
        return RunError(type=kind, why={"error_message": "the error has no text"})
    return RunError(message=message, type=kind)


class Numbers:
    """A fold over the numbers of a document: those that JSON cannot say become null, and `reasons` says what they
    were."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        """Field -> why it is null, if it is."""

    def finite(self, field: str, value: float | None, at: str = "") -> float | None:
        """The value if it is a finite number."""
        if value is None or math.isfinite(value):
            return value
        self.reasons[field] = f"it is {spelled(value)}{at}"
        return None


def _why(document: TrainingStatus, reasons: Mapping[str, str]) -> dict[str, str]:
    """A reason for every field that is null or unknown."""
    return {
        field: reasons.get(field, "not measured")
        for field in document.__struct_fields__
        if getattr(document, field) is None or getattr(document, field) == "unknown"
    }


def _alert(alert: Alert) -> StatusAlert:
    return StatusAlert(
        severity=alert.level,
        category=alert.category,
        message=alert.title,
        details=alert.text,
        recommendation=alert.recommendation,
        timestamp=_iso(alert.time),
        id=alert.id,
        condition=alert.condition,
        state=alert.state,
        step=alert.step,
        count=alert.count,
    )


def _counts(alerts: Sequence[StatusAlert]) -> StatusAlertSummary:
    levels = [one.severity for one in alerts]
    return StatusAlertSummary(
        total=len(levels),
        critical=levels.count("critical"),
        warning=levels.count("warning"),
        info=levels.count("info"),
    )


def _layer(row: LayerRow) -> StatusLayer:
    current = row.current_grad_norm
    return StatusLayer(
        mean_grad_norm=_number(row.mean_grad_norm),
        max_grad_norm=_number(row.max_grad_norm),
        current_grad_norm=None if current is None else _number(float(current)),
        mean_update=_number(row.mean_update),
        max_update=_number(row.max_update),
        current_update=_number(row.current_update),
        update_ratio=_number(row.update_ratio),
        num_updates=row.num_updates,
        status=row.status,
    )


def _sample(sample: StatusSample) -> StatusSample:
    return replace(
        sample,
        tokens_per_sec=_number(sample.tokens_per_sec),
        vram_used_gb=_number(sample.vram_used_gb),
        vram_pct=_number(sample.vram_pct),
    )


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()

"""The record `Signals` of the folds over a training: each part of it from one fold, so that one that fails leaves the
others as they are."""

import math
from collections.abc import Mapping

from msgspec.structs import asdict, replace

from barograph.analysis.plateau import PlateauResult
from barograph.analysis.streaming import StreamingLoss
from barograph.analysis.throughput import Rates, Throughput
from barograph.policy.evaluation_conditions import Evaluations
from barograph.records.quantities import spelled
from barograph.records.signals import Signals

OF_LOSSES = (
    "streaming_ce",
    "loss_variance",
    "loss_noise",
    "loss_trend",
    "loss_change_per_1000",
    "loss_change_low",
    "loss_change_high",
    "loss_change",
    "loss_change_steps",
)
OF_PLATEAU = ("plateau", "expected_gain_high")
OF_THROUGHPUT = Rates.__struct_fields__
OF_EVALUATIONS = ("validation_loss", "val_train_gap")

NOTHING = {
    "learning_rate": "no learning rate is logged",
    "gradient_norm": "no norm of the gradients is known",
    "token_entropy": "no logits were looked at yet",
    "top1_probability": "no logits were looked at yet",
    "mfu": "the FLOPs of the model or the peak of the device are not known",
    "overhead_share": "nobody measured it yet",
}
"""Field -> why it is null as long as nobody says more."""


def with_losses(signals: Signals, fold: StreamingLoss) -> Signals:
    """With what the losses say."""
    trend, change = fold.trend, fold.change
    return replace(
        signals,
        streaming_ce=fold.streaming_ce,
        loss_variance=fold.variance,
        loss_noise=fold.noise,
        non_finite=fold.non_finite,
        loss_trend="unknown" if trend is None else trend.word,
        loss_change_per_1000=None if trend is None else trend.change_per_1000,
        loss_change_low=None if trend is None else trend.low,
        loss_change_high=None if trend is None else trend.high,
        loss_change=None if change is None else change.ratio,
        loss_change_steps=None if change is None else change.steps,
        why={**signals.why, **fold.reasons()},
    )


def with_plateau(signals: Signals, found: PlateauResult) -> Signals:
    """With what is still to be gained. The trend is of more losses than a plateau: where those fell and the newest do
    not any more, "improving" would be said of what is over."""
    why = {}
    if found.plateau is None:
        why = dict.fromkeys(OF_PLATEAU, found.why)
    elif found.expected_gain_high is None:
        why = {"expected_gain_high": "the policy's rule for a plateau has no upper bound"}
    return replace(
        signals,
        plateau=found.plateau,
        loss_trend="stable" if found.plateau and signals.loss_trend == "improving" else signals.loss_trend,
        expected_gain_high=found.expected_gain_high,
        why={**signals.why, **why},
    )


def with_throughput(signals: Signals, fold: Throughput, *, total_steps: int | None) -> Signals:
    """With how fast it goes."""
    rates = asdict(fold.rates(total_steps=total_steps, step=signals.step))
    return replace(signals, **rates, why={**signals.why, **fold.reasons(total_steps=total_steps)})


def with_evaluations(signals: Signals, fold: Evaluations) -> Signals:
    """With the newest evaluation loss."""
    newest = fold.newest
    if newest is None:
        return replace(signals, why={**signals.why, **dict.fromkeys(OF_EVALUATIONS, "no evaluation loss is logged")})
    gap = None if newest.training_loss is None else newest.loss - newest.training_loss
    why = {} if gap is not None else {"val_train_gap": "no training loss was known at that evaluation"}
    if gap is not None and not math.isfinite(gap):
        why = {"val_train_gap": f"it is {spelled(gap)} at step {newest.step}"}
    return replace(signals, validation_loss=newest.loss, val_train_gap=gap, why={**signals.why, **why})


def explained(signals: Signals, reasons: Mapping[str, str]) -> Signals:
    """With `reasons` before its own for whatever is not known, and without those of what is."""
    why = {}
    for name, reason in {**NOTHING, **signals.why, **reasons}.items():
        if name.startswith("conditions.") or _missing(signals, name):
            why[name] = reason
    return replace(signals, why=why)


def _missing(signals: Signals, name: str) -> bool:
    """Whether a field is not known; a name that is no field is a reason of its own."""
    value = getattr(signals, name, None)
    return value is None or value == "unknown" or (name == "val_train_gap" and not math.isfinite(value))

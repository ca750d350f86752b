"""Every analysis: a pure function of records. Reading `ANALYSES` tells what exists."""

from collections.abc import Callable

from barograph.analysis.attempts import AttemptSteps, begins_at, shown_until
from barograph.analysis.blocks import blocks
from barograph.analysis.curve_parts import CurvePart, curve_of
from barograph.analysis.delta_spectrum import DeltaSpectrum, delta_spectrum, randomised_spectrum, thin_spectrum
from barograph.analysis.divergence import Divergence
from barograph.analysis.exact_match import Interval, exact_match, wilson_interval
from barograph.analysis.finite_losses import FiniteLosses, finite_losses, joined_losses
from barograph.analysis.layer_activity import LayerActivity, LayerValues
from barograph.analysis.layer_drift import LayerDrift, layer_drift
from barograph.analysis.layer_history import layers_kept
from barograph.analysis.layer_name import LayerName, layer_of
from barograph.analysis.layer_rows import LayerRow, LayerSummary, layer_summary
from barograph.analysis.layer_status import layer_status
from barograph.analysis.loss_curve import Curve, LossCurve, loss_curve
from barograph.analysis.model_flops import Utilisation, utilisation
from barograph.analysis.norm_change import NormChange, norm_change
from barograph.analysis.plateau import Plateau
from barograph.analysis.rollup import SMOOTHING, Rollup, averages, rollup
from barograph.analysis.run_state import RunState, WriterSigns, run_state
from barograph.analysis.spikes import Spike, Spikes, spikes
from barograph.analysis.streaming import StreamingLoss
from barograph.analysis.tensor_drift import TensorDrift, tensor_drift
from barograph.analysis.throughput import StepTiming, Throughput
from barograph.analysis.training_drift_v1 import TrainingDriftV1, training_drift_v1
from barograph.analysis.training_status import TrainingStatus, training_status
from barograph.analysis.trend import Trend, trend
from barograph.analysis.weight_stability import WeightStability, weight_stability

ANALYSES: tuple[Callable[..., object], ...] = (
    run_state,
    shown_until,
    rollup,
    finite_losses,
    exact_match,
    blocks,
    layer_drift,
    weight_stability,
    norm_change,
    tensor_drift,
    delta_spectrum,
    spikes,
    trend,
    training_drift_v1,
    curve_of,
    loss_curve,
    StreamingLoss,
    Divergence,
    Plateau,
    Throughput,
    utilisation,
    layer_of,
    layers_kept,
    layer_status,
    layer_summary,
    LayerActivity,
    training_status,
)

__all__ = [
    "ANALYSES",
    "SMOOTHING",
    "AttemptSteps",
    "Curve",
    "CurvePart",
    "DeltaSpectrum",
    "Divergence",
    "FiniteLosses",
    "Interval",
    "LayerActivity",
    "LayerDrift",
    "LayerName",
    "LayerRow",
    "LayerSummary",
    "LayerValues",
    "LossCurve",
    "NormChange",
    "Plateau",
    "Rollup",
    "RunState",
    "Spike",
    "Spikes",
    "StepTiming",
    "StreamingLoss",
    "TensorDrift",
    "Throughput",
    "TrainingDriftV1",
    "TrainingStatus",
    "Trend",
    "Utilisation",
    "WeightStability",
    "WriterSigns",
    "averages",
    "begins_at",
    "blocks",
    "curve_of",
    "delta_spectrum",
    "exact_match",
    "finite_losses",
    "joined_losses",
    "layer_drift",
    "layer_of",
    "layer_status",
    "layer_summary",
    "layers_kept",
    "loss_curve",
    "norm_change",
    "randomised_spectrum",
    "rollup",
    "run_state",
    "shown_until",
    "spikes",
    "tensor_drift",
    "thin_spectrum",
    "training_drift_v1",
    "training_status",
    "trend",
    "utilisation",
    "weight_stability",
    "wilson_interval",
]

"""Every analysis: a pure function of records. Reading `ANALYSES` tells what exists."""

from collections.abc import Callable

from barograph.analysis.attempts import AttemptSteps, begins_at, shown_until
from barograph.analysis.blocks import blocks
from barograph.analysis.delta_spectrum import DeltaSpectrum, delta_spectrum, randomised_spectrum, thin_spectrum
from barograph.analysis.exact_match import Interval, exact_match, wilson_interval
from barograph.analysis.finite_losses import FiniteLosses, finite_losses, joined_losses
from barograph.analysis.layer_drift import LayerDrift, layer_drift
from barograph.analysis.norm_change import NormChange, norm_change
from barograph.analysis.rollup import SMOOTHING, Rollup, averages, rollup
from barograph.analysis.run_state import RunState, WriterSigns, run_state
from barograph.analysis.tensor_drift import TensorDrift, tensor_drift
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
)

__all__ = [
    "ANALYSES",
    "SMOOTHING",
    "AttemptSteps",
    "DeltaSpectrum",
    "FiniteLosses",
    "Interval",
    "LayerDrift",
    "NormChange",
    "Rollup",
    "RunState",
    "TensorDrift",
    "WeightStability",
    "WriterSigns",
    "averages",
    "begins_at",
    "blocks",
    "delta_spectrum",
    "exact_match",
    "finite_losses",
    "joined_losses",
    "layer_drift",
    "norm_change",
    "randomised_spectrum",
    "rollup",
    "run_state",
    "shown_until",
    "tensor_drift",
    "thin_spectrum",
    "weight_stability",
    "wilson_interval",
]

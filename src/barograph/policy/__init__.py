"""Thresholds -> verdicts. What is judged lies in `analysis/`; what it is compared with lies in TOML, here."""

from barograph.policy.exact_match_gain import exact_match_gain
from barograph.policy.gradient_ghost import GradientGhost, gradient_ghost
from barograph.policy.layer_drift import drift_band, drift_colour, drift_findings, interpreted, layer_drift
from barograph.policy.load import load
from barograph.policy.loss_finite import loss_finite
from barograph.policy.tables import Policy
from barograph.policy.training_drift import TrainingDrift, curve_rule, training_drift
from barograph.policy.weight_stability import ParameterStability, parameter_stability, weight_alerts, weight_stability

__all__ = [
    "GradientGhost",
    "ParameterStability",
    "Policy",
    "TrainingDrift",
    "curve_rule",
    "drift_band",
    "drift_colour",
    "drift_findings",
    "exact_match_gain",
    "gradient_ghost",
    "interpreted",
    "layer_drift",
    "load",
    "loss_finite",
    "parameter_stability",
    "training_drift",
    "weight_alerts",
    "weight_stability",
]

"""Thresholds -> verdicts. What is judged lies in `analysis/`; what it is compared with lies in TOML, here."""

from barograph.policy.exact_match_gain import exact_match_gain
from barograph.policy.load import load
from barograph.policy.loss_finite import loss_finite
from barograph.policy.tables import Policy

__all__ = ["Policy", "exact_match_gain", "load", "loss_finite"]

"""Checkpoint files -> one streaming pass -> a row per tensor. Nothing is unpickled, nothing is mapped into memory."""

from barograph.weights.checkpoint import Checkpoint, open_checkpoint
from barograph.weights.drift_pass import Pass, drift_pass
from barograph.weights.fused_pass import fused_pass

__all__ = ["Checkpoint", "Pass", "drift_pass", "fused_pass", "open_checkpoint"]

"""Checkpoint files -> one streaming pass -> a row per tensor. Nothing is unpickled, nothing is mapped into memory."""

from barograph.weights.checkpoint import Checkpoint, open_checkpoint, stamp_of
from barograph.weights.drift_pass import Pass, drift_pass
from barograph.weights.fused_pass import fused_pass
from barograph.weights.local_model import local_model

__all__ = ["Checkpoint", "Pass", "drift_pass", "fused_pass", "local_model", "open_checkpoint", "stamp_of"]

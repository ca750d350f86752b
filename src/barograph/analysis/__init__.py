"""Every analysis: a pure function of records. Reading `ANALYSES` tells what exists."""

from collections.abc import Callable

from barograph.analysis.attempts import AttemptSteps, begins_at, shown_until
from barograph.analysis.exact_match import Interval, exact_match, wilson_interval
from barograph.analysis.finite_losses import FiniteLosses, finite_losses, joined_losses
from barograph.analysis.rollup import SMOOTHING, Rollup, averages, rollup
from barograph.analysis.run_state import RunState, WriterSigns, run_state

ANALYSES: tuple[Callable[..., object], ...] = (
    run_state,
    shown_until,
    rollup,
    finite_losses,
    exact_match,
)

__all__ = [
    "ANALYSES",
    "SMOOTHING",
    "AttemptSteps",
    "FiniteLosses",
    "Interval",
    "Rollup",
    "RunState",
    "WriterSigns",
    "averages",
    "begins_at",
    "exact_match",
    "finite_losses",
    "joined_losses",
    "rollup",
    "run_state",
    "shown_until",
    "wilson_interval",
]

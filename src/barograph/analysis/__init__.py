"""Every analysis: a pure function of records. Reading `ANALYSES` tells what exists."""

from collections.abc import Callable

from barograph.analysis.attempts import AttemptSteps, begins_at, shown_points, shown_until
from barograph.analysis.exact_match import Interval, exact_match, wilson_interval
from barograph.analysis.finite_losses import FiniteLosses, finite_losses, joined_losses
from barograph.analysis.moving_average import MovingAverage, moving_average
from barograph.analysis.run_state import RunState, WriterSigns, run_state

ANALYSES: tuple[Callable[..., object], ...] = (
    run_state,
    shown_until,
    moving_average,
    finite_losses,
    exact_match,
)

__all__ = [
    "ANALYSES",
    "AttemptSteps",
    "FiniteLosses",
    "Interval",
    "MovingAverage",
    "RunState",
    "WriterSigns",
    "begins_at",
    "exact_match",
    "finite_losses",
    "joined_losses",
    "moving_average",
    "run_state",
    "shown_points",
    "shown_until",
    "wilson_interval",
]

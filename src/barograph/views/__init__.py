"""Every document that the API serves: a pure function of the index. Reading `VIEWS` tells what exists."""

from collections.abc import Callable

from barograph.views.live import live_status
from barograph.views.run_detail import run_detail
from barograph.views.runs import runs
from barograph.views.series import series

VIEWS: tuple[Callable[..., object], ...] = (
    runs,
    run_detail,
    series,
    live_status,
)

__all__ = ["VIEWS", "live_status", "run_detail", "runs", "series"]

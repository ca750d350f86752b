"""Every document that the API serves: a pure function of the index. Reading `VIEWS` tells what exists."""

from collections.abc import Callable

from barograph.views.export import export
from barograph.views.live import live_status
from barograph.views.run_detail import run_detail
from barograph.views.runs import runs
from barograph.views.series import series_set

VIEWS: tuple[Callable[..., object], ...] = (
    runs,
    run_detail,
    series_set,
    live_status,
    export,
)

__all__ = ["VIEWS", "export", "live_status", "run_detail", "runs", "series_set"]

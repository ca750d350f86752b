"""Every document that the API serves: a pure function of the index. Reading `VIEWS` tells what exists."""

from collections.abc import Callable

from barograph.views.alerts import alerts
from barograph.views.checkpoints import checkpoint_detail, checkpoint_tensors, checkpoints
from barograph.views.export import export
from barograph.views.layers import layers
from barograph.views.live import live_status
from barograph.views.run_detail import run_detail
from barograph.views.runs import runs
from barograph.views.series import series_set
from barograph.views.signals import signals
from barograph.views.system import system_status
from barograph.views.throughput_samples import throughput_samples
from barograph.views.training_status import training_status
from barograph.views.unified import unified, weights_document
from barograph.views.verdicts import verdicts

VIEWS: tuple[Callable[..., object], ...] = (
    runs,
    run_detail,
    series_set,
    live_status,
    export,
    checkpoints,
    checkpoint_detail,
    checkpoint_tensors,
    unified,
    weights_document,
    verdicts,
    alerts,
    layers,
    signals,
    system_status,
    throughput_samples,
    training_status,
)

__all__ = [
    "VIEWS",
    "alerts",
    "checkpoint_detail",
    "checkpoint_tensors",
    "checkpoints",
    "export",
    "layers",
    "live_status",
    "run_detail",
    "runs",
    "series_set",
    "signals",
    "system_status",
    "throughput_samples",
    "training_status",
    "unified",
    "verdicts",
    "weights_document",
]

"""barograph watches a language model learn, and judges.

    run = barograph.init(project="sft"); run.log({"train/loss": x}, step=n); run.finish()
    trainer = Trainer(..., callbacks=[barograph.TrainerCallback()])

Public names are resolved on first use, so that importing barograph costs a training script next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from barograph.collect import integration

if TYPE_CHECKING:
    from barograph.collect.current import alert, finish, init, log
    from barograph.collect.hugging_face import TrainerCallback
    from barograph.collect.monitors import (
        create_alerts_manager,
        create_lora_monitor,
        create_streaming_tracker,
        create_throughput_monitor,
    )
    from barograph.collect.run import Run
    from barograph.collect.status_writer import create_status_writer

__version__ = "0.1.0"

_HOMES = {
    "init": "barograph.collect.current",
    "log": "barograph.collect.current",
    "alert": "barograph.collect.current",
    "finish": "barograph.collect.current",
    "Run": "barograph.collect.run",
    "TrainerCallback": "barograph.collect.hugging_face",
    "create_lora_monitor": "barograph.collect.monitors",
    "create_streaming_tracker": "barograph.collect.monitors",
    "create_alerts_manager": "barograph.collect.monitors",
    "create_throughput_monitor": "barograph.collect.monitors",
    "create_status_writer": "barograph.collect.status_writer",
}

integration.install()

__all__ = [
    "Run",
    "TrainerCallback",
    "alert",
    "create_alerts_manager",
    "create_lora_monitor",
    "create_status_writer",
    "create_streaming_tracker",
    "create_throughput_monitor",
    "finish",
    "init",
    "log",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'barograph' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

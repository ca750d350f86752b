"""`update_advanced_metrics`, for callers of the writer that the first seed's trainings had.

It keeps `status/training_status.json` in a folder of the caller's, for pages and scripts that read that document. A
training that opens a run needs none of this: its recorder writes the document, and draws, judges and keeps everything.
"""

import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from barograph.analysis.training_status import TrainingStatus, training_status
from barograph.collect.secrets import text_of
from barograph.collect.status_file import StatusFile
from barograph.collect.values_now import number_now, step_now
from barograph.records.quantities import RunStateWord, spelled

FIELDS = frozenset(TrainingStatus.__struct_fields__) - {"timestamp", "why"}
"""What a caller may say."""

OTHER_NAMES = {"lr": "learning_rate", "step": "current_step", "alerts": "active_alerts"}
"""Names of the old method's arguments, and those of the document."""

DEEPEST = 8
"""Levels of dicts and lists within one value."""

logger = logging.getLogger("barograph")


def create_status_writer(directory: str | os.PathLike[str]) -> "TrainingStatusWriter":
    """A writer of `<directory>/status/training_status.json`; the folder is made."""
    folder = Path(directory).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("barograph: %s cannot be made: %s. Training goes on.", folder, error.strerror)
    return TrainingStatusWriter(StatusFile(folder))


class TrainingStatusWriter:
    """Owns the status document of one training, until `close`. Nothing here raises into a training or waits."""

    def __init__(self, file: StatusFile) -> None:
        self._file = file
        self._said: dict[str, object] = {}
        self._wrong: dict[str, str] = {}
        self._unknown: set[str] = set()

    def update_advanced_metrics(
        self,
        step: object,
        total_steps: object = None,
        epoch: object = None,
        loss: object = None,
        lr: object = None,
        **measured: object,
    ) -> None:
        """Say what is known at `step`; each argument is a field of the document, and stays until it is said again.

        `measured` are its other fields: `streaming_ce`, `lora_stats`, `lora_summary`, `alerts` (or `active_alerts`),
        `alert_summary`, `tokens_per_sec` and so on. A number that is not finite is null, and `why` says what it was.
        """
        said = {"step": step_now(step, 0), "total_steps": total_steps, "epoch": epoch, "loss": loss, "lr": lr}
        for given, value in {**said, **measured}.items():
            name = OTHER_NAMES.get(given, given)
            if name not in FIELDS:
                if name not in self._unknown:
                    self._unknown.add(name)
                    logger.warning("barograph: training_status.json has no field %r; it is left out.", name[:100])
            elif value is not None:
                self._take(name, value)
        self._file.offer(document(self._said, self._wrong, now=time.time()))

    def close(self, within_s: float = 2.0, *, status: RunStateWord = "completed") -> bool:
        """Write what was said last, with the `status` that the training has ended in, unless one was said that is not
        `training`; whether it could be within that time. Where nothing was ever said, nothing is written."""
        if self._said:
            if self._said.get("status", "training") == "training":
                self._said["status"] = status
            self._file.offer(document(self._said, self._wrong, now=time.time()))
        return self._file.close(within_s)

    def _take(self, name: str, value: object) -> None:
        try:
            self._said[name], problem = plain(value)
        except Exception as error:  # noqa: BLE001 - a user's value may raise anything, and training must go on
            self._said[name], problem = None, f"it could not be read: {type(error).__name__}"
        self._wrong.pop(name, None)
        if problem:
            self._wrong[name] = problem


def document(said: Mapping[str, object], wrong: Mapping[str, str], *, now: float) -> dict[str, object]:
    """The document with what was said in place of what was not measured. `wrong`: field -> why its value is null."""
    nothing = training_status(status="training", now=now)
    found = {**msgspec.structs.asdict(nothing), **said}
    why = {name: reason for name, reason in nothing.why.items() if said.get(name) is None}
    return {**found, "why": {**why, **wrong}}


def plain(value: object, depth: int = 0) -> tuple[object, str]:
    """A value as JSON can say it, and why it is null if it is. Nothing of the caller's is held on to."""
    if isinstance(value, str):
        return text_of(value), ""
    if value is None or isinstance(value, bool) or (type(value) is int and -(2**63) <= value < 2**64):
        return value, ""
    if depth >= DEEPEST:
        return None, f"it is more than {DEEPEST} levels deep"
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {text_of(key): plain(item, depth + 1)[0] for key, item in value.items()}, ""
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1)[0] for item in value], ""
    number = number_now(value)
    if number is None:
        return None, f"a {type(value).__name__} is no number"
    return (number, "") if math.isfinite(number) else (None, f"it is {spelled(number)}")

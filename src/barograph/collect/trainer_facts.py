"""What a Hugging Face Trainer says of itself: the parts of its objects that we read, and the names of its series."""

import os
from pathlib import Path
from typing import Protocol

from barograph.collect.begin import Model
from barograph.collect.settings import slug

STATE_KEY = "barograph"
"""Our entry in `stateful_callbacks` of a checkpoint's `trainer_state.json`."""


class Arguments(Protocol):
    """The part of transformers' `TrainingArguments` that we read."""

    output_dir: str
    run_name: str | None
    process_index: int
    device: object

    def to_dict(self) -> dict[str, object]: ...


class State(Protocol):
    """The part of transformers' `TrainerState` that we read; `stateful_callbacks` is also where our id is kept."""

    global_step: int
    max_steps: int
    is_hyper_param_search: bool
    stateful_callbacks: dict[str, object]


class Control(Protocol):
    """The part of transformers' `TrainerControl` that we write."""

    should_training_stop: bool


def series_name(key: str) -> str:
    """The name under which transformers' integrations chart a logged key: `eval_x` is `eval/x`, `x` is `train/x`."""
    for split in ("eval", "test"):
        if key.startswith(f"{split}_"):
            return f"{split}/{key[len(split) + 1 :]}"
    return f"train/{key}"


def stored_run_id(state: State) -> str | None:
    """The run id in the checkpoint that `state` was loaded from; None if it has none, or none that is valid."""
    entry = state.stateful_callbacks.get(STATE_KEY)
    attributes = entry.get("attributes") if isinstance(entry, dict) else None
    run_id = attributes.get("run_id") if isinstance(attributes, dict) else None
    return run_id if isinstance(run_id, str) and run_id and slug(run_id) == run_id else None


def model_facts(model: object, args: Arguments, state: State, *, resumed_from: str | None) -> Model:
    """What the banner says of the training. A model from a local folder is named by its absolute path."""
    origin = getattr(getattr(model, "config", None), "_name_or_path", None)
    path = str(origin) if origin else None
    if path is not None and Path(path).is_dir():
        path = str(Path(path).absolute())
    return Model(
        name=Path(path).name if path is not None else type(model).__name__,
        path=path,
        output_dir=str(Path(args.output_dir).absolute()),
        resumed_from=resumed_from,
        total_steps=state.max_steps if state.max_steps > 0 else None,
    )


def resumed_from(given: object, args: Arguments, state: State) -> str | None:
    """Absolute path of the checkpoint that training goes on from: what `train` was given, else where it would lie."""
    if not state.global_step:
        return None
    if isinstance(given, str | os.PathLike):
        return str(Path(given).absolute())
    usual = Path(args.output_dir).absolute() / f"checkpoint-{state.global_step}"
    return str(usual) if usual.is_dir() else None

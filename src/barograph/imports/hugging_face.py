"""The state of a Hugging Face trainer: `trainer_state.json`, alone or in an output folder with its checkpoints.

`log_history` has three kinds of rows: losses with what was logged beside them, evaluations (`eval_*`, no loss), and one
summary at the end of `train()` (`train_runtime`, `train_loss`), which is no point: the mean over the whole training. A
loss is the mean since the row before it. The file is written with every checkpoint, whole.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import cells
from barograph.imports.checkpoint_folders import STATE, checkpoints_in, home_of, model_name_in
from barograph.imports.imported_log import Ending, ImportedLog, Refusals, Row, SourceMark, with_attempts
from barograph.imports.log_format import LogFormat, Sample, Wanted
from barograph.imports.source_file import Progress, SourceFile

HISTORY = "log_history"
_NO_METRICS = frozenset({"step", "loss"})


class _State(Struct, frozen=True, kw_only=True):
    """One state file, read."""

    fields: dict[str, object]
    """Its keys."""
    rows: list[object]
    """Its `log_history`."""
    mark: SourceMark
    """Which version of the file it is."""
    modified: float
    """When it was written."""


class _End(Struct, frozen=True, kw_only=True):
    """The summary that ends a training."""

    rows: int
    """How many rows came before it."""
    summary: dict[str, float]
    """Its values."""


def charted_name(key: str) -> str:
    """The name under which the trainer's own integrations chart a key: `eval_x` is `eval/x`, `x` is `train/x`."""
    for split in ("eval", "test"):
        if key.startswith(f"{split}_"):
            return f"{split}/{key.removeprefix(f'{split}_')}"
    return f"train/{key}"


def _files_in(folder: Path) -> Sequence[Path]:
    """The state of the folder itself and that of its newest checkpoint that has one: whichever went further counts."""
    states = [folder / STATE, *(one.path / STATE for one in reversed(checkpoints_in(folder)))]
    return [path for path in states if path.is_file()][:2]


def _recognises(sample: Sample) -> bool:
    return sample.is_document and f'"{HISTORY}"' in sample.head


def _read(wanted: Wanted) -> ImportedLog:
    state = _furthest(wanted.files, wanted.progress)
    name = Path(state.mark.path).name
    refused = Refusals()
    rows: list[Row] = []
    trainings: list[str] = []  # whatever follows a summary was logged by another call of train()
    ends: list[_End] = []
    for number, found in enumerate(state.rows):
        try:
            row, summary = _row(found)
        except ValueError as error:
            refused.update(name, place=f"{HISTORY}[{number}]", reason=str(error))
            continue
        if summary is None:
            rows.append(row)
            trainings.append(str(len(ends)))
        elif rows:
            ends.append(_End(rows=len(rows), summary=summary))
    if not rows:
        problem = "no row of it is a point" if state.rows else f"{HISTORY} is empty: the trainer has logged nothing"
        raise NothingYet(problem, where=state.mark.path)
    rows = with_attempts(rows, trainings)
    endings = [Ending(attempt=rows[one.rows - 1].attempt, exit_code=0, summary=one.summary) for one in ends]
    folder = wanted.source if wanted.source.is_dir() else wanted.source.parent
    checkpoints = checkpoints_in(home_of(folder))
    places = [folder, *(one.path for one in reversed(checkpoints)), home_of(folder)]
    notes = [] if any(row.loss is not None for row in rows) else ["No row has a loss."]
    if len(wanted.files) > 1:
        notes.append(f"Read from {state.mark.path}, which went furthest.")
    return ImportedLog(
        format=FORMAT.name,
        source=wanted.source,
        marks=(state.mark,),
        modified=state.modified,
        rows=rows,
        averaged=True,
        began=_began(state.modified, endings),
        model_name=model_name_in(places[:4]),
        total_steps=cells.planned_of(state.fields.get("max_steps")),
        checkpoints=checkpoints,
        endings=tuple(endings),
        notes=tuple(notes),
        bad=refused.count,
        examples=tuple(refused.examples),
        mapping={"step": "step", "loss": "loss"},
    )


def _furthest(files: Sequence[Path], progress: Progress | None) -> _State:
    """The state that reached the greatest step. Raises `ImportFailed` if none can be read."""
    states, failure = [], None
    for path in files:
        try:
            states.append(_state(path, progress))
        except ImportFailed as error:
            failure = failure or error
    if not states:
        raise failure or NothingYet("no trainer state", where=str(files))
    return max(states, key=lambda state: cells.number_of(state.fields.get("global_step")) or 0.0)


def _state(path: Path, progress: Progress | None) -> _State:
    with SourceFile(path, progress=progress) as file:
        try:
            found = cells.object_of(file.document())
        except ValueError as error:
            raise ImportFailed(
                f"the trainer's state is no whole JSON document: {error}",
                where=str(path),
                advice="If it is being written just now, try again",
            ) from error
        rows = found.get(HISTORY)
        if not isinstance(rows, list):
            raise ImportFailed(f"{HISTORY} is {cells.shown(rows)}, no list", where=str(path))
        return _State(fields=found, rows=rows, mark=file.mark(), modified=file.modified)


def _row(found: object) -> tuple[Row, dict[str, float] | None]:
    """A row of the history; with its values instead, where it is the summary. Raises `ValueError`."""
    if not isinstance(found, dict):
        raise ValueError(f"no object but {cells.shown(found)}")
    values = cells.checked_object(found)
    step = cells.step_of(values.get("step"))
    metrics = cells.metrics_of(values, without=_NO_METRICS)
    if "train_runtime" in values and "loss" not in values:
        return Row(step=step), metrics
    named = {charted_name(key): value for key, value in metrics.items()}
    return Row(step=step, loss=cells.loss_of(values.get("loss")), metrics=named), None


def _began(modified: float, endings: Sequence[Ending]) -> float | None:
    """When training began, if it ended and said how long it took."""
    took = endings[0].summary.get("train_runtime") if len(endings) == 1 else None
    return modified - took if took is not None and 0.0 <= took < modified else None


FORMAT = LogFormat(name="Hugging Face trainer state", files_in=_files_in, recognises=_recognises, read=_read)

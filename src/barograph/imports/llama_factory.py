"""LLaMA-Factory's `trainer_log.jsonl`: a line per log, with how far training has come and how long it took.

    {"current_steps": 10, "total_steps": 500, "loss": 1.23, "lr": 5e-05, "epoch": 0.1, "percentage": 2.0,
     "elapsed_time": "0:00:12", "remaining_time": "0:09:48"}

Evaluations have lines of their own, without a loss. Times are elapsed ones, so the file's own time says when.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from barograph.errors import NothingYet
from barograph.imports import cells
from barograph.imports.checkpoint_folders import STATE, checkpoints_in, model_name_in
from barograph.imports.hugging_face import charted_name
from barograph.imports.imported_log import Ending, ImportedLog, Refusals, Row, with_attempts
from barograph.imports.json_lines import objects_in
from barograph.imports.log_format import LogFormat, Sample, Wanted
from barograph.imports.source_file import SourceFile

LOG = "trainer_log.jsonl"
STEP, PLANNED = "current_steps", "total_steps"
_NO_METRICS = frozenset({STEP, PLANNED, "loss", "elapsed_time", "remaining_time", "percentage", "cur_time"})
_ELAPSED = re.compile(r"(?:(\d{1,5}) days?, )?(\d{1,2}):(\d{2}):(\d{2})", re.ASCII)


def _files_in(folder: Path) -> Sequence[Path]:
    return [folder / LOG] if (folder / LOG).is_file() else []


def _recognises(sample: Sample) -> bool:
    return any(STEP in found and PLANNED in found for found in sample.objects)


def _read(wanted: Wanted) -> ImportedLog:
    path = wanted.files[0]
    refused = Refusals()
    rows: list[Row] = []
    elapsed: list[float | None] = []
    planned: int | None = None
    with SourceFile(path, progress=wanted.progress) as file:
        for line, found in objects_in(file, refused):
            if STEP not in found:
                continue  # LLaMA-Factory begins some logs with a line of its own
            try:
                rows.append(_row(found))
            except ValueError as error:
                refused.update(path.name, place=line.place, reason=str(error))
                continue
            elapsed.append(_seconds(found.get("elapsed_time")))
            planned = cells.planned_of(found.get(PLANNED))
        mark, modified = file.mark(), file.modified
    if not rows:
        raise NothingYet("no line of it is a point", where=str(path))
    rows = with_attempts(_with_times(rows, elapsed, modified))
    folder = path.parent
    checkpoints = checkpoints_in(folder)
    notes = refused.notes
    if (folder / STATE).is_file():
        notes.append(f"{STATE} lies beside it, with the gradient norms; name that file to import it instead.")
    return ImportedLog(
        format=FORMAT.name,
        source=wanted.source,
        marks=(mark,),
        modified=modified,
        rows=rows,
        averaged=True,
        model_name=model_name_in([folder, *(one.path for one in checkpoints[-3:])]),
        total_steps=planned,
        checkpoints=checkpoints,
        endings=(Ending(attempt=rows[-1].attempt, exit_code=0),)
        if planned is not None and planned <= rows[-1].step
        else (),
        notes=tuple(notes),
        bad=refused.count,
        examples=tuple(refused.examples),
        torn=len(refused.torn),
        mapping={"step": STEP, "loss": "loss"},
    )


def _row(found: dict[str, object]) -> Row:
    """Raises `ValueError`."""
    named = {charted_name("learning_rate" if key == "lr" else key): value for key, value in found.items()}
    without = frozenset(charted_name(key) for key in _NO_METRICS)
    return Row(
        step=cells.step_of(found[STEP]),
        loss=cells.loss_of(found.get("loss")),
        metrics=cells.metrics_of(named, without=without),
    )


def _seconds(value: object) -> float | None:
    match = _ELAPSED.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _with_times(rows: list[Row], elapsed: list[float | None], modified: float) -> list[Row]:
    """The rows with their times, if the last one, written when the file was last changed, says how long it took."""
    took = elapsed[-1]
    if took is None:
        return rows
    began = modified - took
    return [
        row if seconds is None or seconds > took else msgspec.structs.replace(row, time=began + seconds)
        for row, seconds in zip(rows, elapsed, strict=True)
    ]


FORMAT = LogFormat(name="LLaMA-Factory trainer log", files_in=_files_in, recognises=_recognises, read=_read)

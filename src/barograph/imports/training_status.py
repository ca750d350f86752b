"""A foreign `training_status.json`: what a training said of itself last, and nothing of what it said before.

Its keys are those that the readers of the seeds' status files know: `status`, `current_step`, `loss`, `timestamp` and
others. It becomes one row; read again later, another one.
"""

from collections.abc import Sequence
from pathlib import Path

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import cells
from barograph.imports.imported_log import Ending, ImportedLog, Row
from barograph.imports.log_format import LogFormat, Sample, Wanted
from barograph.imports.source_file import SourceFile

FILE = "training_status.json"
STEP, STATUS = "current_step", "status"
_NO_METRICS = frozenset({STEP, "total_steps", "loss", "timestamp"})
_ENDED_WELL = frozenset({"completed", "complete", "finished", "done"})
_ENDED_BADLY = frozenset({"crashed", "failed", "error"})


def _files_in(folder: Path) -> Sequence[Path]:
    places = (folder / FILE, folder / "status" / FILE)
    return [path for path in places if path.is_file()][:1]


def _recognises(sample: Sample) -> bool:
    return sample.is_document and f'"{STEP}"' in sample.head and f'"{STATUS}"' in sample.head


def _read(wanted: Wanted) -> ImportedLog:
    path = wanted.files[0]
    with SourceFile(path, progress=wanted.progress) as file:
        mark, modified = file.mark(), file.modified
        try:
            found = cells.object_of(file.document())
            values = cells.flat(found)
        except ValueError as error:
            raise ImportFailed(f"no whole JSON document: {error}", where=str(path)) from error
    if found.get(STEP) is None:
        raise NothingYet(f"{STEP} is null: the training has not begun", where=str(path))
    try:
        step, loss = cells.step_of(found[STEP]), cells.loss_of(found.get("loss"))
    except ValueError as error:
        raise ImportFailed(str(error), where=str(path)) from error
    row = Row(
        step=step,
        loss=loss,
        time=cells.time_of(found.get("timestamp")) or modified,
        metrics=cells.metrics_of(values, without=_NO_METRICS),
    )
    model = found.get("model_name")
    return ImportedLog(
        format=FORMAT.name,
        source=wanted.source,
        marks=(mark,),
        modified=modified,
        rows=[row],
        snapshot=True,
        model_name=model[:200] if isinstance(model, str) and model else None,
        total_steps=cells.planned_of(found.get("total_steps")),
        endings=_endings(found),
        notes=("It says only where training is now; --follow records each step that it is seen at.",),
        mapping={"step": STEP, "loss": "loss", "time": "timestamp"},
    )


def _endings(found: dict[str, object]) -> tuple[Ending, ...]:
    status = str(found.get(STATUS)).lower()
    if status in _ENDED_WELL:
        return (Ending(attempt=1, exit_code=0),)
    if status in _ENDED_BADLY:
        said = found.get("error_message") or found.get("error_type")
        return (Ending(attempt=1, exit_code=1, reason=str(said)[:1000] if said else None),)
    return ()


FORMAT = LogFormat(name="training_status.json", files_in=_files_in, recognises=_recognises, read=_read)

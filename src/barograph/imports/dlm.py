"""The logs of dlm: a store with `logs/train-NNNNNN-YYYYMMDDTHHMMSS.jsonl`, or one such file.

A line is `{"type": "banner" | "step" | "run_complete" | ..., ...}`; a step line has `step` and `loss`. Each file is an
attempt, in the order of its number; a banner inside a file, or steps that go back, begin another one. Times are those
of the lines, where they have some.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import cells
from barograph.imports.imported_log import Ending, ImportedLog, Refusals, Row, SourceMark, with_attempts
from barograph.imports.json_lines import objects_in
from barograph.imports.log_format import LogFormat, Sample, Wanted, children
from barograph.imports.source_file import Progress, SourceFile

TIMES = ("time", "timestamp", "ts")
KINDS = frozenset({"banner", "step", "run_complete"})
_OURS = "_c"
_NO_METRICS = frozenset({"type", "step", "loss", *TIMES, _OURS})
_NAME = re.compile(r"train-(\d{1,18})-(\d{8}T\d{6})\.jsonl", re.ASCII)

_One = TypeVar("_One", Row, Ending)


class _Part(Struct, frozen=True, kw_only=True):
    """One file, read."""

    mark: SourceMark
    """Which version of it."""
    modified: float
    """When it was last changed."""
    rows: list[Row]
    """Its rows; attempts count from 1."""
    endings: list[Ending]
    """Its attempts that ended."""
    banner: dict[str, object]
    """Its first banner; empty if it has none."""


def _files_in(folder: Path) -> Sequence[Path]:
    """The training logs of a store, or of its `logs` folder, by number; longer numbers come later."""
    for logs in (folder / "logs", folder):
        if logs.is_dir() and not logs.is_symlink():
            found = {path: match for path in children(logs) if (match := _NAME.fullmatch(path.name))}
            files = [path for path in found if path.is_file() and not path.is_symlink()]
            if files:
                return sorted(files, key=lambda path: (int(found[path][1]), found[path][2]))
    return []


def _recognises(sample: Sample) -> bool:
    kinds = [found for found in sample.objects if found.get("type") in KINDS]
    return any(found["type"] != "step" or "step" in found for found in kinds)


def _read(wanted: Wanted) -> ImportedLog:
    refused = Refusals()
    parts: list[_Part] = []
    notes = []
    for path in wanted.files:
        try:
            parts.append(_part(path, refused, wanted.progress))
        except NothingYet as error:
            notes.append(f"{path.name} is left out: {error.problem}.")
    parts = [part for part in parts if part.rows]
    if not parts:
        raise NothingYet("no step line is in it", where=str(wanted.source))
    rows: list[Row] = []
    endings: list[Ending] = []
    before = 0
    for part in parts:
        rows += [_later(row, before) for row in part.rows]
        endings += [_later(ending, before) for ending in part.endings]
        before = max(row.attempt for row in rows)
    model = parts[-1].banner.get("model_name") or parts[-1].banner.get("base_model")
    return ImportedLog(
        format=FORMAT.name,
        source=wanted.source,
        marks=tuple(part.mark for part in parts),
        modified=max(part.modified for part in parts),
        rows=rows,
        model_name=model.rstrip("/").rpartition("/")[2][:200] if isinstance(model, str) else None,
        endings=tuple(endings),
        notes=(*notes, *refused.notes),
        bad=refused.count,
        examples=tuple(refused.examples),
        torn=len(refused.torn),
        mapping={"step": "step", "loss": "loss"},
    )


def _part(path: Path, refused: Refusals, progress: Progress | None) -> _Part:
    rows: list[Row] = []
    starts: list[str] = []
    ends: dict[int, Ending] = {}
    banners: list[dict[str, object]] = []
    with SourceFile(path, progress=progress) as file:
        for line, found in objects_in(file, refused):
            if _OURS in found and not rows and not banners:
                raise ImportFailed(
                    "this is a log of barograph itself",
                    where=str(path),
                    advice="It needs no import: barograph serve --base-dir shows it",
                )
            kind = found.get("type")
            if kind == "banner":
                banners.append(found)
            elif kind == "run_complete" and rows:
                ends[len(rows)] = _ending(found)
            elif kind == "step":
                try:
                    rows.append(_row(found))
                except ValueError as error:
                    refused.update(path.name, place=line.place, reason=str(error))
                else:
                    starts.append(str(len(banners)))
        mark, modified = file.mark(), file.modified
    rows = with_attempts(rows, starts)
    endings = [msgspec.structs.replace(end, attempt=rows[count - 1].attempt) for count, end in ends.items()]
    return _Part(mark=mark, modified=modified, rows=rows, endings=endings, banner=banners[0] if banners else {})


def _row(found: dict[str, object]) -> Row:
    """Raises `ValueError`."""
    values = cells.flat(found)
    times = (cells.time_of(found.get(name)) for name in TIMES)
    return Row(
        step=cells.step_of(found.get("step")),
        loss=cells.loss_of(found.get("loss")),
        time=next((time for time in times if time is not None), None),
        metrics=cells.metrics_of(values, without=_NO_METRICS),
    )


def _ending(found: dict[str, object]) -> Ending:
    """What a completion says of how it ended: an exit code, if it has one that is a whole number."""
    code = found.get("exit_code")
    said = code if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31 else None
    summary = cells.metrics_of(cells.flat(found), without=frozenset({*_NO_METRICS, "exit_code"}))
    return Ending(attempt=1, exit_code=said, summary=summary)


def _later(one: _One, before: int) -> _One:
    """The same of a later file."""
    return one if not before else msgspec.structs.replace(one, attempt=one.attempt + before)


FORMAT = LogFormat(name="dlm training logs", files_in=_files_in, recognises=_recognises, read=_read)

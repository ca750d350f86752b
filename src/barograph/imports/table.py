"""Any table of training: JSON lines or CSV, whose columns for step, loss and time are found by their names and content.

Every other column of numbers is a metric. A column that says which process wrote a row tells two writers of one file
apart: process 0 is the curve. A column that says which run a row is of tells trainings apart.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from msgspec import Struct

from barograph.errors import ImportFailed, NothingYet
from barograph.imports import cells
from barograph.imports.columns import Columns, Values, columns, rank_of
from barograph.imports.delimited import separator_of, table_rows
from barograph.imports.imported_log import MOST_ATTEMPTS, ImportedLog, Refusals, Row, with_attempts
from barograph.imports.json_lines import objects_in
from barograph.imports.log_format import LOOKED_AT, LogFormat, Sample, Wanted, children, sample_of
from barograph.imports.source_file import SourceFile
from barograph.journal import layout

ENDINGS = frozenset({".jsonl", ".ndjson", ".csv", ".tsv"})
"""What files of a folder are looked at; one that is named is looked at whatever it is called."""
SETTLED_S = 60.0
"""Seconds after which a last row without a newline counts as finished: a cell could still grow."""
_LOSS = "loss"


class _Found(Struct, frozen=True, gc=False):
    """One row of a table, before anything is made of it."""

    place: str
    """Where it is, in words."""
    values: Values
    """Column to value; empty cells left out."""


def _files_in(folder: Path) -> Sequence[Path]:
    """The one table in a folder. Raises `ImportFailed` if there are several."""
    found = []
    for path in children(folder):
        if path.suffix.lower() in ENDINGS and path.is_file() and not path.is_symlink():
            try:
                recognised = _recognises(sample_of(path))
            except ImportFailed:
                continue
            if recognised:
                found.append(path)
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:10])
        raise ImportFailed("there are several tables in the folder", where=str(folder), advice=f"Name one of {names}")
    return found


def _recognises(sample: Sample) -> bool:
    return bool(sample.objects) or (bool(sample.texts) and separator_of(sample.texts[0]) is not None)


def _read(wanted: Wanted) -> ImportedLog:
    path = wanted.files[0]
    refused = Refusals()
    sample = sample_of(path)
    with SourceFile(path, progress=wanted.progress) as file:
        found = _json_rows(file, refused) if sample.objects else _table_rows(file, refused)
        first = list(islice(found, LOOKED_AT))
        if not first:
            raise NothingYet("no row is in it", where=str(path))
        names = tuple(dict.fromkeys(name for one in first for name in one.values))
        taken = columns(names, [one.values for one in first], wanted.mapping, where=str(path))
        made = _Rows(taken, refused, path.name)
        for one in first:
            made.update(one)
        for one in found:
            made.update(one)
        mark, modified = file.mark(), file.modified
    if not made.rows:
        raise NothingYet(f"none of its {refused.count} rows can be read", where=_first_refused(path, refused))
    rows = with_attempts(made.rows, made.runs if taken.run is not None else None)
    return ImportedLog(
        format="table of JSON lines" if sample.objects else "table (CSV)",
        source=wanted.source,
        marks=(mark,),
        modified=modified,
        rows=rows,
        notes=(*_notes(rows, taken, made), *refused.notes),
        bad=refused.count,
        examples=tuple(refused.examples),
        torn=len(refused.torn),
        mapping=taken.mapping,
    )


class _Rows:
    """A fold over what is in a table: its rows, and of which run each is."""

    def __init__(self, taken: Columns, refused: Refusals, name: str) -> None:
        self.rows: list[Row] = []
        self.runs: list[str] = []
        self._taken = taken
        self._refused = refused
        self._name = name
        self._without = frozenset(taken.mapping.values())

    def update(self, one: _Found) -> None:
        """One more row, or one more refusal."""
        taken, values = self._taken, one.values
        try:
            metrics = cells.metrics_of(values, without=self._without)
            if _LOSS in metrics:  # another column is the loss, and the series of that name is its own
                metrics[f"column/{_LOSS}"] = metrics.pop(_LOSS)
            row = Row(
                step=cells.step_of(values.get(taken.step)),
                loss=None if taken.loss is None else cells.loss_of(values.get(taken.loss)),
                time=None if taken.time is None else cells.time_of(values.get(taken.time)),
                metrics=metrics,
                writer=_writer(None if taken.rank is None else values.get(taken.rank)),
            )
        except ValueError as error:
            self._refused.update(self._name, place=one.place, reason=str(error))
            return
        self.rows.append(row)
        if taken.run is not None:
            self.runs.append(str(values.get(taken.run, "")))


def _writer(rank: object) -> str:
    number = rank_of(rank)
    return layout.TRAIN if not number else f"rank{number}"


def _json_rows(file: SourceFile, refused: Refusals) -> Iterator[_Found]:
    for line, found in objects_in(file, refused):
        try:
            yield _Found(line.place, cells.flat(found))
        except ValueError as error:
            refused.update(file.path.name, place=line.place, reason=str(error))


def _table_rows(file: SourceFile, refused: Refusals) -> Iterator[_Found]:
    rows = table_rows(file, refused)
    head = next(rows, None)
    if head is None:
        raise ImportFailed("its first line is no head of a table", where=str(file.path))
    names = _unique(head.cells)
    for row in rows:
        place = row.line.place
        if not row.whole and time.time() - file.modified < SETTLED_S:
            refused.torn.append(file.path.name)
        elif len(row.cells) != len(names):
            said = f"{len(row.cells)} cells under a head of {len(names)}"
            refused.update(file.path.name, place=place, reason=said)
        else:
            values = ((name, cells.value_of(cell)) for name, cell in zip(names, row.cells, strict=True))
            yield _Found(place, {name: value for name, value in values if value is not None})


def _unique(names: Sequence[str]) -> list[str]:
    """The names of a head; the second `loss` is `loss#2`, and a column without a name `column 3`."""
    found: dict[str, None] = {}
    for number, name in enumerate(names, start=1):
        stem = name or f"column {number}"
        again = 2
        unique = stem
        while unique in found:
            unique, again = f"{stem}#{again}", again + 1
        found[unique] = None
    return list(found)


def _notes(rows: Sequence[Row], taken: Columns, made: _Rows) -> list[str]:
    notes = []
    if taken.loss is None:
        notes.append("No column looks like the training loss; --map loss=COLUMN says which it is.")
    elif not any(row.loss is not None for row in rows):
        notes.append(f"No row has a value under {cells.shown(taken.loss)}.")
    if others := {row.writer for row in rows} - {layout.TRAIN}:
        notes.append(f"{1 + len(others)} processes wrote into it; process 0 is the curve, the others are beside it.")
    if len(runs := set(made.runs)) > 1:
        notes.append(f"It holds {len(runs)} trainings, told by {cells.shown(taken.run)}; each is an attempt here.")
    attempts = max(row.attempt for row in rows)
    if attempts >= MOST_ATTEMPTS:
        notes.append(
            f"Its steps go back {attempts - 1} times or more: two processes may have written into it, and nothing "
            "in it tells them apart."
        )
    return notes


def _first_refused(path: Path, refused: Refusals) -> str:
    if not refused.examples:
        return str(path)
    first = refused.examples[0]
    return f"{path}, {first.place}: {first.reason}"


FORMAT = LogFormat(name="table", files_in=_files_in, recognises=_recognises, read=_read, mapped=True)

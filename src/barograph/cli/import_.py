"""`barograph import`: logs of other tools become runs."""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of
from barograph.cli.weights_report import bar, printable
from barograph.errors import BarographError, ImportFailed, NothingYet, UsageError

if TYPE_CHECKING:
    from barograph.imports import ImportedLog
    from barograph.imports.follow import FollowedLog
    from barograph.imports.into_journal import Added

FAILED = 1
SHOWN = 5
"""Refused lines that are shown."""


def import_(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="A log, or the folder that it lies in: trainer_state.json, a Hugging Face output folder, "
            "trainer_log.jsonl, a dlm store, training_status.json, JSON lines, CSV.",
        ),
    ],
    base_dir: BaseDir = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="ID", help="Name of the run; else it is called like the source.")
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="KEY=COLUMN", help="Which column is the step, the loss or the time of a table; repeatable."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on as the log grows, until Ctrl-C; also one with no point yet.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and write nothing.")] = False,
) -> None:
    """Turn logs of other tools into runs, with their losses, metrics, attempts and checkpoints.

    A log is recognised by what is in it. What cannot be read of it is counted and shown with its place; NaN and
    infinities stay what they are. Importing the same log again adds what is new and nothing twice; a log that was
    written anew becomes another attempt.

    Exit codes: 0 imported, or nothing new; 1 a source could not be imported; 2 asked for what cannot be.

    \b
    Examples:
      barograph import output/
      barograph import trainer_state.json --run-id sft-7b
      barograph import metrics.csv --map step=iter --map loss=train_nll
      barograph import trainer_log.jsonl --follow
      barograph import old/*.jsonl --dry-run
    """
    from barograph.imports.follow import FollowedLog
    from barograph.imports.import_target import run_folder

    root, mapping = root_of(base_dir), _mapping(mapped or [])
    if run_id is not None and len(sources) > 1:
        raise UsageError(
            f"--run-id names one run, and there are {len(sources)} sources", advice="Import them one by one"
        )
    logs: list[FollowedLog] = []
    failed = 0
    try:
        for named in sources:
            source = Path(os.path.normpath(named.expanduser().absolute()))
            log = FollowedLog(source, run_folder(root, source, run_id=run_id), mapping=mapping)
            try:
                _import(log, dry_run=dry_run)
                logs.append(log)
            except NothingYet as error:
                _complain(error)
                if follow and not dry_run:
                    logs.append(log)
                else:
                    failed += 1
            except UsageError:
                log.close()
                raise
            except BarographError as error:
                log.close()
                _complain(error)
                failed += 1
        if follow and logs and not dry_run:
            _follow(logs)
    except KeyboardInterrupt:
        typer.echo("Stopped; what was read is in the runs.")
    finally:
        for log in logs:
            log.close()
    if failed:
        raise typer.Exit(FAILED)


def _mapping(said: Sequence[str]) -> dict[str, str]:
    from barograph.imports.columns import MAPPED

    found = {}
    for one in said:
        key, equals, column = one.partition("=")
        if not (equals and column and key in MAPPED):
            raise UsageError(f"--map {one[:100]!r}", advice=f"Say KEY=COLUMN, where KEY is {', '.join(MAPPED)}")
        found[key] = column
    return found


def _import(log: "FollowedLog", *, dry_run: bool) -> None:
    """Read, say what was found, write, say what was written."""
    with bar("Reading", total=_size(log.source)) as advance:
        found = log.read(progress=advance)
    _describe(found)
    if dry_run:
        typer.echo(f"  nothing was written; the run would be {log.folder.name}")
        return
    with bar("Writing", total=len(found.rows)) as advance:
        added = log.update(found, progress=advance)
    _tell(log, added)


def _size(source: Path) -> int:
    """Bytes that are read; of a folder only a guess, for a bar."""
    try:
        return source.stat().st_size if source.is_file() else 1 << 20
    except OSError:
        return 1


def _describe(log: "ImportedLog") -> None:
    from barograph.records.quantities import spelled

    typer.echo(printable(f"{log.source}: {log.format}"))
    if log.mapping:
        typer.echo(printable("  columns: " + ", ".join(f"{key} is {column!r}" for key, column in log.mapping.items())))
    losses = [row.loss for row in log.rows if row.loss is not None]
    strange = [spelled(loss) for loss in losses if not math.isfinite(loss)]
    words = f" ({', '.join(sorted(set(strange)))}: {len(strange)})" if strange else ""
    said = [_count(len(losses), "loss", many="losses") + words]
    said += [_count(len(log.rows) - len(losses), "other row")] if len(log.rows) > len(losses) else []
    said.append(_count(len({row.attempt for row in log.rows}), "attempt"))
    said += [_count(len(log.checkpoints), "checkpoint")] if log.checkpoints else []
    steps = [row.step for row in log.rows]
    typer.echo(f"  {', '.join(said)}; steps {min(steps)} to {max(steps)}")
    if log.averaged:
        typer.echo("  a loss is the mean since the one before it")
    for note in log.notes:
        typer.echo(printable(f"  {note}"))
    if log.bad:
        typer.echo(f"  {_count(log.bad, 'line')} refused:", err=True)
        for one in log.examples[:SHOWN]:
            typer.echo(printable(f"    {one.file}, {one.place}: {one.reason}"), err=True)


def _tell(log: "FollowedLog", added: "Added") -> None:
    run = log.folder.name
    if added.nothing:
        typer.echo(f"  nothing new in run {run}")
        return
    said = [_count(added.rows, "row")]
    said += [_count(added.checkpoints, "checkpoint")] if added.checkpoints else []
    said += ["the end of training"] if added.endings else []
    again = "; the log was written anew, so this is another attempt" if added.rewritten else ""
    typer.echo(f"  added {', '.join(said)} to run {run}{again}")


def _follow(logs: "Sequence[FollowedLog]") -> None:
    """Look at every log in turn, until Ctrl-C."""
    typer.echo(f"Following {_count(len(logs), 'log')} (Ctrl-C stops)")
    said: dict[Path, str] = {}
    due = {log.source: 0.0 for log in logs}
    while True:
        for log in logs:
            if time.monotonic() < due[log.source]:
                continue
            try:
                added = log.look()
            except (ImportFailed, OSError) as error:
                if said.get(log.source) != str(error):
                    said[log.source] = str(error)
                    typer.echo(printable(f"  waiting: {' '.join(str(error).split())}"), err=True)
            else:
                if added is not None and not added.nothing:
                    _tell(log, added)
            due[log.source] = time.monotonic() + log.pause
        time.sleep(max(0.05, min(due.values()) - time.monotonic()))


def _complain(error: BarographError) -> None:
    typer.echo(f"barograph: {printable(' '.join(str(error).split()))}", err=True)


def _count(count: int, word: str, *, many: str | None = None) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {many or f'{word}s'}"


import_.__name__ = "import"  # what users type; a function of Python cannot be defined under that name

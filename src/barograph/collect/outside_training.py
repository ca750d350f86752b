"""What is measured before or after a training: evaluations that belong to no step of the training's own journal."""

import contextlib
import functools
import os
import time
from collections.abc import Iterable, Mapping

import msgspec

from barograph.collect import environment
from barograph.collect.logged_values import NO_NUMBER, flat
from barograph.collect.run import Run
from barograph.journal import JournalWriter
from barograph.records import Banner, RunComplete, Step

WRITER = "evaluate"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation."""

    step: int
    """The trainer's step when it was made."""
    time: float
    """When it was made."""
    metrics: dict[str, float]
    """Name of the series -> value."""


def measured(step: int, values: Mapping[str, object]) -> Measured:
    """The numbers among `values`, now; nested dicts are joined with `/`. A tensor on a device is waited for."""
    found: dict[str, float] = {}
    for key, value in flat(values):
        if isinstance(value, str | bytes):  # float would read "7"
            continue
        with contextlib.suppress(*NO_NUMBER):
            found[key] = float(value)  # type: ignore[arg-type]  # what is no number raises
    return Measured(step=step, time=time.time(), metrics=found)


def record_apart(run: Run, rows: Iterable[Measured]) -> None:
    """Record evaluations in a journal file of their own, with the run's attempt; nothing if it never claimed one.

    The training's own file has ended, or a step before its first one would hide what an older attempt trained.
    """
    if run.attempt is None:
        return
    banner = Banner(
        run=run.id, attempt=run.attempt, writer=WRITER, time=time.time(), pid=os.getpid(), host=environment.host()
    )
    writer = JournalWriter(run.directory, lambda: banner)
    newest = 0
    for row in rows:
        newest = max(newest, row.step)
        writer.append(row.step, functools.partial(Step, step=row.step, time=row.time, metrics=row.metrics))
    writer.append(None, functools.partial(RunComplete, time=time.time(), exit_code=0, step=newest))
    writer.close()

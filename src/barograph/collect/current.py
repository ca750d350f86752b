"""The run that module-level `barograph.log`, `alert` and `finish` speak of: the one that `init` began last."""

import logging
import os
from collections.abc import Mapping

from barograph.collect import run as one_run
from barograph.collect.run import Run

_current: Run | None = None
_warned = False

logger = logging.getLogger("barograph")


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    run_id: str | None = None,
    group: str | None = None,
    config: object = None,
    resume: str | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the field's word for it
    mode: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's word for it
) -> Run:
    """Begin a run and make it the current one; a current run that is still open is finished first.

    See `barograph.collect.run.init` for the arguments.
    """
    global _current, _warned
    if _current is not None:
        _current.finish()
        _current = None
    _current = one_run.init(
        project, name=name, run_id=run_id, group=group, config=config, resume=resume, dir=dir, mode=mode, id=id
    )
    _warned = False
    return _current


def log(values: Mapping[str, object], step: int | None = None) -> None:
    """Record `values` at `step` in the current run."""
    if _current is None:
        _warn_once("log")
    else:
        _current.log(values, step)


def alert(title: str, text: str = "", level: str = "warning", step: int | None = None) -> None:
    """Record an alert in the current run."""
    if _current is None:
        _warn_once("alert")
    else:
        _current.alert(title, text, level, step)


def finish(exit_code: int | None = None, reason: str | None = None) -> None:
    """End the current run, as `Run.finish` does; does nothing if there is none."""
    global _current
    if _current is not None:
        _current.finish(exit_code, reason)
        _current = None


def _warn_once(what: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        logger.warning("barograph.%s was called without an open run: nothing is recorded. Call barograph.init.", what)

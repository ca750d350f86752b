"""The run that module-level `barograph.log`, `alert` and `finish` speak of: the one that `init` began last."""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import ParamSpec

from barograph.collect import begin
from barograph.collect.run import Run

_Asked = ParamSpec("_Asked")

_current: Run | None = None
_warned = False

logger = logging.getLogger("barograph")


def _made_current(begin: Callable[_Asked, Run]) -> Callable[_Asked, Run]:
    """`begin`, and what it begins is the current run; one that is still open is finished first."""

    @functools.wraps(begin)
    def init(*asked: _Asked.args, **named: _Asked.kwargs) -> Run:
        global _current, _warned
        if _current is not None:
            _current.finish()
            _current = None
        _current = begin(*asked, **named)
        _warned = False
        return _current

    return init


init = _made_current(begin.init)


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

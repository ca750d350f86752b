"""What `barograph drift` and `barograph stability` share: the bar, the table, the exit code."""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.errors import BarographError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

SLOW_S = 1.0
PASSED, FAILED, NOT_JUDGED = 0, 1, 2
SEVERITIES = ("warning", "critical")

PolicyName = Annotated[
    str, typer.Option("--policy", metavar="NAME|FILE", help="Policy that judges: default, contract, or a TOML file.")
]
FailOn = Annotated[
    str | None,
    typer.Option("--fail-on", metavar="warning|critical", help="Exit with 1 if a finding is that grave, or graver."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the document as JSON, in full precision, and nothing else.")
]
EveryLayer = Annotated[bool, typer.Option("--layers", help="Show every layer, not only those that stand out.")]


class Bar:
    """A progress bar on standard error, from the second second on; nothing where nobody looks."""

    def __init__(self, title: str, *, total: int) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._shown: Progress | None = None

    def advance(self, count: int) -> None:
        """Count bytes; called from several threads."""
        with self._lock:
            self._done += count
            if self._shown is None and time.monotonic() - self._began > SLOW_S and sys.stderr.isatty():
                self._shown = self._started()
            if self._shown is not None:
                self._shown.update(self._shown.task_ids[0], completed=self._done)

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.stop()

    def _started(self) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        shown = Progress(*columns, console=Console(stderr=True), transient=True)
        shown.add_task(self._title, total=self._total)
        shown.start()
        return shown


@contextmanager
def bar(title: str, *, total: int) -> Iterator[Callable[[int], None]]:
    """A bar's `advance`, until the block ends."""
    made = Bar(title, total=total)
    try:
        yield made.advance
    finally:
        made.close()


@contextmanager
def judging() -> Iterator[None]:
    """What cannot be read cannot be judged: one line on standard error, exit code 2."""
    try:
        yield
    except UsageError:
        raise
    except BarographError as error:
        typer.echo(f"barograph: {printable(' '.join(str(error).split()))}", err=True)
        raise typer.Exit(NOT_JUDGED) from error


def checked_severity(fail_on: str | None) -> str | None:
    """The option, if it is one of the two words. Raises `UsageError`."""
    if fail_on is not None and fail_on not in SEVERITIES:
        raise UsageError(f"--fail-on is {fail_on!r}", advice=f"Use one of {', '.join(SEVERITIES)}")
    return fail_on


def exit_code(severities: Sequence[str], *, fail_on: str | None, judged: bool) -> int:
    """1 if one of the severities is at least `fail_on`, else 2 if there was nothing to judge by, else 0."""
    grave = SEVERITIES[SEVERITIES.index(fail_on) :] if fail_on is not None else ()
    if any(severity in grave for severity in severities):
        return FAILED
    return PASSED if judged else NOT_JUDGED


def printable(text: str) -> str:
    """The text without what a terminal would obey: names of tensors come from files of others."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def number(value: float | None) -> str:
    """A number in a table; a dash for what was not measured, and what is not finite by its name."""
    if value is None:
        return "-"
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def percent(value: float) -> str:
    """A ratio in a table, in percent."""
    return f"{100 * value:.4g} %" if math.isfinite(value) else str(value)


def columns(title: str, *names: str) -> "Table":
    """A table with its head; the first column is the layer."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for name in names:
        table.add_column(name, justify="right")
    return table


def layer_name(block: int) -> str:
    """A layer as a person calls it."""
    return "rest" if block < 0 else str(block)

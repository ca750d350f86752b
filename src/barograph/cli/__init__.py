"""The command line: one file per command, listed in `COMMANDS`.

Modules of commands import nothing heavy at their top; each imports what it needs when it runs, so that `--help` and
`--version` answer at once.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from barograph import __version__
from barograph.cli.check import check
from barograph.cli.demo import demo
from barograph.cli.doctor import doctor
from barograph.cli.drift import drift
from barograph.cli.import_ import import_
from barograph.cli.serve import serve
from barograph.cli.stability import stability
from barograph.cli.token import token
from barograph.cli.watch import watch
from barograph.errors import BarographError, UsageError

COMMANDS: tuple[Callable[..., None], ...] = (demo, serve, watch, check, drift, stability, import_, token, doctor)

app = typer.Typer(
    name="barograph",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"barograph {__version__}")
        raise typer.Exit


@app.callback()
def barograph(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Watch a language model learn, and judge: what changed, what broke, which checkpoint to keep.

    Runs lie in one folder, a subfolder each: $BAROGRAPH_DIR, or ./barograph-runs.
    """


for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """The `barograph` program. Exit codes: 0 fine, 1 failed, 2 asked for what cannot be."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        typer.echo(f"barograph: {error}", err=True)
        sys.exit(1)
    except BarographError as error:
        typer.echo(f"barograph: {' '.join(str(error).split())}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)

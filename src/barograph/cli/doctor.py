"""`barograph doctor`: what is installed, what a training here would measure, what is missing and how to get it."""

from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of

if TYPE_CHECKING:
    from rich.console import Console

    from barograph.cli.examination import Examination

SICK = 1


def doctor(
    base_dir: BaseDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the document as JSON, and nothing else.")] = False,
) -> None:
    """Say what is installed, what a training on this machine would measure, what is missing and how to get it.

    Looks at the packages, the GPUs, the folder of the runs, the webhook and the token. Of a webhook only its host is
    told. A driver or a disk that hangs is waited for a few seconds.

    Exit codes: 0 all that is needed works, 1 something that is needed does not.

    \b
    Examples:
      barograph doctor
      barograph doctor --json
    """
    import os
    import sys

    import msgspec

    from barograph.cli.examination import examine

    found = examine(root_of(base_dir), os.environ)
    if as_json:
        said = msgspec.json.encode(found)
        typer.echo((msgspec.json.format(said, indent=2) if sys.stdout.isatty() else said).decode())
    else:
        _print(found)
    raise typer.Exit(0 if found.healthy else SICK)


def _print(found: "Examination") -> None:
    from rich.console import Console
    from rich.text import Text

    from barograph.cli.weights_report import printable

    console = Console(highlight=False)
    console.print(Text(f"barograph {found.barograph}", style="bold"), Text(f"on Python {printable(found.python)}"))
    _print_measures(console, found)
    _print_packages(console, found)
    _print_gpus(console, found)
    root = found.root
    space = (
        "space unknown"
        if root.disk_free_gb is None or root.disk_total_gb is None
        else f"{root.disk_free_gb:.1f} of {root.disk_total_gb:.1f} GB free"
    )
    counted = "runs unknown" if root.runs is None else f"{root.runs} run{'' if root.runs == 1 else 's'}"
    runs = counted if root.exists else "made by the first run"
    console.print(Text("Folder of the runs", style="bold"))
    console.print(Text(f"  {printable(root.path)}: {runs}, {space}"))
    console.print(Text(f"  index: {root.index}{', indexed now' if root.indexed else ''}"))
    console.print(
        Text(f"  watched: {'yes' if root.watched else 'no; barograph watch, or serve --watch, reads weights'}")
    )
    console.print(Text("Besides", style="bold"))
    webhook = found.webhook
    sent = f"{webhook.channel} ({webhook.shape}, from {webhook.min_level} on)" if webhook.channel else "none"
    console.print(Text(f"  webhook: {sent}"))
    console.print(Text(f"  token: {'there' if found.token else 'none; only needed to serve beyond this machine'}"))
    for problem in found.problems:
        console.print(Text(f"PROBLEM: {printable(problem)}", style="bold red"))
    if found.healthy:
        console.print(Text("All that is needed works.", style="green"))


def _print_measures(console: "Console", found: "Examination") -> None:
    from rich.table import Table
    from rich.text import Text

    from barograph.cli.weights_report import printable

    table = Table(title="A training here measures", title_justify="left", header_style="bold")
    for name in ("", "what", "how, or why not"):
        table.add_column(name)
    for one in found.measures:
        style = "green" if one.measured else "yellow"
        table.add_row(Text("yes" if one.measured else "no", style=style), Text(one.what), Text(printable(one.why)))
    console.print(table)


def _print_packages(console: "Console", found: "Examination") -> None:
    from rich.table import Table
    from rich.text import Text

    from barograph.cli.weights_report import printable

    needed = [one for one in found.packages if one.needed]
    working = ", ".join(f"{one.name} {one.version}" for one in needed if not one.problem)
    console.print(Text("Packages", style="bold"))
    console.print(Text(f"  needed: {printable(working)}"))
    table = Table(header_style="bold")
    shown = [one for one in found.packages if one.problem or not one.needed]
    columns = ("package", "version", "for", *(("to get it",) if any(one.install for one in shown) else ()))
    for name in columns:
        table.add_column(name)
    for one in shown:
        style = "red" if one.problem else "" if one.version else "yellow"
        said = Text(one.version or "not installed", style=style)
        cells = (Text(one.name), said, Text(printable(one.problem or one.purpose)), Text(one.install))
        table.add_row(*cells[: len(columns)])
    console.print(table)


def _print_gpus(console: "Console", found: "Examination") -> None:
    from rich.text import Text

    from barograph.cli.weights_report import number, printable

    console.print(Text("GPUs", style="bold"))
    if not found.gpus:
        console.print(Text(f"  {'none' if found.gpus == [] else f'not known: {printable(found.gpus_why)}'}"))
    for gpu in found.gpus or []:
        used = f"{number(gpu.vram_used_gb)} of {number(gpu.vram_total_gb)} GB, {number(gpu.temp_c)} °C"
        console.print(Text(f"  {gpu.index}: {printable(gpu.name or 'it does not answer')}, {used}"))

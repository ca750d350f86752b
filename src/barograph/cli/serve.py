"""`barograph serve`: the API and the web UI."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    base_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the runs, or of one run.  [default: $BAROGRAPH_DIR or ./barograph-runs]"
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="H", help="Address to listen on; beyond this machine a token is required.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="P", min=0, max=65535, help="Port to listen on; 0 takes any free one.")
    ] = 8080,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name that leads here, such as a proxy's; repeatable."),
    ] = None,
) -> None:
    """Show the runs in the browser, live, and serve them as an API.

    Nothing needs to run yet: the page waits for the first run to appear. Ctrl-C stops.

    \b
    Examples:
      barograph serve
      barograph serve --base-dir /data/runs --port 9000
      ssh -L 8080:localhost:8080 trainer barograph serve     (from elsewhere, safely)
      barograph token && barograph serve --host 0.0.0.0      (open to the network)
    """
    from barograph.api.server import Dashboard
    from barograph.journal.layout import default_root

    root = (base_dir or default_root()).expanduser().absolute()
    dashboard = Dashboard(root, host=host, port=port, allowed_hosts=allowed_host or [])
    typer.echo(f"barograph shows {dashboard.root} at {dashboard.url} (Ctrl-C stops)")
    for notice in dashboard.notices:
        typer.echo(notice)
    dashboard.run()

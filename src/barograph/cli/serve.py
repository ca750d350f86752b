"""`barograph serve`: the API and the web UI."""

from importlib.util import find_spec
from typing import Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of
from barograph.cli.children import Children
from barograph.cli.weights_report import PolicyName
from barograph.errors import MissingExtra


def serve(
    base_dir: BaseDir = None,
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
    watch: Annotated[
        bool, typer.Option("--watch", help="Also read the weights of every checkpoint, as `barograph watch` does.")
    ] = False,
    policy: PolicyName = "default",
) -> None:
    """Show the runs in the browser, live, and serve them as an API.

    Nothing needs to run yet: the page waits for the first run to appear. Ctrl-C stops.

    \b
    Examples:
      barograph serve
      barograph serve --watch
      barograph serve --base-dir /data/runs --port 9000
      ssh -L 8080:localhost:8080 trainer barograph serve   (from elsewhere)
      barograph token && barograph serve --host 0.0.0.0    (to the network)
    """
    from barograph.api.server import Dashboard
    from barograph.policy import load
    from barograph.watch.sentinel import Sentinel

    judge = load(policy)
    if watch and find_spec("numba") is None:
        raise MissingExtra("numba", extra="weights", purpose="Reading the weights of checkpoints")
    dashboard = Dashboard(root_of(base_dir), host=host, port=port, allowed_hosts=allowed_host or [], policy=judge)
    typer.echo(f"barograph shows {dashboard.root} at {dashboard.url} (Ctrl-C stops)")
    for notice in dashboard.notices:
        typer.echo(notice)
    with Children() as children, Sentinel(dashboard.root, policy=judge):
        if watch:
            children.start("watch", "--base-dir", str(dashboard.root), "--policy", policy)
        dashboard.run()

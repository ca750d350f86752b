"""`barograph token`: the secret that a server beyond loopback asks for."""

from pathlib import Path
from typing import Annotated

import typer


def token(
    base_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the runs.  [default: $BAROGRAPH_DIR or ./barograph-runs]"),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Replace the token; restart the server, and everyone signs in again.")
    ] = False,
) -> None:
    """Print the token that lets you in when the server listens beyond this machine; make one if there is none.

    The token goes to standard output and nothing else does. Its file is readable by you only.

    \b
    Examples:
      barograph token
      curl -H "Authorization: Bearer $(barograph token)" http://trainer:8080/api/runs
      barograph token --new
    """
    from barograph.api.token import create_token, token_path
    from barograph.journal.layout import default_root

    root = (base_dir or default_root()).expanduser().absolute()
    secret = create_token(root, replace=new)
    typer.echo(f"The token of {token_path(root)}:", err=True)
    typer.echo(secret.value)

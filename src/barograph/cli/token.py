"""`barograph token`: the secret that a server beyond loopback asks for."""

from typing import Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of


def token(
    base_dir: BaseDir = None,
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

    root = root_of(base_dir)
    secret = create_token(root, replace=new)
    typer.echo(f"The token of {token_path(root)}:", err=True)
    typer.echo(secret.value)

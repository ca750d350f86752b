"""The `--base-dir` of every command: what it stands for, and what it cannot be."""

import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from barograph.errors import UsageError

BaseDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        readable=False,  # our own sentence says it better
        help="Folder of the runs.  [default: $BAROGRAPH_DIR or ./barograph-runs]",
    ),
]


def root_of(base_dir: Path | None) -> Path:
    """The root that a command works on; it may not exist yet. Raises `UsageError` for what cannot be one."""
    from barograph.journal.layout import default_root

    try:
        root = (base_dir or default_root()).expanduser().absolute()
        mode = root.stat().st_mode
    except FileNotFoundError:
        return root
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--base-dir cannot be used: {said}",
            where=str(base_dir)[:200],
            advice="Name the folder that holds the runs",
        ) from error
    if not stat.S_ISDIR(mode):
        raise UsageError("--base-dir is not a folder", where=str(root), advice="Name the folder that holds the runs")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UsageError("--base-dir may not be read", where=str(root), advice="Check its permissions")
    return root

"""Where the index of a root lies: `<root>/.barograph`, or a private temporary folder if that cannot be."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from barograph.journal.layout import PRIVATE

DATABASE = "index.sqlite"
REBUILD = "rebuild"
"""A reader that finds the index damaged leaves a file of this name for the process that indexes."""


class Place(Struct, frozen=True, kw_only=True):
    """The folder of an index."""

    root: Annotated[Path, Meta(description="The root that is indexed, without links.")]
    folder: Annotated[Path, Meta(description="The folder that holds the index and its lock.")]
    notice: Annotated[str | None, Meta(description="Why the index is private and temporary; None if it is not.")] = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / DATABASE


def shared_place(root: Path) -> Place:
    """Where a process that only reads looks for the index; nothing is created."""
    root = root.resolve()
    return Place(root=root, folder=root / PRIVATE)


def writable_place(root: Path) -> Place:
    """Where a process that indexes puts it. A folder that is a link, or may not be written, is not used."""
    shared = shared_place(root)
    try:
        shared.folder.mkdir(exist_ok=True)
        if not stat.S_ISDIR(shared.folder.lstat().st_mode):
            raise NotADirectoryError(f"{shared.folder} is a link")
        # A real write: the permission bits do not know of read-only mounts and full quotas.
        descriptor, probe = tempfile.mkstemp(prefix=".probe-", dir=shared.folder)
        os.close(descriptor)
        Path(probe).unlink()
    except OSError as error:
        private = Path(tempfile.mkdtemp(prefix="barograph-index-"))
        notice = (
            f"The index of {shared.root} is kept in {private} and is lost when this process ends:"
            f" {shared.folder} cannot be written ({error.strerror or error})"
        )
        return Place(root=shared.root, folder=private, notice=notice)
    return shared

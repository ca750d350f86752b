"""The folders of a root that may be runs, listed again only when there may be another one."""

import os
import time
from pathlib import Path

from barograph.index.look import Folder, folder_now
from barograph.journal.layout import LOGS, PRIVATE, names_a_run

AGAIN_S = 10.0
"""Longest time that a listing of the root counts: it also finds what to say of folders that are no runs."""


class RootFolders:
    """A fold over the listings of a root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: Folder | None = None
        self._until = 0.0
        self.names: tuple[str, ...] = ()
        """Folders, never links, whose names a run can have; sorted. Not all have logs."""
        self.itself = False
        """Whether the root is no root, but one run."""

    def update(self) -> bool:
        """Looks at the root; whether it was listed."""
        self.itself = folder_now(self._root / LOGS) is not None
        if time.monotonic() < self._until and self._seen is not None and self._seen.is_as_it_was():
            return False
        self._seen = folder_now(self._root)
        self._until = time.monotonic() + AGAIN_S
        self.names = self._listed()
        return True

    def _listed(self) -> tuple[str, ...]:
        try:
            with os.scandir(self._root) as entries:
                found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return ()
        return tuple(sorted(name for name in found if name != PRIVATE and names_a_run(name)))

    def is_run(self, name: str) -> bool:
        """Whether the folder of that name has logs, and no link leads there."""
        folder = self._root / name
        return folder_now(folder) is not None and folder_now(folder / LOGS) is not None

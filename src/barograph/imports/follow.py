"""One log and the run that it is imported into: read it, write what is new, and look again.

Looking again costs a few `stat` calls as long as nothing changed. What changed is read from its beginning, because a
tool may replace its log as well as append to it; the more of it there is, the longer the pauses between two looks.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from barograph.errors import ImportFailed
from barograph.imports import read_log, table
from barograph.imports.columns import MAPPED
from barograph.imports.import_state import read_state
from barograph.imports.imported_log import ImportedLog
from barograph.imports.into_journal import Added, ImportedRun
from barograph.imports.source_file import Progress

POLL_S = 1.0
BEAT_S = 5.0
QUIET_S = 300.0
"""Seconds without a change after which nothing says any more that the training may be alive."""
_REST = 5.0
"""How many times as long as a look took the pause after it is, at least."""

_FOLDERS = ("logs", "status")
"""Where a format looks inside a folder."""

Signature = tuple[tuple[str, tuple[int, int, int] | None], ...]


class FollowedLog:
    """Owns the run of one log while it is followed, from the first `update` until `close`."""

    def __init__(self, source: Path, folder: Path, *, mapping: Mapping[str, str] | None = None) -> None:
        """`source`: absolute; `folder`: its run (`import_target.run_folder`)."""
        self.source = source
        self.folder = folder
        self.pause = POLL_S
        """Seconds until the next look."""
        self._mapping = dict(mapping or {})
        self._run: ImportedRun | None = None
        self._seen: Signature | None = None
        self._log: ImportedLog | None = None
        self._settled: float | None = None
        self._beat_at = 0.0

    def read(self, *, progress: Progress | None = None) -> ImportedLog:
        """The log as it is now; with the columns of the last time, if nobody names others. Raises `ImportFailed`."""
        remembered = {} if self._mapping else _remembered(self.folder)
        if remembered:
            try:
                return read_log(self.source, mapping=remembered, progress=progress)
            except ImportFailed:  # it was written anew, with other columns
                pass
        return read_log(self.source, mapping=self._mapping, progress=progress)

    def update(self, log: ImportedLog, *, progress: Callable[[int], None] | None = None) -> Added:
        """Append what is new in the log. Raises `WriteError`, `RootBusy` and `ImportFailed`."""
        if self._run is None:
            self._run = ImportedRun(self.folder)
        added = self._run.update(log, progress=progress)
        self._log = log
        return added

    def look(self) -> Added | None:
        """Read and append if something changed since the last look; None if nothing did. Raises as the others."""
        begun = time.monotonic()
        seen = _signature(self.source)
        if seen == self._seen and not self._is_settled():
            self._beat()
            self.pause = POLL_S
            return None
        self._seen = seen
        try:
            added = self.update(self.read())
        finally:
            self.pause = max(POLL_S, _REST * (time.monotonic() - begun))
        self._beat()
        return added

    def close(self) -> None:
        """Close the run."""
        if self._run is not None:
            self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_settled(self) -> bool:
        """Whether a last row that was not finished counts as finished now; said once per change of the log."""
        log = self._log
        if log is None or not log.torn or log.modified == self._settled:
            return False
        if time.time() - log.modified < table.SETTLED_S:
            return False
        self._settled = log.modified
        return True

    def _beat(self) -> None:
        now = time.time()
        if self._run is None or self._log is None or now < self._beat_at:
            return
        ended = {one.attempt for one in self._log.endings}
        if self._log.rows[-1].attempt not in ended and now - self._log.modified < QUIET_S:
            self._beat_at = now + BEAT_S
            self._run.beat()


def _signature(source: Path) -> Signature:
    """What changes if the log does, or if something is put into the folder that it lies in."""
    places = [source]
    for folder in (source, *(source / name for name in _FOLDERS)):
        with suppress(OSError, ValueError), os.scandir(folder) as entries:
            places += sorted(folder / entry.name for entry in entries)
    return tuple((str(place), _stamp(place)) for place in places)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _remembered(folder: Path) -> dict[str, str]:
    """The columns of the last time, where the log is a table."""
    state = read_state(folder)
    if state is None or not state.format.startswith(table.FORMAT.name):
        return {}
    return {key: column for key, column in state.mapping.items() if key in MAPPED}

"""The thread that compresses finished journal files, one after another, behind everything else."""

import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from barograph.errors import JournalError
from barograph.index.indexer import Complete
from barograph.index.source import Identity, identity
from barograph.journal.seal import Sealed, seal

LOWEST_PRIORITY = 19

logger = logging.getLogger("barograph")


class Sealer:
    """Owns the thread, from construction until `close`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._offered: list[Complete] = []
        self._refused: dict[Path, Identity] = {}
        self._work = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._live, name="barograph-seal", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether it is done with what it was offered."""
        return not self._work.is_set()

    def offer(self, files: Sequence[Complete]) -> None:
        """Compress these files, in this order, unless it is still busy with others. What could not be compressed is not
        tried again until it changes."""
        files = [file for file in files if self._refused.get(file.path) != file.identity]
        if files and self.idle:
            self._offered = files
            self._work.set()

    def close(self) -> None:
        """Stops at once; a file that is half done stays as it was."""
        self._closing = True
        self._work.set()
        self._thread.join()

    def _live(self) -> None:
        if sys.platform == "linux":  # elsewhere it would be the whole process
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while not self._closing:
            self._work.wait()
            if not self._closing:
                self._seal_all(self._offered)
            self._work.clear()  # a close that comes before this is seen by the loop, one after it wakes it again

    def _seal_all(self, files: Sequence[Complete]) -> None:
        sealed: list[Sealed] = []
        refused: list[str] = []
        for file in files:
            if self._closing:
                break
            try:
                sealed.append(self._seal(file))
            except Exception as error:  # noqa: BLE001 - the thread's one boundary: a bad file must not end it
                if not self._closing:
                    self._refused[file.path] = file.identity
                    refused.append(f"{file.path.relative_to(self._root)}: {error}")
        if sealed:
            before, after = sum(one.before for one in sealed), sum(one.after for one in sealed)
            logger.info(
                "barograph: %s of finished attempts compressed: %.1f MB before, %.1f MB now",
                _files(len(sealed)),
                before / 1e6,
                after / 1e6,
            )
        if refused:
            logger.warning(
                "barograph: %s could not be compressed; what cannot stays as it is; the first: %s",
                _files(len(refused)),
                refused[0],
            )

    def _seal(self, file: Complete) -> Sealed:
        if identity(file.path) != file.identity:
            raise JournalError("it changed since it was read", where=str(file.path))
        expected = file.path.lstat()
        return seal(self._root, file.path, expected=expected, go_on=lambda: not self._closing)


def _files(count: int) -> str:
    return "1 journal file" if count == 1 else f"{count} journal files"

"""Checks a large index from end to end while it is already in use.

Every row has a checksum and is checked when it is read, so nothing wrong is shown meanwhile; what only a look at the
whole can find is a row that is not there any more.
"""

import logging
import sqlite3
import threading
from contextlib import suppress

from barograph.index.database import inode, verify_file
from barograph.index.place import REBUILD, Place
from barograph.index.schema import IndexDamaged

logger = logging.getLogger("barograph")


class Verification:
    """Owns the thread that checks one index, from construction until it is through or `close` is called."""

    def __init__(self, place: Place) -> None:
        """What it finds damaged, the process that indexes builds again."""
        self._place = place
        self._inode = inode(place.database)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="barograph-verify", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it, done or not."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            verify_file(self._place.database, stopped=self._stopped.is_set)
        except IndexDamaged as error:
            # One that was replaced meanwhile is not the one that was read.
            if inode(self._place.database) == self._inode and not self._stopped.is_set():
                logger.warning("barograph: the index is damaged and is built again: %s", error.problem)
                with suppress(OSError):
                    (self._place.folder / REBUILD).touch()
        except (sqlite3.Error, OSError) as error:
            logger.warning("barograph: the index could not be checked: %s", error)

"""Waits for the operating system to say that something changed in a folder, so that news need not wait for a poll.

Events are a hurry, never the truth: they do not come from other machines of a network file system, they are lost while
the set of folders is changed, and there may be too few watches left in the kernel. Whoever uses them polls as well.
"""

import logging
import threading
from pathlib import Path

import watchfiles

from barograph.index.look import Folder, folder_now

STEP_MS = 1
"""Milliseconds between two looks at what the kernel said. Measured: 2 % of a core when nothing happens, and a median of
2 ms from a write to its event."""
DEBOUNCE_MS = 5
"""Longest time in milliseconds for which events are collected."""
SILENCE_MS = 100
"""Milliseconds without an event after which new watches certainly stand."""
TRY_AGAIN_S = 1.0
ANYWHERE = "/"
"""Stands for a path that changed and is not known."""

logger = logging.getLogger("barograph")
logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it has a line for every event


class FileEvents:
    """Owns the thread that waits for events, from construction until `close`."""

    def __init__(self, wake: threading.Event) -> None:
        """`wake` is set whenever there is something for `take`."""
        self._wake = wake
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._folders: dict[str, Folder] = {}
        self._new_folders = threading.Event()
        self._closing = False
        self._failed = False
        self._thread = threading.Thread(target=self._live, name="barograph-events", daemon=True)
        self._thread.start()

    @property
    def working(self) -> bool:
        """Whether events can come; False once the system refused."""
        return not self._failed

    def watches(self, folder: Path) -> bool:
        """Whether events are awaited from there."""
        return str(folder) in self._folders

    def watch(self, folders: list[Path]) -> None:
        """Watches what lies directly in these folders, in place of those before. What is no folder is left out."""
        found = {folder.path: folder for path in folders if (folder := folder_now(path)) is not None}
        with self._lock:
            same = found.keys() == self._folders.keys() and all(
                (one.device, one.inode) == (found[path].device, found[path].inode)
                for path, one in self._folders.items()
            )
            if not same:
                self._folders = found
                self._new_folders.set()

    def take(self) -> set[str]:
        """The paths that changed since the last call; `ANYWHERE` among them if there may be others."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return changed

    def close(self) -> None:
        """Ends the thread."""
        self._closing = True
        self._new_folders.set()
        self._thread.join()

    def _live(self) -> None:
        while True:
            with self._lock:
                self._new_folders.clear()
                folders = list(self._folders)
            if self._closing or not self.working:
                return  # looked at only now: what `close` said may have been cleared above
            if not folders:
                self._new_folders.wait()
                continue
            try:
                self._wait(folders)
            except FileNotFoundError:
                self._new_folders.wait(TRY_AGAIN_S)  # one of them was removed meanwhile
            except Exception as error:  # noqa: BLE001 - the thread's one boundary: whatever it is, polling goes on
                self._failed = True
                logger.info(
                    "barograph: file events are not available (%s: %s); files are looked at several times a second",
                    type(error).__name__,
                    error,
                )

    def _wait(self, folders: list[str]) -> None:
        """Until `watch` is called with others."""
        if self._closing:
            return
        begun = False
        for changes in watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=SILENCE_MS,
            yield_on_timeout=True,
            stop_event=self._new_folders,
            raise_interrupt=False,
            debug=False,
            force_polling=False,
            recursive=False,
            ignore_permission_denied=True,
        ):
            if changes or not begun:
                with self._lock:
                    # What happened before the watches stood, nobody said: then anything may have changed.
                    self._changed |= {path for _, path in changes} if begun else {ANYWHERE}
                self._wake.set()
            begun = True

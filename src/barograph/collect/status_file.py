"""Keeps `status/training_status.json` of a run up to date, from a thread of its own.

There is one slot: what is offered replaces what was not written yet, so that a disk that blocks for a minute costs the
documents of that minute and nothing else. Not more than one a second is written, and the last one always.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from barograph.errors import UnsafePath
from barograph.journal.status_document import replace_status_document

NAME = "training_status.json"

EVERY_S = 1.0
"""Least time between two documents."""

logger = logging.getLogger("barograph")

Document = msgspec.Struct | Mapping[str, object]
Replace = Callable[[Path, str, bytes], None]


class StatusFile:
    """Owns the thread that writes the document, from the first one that is offered until `close`."""

    def __init__(self, run: Path, *, every_s: float = EVERY_S, replace: Replace = replace_status_document) -> None:
        """`run` is the run's folder. `replace(run, name, content)` is what writes."""
        self._run = run
        self._every_s = every_s
        self._replace = replace
        self._change = threading.Condition()
        self._offered: Document | None = None
        self._closing = False
        self._failures = 0
        self._thread: threading.Thread | None = None
        self.trouble: str | None = None
        """Why the newest document could not be written; None while all is well."""

    def offer(self, document: Document) -> None:
        """Have `document` written, unless a newer one comes first. Returns at once, and never raises."""
        with self._change:
            if self._closing:
                return
            self._offered = document
            self._change.notify_all()
        if self._thread is None:
            thread = threading.Thread(target=self._live, name="barograph-status", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread to be had
                self.trouble = str(error)
            else:
                self._thread = thread

    def close(self, within_s: float = 2.0) -> bool:
        """Write what was offered last, and end; whether that was done within that time."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread is None:
            return self._offered is None
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive() and self.trouble is None

    def _live(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._offered is not None or self._closing)
                document, self._offered = self._offered, None
                last = self._closing
            if document is None:
                return
            began = time.monotonic()
            self._write(document)
            with self._change:
                if self.trouble is not None and self._offered is None:
                    if last:
                        return
                    self._offered = document  # it is the newest still
                left = began + self._every_s - time.monotonic()
                self._change.wait_for(lambda: self._closing, timeout=max(0.0, left))

    def _write(self, document: Document) -> None:
        """Write one document. What goes wrong twice in a row is said, once: at the first try the run's folder may not
        be there yet."""
        try:
            # A number that is not finite becomes null, which is what readers of this document take.
            self._replace(self._run, NAME, msgspec.json.encode(document) + b"\n")
        except (OSError, UnsafePath, msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            self._failures += 1
            self.trouble = str(error)
            if self._failures == 2:
                logger.warning("barograph: %s cannot be written: %s. Training goes on.", NAME, error)
        else:
            self.trouble, self._failures = None, 0

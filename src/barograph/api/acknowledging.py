"""Writing down that a person has seen an alert: a line in a journal file of the server's own, beside the training's."""

import threading
import time
from pathlib import Path

from barograph.errors import WriteError
from barograph.index import Index
from barograph.journal.layout import LOGS
from barograph.journal.side_journals import SideJournals
from barograph.records import Acknowledgement
from barograph.views.acknowledged import acknowledged, alert_of
from barograph.views.monitor_documents import Acknowledged

WRITER = "serve"
WRITE_S = 5.0
"""Seconds that the disk gets; a person waits."""
REST_S = 60.0
"""Seconds without another one after which the file of a run is closed: a server may run for months."""


class Acknowledging:
    """Owns the server's journal files under one root, from the first acknowledgement until `close`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._journals: SideJournals | None = None
        self._lock = threading.Lock()
        self._closing: threading.Timer | None = None

    def acknowledge(self, index: Index, run: str, alert: str, *, note: str) -> Acknowledged:
        """Write it down, once the index knows the alert; saying it again replaces the note.

        Waits for the disk. Raises `UnknownRun`, `UnknownAlert`, or `WriteError` where the root cannot be written.
        """
        seen = alert_of(index, run, alert)
        record = Acknowledgement(time=time.time(), alert=alert, note=note)
        with self._lock:
            if self._journals is None:
                itself = self._root.name if (self._root / LOGS).is_dir() else None
                self._journals = SideJournals(self._root, writer=WRITER, itself=itself)
            try:
                writer = self._journals.append(run, seen.attempt, record)
            except OSError as error:
                raise self._refused(error.strerror or str(error)) from error
            if not writer.flush(WRITE_S):
                raise self._refused(writer.trouble or "the disk is too slow")
            self._close_later()
        return acknowledged(run, record)

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            if self._closing is not None:
                self._closing.cancel()
            self._rest(0.0)

    def _close_later(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._closing = threading.Timer(REST_S, self._close_idle)
        self._closing.daemon = True
        self._closing.start()

    def _close_idle(self) -> None:
        with self._lock:
            self._rest(REST_S / 2)

    def _rest(self, idle_s: float) -> None:
        if self._journals is not None:
            self._journals.rest(idle_s)

    def _refused(self, why: str) -> WriteError:
        return WriteError(
            f"that the alert was seen cannot be written down: {why}",
            where=str(self._root),
            advice="The folder of runs must be writable for the server, and its disk must not be full",
        )

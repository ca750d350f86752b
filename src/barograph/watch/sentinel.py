"""Raises the alerts that a training cannot raise of itself: that it makes no steps any more, and that it has died.

It reads the index and writes into journal files of its own, `sentinel-…jsonl`, beside those of the training. What it
raised it finds there when it starts again, so that an alert is raised once, and is over when the run goes on. One
process does it for a root, the one that holds the lock; the others wait for that one to end.
"""

import logging
import os
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from barograph.analysis.run_state import RunState
from barograph.errors import BarographError, RootBusy, UnknownRun
from barograph.index import Index, Snapshot, query
from barograph.index.lock import RootLock
from barograph.index.place import shared_place
from barograph.index.query import Source
from barograph.journal.layout import LOGS
from barograph.journal.side_journals import SideJournals
from barograph.journal.webhook import Webhook
from barograph.policy import Policy
from barograph.policy.alert_life import AlertLife
from barograph.policy.checked import Checked
from barograph.policy.run_conditions import run_crashed, run_silent
from barograph.records import Alert, Notification
from barograph.records.quantities import Attempt
from barograph.views.summary import NewestAttempt, last_moved, newest_attempt, state_of

WRITER = "sentinel"
LOCK = "alerts.lock"

LOOK_S = 5.0
"""Seconds between two looks at the runs that live, and at those with news."""
BUSY_S = 30.0
"""Seconds between two tries to become the one that does it."""
REST_S = 60.0
"""Seconds without a line after which a journal file is closed."""
RECENT_S = 24 * 3600.0
"""A run that has not moved for so long is not looked at: whoever wanted to know does."""
CLOSE_S = 3.0

logger = logging.getLogger("barograph")


class Sentinel:
    """Owns a thread, the lock, and the side journals, while the context is open."""

    def __init__(self, root: Path, *, policy: Policy, environ: Mapping[str, str] | None = None) -> None:
        """`environ` names the webhook that alerts are sent to, if any."""
        self._root = root
        self._policy = policy
        self._index = Index(root)
        self._environ = os.environ if environ is None else environ
        self._results: queue.SimpleQueue[Notification] = queue.SimpleQueue()
        self._webhook: Webhook | None = None
        self._lock: RootLock | None = None
        self._journals: SideJournals | None = None
        self._revisions: dict[str, int] = {}
        self._alive: set[str] = set()
        self._lives: dict[str, tuple[Attempt, dict[str, AlertLife]]] = {}
        self._told: dict[str, tuple[str, Attempt]] = {}
        self._complained: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="barograph-sentinel", daemon=True)

    def __enter__(self) -> "Sentinel":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            wait = LOOK_S
            try:
                if not self.look(now=time.time()):
                    wait = BUSY_S if self._root.is_dir() else LOOK_S
            except (BarographError, sqlite3.Error, OSError) as error:
                # The index is being built again, or the disk is full: it is looked at again.
                self._complain(error)
        self.close()

    def _is_the_one(self) -> bool:
        """Whether this process looks after the root; takes the lock if it can be had."""
        if self._lock is not None and not self._lock.still_valid():
            self._lock.close()
            self._lock = None
        if self._lock is None and self._root.is_dir():
            folder = shared_place(self._root).folder
            with suppress(RootBusy):
                folder.mkdir(exist_ok=True)
                self._lock = RootLock(folder, name=LOCK, does="raises the alerts of")
                root = shared_place(self._root).root
                self._journals = SideJournals(root, writer=WRITER, itself=root.name if (root / LOGS).is_dir() else None)
                self._webhook = Webhook.from_environment(self._environ, on_result=self._results.put)
        return self._lock is not None

    def look(self, *, now: float) -> bool:
        """Look at every run that lives or has news, and raise or end what there is to; false if another process does.

        For the one thread that owns this: that of the context, or the caller's if the context was not entered.
        """
        if not self._is_the_one():
            return False
        self._write_results()
        with self._index.snapshot() as snapshot:
            if not snapshot.ready:
                return True
            revisions = query.revisions(snapshot)
            for run in revisions:
                if run in self._alive or self._revisions.get(run) != revisions[run]:
                    with suppress(UnknownRun):
                        self._look_at(snapshot, run, now=now)
            for run in self._lives.keys() - revisions.keys():
                del self._lives[run]
            self._alive &= revisions.keys()
            self._revisions = revisions
        if self._journals is not None:
            self._journals.rest(REST_S)
        return True

    def _look_at(self, snapshot: Snapshot, run: str, *, now: float) -> None:
        sources = query.sources(snapshot, run)
        newest = newest_attempt(sources)
        grown_ns, _ = last_moved(sources)
        self._alive.discard(run)
        if newest is None or now - grown_ns / 1e9 > RECENT_S or (newest.banner and newest.banner.imported):
            return
        if any(source.behind for source in sources):
            self._alive.add(run)  # what was not read yet may say that it ended
            return
        lives = self._lives_of(snapshot, run, sources, newest, now=now)
        state = state_of(newest, now=now, crashed_after_s=self._policy.run_state.crashed_after_s)
        for condition, found in self._found(newest, state, now=now).items():
            life = lives[condition]
            if found.seen and not life.open:
                line = life.seen(found.step, now, found.title, found.text, dict(found.evidence), found.subjects)
                self._record(run, newest.attempt, line)
            elif found.seen is False:
                self._record(run, newest.attempt, life.not_seen(found.step, now))
        if state.state in ("training", "paused"):
            self._alive.add(run)

    def _found(self, newest: NewestAttempt, state: RunState, *, now: float) -> dict[str, Checked]:
        """What is so of the newest attempt. Steps and heartbeats are compared by the clock of their writer."""
        first, mark, last = newest.first_mark, newest.mark, newest.last_time
        since_step_s = None if mark is None or last is None else last - mark.time
        seconds_per_step = None
        if first is not None and mark is not None and mark.step > first.step:
            seconds_per_step = (mark.time - first.time) / (mark.step - first.step)
        return {
            "run_silent": run_silent(
                state,
                step=newest.current_step,
                since_step_s=since_step_s,
                seconds_per_step=seconds_per_step,
                table=self._policy.alerts.run_silent,
            ),
            "run_crashed": run_crashed(
                state,
                step=newest.current_step,
                silent_s=newest.silent_s(now),
                table=self._policy.alerts.run_crashed,
            ),
        }

    def _lives_of(
        self, snapshot: Snapshot, run: str, sources: Sequence[Source], newest: NewestAttempt, *, now: float
    ) -> dict[str, AlertLife]:
        """The alerts of the newest attempt, as they stand in the journal; those of one before it are over."""
        known = self._lives.get(run)
        if known is not None and known[0] == newest.attempt:
            return known[1]
        if known is not None:
            for life in known[1].values():
                self._record(run, known[0], life.not_seen(None, now))
        tables = self._policy.alerts
        found = {
            name: AlertLife(name, "run", table.life, table.recommendation, self._policy.name, new_alert_id)
            for name, table in (("run_silent", tables.run_silent), ("run_crashed", tables.run_crashed))
        }
        own = [one for one in sources if one.state.writer == WRITER and one.state.attempt == newest.attempt]
        for alert in query.events(snapshot, run, Alert, among=own)[::-1]:
            if alert.condition in found:
                found[alert.condition].resume(alert)
        self._lives[run] = (newest.attempt, found)
        return found

    def _record(self, run: str, attempt: Attempt, alert: Alert | None) -> None:
        if alert is None or self._journals is None:
            return
        self._journals.append(run, attempt, alert)
        if self._webhook is not None:
            self._told[alert.id] = (run, attempt)
            self._webhook.send(alert, run)

    def _write_results(self) -> None:
        """Write down what became of the alerts that were sent."""
        while self._journals is not None and not self._results.empty():
            result = self._results.get()
            if result.alert in self._told:
                run, attempt = self._told[result.alert]
                self._journals.append(run, attempt, result)

    def close(self) -> None:
        """Send what waits, close the files, let go of the lock."""
        if self._webhook is not None:
            self._webhook.close(CLOSE_S / 2)
        with suppress(OSError, BarographError):
            self._write_results()
            if self._journals is not None:
                self._journals.close()
        if self._lock is not None:
            self._lock.close()

    def _complain(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if said not in self._complained and len(self._complained) < 100:
            self._complained.add(said)
            logger.warning("barograph: the runs could not be looked at, and are again soon: %s", said)


def new_alert_id() -> str:
    """An id that no other alert has."""
    return uuid.uuid4().hex[:16]

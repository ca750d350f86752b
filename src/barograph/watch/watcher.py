"""The watcher of a root: looks, plans, does the first job, and begins again, until there is nothing to do; then waits.

It looks at a run when its journal says something that matters, when a folder that the user named changed, when one that
was being written may be complete, and at all of them every so often: file events may be late, few, or missing.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from barograph.errors import BarographError, IndexRebuilding, UnknownRun, WriteError
from barograph.index import Follower, IndexDamaged, ScanResult, Snapshot, query
from barograph.index.file_events import FileEvents
from barograph.index.lock import WATCH, RootLock
from barograph.index.passes import tensor_passes, weights_passes
from barograph.index.place import shared_place
from barograph.journal.layout import LOGS, journal_files, names_a_run
from barograph.policy import Policy
from barograph.views.checkpoints import known_checkpoints
from barograph.views.unified import status_documents
from barograph.views.weights import checkpoint_id
from barograph.watch.execute import Bar, execute
from barograph.watch.inventory import candidates, owner, run_records, seen
from barograph.watch.known_run import KnownRun, nothing_yet
from barograph.watch.plan import Past, Plan, PlannedJob, Reference, plan
from barograph.watch.recorder import WRITER, Recorder
from barograph.watch.status_files import write_documents
from barograph.weights import Pass

AGAIN_S = 60.0
"""Seconds after which what failed because of this machine is tried again."""
UNFINISHED_S = 60.0
"""Seconds without a write before which what cannot be read, and nobody spoke of, counts as still being written."""
DOCUMENTS_S = 5.0
"""Seconds between two looks at the documents while there is much to do."""
MOST_WATCHED = 64
"""Checkpoint folders of the user's that are watched for changes inside them."""
QUIET_S = 5.0
"""Seconds without a write after which a checkpoint that no run spoke of counts as complete."""
READY_S = 600.0
"""Seconds that the first scan of a root may take before that is an error."""
REST_S = 900.0
"""Seconds without work after which the journal file of a run is closed."""
LOOK_S = 0.25
MATTERS = frozenset({"banner", "checkpoint", "files", "any"})
"""Kinds of news, in the words of `Change.what`, after which a run is looked at."""

logger = logging.getLogger("barograph")


class Listener(Protocol):
    """Hears what the watcher does, in the thread that runs it."""

    def planned(self, jobs: Sequence[PlannedJob]) -> None:
        """There is this to do; called when that changes, also with nothing."""

    def started(self, job: PlannedJob) -> Bar:
        """A job begins; returns what to tell of its bytes."""

    def ended(self, job: PlannedJob, done: Pass | None, failure: str | None) -> None:
        """It was done, or failed."""


class Settings(Struct, frozen=True, kw_only=True):
    """What the user decides."""

    policy: Annotated[Policy, Meta(description="Judges the documents in `status/`.")]
    reference: Annotated[Path | None, Meta(description="What every checkpoint is compared with.")] = None
    folders: Annotated[
        tuple[Path, ...], Meta(description="Folders of checkpoints beside those that runs speak of.")
    ] = ()
    every_s: Annotated[float, Meta(gt=0.0, description="Seconds between two looks at everything.")] = 600.0
    quiet_s: Annotated[float, Meta(ge=0.0, description="Seconds without a write that make a checkpoint complete.")] = (
        QUIET_S
    )
    threads: Annotated[int | None, Meta(description="Threads that read; null is one per processor.")] = None


class Watcher:
    """Owns the watcher's lock of a root, its index follower and its journal files, from construction until `close`."""

    def __init__(self, root: Path, settings: Settings, listener: Listener) -> None:
        """Creates the root if it is not there. Raises `RootBusy` if another process watches it, `WriteError` if it
        cannot be written."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            place = shared_place(root)
            place.folder.mkdir(exist_ok=True)
            self._lock = RootLock(place.folder, name=WATCH, does="watches")
        except OSError as error:
            raise WriteError(
                f"the root cannot be written: {error.strerror}",
                where=str(root),
                advice="What a watcher sees goes into the runs' journals; give it a root that it may write",
            ) from error
        self._root = place.root
        self._settings = settings
        self._listener = listener
        self._itself = self._root.name if (self._root / LOGS).is_dir() else None
        self._recorder = Recorder(self._root, itself=self._itself)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._changed: set[str] = set()
        self._changed_lock = threading.Lock()
        self._known: dict[str, KnownRun] = {}
        self._behind: set[str] = set()
        self._postponed: dict[str, float] = {}
        self._told: set[str] = set()
        self._newest: tuple[tuple[str, str | None], Pass | None] = (("", None), None)
        self._written_at = 0.0
        self._complained: set[str] = set()
        self.done = 0
        """Checkpoints that were read."""
        self._follower = Follower(self._root, on_change=self._note)
        self._events = FileEvents(self._wake)

    @property
    def unread(self) -> int:
        """Checkpoints that are there, or were said to be, and could not be read."""
        found = [one for known in self._known.values() for one in known.candidates]
        failed = {run: known.past.failed | set(self._postponed) for run, known in self._known.items()}
        nothing = {
            run: Past(failed=frozenset(), in_force=known.past.in_force, first=known.past.first)
            for run, known in self._known.items()
        }
        made = plan(found, nothing, now=time.time(), quiet_s=0.0)
        return sum(job.id in failed[job.candidate.run] for job in made.jobs)

    def run(self) -> None:
        """Watch until `stop`."""
        next_sweep = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            everything = now >= next_sweep
            if everything:
                next_sweep = now + self._settings.every_s
            quiet_at: float | None = None
            try:
                quiet_at = self._round(everything=everything or bool(self._events.take()))
            except Exception as error:  # noqa: BLE001 - the loop's one boundary: what one run holds must not stop others
                self._complain(
                    "round", f"a look at the root failed and is tried again: {type(error).__name__}: {error}"
                )
                next_sweep = min(next_sweep, time.monotonic() + AGAIN_S)
            self._events.watch(self._folders_to_watch())
            pause = max(0.0, min([next_sweep, *self._postponed.values()]) - time.monotonic())
            if quiet_at is not None:
                pause = min(pause, max(LOOK_S, quiet_at - time.time()))
            if self._behind or any(known.unwritten is not None for known in self._known.values()):
                pause = min(pause, LOOK_S)
            self._wake.wait(pause)
            self._wake.clear()

    def run_once(self) -> None:
        """Read everything that there is, wait for what is still being written, write the documents, and return."""
        deadline = time.monotonic() + READY_S
        while not self._stopping.is_set():
            quiet_at = None
            if self._is_current():  # else a checkpoint might be read that a newer attempt has saved again
                quiet_at = self._round(everything=True)
                waits = self._behind or any(known.unwritten is not None for known in self._known.values())
                if quiet_at is None and not waits:
                    return
            if time.monotonic() > deadline:
                raise BarographError(
                    "the root does not come to rest: its index is not complete, or a checkpoint is written to",
                    where=str(self._root),
                )
            self._stopping.wait(LOOK_S if quiet_at is None else max(LOOK_S, min(1.0, quiet_at - time.time())))

    def stop(self) -> None:
        """Make `run` return after the job that it is at; may be called from any thread, and in a signal's handler."""
        self._stopping.set()
        self._wake.set()

    def close(self) -> None:
        """Close the journal files, and let go of the lock."""
        self._recorder.close()
        self._events.close()
        self._follower.close()
        self._lock.close()

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, news: ScanResult) -> None:
        """Called in the follower's thread."""
        runs = {change.run for change in news.changed if MATTERS & set(change.what)} | set(news.gone)
        if runs or news.rebuilt:
            with self._changed_lock:
                self._changed |= runs
            self._wake.set()

    def _round(self, *, everything: bool) -> float | None:
        """Look, and do what there is to do; when the first of those still being written may be complete, if any is."""
        now = time.monotonic()
        due = {one for one, until in self._postponed.items() if until <= now}
        for one in due:
            del self._postponed[one]
        self._look(everything=everything or bool(due))
        while True:
            made = self._plan()
            if not made.jobs or self._stopping.is_set():
                break
            self._tell(made.jobs)
            for job in made.jobs:
                self._do(job)
                if self._changed or self._stopping.is_set():
                    break  # the plan may be another one by now
                if time.monotonic() - self._written_at > DOCUMENTS_S:
                    self._write_documents()
            self._look(everything=False)
        self._tell([])
        self._recorder.rest(REST_S)
        self._write_documents()
        return made.quiet_at

    def _look(self, *, everything: bool) -> None:
        """Bring what is known of runs up to date: of all, or of those with news."""
        with self._changed_lock:
            runs, self._changed = self._changed | self._behind, set()
        try:
            with self._follower.index.snapshot() as snapshot:
                names = set(query.run_names(snapshot))
                runs |= names - self._known.keys()
                news = {run for run in (names if everything else names & runs) if self._look_at(snapshot, run)}
        except (BarographError, sqlite3.Error, OSError) as error:
            # The index is being built again; what was not looked at is looked at next time.
            if not isinstance(error, IndexRebuilding | UnknownRun | IndexDamaged):
                self._complain("index", f"the index could not be read: {error}")
            with self._changed_lock:
                self._changed |= runs
            return
        for run in self._known.keys() - names - self._behind:
            if self._known[run].said:
                del self._known[run]
        records = [known.records for known in self._known.values()]
        owners = {
            folder: owner(folder, records) or self._itself or _run_of(folder) for folder in self._settings.folders
        }
        for run in owners.values():
            self._known.setdefault(run, KnownRun(nothing_yet(run)))
        for run in self._known if everything else news & self._known.keys():
            folders = [folder for folder, its in owners.items() if its == run]
            known = self._known[run]
            known.candidates = candidates(known.records, folders, reference=self._settings.reference)

    def _look_at(self, snapshot: Snapshot, run: str) -> bool:
        """Whether the journal of the run says something new of its checkpoints."""
        try:
            said = seen(snapshot, run)
            known = self._known.get(run)
            if known is not None and known.said == said:
                return False
            if known is None and not self._is_read(snapshot, run):
                self._behind.add(run)
                return False
            self._behind.discard(run)
            records = run_records(snapshot, run)
        except UnknownRun:
            return False
        if known is None:
            known = self._known[run] = KnownRun(records)
            known.unwritten = 0.0 if records.past.in_force else None
        known.records, known.said = records, said
        return True

    def _is_read(self, snapshot: Snapshot, run: str) -> bool:
        """Whether the index has all that watchers before this one wrote: else their last work would be done again."""
        known = {source.path: source for source in query.sources(snapshot, run) if source.state.writer == WRITER}
        for file in journal_files(self._recorder.folder(run)):
            path = str(file.path.relative_to(self._root))
            if file.writer == WRITER and (path not in known or known[path].behind):
                return False
        return True

    def _plan(self) -> Plan:
        """What is to be done, with what this process did and the index does not have yet."""
        found = [one for known in self._known.values() for one in known.candidates]
        past = {run: known.past_without(self._postponed) for run, known in self._known.items()}
        return plan(found, past, now=time.time(), quiet_s=self._settings.quiet_s)

    def _tell(self, jobs: Sequence[PlannedJob]) -> None:
        new = [job for job in jobs if job.id not in self._told]
        for job in new:
            self._told.add(job.id)
            self._recorder.job(job, "planned")
        if new or not jobs:
            self._listener.planned(jobs)

    def _do(self, job: PlannedJob) -> None:
        began = time.monotonic()
        self._recorder.job(job, "started")
        outcome = execute(
            job, earlier=self._earlier(job), threads=self._settings.threads, bar=self._listener.started(job)
        )
        failure, again = outcome.failure, outcome.again
        if outcome.done is not None:
            try:
                self._recorder.weights(job, outcome.done)
            except (BarographError, OSError) as error:  # the disk may take it later
                failure, again = f"what was read could not be written down: {error}", True
        # What nobody said was complete, and was written to just now, may be a save that takes its time.
        unfinished = not job.candidate.recorded and time.time() - job.candidate.modified < UNFINISHED_S
        seconds, known = time.monotonic() - began, self._known[job.candidate.run]
        if failure is None and outcome.done is not None:
            self.done += 1
            known.add(job, outcome.done)
            self._recorder.job(job, "done", seconds=seconds)
            self._newest = (self._line_of(job), outcome.done)
        else:
            if again or unfinished:
                self._postponed[job.id] = time.monotonic() + (AGAIN_S if again else UNFINISHED_S / 4)
            else:
                known.failed.add(job.id)
            self._recorder.job(job, "failed", seconds=seconds, reason=failure, again=again or unfinished)
        self._listener.ended(job, outcome.done if failure is None else None, failure)

    def _folders_to_watch(self) -> list[Path]:
        """The user's folders, and the newest checkpoints in them: one of them may be written anew in place."""
        inside = [
            one
            for known in self._known.values()
            for one in known.candidates
            if not one.recorded and Path(one.path).parent in self._settings.folders
        ]
        newest = sorted(inside, key=lambda one: -one.modified)[:MOST_WATCHED]
        return [*self._settings.folders, *(Path(one.path) for one in newest)]

    def _earlier(self, job: PlannedJob) -> Pass | None:
        """The newest pass of the same run against the same reference; in memory while jobs of one run follow."""
        line = self._line_of(job)
        if line != self._newest[0]:
            self._newest = (line, None if job.reference is None else self._stored(job, job.reference))
        return self._newest[1]

    def _stored(self, job: PlannedJob, reference: Reference) -> Pass | None:
        with suppress(BarographError, sqlite3.Error), self._follower.index.snapshot() as snapshot:
            for stored in reversed(weights_passes(snapshot, job.candidate.run)):
                if stored.summary.reference_stamp == reference.stamp:
                    return Pass(summary=stored.summary, rows=tuple(tensor_passes(snapshot, stored)))
        return None

    def _line_of(self, job: PlannedJob) -> tuple[str, str | None]:
        return job.candidate.run, None if job.reference is None else job.reference.stamp

    def _write_documents(self) -> None:
        """The documents of runs with news, once the index has what they are made of."""
        self._written_at = time.monotonic()
        for run, known in list(self._known.items()):
            if known.unwritten is None:
                continue
            try:
                with self._follower.index.snapshot() as snapshot:
                    found = known_checkpoints(snapshot, run, policy=self._settings.policy, now=time.time())
                if max((one.stored.summary.time for one in found.measured), default=0.0) < known.unwritten:
                    continue
                write_documents(
                    self._root, self._recorder.folder(run), status_documents(found, policy=self._settings.policy)
                )
            except (IndexRebuilding, IndexDamaged, UnknownRun):
                continue
            except (BarographError, sqlite3.Error, OSError) as error:
                self._complain(run, f"the documents of run {run} cannot be written: {error}")
            known.unwritten = None

    def _is_current(self) -> bool:
        """Whether the index has all that the journals hold."""
        with suppress(BarographError, sqlite3.Error), self._follower.index.snapshot() as snapshot:
            if not snapshot.ready:
                return False
            return not any(source.behind for parts in query.sources_by_run(snapshot).values() for source in parts)
        return False

    def _complain(self, about: str, said: str) -> None:
        if about not in self._complained:
            self._complained.add(about)
            logger.warning("barograph: %s", said)


def _run_of(folder: Path) -> str:
    """The name of the run that a folder of checkpoints becomes, if no run speaks of it."""
    name = folder.absolute().name
    return name if names_a_run(name) else f"checkpoints-{checkpoint_id(str(folder.absolute()))}"

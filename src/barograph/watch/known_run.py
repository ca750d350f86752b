"""What a watcher knows of one run: what its journal says, what is on disk, and what was done since it was indexed."""

from collections.abc import Iterable

from barograph.records.weights import reference_rank
from barograph.watch.inventory import RunRecords, Seen
from barograph.watch.plan import Candidate, First, InForce, Past, PlannedJob
from barograph.weights import Pass


class KnownRun:
    """What a watcher knows of one run: what its journal says, what is on disk, and what this process did since."""

    def __init__(self, records: RunRecords) -> None:
        self.records = records
        self.said: tuple[Seen, ...] = ()
        """What its journal had said when it was last looked at; empty for a run without a journal."""
        self.candidates: list[Candidate] = []
        self.failed: set[str] = set()
        self.unwritten: float | None = None
        """Time of the newest pass that is in no document yet; None if there is none."""
        self._done: dict[str, InForce] = {}
        self._first: First | None = None

    @property
    def past(self) -> Past:
        """What was done, the last of it from memory."""
        past = self.records.past
        return Past(
            failed=past.failed | self.failed,
            in_force={**past.in_force, **self._done},
            first=self._first or past.first,
        )

    def past_without(self, postponed: Iterable[str]) -> Past:
        """The same, with what is postponed among what is not tried now."""
        past = self.past
        return Past(failed=past.failed | set(postponed), in_force=past.in_force, first=past.first)

    def add(self, job: PlannedJob, done: Pass) -> None:
        """A pass was recorded."""
        summary = done.summary
        self._done[summary.path] = InForce(stamp=summary.stamp, job=job.id, rank=reference_rank(summary))
        if summary.reference_origin == "first_checkpoint" and summary.reference_path is not None:
            attempt = max(job.candidate.attempt, self.past.first.attempt if self.past.first else 1)
            self._first = First(path=summary.reference_path, attempt=attempt)
        self.unwritten = summary.time


def nothing_yet(run: str) -> RunRecords:
    """A run that has no journal yet: only a folder of checkpoints."""
    nothing = Past(failed=frozenset(), in_force={}, first=None)
    return RunRecords(run=run, attempt=1, model=None, output_dir=None, spoken=[], past=nothing)

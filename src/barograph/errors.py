"""Every exception that barograph raises on purpose.

    BarographError
    ├── UsageError              the caller asked for what cannot be
    │   ├── MissingExtra        an optional dependency is not installed
    │   ├── PolicyError         a policy file says something we do not know
    │   ├── RunConflict         `resume` forbids what would happen to the run
    │   ├── UnknownRun          no run of that id under the root
    │   ├── UnknownSeries       the run has no series of that name
    │   ├── UnknownCheckpoint   the run has no checkpoint of that id
    │   ├── UnknownAlert        the run has no alert of that id
    │   ├── NoDocument          the run has no such document yet
    │   ├── BindRefused         the server may not, or cannot, listen there
    │   └── RootBusy            another process holds the lock that this one needs
    ├── JournalError
    │   ├── LineError           one line of a journal cannot be read
    │   ├── UnsafePath          a path that must not be opened: link, FIFO, outside the root
    │   ├── DamagedArchive      a compressed journal file, or a part of it, cannot be read
    │   └── WriteError          the journal cannot be written now
    ├── IndexRebuilding         what was asked for may be there, but is not indexed yet
    ├── ExportBroken            what was being exported is not there any more
    ├── ImportFailed            a log of another tool cannot be read, or not be told what it is
    │   └── NothingYet          it can, and holds no point
    └── CheckpointError         a checkpoint folder cannot be used
        ├── UnsupportedFormat   its weights are in a format that is not read
        └── CheckpointChanged   it changed, or was cut, while it was read

A message says what was wrong, the value seen, where, and what to do. The parts are attributes as well.
"""


class BarographError(Exception):
    """Base of all errors here: `problem`, then where it was seen, then what to do about it."""

    def __init__(self, problem: str, *, where: str | None = None, advice: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.advice = advice
        said = problem if where is None else f"{problem} (at {where})"
        super().__init__(said if advice is None else f"{said}. {advice}")


class UsageError(BarographError):
    """The caller asked for something that cannot be; nothing was done."""


class MissingExtra(UsageError):
    """An optional dependency is needed and not installed; `advice` holds the install line."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{purpose} needs {package}, which is not installed",
            advice=f"Install it with: pip install 'barograph[{extra}]'",
        )


class PolicyError(UsageError):
    """A policy file has an unknown table or key, a value out of range, or is no TOML."""


class RunConflict(UsageError):
    """`resume` says "never" and the run exists, or says "must" and it does not."""


class UnknownRun(UsageError):
    """There is no run of that id under the root."""


class UnknownSeries(UsageError):
    """The run has no series of that name."""


class UnknownCheckpoint(UsageError):
    """The run has no checkpoint of that id, or its weights were not read."""


class UnknownAlert(UsageError):
    """The run has no alert of that id."""


class NoDocument(UsageError):
    """What the document would say was not measured."""


class BindRefused(UsageError):
    """The server refuses an address (beyond loopback without a token), or the port is taken."""


class RootBusy(UsageError):
    """Another process holds the lock of this root."""


class JournalError(BarographError):
    """Something about a journal file."""


class LineError(JournalError):
    """One journal line cannot be read; `reason` is one of a few fixed words, so that it can be counted."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")


class UnsafePath(JournalError):
    """A path inside a run that must not be opened: a link, a FIFO, a device, or outside the root."""


class DamagedArchive(JournalError):
    """A compressed journal file cannot be read, or one of its frames: then reading can go on at offset `end`."""

    def __init__(self, problem: str, *, where: str, end: int | None = None, advice: str | None = None) -> None:
        self.end = end
        super().__init__(problem, where=where, advice=advice)


class WriteError(JournalError):
    """The journal cannot be written now; what was not written stays queued."""


class ExportBroken(BarographError):
    """A log was deleted or written anew while its points were being sent: what was sent is not all of it."""


class IndexRebuilding(BarographError):
    """The index is still being built and does not have what was asked for; soon it has, or says that there is none."""


class ImportFailed(BarographError):
    """A log of another tool is of no known format, is damaged as a whole, or must not be opened."""


class NothingYet(ImportFailed):
    """A log of another tool is what it should be and holds no point yet; it may grow."""


class CheckpointError(BarographError):
    """A checkpoint folder is incomplete, of an unsupported format, or not a checkpoint."""


class UnsupportedFormat(CheckpointError):
    """The weights are there, in a format that is not read; `advice` says how to save them in one that is."""


class CheckpointChanged(CheckpointError):
    """A file of a checkpoint was written to, or cut, while it was read: nothing of the pass is valid."""

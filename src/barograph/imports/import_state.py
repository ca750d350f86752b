"""What a run remembers of its import, in `<run>/config/import.json`: how far it came, so that nothing comes twice."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.errors import ImportFailed, RootBusy, UnsafePath, WriteError
from barograph.imports.imported_log import SourceMark
from barograph.journal import layout
from barograph.records.quantities import Attempt, Count, Seconds

CONFIG = "config"
FILE = "import.json"
_LOCK = ".import.lock"
_LIMIT = 16_000_000


class ImportState(Struct, frozen=True, kw_only=True):
    """How far an import came; `import.json`."""

    source: Annotated[str, Meta(description="What was named: a file or a folder, absolute.")]
    format: Annotated[str, Meta(description="What it was recognised as.")]
    mapping: Annotated[dict[str, str], Meta(description="Columns for step, loss and time.")]
    marks: Annotated[list[SourceMark], Meta(description="The files, as they were when they were read.")] = []
    rows: Annotated[Count, Meta(description="Rows of the log that are in the journal.")] = 0
    digest: Annotated[str, Meta(description="SHA-256 of these rows, in hex.")] = ""
    attempts: Annotated[list[Attempt], Meta(description="Attempt of the run, for each attempt of the log.")] = []
    ended: Annotated[list[Attempt], Meta(description="Attempts of the run whose end is in the journal.")] = []
    checkpoints: Annotated[list[str], Meta(description="Checkpoint folders that are in the journal.")] = []
    last_step: Annotated[Count | None, Meta(description="Step of the last row.")] = None
    last_time: Annotated[Seconds | None, Meta(description="Time of the last row.")] = None
    journal: Annotated[dict[str, Count], Meta(description="Journal file to its bytes, when all this was so.")] = {}


def read_state(run: Path) -> ImportState | None:
    """What a run remembers; None if it is no import. Raises `ImportFailed` for what cannot be read."""
    path = run / CONFIG / FILE
    try:
        descriptor = layout.open_regular(run, path)
    except FileNotFoundError:
        return None
    except (OSError, UnsafePath) as error:
        raise ImportFailed(f"what the run remembers of its import cannot be read: {error}", where=str(path)) from error
    try:
        return msgspec.json.decode(os.read(descriptor, _LIMIT), type=ImportState)
    except (msgspec.MsgspecError, OSError, RecursionError, UnicodeDecodeError) as error:
        raise ImportFailed(
            f"what the run remembers of its import is damaged: {error}"[:300],
            where=str(path),
            advice="Import under another --run-id",
        ) from error
    finally:
        os.close(descriptor)


def write_state(run: Path, state: ImportState) -> None:
    """Replace what a run remembers, in one step. Raises `WriteError`."""
    path = run / CONFIG / FILE
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
            file.flush()
            with suppress(OSError):  # a file system without it
                os.fdatasync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise WriteError(f"it cannot be written: {error.strerror}", where=str(path)) from error


def lock_run(run: Path) -> int:
    """A descriptor that holds the lock of a run's import until it is closed; makes the run's folder.

    Raises `RootBusy` if another process holds it, `WriteError` if it cannot be made.
    """
    path = run / CONFIG / _LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise WriteError(f"the run cannot be written: {error.strerror}", where=str(path.parent)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RootBusy(
            "another process imports into this run now", where=str(run), advice="Wait for it, or end it"
        ) from error
    except OSError:  # a file system without locks: then nobody has one
        pass
    return descriptor

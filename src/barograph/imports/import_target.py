"""Which run a log is imported into: the one that holds it already, else one that is called like it."""

import hashlib
import re
from pathlib import Path

from barograph.errors import ImportFailed, RunConflict, UsageError
from barograph.imports.checkpoint_folders import home_of
from barograph.imports.import_state import ImportState, read_state
from barograph.imports.imported_log import SourceMark, plain
from barograph.journal import layout

SAYS_NOTHING = frozenset(
    {"trainer_state", "trainer_log", "training_status", "metrics", "log", "logs", "train", "status", "history", "loss"}
)
"""Names of files that are called alike in every training: the folder's name says more."""
_NUMBERED = re.compile(r"train-\d+-\d{8}T\d{6}", re.ASCII)
_MOST_TWINS = 999
_LONGEST = 100
_NO_ID = re.compile(r"[^A-Za-z0-9._-]+")


def run_folder(root: Path, source: Path, *, run_id: str | None = None) -> Path:
    """The folder of the run for a source, which may not exist yet; both are absolute.

    Raises `UsageError` for an id that cannot be one, `RunConflict` if that run is something else.
    """
    if (root / layout.LOGS).is_dir():
        raise UsageError(
            "--base-dir is itself a run", where=str(root), advice="Name the folder that holds, or will hold, the runs"
        )
    if run_id is not None:
        return _named(root, source, run_id)
    stem = default_id(source)
    for number in range(1, _MOST_TWINS + 1):
        folder = root / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists() or _holds(folder, source):
            return folder
    raise RunConflict(f"{stem!r} to '{stem}-{_MOST_TWINS}' are taken", where=str(root), advice="Say one with --run-id")


def default_id(source: Path) -> str:
    """What a run of this source is called, if nobody says otherwise."""
    name = source.name
    if source.suffix and not source.is_dir():
        name = source.stem
    if _says_nothing(name):
        source = source.parent
        name = source.name
    if home_of(source) != source or _says_nothing(name):
        name = source.parent.name
    found = _NO_ID.sub("-", name).lstrip(".-")[:_LONGEST].rstrip("-")
    return found if layout.names_a_run(found) else "imported"


def _says_nothing(name: str) -> bool:
    return name.lower() in SAYS_NOTHING or _NUMBERED.fullmatch(name) is not None


def _named(root: Path, source: Path, run_id: str) -> Path:
    if not layout.names_a_run(run_id):
        raise UsageError(
            f"--run-id {run_id[:200]!r} cannot be the name of a run",
            advice="Use up to 128 letters, digits, '.', '_' and '-', the first of them a letter, a digit or '_'",
        )
    folder = root / run_id
    if layout.journal_files(folder) and not _holds(folder, source):
        raise RunConflict(
            f"the run {run_id!r} exists, and is no import of this", where=str(folder), advice="Use another id"
        )
    return folder


def _holds(folder: Path, source: Path) -> bool:
    """Whether a run is an import of this source, or of one that was moved there."""
    try:
        state = read_state(folder)
    except ImportFailed:
        return False
    if state is None:
        return False
    return state.source == plain(str(source)) or (not Path(state.source).exists() and _is_moved(state, source))


def _is_moved(state: ImportState, source: Path) -> bool:
    places = [source / Path(mark.path).relative_to(state.source) for mark in state.marks if _inside(mark, state)]
    if len(places) != len(state.marks) or not places:
        return False
    return all(_begins_like(place, mark) for place, mark in zip(places, state.marks, strict=True))


def _inside(mark: SourceMark, state: ImportState) -> bool:
    return Path(mark.path).is_relative_to(state.source)


def _begins_like(path: Path, mark: SourceMark) -> bool:
    """Whether a file has the same first bytes as one had that was read."""
    try:
        if not path.is_file() or path.stat().st_size < mark.size:
            return False
        with path.open("rb") as file:
            return hashlib.sha256(file.read(mark.head_bytes)).hexdigest() == mark.head
    except OSError:
        return False

"""What lies in a root or in a run's logs and is not read, each with the sentence that says so."""

import os
import stat
from pathlib import Path

from barograph.errors import UnsafePath
from barograph.journal.layout import LOGS


def linked_runs(root: Path) -> set[str]:
    """A sentence for each link in the root that may stand for a run, and for each folder whose logs are a link.

    No link is followed, so what one leads to is not known. One that names its own neighbour hides nothing: that run
    is read under its own name. A root that is itself a run has none.
    """
    if _is_folder(root / LOGS):
        return set()
    found = set()
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if not _names_a_neighbour(root, entry.name):
                        found.add(entry.name)
                elif entry.is_dir(follow_symlinks=False) and (root / entry.name / LOGS).is_symlink():
                    found.add(f"{entry.name}/{LOGS}")
    except OSError:
        return set()  # as for the runs: a root that cannot be listed has none
    return {f"{_shown(name)} is a link, so it is not read" for name in found}


def irregular_files(folder: Path, known: set[str]) -> set[str]:
    """A sentence for each `*.jsonl` in the logs of a run that is not one of the `known` names."""
    notices = set()
    try:
        with os.scandir(folder / LOGS) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl") and entry.name not in known:
                    what = (
                        "is not named like a journal file (writer-NNNNNN-YYYYMMDDTHHMMSS.jsonl)"
                        if entry.is_file(follow_symlinks=False)
                        else "is no regular file"
                    )
                    notices.add(f"{LOGS}/{_shown(entry.name)} {what}, so it is not read")
    except OSError as error:
        notices.add(f"{LOGS} cannot be listed: {error.strerror}")
    return notices


def unreadable(path: str, error: OSError | UnsafePath) -> str:
    """The sentence for a journal file that cannot be read."""
    what = error.strerror if isinstance(error, OSError) else error.problem
    return f"{path} cannot be read: {what}"


def _names_a_neighbour(root: Path, name: str) -> bool:
    """Whether a link says the name of a real folder beside it."""
    try:
        target = (root / name).readlink()
    except OSError:
        return False
    return (root / target).parent == root and _is_folder(root / target)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _shown(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 become question marks."""
    return os.fsencode(name).decode("utf-8", "replace")

"""What lies in a root or in a run's logs and is not read, each with the sentence that says so."""

import os
import stat
from pathlib import Path

from barograph.errors import JournalError
from barograph.journal.layout import ARCHIVE, LOGS, names_a_run


def unread_runs(root: Path) -> set[str]:
    """A sentence for each thing in the root that may be a run and is not read: a link, a folder that may not be
    entered, a folder whose name no run can have; or the one that the root itself cannot be listed.

    Hidden folders are nobody's runs. No link is followed, so what one leads to is not known. One that names its own
    neighbour hides nothing: that run is read under its own name.
    """
    if _is_folder(root / LOGS):
        return _misnamed(root.absolute())
    found = set()
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if not _names_a_neighbour(root, entry.name):
                        found.add(f"{_shown(entry.name)} is a link, so it is not read")
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    found |= _unread_folder(root / entry.name)
    except FileNotFoundError:
        return set()
    except OSError as error:
        return {f"the folder of the runs cannot be listed: {error.strerror}"}
    return found


def _unread_folder(folder: Path) -> set[str]:
    try:
        mode = (folder / LOGS).lstat().st_mode
    except FileNotFoundError:
        return set()
    except OSError as error:
        return {f"{_shown(folder.name)} cannot be read: {error.strerror}"}
    if stat.S_ISLNK(mode):
        return {f"{_shown(folder.name)}/{LOGS} is a link, so it is not read"}
    return _misnamed(folder)


def _misnamed(folder: Path) -> set[str]:
    if names_a_run(folder.name):
        return set()
    allowed = "letters, digits, dots, dashes and underscores, 128 at most"
    return {f"{_shown(folder.name)} is no name for a run ({allowed}), so it is not read; rename the folder"}


def irregular_files(folder: Path, known: set[str]) -> set[str]:
    """A sentence for each `*.jsonl` or `*.jsonl.zst` in the logs of a run that is not one of the `known` names."""
    notices = set()
    try:
        with os.scandir(folder / LOGS) as entries:
            for entry in entries:
                if entry.name.endswith((".jsonl", f".jsonl{ARCHIVE}")) and entry.name not in known:
                    notices.add(f"{LOGS}/{_shown(entry.name)} {_why_not(entry, known)}, so it is not read")
    except OSError as error:
        notices.add(f"{LOGS} cannot be listed: {error.strerror}")
    return notices


def _why_not(entry: "os.DirEntry[str]", known: set[str]) -> str:
    if not entry.is_file(follow_symlinks=False):
        return "is no regular file"
    if entry.name.removesuffix(ARCHIVE) in known:
        return "lies beside its original"
    return "is not named like a journal file (writer-NNNNNN-YYYYMMDDTHHMMSS.jsonl)"


def unreadable(path: str, error: OSError | JournalError) -> str:
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

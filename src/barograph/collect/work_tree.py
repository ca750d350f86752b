"""The commit that a run starts from. HEAD is read from git's own files, which takes no time; whether the work tree
differs from it only git can say, and in a large one that takes seconds, for which no banner waits."""

import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 0.05
"""Seconds that the banner waits for git: no step is on disk before it."""

_GIT_S = 30.0
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def head(folder: Path | None = None) -> str | None:
    """HEAD of the work tree that `folder` (default: the working directory) lies in, as git's files say it.

    None outside of one, before the first commit, and where the files have a layout that is not known here.
    """
    try:
        git = _git_folder((folder or Path()).resolve(strict=True))
        if git is None:
            return None
        said = _text(git / "HEAD")
        if not said.startswith("ref: "):
            return _valid(said)
        shared = git / _text(git / "commondir") if (git / "commondir").is_file() else git
        return _commit_of(said.removeprefix("ref: "), git, shared)
    except (OSError, ValueError, RuntimeError):
        return None


def commit(folder: Path | None = None, *, timeout: float = _GIT_S) -> str | None:
    """HEAD as git says it, ending in `-dirty` if tracked files differ and in `-unknown` if git could not tell that
    within `timeout` seconds; None outside of a work tree."""
    try:
        found = _git(folder, timeout, "rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        changed = _git(folder, timeout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return f"{found}-unknown"
    return f"{found}-dirty" if changed else found


def commit_soon(later: Callable[[str], None], *, patience: float = PATIENCE_S) -> str | None:
    """`commit` of the working directory if git tells it within `patience` seconds; else HEAD and `-unknown`, and
    `later` is called with the whole answer, from another thread, when it has come."""
    soon = head()
    if soon is None and not _inside(Path()):
        return None
    lock, answered = threading.Lock(), threading.Event()
    answers: list[str | None] = []
    waited = [True]

    def ask() -> None:
        answer = commit()
        with lock:
            answers.append(answer)
            in_time = waited[0]
        answered.set()
        if not in_time and answer is not None and answer != unknown:
            later(answer)

    unknown = f"{soon}-unknown" if soon is not None else None
    threading.Thread(target=ask, name="barograph-git", daemon=True).start()
    answered.wait(patience)
    with lock:
        waited[0] = False
        return answers[0] or unknown if answers else unknown


def _inside(folder: Path) -> bool:
    try:
        return _git_folder(folder.resolve(strict=True)) is not None
    except (OSError, RuntimeError):
        return False


def _git_folder(folder: Path) -> Path | None:
    """`.git` of the nearest folder upwards that has one; a linked work tree has a file there that names it."""
    for one in (folder, *folder.parents):
        found = one / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            return one / _text(found).removeprefix("gitdir: ")
    return None


def _commit_of(name: str, git: Path, shared: Path) -> str | None:
    """What the branch `name` stands at: its own file, else its line in `packed-refs`."""
    for folder in (git, shared):
        if (folder / name).is_file():
            return _valid(_text(folder / name))
    for line in (shared / "packed-refs").read_text().splitlines():
        found, _, branch = line.partition(" ")
        if branch == name:
            return _valid(found)
    return None


def _valid(text: str) -> str | None:
    return text if _HASH.fullmatch(text) else None


def _text(path: Path) -> str:
    return path.read_text().strip()


def _git(folder: Path | None, timeout: float, *arguments: str) -> str:
    # Without optional locks: a `git status` of the user's must not meet ours.
    line = ["git", "--no-optional-locks", "-C", os.fspath(folder or "."), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=True)  # noqa: S603 - fixed words
    return done.stdout.strip()

"""Replaces a document in a run's `status/` folder: in one step, and through no link.

Such documents are for other programs, and are never the source of anything of ours. So they are not synced: what a
crash of the machine takes with it is made again from the log.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from barograph.journal.layout import open_folder

STATUS = "status"


def replace_status_document(run: Path, name: str, content: bytes, *, root: Path | None = None) -> None:
    """Write `content` as `<run>/status/<name>`; whoever reads it sees all of it, or all of what was there before.

    Drafts have a name of their own each, so that any number of processes may write. A file that says the same already
    is left alone. Makes the folder, but not the run's. Raises `UnsafePath` if the way there from `root`, by default
    from the run, leads over a link, and `OSError` if it cannot be written.
    """
    with suppress(FileExistsError):
        (run / STATUS).mkdir()
    folder = open_folder(root or run, run / STATUS)
    try:
        if _content(folder, name, most=len(content) + 1) != content:
            _replace(folder, name, content)
    finally:
        os.close(folder)


def _replace(folder: int, name: str, content: bytes) -> None:
    """One file with its whole content, or as it was."""
    draft = f".{name}.{secrets.token_hex(8)}.draft"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _content(folder: int, name: str, *, most: int) -> bytes | None:
    """What a file holds, up to `most` bytes; None if it is no regular file that can be read."""
    with suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most)
    return None

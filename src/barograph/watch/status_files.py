"""Writes the documents about weights into a run's `status/` folder, each replaced in one step.

They are for other programs. Nothing of ours reads them.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from barograph.errors import UnsafePath
from barograph.journal.layout import open_folder
from barograph.views.unified import WeightsDocument

STATUS = "status"


def write_documents(root: Path, run: Path, documents: Mapping[WeightsDocument, bytes]) -> None:
    """Write each as `<run>/status/<name>.json`; one that says the same already is left alone.

    Raises `UnsafePath` if the way there leads over a link, and `OSError` if it cannot be written.
    """
    if not documents:
        return
    with suppress(FileExistsError):
        (run / STATUS).mkdir()
    folder = open_folder(root, run / STATUS)
    try:
        for name, content in documents.items():
            _replace(folder, f"{name}.json", content + b"\n")
    finally:
        os.close(folder)


def _replace(folder: int, name: str, content: bytes) -> None:
    """One file with its whole content, or as it was."""
    if _content(folder, name, most=len(content) + 1) == content:
        return
    draft = f".{name}.{secrets.token_hex(8)}.draft"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _content(folder: int, name: str, *, most: int) -> bytes | None:
    """What a file holds, up to `most` bytes; None if it is no regular file that can be read."""
    with suppress(OSError, UnsafePath):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most)
    return None

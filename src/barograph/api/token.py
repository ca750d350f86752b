"""The secret that lets a browser or a script in when the server listens beyond this machine.

It lies in `<root>/.barograph/token`, readable by its owner only. The comparison takes the same time for every wrong
value, and the `repr` hides it, so that no log and no error can carry it.
"""

import hmac
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from msgspec import Struct

from barograph.errors import UnsafePath, UsageError
from barograph.journal.layout import PRIVATE, open_regular

_SHORTEST = 22
"""Characters of base64 that hold 128 bits."""
_LONGEST = 512
_ALLOWED = re.compile(r"[A-Za-z0-9._~+/=-]+")


class Token(Struct, frozen=True):
    """A secret that does not print itself."""

    value: str
    """The secret; `repr` hides it."""

    def __repr__(self) -> str:
        return "Token(hidden)"

    def matches(self, candidate: str) -> bool:
        """Whether `candidate` is the secret, compared in constant time."""
        return hmac.compare_digest(self.value.encode(), candidate.encode("utf-8", "replace"))

    def sign(self, text: str) -> str:
        """HMAC-SHA-256 of `text` under the secret, as hex: proves knowledge of it without telling it."""
        return hmac.new(self.value.encode(), text.encode(), "sha256").hexdigest()


def token_path(root: Path) -> Path:
    """Where the token of a root lies."""
    return root / PRIVATE / "token"


def read_token(root: Path) -> Token | None:
    """The root's token, or None if there is none.

    Raises `UsageError` for a file that others may read, that is no regular file, that belongs to another user, or
    whose content is too short to be a secret.
    """
    path = token_path(root)
    try:
        descriptor = open_regular(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnsafePath as error:
        raise UsageError(
            "the token file is a link, or no regular file", where=str(path), advice="Remove it and run: barograph token"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the token file cannot be read: {error.strerror}",
            where=str(path),
            advice="Make it yours and mode 0600, or remove it and run: barograph token",
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _refuse_unsafe(status, path)
        value = file.read(_LONGEST + 2).decode("ascii", "replace").strip()
    if not _SHORTEST <= len(value) <= _LONGEST or not _ALLOWED.fullmatch(value):
        raise UsageError(
            f"the token file does not hold {_SHORTEST} to {_LONGEST} letters, digits or ._~+/=- on one line",
            where=str(path),
            advice="Make a new one with: barograph token --new",
        )
    return Token(value)


def create_token(root: Path, *, replace: bool = False) -> Token:
    """The root's token, made now if there is none (or if `replace`). Also makes the folder that holds it.

    The secret is written to a file of mode 0600 under a name that nobody can guess, then linked or renamed into
    place, so that no reader ever sees half of it and no other file is followed. Raises `UsageError`.
    """
    path = token_path(root)
    if not replace:
        standing = read_token(root)
        if standing is not None:
            return standing
    made = Token(secrets.token_urlsafe(32))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".token-", dir=path.parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(made.value + "\n")
                file.flush()
                os.fsync(descriptor)
            if replace:
                draft.replace(path)
            else:
                path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        # Another process was faster, or something that is no folder stands in the way: the reader says which.
        other = read_token(root)
        if other is None:
            raise UsageError("the token's folder cannot be made", where=str(path.parent)) from None
        return other
    except OSError as error:
        raise UsageError(
            f"the token file cannot be written: {error.strerror}",
            where=str(path),
            advice="Choose a folder that you may write with --base-dir",
        ) from error
    return made


def _refuse_unsafe(status: os.stat_result, path: Path) -> None:
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"the token file belongs to user {status.st_uid}, not to you ({os.geteuid()})",
            where=str(path),
            advice="Make your own with: barograph token --new",
        )
    if status.st_mode & 0o077:
        raise UsageError(
            f"the token file can be read or written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            where=str(path),
            advice="It may be known already; make a new one with: barograph token --new",
        )

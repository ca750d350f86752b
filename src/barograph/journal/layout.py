"""Where the files of a run lie, how they are named, claimed and safely opened.

    <root>/<run>/logs/.attempt-000001                        claims an attempt, holds its launch id
    <root>/<run>/logs/train-000001-20261120T065500.jsonl     rank 0
    <root>/<run>/logs/rank1-000001-20261120T065501.jsonl     other ranks
    <root>/<run>/logs/evaluate-000001-20261120T065630.jsonl  other processes, with the attempt that they speak of
    <root>/<run>/logs/train-000001-20261120T065500.jsonl.zst  the first of these, compressed after a week (`seal`)

Whoever names a journal file names it without the `.zst`, whichever way it lies there: that name, and the offsets in it,
are what others keep. Should both lie there (a crash between two steps of sealing), the original is what is read.

Anyone who can write into a run may be hostile: nothing is opened through a link, and only regular files are.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from barograph.errors import UnsafePath, WriteError
from barograph.records import codec
from barograph.records.quantities import RUN_ID, Attempt, Seconds

LOGS = "logs"
PRIVATE = ".barograph"
TRAIN = "train"
ARCHIVE = ".zst"
"""What the name of a compressed journal file ends in, after its own name."""
LAST_ATTEMPT = 999_999
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""What a file system says that has no hard links."""
_JOURNAL = re.compile(
    r"(?P<writer>[a-z][a-z0-9_]*)-(?P<attempt>[0-9]{6})-(?P<begun>[0-9]{8}T[0-9]{6})\.jsonl(?P<archive>\.zst)?"
)
_RUN_ID = re.compile(RUN_ID)
_CLAIM = re.compile(r"\.attempt-(?P<attempt>[0-9]{6})")


class JournalFile(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One journal file, as its name tells it."""

    attempt: Attempt
    """Which start of the run it belongs to."""
    begun: str
    """UTC time of its creation, `YYYYMMDDTHHMMSS`."""
    writer: str
    """`train` for rank 0, else `rankN` or the process's word."""
    path: Path
    """Its logical path: without `.zst`, also where it is compressed. Names it, and opens it."""
    archived: bool = False
    """Whether it lies there compressed."""

    @property
    def place(self) -> Path:
        """The file that is really there."""
        return archive_of(self.path) if self.archived else self.path


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an `.attempt-NNNNNN` file."""

    attempt: Attempt
    """The number that was claimed."""
    launch_id: str
    """The same on all ranks of one launch."""
    time: Seconds
    """When it was claimed."""


def default_root() -> Path:
    """`$BAROGRAPH_DIR`, or `barograph-runs` in the working directory."""
    return Path(os.environ.get("BAROGRAPH_DIR") or "barograph-runs").expanduser().absolute()


def run_directories(root: Path) -> list[Path]:
    """The runs under `root`, by name: folders with a `logs` folder; never links. If `root` has one, it is the run."""
    if _is_folder(root / LOGS):
        return [root]
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [root / name for name in sorted(names) if name != PRIVATE and _is_folder(root / name / LOGS)]


def names_a_run(name: str) -> bool:
    """Whether a folder of that name can be asked for as a run: what `records.quantities.RunId` says, and not `logs`,
    which would make a run of the root."""
    return _RUN_ID.fullmatch(name) is not None and name != LOGS


def journal_files(run: Path) -> list[JournalFile]:
    """The journal files of a run, oldest attempt first, each once; what is no regular file, or has a foreign name, is
    left out."""
    try:
        with os.scandir(run / LOGS) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    found: dict[str, JournalFile] = {}
    for name in sorted(names):  # an original comes before its archive
        match = _JOURNAL.fullmatch(name)
        if match and int(match["attempt"]):
            original = name.removesuffix(ARCHIVE)
            file = JournalFile(
                attempt=int(match["attempt"]),
                begun=match["begun"],
                writer=match["writer"],
                path=run / LOGS / original,
                archived=match["archive"] is not None,
            )
            found.setdefault(original, file)
    return sorted(found.values())


def archive_of(path: Path) -> Path:
    """Where a journal file lies when it is compressed; `path` is its logical one."""
    return path.with_name(path.name + ARCHIVE)


def open_regular(root: Path, path: Path) -> int:
    """A read-only descriptor of the regular file `path` inside `root`, no link followed on the way below `root`.

    Raises `UnsafePath` for anything else, and `OSError` if it is gone or may not be read. A FIFO does not block.
    """
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        raise UnsafePath(f"{str(path)!r} does not lie inside the root", where=str(root)) from None
    if not parts or ".." in parts or "\0" in str(path):
        raise UnsafePath(f"{str(path)!r} is no file inside the root", where=str(root))
    folder = open_folder(root, path.parent)
    try:
        return open_regular_in(folder, path)
    finally:
        os.close(folder)


def open_folder(root: Path, path: Path) -> int:
    """A descriptor of the folder `path`, which is `root` or inside it. Raises as `open_regular`."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
    folder = os.open(root, flags)
    for part in path.relative_to(root).parts:
        try:
            inner = _open_unlinked(part, flags, folder, path)
        finally:
            os.close(folder)
        folder = inner
    return folder


def open_regular_in(folder: int, path: Path) -> int:
    """A read-only descriptor of the regular file of `path`'s name in an open folder. Raises as `open_regular`."""
    # Looked at before it is opened, because opening a device can do something; and after, because it may be another
    # one by then.
    _must_be_regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False), path)
    descriptor = _open_unlinked(path.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, folder, path)
    try:
        _must_be_regular(os.fstat(descriptor), path)
    except UnsafePath:
        os.close(descriptor)
        raise
    return descriptor


def claim_attempt(run: Path, *, launch_id: str, now: float) -> Attempt:
    """Take the next attempt number of `run`, creating its folders; two claimers never get the same one.

    Raises `OSError` if the folder cannot be written, `WriteError` if there is no number left.
    """
    logs = run / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    taken = [claim.attempt for claim in _claimed(logs)] + [file.attempt for file in journal_files(run)]
    attempt = 1 + max(taken, default=0)
    while attempt <= LAST_ATTEMPT:
        claim = Claim(attempt=attempt, launch_id=launch_id, time=now)
        if _create_whole(logs / f".attempt-{attempt:06d}", codec.encode_document(claim) + b"\n"):
            return attempt
        attempt += 1
    raise WriteError(
        f"attempt {LAST_ATTEMPT} is taken, and no number follows it",
        where=str(logs),
        advice="Use another run_id, or remove the files whose number cannot be right",
    )


def attempt_of_launch(run: Path, *, launch_id: str, not_before: float) -> Attempt | None:
    """The newest attempt that `launch_id` claimed at or after `not_before`, None while there is none."""
    fitting = [
        claim.attempt for claim in _claimed(run / LOGS) if claim.launch_id == launch_id and claim.time >= not_before
    ]
    return max(fitting, default=None)


def create_journal(run: Path, *, writer: str, attempt: Attempt) -> tuple[int, Path]:
    """A new, empty journal file, opened for appending; its name carries the first free second from now on.

    The descriptor holds a shared lock on the file, so that nobody seals what a writer still has open.
    """
    now = time.time()
    while True:
        begun = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        path = run / LOGS / f"{writer}-{attempt:06d}-{begun}.jsonl"
        with suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            if not os.path.lexists(archive_of(path)):
                descriptor = os.open(path, flags, 0o666)
                with suppress(OSError):  # on a file system without locks nothing is ever sealed
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return descriptor, path
        now += 1


def make_again(run: Path, *, device: int) -> bool:
    """Create the `logs` folder of a run that someone removed, if the root is still there and still on `device`.

    Under a mount point whose file system went away lies another device, which is not ours to fill. Raises `OSError`.
    """
    with suppress(FileNotFoundError):
        if run.parent.stat().st_dev == device:
            (run / LOGS).mkdir(parents=True, exist_ok=True)
            return True
    return False


def _claimed(logs: Path) -> list[Claim]:
    try:
        names = [path.name for path in logs.iterdir() if _CLAIM.fullmatch(path.name)]
    except OSError:
        return []
    claims = []
    for name in names:
        claim = Claim(attempt=int(name[-6:]), launch_id="", time=0.0)
        with suppress(OSError, UnsafePath, msgspec.MsgspecError):
            descriptor = open_regular(logs, logs / name)
            try:
                claim = msgspec.json.decode(os.read(descriptor, 4096), type=Claim)
            finally:
                os.close(descriptor)
        claims.append(claim)
    return claims


def _create_whole(path: Path, content: bytes) -> bool:
    """Create `path` with `content` in one step (a reader never sees half of it); False if it exists."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.draft")
    try:
        with draft.open("xb") as file:
            file.write(content)
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:  # exclusive creation, content a moment later
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _open_unlinked(name: str, flags: int, folder: int, path: Path) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:  # Linux says ENOTDIR of a link opened with O_DIRECTORY
            raise UnsafePath(
                "a link, or no folder where one must be, so it is not followed", where=str(path)
            ) from error
        raise


def _must_be_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePath("not a regular file, so it is not read", where=str(path))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False

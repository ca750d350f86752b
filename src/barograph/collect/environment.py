"""What the banner says of the machine and the software. No environment variable is ever copied, and no argument list:
both are where people keep secrets."""

import argparse
import contextlib
import dataclasses
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import msgspec

PACKAGES = (
    *("barograph", "torch", "transformers", "accelerate", "peft", "trl"),
    *("datasets", "tokenizers", "deepspeed", "numpy"),
)
_SECRET = re.compile(
    r"(?<!eos_)(?<!bos_)(?<!pad_)(?<!unk_)(?<!mask_)(?<!sep_)(?<!cls_)(?<!image_)token$"
    r"|secret|password|passwd|passphrase|credential|(?:api|access|private|auth|encryption)[_-]?key"
    r"|authorization|bearer|cookie",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)|\b(?:hf|ghp|gho|github_pat|sk|xox[abp])[-_][A-Za-z0-9_-]{16,}"
)
_TEXT_LIMIT = 10_000
_DEEPEST = 8
_GIT_S = 0.5
"""Seconds that git may take: no step is on disk before the banner, and the banner waits for it."""


def versions() -> dict[str, str]:
    """Installed versions of the packages that matter to a training run, and of Python."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError, KeyError):
            version: object = metadata.version(package)  # None, whatever its type says, where the metadata is damaged
            if isinstance(version, str):
                found[package] = version
    return found


def git_commit(folder: Path | None = None) -> str | None:
    """HEAD of the work tree that `folder` (default: the working directory) lies in; None outside of one.

    It ends in `-dirty` if tracked files differ, in `-unknown` if git could not tell that in time.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return f"{commit}-unknown"
    return f"{commit}-dirty" if changed else commit


def host() -> str:
    """The host's name."""
    return socket.gethostname()


def command() -> str:
    """The program that runs, without its arguments."""
    return sys.argv[0] if sys.argv and sys.argv[0] else "interactive"


def device() -> str | None:
    """The current accelerator with its name, or `cpu`; None where torch was never imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        index = torch.cuda.current_device()
        return f"cuda:{index} {torch.cuda.get_device_name(index)}"
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        return "mps"
    return "cpu" if not torch.cuda.is_available() else "cuda"


def config_text(config: Mapping[str, object]) -> str:
    """The settings as JSON text; what JSON cannot hold becomes its text, what looks like a secret `(hidden)`."""
    return msgspec.json.encode(_plain(config, depth=0)).decode()


def _plain(value: object, *, depth: int) -> object:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth >= _DEEPEST:
        return "(too deep)"  # its text would show the secrets in it
    if isinstance(value, Mapping):
        return {
            _text(key): "(hidden)" if _SECRET.search(str(key)) and item is not None else _plain(item, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth=depth + 1) for item in value]
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return _text(value)


def _text(value: object) -> str:
    text = str(value)[: 2 * _TEXT_LIMIT].encode("utf-8", "replace").decode()
    return _SECRET_TEXT.sub("(hidden)", text)[:_TEXT_LIMIT]


def _git(folder: Path | None, *arguments: str) -> str:
    # Without optional locks: a `git status` of the user's must not meet ours.
    line = ["git", "--no-optional-locks", "-C", str(folder or "."), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=_GIT_S, check=True)  # noqa: S603 - fixed words
    return done.stdout.strip()

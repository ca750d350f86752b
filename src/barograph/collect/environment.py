"""What the banner says of the machine and the software. No environment variable is ever copied, and no argument list:
both are where people keep secrets."""

import argparse
import contextlib
import dataclasses
import socket
import sys
from collections.abc import Mapping
from enum import Enum
from importlib import metadata

import msgspec

from barograph.collect.config import mapping_of
from barograph.collect.secrets import HIDDEN, UNREADABLE, names_secret, shown, text_of, without_flags

PACKAGES = (
    *("barograph", "torch", "transformers", "accelerate", "peft", "trl"),
    *("datasets", "tokenizers", "deepspeed", "numpy"),
)
_TEXT_LIMIT = 10_000
_DEEPEST = 8


def versions() -> dict[str, str]:
    """Installed versions of the packages that matter to a training run, and of Python."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError, KeyError):
            version: object = metadata.version(package)  # None, whatever its type says, where the metadata is damaged
            if isinstance(version, str):
                found[package] = version
    return found


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
    """The settings as JSON text; what JSON cannot hold becomes its text, what looks like a secret `(hidden)`, and what
    cannot be read `(unreadable)`. Never raises."""
    return msgspec.json.encode(_plain(config, depth=0)).decode()


def _plain(value: object, *, depth: int) -> object:
    try:
        return _looked_into(value, depth=depth)
    except Exception:  # noqa: BLE001 - a user's object may raise anything when it is looked into
        return UNREADABLE


def _looked_into(value: object, *, depth: int) -> object:
    if isinstance(value, argparse.Namespace) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        value = mapping_of(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth >= _DEEPEST:
        return "(too deep)"  # its text would show the secrets in it
    if isinstance(value, Mapping):
        return {
            _text(key): HIDDEN if names_secret(key) and item is not None else _plain(item, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth=depth + 1) for item in without_flags(list(value))]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, Enum):
        return int(value) if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else str(value)
    return _text(value)


def _text(value: object) -> str:
    return shown(text_of(value)[: 2 * _TEXT_LIMIT])[:_TEXT_LIMIT]

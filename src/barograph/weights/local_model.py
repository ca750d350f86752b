"""Where a model lies on this machine, by the name that a run or an adapter gives it. Nothing is downloaded."""

import os
import re
from pathlib import Path

HUB_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
REVISION = re.compile(r"[\w./-]{1,200}")


def local_model(name: str) -> Path | None:
    """The folder of a model: `name` itself if it is an absolute path of one, else its newest snapshot in the local
    cache of the Hugging Face hub. None if it is not here.

    A relative path is not followed: it was relative to where another process ran.
    """
    if Path(name).is_absolute():
        return Path(name) if Path(name).is_dir() else None
    if HUB_NAME.fullmatch(name) is None or ".." in name:
        return None
    repository = hub_cache() / f"models--{name.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    if REVISION.fullmatch(revision) is None or ".." in revision:
        return None
    folder = repository / "snapshots" / revision
    return folder if folder.is_dir() else None


def hub_cache() -> Path:
    """The cache of the hub, as its environment variables say."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"

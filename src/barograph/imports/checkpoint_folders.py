"""The `checkpoint-N` folders that a Hugging Face trainer left beside its log, and the model that they name."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from barograph.errors import ImportFailed
from barograph.imports import cells
from barograph.imports.imported_log import SavedCheckpoint
from barograph.imports.log_format import children
from barograph.imports.source_file import SourceFile

STATE = "trainer_state.json"
_FOLDER = re.compile(r"checkpoint-(\d{1,18})", re.ASCII)
_MODEL_NAMES = (("adapter_config.json", "base_model_name_or_path"), ("config.json", "_name_or_path"))


def checkpoints_in(folder: Path) -> tuple[SavedCheckpoint, ...]:
    """The checkpoints in a folder, by step; links are none."""
    found = []
    for path in children(folder):
        match = _FOLDER.fullmatch(path.name)
        if match is not None and path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # removed meanwhile
                state = path / STATE
                status = (state if state.is_file() else path).stat()
                found.append(SavedCheckpoint(step=int(match[1]), path=path, time=status.st_mtime))
    return tuple(sorted(found, key=lambda one: one.step))


def home_of(folder: Path) -> Path:
    """The folder that a trainer saves to, of itself or of a checkpoint in it."""
    return folder.parent if _FOLDER.fullmatch(folder.name) else folder


def model_name_in(folders: Sequence[Path]) -> str | None:
    """The model that the first readable config in these folders names; None if none does."""
    for folder in folders:
        for name, key in _MODEL_NAMES:
            with suppress(ImportFailed, ValueError), SourceFile(folder / name) as file:
                named = cells.object_of(file.document()).get(key)
                if isinstance(named, str) and named:
                    return named.rstrip("/").rpartition("/")[2][:200] or None
    return None

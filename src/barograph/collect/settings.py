"""What a run is called and where it goes: arguments first, then `BAROGRAPH_*`, then defaults."""

import logging
import os
import re
import secrets
import time
from pathlib import Path
from typing import Literal

import msgspec

from barograph.collect.launch import Launch
from barograph.errors import RunConflict, UsageError
from barograph.journal import layout

Resume = Literal["never", "allow", "must"]
Mode = Literal["online", "offline", "disabled"]

logger = logging.getLogger("barograph")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a run was asked for, every question answered."""

    root: Path
    """Folder of all runs."""
    run_id: str
    """Name of the run's folder."""
    project: str | None
    """What the user called the project."""
    name: str | None
    """Display name."""
    group: str | None
    """Group of runs."""
    enabled: bool
    """False in mode `disabled`, and on a rank that cannot know the run: nothing is recorded, calls return at once."""


def resolve(
    *,
    launch: Launch,
    project: str | None = None,
    name: str | None = None,
    run_id: str | None = None,
    group: str | None = None,
    resume: str | None = None,
    directory: str | os.PathLike[str] | None = None,
    mode: str | None = None,
) -> Settings:
    """Answer every question about a run, and refuse what cannot be.

    Raises `UsageError` for a value that is not one of the choices or a run id that cannot name a folder, `RunConflict`
    where `resume` forbids what would happen. `online` and `offline` mean the same: records always go to local files.
    """
    project = project or _variable("PROJECT")
    run_id = run_id or _variable("RUN_ID")
    chosen_mode = _choice("mode", mode or _variable("MODE") or "online", ("online", "offline", "disabled"))
    chosen_resume = _choice("resume", resume or _variable("RESUME") or "never", ("never", "allow", "must"))
    root = Path(directory).expanduser().absolute() if directory is not None else layout.default_root()
    if run_id is not None and (run_id == layout.LOGS or not layout.names_a_run(run_id)):
        raise UsageError(
            f"the run id {run_id!r} cannot name a folder",
            advice="Use 1 to 128 letters, digits, dots, dashes and underscores, not beginning with a dot or a dash, "
            f"and not {layout.LOGS!r}, which is what a run calls its own folder",
        )
    lost = run_id is None and launch.rank > 0 and not launch.identified
    settings = Settings(
        root=root,
        run_id=run_id or _generated_id(project, launch),
        project=project,
        name=name or _variable("NAME"),
        group=group or _variable("GROUP"),
        enabled=chosen_mode != "disabled" and not lost,
    )
    if lost and chosen_mode != "disabled":
        logger.warning(
            "barograph: rank %d of %d cannot know which run rank 0 writes to, so only rank 0 is recorded. "
            "Set BAROGRAPH_RUN_ID to the same new id on every host to record all ranks.",
            *(launch.rank, launch.world_size),
        )
    if settings.enabled and launch.rank == 0:
        _check_resume(settings, chosen_resume, given=run_id is not None)
        if (root / settings.run_id).is_symlink():
            logger.warning(
                "barograph: the run folder %s is a link; barograph serve does not follow links, and will not show it.",
                root / settings.run_id,
            )
    return settings


def slug(text: str) -> str:
    """`text` as a valid run id: what a folder cannot be called becomes a dash."""
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:100] or "run"
    return f"run-{word}" if word == layout.LOGS else word


def _check_resume(settings: Settings, resume: str, *, given: bool) -> None:
    exists = bool(layout.journal_files(settings.root / settings.run_id))
    where = str(settings.root / settings.run_id)
    if resume == "must" and not given:
        raise RunConflict("resume='must' does not say which run", advice="Pass run_id=... or set BAROGRAPH_RUN_ID")
    if resume == "must" and not exists:
        raise RunConflict(
            f"resume='must', but there is no run {settings.run_id!r}",
            where=where,
            advice="Check the run id and BAROGRAPH_DIR, or use resume='allow' to begin it",
        )
    if resume == "never" and given and exists:
        raise RunConflict(
            f"resume='never', but the run {settings.run_id!r} exists",
            where=where,
            advice="Use resume='allow' to add an attempt to it, or another run_id",
        )


def _generated_id(project: str | None, launch: Launch) -> str:
    word = slug(project) if project else "run"
    if launch.world_size > 1 and launch.identified:
        return f"{word}-{launch.run_key[:10]}"
    return f"{word}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _choice(what: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UsageError(f"{what}={value!r} is not known", advice=f"Use one of {', '.join(choices)}")
    return value


def _variable(name: str) -> str | None:
    return os.environ.get(f"BAROGRAPH_{name}") or None

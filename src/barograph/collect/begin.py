"""Begins a run: `init` for any loop, and what the adapters of frameworks share with it."""

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from barograph.collect import environment
from barograph.collect.config import mapping_of
from barograph.collect.launch import Launch, count_opened, current_launch
from barograph.collect.run import Run
from barograph.collect.settings import Settings, resolve
from barograph.errors import UsageError
from barograph.journal import layout
from barograph.records import Banner
from barograph.records.codec import accepted

if TYPE_CHECKING:
    from barograph.policy.tables import Policy


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter knows of the training beyond the user's settings."""

    name: str | None = None
    """Short name of the model."""
    path: str | None = None
    """Hub id or folder that it came from."""
    output_dir: str | None = None
    """Where checkpoints go."""
    resumed_from: str | None = None
    """Checkpoint that training goes on from."""
    total_steps: int | None = None
    """Planned optimizer steps."""
    device: str | None = None
    """Where it trains; None lets the environment tell."""


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    run_id: str | None = None,
    group: str | None = None,
    config: object = None,
    resume: str | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the field's word for it
    mode: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's word for it
    monitor: bool = True,
    policy: str | os.PathLike[str] = "default",
) -> Run:
    """Begin a run, or another attempt of one.

    `resume` is `never` (default: an existing `run_id` is refused), `allow` or `must`. `mode` is `online` or `offline`
    (both write local files) or `disabled` (every call does nothing). Each argument but `config` can come from the
    environment: BAROGRAPH_PROJECT, _NAME, _RUN_ID, _GROUP, _RESUME, _DIR, _MODE; arguments win. `id` means the same as
    `run_id`. `config` is a mapping, an `argparse.Namespace`, a dataclass or an object with attributes.

    Rank 0 watches what is logged, by `policy` (`default`, `contract` or a TOML file): alerts, signals, advice, and what
    the machine says of itself. `monitor=False` records what is logged and nothing else.

    Raises `UsageError`, `PolicyError` and `RunConflict`; a folder that cannot be written is no error, but a warning,
    and is retried.
    """
    if id is not None and run_id is not None and id != run_id:
        raise UsageError(f"id={id!r} and run_id={run_id!r} are two words for one thing", advice="Pass one of them")
    launch = current_launch()
    settings = resolve(
        launch=launch,
        project=project,
        name=name,
        run_id=run_id if id is None else id,
        group=group,
        resume=resume,
        directory=dir,
        mode=mode,
    )
    chosen = chosen_policy(policy) if monitor and settings.enabled and launch.rank == 0 else None
    return open_run(settings, launch=launch, config=mapping_of(config), model=Model(), policy=chosen)


def chosen_policy(policy: str | os.PathLike[str]) -> "Policy":
    """The policy of that name, or in that file. Raises `PolicyError`."""
    from barograph.policy import load  # with it comes numpy, which a run that nobody watches does without

    return load(policy if isinstance(policy, str) else Path(policy))


def open_run(
    settings: Settings,
    *,
    launch: Launch,
    config: Mapping[str, object],
    model: Model,
    policy: "Policy | None" = None,
    stop_on: Collection[str] = (),
) -> Run:
    """Begin a run whose settings are resolved: what `init` and the framework adapters share. Without a `policy`
    nothing is watched. `stop_on`: conditions whose alerts ask for the end of training.

    Raises `UsageError` where a name or a fact of the model has the wrong type.
    """
    banner = Banner(
        run=settings.run_id,
        attempt=1,  # the writer's thread claims the real one
        writer=layout.TRAIN if launch.rank == 0 else f"rank{launch.rank}",
        time=time.time(),
        project=settings.project,
        name=settings.name,
        group=settings.group,
        rank=launch.rank,
        world_size=launch.world_size,
        launch_id=launch.id,
        pid=os.getpid(),
        host=environment.host(),
        device=model.device or environment.device(),
        model_name=model.name,
        model_path=model.path,
        output_dir=model.output_dir,
        resumed_from=model.resumed_from,
        total_steps=model.total_steps,
        config=environment.config_text(config) if config else None,
        command=environment.command(),
    )
    try:
        accepted(banner)
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(f"the run cannot be described: {error}", advice="Correct that argument") from error
    count_opened()
    return Run(
        settings.root,
        banner,
        launch=launch,
        settings=config,
        enabled=settings.enabled,
        policy=policy,
        stop_on=stop_on,
    )

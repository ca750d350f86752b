"""One run, seen from the training process: what the user's loop and the framework adapters talk to.

`log` and `observe_step` are the hot path: they copy what may change, append one tuple, and return. Everything else
(naming, checking, encoding, files) happens in the writer's thread. Nothing here raises into a training loop; only
opening a run, before training begins, refuses what cannot be.
"""

import atexit
import contextlib
import functools
import logging
import operator
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self

import msgspec

from barograph.collect import environment
from barograph.collect.config import Config
from barograph.collect.launch import Launch, current_launch
from barograph.collect.logged_values import NO_NUMBER, Refused, copied, copied_value, flat, kind_of, number, step_lines
from barograph.collect.settings import Settings, resolve
from barograph.errors import UsageError
from barograph.journal import JournalWriter, NotYet, layout
from barograph.journal.writer import described
from barograph.records import (
    Alert,
    Banner,
    Checkpoint,
    Collector,
    CollectorFailed,
    ConfigUpdate,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Step,
)
from barograph.records.codec import accepted
from barograph.records.quantities import AlertLevel

if TYPE_CHECKING:
    import torch

_LEVELS: dict[str, AlertLevel] = {"info": "info", "warn": "warning", "error": "critical", "critical": "critical"}
_RANK_0_WAIT_S = 60.0
_CLOSE_S = 10.0

_Arguments = ParamSpec("_Arguments")

logger = logging.getLogger("barograph")


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
    config: Mapping[str, object] | None = None,
    resume: str | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the field's word for it
    mode: str | None = None,
) -> "Run":
    """Begin a run, or another attempt of one.

    `resume` is `never` (default: an existing `run_id` is refused), `allow` or `must`. `mode` is `online` or `offline`
    (both write local files) or `disabled` (every call does nothing). Each argument but `config` can come from the
    environment: BAROGRAPH_PROJECT, _NAME, _RUN_ID, _GROUP, _RESUME, _DIR, _MODE; arguments win.

    Raises `UsageError` and `RunConflict`; a folder that cannot be written is no error, but a warning, and is retried.
    """
    launch = current_launch()
    settings = resolve(
        launch=launch,
        project=project,
        name=name,
        run_id=run_id,
        group=group,
        resume=resume,
        directory=dir,
        mode=mode,
    )
    return open_run(settings, launch=launch, config=config or {}, model=Model())


def open_run(settings: Settings, *, launch: Launch, config: Mapping[str, object], model: Model) -> "Run":
    """Begin a run whose settings are resolved: what `init` and the framework adapters share.

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
    return Run(settings.root, banner, launch=launch, settings=config, enabled=settings.enabled)


def _never_raises(
    method: "Callable[Concatenate[Run, _Arguments], None]",
) -> "Callable[Concatenate[Run, _Arguments], None]":
    """`method` at the boundary to the training loop: what it raises is recorded, and the loop goes on."""

    @functools.wraps(method)
    def guarded(run: "Run", /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        try:
            method(run, *arguments, **named)
        except Exception as error:  # noqa: BLE001 - whatever the user's values do, training must go on
            run.collector_failed(method.__name__, error)

    return guarded


class Run:
    """Owns the journal writer of this process for one attempt of a run, from construction to `finish`."""

    def __init__(
        self, root: Path, banner: Banner, *, launch: Launch, settings: Mapping[str, object], enabled: bool = True
    ) -> None:
        """Starts writing `banner` and all that follows under `root`; `enabled=False` makes every method do nothing."""
        self.id = banner.run
        self.directory = root / banner.run
        self.config = Config(settings, record=self.update_config)
        self._attempt: int | None = None
        self._next_step = 0
        self._rejected: set[tuple[str, str]] = set()
        self._failed: set[str] = set()
        self._summary: dict[str, float] = {}
        self._writer: JournalWriter | None = None
        if enabled:
            self._writer = JournalWriter(self.directory, lambda: self._claim(banner, launch))
            atexit.register(self._finish_at_exit)

    @property
    def attempt(self) -> int | None:
        """Number of this attempt; None until the writer's thread could claim one."""
        return self._attempt

    @property
    def writer(self) -> JournalWriter | None:
        """The journal writer; None for a disabled or finished run."""
        return self._writer

    def log(self, values: Mapping[str, object], step: int | None = None) -> None:
        """Record `values` at `step` (default: one more than the last call's).

        Values are numbers, one-element tensors or arrays, or nested dicts of them (joined with `/`). `loss`, or else
        `train/loss`, is the loss of the training curve. The caller may change the dict and the tensors afterwards.
        """
        writer = self._writer
        if writer is None:
            return
        try:
            at = self._next_step if step is None else step
            if type(at) is not int or not 0 <= at < 2**63:
                accepted = self._step(at)
                if accepted is None:
                    return
                at = accepted
            held, make = dict(values), self._make_plain_step
            for value in held.values():
                if type(value) is not float and type(value) is not int:
                    held, make = copied(held), self._make_step
                    break
            self._next_step = at + 1
            writer.append(at, make, at, time.time(), held, True)
        except Exception as error:  # noqa: BLE001 - the boundary to the training loop: it must go on
            self.collector_failed("log", error)

    @_never_raises
    def log_metrics(self, step: int, values: Mapping[str, object]) -> None:
        """Record `values` at `step` without filling the loss curve: for a framework's filtered or averaged losses."""
        at = self._step(step)
        if self._writer is not None and at is not None:
            self._next_step = at + 1
            self._writer.append(at, self._make_step, at, time.time(), copied(values), False)

    @_never_raises
    def observe_step(self, step: int, parts: "Iterable[torch.Tensor | float]") -> None:
        """Record the raw loss of optimizer step `step`: the sum of `parts`, one per micro-batch; nothing without parts.

        Tensors are copied on their device now and read later, in the writer's thread.
        """
        at = self._step(step)
        if self._writer is not None and at is not None and (held := tuple(copied_value(part) for part in parts)):
            self._next_step = at + 1
            self._writer.append(at, self._make_loss, at, time.time(), held)

    @_never_raises
    def alert(self, title: str, text: str = "", level: str = "warning", step: int | None = None) -> None:
        """Record something worth a person's attention; `level` is `info`, `warning` or `critical`."""
        word = _LEVELS.get(str(getattr(level, "value", level)).lower(), "warning")
        at = None if step is None else self._step(step)
        if self._writer is not None:
            alert = Alert(time=time.time(), title=str(title), text=str(text), level=word, step=at)
            self._writer.append(None, _make_alert, alert, self._writer)

    @_never_raises
    def checkpoint(self, step: int, path: str | os.PathLike[str]) -> None:
        """Record that a checkpoint was saved."""
        at = self._step(step)
        if at is not None:
            self._write(Checkpoint(step=at, time=time.time(), path=str(Path(path).absolute())))

    def collector(self, name: str, *, running: bool, detail: str) -> None:
        """Record that a collector runs, or why it does not."""
        self._write(Collector(time=time.time(), name=name, running=running, detail=detail))

    def collector_failed(self, name: str, error: BaseException, step: int | None = None) -> None:
        """Record that a collector raised; warn once per collector."""
        if name not in self._failed:
            self._failed.add(name)
            said = described(error)
            logger.warning("barograph: the collector %s failed and is left out: %s. Training goes on.", name, said)
            self._write(CollectorFailed(time=time.time(), name=name, error=said, step=step))

    def pause(self, reason: str | None = None) -> None:
        """Say that training is paused: the run counts as paused until `unpause`, as long as this process lives."""
        self._write(Pause(time=time.time(), paused=True, reason=reason))

    def unpause(self) -> None:
        """Say that training goes on."""
        self._write(Pause(time=time.time(), paused=False))

    @_never_raises
    def set_total_steps(self, steps: int) -> None:
        """Say how many optimizer steps are planned."""
        planned = self._step(steps)
        if planned is not None:
            self._write(ConfigUpdate(time=time.time(), config="{}", total_steps=planned))

    @_never_raises
    def update_config(self, config: Mapping[str, object]) -> None:
        """Add settings to the run's config."""
        self._write(ConfigUpdate(time=time.time(), config=environment.config_text(config)))

    @_never_raises
    def set_summary(self, values: Mapping[str, object]) -> None:
        """Keep single values of the whole attempt (its runtime, its best score) for the last line of the journal."""
        for key, value in values.items():
            with contextlib.suppress(*NO_NUMBER):
                self._summary[str(key)] = number(copied_value(value))

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was recorded is in the file; False if it was not within `timeout` seconds."""
        return self._writer is None or self._writer.flush(timeout)

    def finish(self, exit_code: int = 0, reason: str | None = None) -> None:
        """End the attempt: write what is queued and the line that says so. A second call does nothing.

        A non-zero `exit_code` counts as crashed, and `reason` says why.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        atexit.unregister(self._finish_at_exit)
        writer.append(None, _make_complete, exit_code, reason, self._summary, writer)
        writer.close(_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.finish()
        else:
            self.finish(exit_code=1, reason=described(error))

    def _write(self, record: Record) -> None:
        if self._writer is not None:
            self._writer.append(None, accepted, record)

    def _step(self, step: int) -> int | None:
        """`step` as an int of Python's; what is no step is recorded as rejected, and None."""
        try:
            at = step if type(step) is int else operator.index(step)
        except TypeError:
            at = -1
        if 0 <= at < 2**63:
            return at
        kind = f"{type(step).__name__}, not 0 to 2**63 - 1"
        if self._writer is not None:
            self._writer.append(None, self._reject, "step", kind, time.time(), None)
        return None

    def _claim(self, banner: Banner, launch: Launch) -> Banner:
        """In the writer's thread: take the attempt (rank 0), or learn it from rank 0."""
        learnt = self._attempt_of_rank_0(banner, launch) if launch.rank else None
        commit, versions = environment.git_commit(), environment.versions()
        # Last, because what fails is tried again, and each try would claim another one.
        attempt = learnt or layout.claim_attempt(self.directory, launch_id=launch.id, now=time.time())
        self._attempt = attempt
        return msgspec.structs.replace(banner, attempt=attempt, time=time.time(), git_commit=commit, versions=versions)

    def _attempt_of_rank_0(self, banner: Banner, launch: Launch) -> int:
        learnt = layout.attempt_of_launch(self.directory, launch_id=launch.id, not_before=launch.begun - 5.0)
        if learnt is not None:
            return learnt
        if time.time() - banner.time < _RANK_0_WAIT_S:
            raise NotYet
        raise OSError(f"rank 0 has begun no attempt of {banner.run} yet")

    def _make_plain_step(self, step: int, at: float, values: Mapping[str, float], fills_loss: bool) -> list[Record]:
        """As `_make_step`, in a fourth of its time, for values that are all plain numbers."""
        try:
            return step_lines(step, at, {str(key): float(value) for key, value in values.items()}, fills_loss)
        except OverflowError:
            return self._make_step(step, at, values, fills_loss)

    def _make_step(self, step: int, at: float, values: Mapping[str, object], fills_loss: bool) -> list[Record]:
        """In the writer's thread: the line of one `log` call, and a line for each value that is none."""
        metrics: dict[str, float] = {}
        refused: list[tuple[str, str]] = []
        for key, value in flat(values):
            try:
                metrics[key] = number(value)
            except NO_NUMBER:
                refused.append((key, kind_of(value)))
        # Only now, when no value can be on its way any more: what is rejected is said once.
        said = [record for key, kind in refused for record in self._reject(key, kind, at, step)]
        return said + step_lines(step, at, metrics, fills_loss)

    def _make_loss(self, step: int, at: float, parts: tuple[object, ...]) -> list[Record]:
        """In the writer's thread: the line of one `observe_step` call."""
        try:
            return [Step(step=step, loss=sum((number(part) for part in parts), start=0.0), time=at)]
        except NO_NUMBER:
            refused = [kind_of(part) for part in parts if isinstance(part, Refused)]
            return self._reject("loss", ", ".join(refused[:1]) or "unreadable", at, step)

    def _reject(self, key: str, kind: str, at: float, step: int | None) -> list[Record]:
        if (key, kind) in self._rejected or len(self._rejected) >= 1_000:
            return []
        self._rejected.add((key, kind))
        logger.warning("barograph: %r is no number (%s) and is left out.", key, kind)
        return [RejectedValue(time=at, key=key, value_type=kind, step=step)]

    def _finish_at_exit(self) -> None:
        """The interpreter ends and nobody called `finish`: say how, as far as can be known."""
        # In an interactive session the last error is one that the session has survived.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        reason = "the process ended without finish()" if error is None else described(error)
        self.finish(exit_code=int(error is not None), reason=reason)


def _make_alert(alert: Alert, writer: JournalWriter) -> Alert:
    return alert if alert.step is not None else msgspec.structs.replace(alert, step=writer.newest_step)


def _make_complete(
    exit_code: int | None, reason: str | None, summary: Mapping[str, float], writer: JournalWriter
) -> RunComplete:
    code, last = exit_code or 0, writer.newest_step
    return accepted(RunComplete(time=time.time(), exit_code=code, step=last, reason=reason, summary=dict(summary)))

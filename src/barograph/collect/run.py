"""One run, seen from the training process: what the user's loop and the framework adapters talk to, all in one place.

`log` and `observe_step` are the hot path: they copy what may change, append one tuple, and return. Everything else
(naming, checking, encoding, files) happens in the writer's thread. Nothing here raises into a training loop; only
`begin.py`, before training begins, refuses what cannot be.
"""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self

import msgspec

from barograph.collect import environment
from barograph.collect.config import Config
from barograph.collect.ending import Ending, Witness, ending_of
from barograph.collect.launch import Launch
from barograph.collect.logged_values import NO_NUMBER, copied, copied_value, number, step_of, width
from barograph.collect.moments import optimizer_moments
from barograph.collect.observed import Observed
from barograph.collect.opening import Opening
from barograph.collect.resumed import next_step
from barograph.collect.rows import Rows
from barograph.collect.secrets import shown
from barograph.collect.time_budget import TimeBudget
from barograph.journal import JournalWriter
from barograph.journal.writer import NARROW, described
from barograph.records import (
    Alert,
    Banner,
    Batch,
    Checkpoint,
    Collector,
    CollectorFailed,
    ConfigUpdate,
    OptimizerMoments,
    Pause,
    Record,
    RunComplete,
)
from barograph.records.codec import accepted
from barograph.records.quantities import AlertLevel

if TYPE_CHECKING:
    import torch

    from barograph.analysis.model_flops import ModelSize, Precision
    from barograph.collect.layer_norms import LayerNorms
    from barograph.collect.live_watch import LiveWatch
    from barograph.collect.watched_model import WatchedModel
    from barograph.policy.tables import Policy

_LEVELS: dict[str, AlertLevel] = {
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "critical",
    "critical": "critical",
}
_CLOSE_S = 10.0

_Arguments = ParamSpec("_Arguments")

logger = logging.getLogger("barograph")


def _never_raises(
    method: "Callable[Concatenate[Run, _Arguments], None]",
) -> "Callable[Concatenate[Run, _Arguments], None]":
    """`method` at the boundary to the training loop: what it raises is recorded, and the loop goes on."""

    @functools.wraps(method)
    def guarded(run: "Run", /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        try:
            method(run, *arguments, **named)
        except Exception as error:  # noqa: BLE001 - whatever the user's values do, training must go on
            run._call_failed(method.__name__, error)

    return guarded


class Run:
    """Owns the journal writer of this process for one attempt of a run, from construction to `finish`."""

    def __init__(
        self,
        root: Path,
        banner: Banner,
        *,
        launch: Launch,
        settings: Mapping[str, object],
        enabled: bool = True,
        policy: "Policy | None" = None,
        stop_on: Collection[str] = (),
    ) -> None:
        """Starts writing `banner` and all that follows under `root`; `enabled=False` makes every method do nothing.

        With a `policy` what is recorded is watched, and alerts of the conditions in `stop_on` ask for the end of
        training.
        """
        self.id = banner.run
        self.directory = root / banner.run
        self.config = Config(settings, record=self.update_config)
        self._opening = Opening(self.directory, banner, launch, learn_commit=self._learn_commit)
        self._next_step = 0
        self._failed: set[str] = set()
        self._told: set[str] = set()  # what was said last of a collector that may change
        self._level_told = False
        self._summary: dict[str, float] = {}
        self._rows = Rows()
        self._make_plain_step: Callable[..., list[Record]] = self._rows.plain_step
        self._make_step: Callable[..., list[Record]] = self._rows.step
        self._make_observed: Callable[..., list[Record]] = self._rows.read_and_observed
        self._live: LiveWatch | None = None
        self._batch: Callable[[int], Batch | None] | None = None
        self._watched: list[WatchedModel] = []
        self._writer: JournalWriter | None = None
        self._witness: Witness | None = None
        self._warns_late = enabled
        if enabled:
            self._next_step = next_step(self.directory, launch)
            self._witness = Witness(progress=lambda: self._next_step, at_end=self._end)
            if policy is not None:
                from barograph.collect import live_watch

                self._live = live = live_watch.LiveWatch(
                    self.directory, banner, policy, rows=self._rows, stop_on=stop_on
                )
                self._make_plain_step = functools.partial(live.folds.logged, self._rows.plain_step)
                self._make_step = functools.partial(live.folds.logged, self._rows.step)
                self._make_observed = live.folds.observed
            self._writer = JournalWriter(self.directory, self._opening)
            if self._live is not None:
                self._live.begin(self._writer)

    @property
    def attempt(self) -> int | None:
        """Number of this attempt; None until the writer's thread could claim one."""
        return self._opening.attempt

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
            self._too_late()
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
                    wide = width(held)
                    break
            else:
                wide = len(held)
            if self._watched:
                self.layers_logged(at, held)
            self._next_step = at + 1
            if wide > NARROW:
                writer.append_wide(wide, at, make, at, time.time(), held, True)
            else:
                writer.append(at, make, at, time.time(), held, True)
        except Exception as error:  # noqa: BLE001 - the boundary to the training loop: it must go on
            self._call_failed("log", error)

    @_never_raises
    def log_metrics(self, step: int, values: Mapping[str, object]) -> None:
        """Record `values` at `step` without filling the loss curve: for a framework's filtered or averaged losses."""
        at = self._step(step)
        if self._writer is not None and at is not None:
            held = copied(values)
            if self._watched:
                self.layers_logged(at, held)
            self._next_step = at + 1
            self._writer.append_wide(width(held), at, self._make_step, at, time.time(), held, False)

    @_never_raises
    def observe_step(self, step: int, parts: "Iterable[torch.Tensor | float]") -> None:
        """Record the raw loss of optimizer step `step`: the sum of `parts`, one per micro-batch; nothing without parts.

        Tensors are copied on their device now and read later, in the writer's thread.
        """
        if held := tuple(copied_value(part) for part in parts):
            self.observe(step, Observed(losses=held))

    @_never_raises
    def observe(self, step: int, seen: Observed) -> None:
        """Record what was seen of optimizer step `step`."""
        at = self._step(step)
        if self._writer is not None and at is not None:
            self._next_step = at + 1
            self._writer.append(at, self._make_observed, at, time.time(), seen)

    @_never_raises
    def observe_layers(self, step: int, norms: "LayerNorms", *, at: float | None = None) -> None:
        """Record the norms of the layers at optimizer step `step`, taken now or `at` seconds since 1970."""
        if self._writer is not None and self._live is not None:
            at = time.time() if at is None else at
            make: Callable[..., list[Record]] = self._live.folds.layers
            if norms.model:
                from barograph.collect.layer_norms import with_own_total

                make = functools.partial(with_own_total, make)
            self._writer.append_wide(norms.size, step, make, step, at, norms)

    def layers_unavailable(self, reason: str) -> None:
        """Say why the norms of the layers cannot be had."""
        self.collector("layers", running=False, detail=reason)
        if self._writer is not None and self._live is not None:
            self._writer.append(None, self._live.folds.unavailable_layers, reason)

    def unavailable(self, name: str, reason: str) -> None:
        """Say why a field of the signals, or a condition, is not measured."""
        if self._writer is not None and self._live is not None:
            self._writer.append(None, self._live.folds.unavailable, name, reason)

    def model_size(self, size: "ModelSize", *, device: str | None, precision: "Precision | None") -> None:
        """Say what is trained, and on what, for the share of the device's arithmetic that is used."""
        if self._writer is not None and self._live is not None:
            self._writer.append(None, self._live.measure, size, device, precision)

    @property
    def budget(self) -> TimeBudget:
        """What the measurements in the training thread may cost; one that counts and allows nothing if none watches."""
        return self._live.budget if self._live is not None else TimeBudget({"layers": 0.0, "token_statistics": 0.0})

    @property
    def stop_alert(self) -> Alert | None:
        """The alert that asks for the end of training; None while none does."""
        return None if self._live is None else self._live.folds.stop

    @property
    def wants_batches(self) -> bool:
        """Whether an alert has asked for the examples of its step."""
        return self._live is not None and bool(self._live.folds.wanted)

    def record_batches(self, batch: Callable[[int], Batch | None]) -> None:
        """Record the batches that alerts have asked for; `batch(step)` makes the record. Waits for a device."""
        while self._live is not None and self._live.folds.wanted:
            found = batch(self._live.folds.wanted.popleft())
            if found is not None:
                self._write(found)

    def keep_batches(self, batch: Callable[[int], Batch | None]) -> None:
        """At the end, record the batches that alerts have asked for until then, in the writer's thread."""
        self._batch = batch

    @_never_raises
    def watch(
        self, model: object, optimizer: object = None, *, every: int | None = None, name: str | None = None
    ) -> None:
        """Watch the layers of a PyTorch `model` from its optimizer's steps, without a change to the loop.

        `optimizer`: the one that trains it; None: whichever does. `every`: measure at every so many steps, instead of
        as often as one hundredth of the wall time allows. `name`: what its layers and its norm are called after, where
        several models are watched; without it, the second and all later ones are called after their class. The norms
        belong to the step that is logged after the optimizer's step, or before it in a loop that logs before.
        """
        if self._live is None or self._writer is None:
            return
        from barograph.collect.watched_model import WatchedModel

        watched = WatchedModel(self, model, optimizer, every=every, name=name, beside=self._watched)
        self._watched.append(watched)

    @_never_raises
    def layers_logged(self, step: int, values: Mapping[str, object]) -> None:
        """Have the watched models hear what is logged: their optimizers' steps are numbered by it."""
        for watched in self._watched:
            watched.logged(step, values)

    @property
    def next_step(self) -> int:
        """One more than the step of the last call."""
        return self._next_step

    @_never_raises
    def alert(self, title: str, text: str = "", level: str | None = "warning", step: int | None = None) -> None:
        """Record something worth a person's attention; `level` is `info`, `warning` or `critical`. Without a `step` it
        belongs to the newest one that was logged."""
        given = str(getattr(level, "value", level))
        word, said = "warning" if level is None else _LEVELS.get(given.lower()), str(text)
        at = None if step is None else self._step(step)
        if word is None:
            unknown = f"its level {given[:100]!r} is not known: use info, warning or critical"
            said = f"{said} ({unknown})".lstrip()
            if not self._level_told:
                self._level_told = True
                logger.warning("barograph: the alert %.100r counts as a warning: %s.", str(title), unknown)
        if self._writer is not None:
            alert = Alert(time=time.time(), title=str(title), text=said, level=word or "warning", step=at)
            self._writer.append(None, self._make_alert, alert, self._writer)

    @_never_raises
    def checkpoint(self, step: int, path: str | os.PathLike[str]) -> None:
        """Record that a checkpoint was saved."""
        at = self._step(step)
        if at is None:
            return
        record = Checkpoint(step=at, time=time.time(), path=str(Path(path).absolute()))
        if self._live is None:
            self._write(record)
        elif self._writer is not None:
            self._writer.append(None, self._live.folds.saved, accepted(record), at, Path(record.path).name)

    @_never_raises
    def optimizer_moments(self, step: int, model: object, optimizer: object) -> None:
        """Record the sums of Adam's second moments, as they are now; where there are none, that is said once."""
        found = optimizer_moments(step, model, optimizer)
        if found is None:
            return
        running = isinstance(found, OptimizerMoments)
        detail = "Sums of the optimizer's second moments, at every save."
        if isinstance(found, OptimizerMoments):
            self._write(found)
        else:
            detail = found
        if f"optimizer_moments {running}" not in self._told:
            self._told = {f"optimizer_moments {running}"}
            self.collector("optimizer_moments", running=running, detail=detail)

    def collector(self, name: str, *, running: bool, detail: str) -> None:
        """Record that a collector runs, or why it does not."""
        self._write(Collector(time=time.time(), name=name, running=running, detail=detail))

    def collector_failed(self, name: str, error: BaseException, step: int | None = None) -> None:
        """Record that a collector raised; warn once per collector."""
        if name not in self._failed:
            self._failed.add(name)
            said = shown(described(error))
            logger.warning("barograph: the collector %s failed and is left out: %s. Training goes on.", name, said)
            self._write(CollectorFailed(time=time.time(), name=name, error=said, step=step))

    def _call_failed(self, name: str, error: BaseException) -> None:
        """Count one call that records nothing; its line, and a warning, for the first of its kind."""
        said = shown(described(error))
        if self._writer is not None:
            self._writer.append(None, self._rows.reject_call, name, said, time.time())
        if name not in self._failed:
            self._failed.add(name)
            logger.warning("barograph: a call of %s is not recorded: %s. Training goes on, and so do we.", name, said)

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
        if planned is None:
            return
        record = ConfigUpdate(time=time.time(), config="{}", total_steps=planned)
        if self._live is None:
            self._write(record)
        elif self._writer is not None:
            self._writer.append(None, self._live.folds.planned, accepted(record), planned)

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
        if self._writer is None:
            return True
        if self._live is not None:
            self._writer.append(None, self._live.folds.caught_up)
        return self._writer.flush(timeout)

    def finish(self, exit_code: int | None = None, reason: str | None = None) -> None:
        """End the attempt: write what is queued and the line that says so. A second call does nothing.

        A non-zero `exit_code` counts as crashed, and `reason` says why. Without one the run ended well, unless an
        exception is being handled right now, as in a `finally:`; then that is what ended it.
        """
        if exit_code is None and self._witness is not None:
            now = self._witness.now()
            exit_code, reason = now.exit_code, reason or now.reason
        self._end(Ending(exit_code=exit_code, reason=reason))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(ending_of(error))

    def _end(self, ending: Ending) -> None:
        while self._watched:  # it records what it has begun to collect
            self._watched.pop().remove()
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._witness is not None:
            self._witness.close()
        if self._live is not None:
            self._live.end(ending, self._batch)
        writer.append(None, _make_complete, ending, self._summary, self._rows, writer)
        writer.close(_CLOSE_S)
        if self._live is not None:
            self._live.close()

    def _too_late(self) -> None:
        """`log` after the end: warn once. A disabled run has no end."""
        if self._warns_late:
            self._warns_late = False
            logger.warning(
                "barograph: the run %s is finished (finish() or another init() ended it): what is logged now is not "
                "recorded.",
                self.id,
            )

    def _write(self, record: Record) -> None:
        if self._writer is not None:
            self._writer.append(None, accepted, record)

    def _step(self, step: object) -> int | None:
        """`step` as an int of Python's; what is no step is counted as rejected, and None."""
        at = step_of(step)
        if at is None and self._writer is not None:
            kind = f"{type(step).__name__}, not 0 to 2**63 - 1"
            self._writer.append(None, self._rows.reject, "step", kind, time.time(), None)
        return at

    def _make_alert(self, alert: Alert, writer: JournalWriter) -> list[Record]:
        if self._live is not None:
            return self._live.folds.alert(alert, writer.newest_step)
        return [alert if alert.step is not None else msgspec.structs.replace(alert, step=writer.newest_step)]

    def _learn_commit(self, commit: str) -> None:
        self._write(ConfigUpdate(time=time.time(), config="{}", git_commit=commit))


def _make_complete(ending: Ending, summary: Mapping[str, float], rows: Rows, writer: JournalWriter) -> RunComplete:
    complete = RunComplete(
        time=time.time(),
        exit_code=ending.exit_code,
        step=writer.newest_step,
        reason=None if ending.reason is None else shown(str(ending.reason)),
        rejected=rows.rejected,
        summary=dict(summary),
    )
    return accepted(complete)

"""The callback for transformers' `Trainer` and everything built on it, such as TRL's trainers.

    trainer = Trainer(..., callbacks=[barograph.TrainerCallback()])     or     TrainingArguments(report_to="barograph")

What is recorded: the raw loss of every optimizer step (`raw_loss.py`), whatever `logging_steps` says; what the Trainer
logs, under the names that its other integrations use; every checkpoint with its folder; how training ended. Nothing
here raises into training: what fails is recorded as `collector_failed`, said once, and left out from then on.

The run's id: the argument, `BAROGRAPH_RUN_ID`, the id in the checkpoint that training resumes from, `args.run_name`,
or a new one. A checkpoint carries the id in its `trainer_state.json`, under `stateful_callbacks`. It is put there
directly: a callback that transformers stores by itself (`ExportableState`) breaks the first save after a resume from a
checkpoint that was made without it, and is rebuilt without its arguments on a resume with it.
"""

import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import msgspec
import transformers

from barograph.collect.begin import chosen_policy, open_run
from barograph.collect.failed_training import watch
from barograph.collect.launch import current_launch
from barograph.collect.outside_training import Measured, measured, record_apart
from barograph.collect.raw_loss import Trainer, training_frame
from barograph.collect.run import Run
from barograph.collect.secrets import shown
from barograph.collect.settings import resolve, slug
from barograph.collect.trainer_facts import (
    STATE_KEY,
    Arguments,
    Control,
    State,
    model_facts,
    resumed_from,
    series_name,
    stored_run_id,
)
from barograph.collect.trainer_monitor import TrainerMonitor
from barograph.errors import UsageError
from barograph.journal.writer import described
from barograph.policy.alert_tables import AlertTables
from barograph.records import Alert

FINAL_ROW = "train_runtime"
"""The key that tells the last row of a training: single values, no points of a series."""

LOGGED_INSTEAD = "The loss of the curve is what the Trainer logs: a mean over logging_steps, without NaN."
"""Said by the collector `raw_loss` where it does not run."""

WITHOUT_LOSS = frozenset({"raw_loss", "step", "monitor"})
"""Collectors without which there is no raw loss."""

KEPT_ROWS = 1_000
"""Rows measured before training that are kept until it begins; of more than that, the oldest go."""

STOP_ON = ("non_finite_loss", "masked_loss")
"""Conditions whose alerts end the training by default, where that is asked for at all."""

REPLAN_S = 5.0
"""Seconds between two records of the planned steps, for trainings whose end moves, such as those on wall time."""

logger = logging.getLogger("barograph")


def _recorder(trainer: Trainer) -> object:
    """Which callback records where a trainer has several of ours: the last, which is the user's, not `report_to`'s."""
    return [one for one in trainer.callback_handler.callbacks if isinstance(one, TrainerCallback)][-1]


class TrainerCallback(transformers.TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Records a training with Hugging Face's `Trainer`; owns the run from `on_train_begin` to `on_train_end`."""

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        *,
        run_id: str | None = None,
        group: str | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the field's word for it
        config: Mapping[str, object] | None = None,
        mode: str | None = None,
        resume: str = "allow",
        monitor: bool = True,
        policy: str | os.PathLike[str] = "default",
        on_alert: str | None = None,
        stop_on: Collection[str] = STOP_ON,
        all_ranks: bool = False,
    ) -> None:
        """The arguments of `barograph.init`, except that an existing run gets another attempt by default.

        `monitor=False` records losses, metrics and checkpoints, and watches nothing. `on_alert="stop"` ends the
        training when an alert of one of the conditions `stop_on` fires, a step or a few after it: conditions are the
        tables `[alerts.<condition>]` of the policy. `all_ranks=True` measures on every rank, and not on rank 0 alone.

        Raises `UsageError` for a word that is not known, and `PolicyError`.
        """
        if on_alert not in {None, "stop"}:
            raise UsageError(f"on_alert={on_alert!r} is not known", advice='Use on_alert="stop", or leave it out')
        known = [field.name for field in msgspec.structs.fields(AlertTables)]
        if unknown := [one for one in stop_on if one not in known]:
            raise UsageError(f"stop_on names {unknown[0]!r}, which is no condition", advice=f"Use {', '.join(known)}")
        self._policy = chosen_policy(policy) if monitor else None
        self._stop_on = frozenset(stop_on) if on_alert == "stop" and monitor else frozenset()
        self._all_ranks = all_ranks
        self._project = project
        self._name = name
        self._given_id = run_id
        self._group = group
        self._root = dir
        self._config = dict(config or {})
        self._mode = mode
        self._resume = resume
        self._run: Run | None = None
        self._monitor: TrainerMonitor | None = None
        self._trainer: weakref.ref[Trainer] | None = None
        self._ended: Run | None = None
        self._kept: deque[Measured] = deque(maxlen=KEPT_ROWS)
        self._writes_metrics = True
        self._everything = False
        self._left_out: set[str] = set()
        self._planned = 0
        self._planned_at = 0.0
        self._stopped: str | None = None

    def __getstate__(self) -> dict[str, object]:
        """Of a copy or a pickle: the settings, without run and trainer. A copy records the trainings of its own."""
        running: dict[str, object] = {"_run": None, "_monitor": None, "_trainer": None, "_ended": None}
        return {**vars(self), **running, "_kept": self._kept.copy()}

    @property
    def run(self) -> Run | None:
        """The run that is being recorded; None before and after training."""
        return self._run

    def attach(self, trainer: Trainer) -> None:
        """Tell the callback its trainer. Only needed where it cannot be found: a Trainer whose loop is not Python."""
        if not hasattr(trainer, "training_step") or not hasattr(trainer, "train"):
            raise UsageError(
                f"attach() was given a {type(trainer).__name__}, which has no training_step and train",
                advice="Pass the transformers Trainer that this callback was added to",
            )
        self._trainer = weakref.ref(trainer)
        watch(trainer, self)
        if self._run is not None:
            self._guarded("raw_loss", self._listen, None)

    def on_init_end(self, args: Arguments, state: State, control: object, **others: object) -> None:
        self._guarded("end of training", self._meet)

    def on_train_begin(
        self, args: Arguments, state: State, control: object, *, model: object = None, **others: object
    ) -> None:
        self._left_out.clear()
        self._guarded("run", self._begin, args, state, model)

    def on_epoch_begin(self, args: Arguments, state: State, control: object, **others: object) -> None:
        if self._monitor is not None:
            self._monitor.window_is_lost()  # an epoch can end in the middle of a window, which then makes no step

    def on_pre_optimizer_step(self, args: Arguments, state: State, control: object, **others: object) -> None:
        if self._monitor is not None:
            self._monitor.optimizer_begins(state.global_step + 1)

    def on_optimizer_step(self, args: Arguments, state: State, control: object, **others: object) -> None:
        if self._monitor is not None:
            self._monitor.optimizer_ends(state.global_step + 1)

    def on_step_end(self, args: Arguments, state: State, control: Control, **others: object) -> None:
        if self._monitor is not None:
            self._monitor.step_ends()
        if self._stop_on:
            self._guarded("on_alert", self._stop_if_asked, control)
        if state.max_steps != self._planned and time.monotonic() - self._planned_at >= REPLAN_S:
            self._guarded("planned steps", self._plan, state.max_steps)

    def on_log(
        self,
        args: Arguments,
        state: State,
        control: object,
        *,
        logs: Mapping[str, object] | None = None,
        **others: object,
    ) -> None:
        self._guarded("metrics", self._log, state.global_step, logs or {})

    def on_predict(
        self, args: Arguments, state: State, control: object, *, metrics: Mapping[str, object], **others: object
    ) -> None:
        self._guarded("metrics", self._log, state.global_step, metrics)

    def on_save(self, args: Arguments, state: State, control: object, **others: object) -> None:
        self._guarded("checkpoints", self._save, Path(args.output_dir), state.global_step)
        self._guarded("optimizer_moments", self._remember, state.global_step, others)

    def on_train_end(self, args: Arguments, state: State, control: object, **others: object) -> None:
        if state.max_steps != self._planned:
            self._guarded("planned steps", self._plan, state.max_steps)
        self._guarded("end of training", self._end, 0, self._stopped)

    def _guarded(self, collector: str, act: Callable[..., object], *arguments: object) -> float:
        """The boundary to the training loop: `act(*arguments)`, and if it fails, never again in this training; seconds
        that it took."""
        if collector in self._left_out:
            return 0.0
        began = time.perf_counter()
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 - training must go on whatever happens in here
            self._left_out.add(collector)
            try:
                self._leave_out(collector, error)
            except Exception:
                logger.exception("barograph could not tell the run that it leaves %r out", collector)
        return time.perf_counter() - began

    def _leave_out(self, collector: str, error: Exception) -> None:
        if self._run is None:
            logger.warning("barograph leaves %r out of this training: %s", collector, described(error))
            return
        self._run.collector_failed(collector, error)
        reason = shown(described(error))
        if collector in WITHOUT_LOSS:
            self._run.collector("raw_loss", running=False, detail=f"{reason}. {LOGGED_INSTEAD}")
        if self._monitor is not None:
            self._monitor.left_out(collector, reason)

    def training_failed(self, error: BaseException) -> None:
        """The trainer's `train` raised: the run has crashed, at once."""
        self._guarded("end of training", self._crash, error)

    def _meet(self) -> None:
        frame = training_frame(self)
        if frame is not None:
            watch(frame.f_locals["self"], self)

    def _begin(self, args: Arguments, state: State, model: object) -> None:
        frame = training_frame(self)
        variables = frame.f_locals if frame is not None else {}
        trainer: Trainer | None = variables["self"] if frame is not None else self._attached()
        came_from = resumed_from(variables.get("resume_from_checkpoint"), args, state)
        interrupted = self._run.id if self._run is not None else None
        self._end(1, "training began again before it had ended")
        self._ended = self._stopped = None
        kept = tuple(self._kept)
        self._kept.clear()
        launch = current_launch()
        if trainer is not None and _recorder(trainer) is not self:
            return
        if args.process_index and not launch.rank:  # a launcher that we do not know: only its first process records
            return
        self._writes_metrics = launch.rank == 0
        chosen = self._given_id or os.environ.get("BAROGRAPH_RUN_ID") or stored_run_id(state) or interrupted
        if chosen is None and args.run_name and not state.is_hyper_param_search:
            chosen = slug(args.run_name)
        settings = resolve(
            launch=launch,
            project=self._project,
            name=self._name or args.run_name,
            run_id=chosen,
            group=self._group or (args.run_name if state.is_hyper_param_search else None),
            resume="allow" if interrupted else self._resume,
            directory=self._root,
            mode=self._mode,
        )
        if not settings.enabled:
            return
        config = {**self._config, "training_arguments": args.to_dict()}
        facts = model_facts(model, args, state, resumed_from=came_from)
        self._everything = self._policy is not None and (launch.rank == 0 or self._all_ranks)
        alone = launch.world_size == 1
        self._run = open_run(
            settings,
            launch=launch,
            config=config,
            model=facts,
            policy=self._policy if self._everything else None,
            stop_on=self._stop_on if alone else (),
        )
        if self._stop_on and not alone and self._writes_metrics:
            detail = "With several ranks, one that stops by itself would leave the others waiting for it."
            self._run.collector("on_alert", running=False, detail=detail)
        state.stateful_callbacks[STATE_KEY] = {"args": {}, "attributes": {"run_id": self._run.id}}
        self._planned, self._planned_at = state.max_steps, time.monotonic()
        if self._writes_metrics:
            self._run.collector("metrics", running=True, detail="What the Trainer logs and evaluates, when it does.")
            self._run.collector("checkpoints", running=True, detail=f"Every checkpoint saved to {facts.output_dir}.")
            self._keep(kept, resumed=state.global_step > 0)
        if trainer is not None:
            self._trainer = weakref.ref(trainer)
            watch(trainer, self)  # it may be a copy, or the callback was added after the trainer was made
        self._guarded("raw_loss", self._listen, model)

    def _attached(self) -> Trainer | None:
        return None if self._trainer is None else self._trainer()

    def _keep(self, rows: Iterable[Measured], *, resumed: bool) -> None:
        """Record what was measured before training; in a resumed training that must wait for its end."""
        for row in rows:
            if resumed:
                self._kept.append(row)
            elif self._run is not None:
                self._run.log_metrics(row.step, row.metrics)

    def _plan(self, steps: int) -> None:
        self._planned, self._planned_at = steps, time.monotonic()
        if self._run is not None and self._writes_metrics:
            self._run.set_total_steps(steps)

    def _listen(self, model: object) -> None:
        """Stand in the trainer's methods, and say in the run what is measured."""
        if self._run is None or self._monitor is not None:
            return
        trainer = self._attached()
        if trainer is None:
            self._run.collector(
                "raw_loss",
                running=False,
                detail=f"No trainer was found on the stack: call attach(trainer). {LOGGED_INSTEAD}",
            )
            return
        self._monitor = TrainerMonitor(
            trainer, self._run, guarded=self._guarded, everything=self._everything, all_ranks=self._all_ranks
        )
        self._monitor.begin(trainer, getattr(trainer, "model", None) if model is None else model)

    def _stop_listening(self) -> None:
        if self._monitor is not None:
            self._monitor.remove()
            self._monitor = None

    def _stop_if_asked(self, control: Control) -> None:
        alert: Alert | None = None if self._run is None else self._run.stop_alert
        if alert is not None and not control.should_training_stop and self._run is not None:
            control.should_training_stop = True
            what = f"{alert.title.rstrip('.')} (step {alert.step})"
            self._stopped = f"stopped by on_alert: {what}"
            detail = f"The training is stopped, as on_alert asks for: {what}."
            logger.warning("barograph: %s", detail)
            self._run.collector("on_alert", running=True, detail=detail)

    def _log(self, step: int, row: Mapping[str, object]) -> None:
        if not self._writes_metrics:
            return
        if self._run is not None and FINAL_ROW in row:
            self._run.set_summary(row)
            return
        named = {series_name(key): value for key, value in row.items()}
        if self._run is None:
            if self._ended is None:
                self._kept.append(measured(step, named))
            else:
                record_apart(self._ended, [measured(step, named)])
        elif self._monitor is not None and not WITHOUT_LOSS & self._left_out:
            self._run.log_metrics(step, named)
        else:
            self._run.log(named, step)

    def _save(self, output_dir: Path, step: int) -> None:
        if self._run is None or not self._writes_metrics:
            return
        folder = output_dir.absolute() / f"checkpoint-{step}"
        if folder.is_dir():
            self._run.checkpoint(step, folder)
        else:
            detail = f"The Trainer saved a checkpoint at step {step}, but not to {folder}."
            self._run.collector("checkpoints", running=False, detail=detail)

    def _remember(self, step: int, others: Mapping[str, object]) -> None:
        if self._run is not None and self._writes_metrics:
            self._run.optimizer_moments(step, others.get("model"), others.get("optimizer"))

    def _crash(self, error: BaseException) -> None:
        """A loss whose window was complete is recorded, though its step was never made: it may be why."""
        trainer = self._attached()
        if self._run is not None and self._monitor is not None and trainer is not None:
            unfinished = self._monitor.unfinished()
            if unfinished is not None:
                self._run.observe(trainer.state.global_step + 1, unfinished)
        self._end(1, described(error))

    def _end(self, exit_code: int, reason: str | None) -> None:
        if self._run is not None and self._monitor is not None:
            self._run.keep_batches(self._monitor.asked_for)
        self._guarded("end of listening", self._stop_listening)
        if self._run is not None:
            self._ended, self._run = self._run, None
            self._ended.finish(exit_code, reason)
            if self._kept:
                record_apart(self._ended, self._kept)
                self._kept.clear()

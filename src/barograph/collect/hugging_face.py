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

import functools
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import transformers

from barograph.collect.failed_training import watch
from barograph.collect.launch import current_launch
from barograph.collect.outside_training import Measured, measured, record_apart
from barograph.collect.raw_loss import RawLoss, Trainer, training_frame
from barograph.collect.run import Model, Run, open_run
from barograph.collect.settings import resolve, slug
from barograph.errors import UsageError
from barograph.journal.writer import described

STATE_KEY = "barograph"
"""Our entry in `stateful_callbacks` of a checkpoint's `trainer_state.json`."""

FINAL_ROW = "train_runtime"
"""The key that tells the last row of a training: single values, no points of a series."""

LOGGED_INSTEAD = "The loss of the curve is what the Trainer logs: a mean over logging_steps, without NaN."
"""Said by the collector `raw_loss` where it does not run."""

KEPT_ROWS = 1_000
"""Rows measured before training that are kept until it begins; of more than that, the oldest go."""

REPLAN_S = 5.0
"""Seconds between two records of the planned steps, for trainings whose end moves, such as those on wall time."""

logger = logging.getLogger("barograph")


class Arguments(Protocol):
    """The part of transformers' `TrainingArguments` that we read."""

    output_dir: str
    run_name: str | None
    process_index: int
    device: object

    def to_dict(self) -> dict[str, object]: ...


class State(Protocol):
    """The part of transformers' `TrainerState` that we read; `stateful_callbacks` is also where our id is kept."""

    global_step: int
    max_steps: int
    is_hyper_param_search: bool
    stateful_callbacks: dict[str, object]


def series_name(key: str) -> str:
    """The name under which transformers' integrations chart a logged key: `eval_x` is `eval/x`, `x` is `train/x`."""
    for split in ("eval", "test"):
        if key.startswith(f"{split}_"):
            return f"{split}/{key[len(split) + 1 :]}"
    return f"train/{key}"


def stored_run_id(state: State) -> str | None:
    """The run id in the checkpoint that `state` was loaded from; None if it has none, or none that is valid."""
    entry = state.stateful_callbacks.get(STATE_KEY)
    attributes = entry.get("attributes") if isinstance(entry, dict) else None
    run_id = attributes.get("run_id") if isinstance(attributes, dict) else None
    return run_id if isinstance(run_id, str) and run_id and slug(run_id) == run_id else None


def model_facts(model: object, args: Arguments, state: State, *, resumed_from: str | None) -> Model:
    """What the banner says of the training. A model from a local folder is named by its absolute path."""
    origin = getattr(getattr(model, "config", None), "_name_or_path", None)
    path = str(origin) if origin else None
    if path is not None and Path(path).is_dir():
        path = str(Path(path).absolute())
    return Model(
        name=Path(path).name if path is not None else type(model).__name__,
        path=path,
        output_dir=str(Path(args.output_dir).absolute()),
        resumed_from=resumed_from,
        total_steps=state.max_steps if state.max_steps > 0 else None,
    )


def _resumed_from(given: object, args: Arguments, state: State) -> str | None:
    """Absolute path of the checkpoint that training goes on from: what `train` was given, else where it would lie."""
    if not state.global_step:
        return None
    if isinstance(given, str | os.PathLike):
        return str(Path(given).absolute())
    usual = Path(args.output_dir).absolute() / f"checkpoint-{state.global_step}"
    return str(usual) if usual.is_dir() else None


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
    ) -> None:
        """The arguments of `barograph.init`, except that an existing run gets another attempt by default."""
        self._project = project
        self._name = name
        self._given_id = run_id
        self._group = group
        self._root = dir
        self._config = dict(config or {})
        self._mode = mode
        self._resume = resume
        self._run: Run | None = None
        self._raw_loss: RawLoss | None = None
        self._trainer: weakref.ref[Trainer] | None = None
        self._ended: Run | None = None
        self._kept: deque[Measured] = deque(maxlen=KEPT_ROWS)
        self._writes_metrics = True
        self._left_out: set[str] = set()
        self._planned = 0
        self._planned_at = 0.0

    def __getstate__(self) -> dict[str, object]:
        """Of a copy or a pickle: the settings, without run and trainer. A copy records the trainings of its own."""
        running: dict[str, object] = {"_run": None, "_raw_loss": None, "_trainer": None, "_ended": None}
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
            self._guarded("raw_loss", self._listen)

    def on_init_end(self, args: Arguments, state: State, control: object, **others: object) -> None:
        self._guarded("end of training", self._meet)

    def on_train_begin(
        self, args: Arguments, state: State, control: object, *, model: object = None, **others: object
    ) -> None:
        self._left_out.clear()
        self._guarded("run", self._begin, args, state, model)

    def on_epoch_begin(self, args: Arguments, state: State, control: object, **others: object) -> None:
        if self._raw_loss is not None:
            self._raw_loss.take()  # an epoch can end in the middle of a window, which then makes no step

    def on_pre_optimizer_step(self, args: Arguments, state: State, control: object, **others: object) -> None:
        if self._raw_loss is not None:
            self._guarded("raw_loss", self._observe, state.global_step + 1)

    def on_step_end(self, args: Arguments, state: State, control: object, **others: object) -> None:
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
        self._guarded("end of training", self._end, 0, None)

    def _guarded(self, collector: str, act: Callable[..., None], *arguments: object) -> None:
        """The boundary to the training loop: `act(*arguments)`, and if it fails, never again in this training."""
        if collector in self._left_out:
            return
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 - training must go on whatever happens in here
            self._leave_out(collector, error)

    def _leave_out(self, collector: str, error: Exception) -> None:
        self._left_out.add(collector)
        if self._run is None:
            logger.warning("barograph leaves %r out of this training: %s", collector, described(error))
            return
        self._run.collector_failed(collector, error)
        if collector == "raw_loss":
            self._stop_listening()
            self._run.collector("raw_loss", running=False, detail=f"{described(error)}. {LOGGED_INSTEAD}")

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
        resumed_from = _resumed_from(variables.get("resume_from_checkpoint"), args, state)
        interrupted = self._run.id if self._run is not None else None
        self._end(1, "training began again before it had ended")
        self._ended = None
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
        facts = model_facts(model, args, state, resumed_from=resumed_from)
        self._run = open_run(settings, launch=launch, config=config, model=facts)
        state.stateful_callbacks[STATE_KEY] = {"args": {}, "attributes": {"run_id": self._run.id}}
        self._planned, self._planned_at = state.max_steps, time.monotonic()
        if self._writes_metrics:
            self._run.collector("metrics", running=True, detail="What the Trainer logs and evaluates, when it does.")
            self._run.collector("checkpoints", running=True, detail=f"Every checkpoint saved to {facts.output_dir}.")
            self._keep(kept, resumed=state.global_step > 0)
        if trainer is not None:
            self._trainer = weakref.ref(trainer)
            watch(trainer, self)  # it may be a copy, or the callback was added after the trainer was made
        self._guarded("raw_loss", self._listen)

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

    def _listen(self) -> None:
        """Wrap the trainer's step, and say in the run whether the raw loss is recorded."""
        if self._run is None or self._raw_loss is not None:
            return
        trainer = self._attached()
        if trainer is None:
            self._run.collector(
                "raw_loss",
                running=False,
                detail=f"No trainer was found on the stack: call attach(trainer). {LOGGED_INSTEAD}",
            )
            return
        self._raw_loss = RawLoss(trainer, guarded=functools.partial(self._guarded, "raw_loss"))
        step = f"{type(trainer).__name__}.training_step"
        self._run.collector("raw_loss", running=True, detail=f"The sum over the micro-batches of what {step} returns.")

    def _stop_listening(self) -> None:
        if self._raw_loss is not None:
            self._raw_loss.remove()
            self._raw_loss = None

    def _observe(self, step: int) -> None:
        if self._run is not None and self._raw_loss is not None:
            parts = self._raw_loss.take()
            if parts:
                self._run.observe_step(step, parts)

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
        elif self._raw_loss is not None:
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
        if self._run is not None and self._raw_loss is not None and trainer is not None:
            parts = self._raw_loss.take()
            if len(parts) == trainer.args.gradient_accumulation_steps:
                self._run.observe_step(trainer.state.global_step + 1, parts)
        self._end(1, described(error))

    def _end(self, exit_code: int, reason: str | None) -> None:
        self._stop_listening()
        if self._run is not None:
            self._ended, self._run = self._run, None
            self._ended.finish(exit_code, reason)
            if self._kept:
                record_apart(self._ended, self._kept)
                self._kept.clear()

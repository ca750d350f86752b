"""How long training goes on: a share of wall time or of steps that is used up, and what follows from it.

The learning rate, the checkpoints and the end all follow one number, `Pace.progress`. Other load on the machine can
double the time of a step, so a schedule in steps alone would end with the rate still high, or not end in time.
"""

import math
import time
from pathlib import Path

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

FINAL_SHARE = 0.02
"""Share of the peak learning rate at the end."""


class Pace:
    """The share of the training that is over, since this object was made."""

    def __init__(self, *, seconds: float, max_steps: int, warm_up_steps: int) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._max_steps = max_steps
        self._warm_up_steps = warm_up_steps

    def progress(self, step: int) -> float:
        """0 at the start, 1 or more at the end: the greater of the shares of time and of steps."""
        return max((time.monotonic() - self._began) / self._seconds, step / self._max_steps)

    def learning_rate_share(self, step: int) -> float:
        """Share of the peak rate for the step after `step`: linear warm-up, then a cosine over `progress`."""
        warm = min(1.0, (step + 1) / self._warm_up_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress(step))))
        return warm * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)

    def steps_at(self, step_seconds: float) -> int:
        """Steps that fit into the whole time when each takes so long; at least 1."""
        return max(1, round(min(self._max_steps, self._seconds / step_seconds)))

    def planned_steps(self, step: int) -> int:
        """Steps that will have been taken at the end if the rest goes as fast as it went so far."""
        return max(step, round(min(self._max_steps, step / self.progress(step))))


class PaceCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Ends the training, asks for `checkpoints` saves evenly over it, and keeps the planned steps up to date."""

    def __init__(self, pace: Pace, *, checkpoints: int, step_seconds: float) -> None:
        self._pace = pace
        self._checkpoints = checkpoints
        self._step_seconds = step_seconds
        self._saved = 0
        self.last_save = 0
        """Step of the newest checkpoint."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Say how many steps are planned, by the time of a trial step."""
        state.max_steps = self._pace.steps_at(self._step_seconds)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Decide whether this step is saved and whether it is the last."""
        progress = self._pace.progress(state.global_step)
        state.max_steps = self._pace.planned_steps(state.global_step)
        due = min(self._checkpoints, math.floor(progress * self._checkpoints))
        if due > self._saved:
            self._saved = due
            control.should_save = True
        control.should_training_stop = progress >= 1

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Note the step; after the last save, give the Trainer its own number back.

        Its closing samples per second are `args.max_steps * batch * global_step / state.max_steps / seconds`.
        """
        self.last_save = state.global_step
        if self._saved == self._checkpoints:
            state.max_steps = args.max_steps

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """The plan is what was done."""
        state.max_steps = state.global_step


class UntrainedCheckpoint(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Saves the model of step 0 as `checkpoint-0`, a checkpoint like the others, and tells the callbacks of a save."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Save before the first step: by then every callback has seen the training begin."""
        if state.global_step == 0:
            folder = Path(args.output_dir) / "checkpoint-0"
            self._trainer.save_model(str(folder))
            state.save_to_json(str(folder / "trainer_state.json"))
            self._trainer.callback_handler.on_save(args, state, control)

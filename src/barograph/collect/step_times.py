"""The times of a Trainer's steps, by a monotonic clock.

    data wait            the Trainer's `get_batch_samples`
    forward, backward    first micro-batch's `training_step` to the begin of clipping, or of the optimizer's step
    optimizer            `on_pre_optimizer_step` to `on_optimizer_step`

A step's active time is the sum of its wait, of the time from its first micro-batch to its optimizer's step, and of the
optimizer's step *before* it with what the Trainer does at its end: so a step is complete when its loss is, and n steps
have n durations. What lies between is left out: logging, evaluation, saving, pauses, and what others' callbacks do
before and after a step. The first step of a training has no optimizer before it, and is that much too short.

It is the host's clock. On a GPU the host runs ahead, and what the device does shows where the host waits for it: the
whole of a step is right, its parts are the host's.
"""

import time

from barograph.analysis.throughput import StepTiming


class StepTimes:
    """A fold over the marks of one training."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._waits_since: float | None = None
        self._began: float | None = None
        self._clips: float | None = None
        self._optimizer_from: float | None = None
        self._optimizer_s: float | None = None
        self._ending_s = 0.0

    def data_asked(self) -> None:
        """The Trainer asks for the batches of a step."""
        self._waits_since = time.perf_counter()

    def data_there(self) -> None:
        """They are there."""
        if self._waits_since is not None:
            self._waited_s += time.perf_counter() - self._waits_since
            self._waits_since = None

    def micro_batch(self) -> None:
        """A micro-batch begins."""
        if self._began is None:
            self._began = time.perf_counter()

    def clips(self) -> None:
        """The backward passes are done, and clipping begins."""
        self._clips = time.perf_counter()

    def optimizer_begins(
        self, *, batch_size: int | None = None, sequence_length: int | None = None
    ) -> StepTiming | None:
        """The times of the step whose gradients are complete now, without its tokens; None if it was not seen whole."""
        now = time.perf_counter()
        timing = None
        if self._began is not None:
            timing = StepTiming(
                tokens=None,
                seconds=self._waited_s + now - self._began + self._ending_s,
                data_wait_s=self._waited_s,
                forward_backward_s=(self._clips or now) - self._began,
                optimizer_s=self._optimizer_s,
                batch_size=batch_size,
                sequence_length=sequence_length,
            )
        self._waited_s = self._ending_s = 0.0
        self._began = self._clips = self._optimizer_s = None
        self._optimizer_from = time.perf_counter()
        return timing

    def optimizer_ends(self) -> None:
        """The optimizer's step is made."""
        if self._optimizer_from is not None:
            self._optimizer_s = self._ending_s = time.perf_counter() - self._optimizer_from

    def step_ends(self) -> None:
        """The step is complete; what comes before the next batches are asked for belongs to no step."""
        if self._optimizer_from is not None:
            self._ending_s = time.perf_counter() - self._optimizer_from
            self._optimizer_from = None

    def window_is_lost(self) -> None:
        """An epoch ended in the middle of a window, which then makes no step."""
        self._waited_s = 0.0
        self._began = self._clips = None

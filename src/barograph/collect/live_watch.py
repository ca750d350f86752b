"""What watches one attempt of a training beside the loop: the folds, the machine, the status document, the webhook.

Once a second a thread of a few lines puts one entry into the writer's queue; what is due then is done in the writer's
thread, between the lines of the run: the machine's newest sample is recorded after the first second, then every ten
seconds and at the end, and the status document is derived anew and given to the thread that writes it. Nothing here
waits for a disk, a driver or a network.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from barograph.analysis.model_flops import ModelSize, Precision, utilisation
from barograph.analysis.throughput import ThroughputSample
from barograph.analysis.training_status import StatusSample, TrainingStatus, error_of, training_status
from barograph.collect.ending import Ending
from barograph.collect.hardware import EVERY_S, HardwareSampler
from barograph.collect.live_folds import LiveFolds
from barograph.collect.rows import Rows
from barograph.collect.status_file import StatusFile
from barograph.collect.time_budget import TimeBudget, threads_seconds, usual_threads_rate
from barograph.journal import JournalWriter
from barograph.journal.webhook import Webhook
from barograph.journal.writer import described
from barograph.policy.tables import Policy
from barograph.records import Alert, Banner, Batch, CollectorFailed, Hardware, Notification, Record
from barograph.records.quantities import RunStateWord

PULSE_S = 1.0
PULSE_LOST_S = 5.0
"""Seconds after which the entry before is not waited for any more: a writer that has lost one must not be the end."""

THREADS_EVERY_S = 5.0
"""Seconds between two looks at what our threads cost."""

STATUS_COSTS = 5000.0
"""Between two status documents lies so many times what one takes to derive, and a second at least."""

STATUS_AT_MOST_S = 10.0
"""Seconds that a status document is old at most; an alert that fires has one derived at the next pulse."""

MEASURED = tuple(field for field in Hardware.__struct_fields__ if field not in {"time", "step", "why"})
"""Fields of a sample of the machine that say something of it."""

SAMPLES = 60
"""Samples of hardware that are kept for the status document."""


class LiveWatch:
    """Owns the threads beside the writer's, from `begin` to `end`, and the folds that run in the writer's."""

    def __init__(
        self,
        run: Path,
        banner: Banner,
        policy: Policy,
        *,
        rows: Rows,
        stop_on: Collection[str] = (),
    ) -> None:
        """`run` is the run's folder. `stop_on`: conditions whose alerts ask for the end of training."""
        self.budget = TimeBudget({"layers": 0.75, "token_statistics": 0.25}, threads_rate=usual_threads_rate())
        self._banner = banner
        self._process = os.getpid()
        # One rank speaks for all of the machine, the status document and the notifications.
        first = not banner.rank
        self._webhook = Webhook.from_environment(os.environ, on_result=self._notified) if first else None
        self.folds = LiveFolds(
            policy,
            rows=rows,
            budget=self.budget,
            total_steps=banner.total_steps,
            processes=banner.world_size,
            stop_on=stop_on,
            told=None if self._webhook is None else self._tell,
        )
        self._sampler = HardwareSampler(run) if first else None
        self._status = StatusFile(run) if first else None
        self._status_failed = False
        self._writer: JournalWriter | None = None
        self._hardware_at = -EVERY_S
        self._threads_at = self._status_at = 0.0
        self._fired = 0
        self._vram: deque[Hardware] = deque(maxlen=SAMPLES)
        self._utilisation: Callable[[float | None], float | None] | None = None
        self._pulsed_at: float | None = None  # None once that entry was seen
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="barograph-pulse", daemon=True)

    def begin(self, writer: JournalWriter) -> None:
        """Start to watch; what is recorded goes to `writer`."""
        self._writer = writer
        if self._sampler is not None:
            self._sampler.start()
        self._thread.start()

    def end(self, ending: Ending, batch: Callable[[int], Batch | None] | None) -> None:
        """The training has ended: stop the threads, and have the last lines written. Called before the line that says
        that the run is complete. Waits at most a few seconds, for a webhook that has something to send.

        In a forked child, which has none of the threads and may have their locks, there is nothing to do.
        """
        if os.getpid() != self._process:
            return
        self._stopping.set()
        if self._sampler is not None:
            self._sampler.stop()
        writer = self._writer
        if writer is None:
            return
        writer.append(None, self._last_lines, ending, batch)
        if self._webhook is not None:
            writer.flush(1.0)
            self._webhook.close()

    def close(self) -> None:
        """Have the last status document written."""
        if os.getpid() == self._process and self._status is not None:
            self._status.close()

    def measure(self, size: ModelSize, device: str | None, precision: Precision | None) -> list[Record]:
        """From now on, say what share of the device's arithmetic is used. Called in the writer's thread."""
        found = utilisation(1.0, size=size, device=device, precision=precision)
        if found.mfu is None:
            return self.folds.unavailable("mfu", found.why)

        def share(tokens_per_sec: float | None) -> float | None:
            return utilisation(tokens_per_sec, size=size, device=device, precision=precision).mfu

        self._utilisation = share
        return []

    def _live(self) -> None:
        while not self._stopping.wait(PULSE_S):
            writer = self._writer
            now, before = time.monotonic(), self._pulsed_at
            if writer is not None and (before is None or now - before >= PULSE_LOST_S):
                self._pulsed_at = now
                writer.append(None, self._pulse)

    def _pulse(self) -> list[Record]:
        """What is due now, in the writer's thread."""
        self._pulsed_at = None
        said = self.folds.caught_up()
        now = time.monotonic()
        if now - self._threads_at >= THREADS_EVERY_S:
            self._threads_at = now
            self.budget.threads_s = threads_seconds()
        if now - self._hardware_at >= EVERY_S:
            said += self._look_at_machine(now)
        if self._utilisation is not None and self.folds.watch is not None:
            self.folds.utilised(self._utilisation(self.folds.watch.throughput.current))
        if now >= self._status_at or self.folds.fired != self._fired:
            self._fired = self.folds.fired
            began = time.monotonic()
            said += self._offer("training", None)
            self._status_at = now + min(STATUS_AT_MOST_S, STATUS_COSTS * (time.monotonic() - began))
        return said

    def _look_at_machine(self, now: float) -> list[Record]:
        """What the machine says of itself, if it has said anything."""
        if self._sampler is None:
            return []
        sample = self._sampler.newest(self.folds.last_step)
        if not any(getattr(sample, field) is not None for field in MEASURED):
            return []
        self._hardware_at = now
        self._vram.append(sample)
        return self.folds.hardware(sample)

    def _last_lines(self, ending: Ending, batch: Callable[[int], Batch | None] | None) -> list[Record]:
        now = time.monotonic()
        # One from a moment ago would say the same again.
        said = self._look_at_machine(now) if now - self._hardware_at >= PULSE_S else []
        said += self.folds.end()
        while batch is not None and self.folds.wanted:
            found = batch(self.folds.wanted.popleft())
            if found is not None:
                said.append(found)
        crashed = ending.exit_code not in (None, 0)
        return said + self._offer("crashed" if crashed else "completed", ending.reason)

    def _offer(self, status: RunStateWord, error: str | None) -> list[Record]:
        """Derive the status document, and give it to the thread that writes it; if that fails, say so, once."""
        if self._status is None or self._status_failed:
            return []
        try:
            self._status.offer(self._document(status, error))
        except Exception as failure:  # noqa: BLE001 - the document is for others; the log must not wait for it
            self._status_failed = True
            return [CollectorFailed(time=time.time(), name="status", error=described(failure))]
        return []

    def _document(self, status: RunStateWord, error: str | None) -> TrainingStatus:
        folds, watch = self.folds, self.folds.watch
        step = folds.last_step
        failure = error_of(error)
        return training_status(
            status=status,
            now=time.time(),
            signals=None if watch is None or step is None else watch.signals(step, time.time()),
            loss=folds.last_loss,
            step=step,
            total_steps=self._banner.total_steps if watch is None else watch.total_steps,
            epoch=folds.newest.get("train/epoch", folds.newest.get("epoch")),
            model_name=self._banner.model_name,
            alerts=None if watch is None else watch.active,
            summary=None if watch is None else watch.layer_activity.summary(),
            rows=None if watch is None else watch.layer_activity.rows(),
            samples=None if watch is None else self._samples(watch.throughput.samples()),
            metrics={name.rpartition("/")[2]: value for name, value in folds.newest.items()},
            error_message=failure.message,
            error_type=failure.type,
            why=failure.why,
        )

    def _samples(self, samples: Sequence[ThroughputSample]) -> list[StatusSample]:
        """Throughput beside the memory that was in use then."""
        return [status_sample(one, self._vram) for one in samples]

    def _tell(self, alert: Alert) -> None:
        if self._webhook is not None:
            self._webhook.send(alert, self._banner.run)

    def _notified(self, notification: Notification) -> None:
        if self._writer is not None:
            self._writer.append(None, _itself, notification)


def status_sample(sample: ThroughputSample, hardware: Collection[Hardware]) -> StatusSample:
    """A sample of throughput with the memory of the fullest GPU, by the newest sample of the machine before it."""
    before = [one for one in hardware if sample.time is not None and one.time <= sample.time and one.gpus]
    gpus = before[-1].gpus or [] if before else []
    used = max((gpu.vram_used_gb for gpu in gpus if gpu.vram_used_gb is not None), default=None)
    pct = max((gpu.vram_pct for gpu in gpus if gpu.vram_pct is not None), default=None)
    when = None if sample.time is None else time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(sample.time))
    return StatusSample(
        timestamp=when,
        step=sample.step,
        tokens_per_sec=sample.tokens_per_sec,
        vram_used_gb=used,
        vram_pct=pct,
        batch_size=sample.batch_size,
        sequence_length=sample.sequence_length,
    )


def _itself(record: Record) -> Record:
    return record

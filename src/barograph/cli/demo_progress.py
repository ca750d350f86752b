"""What the demo tells the terminal: a fold over the run's journal, and the verdicts at its end."""

import math
import time
from pathlib import Path

from barograph.analysis.finite_losses import finite_losses
from barograph.analysis.layer_drift import layer_drift
from barograph.analysis.weight_stability import weight_stability
from barograph.journal import TailReader, layout
from barograph.policy import Policy, exact_match_gain, loss_finite, parameter_stability
from barograph.policy import layer_drift as drift_verdict
from barograph.policy import weight_stability as stability_verdict
from barograph.records import (
    Checkpoint,
    CollectorFailed,
    ExactMatch,
    Job,
    Record,
    Step,
    TensorPass,
    Verdict,
    WeightsPass,
)
from barograph.records.codec import Unknown
from barograph.tasks import TASKS


class DemoProgress:
    """A fold over every journal file of a run, read on from where the last `update` ended."""

    def __init__(self, root: Path, run: str) -> None:
        self._root = root
        self._run = root / run
        self._readers: dict[Path, TailReader] = {}
        self._curve: dict[int, float] = {}
        self._matches: dict[tuple[str, str, str], list[ExactMatch]] = {}
        self._saved: set[int] = set()
        self._read: set[str] = set()
        self._rows: list[TensorPass] = []
        self._newest: list[TensorPass] = []
        self.failures: list[str] = []
        """What collectors or the evaluation could not do."""

    def update(self) -> None:
        """Read what is new."""
        for file in layout.journal_files(self._run):
            reader = self._readers.setdefault(file.path, TailReader(self._root, file.path))
            more = True
            while more:
                batch = reader.read()
                more = batch.more
                for entry in batch.entries:
                    self._take(entry.record)

    def close(self) -> None:
        """Close every file."""
        for reader in self._readers.values():
            reader.close()

    @property
    def step(self) -> int | None:
        """Newest step with a loss, None before the first."""
        return max(self._curve, default=None)

    @property
    def saved(self) -> int:
        """Checkpoints that were saved."""
        return len(self._saved)

    @property
    def read(self) -> int:
        """Checkpoints whose weights were read, or could not be."""
        return len(self._read)

    @property
    def evaluated(self) -> int:
        """Checkpoints with a result."""
        return len({match.step for found in self._matches.values() for match in found})

    @property
    def loss(self) -> float | None:
        """Mean of the finite losses among the newest 20, nats; None while there is none."""
        newest = [self._curve[step] for step in sorted(self._curve)[-20:] if math.isfinite(self._curve[step])]
        return sum(newest) / len(newest) if newest else None

    def results(self) -> list[tuple[ExactMatch, ExactMatch]]:
        """For each task and level under the plain regime: the first and the newest result."""
        return [
            (min(found, key=lambda match: match.step), max(found, key=lambda match: match.step))
            for (_, _, regime), found in self._matches.items()
            if regime == "plain_sft"
        ]

    def verdicts(self, policy: Policy) -> list[Verdict]:
        """The verdicts on the run: its losses, and what the easiest level of each task gained."""
        now = time.time()
        steps = sorted(self._curve)
        losses = finite_losses(steps, (self._curve[step] for step in steps))
        easiest = {(task.name, task.levels[0]) for task in TASKS}
        gains = [
            exact_match_gain(first, newest, policy=policy, now=now)
            for first, newest in self.results()
            if (newest.task, newest.level) in easiest
        ]
        return [
            loss_finite(losses, policy=policy, now=now),
            *(gains or [exact_match_gain(None, None, policy=policy, now=now)]),
            *self._of_weights(policy, now=now),
        ]

    def _of_weights(self, policy: Policy, *, now: float) -> list[Verdict]:
        """The verdicts on the newest checkpoint that was compared with the first one."""
        if not any(row.state == "compared" for row in self._newest):
            return []
        drift = layer_drift(self._newest, pattern_ratio=policy.layer_drift.pattern_ratio)
        stability = parameter_stability(weight_stability(self._newest), policy=policy)
        return [
            drift_verdict(drift, policy=policy, now=now),
            stability_verdict(stability, policy=policy, now=now),
        ]

    def _take(self, record: Record | Unknown) -> None:
        if isinstance(record, Step) and record.loss is not None:
            self._curve[record.step] = record.loss
        elif isinstance(record, Checkpoint):
            self._saved.add(record.step)
        elif isinstance(record, ExactMatch):
            self._matches.setdefault((record.task, record.level, record.regime), []).append(record)
        elif isinstance(record, TensorPass):
            self._rows.append(record)
        elif isinstance(record, WeightsPass):
            self._newest, self._rows = self._rows[-record.tensors :], []
        elif isinstance(record, Job) and record.state in ("done", "failed"):
            self._read.add(record.path)
            if record.state == "failed":
                self.failures.append(f"watch: {record.checkpoint}: {record.reason}")
        elif isinstance(record, CollectorFailed):
            self.failures.append(f"{record.name}: {record.error}")

"""The text of `GET /metrics`: what Prometheus reads of every run (text format 0.0.4).

Written out here rather than through the client library: that takes seven times as long for 5,000 runs, and everything
it does besides, registering and counting, is no use to values that are read from an index. The tests read the text with
the library's own parser.

Names follow Prometheus: base units, `_seconds`, `_bytes`, `_ratio`, `_info`. What was not recorded has no sample, and a
loss that is no number is `NaN`. Learning rate and throughput are of runs that go on: a run that ended has none.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from msgspec import Struct

from barograph.index import Index, Snapshot, query
from barograph.index.query import Source
from barograph.policy import Policy, load
from barograph.records import Alert
from barograph.records.quantities import AlertLevel, RunStateWord
from barograph.records.signals import Gpu
from barograph.views.alerts import alert_rows
from barograph.views.documents import TrainingHost
from barograph.views.hosts import training_host
from barograph.views.monitor_documents import AlertRow
from barograph.views.summary import NewestAttempt, newest_attempt, state_of

MEDIA_TYPE = "text/plain; version=0.0.4"
"""Its `charset` is added where it is sent."""
_STATES: tuple[RunStateWord, ...] = get_args(RunStateWord)
_LEVELS: tuple[AlertLevel, ...] = get_args(AlertLevel)
_GOING_ON = ("training", "paused")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Labels = Mapping[str, str]


class Sample(Struct, frozen=True):
    """One number."""

    value: float
    """What was measured; NaN and infinities are values."""
    labels: Labels = {}
    """What it was measured of."""


class Family(Struct, frozen=True, kw_only=True):
    """All samples of one name."""

    name: str
    """Without labels."""
    said: str
    """What it is, one sentence on one line."""
    kind: Literal["gauge", "counter"] = "gauge"
    """Whether it only ever grows."""
    samples: list[Sample]
    """In the order of the runs."""


def metrics(index: Index, *, policy: Policy | None = None, now: float | None = None) -> list[Family]:
    """What the index says of all runs; a family without samples is left out. `now` is the time of the text."""
    now = time.time() if now is None else now
    crashed_after_s = (policy or load()).run_state.crashed_after_s
    with index.snapshot() as snapshot:
        fold = _Runs()
        for run, sources in query.sources_by_run(snapshot).items():
            fold.update(snapshot, run, sources, now=now, crashed_after_s=crashed_after_s)
        ready = Sample(float(snapshot.ready))
    families = [
        Family(name="barograph_index_ready", said="Whether everything under the root is indexed.", samples=[ready]),
        Family(name="barograph_runs", said="Runs under the root.", samples=[Sample(fold.count)]),
        *fold.families(),
        *gpu_families(fold.hosts),
    ]
    return [family for family in families if family.samples]


_SAID = {
    "barograph_run_info": "What the run says of itself; always 1.",
    "barograph_run_state": "1 for the state that the run is in, 0 for the others.",
    "barograph_run_attempt": "Newest attempt.",
    "barograph_run_step": "Newest step.",
    "barograph_run_planned_steps": "Steps that were planned.",
    "barograph_run_loss": "Newest training loss, nats.",
    "barograph_run_learning_rate": "Newest learning rate, of a run that goes on.",
    "barograph_run_tokens_per_second": "Newest throughput, of a run that goes on.",
    "barograph_run_heartbeat_age_seconds": "Seconds since the training writer was last heard.",
    "barograph_run_alerts": "Alerts of the newest attempt, by level.",
    "barograph_run_alerts_firing": "Those of them that are not over.",
}


class _Runs:
    """A fold over the runs: the samples of each family."""

    def __init__(self) -> None:
        self.count = 0
        self.hosts: dict[str, TrainingHost] = {}
        self._samples: dict[str, list[Sample]] = {name: [] for name in _SAID}

    def update(
        self, snapshot: Snapshot, run: str, sources: Sequence[Source], *, now: float, crashed_after_s: float
    ) -> None:
        """Take one run in."""
        self.count += 1
        newest = newest_attempt(sources)
        state = state_of(newest, now=now, crashed_after_s=crashed_after_s)
        labels = {"run": run}
        add = self._samples
        add["barograph_run_info"].append(Sample(1, labels | _about(newest)))
        add["barograph_run_state"] += [Sample(word == state.state, {**labels, "state": word}) for word in _STATES]
        if newest is None:
            return
        values: dict[str, float | None] = {
            "barograph_run_attempt": newest.attempt,
            "barograph_run_step": newest.current_step,
            "barograph_run_planned_steps": newest.total_steps,
            "barograph_run_loss": newest.loss.value if newest.loss else None,
            "barograph_run_heartbeat_age_seconds": newest.silent_s(now),
        }
        if state.state in _GOING_ON:
            values["barograph_run_learning_rate"] = _logged(snapshot, run, newest, "learning_rate")
            values["barograph_run_tokens_per_second"] = _logged(snapshot, run, newest, "tokens_per_sec")
        for name, value in values.items():
            if value is not None:
                add[name].append(Sample(value, labels))
        alerts = _alerts(snapshot, run, sources, newest, now=now, crashed_after_s=crashed_after_s)
        for name, rows in alerts.items():
            counts = Counter(row.level for row in rows)
            add[name] += [Sample(counts[level], {**labels, "level": level}) for level in _LEVELS]
        host = training_host(newest, state, now=now)
        if host.gpus is not None:
            self.hosts[run] = host

    def families(self) -> Iterable[Family]:
        """The families, in their order."""
        return (Family(name=name, said=_SAID[name], samples=samples) for name, samples in self._samples.items())


def gpu_families(hosts: Mapping[str, TrainingHost]) -> list[Family]:
    """The GPUs of each run's machine, where they were measured; in base units."""
    found: dict[str, list[Sample]] = {name: [] for name in _GPU_SAID}
    for run, host in hosts.items():
        for gpu in host.gpus or ():
            labels = {"run": run, "host": host.name or "", "gpu": str(gpu.index), "name": gpu.name or ""}
            for name, value in _gpu_values(gpu).items():
                if value is not None:
                    found[name].append(Sample(value, labels))
    return [Family(name=name, said=_GPU_SAID[name], samples=samples) for name, samples in found.items() if samples]


_GPU_SAID = {
    "barograph_gpu_temperature_celsius": "Temperature.",
    "barograph_gpu_utilization_ratio": "Utilisation, 0 to 1.",
    "barograph_gpu_memory_used_bytes": "Memory in use.",
    "barograph_gpu_memory_bytes": "Memory.",
    "barograph_gpu_power_watts": "Power draw.",
}


def _gpu_values(gpu: Gpu) -> dict[str, float | None]:
    return {
        "barograph_gpu_temperature_celsius": gpu.temp_c,
        "barograph_gpu_utilization_ratio": None if gpu.util_pct is None else gpu.util_pct / 100,
        "barograph_gpu_memory_used_bytes": None if gpu.vram_used_gb is None else gpu.vram_used_gb * 1e9,
        "barograph_gpu_memory_bytes": None if gpu.vram_total_gb is None else gpu.vram_total_gb * 1e9,
        "barograph_gpu_power_watts": gpu.power_w,
    }


def exposition(families: Sequence[Family]) -> bytes:
    """The families in the text format; label values may be any text."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.said}\n# TYPE {family.name} {family.kind}\n")
        lines += [f"{family.name}{_spelled_labels(one.labels)} {_spelled(one.value)}\n" for one in family.samples]
    return "".join(lines).encode("utf-8", "replace")


def _spelled_labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()]) + "}"


def _spelled(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")


def _about(newest: NewestAttempt | None) -> dict[str, str]:
    """Labels of `run_info`; an empty one is the same as none to Prometheus."""
    banner = newest.banner if newest else None
    if banner is None:
        return {}
    said = {
        "project": banner.project,
        "name": banner.name,
        "group": banner.group,
        "model": banner.model_name,
        "host": banner.host,
    }
    return {name: value for name, value in said.items() if value}


def _logged(snapshot: Snapshot, run: str, newest: NewestAttempt, field: str) -> float | None:
    """The newest value that the newest attempt logged under a name, as the live document takes it."""
    for name in (f"train/{field}", field):
        points = query.newest_points(snapshot, run, name, attempt=newest.attempt, count=1)
        if len(points.values):
            return float(points.values[0])
    return None


def _alerts(
    snapshot: Snapshot,
    run: str,
    sources: Sequence[Source],
    newest: NewestAttempt,
    *,
    now: float,
    crashed_after_s: float,
) -> dict[str, list[AlertRow]]:
    """Family -> the alerts that it counts; no family where none was recorded."""
    latest = [source for source in sources if source.state.attempt == newest.attempt]
    if not query.events(snapshot, run, Alert, among=latest, limit=1):
        return {}
    rows = alert_rows(snapshot, run, latest, now=now, crashed_after_s=crashed_after_s)
    firing = [row for row in rows if row.state in ("firing", "recovering")]
    return {"barograph_run_alerts": rows, "barograph_run_alerts_firing": firing}

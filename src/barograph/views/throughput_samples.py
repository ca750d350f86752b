"""The document of `GET /api/throughput/samples`: how fast steps were, and how full the GPU was then."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from barograph.analysis.training_status import StatusSample
from barograph.index import Index, Snapshot, query
from barograph.index.points import Points
from barograph.records.quantities import Attempt
from barograph.views.hosts import hardware_of
from barograph.views.monitor_documents import ThroughputSamples
from barograph.views.summary import newest_attempt, run_that_moved_last
from barograph.views.times import document_time, iso

MOST = 1_000

_TOKENS, _SECONDS = "throughput/tokens", "throughput/step_seconds"
_SHAPE = ("throughput/batch_size", "throughput/sequence_length")
_VRAM = ("vram_used_gb", "vram_pct")


def throughput_samples(
    index: Index, run: str | None = None, *, limit: int = 200, now: float | None = None
) -> ThroughputSamples:
    """The newest `limit` samples of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    samples: list[StatusSample] = []
    why: dict[str, str] = {}
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        newest = newest_attempt([] if run is None else query.sources(snapshot, run))
        if run is not None and newest is not None:
            samples = newest_samples(snapshot, run, newest.attempt, limit=limit)
            hardware = hardware_of(newest.parts)
            gpus = None if hardware is None else hardware.gpus
            signals = next((part.signals for part in reversed(newest.parts) if part.signals is not None), None)
            unsaid = {} if signals is None else signals.why
            no_gpu = "this machine has no GPU" if gpus == [] else "no GPU was measured"
            why = {
                "samples": unsaid.get("tokens_per_sec", f"attempt {newest.attempt} has logged no throughput yet"),
                **dict.fromkeys(_VRAM, no_gpu),
                **dict.fromkeys(("batch_size", "sequence_length"), "the batches do not say it"),
                "timestamp": "the rows of these steps have no usable time",
                "tokens_per_sec": "the tokens of these steps are not known",
            }
    if not samples:
        said = "there is no run" if run is None else "the run has no training attempt"
        why = {"samples": why.get("samples", said)}
    else:
        fields = [name for name in StatusSample.__struct_fields__ if name != "step"]
        why = {name: why[name] for name in fields if all(getattr(one, name) is None for one in samples)}
    return ThroughputSamples(run=run, samples=samples, timestamp=document_time(now), why=why)


def newest_samples(snapshot: Snapshot, run: str, attempt: Attempt, *, limit: int) -> list[StatusSample]:
    """The newest `limit` samples of one attempt, oldest first; each rate is that of its step."""
    gpus = [name for name in query.series_names(snapshot, run) if name.startswith("hardware/gpu")]
    full = {field: [name for name in gpus if name.endswith(f"/{field}")] for field in _VRAM}
    wanted = [_TOKENS, _SECONDS, *_SHAPE, *full["vram_used_gb"], *full["vram_pct"]]
    found = query.newest_points_of(snapshot, run, wanted, attempt=attempt, count=limit)
    seconds = found[_SECONDS]
    if not len(seconds.steps):
        return []
    steps = seconds.steps
    tokens = _at_step(found[_TOKENS], steps)
    rates = np.divide(tokens, seconds.values, out=np.full(len(steps), np.nan), where=seconds.values > 0.0)
    times = query.times_of_steps(snapshot, run, steps, attempt=attempt)
    batch, length = (_before_step(found[name], steps) for name in _SHAPE)
    used, share = (_fullest([_before_step(found[name], steps) for name in full[field]], len(steps)) for field in _VRAM)
    return [
        StatusSample(
            timestamp=iso(float(times[place])),
            step=int(steps[place]),
            tokens_per_sec=_number(rates[place]),
            vram_used_gb=_number(used[place]),
            vram_pct=_number(share[place]),
            batch_size=_count(batch[place]),
            sequence_length=_count(length[place]),
        )
        for place in range(len(steps))
    ]


def _at_step(points: Points, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values of just those steps; NaN where a step has none."""
    by_step = dict(zip(points.steps.tolist(), points.values.tolist(), strict=True))
    return np.array([by_step.get(step, np.nan) for step in steps.tolist()])


def _before_step(points: Points, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """The newest value at or before each step: a machine is asked less often than steps are made, and the shape of
    batches is recorded where it changes."""
    if not len(points.steps):
        return np.full(len(steps), np.nan)
    places = np.searchsorted(points.steps, steps, side="right") - 1
    found: NDArray[np.float64] = np.where(places >= 0, points.values[np.maximum(places, 0)], np.nan)
    return found


def _fullest(gpus: Sequence[NDArray[np.float64]], count: int) -> NDArray[np.float64]:
    """The greatest over the GPUs; NaN where none has a value."""
    found = np.full(count, np.nan)
    for values in gpus:
        found = np.fmax(found, values)
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _count(value: float) -> int | None:
    return round(value) if np.isfinite(value) else None

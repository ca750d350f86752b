"""The documents about checkpoints: the list with its heatmap, one checkpoint, the tensors of one of its layers.

A checkpoint is known because the run said that it saved it, because a watcher has a job for it, or because it was read.
The three are told apart, so that "not read yet" never looks like "did not move".
"""

import math
import time
from collections.abc import Sequence

from msgspec import Struct

from barograph.analysis.blocks import REST, blocks
from barograph.analysis.tensor_drift import tensor_drift
from barograph.errors import UnknownCheckpoint
from barograph.index import Index, Snapshot, query
from barograph.index.lock import WATCH as WATCH_LOCK
from barograph.index.lock import is_held
from barograph.index.passes import tensor_passes
from barograph.index.place import shared_place
from barograph.index.query import Source
from barograph.policy import Policy, drift_band, drift_colour, load
from barograph.records import Checkpoint, Job
from barograph.records.quantities import Attempt, Step
from barograph.views.run_detail import checkpoint_name
from barograph.views.summary import hidden_from, run_that_moved_last
from barograph.views.times import document_time, iso
from barograph.views.weight_documents import (
    CheckpointDetail,
    Checkpoints,
    CheckpointState,
    CheckpointTensors,
    CheckpointWeights,
    Jobs,
)
from barograph.views.weights import (
    Judged,
    Measured,
    checkpoint_id,
    is_superseded,
    judged,
    measured_checkpoints,
    newest_of,
    place,
)

WATCH = "watch"
"""The writer of jobs and passes."""


class Saved(Struct, frozen=True, kw_only=True):
    """A checkpoint as the run told of it."""

    checkpoint: Checkpoint
    """Its line."""
    attempt: Attempt
    """Attempt that saved it."""


class Told(Struct, frozen=True, kw_only=True):
    """The newest word about a job, and whether who said it still lives."""

    job: Job
    """Its line."""
    attempt: Attempt
    """Attempt whose checkpoint it is about."""
    heard: bool
    """Whether the watcher that said it is heard."""


class KnownCheckpoints(Struct, frozen=True, kw_only=True):
    """Everything that the journals of a run say of its checkpoints."""

    run: str
    """Its name."""
    saved: dict[str, Saved]
    """Folder -> the newest word that it was saved."""
    jobs: dict[str, Told]
    """Folder -> the newest word about a job."""
    measured: list[Measured]
    """Those that were read, by step."""
    hidden: dict[Attempt, Step]
    """From which step on an attempt is hidden."""
    watching: bool
    """Whether a watcher is heard."""


def known_checkpoints(snapshot: Snapshot, run: str, *, policy: Policy, now: float) -> KnownCheckpoints:
    """What is known of a run's checkpoints. Raises `UnknownRun` or `IndexDamaged`."""
    sources = query.sources(snapshot, run)
    saved: dict[str, Saved] = {}
    jobs: dict[str, Told] = {}
    alive = {source.id: _is_heard(source, policy=policy, now=now) for source in sources}
    for source in sources:
        attempt = source.state.attempt
        for checkpoint in query.events(snapshot, run, Checkpoint, among=[source])[::-1]:
            saved[checkpoint.path] = Saved(checkpoint=checkpoint, attempt=attempt)
        for job in query.events(snapshot, run, Job, among=[source])[::-1]:
            before = jobs.get(job.path)
            if before is None or before.job.time <= job.time:
                jobs[job.path] = Told(job=job, attempt=attempt, heard=alive[source.id])
    steps = {path: one.checkpoint.step for path, one in saved.items()}
    return KnownCheckpoints(
        run=run,
        saved=saved,
        jobs=jobs,
        measured=measured_checkpoints(snapshot, run, sources, steps=steps, policy=policy),
        hidden=hidden_from(sources),
        watching=is_held(shared_place(snapshot.root).folder, name=WATCH_LOCK)
        or any(alive[source.id] for source in sources if source.state.writer == WATCH),
    )


def checkpoints(
    index: Index, run: str | None = None, *, policy: Policy | None = None, now: float | None = None
) -> Checkpoints:
    """The checkpoints of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    policy = policy or load()
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        known = None if run is None else known_checkpoints(snapshot, run, policy=policy, now=now)
        rows = [] if known is None else _rows(known, policy=policy)
        newest = None if known is None else newest_of(known.measured)
        told = [] if known is None else known.jobs.values()
        return Checkpoints(
            run=run,
            layers=[] if known is None else _layers(known.measured),
            checkpoints=rows,
            newest=None if newest is None else checkpoint_id(newest.stored.summary.path),
            jobs=Jobs(
                watching=known is not None and known.watching,
                pending=sum(one.job.state == "planned" for one in told),
                running=sum(one.job.state == "started" and one.heard for one in told),
                failed=sum(one.job.state == "failed" for one in told),
            ),
            yellow_from=policy.layer_drift.yellow_from,
            red_above=policy.layer_drift.red_above,
            policy=policy.name,
            timestamp=document_time(now),
        )


def checkpoint_detail(
    index: Index, run: str, checkpoint: str, *, policy: Policy | None = None, now: float | None = None
) -> CheckpointDetail:
    """One checkpoint by its id, or `newest`. Raises `UnknownRun` or `UnknownCheckpoint`."""
    now = time.time() if now is None else now
    policy = policy or load()
    with index.snapshot() as snapshot:
        known = known_checkpoints(snapshot, run, policy=policy, now=now)
        path = _path_of(known, checkpoint)
        row = next(one for one in _rows(known, policy=policy) if one.path == path)
        measured = next((one for one in known.measured if one.stored.summary.path == path), None)
        documents = None if measured is None else judged(measured, known.measured, policy=policy)
        reason = row.reason or "its weights were not read"
        return CheckpointDetail(
            run=run,
            checkpoint=row,
            layer_drift=documents.drift if documents else None,
            parameter_stability=documents.stability if documents else None,
            timestamp=document_time(now),
            why=documents.why if documents else {"layer_drift": reason, "parameter_stability": reason},
        )


def checkpoint_tensors(
    index: Index, run: str, checkpoint: str, *, layer: int, policy: Policy | None = None, now: float | None = None
) -> CheckpointTensors:
    """The tensors of one layer of a checkpoint. Raises `UnknownRun`, or `UnknownCheckpoint` also if it was not read."""
    now = time.time() if now is None else now
    with index.snapshot() as snapshot:
        known = known_checkpoints(snapshot, run, policy=policy or load(), now=now)
        path = _path_of(known, checkpoint)
        measured = next((one for one in known.measured if one.stored.summary.path == path), None)
        rows = [] if measured is None else tensor_passes(snapshot, measured.stored)
        if measured is None or not rows:
            raise UnknownCheckpoint("Its weights were not read", advice="A watcher reads them: barograph watch")
        of = blocks(rows)
        if layer not in of.values():
            raise UnknownCheckpoint(f"It has no layer {layer}", advice="Its document lists the layers that it has")
        return CheckpointTensors(
            run=run,
            checkpoint=measured.stored.summary.checkpoint,
            step=measured.step,
            reference=measured.stored.summary.reference,
            layer=layer,
            tensors=tensor_drift(row for row in rows if of[row.tensor] == layer),
            timestamp=document_time(now),
        )


def _path_of(known: KnownCheckpoints, checkpoint: str) -> str:
    """The folder of an id. Raises `UnknownCheckpoint`."""
    if checkpoint == "newest":
        newest = newest_of(known.measured)
        if newest is not None:
            return newest.stored.summary.path
    read = {one.stored.summary.path for one in known.measured}
    for path in (*known.saved, *known.jobs, *read):
        if checkpoint_id(path) == checkpoint:
            return path
    raise UnknownCheckpoint(
        f"Run {known.run!r} has no checkpoint {checkpoint[:100]!r}",
        advice="The list of its checkpoints has those that there are",
    )


def _is_heard(source: Source, *, policy: Policy, now: float) -> bool:
    """Whether a writer has not ended and was heard lately, by this machine's clock."""
    return source.state.complete is None and now - source.grown_ns / 1e9 <= policy.run_state.crashed_after_s


def _layers(measured: Sequence[Measured]) -> list[int]:
    """The layers that any checkpoint has: blocks, then the rest."""
    found = {layer for one in measured for layer in (*_drifts(one), *_norms(one))}
    return [*sorted(found - {REST}), *([REST] if REST in found else [])]


def _drifts(one: Measured) -> dict[int, float]:
    return {} if one.drift is None else {layer.layer_idx: layer.relative_change for layer in one.drift.layers}


def _norms(one: Measured) -> dict[int, float]:
    return {} if one.stability is None else {layer.layer_idx: layer.weight_norm for layer in one.stability.layers}


def _rows(known: KnownCheckpoints, *, policy: Policy) -> list[CheckpointWeights]:
    """One row per folder that anybody speaks of, by step."""
    layers = _layers(known.measured)
    read = {one.stored.summary.path: one for one in known.measured}
    rows = []
    for path in dict.fromkeys((*known.saved, *known.jobs, *read)):
        measured = read.get(path)
        documents = None if measured is None else judged(measured, known.measured, policy=policy)
        rows.append(_row(path, known, measured, documents, layers=layers, policy=policy))
    return sorted(rows, key=lambda row: place(row.step, row.attempt, row.path))


def _row(
    path: str,
    known: KnownCheckpoints,
    measured: Measured | None,
    documents: Judged | None,
    *,
    layers: Sequence[int],
    policy: Policy,
) -> CheckpointWeights:
    saved, told = known.saved.get(path), known.jobs.get(path)
    summary = None if measured is None else measured.stored.summary
    attempt = saved.attempt if saved else measured.stored.attempt if measured else told.attempt if told else 1
    step = saved.checkpoint.step if saved else measured.step if measured else told.job.step if told else None
    name = checkpoint_name(saved.checkpoint) if saved else summary.checkpoint if summary else ""
    state, reason = _state(told, measured, documents, watching=known.watching)
    drifts = {} if measured is None else _drifts(measured)
    norms = {} if measured is None else _norms(measured)
    changes = [drifts.get(layer, math.nan) for layer in layers]
    total = documents.drift.total_relative_change if documents and documents.drift else math.nan
    stability = documents.stability.summary if documents and documents.stability else None
    return CheckpointWeights(
        id=checkpoint_id(path),
        name=name or (told.job.checkpoint if told else path),
        step=step,
        attempt=attempt,
        path=path,
        saved=iso(saved.checkpoint.time) if saved else None,
        superseded=is_superseded(step, attempt, hidden=known.hidden),
        state=state,
        reason=reason,
        analysed=iso(summary.time) if summary else None,
        seconds=summary.seconds if summary else None,
        reference=summary.reference if summary else None,
        reference_origin=summary.reference_origin if summary else None,
        adapter=summary.adapter if summary else None,
        total_relative_change=_finite(total),
        band=drift_band(total, policy=policy),
        pattern=documents.drift.summary.pattern if documents and documents.drift else None,
        health=stability.health_status if stability else None,
        alerts=stability.total_alerts if stability else None,
        relative_change=[_finite(change) for change in changes] if drifts else [],
        colours=[drift_colour(change, policy=policy) for change in changes] if drifts else [],
        weight_norm=[_finite(norms.get(layer, math.nan)) for layer in layers] if norms else [],
    )


def _state(
    told: Told | None, measured: Measured | None, documents: Judged | None, *, watching: bool
) -> tuple[CheckpointState, str | None]:
    """How a checkpoint stands, and why it is not (all) analysed."""
    if told is not None and not _is_behind_it(told.job, measured):
        if told.job.state == "failed" and told.job.again and told.heard:
            return "planned", f"it is tried again: {told.job.reason}"
        if told.job.state == "failed":
            return "failed", told.job.reason
        if told.job.state == "started" and told.heard:
            return "running", None
        if told.job.state == "started" and measured is None:
            return "interrupted", "the watcher that read it ended before it was done"
    if measured is not None:
        return "analysed", next(iter(documents.why.values()), None) if documents else None
    if told is not None and told.job.state == "planned":
        return "planned", "it waits for its turn" if told.heard else "it was planned by a watcher that has ended"
    return "not_analysed", "a watcher will read it" if watching else "no watcher runs: barograph watch"


def _is_behind_it(job: Job, measured: Measured | None) -> bool:
    """Whether what was to be done is done: the pass is there, though its reader may have died before it said so; or
    what is gone was read before."""
    if measured is None:
        return False
    return measured.stored.summary.job == job.id or measured.stored.summary.time > job.time or not job.stamp


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

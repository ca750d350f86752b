"""The document of `GET /api/unified`, and those of `status/` about weights, from the index."""

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from barograph.analysis.layer_drift import LayerDrift
from barograph.errors import NoDocument
from barograph.index import Index
from barograph.policy import Policy, load
from barograph.policy.weight_stability import ParameterStability
from barograph.views.checkpoints import KnownCheckpoints, known_checkpoints
from barograph.views.summary import run_that_moved_last
from barograph.views.times import document_time
from barograph.views.weight_documents import AnalyticsSource, SourceStatus, TrainingAnalytics, Unified, UnifiedSources
from barograph.views.weights import Measured, judged, newest_of, place

WeightsDocument = Literal["layer_drift", "layer_drift_history", "parameter_stability", "parameter_stability_history"]
"""Names of the documents about weights in `status/`, without `.json`."""

STALE_S = 1_200.0
"""Two periods of the watcher: a checkpoint that was saved longer ago and is not read says that nobody watches."""

DRIFT_HISTORY, STABILITY_HISTORY = 100, 200
"""Most entries of the two histories."""

NO_IMPACT = "the impact of data files is not measured"


def unified(index: Index, run: str | None = None, *, policy: Policy | None = None, now: float | None = None) -> Unified:
    """All analyses of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    policy = policy or load()
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        known = None if run is None else known_checkpoints(snapshot, run, policy=policy, now=now)
    newest = None if known is None else newest_of(known.measured)
    documents = None if known is None or newest is None else judged(newest, known.measured, policy=policy)
    status, reason = _status(known, newest, now=now)
    drift = documents.drift if documents else None
    why = {"data_file_impact": NO_IMPACT}
    if documents is None:
        why |= dict.fromkeys(("layer_drift", "parameter_stability", "age_s"), reason or "no checkpoint was read")
    else:
        why |= documents.why
        earlier = [] if known is None or drift is not None else layer_drift_history(known, policy=policy)
        if earlier:
            drift = earlier[-1]
            why["layer_drift"] = f"it is that of {drift.current_checkpoint}; of the newest: {why['layer_drift']}"
    if reason is not None:
        why["status"] = reason
    return Unified(
        sources=UnifiedSources(
            training_analytics=AnalyticsSource(
                status=status,
                data=TrainingAnalytics(
                    layer_drift=drift,
                    parameter_stability=documents.stability if documents else None,
                    data_file_impact=None,
                ),
                age_s=None if newest is None else max(0.0, now - newest.stored.summary.time),
                why=why,
            )
        ),
        run=run,
        timestamp=document_time(now),
    )


def weights_document(
    index: Index, run: str | None, name: WeightsDocument, *, policy: Policy | None = None, now: float | None = None
) -> bytes:
    """The JSON of one of the documents about weights in `status/`, of `run` or of the one that moved last.

    What is not finite is `null` in it. Raises `UnknownRun`, or `NoDocument` while nothing of it was measured.
    """
    now = time.time() if now is None else now
    policy = policy or load()
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        if run is None:
            raise NoDocument("There is no run")
        known = known_checkpoints(snapshot, run, policy=policy, now=now)
    made = status_documents(known, policy=policy).get(name)
    if made is None:
        raise NoDocument(f"Run {run!r} has no {name} yet", advice="A watcher writes it: barograph watch")
    return made


def status_documents(known: KnownCheckpoints, *, policy: Policy) -> dict[WeightsDocument, bytes]:
    """The JSON of every document about weights that there is something to say in."""
    drift = layer_drift_history(known, policy=policy)
    stability = parameter_stability_history(known, policy=policy)
    found: dict[WeightsDocument, bytes] = {}
    if drift:
        found["layer_drift"] = msgspec.json.encode(drift[-1])
        found["layer_drift_history"] = msgspec.json.encode(drift)
    if stability:
        found["parameter_stability"] = msgspec.json.encode(stability[-1])
        found["parameter_stability_history"] = msgspec.json.encode(stability)
    return found


def layer_drift_history(known: KnownCheckpoints, *, policy: Policy) -> list[LayerDrift]:
    """The drift of the last checkpoints, by step, oldest first; the last entry is `layer_drift.json`."""
    found = [judged(one, known.measured, policy=policy).drift for one in _shown(known)]
    return [one for one in found if one is not None][-DRIFT_HISTORY:]


def parameter_stability_history(known: KnownCheckpoints, *, policy: Policy) -> list[ParameterStability]:
    """The stability of the last checkpoints, by step, oldest first; the last entry is `parameter_stability.json`."""
    found = [judged(one, known.measured, policy=policy).stability for one in _shown(known)]
    return [one for one in found if one is not None][-STABILITY_HISTORY:]


def _shown(known: KnownCheckpoints) -> Sequence[Measured]:
    return [one for one in known.measured if not one.superseded]


def _status(known: KnownCheckpoints | None, newest: Measured | None, *, now: float) -> tuple[SourceStatus, str | None]:
    """How good the newest documents are, and what is wrong with them."""
    if known is None:
        return "absent", "there is no run"
    reached = None if newest is None else place(newest.step, newest.stored.attempt, newest.stored.summary.path)
    for told in known.jobs.values():
        here = place(told.job.step, told.attempt, told.job.path)
        unread = told.job.state == "failed" and bool(told.job.stamp) and not told.job.again
        if unread and (reached is None or here > reached):
            return "error", f"{told.job.checkpoint} could not be read: {told.job.reason}"
    if newest is None:
        return "absent", "a watcher will read the checkpoints" if known.watching else "no watcher runs: barograph watch"
    for path, saved in known.saved.items():
        here = place(saved.checkpoint.step, saved.attempt, path)
        if reached is not None and here > reached and now - saved.checkpoint.time > STALE_S:
            return "stale", f"checkpoint of step {saved.checkpoint.step} was not read yet"
    return "ok", None

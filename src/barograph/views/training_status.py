"""The document `status/training_status.json` as the server has it: of the index, and judged by the server's policy."""

import time

import msgspec

from barograph.analysis.training_status import REPORTED, SAMPLES, TrainingStatus, error_of
from barograph.analysis.training_status import training_status as status_of
from barograph.errors import NoDocument
from barograph.index import Index, Snapshot, query
from barograph.policy import Policy, load
from barograph.records.quantities import Attempt
from barograph.views.alerts import alerts_now
from barograph.views.layers import newest_activity
from barograph.views.summary import NewestAttempt, newest_attempt, run_that_moved_last, state_of
from barograph.views.throughput_samples import newest_samples

_UNSAID = "the training process records no signals"


def training_status(
    index: Index, run: str | None = None, *, policy: Policy | None = None, now: float | None = None
) -> bytes:
    """The JSON of what `run`, by default the one that moved last, says of itself.

    Raises `UnknownRun`, or `NoDocument` if it never trained.
    """
    now = time.time() if now is None else now
    policy = policy or load()
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        newest = None if run is None else newest_attempt(query.sources(snapshot, run))
        if run is None or newest is None:
            raise NoDocument("There is no run that trained", advice="It is there once a training has begun")
        return msgspec.json.encode(_document(snapshot, run, newest, policy=policy, now=now))


def _document(snapshot: Snapshot, run: str, newest: NewestAttempt, *, policy: Policy, now: float) -> TrainingStatus:
    crashed_after_s = policy.run_state.crashed_after_s
    state = state_of(newest, now=now, crashed_after_s=crashed_after_s)
    signals = next((part.signals for part in reversed(newest.parts) if part.signals is not None), None)
    latest = [one for one in query.sources(snapshot, run) if one.state.attempt == newest.attempt]
    alerts = alerts_now(snapshot, run, latest, now=now, crashed_after_s=crashed_after_s)
    activity = newest_activity(snapshot, run, newest.attempt, policy=policy)
    complete = newest.parts[-1].complete
    error = error_of(None if complete is None else complete.reason)
    known = {name: _newest(snapshot, run, newest.attempt, name) for name in ("learning_rate", "epoch", *REPORTED)}
    return status_of(
        status=state.state,
        now=now,
        signals=signals,
        loss=newest.loss.value if newest.loss else None,
        step=newest.current_step,
        total_steps=newest.total_steps,
        epoch=known["epoch"],
        learning_rate=known["learning_rate"],
        model_name=newest.banner.model_name if newest.banner else None,
        alerts=[one.alert for one in alerts if one.state != "resolved"],
        summary=None if activity is None else activity.summary(),
        rows=None if activity is None else activity.rows(),
        samples=newest_samples(snapshot, run, newest.attempt, limit=SAMPLES),
        metrics={name: value for name in REPORTED if (value := known[name]) is not None},
        error_message=error.message,
        error_type=error.type,
        why=error.why,
    )


def _newest(snapshot: Snapshot, run: str, attempt: Attempt, field: str) -> float | None:
    """The newest value of a series that is called like a field, with or without the prefix of a trainer."""
    for name in (f"train/{field}", f"eval/{field}", field):
        points = query.newest_points(snapshot, run, name, attempt=attempt, count=1)
        if len(points.values):
            return float(points.values[0])
    return None

"""The document of `GET /api/status/live`: what a run does now.

Every field is there; one that was not observed is null, and `why` says why. A number is never carried over from an
older attempt: after a resume the document waits for the new attempt's first values. The moving average then goes on as
the chart draws it, over what is shown of all attempts.

The light of the losses is a verdict of the policy's `[loss_finite]` over the newest attempt: FAIL is critical, WARN is
a warning, SKIP is unknown. A loss that is no number also warns if an older attempt left it in the curve that is shown;
one that a newer attempt has gone over again does not. So a finite last loss heals nothing, and a resume from before the
first NaN does.
"""

import math
import time
from collections.abc import Sequence

from msgspec.structs import replace

from barograph.analysis.finite_losses import joined_losses
from barograph.analysis.rollup import SMOOTHING, Carried, averages
from barograph.analysis.run_state import RunState
from barograph.index import Index, Snapshot, query
from barograph.index.curve import LAST
from barograph.index.fold import LOSS, series_prefix
from barograph.index.query import Source
from barograph.index.source import SourceState
from barograph.journal.layout import TRAIN
from barograph.policy import Policy, load, loss_finite
from barograph.records import Checkpoint, Pause, Signals
from barograph.records.quantities import VerdictWord, spelled
from barograph.records.signals import ConditionWord
from barograph.views.alerts import alert_rows
from barograph.views.documents import Health, HealthLights, Light, LiveStatus
from barograph.views.hosts import evaluation_of, hardware_of, host_reasons, inference_host, training_host
from barograph.views.monitor_documents import ActiveAlert, AlertRow
from barograph.views.run_detail import checkpoint_name
from barograph.views.summary import NewestAttempt, hidden_from, newest_attempt, run_that_moved_last, state_of
from barograph.views.times import document_time, iso

PAST = 0.9
"""Weight of the past in `streaming_ce`: a half-life of 6.6 logged losses. No seed names one."""

ALERTS, TITLE_LENGTH, TEXT_LENGTH = 16, 200, 500
"""Alerts, and characters of each, that fit a document which is polled every second and stays below 50 KB."""

_LOGGED = ("learning_rate", "epoch", "token_entropy", "tokens_per_sec", "mfu")
"""Fields that are the newest value of the series `train/<field>`, or else `<field>`."""

_LIGHTS: dict[VerdictWord, Light] = {
    "PASS": "ok",
    "WARN": "warning",
    "FAIL": "critical",
    "SKIP": "unknown",
    "ERROR": "unknown",
}

_BADNESS: tuple[Light, ...] = ("unknown", "ok", "warning", "critical")

_NO_SIGNALS = "the training process records no signals"
_OF_SIGNALS = (
    "loss_trend",
    "loss_variance",
    "val_train_gap",
    "tokens_per_sec_avg",
    "tokens_per_sec_ema",
    "tokens_per_sec_baseline",
    "throughput_trend",
)
"""Fields that are those of the newest signals of the attempt."""

_LIGHT_OF_CONDITION: dict[ConditionWord, Light] = {
    "ok": "ok",
    "pending": "ok",
    "firing": "warning",
    "recovering": "warning",
    "no_data": "unknown",
    "error": "unknown",
}

_NO_QUEUE = "the run is not fed by a training queue"
_NOT_RECORDED = {
    **dict.fromkeys(_OF_SIGNALS, _NO_SIGNALS),
    "batch_step": _NO_QUEUE,
    "batch_total_steps": _NO_QUEUE,
    "batch_number": _NO_QUEUE,
    "batch_queue_size": _NO_QUEUE,
    "current_file": _NO_QUEUE,
    "dataset_id": _NO_QUEUE,
    "eta_current_file_s": _NO_QUEUE,
    "health": "no health light is known",
    "health_lights.throughput": _NO_SIGNALS,
    "health_lights.gpu": _NO_SIGNALS,
}


class Watched:
    """A fold over what is known of one run: `values` by field, and `reasons` for the fields that stay null."""

    def __init__(self, default_reason: str) -> None:
        self.values: dict[str, object] = {}
        self.lights = HealthLights(loss="unknown", throughput="unknown", gpu="unknown")
        fields = (*LiveStatus.__struct_fields__, "health_lights.loss")
        self.reasons: dict[str, str] = dict.fromkeys(fields, default_reason) | _NOT_RECORDED

    def update(self, field: str, value: object, reason: str | None = None) -> None:
        """Notes a value, or why there is none (a reason that is not given stays the default one)."""
        self.values[field] = value
        if value is None and reason is not None:
            self.reasons[field] = reason


def live_status(
    index: Index, run: str | None = None, *, policy: Policy | None = None, now: float | None = None
) -> LiveStatus:
    """What `run` does now; by default the run that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    policy = policy or load()
    crashed_after_s = policy.run_state.crashed_after_s
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        sources = [] if run is None else query.sources(snapshot, run)
        newest = newest_attempt(sources)
        state = state_of(newest, now=now, crashed_after_s=crashed_after_s)
        nothing = "there is no run" if run is None else "the run has no training attempt"
        watched = Watched(nothing)
        if run is not None:
            checkpoint = next(iter(query.events(snapshot, run, Checkpoint, among=sources, limit=1)), None)
            watched.update("checkpoint_id", checkpoint_name(checkpoint) if checkpoint else None, "none was saved")
            watched.update("snapshot_date", iso(checkpoint.time) if checkpoint else None, "no checkpoint was saved")
        alerts: list[ActiveAlert] = []
        if run is not None and newest is not None:
            _watch_attempt(watched, newest, state, now=now)
            _watch_losses(watched, sources, newest, policy=policy, now=now)
            _watch_series(watched, snapshot, run, newest, sources)
            latest = [source for source in sources if source.state.attempt == newest.attempt]
            _watch_signals(watched, newest)
            _watch_eta(watched, newest, state, paused_s=_paused_s(snapshot, run, latest))
            rows = alert_rows(snapshot, run, latest, now=now, crashed_after_s=crashed_after_s)
            alerts = [_short(row) for row in rows if row.state not in ("pending", "resolved")][:ALERTS]
    training = training_host(newest, state, now=now)
    inference = inference_host(sources, now=now, crashed_after_s=crashed_after_s)
    watched.update("health", _health(watched.lights, state))
    document = replace(
        _blank(now),
        run=run,
        status=state.state,
        training_host=training,
        inference_host=inference,
        health_lights=watched.lights,
        active_alerts=alerts,
        **watched.values,
    )
    unknown = [field for field in document.__struct_fields__ if getattr(document, field) is None]
    unknown += [f"health_lights.{area}" for area, light in _by_area(watched.lights).items() if light == "unknown"]
    why = {field: watched.reasons[field] for field in unknown}
    evaluated = evaluation_of(sources)
    hosts = host_reasons(
        training,
        inference,
        hardware=hardware_of(newest.parts if newest else []),
        watched=newest is not None and any(part.signals is not None for part in newest.parts),
        evaluating=hardware_of([evaluated.state] if evaluated else []),
        no_attempt=nothing,
    )
    return replace(document, why=why | hosts)


def _watch_attempt(watched: Watched, newest: NewestAttempt, state: RunState, *, now: float) -> None:
    """What the newest attempt's own lines say."""
    unsaid = "the training script did not say"
    banner = newest.banner
    watched.update("model_name", banner.model_name if banner else None, unsaid)
    watched.update("total_steps", newest.total_steps, unsaid)
    watched.update("status_since", iso(state.since), "no line has a usable time")
    watched.update("heartbeat_age_s", newest.silent_s(now))
    watched.update("attempt", newest.attempt)
    watched.update("current_step", newest.current_step, f"attempt {newest.attempt} has logged no step yet")
    loss = newest.loss
    if loss is None:
        watched.update("loss", None, f"attempt {newest.attempt} has logged no loss yet")
        return
    finite = math.isfinite(loss.value)
    watched.update("loss", loss.value if finite else None, f"loss is {spelled(loss.value)} at step {loss.step}")


def _watch_losses(
    watched: Watched, sources: Sequence[Source], newest: NewestAttempt, *, policy: Policy, now: float
) -> None:
    """The light of the losses, from the counts that the index keeps."""
    verdict = loss_finite(joined_losses(part.losses for part in newest.parts), policy=policy, now=now)
    light = _LIGHTS[verdict.verdict]
    for rank in _other_ranks(sources, newest):
        own = loss_finite(rank.losses, policy=policy, now=now)
        if _BADNESS.index(_LIGHTS[own.verdict]) > _BADNESS.index(light):
            light = _LIGHTS[own.verdict]
            verdict = replace(own, message=f"{rank.writer}: {own.message}")
    if light != "critical" and _older_attempts_show_non_finite(sources, newest):
        light = "warning"
    watched.lights = replace(watched.lights, loss=light)
    watched.reasons["health_lights.loss"] = verdict.message


def _other_ranks(sources: Sequence[Source], newest: NewestAttempt) -> list[SourceState]:
    """The files of other ranks of the newest attempt that have a loss that is no number."""
    states = [source.state for source in sources if source.state.attempt == newest.attempt]
    return [state for state in states if series_prefix(state.writer) and state.losses.non_finite]


def _older_attempts_show_non_finite(sources: Sequence[Source], newest: NewestAttempt) -> bool:
    """Whether the shown curve has a loss that is no number before the newest attempt's part of it."""
    limits = hidden_from(sources)
    training = [source.state for source in sources if source.state.writer == TRAIN]
    return any(
        state.least_non_finite is not None and state.least_non_finite < limits.get(state.attempt, math.inf)
        for state in training
        if state.attempt < newest.attempt
    )


def _by_area(lights: HealthLights) -> dict[str, Light]:
    return {"loss": lights.loss, "throughput": lights.throughput, "gpu": lights.gpu}


def _health(lights: HealthLights, state: RunState) -> Health | None:
    """The worst light that is known; a crash is worse than any light."""
    known = set(_by_area(lights).values())
    if state.state == "crashed" or "critical" in known:
        return "critical"
    if "warning" in known:
        return "warning"
    return "healthy" if "ok" in known else None


def _watch_series(
    watched: Watched, snapshot: Snapshot, run: str, newest: NewestAttempt, sources: Sequence[Source]
) -> None:
    """What the newest attempt's series say, and the average of the losses that are shown."""
    if newest.loss is None:
        watched.update("streaming_ce", None, f"attempt {newest.attempt} has logged no loss yet")
    else:
        last = newest.loss
        average = _average_of_losses(snapshot, run, sources) if math.isfinite(last.value) else None
        watched.update("streaming_ce", average, f"loss is {spelled(last.value)} at step {last.step}")
    for field in _LOGGED:
        names = (f"train/{field}", field)
        found = (query.newest_points(snapshot, run, name, attempt=newest.attempt, count=1) for name in names)
        point = next((points for points in found if len(points.values)), None)
        if point is None:
            watched.update(field, None, f"attempt {newest.attempt} has logged neither {names[0]} nor {names[1]}")
        else:
            value, step = float(point.values[0]), int(point.steps[0])
            watched.update(field, value if math.isfinite(value) else None, f"it is {spelled(value)} at step {step}")


def _watch_signals(watched: Watched, newest: NewestAttempt) -> None:
    """What the training process derived last."""
    signals = next((part.signals for part in reversed(newest.parts) if part.signals is not None), None)
    if signals is None:
        return
    unsaid = f"it was not known yet at step {signals.step}"
    for field in _OF_SIGNALS:
        watched.update(field, getattr(signals, field), signals.why.get(field, unsaid))
    for field in ("token_entropy", "tokens_per_sec", "mfu"):
        if watched.values.get(field) is None:
            watched.update(field, getattr(signals, field), signals.why.get(field, unsaid))
    throughput, because = _light_of(signals, ("throughput_degraded",))
    watched.reasons["health_lights.throughput"] = because
    gpu, because = _light_of(signals, ("gpu_memory", "gpu_temperature"))
    watched.reasons["health_lights.gpu"] = because
    watched.lights = replace(watched.lights, throughput=throughput, gpu=gpu)


def _light_of(signals: Signals, conditions: Sequence[str]) -> tuple[Light, str]:
    """The worst light of some conditions; and why it is not known, which is said only of one that is not."""
    lights = [_LIGHT_OF_CONDITION[signals.conditions[name]] for name in conditions if name in signals.conditions]
    reasons = [signals.why[f"conditions.{name}"] for name in conditions if f"conditions.{name}" in signals.why]
    return max(lights, key=_BADNESS.index, default="unknown"), reasons[0] if reasons else _NO_SIGNALS


def _average_of_losses(snapshot: Snapshot, run: str, sources: Sequence[Source]) -> float:
    """The moving average after the newest of the losses that are shown."""
    weight = SMOOTHING.index(PAST)
    shown = query.shown_series(snapshot, run, LOSS, among=sources, hidden_from=hidden_from(sources))
    rows = query.curve(snapshot, shown, first=0, last=LAST, at_least=1, weights=(weight,))
    return float(averages(rows, weight=weight, before=Carried())[-1])


def _watch_eta(watched: Watched, newest: NewestAttempt, state: RunState, *, paused_s: float) -> None:
    """Remaining steps times the newest attempt's mean time per step, pauses left out."""
    first, last, total = newest.first_mark, newest.mark, newest.total_steps
    if state.state != "training":
        watched.update("eta_overall_s", None, f"the run is {state.state}")
    elif total is None:
        watched.update("eta_overall_s", None, "the number of steps is not known")
    elif first is None or last is None or last.step <= first.step:
        watched.update("eta_overall_s", None, f"attempt {newest.attempt} has not logged two steps yet")
    else:
        per_step = (last.time - first.time - paused_s) / (last.step - first.step)
        eta = max(0, total - last.step) * per_step
        honest = math.isfinite(eta) and per_step > 0
        watched.update("eta_overall_s", eta if honest else None, "the writer's clock went backwards or is not usable")


def _paused_s(snapshot: Snapshot, run: str, latest: Sequence[Source]) -> float:
    """Seconds that the newest attempt spent in pauses that have ended."""
    training = [source for source in latest if source.state.writer == TRAIN]
    total, since = 0.0, None
    for pause in reversed(query.events(snapshot, run, Pause, among=training)):
        if pause.paused:
            since = pause.time if since is None else since
        elif since is not None:
            total, since = total + pause.time - since, None
    return total


def _short(row: AlertRow) -> ActiveAlert:
    return ActiveAlert(
        time=row.time,
        level=row.level,
        title=row.title[:TITLE_LENGTH],
        text=row.text[:TEXT_LENGTH],
        step=row.step,
        id=row.id,
        condition=row.condition,
        state=row.state,
        recommendation=row.recommendation[:TEXT_LENGTH],
        count=row.count,
        acknowledged=row.acknowledged is not None,
    )


def _blank(now: float) -> LiveStatus:
    """The document with nothing known."""
    state = state_of(None, now=now, crashed_after_s=math.inf)
    return LiveStatus(
        run=None,
        model_name=None,
        checkpoint_id=None,
        snapshot_date=None,
        status=state.state,
        status_since=None,
        heartbeat_age_s=None,
        current_step=None,
        total_steps=None,
        epoch=None,
        attempt=None,
        loss=None,
        streaming_ce=None,
        loss_trend=None,
        loss_variance=None,
        learning_rate=None,
        token_entropy=None,
        val_train_gap=None,
        tokens_per_sec=None,
        tokens_per_sec_avg=None,
        tokens_per_sec_ema=None,
        tokens_per_sec_baseline=None,
        throughput_trend=None,
        mfu=None,
        batch_step=None,
        batch_total_steps=None,
        batch_number=None,
        batch_queue_size=None,
        current_file=None,
        dataset_id=None,
        eta_current_file_s=None,
        eta_overall_s=None,
        training_host=training_host(None, state, now=now),
        inference_host=inference_host([], now=now, crashed_after_s=math.inf),
        health=None,
        health_lights=HealthLights(loss="unknown", throughput="unknown", gpu="unknown"),
        active_alerts=[],
        timestamp=document_time(now),
        why={},
    )

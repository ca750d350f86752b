"""Alerts over their lives: the document of `GET /api/alerts`, and the rows that other documents show.

A journal holds a line for every turn of an alert's life; here the lines with one id are one row, as the newest of them
says it. Rows of an attempt that is over are over too, whatever their last line says: nobody looks any more.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from barograph.index import Index, Snapshot, query
from barograph.index.query import Source
from barograph.policy import Policy, load
from barograph.records import Acknowledgement, Advice, Alert, Batch, Notification
from barograph.records.quantities import Attempt, Step
from barograph.views.monitor_documents import (
    AdviceRow,
    AlertCounts,
    AlertDetail,
    AlertRow,
    Alerts,
    AlertSpan,
    AlertStateShown,
    BatchOfAlert,
    ConditionRow,
    NotificationRow,
)
from barograph.views.summary import newest_attempt, run_that_moved_last, state_of
from barograph.views.times import iso

MOST_LINES = 20_000
"""Lines of alerts of a run that are read, the newest."""
MOST_ROWS = 1_000
"""Alerts that the document lists, the newest; all of those lines are counted."""

MOST_SPANS = 100
MOST_BATCHES = 20
"""Batches of one alert that are told, the newest."""

OF_THE_END = "run_crashed"
"""The condition that is looked for when an attempt has ended."""

_DEAD = ("completed", "crashed")


def alerts(index: Index, run: str | None = None, *, policy: Policy | None = None, now: float | None = None) -> Alerts:
    """The alerts of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    crashed_after_s = (policy or load()).run_state.crashed_after_s
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        sources = [] if run is None else query.sources(snapshot, run)
        rows = alert_rows(snapshot, run, sources, now=now, crashed_after_s=crashed_after_s) if run else []
        newest = newest_attempt(sources)
        latest = [one for one in sources if newest is not None and one.state.attempt == newest.attempt]
        signals = next((one.state.signals for one in reversed(latest) if one.state.signals is not None), None)
        advice = next(iter(query.events(snapshot, run, Advice, among=latest, limit=1)), None) if run else None
        details = _details(snapshot, run, sources, rows[:MOST_ROWS]) if run else []
    conditions = {} if signals is None else signals.conditions
    why = {} if signals is None else signals.why
    return Alerts(
        run=run,
        alerts=details,
        counts=counts_of(rows),
        conditions=[
            ConditionRow(name=name, state=state, reason=why.get(f"conditions.{name}"))
            for name, state in conditions.items()
        ],
        advice=None
        if advice is None
        else AdviceRow(time=iso(advice.time) or "unknown", step=advice.step, items=advice.items, policy=advice.policy),
        timestamp=iso(now) or "unknown",
    )


class AlertNow(Struct, frozen=True, kw_only=True):
    """An alert of which all lines were read."""

    id: Annotated[str, Meta(description="Its identity.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that it belongs to.")]
    alert: Annotated[Alert, Meta(description="Its newest line.")]
    first: Annotated[Alert, Meta(description="Its first line.")]
    state: Annotated[AlertStateShown, Meta(description="Where in its life it is now.")]
    spans: Annotated[list[AlertSpan], Meta(description="When it was firing, oldest first.")]
    seen: Annotated[Acknowledgement | None, Meta(description="The newest word of somebody who has seen it.")]


def alert_rows(
    snapshot: Snapshot, run: str, sources: Sequence[Source], *, now: float, crashed_after_s: float
) -> list[AlertRow]:
    """The alerts of some sources of a run, the newest first."""
    found = alerts_now(snapshot, run, sources, now=now, crashed_after_s=crashed_after_s)
    return [_row(one) for one in found]


def alerts_now(
    snapshot: Snapshot, run: str, sources: Sequence[Source], *, now: float, crashed_after_s: float
) -> list[AlertNow]:
    """The same as records."""
    newest = newest_attempt(query.sources(snapshot, run))
    over = state_of(newest, now=now, crashed_after_s=crashed_after_s).state in _DEAD
    seen = {one.alert: one for one in query.events(snapshot, run, Acknowledgement)[::-1]}
    found: dict[tuple[Attempt, str], list[Alert]] = {}
    room = MOST_LINES
    for source in reversed(sources):
        lines = query.events(snapshot, run, Alert, among=[source], limit=room)
        room -= len(lines)
        for line in lines:
            found.setdefault((source.state.attempt, alert_id(line, source.state.attempt)), []).append(line)
    alerts = []
    for (attempt, identity), lines in found.items():
        superseded = newest is not None and attempt < newest.attempt
        state = _state(lines[0], superseded=superseded, over=over, seen=identity in seen)
        if state != "pending" and all(line.state in ("pending", "resolved") for line in lines):
            continue  # it was seen, not often enough, and went away: nobody was to be told
        alerts.append(
            AlertNow(
                id=identity,
                attempt=attempt,
                alert=lines[0],
                first=lines[-1],
                state=state,
                spans=_spans(lines[::-1])[-MOST_SPANS:],
                seen=seen.get(identity),
            )
        )
    return sorted(alerts, key=lambda one: (iso(one.first.time) or "", one.attempt), reverse=True)


def _state(newest: Alert, *, superseded: bool, over: bool, seen: bool) -> AlertStateShown:
    """The state of an alert, of its newest line and of what became of its attempt since."""
    by_hand = not newest.condition
    if newest.state == "resolved" or (by_hand and seen):
        return "resolved"
    if newest.condition == OF_THE_END:
        return "resolved" if superseded else newest.state  # a death is not over because the run is dead
    if not (superseded or over):
        return newest.state
    return "resolved" if newest.state == "pending" else "ended"


def _spans(lines: Sequence[Alert]) -> list[AlertSpan]:
    """The stretches of steps over which an alert was firing; `lines` are oldest first."""
    spans: list[AlertSpan] = []
    begun: Step | None = None
    for line in lines:
        if line.state == "firing" and begun is None:
            begun = line.first_step if not spans and line.first_step is not None else line.step
        elif line.state in ("recovering", "resolved") and begun is not None:
            spans.append(AlertSpan(first=begun, last=line.step))
            begun = None
    return spans if begun is None else [*spans, AlertSpan(first=begun, last=None)]


def alert_id(alert: Alert, attempt: Attempt) -> str:
    """The id of an alert's line; for one of the user's, which has none, a digest of what it says."""
    if alert.id:
        return alert.id
    said = repr((attempt, alert.time, alert.step, alert.title, alert.text))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def counts_of(rows: Iterable[AlertRow]) -> AlertCounts:
    """How many of each there are."""
    rows = list(rows)
    firing = [row for row in rows if row.state in ("firing", "recovering")]
    ended = [row for row in rows if row.state == "ended"]
    return AlertCounts(
        firing=len(firing),
        ended=len(ended),
        unseen=sum(row.acknowledged is None for row in (*firing, *ended)),
        critical=sum(row.level == "critical" for row in rows),
        warning=sum(row.level == "warning" for row in rows),
        info=sum(row.level == "info" for row in rows),
    )


def _row(one: AlertNow) -> AlertRow:
    newest, first, seen = one.alert, one.first, one.seen
    return AlertRow(
        id=one.id,
        time=iso(first.time) or "unknown",
        updated=iso(newest.time) or "unknown",
        attempt=one.attempt,
        level=newest.level,
        title=newest.title,
        text=newest.text,
        step=first.step if newest.first_step is None else newest.first_step,
        last_step=newest.step,
        condition=newest.condition,
        category=newest.category or ("" if newest.condition else "user"),
        state=one.state,
        spans=one.spans,
        recommendation=newest.recommendation,
        evidence=dict(newest.evidence),
        subjects=newest.subjects,
        count=newest.count,
        acknowledged=None if seen is None else iso(seen.time) or "unknown",
        note="" if seen is None else seen.note,
    )


def _details(snapshot: Snapshot, run: str, sources: Sequence[Source], rows: Sequence[AlertRow]) -> list[AlertDetail]:
    sent: dict[str, list[NotificationRow]] = {}
    for one in query.events(snapshot, run, Notification)[::-1]:
        told = NotificationRow(
            time=iso(one.time) or "unknown",
            channel=one.channel,
            delivered=one.delivered,
            detail=one.detail,
            tries=one.tries,
        )
        sent.setdefault(one.alert, []).append(told)
    batches: dict[Attempt, dict[Step, Batch]] = {}
    for source in sources:
        for batch in query.events(snapshot, run, Batch, among=[source]):
            batches.setdefault(source.state.attempt, {}).setdefault(batch.step, batch)
    return [
        AlertDetail(alert=row, batches=_batches(row, batches.get(row.attempt, {})), notifications=sent.get(row.id, []))
        for row in rows
    ]


def _batches(row: AlertRow, batches: Mapping[Step, Batch]) -> list[BatchOfAlert]:
    """The batches of the steps over which an alert was seen, newest first."""
    if row.category != "loss" or row.step is None:
        return []
    last = row.step if row.last_step is None else row.last_step
    steps = sorted((step for step in batches if row.step <= step <= last), reverse=True)
    return [
        BatchOfAlert(step=step, examples=batches[step].examples, left_out=batches[step].left_out, why=batches[step].why)
        for step in steps[:MOST_BATCHES]
    ]

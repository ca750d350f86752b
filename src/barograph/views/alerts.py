"""Alerts over their lives: the document of `GET /api/alerts`, and the rows that other documents show.

A journal holds a line for every turn of an alert's life; here the lines with one id are one row, as the newest of them
says it. Rows of an attempt that is over are over too, whatever their last line says: nobody looks any more.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from barograph.index import Index, Snapshot, query
from barograph.index.query import Source
from barograph.policy import Policy, load
from barograph.records import Acknowledgement, Advice, Alert, Batch, Notification
from barograph.records.quantities import Attempt
from barograph.views.monitor_documents import (
    AdviceRow,
    AlertCounts,
    AlertDetail,
    AlertRow,
    Alerts,
    ConditionRow,
    NotificationRow,
)
from barograph.views.summary import newest_attempt, run_that_moved_last, state_of
from barograph.views.times import iso

MOST_LINES = 20_000
"""Lines of alerts of a run that are read, the newest."""
MOST_ROWS = 1_000
"""Alerts that the document lists, the newest; all of those lines are counted."""

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
    alert: Annotated[Alert, Meta(description="Its newest line; its state is the one of now.")]
    first: Annotated[Alert, Meta(description="Its first line.")]
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
        newest_line, acknowledged = lines[0], seen.get(identity)
        superseded = newest is not None and attempt < newest.attempt
        # What a dead attempt left behind, such as that it died, is not over with it; one of the user's is once seen.
        ended = superseded or (over and newest_line.condition != OF_THE_END)
        ended = ended or (not newest_line.condition and acknowledged is not None)
        alerts.append(
            AlertNow(
                id=identity,
                attempt=attempt,
                alert=replace(newest_line, state="resolved") if ended else newest_line,
                first=lines[-1],
                seen=acknowledged,
            )
        )
    return sorted(alerts, key=lambda one: (iso(one.first.time) or "", one.attempt), reverse=True)


def alert_id(alert: Alert, attempt: Attempt) -> str:
    """The id of an alert's line; for one of the user's, which has none, a digest of what it says."""
    if alert.id:
        return alert.id
    said = repr((attempt, alert.time, alert.step, alert.title, alert.text))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def counts_of(rows: Iterable[AlertRow]) -> AlertCounts:
    """How many of each there are."""
    rows = list(rows)
    firing = [row for row in rows if row.state != "resolved"]
    return AlertCounts(
        firing=len(firing),
        unseen=sum(row.acknowledged is None for row in firing),
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
        state=newest.state,
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
    batches = {
        (source.state.attempt, batch.step): batch
        for source in sources
        for batch in query.events(snapshot, run, Batch, among=[source])
    }
    found = []
    for row in rows:
        batch = None if row.step is None else batches.get((row.attempt, row.step))
        found.append(
            AlertDetail(
                alert=row,
                examples=None if batch is None else batch.examples,
                examples_left_out=0 if batch is None else batch.left_out,
                notifications=sent.get(row.id, []),
            )
        )
    return found

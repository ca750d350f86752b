"""The document of `GET /api/runs/{run}`: everything known about one run but its points."""

import math
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import PurePosixPath

import msgspec

from barograph.index import Index, Snapshot, query
from barograph.index.query import Source
from barograph.journal.layout import TRAIN
from barograph.policy import Policy, load
from barograph.records import Banner, Checkpoint, Collector, CollectorFailed, ConfigUpdate, ExactMatch, Verdict
from barograph.views.alerts import alert_rows
from barograph.views.documents import CheckpointRow, CollectorRow, JournalHealth, RunDetail
from barograph.views.notices import rejected_values
from barograph.views.summary import attempt_rows, newest_attempt, run_row
from barograph.views.times import iso

ALERTS = 100
EXAMPLES = 10


def run_detail(index: Index, run: str, *, policy: Policy | None = None, now: float | None = None) -> RunDetail:
    """One run. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    crashed_after_s = (policy or load()).run_state.crashed_after_s
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        notices = query.notices(snapshot, run)
        newest = newest_attempt(sources)
        latest = [source for source in sources if newest is not None and source.state.attempt == newest.attempt]
        training = [source for source in latest if source.state.writer == TRAIN]
        banner = next(iter(query.events(snapshot, run, Banner, among=training, limit=1)), None)
        begun_at = banner.git_commit if banner else None
        updates = query.events(snapshot, run, ConfigUpdate, among=training)[::-1]
        return RunDetail(
            summary=run_row(run, sources, notices, now=now, crashed_after_s=crashed_after_s),
            series=query.series_names(snapshot, run),
            attempts=attempt_rows(sources),
            checkpoints=_checkpoints(snapshot, run, sources),
            collectors=_collectors(snapshot, run, latest),
            alerts=alert_rows(snapshot, run, sources, now=now, crashed_after_s=crashed_after_s)[:ALERTS],
            verdicts=_verdicts(snapshot, run),
            exact_match=_exact_match(snapshot, run),
            config=_config(_settings(snapshot, run, sources), [update.config for update in updates]),
            versions=banner.versions if banner else {},
            git_commit=next((update.git_commit for update in reversed(updates) if update.git_commit), begun_at),
            device=banner.device if banner else None,
            model_path=banner.model_path if banner else None,
            output_dir=banner.output_dir if banner else None,
            journal=_journal(sources),
        )


def checkpoint_name(checkpoint: Checkpoint) -> str:
    """The name of a checkpoint's folder."""
    return PurePosixPath(checkpoint.path).name


def _checkpoints(snapshot: Snapshot, run: str, sources: Sequence[Source]) -> list[CheckpointRow]:
    return [
        CheckpointRow(
            step=checkpoint.step,
            attempt=source.state.attempt,
            name=checkpoint_name(checkpoint),
            path=checkpoint.path,
            time=iso(checkpoint.time) or "unknown",
        )
        for source in reversed(sources)
        for checkpoint in query.events(snapshot, run, Checkpoint, among=[source])
    ]


def _collectors(snapshot: Snapshot, run: str, sources: Sequence[Source]) -> list[CollectorRow]:
    """The newest word of or about each collector; a failure at the same moment outweighs its start."""
    said = [
        (_order(one.time), False, CollectorRow(name=one.name, running=one.running, detail=one.detail))
        for one in query.events(snapshot, run, Collector, among=sources)[::-1]
    ] + [
        (_order(one.time), True, CollectorRow(name=one.name, running=False, detail=one.error))
        for one in query.events(snapshot, run, CollectorFailed, among=sources)[::-1]
    ]
    newest = {row.name: row for _, _, row in sorted(said, key=lambda one: one[:2])}
    return [newest[name] for name in sorted(newest)]


def _verdicts(snapshot: Snapshot, run: str) -> list[Verdict]:
    oldest_first = query.events(snapshot, run, Verdict)[::-1]
    said = sorted(oldest_first, key=lambda verdict: _order(verdict.time))
    newest = {(verdict.name, verdict.subject): verdict for verdict in said}
    return [newest[key] for key in sorted(newest)]


def _exact_match(snapshot: Snapshot, run: str) -> list[ExactMatch]:
    """What the newest attempt said last of each task, level and regime: evaluation goes in the order of the steps."""
    oldest_first = query.events(snapshot, run, ExactMatch)[::-1]
    newest = {(one.task, one.level, one.regime): one for one in oldest_first}
    return [newest[key] for key in sorted(newest)]


def _settings(snapshot: Snapshot, run: str, sources: Sequence[Source]) -> str | None:
    """What the newest attempt that said its settings began with: a resume need not repeat them."""
    training = [source for source in sources if source.state.writer == TRAIN]
    said = (banner.config for banner in query.events(snapshot, run, Banner, among=training))
    return next((config for config in said if config is not None), None)


def _config(begun_with: str | None, added: Sequence[str]) -> str | None:
    """The settings with later ones over earlier ones; a text that is no JSON object is left out of the sum."""
    merged: dict[str, msgspec.Raw] = {}
    texts = [text for text in (begun_with, *added) if text is not None]
    for text in texts:
        try:
            merged |= msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError):
            continue
    if not merged:
        return begun_with
    return msgspec.json.encode(merged).decode()


def _journal(sources: Sequence[Source]) -> JournalHealth:
    states = [source.state for source in sources]
    return JournalHealth(
        files=len(states),
        size_bytes=sum(state.identity.size for state in states),
        good_lines=sum(state.good for state in states),
        bad_lines=sum(state.bad for state in states),
        unchecked_lines=sum(state.unchecked for state in states),
        unknown_lines=sum(state.unknown for state in states),
        torn_files=sum(state.torn > 0 for state in states),
        lost_records=sum(state.lost for state in states),
        rejected_values=rejected_values(sources),
        examples=_in_turn([state.examples for state in states])[:EXAMPLES],
    )


def _in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    """The first of each list, then the second of each, and so on: no file's lines crowd out those of another."""
    return [one for turn in zip_longest(*lists) for one in turn if one is not None]


def _order(time: float) -> float:
    """A writer's time as something to sort by: NaN comes first."""
    return -math.inf if math.isnan(time) else time

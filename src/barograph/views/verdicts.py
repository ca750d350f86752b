"""The document of `GET /api/verdicts`: every verdict on a run, from what the index has of it now.

The curve is read whole, as `barograph check` reads it from the files, so both say the same. Verdicts that somebody
recorded of other things (what a demo learned) stand beside those that are made here.
"""

import time
from collections.abc import Sequence

from msgspec.structs import replace

from barograph.analysis.curve_parts import CurvePart, curve_of, logs_means
from barograph.analysis.loss_curve import LossCurve, loss_curve
from barograph.index import Index, Snapshot, points, query
from barograph.index.fold import LOSS
from barograph.index.query import Source
from barograph.journal.layout import TRAIN
from barograph.policy import Policy, curve_rule, load
from barograph.policy.judgement import Judged, Measured, gravest, judged, judgement
from barograph.records import Banner, OptimizerMoments, Verdict
from barograph.views.checkpoints import known_checkpoints
from barograph.views.times import document_time
from barograph.views.verdict_documents import Verdicts
from barograph.views.weights import newest_of

UNREAD = "no checkpoint's weights were read: barograph watch"


def verdicts(index: Index, run: str, *, policy: Policy | None = None, now: float | None = None) -> Verdicts:
    """Every verdict on a run. Raises `UnknownRun`."""
    now = time.time() if now is None else now
    policy = policy or load()
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        newest = newest_of(known_checkpoints(snapshot, run, policy=policy, now=now).measured)
        measured = Measured(
            curve=_curve(snapshot, run, sources, policy=policy),
            no_curve="no step of the run has a loss",
            saves=query.events(snapshot, run, OptimizerMoments, limit=1),
            drift=newest.drift if newest else None,
            no_drift=(newest.stored.summary.no_reference if newest else None) or UNREAD,
            stability=newest.stability if newest else None,
            no_stability=UNREAD,
        )
        found = [replace(one, evidence=None) for one in judgement(measured, policy=policy, now=now)]
        made_here = {one.name for one in found}
        found += _recorded(snapshot, run, besides=made_here)
    return Verdicts(
        run=run,
        verdict=gravest([one.verdict for one in found]),
        verdicts=found,
        policy=policy.name,
        timestamp=document_time(now),
    )


def _curve(snapshot: Snapshot, run: str, sources: Sequence[Source], *, policy: Policy) -> LossCurve | None:
    """The measured curve of a run; None if no step has a loss."""
    series = query.series_id(snapshot, run, LOSS)
    training = [source for source in sources if source.state.writer == TRAIN]
    if series is None or not training:
        return None
    parts = []
    for source in training:
        part = points.series_points(snapshot.connection, series=series, source=source.id)
        parts.append(CurvePart(attempt=source.state.attempt, steps=part.steps, losses=part.values))
    curve = curve_of(
        parts,
        files=len(training),
        averaged=any(logs_means(banner) for banner in query.events(snapshot, run, Banner, among=training)),
        metrics=query.series_names(snapshot, run),
        torn_lines=sum(source.state.torn > 0 and source.state.complete is not None for source in training),
        bad_lines=sum(source.state.bad for source in training),
        examples=[example for source in training for example in source.state.examples],
    )
    return loss_curve(curve, rule=curve_rule(policy)) if len(curve.merged_steps) else None


def _recorded(snapshot: Snapshot, run: str, *, besides: set[str]) -> list[Judged]:
    """The newest recorded verdicts of other names."""
    newest: dict[tuple[str, str], Verdict] = {}
    for verdict in query.events(snapshot, run, Verdict)[::-1]:
        newest[verdict.name, verdict.subject] = verdict
    return [judged(newest[key]) for key in sorted(newest) if key[0] not in besides]

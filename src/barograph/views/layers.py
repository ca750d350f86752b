"""The document of `GET /api/layers`: which layers and adapters take part in training, now and over its steps.

The rows are the fold of the training process over the newest collections, replayed on what the journal has of them, so
that another policy judges the same numbers. The heatmap is over all shown steps, each cell a mean of the collections in
its column; parts of a module are joined as norms are, by the root of the sum of squares.
"""

import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from barograph.analysis.layer_activity import LayerActivity, LayerValues
from barograph.analysis.layer_name import LayerKind, LayerName, LayerQuantity, layer_metric, layer_of, natural_order
from barograph.analysis.rollup import combined
from barograph.index import Index, Snapshot, query
from barograph.index.curve import LAST, Shown
from barograph.index.points import Points
from barograph.index.query import Source
from barograph.policy import Policy, load, rules
from barograph.records import Collector
from barograph.records.quantities import Attempt, Number, Step
from barograph.views.buckets import bucket_starts, bucket_width
from barograph.views.monitor_documents import LayerHeatmap, Layers, Quantity
from barograph.views.summary import NewestAttempt, hidden_from, newest_attempt, run_that_moved_last
from barograph.views.times import document_time

MOST_COLUMNS = 400
MOST_LAYERS = 2_000
"""Columns of norms that are read; a model with more of them has its first ones shown, and says so."""

COLLECTOR = "layers"
"""The collector of the training process that takes the norms, or says why it does not."""


_DIGITS = 4


def layers(
    index: Index,
    run: str | None = None,
    *,
    policy: Policy | None = None,
    quantity: Quantity = "gradient_norm",
    columns: int = 60,
    now: float | None = None,
) -> Layers:
    """The layers of `run`, by default of the one that moved last. Raises `UnknownRun`."""
    policy = policy or load()
    activity, heatmap, why = None, None, {"summary": "there is no run", "heatmap": "there is no run"}
    newest: NewestAttempt | None = None
    with index.snapshot() as snapshot:
        run = run_that_moved_last(snapshot) if run is None else run
        if run is not None:
            sources = query.sources(snapshot, run)
            newest = newest_attempt(sources)
            names, left_out = _names(snapshot, run)
            activity = None if newest is None else newest_activity(snapshot, run, newest.attempt, policy=policy)
            heatmap = _heatmap(snapshot, run, sources, names, quantity=quantity, columns=columns) if names else None
            said = _reason(snapshot, run, newest, sources)
            why = {"summary": said, "heatmap": said}
            if left_out:
                why["rows"] = f"{left_out} more columns of norms are not shown: at most {MOST_LAYERS} are read"
    known = {"summary": activity is not None, "heatmap": heatmap is not None, "rows": False}
    return Layers(
        run=run,
        attempt=newest.attempt if newest is not None and activity is not None else None,
        summary=None if activity is None else activity.summary(),
        rows=[] if activity is None else activity.rows(),
        heatmap=heatmap,
        timestamp=document_time(time.time() if now is None else now),
        why={field: said for field, said in why.items() if not known[field]},
    )


def newest_activity(snapshot: Snapshot, run: str, attempt: Attempt, *, policy: Policy) -> LayerActivity | None:
    """The fold over the newest collections of one attempt; None if nothing was collected."""
    names, _ = _names(snapshot, run)
    activity = _replayed(snapshot, run, names, attempt=attempt, policy=policy)
    return activity if activity.collections else None


def _names(snapshot: Snapshot, run: str) -> tuple[tuple[LayerName, ...], int]:
    """The columns of which anything is in the index, also those that no gradient ever reached, and how many more there
    are."""
    found = {
        metric.name
        for name in query.series_names(snapshot, run)
        if (metric := layer_of(name)) is not None and name == layer_metric(metric.name, metric.quantity)
    }
    ordered = sorted(found, key=lambda name: (name.module, name.part))
    return tuple(ordered[:MOST_LAYERS]), max(0, len(ordered) - MOST_LAYERS)


def _replayed(
    snapshot: Snapshot, run: str, names: tuple[LayerName, ...], *, attempt: Attempt, policy: Policy
) -> LayerActivity:
    """The fold over the newest collections of one attempt."""
    quantities: tuple[LayerQuantity, ...] = ("gradient_norm", "weight_norm", "update_norm")
    metrics = [layer_metric(name, quantity) for quantity in quantities for name in names]
    found = query.newest_points_of(snapshot, run, metrics, attempt=attempt, count=policy.layer_activity.history)
    gradient, weight, update = (
        [_by_step(found[layer_metric(name, quantity)]) for name in names] for quantity in quantities
    )
    activity = LayerActivity(rules.layer_activity(policy))
    kind: LayerKind = "lora" if any(name.part for name in names) else "full"
    for step in sorted({step for column in (*gradient, *weight, *update) for step in column}):
        activity.update(
            step,
            LayerValues(
                names=names,
                gradient=[column.get(step) for column in gradient],
                weight=[column.get(step) for column in weight],
                update=[column.get(step) for column in update],
                kind=kind,
            ),
        )
    return activity


def _by_step(points: Points) -> dict[int, float]:
    return dict(zip(points.steps.tolist(), points.values.tolist(), strict=True))


def _heatmap(
    snapshot: Snapshot,
    run: str,
    sources: Sequence[Source],
    names: Sequence[LayerName],
    *,
    quantity: Quantity,
    columns: int,
) -> LayerHeatmap | None:
    """The modules over all shown steps; None if there is no collection."""
    limits = hidden_from(sources)

    def shown(name: LayerName, of: LayerQuantity) -> list[Shown]:
        return query.shown_series(snapshot, run, layer_metric(name, of), among=sources, hidden_from=limits)

    first, last = query.extent([one for name in names for one in shown(name, "gradient_norm")], first=0, last=LAST)
    if last < first:
        return None
    width = bucket_width(first, last, buckets=columns)
    begins: dict[int, Step] = {}
    ends: dict[int, Step] = {}

    def squares(of: LayerQuantity) -> dict[str, dict[int, float]]:
        """Module -> column -> sum over its parts of the squared mean norm."""
        total: dict[str, dict[int, float]] = defaultdict(dict)
        for name in names:
            rows = query.curve(snapshot, shown(name, of), first=first, last=last, at_least=columns)
            buckets = combined(rows, bucket_starts(rows, width=width))
            means = np.where(buckets.finite == buckets.count, buckets.mean, np.nan)
            for lo, hi, mean in zip(buckets.lo.tolist(), buckets.hi.tolist(), means.tolist(), strict=True):
                place = lo // width
                begins[place] = min(lo, begins.get(place, lo))
                ends[place] = max(hi, ends.get(place, hi))
                cells = total[name.module]
                cells[place] = cells.get(place, 0.0) + mean * mean
        return total

    upper = squares("gradient_norm" if quantity == "gradient_norm" else "update_norm")
    lower = {} if quantity == "gradient_norm" else squares("weight_norm")
    places = sorted(begins)
    modules = list(dict.fromkeys(name.module for name in names))
    cells: list[list[Number | None]] = [
        [_cell(upper.get(module, {}).get(place), lower.get(module, {}).get(place), quantity) for place in places]
        for module in modules
    ]
    order = sorted(range(len(modules)), key=lambda place: natural_order(modules[place]))
    return LayerHeatmap(
        quantity=quantity,
        first=[begins[place] for place in places],
        last=[ends[place] for place in places],
        modules=[modules[place] for place in order],
        cells=[cells[place] for place in order],
    )


def _cell(upper: float | None, lower: float | None, quantity: Quantity) -> float | None:
    """The number of a cell, of sums of squares; None where it was not measured, NaN where a norm was no number."""
    if upper is None or (quantity == "update_ratio" and (lower is None or lower == 0.0)):
        return None
    norm = np.sqrt(upper if lower is None else upper / lower)
    return float(f"{norm:.{_DIGITS}g}")


def _reason(snapshot: Snapshot, run: str, newest: NewestAttempt | None, sources: Sequence[Source]) -> str:
    """Why there are no layers to show, in the words of the collector if it said any."""
    if newest is None:
        return "the run has no training attempt"
    latest = [one for one in sources if one.state.attempt == newest.attempt]
    said = [one for one in query.events(snapshot, run, Collector, among=latest) if one.name == COLLECTOR]
    if said and not said[0].running:
        return said[0].detail
    return f"attempt {newest.attempt} has recorded no gradients of layers yet"

"""One series over the ranks of a run: how far apart they are, and who is behind."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from barograph.analysis.rollup import Rollup, combined
from barograph.index import Snapshot, query
from barograph.index.fold import series_prefix
from barograph.index.query import Source
from barograph.records.quantities import Attempt, Step
from barograph.views.buckets import bucket_starts
from barograph.views.documents import RankRow, Ranks

_RANK = re.compile(r"rank/(\d+)/")


def over_ranks(
    snapshot: Snapshot,
    sources: Sequence[Source],
    limits: Mapping[Attempt, Step],
    *,
    run: str,
    name: str,
    buckets: Rollup,
    width: int,
    first: Step,
    last: Step,
) -> Ranks:
    """The series `name` and those of the same name of other ranks, in the buckets of the first."""
    prefixes = {series_prefix(one.state.writer) for one in sources}
    numbers = sorted({int(match[1]) for prefix in prefixes if (match := _RANK.fullmatch(prefix))} | {0})
    wanted = buckets.lo // width
    means, rows = [], []
    for number in numbers:
        own = name if number == 0 else f"rank/{number}/{name}"
        shown = query.shown_series(snapshot, run, own, among=sources, hidden_from=limits)
        if not shown:
            continue
        found = query.curve(snapshot, shown, first=first, last=last, at_least=max(1, len(buckets)))
        binned = combined(found, bucket_starts(found, width=width))
        place = np.searchsorted(binned.lo // width, wanted)
        inside = np.minimum(place, max(len(binned) - 1, 0))
        there = (place < len(binned)) & (binned.lo[inside] // width == wanted) if len(binned) else wanted < 0
        means.append(np.where(there, binned.mean[inside], np.nan) if len(binned) else np.full(len(wanted), np.nan))
        known = np.flatnonzero(found.finite > 0)
        rows.append(
            RankRow(
                rank=number,
                points=int(found.count.sum()),
                last_step=int(found.hi.max()) if len(found) else None,
                last=float(found.last[known[-1]]) if len(known) else None,
            )
        )
    table = np.array(means).reshape(len(rows), len(wanted))
    known = np.isfinite(table).any(axis=0) if len(rows) else np.zeros(len(wanted), dtype=np.bool_)
    safe = np.where(known, table, 0.0) if len(rows) else np.zeros((1, len(wanted)))
    counts = np.maximum(np.isfinite(safe).sum(axis=0), 1)
    behind = _behind(rows)
    return Ranks(
        ranks=rows,
        minimum=_where(known, np.nanmin(safe, axis=0)),
        mean=_where(known, np.nansum(safe / counts, axis=0)),
        maximum=_where(known, np.nanmax(safe, axis=0)),
        highest=[
            rows[place].rank if there else None
            for place, there in zip(np.nanargmax(safe, axis=0).tolist(), known.tolist(), strict=True)
        ],
        straggler=None if behind is None else behind[0],
        behind_steps=None if behind is None else behind[1],
    )


def _behind(rows: Sequence[RankRow]) -> tuple[int, int] | None:
    """The rank whose newest step is lowest, and by how many steps; None if they are equally far."""
    reached = [(row.last_step, row.rank) for row in rows if row.last_step is not None]
    if not reached:
        return None
    (least, rank), (most, _) = min(reached), max(reached)
    return None if least == most else (rank, most - least)


def _where(known: np.ndarray, values: np.ndarray) -> list[float | None]:
    return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]

"""One series over the ranks of a run: how far apart they are, what is no number on any of them, and who is behind."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.analysis.rollup import Rollup, combined
from barograph.index import Snapshot, query
from barograph.index.curve import Shown
from barograph.index.fold import series_prefix
from barograph.index.query import Source
from barograph.records.quantities import Attempt, Step
from barograph.views.buckets import bucket_starts
from barograph.views.documents import RankRow, Ranks

_RANK = re.compile(r"rank/(\d+)/")


class OfRank(Struct, frozen=True, kw_only=True):
    """Where one rank's part of a series lies."""

    rank: Annotated[int, Meta(description="Its number; 0 writes the run's own series.")]
    shown: Annotated[list[Shown], Meta(description="What is shown of it.")]


def of_ranks(
    snapshot: Snapshot, sources: Sequence[Source], limits: Mapping[Attempt, Step], *, run: str, name: str
) -> list[OfRank]:
    """The ranks that have the series, by number."""
    prefixes = {series_prefix(one.state.writer) for one in sources}
    numbers = sorted({int(match[1]) for prefix in prefixes if (match := _RANK.fullmatch(prefix))} | {0})
    found = []
    for number in numbers:
        own = name if number == 0 else f"rank/{number}/{name}"
        shown = query.shown_series(snapshot, run, own, among=sources, hidden_from=limits)
        if shown:
            found.append(OfRank(rank=number, shown=shown))
    return found


def over_ranks(
    snapshot: Snapshot, ranks: Sequence[OfRank], *, buckets: Rollup, width: int, begin: Step, window: tuple[Step, Step]
) -> Ranks:
    """The ranks compared in `buckets`, which begin at step `begin`; their totals are those of the whole window."""
    parts = [_in_buckets(snapshot, one, buckets, width=width, begin=begin, last=window[1]) for one in ranks]
    table = np.array([part.mean for part in parts]).reshape(len(parts), len(buckets))
    odd = np.array([part.count - part.finite for part in parts], dtype=np.int64).reshape(len(parts), len(buckets))
    known = np.isfinite(table).any(axis=0)
    filled = np.where(known, table, 0.0) if len(parts) else np.zeros((1, len(buckets)))
    counts = np.maximum(np.isfinite(filled).sum(axis=0), 1)
    rows = [_totals(snapshot, one, window) for one in ranks]
    behind = _behind(rows)
    return Ranks(
        ranks=rows,
        minimum=_where(known, np.nanmin(filled, axis=0)),
        mean=_where(known, np.nansum(filled / counts, axis=0)),
        maximum=_where(known, np.nanmax(filled, axis=0)),
        highest=[
            rows[place].rank if there else None
            for place, there in zip(np.nanargmax(filled, axis=0).tolist(), known.tolist(), strict=True)
        ],
        non_finite=odd.sum(axis=0).tolist(),
        straggler=None if behind is None else behind[0],
        behind_steps=None if behind is None else behind[1],
    )


def _in_buckets(snapshot: Snapshot, one: OfRank, buckets: Rollup, *, width: int, begin: Step, last: Step) -> Rollup:
    """A rank's rows, one for each of the buckets; one without points has none and no mean."""
    rows = query.curve(snapshot, one.shown, first=begin, last=last, at_least=max(1, len(buckets)))
    binned = combined(rows, bucket_starts(rows, width=width))
    wanted, held = buckets.lo // width, binned.lo // width
    place = np.minimum(np.searchsorted(held, wanted), max(len(held) - 1, 0))
    if not len(held):
        return _nothing(buckets)
    there = held[place] == wanted
    found = binned.part(place)
    nothing = _nothing(buckets)
    return Rollup(
        lo=found.lo,
        hi=found.hi,
        count=np.where(there, found.count, 0),
        finite=np.where(there, found.finite, 0),
        minimum=np.where(there, found.minimum, nothing.minimum),
        maximum=np.where(there, found.maximum, nothing.maximum),
        mean=np.where(there, found.mean, nothing.mean),
        last=np.where(there, found.last, nothing.last),
        decayed=found.decayed,
        weights=found.weights,
    )


def _nothing(buckets: Rollup) -> Rollup:
    none, nan = np.zeros(len(buckets), dtype=np.int64), np.full(len(buckets), np.nan)
    return Rollup(
        lo=buckets.lo,
        hi=buckets.hi,
        count=none,
        finite=none,
        minimum=nan,
        maximum=nan,
        mean=nan,
        last=nan,
        decayed=np.zeros((0, len(buckets))),
        weights=(),
    )


def _totals(snapshot: Snapshot, one: OfRank, window: tuple[Step, Step]) -> RankRow:
    rows = query.curve(snapshot, one.shown, first=window[0], last=window[1], at_least=1)
    known = np.flatnonzero(rows.finite > 0)
    return RankRow(
        rank=one.rank,
        points=int(rows.count.sum()),
        non_finite=int(rows.count.sum()) - int(rows.finite.sum()),
        last_step=int(rows.hi.max()) if len(rows) else None,
        last=float(rows.last[known[-1]]) if len(known) else None,
    )


def _behind(rows: Sequence[RankRow]) -> tuple[int, int] | None:
    """The rank whose newest step is lowest, and by how many steps; None if they are equally far."""
    reached = [(row.last_step, row.rank) for row in rows if row.last_step is not None]
    if not reached:
        return None
    (least, rank), (most, _) = min(reached), max(reached)
    return None if least == most else (rank, most - least)


def _where(known: NDArray[np.bool_], values: NDArray[np.float64]) -> list[float | None]:
    return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]

"""Questions to a snapshot of the index. Runs and series are named; rows and ids stay in here."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, TypeVar

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.analysis.rollup import Rollup
from barograph.errors import IndexRebuilding, LineError, UnknownRun, UnknownSeries
from barograph.index import points, rows
from barograph.index.curve import Shown, parts_of, shown_parts
from barograph.index.curve import count_points as read_count
from barograph.index.curve import curve as read_curve
from barograph.index.curve import odd_points as read_odd_points
from barograph.index.pyramid import OddPoints
from barograph.index.schema import IndexDamaged, check_row
from barograph.index.snapshot import Snapshot
from barograph.index.source import SourceState, decode_state, identity
from barograph.journal.layout import TRAIN, journal_files, run_directories
from barograph.records import Record, codec
from barograph.records.quantities import Attempt, Step

Kind = TypeVar("Kind", bound=Record)


class Source(Struct, frozen=True, kw_only=True):
    """One journal file of a run."""

    path: Annotated[str, Meta(description="Path below the root.")]
    id: Annotated[int, Meta(description="Row; means nothing outside its snapshot.")]
    state: Annotated[SourceState, Meta(description="What its lines added up to.")]
    grown_ns: Annotated[
        int, Meta(description="When it last grew, nanoseconds since 1970: by the file, if it is there.")
    ]
    behind: Annotated[
        bool, Meta(description="Whether there may be more than was read: it changed, or the index is not complete.")
    ]


class AttemptPoints(Struct, frozen=True, kw_only=True):
    """All points of a series, hidden ones included, in the order in which the attempts wrote them."""

    steps: Annotated[NDArray[np.int64], Meta(description="[points]")]
    values: Annotated[NDArray[np.float64], Meta(description="[points]; NaN and infinities are values.")]
    attempts: Annotated[NDArray[np.int64], Meta(description="[points], the attempt of each.")]


def run_names(snapshot: Snapshot) -> list[str]:
    """The runs, by name."""
    return [name for (name,) in snapshot.connection.execute("SELECT name FROM run ORDER BY name")]


def progress(snapshot: Snapshot) -> float:
    """How much of all journals is in the index, as a share of their bytes on disk, 0 to 1: for while it is being built.

    Looks at every journal file on disk.
    """
    reached = {one.path: one.state.position.offset for parts in sources_by_run(snapshot).values() for one in parts}
    read = there = 0
    for folder in run_directories(snapshot.root):
        for file in journal_files(folder):
            with suppress(OSError):
                size = file.place.stat().st_size
                offset = reached.get(str(file.path.relative_to(snapshot.root)), 0)
                there += size
                read += size if file.archived and offset else min(size, offset)
    return read / there if there else 0.0


def revisions(snapshot: Snapshot) -> dict[str, int]:
    """Run -> a number that differs whenever anything of it changed. It starts again when the index is rebuilt."""
    return dict(snapshot.connection.execute("SELECT name, revision FROM run").fetchall())


def sources(snapshot: Snapshot, run: str) -> list[Source]:
    """The journal files of a run, oldest attempt first. Raises `UnknownRun` or `IndexRebuilding`."""
    stored = rows.load_sources(snapshot.connection, _run_id(snapshot, run))
    found = [_source(snapshot, path, one.id, one.state) for path, one in stored.items()]
    return sorted(found, key=_by_age)


def sources_by_run(snapshot: Snapshot) -> dict[str, list[Source]]:
    """The journal files of every run, as `sources` gives them."""
    names = {number: name for name, number in rows.load_runs(snapshot.connection).items()}
    found: dict[str, list[Source]] = {name: [] for name in names.values()}
    for number, run, path, state, said in snapshot.connection.execute("SELECT * FROM source"):
        check_row(number, run, path, state, said=said)
        found[names[run]].append(_source(snapshot, path, number, decode_state(state)))
    return {name: sorted(found[name], key=_by_age) for name in sorted(found)}


def notices(snapshot: Snapshot, run: str) -> list[str]:
    """What is to be said of the files of a run. Raises `UnknownRun`."""
    return sorted(rows.load_notices(snapshot.connection, _run_id(snapshot, run)))


def root_notices(snapshot: Snapshot) -> list[str]:
    """What is to be said of the root itself: what lies in it and is not read."""
    return sorted(rows.load_notices(snapshot.connection, rows.ROOT))


def series_names(snapshot: Snapshot, run: str) -> list[str]:
    """The series of a run, sorted. Raises `UnknownRun`."""
    found = snapshot.connection.execute("SELECT name FROM series WHERE run = ?", (_run_id(snapshot, run),))
    return sorted(name for (name,) in found)


def series_points(snapshot: Snapshot, run: str, name: str) -> AttemptPoints:
    """Every point of a series. Raises `UnknownRun`, `UnknownSeries` or `IndexRebuilding`."""
    series = series_id(snapshot, run, name)
    if series is None:
        _wait_for_the_rest(snapshot, f"series {name[:200]!r} of run {run!r}")
        raise UnknownSeries(
            f"Run {run!r} has no series {name[:200]!r}",
            advice="It has not been logged yet, or under another name: the page of the run lists those that there are",
        )
    steps, values, attempts = [], [], []
    for source in sources(snapshot, run):
        part = points.series_points(snapshot.connection, series=series, source=source.id)
        steps.append(part.steps)
        values.append(part.values)
        attempts.append(np.full(len(part.steps), source.state.attempt, dtype=np.int64))
    return AttemptPoints(steps=np.concatenate(steps), values=np.concatenate(values), attempts=np.concatenate(attempts))


def newest_points(snapshot: Snapshot, run: str, name: str, *, attempt: Attempt, count: int) -> points.Points:
    """The last `count` points of a series in one attempt, as written; none if there is no such series."""
    return newest_points_of(snapshot, run, [name], attempt=attempt, count=count)[name]


def newest_points_of(
    snapshot: Snapshot, run: str, names: Sequence[str], *, attempt: Attempt, count: int
) -> dict[str, points.Points]:
    """The same of many series, by name: what they share in the database is read once."""
    known = {name: series_id(snapshot, run, name) for name in names}
    found: dict[str, list[points.Points]] = {name: [] for name in names}
    missing = {name: count for name, series in known.items() if series is not None}
    for source in reversed(sources(snapshot, run)):
        if source.state.attempt != attempt or not missing:
            continue
        wanted = [series for name in missing if (series := known[name]) is not None]
        parts = points.newest_points(snapshot.connection, series=wanted, source=source.id, count=count)
        for name, part in zip(list(missing), parts, strict=True):
            found[name].append(_last(part, missing[name]))
            missing[name] -= len(found[name][-1].steps)
            if missing[name] == 0:
                del missing[name]
    return {name: _in_order(parts) for name, parts in found.items()}


def times_of_steps(snapshot: Snapshot, run: str, steps: NDArray[np.int64], *, attempt: Attempt) -> NDArray[np.float64]:
    """When the rows of some steps of one attempt were logged, unix seconds; NaN where there is no such row.

    `steps` ascend. Where the window holds very many more rows than that, the time of a step may be that of one near it.
    """
    among = [one for one in sources(snapshot, run) if one.state.attempt == attempt and one.state.writer == TRAIN]
    found = parts_of(snapshot.connection, [(one.id, attempt) for one in among], series=points.TIMES)
    shown = shown_parts(snapshot.connection, found, hidden_from={})
    rows = curve(snapshot, shown, first=int(steps[0]), last=int(steps[-1]), at_least=4 * len(steps))
    if not len(rows):
        return np.full(len(steps), np.nan)
    places = np.maximum(np.searchsorted(rows.lo, steps, side="right") - 1, 0)
    there = (rows.lo[places] <= steps) & (steps <= rows.hi[places])
    times: NDArray[np.float64] = np.where(there, rows.last[places], np.nan)
    return times


def shown_series(
    snapshot: Snapshot, run: str, name: str, *, among: Sequence[Source], hidden_from: Mapping[Attempt, Step]
) -> list[Shown]:
    """Where the shown points of a series lie, for `curve` and `odd_points`; empty if there is no such series.

    `among` are the run's sources, or those of one attempt; `hidden_from` is what `analysis.attempts.shown_until` says.
    """
    series = series_id(snapshot, run, name)
    if series is None:
        return []
    found = parts_of(snapshot.connection, [(one.id, one.state.attempt) for one in among], series=series)
    return shown_parts(snapshot.connection, found, hidden_from=hidden_from)


def shown_times(
    snapshot: Snapshot, shown: Sequence[Shown], *, among: Sequence[Source], hidden_from: Mapping[Attempt, Step]
) -> list[Shown]:
    """The time of every row of the files that hold a series, as a series by step: unix seconds."""
    holding = {one.part.source for one in shown}
    wanted = [(one.id, one.state.attempt) for one in among if one.id in holding]
    found = parts_of(snapshot.connection, wanted, series=points.TIMES)
    return shown_parts(snapshot.connection, found, hidden_from=hidden_from)


def series_id(snapshot: Snapshot, run: str, name: str) -> int | None:
    """The row of a series, which means nothing outside its snapshot; None if there is none. Raises `UnknownRun`."""
    query = "SELECT id FROM series WHERE run = ? AND name = ?"
    row = snapshot.connection.execute(query, (_run_id(snapshot, run), name)).fetchone()
    return None if row is None else int(row[0])


def extent(shown: Sequence[Shown], *, first: Step, last: Step) -> tuple[Step, Step]:
    """The steps of a window that a series reaches at most; an empty window ends before it begins."""
    begins = [max(first, _first_step(one)) for one in shown]
    ends = [min(last, one.until, _last_step(one)) for one in shown]
    if not begins:
        return first, first - 1
    return min(begins), max(ends)


def count_points(snapshot: Snapshot, shown: Sequence[Shown], *, first: Step, last: Step) -> int:
    """How many points of a window there are in the parts of a curve, hidden ones included."""
    return read_count(snapshot.connection, [one.part for one in shown], first=first, last=last)


def curve(
    snapshot: Snapshot, shown: Sequence[Shown], *, first: Step, last: Step, at_least: int, weights: tuple[int, ...] = ()
) -> Rollup:
    """Rows for the shown points of a window, as `index.curve` has it."""
    return read_curve(snapshot.connection, shown, first=first, last=last, at_least=at_least, weights=weights)


def odd_points(snapshot: Snapshot, shown: Sequence[Shown], *, first: Step, last: Step, limit: int) -> OddPoints:
    """The first `limit` shown points of a window that are NaN or infinite."""
    return read_odd_points(snapshot.connection, shown, first=first, last=last, limit=limit)


def events(
    snapshot: Snapshot, run: str, kind: type[Kind], *, among: Sequence[Source] | None = None, limit: int | None = None
) -> list[Kind]:
    """The newest `limit` records of a kind, newest attempt and then last written first.

    `among` restricts them to some sources of the run. Raises `UnknownRun` or `IndexDamaged`.
    """
    tag = str(kind.__struct_config__.tag)
    found: list[Kind] = []
    query = "SELECT offset, line, sum FROM event WHERE source = ? AND kind = ? ORDER BY offset DESC LIMIT ?"
    for source in reversed(sources(snapshot, run) if among is None else among):
        room = -1 if limit is None else limit - len(found)
        if room == 0:
            break
        for offset, line, said in snapshot.connection.execute(query, (source.id, tag, room)):
            check_row(source.id, tag, offset, line, said=said)
            found.append(decoded(line, kind))
    return found


def _last(part: points.Points, count: int) -> points.Points:
    return points.Points(steps=part.steps[-count:], values=part.values[-count:])


def _in_order(newest_first: Sequence[points.Points]) -> points.Points:
    parts = [points.Points(steps=np.empty(0, dtype=np.int64), values=np.empty(0)), *newest_first[::-1]]
    return points.Points(
        steps=np.concatenate([part.steps for part in parts]), values=np.concatenate([part.values for part in parts])
    )


def _first_step(one: Shown) -> Step:
    steps: list[int] = [segment.first for segment in one.part.segments]
    return min([*steps, *(int(step) for step in one.part.steps[:1])])


def _last_step(one: Shown) -> Step:
    steps: list[int] = [segment.last for segment in one.part.segments]
    return max([*steps, *(int(step) for step in one.part.steps[-1:])])


def _source(snapshot: Snapshot, path: str, number: int, state: SourceState) -> Source:
    """A journal file as it is stored, and as it is: it may have grown while the indexer was busy elsewhere."""
    try:
        seen = identity(snapshot.root / path)
    except OSError:
        return Source(path=path, id=number, state=state, grown_ns=state.grown_ns, behind=not snapshot.ready)
    changed = seen != state.identity
    grown_ns = min(seen.changed_ns, time.time_ns()) if changed else state.grown_ns
    return Source(path=path, id=number, state=state, grown_ns=grown_ns, behind=changed or not snapshot.ready)


def _wait_for_the_rest(snapshot: Snapshot, what: str) -> None:
    """Raises `IndexRebuilding` while it cannot be known that there is no such thing."""
    if not snapshot.ready and snapshot.root.is_dir():
        raise IndexRebuilding(f"The index is being built, and {what} is not in it yet", advice="Ask again in a moment")


def _by_age(source: Source) -> tuple[Attempt, str, str]:
    return source.state.attempt, source.state.begun, source.path


def decoded(line: bytes, kind: type[Kind]) -> Kind:
    """The record of an event's line. Raises `IndexDamaged` if it is none of that kind."""
    try:
        record = codec.decode_line(line).record
    except LineError as error:
        raise IndexDamaged(f"an event cannot be read: {error.problem}") from error
    if not isinstance(record, kind):
        raise IndexDamaged(f"an event says {type(record).__name__} where a {kind.__name__} belongs")
    return record


def _run_id(snapshot: Snapshot, run: str) -> int:
    row = snapshot.connection.execute("SELECT id FROM run WHERE name = ?", (run,)).fetchone()
    if row is None:
        _wait_for_the_rest(snapshot, f"run {run[:200]!r}")
        raise UnknownRun(
            f"There is no run {run[:200]!r}",
            where=f"root {snapshot.root.name!r}",
            advice="It was deleted or renamed, or its name is misspelled: the list of runs has those that there are",
        )
    return int(row[0])

"""What the indexer writes, row by row; each function is part of its caller's transaction."""

import sqlite3
from collections.abc import Iterable

import msgspec

from barograph.index.fold import Event
from barograph.index.points import delete_points
from barograph.index.schema import row_sum
from barograph.index.source import SourceState, decode_state, encode_state

ROOT = 0
"""Stands for a run where notices are those of the root itself; the ids of runs begin at 1."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A source as the database has it."""

    id: int
    """Its row."""
    state: SourceState
    """Its newest state."""


def load_runs(connection: sqlite3.Connection) -> dict[str, int]:
    """Run name -> id."""
    return {str(name): int(number) for name, number in connection.execute("SELECT name, id FROM run")}


def load_sources(connection: sqlite3.Connection, run: int) -> dict[str, Stored]:
    """Path below the root -> source. Raises `IndexDamaged`."""
    rows = connection.execute("SELECT path, id, state FROM source WHERE run = ?", (run,))
    return {path: Stored(id=number, state=decode_state(state)) for path, number, state in rows}


def load_notices(connection: sqlite3.Connection, run: int) -> frozenset[str]:
    """The notices of a run, or of the root: `ROOT`."""
    return frozenset(text for (text,) in connection.execute("SELECT text FROM notice WHERE run = ?", (run,)))


def load_headers(connection: sqlite3.Connection, source: int) -> dict[str, list[str]]:
    """Header id -> names, of one source."""
    rows = connection.execute("SELECT id, names FROM header WHERE source = ?", (source,))
    return {header: msgspec.msgpack.decode(names, type=list[str]) for header, names in rows}


def add_run(connection: sqlite3.Connection, name: str) -> int:
    """A new run's id."""
    (number,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM run").fetchone()
    connection.execute("INSERT INTO run VALUES (?, ?, ?, ?)", (number, name, 1, row_sum(number, name, 1)))
    return int(number)


def touch_run(connection: sqlite3.Connection, run: int) -> None:
    """Counts one more change of a run."""
    name, revision = connection.execute("SELECT name, revision FROM run WHERE id = ?", (run,)).fetchone()
    connection.execute(
        "UPDATE run SET revision = ?, sum = ? WHERE id = ?", (revision + 1, row_sum(run, name, revision + 1), run)
    )


def forget_sources(connection: sqlite3.Connection, run: int) -> None:
    """Deletes everything of a run but its row."""
    for (source,) in connection.execute("SELECT id FROM source WHERE run = ?", (run,)).fetchall():
        delete_points(connection, source)
        connection.execute("DELETE FROM event WHERE source = ?", (source,))
        connection.execute("DELETE FROM header WHERE source = ?", (source,))
    connection.execute("DELETE FROM source WHERE run = ?", (run,))
    connection.execute("DELETE FROM series WHERE run = ?", (run,))


def forget_run(connection: sqlite3.Connection, run: int) -> None:
    """Deletes a run."""
    forget_sources(connection, run)
    connection.execute("DELETE FROM notice WHERE run = ?", (run,))
    connection.execute("DELETE FROM run WHERE id = ?", (run,))


def add_source(connection: sqlite3.Connection, path: str, *, run: int, state: SourceState) -> int:
    """A new source's id."""
    (number,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM source").fetchone()
    raw = encode_state(state)
    total = row_sum(number, run, path, raw)
    connection.execute("INSERT INTO source VALUES (?, ?, ?, ?, ?)", (number, run, path, raw, total))
    return int(number)


def store_state(connection: sqlite3.Connection, source: int, state: SourceState) -> None:
    """Replaces the state of a source."""
    run, path = connection.execute("SELECT run, path FROM source WHERE id = ?", (source,)).fetchone()
    raw = encode_state(state)
    connection.execute(
        "UPDATE source SET state = ?, sum = ? WHERE id = ?", (raw, row_sum(source, run, path, raw), source)
    )


def series_id(connection: sqlite3.Connection, run: int, name: str) -> int:
    """The id of a series, made if it is new."""
    row = connection.execute("SELECT id FROM series WHERE run = ? AND name = ?", (run, name)).fetchone()
    if row is not None:
        return int(row[0])
    (number,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM series").fetchone()
    connection.execute("INSERT INTO series VALUES (?, ?, ?, ?)", (number, run, name, row_sum(number, run, name)))
    return int(number)


def add_events(connection: sqlite3.Connection, source: int, events: Iterable[Event]) -> None:
    """Stores the events of a batch."""
    connection.executemany(
        "INSERT INTO event VALUES (?, ?, ?, ?, ?)",
        (
            (source, event.kind, event.offset, event.line, row_sum(source, event.kind, event.offset, event.line))
            for event in events
        ),
    )


def add_headers(connection: sqlite3.Connection, source: int, headers: dict[str, list[str]]) -> None:
    """Stores column headers; one that is repeated replaces itself."""
    for header, names in headers.items():
        raw = msgspec.msgpack.encode(names)
        connection.execute(
            "INSERT OR REPLACE INTO header VALUES (?, ?, ?, ?)", (source, header, raw, row_sum(source, header, raw))
        )


def store_notices(connection: sqlite3.Connection, run: int, notices: frozenset[str]) -> None:
    """Replaces the notices of a run, or of the root: `ROOT`."""
    connection.execute("DELETE FROM notice WHERE run = ?", (run,))
    connection.executemany(
        "INSERT INTO notice VALUES (?, ?, ?)", ((run, text, row_sum(run, text)) for text in sorted(notices))
    )


def is_complete(connection: sqlite3.Connection) -> bool:
    """Whether the first scan of everything has ended."""
    return bool(connection.execute("SELECT complete FROM about").fetchone()[0])


def set_complete(connection: sqlite3.Connection) -> None:
    """Says that the first scan of everything has ended."""
    connection.execute("UPDATE about SET complete = 1, sum = ?", (row_sum(1, 1),))

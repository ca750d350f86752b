"""The tables of the index, their version, and how a damaged index is told from a good one.

Every row ends in `sum`, the CRC-32 of its other columns, so that a flipped bit is found wherever it lies; SQLite has no
checksums of its own. Free pages are not covered and not used. Nothing here is worth repairing: the journal is the
truth, so an index that fails any check is thrown away and built again.

    about    one row: whether the first scan of everything has ended
    run      one row per run; `revision` grows with every change of its rows
    source   one row per journal file; `state` is a `SourceState`, offset included
    header   the column headers of wide rows
    series   id of each series name of a run
    pending  points as they came: one row per scan, all series of a source mixed
    loose    points of one series of one source that do not fill a chunk yet
    segment  a stretch of ascending steps of one series of one source: what its pyramid holds
    block    4,096 points, or 256 rows of a level above them
    odd      up to 256 points of a segment that are NaN or infinite; `first` is the place of the first of them
    event    every other line worth keeping, as canonical JSON
    notice   what a reader of a run should know, or of the root itself (run 0, which no run has)
"""

import sqlite3
import zlib
from collections.abc import Callable, Sequence

import msgspec

from barograph.errors import BarographError
from barograph.records import FORMAT, KINDS

APPLICATION = 0x6261726F
"""SQLite's `application_id`: the letters `baro`."""

FOLD = 7
"""To be raised whenever the tables, `SourceState`, or what is made of a line changes."""


def vocabulary_version(fold: int, kinds: Sequence[type[msgspec.Struct]]) -> int:
    """A number that differs whenever the same journal might be read differently: another fold, or other records.

    Lines that an older version refused may be fine for this one, so its index is not the answer of this one.
    """
    schemas = msgspec.json.schema_components(kinds, ref_template="{name}")
    return zlib.crc32(repr((fold, FORMAT, schemas)).encode()) & 0x7FFFFFFF


VERSION = vocabulary_version(FOLD, KINDS)
"""SQLite's `user_version`. An index with any other one, older or newer, is rebuilt."""

_COLUMNS = {
    "about": "id INTEGER PRIMARY KEY, complete INTEGER NOT NULL",
    "run": "id INTEGER PRIMARY KEY, name TEXT NOT NULL, revision INTEGER NOT NULL",
    "source": "id INTEGER PRIMARY KEY, run INTEGER NOT NULL, path TEXT NOT NULL, state BLOB NOT NULL",
    "header": "source INTEGER NOT NULL, id TEXT NOT NULL, names BLOB NOT NULL",
    "series": "id INTEGER PRIMARY KEY, run INTEGER NOT NULL, name TEXT NOT NULL",
    "pending": "source INTEGER NOT NULL, number INTEGER NOT NULL, points BLOB NOT NULL",
    "loose": "source INTEGER NOT NULL, series INTEGER NOT NULL, number INTEGER NOT NULL, points BLOB NOT NULL",
    "segment": "source INTEGER NOT NULL, series INTEGER NOT NULL, number INTEGER NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, points INTEGER NOT NULL, newest BLOB NOT NULL",
    "block": "source INTEGER NOT NULL, series INTEGER NOT NULL, segment INTEGER NOT NULL, level INTEGER NOT NULL,"
    " number INTEGER NOT NULL, lo INTEGER NOT NULL, data BLOB NOT NULL",
    "odd": "source INTEGER NOT NULL, series INTEGER NOT NULL, segment INTEGER NOT NULL, first INTEGER NOT NULL,"
    " data BLOB NOT NULL",
    "event": "source INTEGER NOT NULL, kind TEXT NOT NULL, offset INTEGER NOT NULL, line BLOB NOT NULL",
    "notice": "run INTEGER NOT NULL, text TEXT NOT NULL",
}
_UNIQUE = {
    "run": "name",
    "source": "path",
    "header": "source, id",
    "series": "run, name",
    "pending": "source, number",
    "loose": "source, series, number",
    "segment": "source, series, number",
    "block": "source, series, segment, level, number",
    "odd": "source, series, segment, first",
    "event": "source, kind, offset",
    "notice": "run, text",
}

SCHEMA: tuple[str, ...] = (
    *(f"CREATE TABLE {name} ({columns}, sum INTEGER NOT NULL)" for name, columns in _COLUMNS.items()),
    *(f"CREATE UNIQUE INDEX one_{name} ON {name} ({columns})" for name, columns in _UNIQUE.items()),
    # Which chunk holds a step: the search that a window begins with.
    "CREATE INDEX chunk_of_step ON block (source, series, segment, lo, number) WHERE level = 0",
)

_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}

Cell = int | str | bytes


class IndexDamaged(BarographError):
    """The index cannot be trusted; whoever indexes builds it again from the journal."""


def row_sum(*cells: Cell) -> int:
    """CRC-32 of a row's cells."""
    total = 0
    for cell in cells:
        if isinstance(cell, bytes):
            total = zlib.crc32(cell, total)
        else:
            total = zlib.crc32(repr(cell).encode("utf-8", "surrogatepass"), total)
    return total


def create(connection: sqlite3.Connection) -> None:
    """Makes all tables in one transaction: a half-made index has no version and is not taken for a whole one."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO about VALUES (1, 0, ?)", (row_sum(1, 0),))
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the file is an index of this version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(application == APPLICATION and version == VERSION)


def never() -> bool:
    """Says that nothing asked for an end."""
    return False


def verify(connection: sqlite3.Connection, *, stopped: Callable[[], bool] = never) -> None:
    """Reads every page and every row; raises `IndexDamaged` at the first that is wrong. About 1 s per GB.

    `stopped` is asked now and then, and ends it.
    """
    if not is_ours(connection):
        raise IndexDamaged("it is no index of this version")
    written = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if written != set(SCHEMA):
        raise IndexDamaged("its tables are not the ones of this version")
    (first_finding,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if first_finding != "ok":
        raise IndexDamaged(f"SQLite says: {first_finding}")
    for name in _COLUMNS:
        for *cells, said in connection.execute(f"SELECT * FROM {name}"):  # noqa: S608 - the names are constants
            check_row(*cells, said=said)
            if stopped():
                return


def check_row(*cells: Cell, said: int) -> None:
    """Raises `IndexDamaged` if a row's sum is not what it says."""
    if row_sum(*cells) != said:
        raise IndexDamaged("a row's checksum does not fit the row")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite means that the file is broken, and not that it is busy or that the disk is full."""
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DAMAGE
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.DataError | sqlite3.NotSupportedError):
        return False
    return isinstance(error, sqlite3.DatabaseError)


def decode_text(raw: bytes) -> str:
    """For `text_factory`: a damaged text must reach the checksum and not raise on its way."""
    return raw.decode("utf-8", "replace")

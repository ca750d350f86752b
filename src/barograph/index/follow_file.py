"""Reads on in one journal file and commits what it finds, offset and rows together."""

import gc
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from barograph.errors import DamagedArchive
from barograph.index import rows
from barograph.index.change import kinds_of
from barograph.index.database import transaction
from barograph.index.fold import SourceFold
from barograph.index.points import add_points
from barograph.index.rows import Stored
from barograph.index.source import Head, Identity, SourceState
from barograph.journal.content import Content
from barograph.journal.layout import JournalFile
from barograph.journal.open_content import open_content
from barograph.journal.reader import TailReader

HEAD_BYTES = 1_024


class Followed(Struct, frozen=True, kw_only=True):
    """What reading on in a file brought."""

    stored: Stored
    """The file as the database has it now."""
    what: set[str]
    """Kinds of what was new, in the words of `Change.what`."""


def follow_file(
    connection: sqlite3.Connection,
    file: JournalFile,
    *,
    root: Path,
    run: int,
    known: Stored | None,
    identity: Identity,
) -> Followed:
    """Everything new in `file`, batch by batch; `identity` is how it was when the scan looked at it.

    Raises `OSError` or a `JournalError` if it cannot be read; what was committed until then stays right.
    """
    path = str(file.path.relative_to(root))
    grown_ns = min(identity.changed_ns, time.time_ns())
    if known is not None and identity.archived:
        grown_ns = known.state.grown_ns  # compressed, by whatever means: that is no sign of life
    state = known.state if known else _unread(file, identity, grown_ns)
    source = known.id if known else None
    headers = rows.load_headers(connection, source) if source is not None else {}
    fold = SourceFold(
        state, path=path, known_headers=headers, series_id=lambda name: rows.series_id(connection, run, name)
    )
    what: set[str] = set()
    with TailReader(root, file.path, state.position) as reader:
        more = True
        while more:
            with _without_collection():
                batch = reader.read()
                more = batch.more
                what |= kinds_of(batch)
                with transaction(connection):
                    fold.update(batch)
                    # Only the last batch signs for the file as it was: after a crash before it, the file counts as
                    # changed.
                    seen = replace(identity, changed_ns=-1) if more else identity
                    head = _head(root, file.path, fold.state)
                    fold.state = replace(fold.state, identity=seen, grown_ns=grown_ns, head=head)
                    if source is None:
                        source = rows.add_source(connection, path, run=run, state=fold.state)
                    else:
                        rows.store_state(connection, source, fold.state)
                    rows.add_headers(connection, source, fold.headers)
                    rows.add_events(connection, source, fold.events)
                    add_points(connection, fold.points, source=source, number=batch.position.offset)
                    rows.touch_run(connection, run)
    assert source is not None
    return Followed(stored=Stored(id=source, state=fold.state), what=what)


@contextmanager
def _without_collection() -> Iterator[None]:
    """A batch becomes tens of thousands of objects of which none is part of a cycle; looking for cycles among them
    takes a tenth of a rebuild."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def goes_on(state: SourceState, identity: Identity, *, root: Path, path: Path) -> bool:
    """Whether the file is the one that `state` was read from, with nothing taken away. Raises as `follow_file`.

    Compressing a file makes another one of it, with the same bytes at the same offsets.
    """
    same = (identity.device, identity.inode) == (state.identity.device, state.identity.inode)
    if not (same or identity.archived or state.identity.archived):
        return False
    content = open_content(root, path)
    try:
        return content.size >= state.position.offset and _sum(content, state.head.length) == state.head.sum
    finally:
        content.close()


def head_sum(root: Path, path: Path, length: int) -> int:
    """CRC-32 of the first `length` bytes of a file. Raises as `follow_file`."""
    content = open_content(root, path)
    try:
        return _sum(content, length)
    finally:
        content.close()


def _sum(content: Content, length: int) -> int:
    return zlib.crc32(content.read(length, 0).data)


def _unread(file: JournalFile, identity: Identity, grown_ns: int) -> SourceState:
    return SourceState(
        writer=file.writer,
        attempt=file.attempt,
        begun=file.begun,
        identity=identity,
        grown_ns=grown_ns,
        reading=secrets.randbits(63),
    )


def _head(root: Path, path: Path, state: SourceState) -> Head:
    """The head of what was read so far, at most `HEAD_BYTES` of it."""
    length = min(HEAD_BYTES, state.position.offset)
    if length == state.head.length:
        return state.head
    try:
        return Head(length=length, sum=head_sum(root, path, length))
    except DamagedArchive:
        return state.head

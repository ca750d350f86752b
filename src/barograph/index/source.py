"""What the index knows of one journal file: how far it was read, and what its lines added up to."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.analysis.finite_losses import NO_LOSSES, FiniteLosses
from barograph.index.schema import IndexDamaged
from barograph.journal.layout import archive_of
from barograph.journal.reader import Position
from barograph.records import Banner, Hardware, Pause, RunComplete, Signals
from barograph.records.quantities import Attempt, Count, Seconds, Step


class Identity(Struct, frozen=True, kw_only=True):
    """What tells that a file is still the one that was read, and whether it changed."""

    device: int
    """Number of its file system."""
    inode: int
    """Number of the file in it."""
    size: int
    """Bytes."""
    changed_ns: int
    """Its modification time, in nanoseconds since 1970; -1 where it was not read to its end: no file has that."""
    archived: bool = False
    """Whether it is the compressed file; its size is then that one's."""


class Head(Struct, frozen=True, kw_only=True):
    """CRC-32 of the first bytes of a file: a file that was written anew in place keeps its inode, not its head."""

    length: Count
    """How many bytes."""
    sum: int
    """Their CRC-32."""


class Mark(Struct, frozen=True, kw_only=True):
    """A step line's step and time."""

    step: Step
    """Its step."""
    time: Seconds
    """Its time; may be NaN, since the writer's clock is only a label."""


class NewestLoss(Struct, frozen=True, kw_only=True):
    """The loss of the newest step line that has one."""

    step: Step
    """Its step."""
    value: float
    """Nats; may be NaN or infinite."""


class SourceState(Struct, frozen=True, kw_only=True):
    """The fold over the lines of one journal file, stored in the transaction that stores their rows."""

    writer: Annotated[str, Meta(description="`train` for rank 0, else `rankN` or the process's word.")]
    attempt: Annotated[Attempt, Meta(description="Which start of the run.")]
    begun: Annotated[str, Meta(description="UTC time of its creation, as its name says.")]
    identity: Annotated[Identity, Meta(description="The file when it was last read.")]
    grown_ns: Annotated[
        int, Meta(description="When it last grew, nanoseconds since 1970; a time to come is that of the scan.")
    ]
    head: Annotated[Head, Meta(description="Its first bytes.")] = Head(length=0, sum=0)
    reading: Annotated[
        int, Meta(description="A random number for each time that the file was read from its beginning.")
    ] = 0
    position: Annotated[Position, Meta(description="Where to go on reading.")] = Position()
    torn: Annotated[Count, Meta(description="Bytes of an unfinished last line.")] = 0
    good: Annotated[Count, Meta(description="Lines that were read.")] = 0
    bad: Annotated[Count, Meta(description="Lines that were refused.")] = 0
    unchecked: Annotated[Count, Meta(description="Lines without a checksum.")] = 0
    unknown: Annotated[Count, Meta(description="Lines of unknown kinds.")] = 0
    lost: Annotated[Count, Meta(description="Records that the writer had to drop.")] = 0
    rejected: Annotated[Count, Meta(description="Kinds of values that were no numbers: lines that say so.")] = 0
    rejected_examples: Annotated[tuple[str, ...], Meta(description="The first of them, by key and type.")] = ()
    examples: Annotated[tuple[str, ...], Meta(description="Where the first refused lines are, and why.")] = ()
    banner: Annotated[Banner | None, Meta(description="Its banner, without the bulky config and versions.")] = None
    pause: Annotated[Pause | None, Meta(description="Its newest pause line.")] = None
    complete: Annotated[RunComplete | None, Meta(description="Its completion, without the summary.")] = None
    total_steps: Annotated[Step | None, Meta(description="Planned steps, as last said.")] = None
    newest_loss: Annotated[NewestLoss | None, Meta(description="Its newest loss.")] = None
    first_step: Annotated[Step | None, Meta(description="Least step of its step lines.")] = None
    last_step: Annotated[Step | None, Meta(description="Greatest step of its step lines.")] = None
    first_loss: Annotated[Step | None, Meta(description="Least step of its step lines with a loss.")] = None
    losses: Annotated[FiniteLosses, Meta(description="How many losses it has, and how many are no numbers.")] = (
        NO_LOSSES
    )
    least_non_finite: Annotated[Step | None, Meta(description="Least step of a loss that is no number.")] = None
    first_mark: Annotated[Mark | None, Meta(description="Its first step line.")] = None
    newest_mark: Annotated[Mark | None, Meta(description="Its newest step line.")] = None
    heartbeat_step: Annotated[Step | None, Meta(description="Step that its newest heartbeat names.")] = None
    signals: Annotated[Signals | None, Meta(description="Its newest line of signals.")] = None
    hardware: Annotated[Hardware | None, Meta(description="Its newest word about the machine.")] = None
    last_time: Annotated[Seconds | None, Meta(description="Time of its newest line that has one.")] = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SourceState).decode


def encode_state(state: SourceState) -> bytes:
    """MessagePack, because it has NaN."""
    return _encode(state)


def decode_state(raw: bytes) -> SourceState:
    """The state of a row; raises `IndexDamaged`."""
    try:
        return _decode(raw)
    except msgspec.MsgspecError as error:
        raise IndexDamaged(f"the state of a source cannot be read: {error}") from error


def identity(path: Path) -> Identity:
    """The identity of the journal file of the logical path `path`, now. Raises `OSError`."""
    try:
        return _identity(path.lstat(), archived=False)
    except FileNotFoundError:
        return _identity(archive_of(path).lstat(), archived=True)


def _identity(status: os.stat_result, *, archived: bool) -> Identity:
    return Identity(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        changed_ns=status.st_mtime_ns,
        archived=archived,
    )

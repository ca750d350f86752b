"""Passes over checkpoints as the journal has them: a summary line, and the lines of its tensors right before it."""

from typing import Annotated

from msgspec import Meta, Struct

from barograph.index.query import decoded, sources
from barograph.index.schema import check_row
from barograph.index.snapshot import Snapshot
from barograph.records import TensorPass, WeightsPass
from barograph.records.quantities import Attempt, Count

_SUMMARY = str(WeightsPass.__struct_config__.tag)
_ROW = str(TensorPass.__struct_config__.tag)


class StoredPass(Struct, frozen=True, kw_only=True):
    """One pass, and where its lines are."""

    summary: Annotated[WeightsPass, Meta(description="What was read, and when.")]
    attempt: Annotated[Attempt, Meta(description="Attempt whose checkpoint it was.")]
    source: Annotated[int, Meta(description="Row of its journal file; means nothing outside its snapshot.")]
    path: Annotated[str, Meta(description="That file, below the root.")]
    reading: Annotated[int, Meta(description="A random number for each time that the file was read anew.")]
    offset: Annotated[Count, Meta(description="First byte of the summary in it.")]


def weights_passes(snapshot: Snapshot, run: str) -> list[StoredPass]:
    """Every pass of a run, in the order in which they were written. Raises `UnknownRun` or `IndexDamaged`."""
    found = []
    query = "SELECT offset, line, sum FROM event WHERE source = ? AND kind = ? ORDER BY offset"
    for source in sources(snapshot, run):
        for offset, line, said in snapshot.connection.execute(query, (source.id, _SUMMARY)):
            check_row(source.id, _SUMMARY, offset, line, said=said)
            found.append(
                StoredPass(
                    summary=decoded(line, WeightsPass),
                    attempt=source.state.attempt,
                    source=source.id,
                    path=source.path,
                    reading=source.state.reading,
                    offset=offset,
                )
            )
    return found


def tensor_passes(snapshot: Snapshot, stored: StoredPass) -> list[TensorPass]:
    """The tensors of one pass, in the order of names; empty if not all of them are there, or they are of another.

    Its writer puts them right before the summary, so they are the last ones before it in its file.
    """
    summary = stored.summary
    query = (
        "SELECT offset, line, sum FROM event WHERE source = ? AND kind = ? AND offset < ? ORDER BY offset DESC LIMIT ?"
    )
    found = []
    for offset, line, said in snapshot.connection.execute(query, (stored.source, _ROW, stored.offset, summary.tensors)):
        check_row(stored.source, _ROW, offset, line, said=said)
        found.append(decoded(line, TensorPass))
    whole = len(found) == summary.tensors
    same = all((row.checkpoint, row.time) == (summary.checkpoint, summary.time) for row in found)
    return found[::-1] if whole and same else []

"""What one scan found: which runs changed, and by what kinds of lines."""

from typing import Annotated

from msgspec import Meta, Struct

from barograph.journal.reader import Batch
from barograph.records import ExactMatch, Step
from barograph.records.codec import Unknown

ANY = ("any",)
"""What changed where another process indexes: that is not known."""
FILES = "files"
"""A file came, went, grew by lines that cannot be read or are of an unknown kind, or there is a notice about one."""
POINTS = "points"


class Change(Struct, frozen=True, kw_only=True):
    """What is new of one run."""

    run: Annotated[str, Meta(description="Its name.")]
    what: Annotated[
        tuple[str, ...],
        Meta(
            description="Kinds of news, sorted: `points`, `heartbeat`, the `type` of a record, `files` (files, notices,"
            " lines that cannot be read), or only `any` where another process indexes."
        ),
    ]


class ScanResult(Struct, frozen=True, kw_only=True):
    """What one scan found."""

    changed: Annotated[tuple[Change, ...], Meta(description="Runs that have new lines, files or notices, by name.")]
    gone: Annotated[tuple[str, ...], Meta(description="Runs that are not there any more.")]
    rebuilt: Annotated[str | None, Meta(description="Why the index was thrown away and built again, if it was.")] = None

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that changed."""
        return tuple(change.run for change in self.changed)


def kinds_of(batch: Batch) -> set[str]:
    """What the lines of one batch bring, in the words of `Change.what`. A batch without whole lines is about the file:
    its last line is torn."""
    types = {type(entry.record) for entry in batch.entries}
    kinds = {POINTS if kind is Step else str(kind.__struct_config__.tag) for kind in types - {Unknown}}
    if ExactMatch in types:
        kinds.add(POINTS)
    if batch.bad or not batch.entries or Unknown in types:
        kinds.add(FILES)
    return kinds

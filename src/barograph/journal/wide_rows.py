"""Wide rows: the names once in a header line, then only values.

A log of 200 layer norms repeats 200 names at every step. From `WIDE` metrics on, a row whose names were seen before is
written as values, and a `Columns` line names them: before the first such row of a file and again every 1,000 rows, so
that a reader that begins in the middle waits for one at most that long. Names, or values, that do not fit into one
line stay narrow: such a row is written in portions.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from barograph.errors import LineError
from barograph.journal.reader import LINE_LIMIT
from barograph.records import Columns, Step, codec

WIDE = 32
"""Fewest metrics that make a row wide."""

REPEAT = 1_000
"""Rows after which a header is written again."""

_KNOWN = 64
"""Most sets of names that are remembered; a log with more of them is written narrow."""

_VALUE_BYTES = len("-2.2250738585072014e-308,")
"""The longest that a float becomes in a line."""

_ROW_BYTES = 300
"""More than a wide row has beside its values."""


def columns(names: Sequence[str]) -> Columns:
    """The header of `names`; its id is a hash of them, so equal names have equal ids in every file."""
    digest = blake2b("\0".join(names).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return Columns(id=digest, names=list(names))


def metrics_of(step: Step, headers: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The named metrics of a step line, wide or narrow. `headers` maps the id of each header seen so far to its names.

    Raises `LineError("unknown_columns")` if the header is missing or does not fit.
    """
    if step.columns is None:
        return step.metrics
    names = headers.get(step.columns)
    if names is None or len(names) != len(step.values):
        seen = "no such header before it" if names is None else f"{len(names)} names for {len(step.values)} values"
        raise LineError("unknown_columns", f"the row refers to columns {step.columns!r}: {seen}")
    return {**step.metrics, **dict(zip(names, step.values, strict=True))}


class WideRows:
    """A fold over the step records of one file: which of them to write wide, and when to repeat a header."""

    def __init__(self, *, line_limit: int = LINE_LIMIT) -> None:
        """`line_limit`: bytes that no header and no wide row may exceed."""
        self._line_limit = line_limit
        self._headers: dict[tuple[str, ...], Columns] = {}
        self._rows_since: dict[str, int] = {}

    def headers(self) -> tuple[Columns, ...]:
        """The headers that rows were written under, for a file that goes on where another one was left."""
        return tuple(header for header in self._headers.values() if header.id in self._rows_since)

    def update(self, step: Step) -> tuple[Columns | Step, ...]:
        """The lines that say what `step` says: itself, or a wide row, with its header before it where one is due."""
        if len(step.metrics) < WIDE:
            return (step,)
        names = tuple(step.metrics)
        header = self._headers.get(names)
        if header is None:
            if len(self._headers) < _KNOWN and self._fits(new := columns(names)):
                self._headers[names] = new
            return (step,)
        row = Step(
            step=step.step, loss=step.loss, time=step.time, columns=header.id, values=list(step.metrics.values())
        )
        since = self._rows_since.get(header.id)
        if since is None or since >= REPEAT:
            self._rows_since[header.id] = 1
            return (header, row)
        self._rows_since[header.id] = since + 1
        return (row,)

    def _fits(self, header: Columns) -> bool:
        row = _ROW_BYTES + _VALUE_BYTES * len(header.names)
        return row <= self._line_limit and len(codec.encode_line(header)) <= self._line_limit

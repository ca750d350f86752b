r"""Reads the losses of a journal file in one go: what a verdict over a finished curve needs, and nothing else.

Lines are read a megabyte at a time and decoded in one call, which looks at three keys of each; only where that call
refuses, or where something may be wrong that it does not see (a checksum, a key twice), is every line looked at by
itself. So a log of a million lines takes a fifth of a second to decode, and one with a broken line in it is still read
to its end, with the line located and counted.

The format is that of our own journals and of the logs that seed 004 reads: `{"type": "step", "step": 7, "loss": 1.5}`.
A checksum is verified where there is one. NaN and the infinities are numbers, as the literals that Python writes and as
our three spellings; `"7"`, `true`, `7.9`, -1 and whatever does not fit into 64 bits are no steps, and
7.0 is one. A last line without
its newline counts if it can be read.
"""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from zlib import crc32

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from barograph.errors import DamagedArchive, LineError
from barograph.journal.content import Content
from barograph.journal.open_content import open_content
from barograph.journal.reader import LINE_LIMIT, BadLine
from barograph.records import Record, codec
from barograph.records.quantities import Count

STEP = "step"
BANNER = "banner"
EXAMPLES = 20
"""Refused lines that are described; all are counted."""
NAMED = 200
"""Step lines of which the names of metrics are noted."""
LAST_STEP = 2**63 - 1
_SUM = b',"_c":"'
_SUM_LENGTH = len(_SUM) + len(b'00000000"}')
_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NO_METRICS = {"type", "step", "loss", "time", "timestamp", "_c", "metrics", "columns", "values"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class FileLosses(Struct, frozen=True, kw_only=True):
    """What one file holds of a curve, in the order of its lines."""

    steps: Annotated[NDArray[np.int64], Meta(description="[points]")]
    losses: Annotated[NDArray[np.float64], Meta(description="[points], nats; NaN and infinities are values.")]
    begins: Annotated[tuple[Count, ...], Meta(description="Points before each banner after the first line.")]
    lines: Annotated[Count, Meta(description="Whole lines that are not empty, refused ones included.")]
    step_lines: Annotated[Count, Meta(description="Step lines, those without a loss included.")]
    bad: Annotated[Count, Meta(description="Lines that were refused.")]
    torn: Annotated[Count, Meta(description="Bytes of an unfinished last line.")]
    unchecked: Annotated[Count, Meta(description="Lines without a checksum.")]
    examples: Annotated[tuple[BadLine, ...], Meta(description="The first refused lines.")]
    metrics: Annotated[tuple[str, ...], Meta(description="Names of metrics in the first step lines, sorted.")]
    records: Annotated[tuple[Record, ...], Meta(description="Whole lines of the kinds that were asked for, in order.")]


class _Line(Struct, gc=False):
    type: str
    step: int | None = None
    loss: float | str | None = None


_decoder = msgspec.json.Decoder(_Line)


def read_losses(root: Path, path: Path, *, kinds: Sequence[type[Record]] = ()) -> FileLosses:
    """The losses of the journal file `path` inside `root`, or of its archive; and its records of `kinds`.

    Raises `OSError` if it cannot be read, `UnsafePath` for what is no regular file.
    """
    content = open_content(root, path)
    try:
        return _Reading(content, kinds).finished()
    finally:
        content.close()


class _Reading:
    """A fold over the pieces of one file."""

    def __init__(self, content: Content, kinds: Sequence[type[Record]]) -> None:
        self._content = content
        self._kinds = tuple(kinds)
        self._tags = tuple(b'"type":"%b"' % str(kind.__struct_config__.tag).encode() for kind in kinds)
        self._records: list[Record] = []
        self._steps: list[NDArray[np.int64]] = []
        self._losses: list[NDArray[np.float64]] = []
        self._points = 0
        self._begins: list[int] = []
        self._lines = 0
        self._step_lines = 0
        self._bad = 0
        self._unchecked = 0
        self._torn = 0
        self._examples: list[BadLine] = []
        self._metrics: set[str] = set()

    def finished(self) -> FileLosses:
        """Reads to the end."""
        offset = 0
        while True:
            try:
                piece = self._content.read(LINE_LIMIT + 1, offset)
            except DamagedArchive as damage:
                behind = self._content.size if damage.end is None else damage.end
                self._refuse(offset, behind - offset, LineError("damaged", str(damage)))
                offset = behind
                continue
            end = piece.data.rfind(b"\n") + 1
            if end:
                self._take(piece.data[:end], offset)
                offset += end
            elif piece.more:
                offset = self._pass_over(offset)
            else:
                self._last(piece.data, offset)
                break
            if not piece.more and end == len(piece.data):
                break
        return FileLosses(
            steps=np.concatenate([*self._steps, np.empty(0, np.int64)]),
            losses=np.concatenate([*self._losses, np.empty(0, np.float64)]),
            begins=tuple(self._begins),
            lines=self._lines,
            step_lines=self._step_lines,
            bad=self._bad,
            torn=self._torn,
            unchecked=self._unchecked,
            examples=tuple(self._examples),
            metrics=tuple(sorted(self._metrics)),
            records=tuple(self._records),
        )

    def _take(self, text: bytes, offset: int) -> None:
        """Whole lines; `text` ends in a newline."""
        if self._step_lines < NAMED:
            self._note_names(text)
        if any(tag in text for tag in self._tags):
            self._note_records(text)
        if offset == 0:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        count = text.count(b"\n")
        summed = text.count(_SUM)
        rows = None
        plain = text.count(b'"step":') <= count and text.count(b'"loss":') <= count and summed in (0, count)
        plain = plain and (text.isascii() or _is_utf8(text))
        if plain and (not summed or all(map(_is_whole, text.split(b"\n")[:-1]))):
            with suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                rows = _decoder.decode_lines(text)
        if rows is None or not self._take_rows(rows, unchecked=0 if summed else len(rows)):
            self._take_singly(text, offset)

    def _take_rows(self, rows: list[_Line], *, unchecked: int) -> bool:
        """Lines that were decoded in one call; False, with nothing taken, if one of them needs a closer look."""
        kinds = {row.type for row in rows}
        steps = rows if kinds == {STEP} else [row for row in rows if row.type == STEP]
        values = [row.loss for row in steps]
        points = steps if None not in values else [row for row in steps if row.loss is not None]
        try:
            numbers = np.array([row.step for row in points], np.int64)
            losses = np.array(values if points is steps else [row.loss for row in points])
        except (OverflowError, TypeError):
            return False
        if (losses.size and losses.dtype != np.float64) or (numbers < 0).any() or None in (row.step for row in steps):
            return False
        if BANNER in kinds:
            self._note_begins(rows)
        self._steps.append(numbers)
        self._losses.append(losses.astype(np.float64, copy=False))
        self._points += len(points)
        self._lines += len(rows)
        self._step_lines += len(steps)
        self._unchecked += unchecked
        return True

    def _note_begins(self, rows: list[_Line]) -> None:
        points = self._points
        for place, row in enumerate(rows, start=self._lines):
            if row.type == BANNER and place:
                self._begins.append(points)
            points += row.type == STEP and row.loss is not None

    def _take_singly(self, text: bytes, offset: int) -> None:
        steps: list[int] = []
        losses: list[float] = []
        for line in text[:-1].split(b"\n"):
            if line.strip():
                try:
                    self._take_line(line, steps, losses)
                except LineError as error:
                    self._refuse(offset, len(line), error)
            offset += len(line) + 1
        self._steps.append(np.array(steps, np.int64))
        self._losses.append(np.array(losses, np.float64))
        self._points += len(steps)

    def _take_line(self, line: bytes, steps: list[int], losses: list[float]) -> None:
        checked = _checked(line)
        found = _decoded(line)
        kind = found.get("type")
        if kind == STEP:
            step, loss = _step(found), _loss(found)
            if loss is not None:
                steps.append(step)
                losses.append(loss)
            self._step_lines += 1
        elif kind == BANNER and self._lines:
            self._begins.append(self._points + len(steps))
        self._lines += 1
        self._unchecked += not checked

    def _last(self, line: bytes, offset: int) -> None:
        """A last line without its newline: whole if it can be read, else torn."""
        if not line.strip():
            return
        steps: list[int] = []
        losses: list[float] = []
        try:
            self._take_line(line.removeprefix(_BYTE_ORDER_MARK) if offset == 0 else line, steps, losses)
        except LineError:
            self._torn = len(line)
        self._steps.append(np.array(steps, np.int64))
        self._losses.append(np.array(losses, np.float64))

    def _pass_over(self, offset: int) -> int:
        """Skip a line that is longer than any that is taken; the offset behind it."""
        begin = offset
        while True:
            offset += LINE_LIMIT + 1
            piece = self._content.read(LINE_LIMIT + 1, offset)
            newline = piece.data.find(b"\n")
            if newline >= 0 or not piece.more:
                end = offset + (newline + 1 if newline >= 0 else len(piece.data))
                self._refuse(begin, end - begin, LineError("too_long", f"the limit is {LINE_LIMIT} bytes"))
                return end

    def _refuse(self, offset: int, length: int, error: LineError) -> None:
        self._lines += 1
        self._bad += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(
                BadLine(offset=offset, length=length, reason=error.reason, detail=error.problem[:300])
            )

    def _note_records(self, text: bytes) -> None:
        for line in text.split(b"\n"):
            if any(tag in line for tag in self._tags):
                with suppress(LineError):
                    record = codec.decode_line(line).record
                    if isinstance(record, self._kinds):
                        self._records.append(record)

    def _note_names(self, text: bytes) -> None:
        for line in text.split(b"\n", NAMED)[:NAMED]:
            try:
                found = _decoded(line)
            except LineError:
                continue
            if found.get("type") == STEP:
                metrics = found.get("metrics")
                names = [*found, *(metrics if isinstance(metrics, dict) else ())]
                self._metrics |= {name for name in names if name not in _NO_METRICS}


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_whole(line: bytes) -> bool:
    """Whether the checksum at the end of a line is right."""
    line = line.rstrip(b"\r")
    return line[-_SUM_LENGTH:-10] == _SUM and b'%08x"}' % crc32(line[:-_SUM_LENGTH] + b"}") == line[-10:]


def _checked(line: bytes) -> bool:
    """Whether a line has a checksum. Raises `LineError` if it is wrong."""
    if line.rstrip(b"\r")[-_SUM_LENGTH:-10] != _SUM:
        return False
    if not _is_whole(line):
        raise LineError("checksum", "the line is not what was written")
    return True


def _decoded(line: bytes) -> dict[str, object]:
    """The object of a line. Raises `LineError`."""
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_without_twins, parse_float=_fitting)
    except LineError:
        raise
    except (ValueError, RecursionError) as error:
        raise LineError("not_json", str(error)[:200]) from error
    if not isinstance(found, dict):
        raise LineError("not_json", "no JSON object")
    return found


def _fitting(text: str) -> float:
    """A number with a point or an exponent; one that no float holds is no infinity, which has a word of its own."""
    found = float(text)
    if math.isinf(found):
        raise LineError("wrong_type", f"the number {text[:50]} is too large for a float")
    return found


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise LineError("twice", f"the key {twin[:100]!r} is in it twice")
    return found


def _step(found: dict[str, object]) -> int:
    step = found.get("step")
    if isinstance(step, float) and step.is_integer() and 0.0 <= step < 2.0**53:
        return int(step)
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= LAST_STEP:
        raise LineError("wrong_type", f"step is {str(step)[:50]!r}, no whole number from 0 to 2^63 - 1")
    return step


def _loss(found: dict[str, object]) -> float | None:
    loss = found.get("loss")
    if loss is None:
        return None
    if isinstance(loss, str) and loss in _SPELLED:
        return _SPELLED[loss]
    if isinstance(loss, bool) or not isinstance(loss, int | float):
        raise LineError("wrong_type", f"loss is {str(loss)[:50]!r}, no number")
    try:
        return float(loss)
    except OverflowError as error:
        raise LineError("wrong_type", "loss is a whole number that no float holds") from error

"""Lines that a reader takes: a reader refuses more than `LINE_LIMIT` bytes, so nothing longer is ever written.

- A step is split into several lines of the same step: the loss first and alone, then its metrics in portions. A metric
  whose name alone is too long becomes a `rejected_value`.
- Of every other record the long texts are cut, and say so; a config, which is JSON, is replaced by JSON that says so.
  Where tables or lists are what makes it long (a summary of 30,000 values), their first entries stay and a
  `collector_failed` line says how many do not.
- What fits in no way is left out, and a `collector_failed` line says that.
"""

import time
from collections.abc import Mapping

import msgspec

from barograph.journal.reader import LINE_LIMIT
from barograph.records import Banner, CollectorFailed, Columns, Record, RejectedValue, Step, codec

KEY_SHOWN = 200
"""Characters that are kept of a name that is too long."""

_SHORTEST = 128
"""Characters that every text keeps; a run's id is no longer than this."""

_WHOLE = (Columns, Step)
"""What says something else without a part of it: the names of columns, and the values under them."""

_HALVINGS = 40
"""After so many halvings no table that fits into memory has an entry left."""


def fitting_lines(record: Record, *, limit: int = LINE_LIMIT) -> list[bytes]:
    """The journal lines that say `record`, each of at most `limit` bytes without its newline; nearly always one.

    `limit` is at least 20,000: below, the many short texts of a banner may not fit.
    """
    line = codec.encode_line(record)
    if len(line) <= limit + 1:
        return [line]
    if isinstance(record, Step) and record.columns is None:
        return _split(record, limit)
    return _shortened(record, len(line) - 1, limit)


def cut(text: str, most: int) -> str:
    """The first `most` characters of a longer text, with a mark that says how long it was; a shorter text as it is."""
    return text if len(text) <= most else f"{text[:most]}… (cut from {_size(text)} bytes)"


def _split(step: Step, limit: int) -> list[bytes]:
    lines = []
    if step.loss is not None:
        lines.append(codec.encode_line(Step(step=step.step, loss=step.loss, time=step.time)))
    metrics: dict[str, float] = {}
    for name, value in step.metrics.items():
        if len(name) > limit // 10 and not _fits({name: value}, step, limit):
            kind = f"number under a name of {_size(name)} bytes"
            said = RejectedValue(time=step.time, key=cut(name, KEY_SHOWN), value_type=kind, step=step.step)
            lines.append(codec.encode_line(said))
        else:
            metrics[name] = value
    return lines + (_portions(metrics, step, limit) if metrics else [])


def _portions(metrics: Mapping[str, float], step: Step, limit: int) -> list[bytes]:
    """Lines of `step` with all of `metrics`, each of which fits alone, in their order."""
    line = codec.encode_line(Step(step=step.step, time=step.time, metrics=dict(metrics)))
    if len(line) <= limit + 1:
        return [line]
    entries = list(metrics.items())
    most = min(len(entries) - 1, len(entries) * limit // len(line))
    width = max(1, most * 9 // 10)  # names are not equally long: a little less than fits on average
    portions = [dict(entries[begin : begin + width]) for begin in range(0, len(entries), width)]
    return [line for portion in portions for line in _portions(portion, step, limit)]


def _fits(metrics: Mapping[str, float], step: Step, limit: int) -> bool:
    line = codec.encode_line(Step(step=step.step, time=step.time, metrics=dict(metrics)))
    return len(line) <= limit + 1


def _shortened(record: Record, size: int, limit: int) -> list[bytes]:
    """The record with ever shorter texts, tables and lists until it fits, and a line that says what is missing."""
    kind = str(record.__struct_config__.tag)
    for halvings in range(_HALVINGS if not isinstance(record, _WHOLE) else 0):
        most = max(limit // 8 >> halvings, _SHORTEST)
        shorter, left_out = _with_less(record, most, halvings)
        line = codec.encode_line(shorter)
        if len(line) <= limit + 1:
            said = [
                _failure(f"{count} entries of `{name}` of a {kind} record are left out: a line of {size} bytes")
                for name, count in left_out.items()
            ]
            return [line, *said] if isinstance(record, Banner) else [*said, line]  # a banner is the first line
    return [_failure(f"a {kind} record is left out: a line of {size} bytes, and a reader takes {limit}")]


def _with_less(record: Record, most: int, halvings: int) -> tuple[Record, dict[str, int]]:
    """`record` with texts of at most about `most` characters, and tables and lists halved; how many entries of each are
    not there any more."""
    changes: dict[str, object] = {}
    left_out: dict[str, int] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name == "config" and isinstance(value, str) and len(value) > most:
            changes[name] = _too_long(value)
            continue
        changes[name] = kept = _less(value, most, halvings)
        if isinstance(value, dict | list) and isinstance(kept, dict | list) and len(kept) < len(value):
            left_out[name] = len(value) - len(kept)
    return msgspec.structs.replace(record, **changes), left_out


def _less(value: object, most: int, halvings: int) -> object:
    """A text cut, the first entries of a table or a list, each with less in it; anything else as it is."""
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, dict):
        first = list(value.items())[: len(value) >> halvings]
        return {key: _less(item, most, halvings) for key, item in first if len(key) <= most}
    if isinstance(value, list):
        return [_less(item, most, halvings) for item in value[: len(value) >> halvings]]
    if isinstance(value, msgspec.Struct):
        fields = {name: _less(getattr(value, name), most, halvings) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    return value


def _too_long(config: str) -> str:
    return msgspec.json.encode({"(too long)": f"{_size(config)} bytes"}).decode()


def _failure(error: str) -> bytes:
    return codec.encode_line(CollectorFailed(time=time.time(), name="journal", error=error))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))

r"""Record <-> JSON line, and document -> JSON body.

A line is the record's JSON object with one more key at its end, `"_c"`: the CRC-32 of everything before that key's
comma, closed with `}`, as eight hex digits. A line without it is accepted and reported as unchecked, so that logs of
others can be read; a line whose sum is wrong is refused.

JSON has no NaN and no infinities. They are the strings "NaN", "Infinity" and "-Infinity" wherever a float may stand.
msgspec writes `null` for them and offers no hook, so a line that holds a `null` is encoded a second time with the
values spelled out: ordinary lines pay one substring search. Reading works the same way: strict first, and only a line
that holds one of the spellings is walked and converted by the types of its kind. Nothing else is converted: "7" is no
step, and `true` is no loss.

This is the one module where a value may be of any type: it stands between JSON and the records.
"""

import math
from typing import Any, TypeVar
from zlib import crc32

import msgspec
from msgspec import inspect

from barograph.errors import LineError
from barograph.records import KINDS, Record

AnyRecord = TypeVar("AnyRecord", bound=msgspec.Struct)

_SUM_KEY = b',"_c":"'
_SUM_LENGTH = len(_SUM_KEY) + len(b'00000000"}')
_SUM_KEY_END = len(_SUM_KEY) - _SUM_LENGTH
_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NO_JSON = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_encode_json = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(Record).decode


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed line of a kind that this version does not know: kept whole and counted."""

    kind: str
    """The line's `type`."""
    body: bytes
    """The line as it was, byte for byte, its checksum included, without its newline."""


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """One line that could be read."""

    record: Record | Unknown
    """The fact, or the line itself if its kind is unknown."""
    checked: bool
    """Whether the line carried a checksum (and it was right)."""


class _Kind(msgspec.Struct):
    type: str


_decode_kind = msgspec.json.Decoder(_Kind).decode
_BY_TAG: dict[str, type[Record]] = {str(kind.__struct_config__.tag): kind for kind in KINDS}
_TYPES: dict[str, inspect.StructType] = {}


def encode_line(record: Record) -> bytes:
    """The journal line of a record, checksum and newline included. Lone surrogates in texts become `?`."""
    body = encode_document(record)
    return b'%b,"_c":"%08x"}\n' % (body[:-1], crc32(body))


def encode_document(document: msgspec.Struct, *, finite: bool = False) -> bytes:
    """JSON of a Struct, without a checksum, with non-finite floats spelled out.

    `finite` says that there are none, so that a long document with a `null` in it need not be searched for them.
    """
    try:
        body = _encode_json(document)
    except UnicodeEncodeError:
        return _encode_json(_spell(msgspec.to_builtins(document)))
    if not finite and b"null" in body:
        return _encode_json(_spell(msgspec.to_builtins(document)))
    return body


def decode_checked(line: bytes) -> Record | None:
    """The record of a line (without its newline) whose checksum is right and that needs no second look, as nearly all
    lines of ours; None for any other one, of which `decode_line` says more."""
    body = line[:-_SUM_LENGTH] + b"}"
    if line[-_SUM_LENGTH:_SUM_KEY_END] != _SUM_KEY or b'%08x"}' % crc32(body) != line[-10:]:
        return None
    try:
        record: Record = _decode_record(body)
    except _NO_JSON:
        return None
    return record


def decode_line(line: bytes) -> Decoded:
    """Read one line (with or without its newline).

    Raises `LineError` with one of the reasons `checksum`, `not_json`, `no_type`, `wrong_type`.
    """
    if line[-1:] != b"}":
        line = line.rstrip(b"\r\n")
    body = line
    checked = line[-_SUM_LENGTH:_SUM_KEY_END] == _SUM_KEY and line[-2:] == b'"}'
    if checked:
        body = line[:-_SUM_LENGTH] + b"}"
        if b"%08x" % crc32(body) != line[-10:-2]:
            raise LineError("checksum", f"the line says {line[-10:-2]!r}, its bytes give {crc32(body):08x}")
    try:
        return Decoded(_decode_record(body), checked)
    except msgspec.ValidationError as error:
        record = _decode_unusual(body, error)
    except _NO_JSON as error:
        raise LineError("not_json", str(error)) from error
    if isinstance(record, Unknown):
        record = Unknown(kind=record.kind, body=line)
    return Decoded(record, checked)


def accepted(record: AnyRecord) -> AnyRecord:
    """The record, if `decode_line` will accept its line: Structs do not look at what they are made of.

    Raises `msgspec.ValidationError`, or `TypeError` for what has no place in JSON.
    """
    msgspec.convert(msgspec.to_builtins(record), type(record))
    return record


def _decode_unusual(line: bytes, error: msgspec.ValidationError) -> Record | Unknown:
    """A line that the strict reader refused: an unknown kind, spelled floats, or a wrong type."""
    try:
        kind = _decode_kind(line).type
    except msgspec.ValidationError as missing:
        _must_be_json(line)
        raise LineError("no_type", "the line has no text under `type`") from missing
    except _NO_JSON as broken:
        raise LineError("not_json", str(broken)) from broken
    if kind not in _BY_TAG:
        return Unknown(kind=kind, body=line)
    if not any(spelling in line for spelling in (b'"NaN"', b'Infinity"')):
        raise LineError("wrong_type", str(error)) from error
    try:
        return msgspec.convert(_unspell(msgspec.json.decode(line), _struct_type(kind)), type=_BY_TAG[kind])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as still:
        raise LineError("wrong_type", str(still)) from still


def _must_be_json(line: bytes) -> None:
    """The typed readers stop at the first wrong type, with the rest of the line unread."""
    try:
        msgspec.json.decode(line)
    except msgspec.ValidationError:  # a number that Python cannot hold is JSON all the same
        return
    except _NO_JSON as broken:
        raise LineError("not_json", str(broken)) from broken


def _struct_type(kind: str) -> inspect.StructType:
    if kind not in _TYPES:
        found = inspect.type_info(_BY_TAG[kind])
        assert isinstance(found, inspect.StructType)
        _TYPES[kind] = found
    return _TYPES[kind]


def _spell(value: Any) -> Any:
    """The same builtins with non-finite floats as their spellings and texts that UTF-8 can hold."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {_spell(key): _spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell(item) for item in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


def _unspell(value: Any, wanted: inspect.Type) -> Any:
    """`value` with the three spellings turned into floats wherever `wanted` has a float."""
    if isinstance(wanted, inspect.Metadata):
        return _unspell(value, wanted.type)
    if isinstance(wanted, inspect.UnionType):
        for kind in wanted.types:
            value = _unspell(value, kind)
        return value
    if isinstance(wanted, inspect.FloatType) and isinstance(value, str):
        return _SPELLED.get(value, value)
    if isinstance(wanted, inspect.DictType) and isinstance(value, dict):
        return {key: _unspell(item, wanted.value_type) for key, item in value.items()}
    if isinstance(wanted, inspect.ListType) and isinstance(value, list):
        return [_unspell(item, wanted.item_type) for item in value]
    if isinstance(wanted, inspect.StructType) and isinstance(value, dict):
        types = {field.encode_name: field.type for field in wanted.fields}
        return {key: _unspell(item, types[key]) if key in types else item for key, item in value.items()}
    return value

"""Record <-> line: nothing is changed, damage is found, and nothing but a float is ever read from a spelling."""

import contextlib
import json
import math
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barograph.errors import LineError
from barograph.records import Alert, Banner, Columns, ExactMatch, Record, RunComplete, Step, codec
from barograph.records.codec import Unknown, accepted, decode_line, encode_document, encode_line

Equal = Callable[[object, object], bool]

DAMAGED = (
    Step(step=7, loss=math.nan, time=12.5, metrics={"null": -math.inf, "lr": 3e-4}),
    Alert(time=1.0, title='Loß "spiked" \\ at\n☃', text="null", step=3),
    Banner(run="r-1", attempt=1, writer="train", time=1e9, config='{"a":null}', versions={"torch": "2"}),
)


def readable(value: object) -> object:
    """Builtins with texts as UTF-8 can hold them: what a reader is promised."""
    if isinstance(value, str):
        return "".join("?" if "\ud800" <= letter <= "\udfff" else letter for letter in value)
    if isinstance(value, dict):
        return {readable(key): readable(item) for key, item in value.items()}
    return [readable(item) for item in value] if isinstance(value, list) else value


def reason_of(line: bytes) -> str:
    with pytest.raises(LineError) as refused:
        decode_line(line)
    assert refused.value.problem.startswith(refused.value.reason)
    return refused.value.reason


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_every_record_of_every_kind_comes_back_from_its_line(
    data: st.DataObject, any_record: st.SearchStrategy[Record], equal: Equal
) -> None:
    record = data.draw(any_record)
    line = encode_line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    expected = msgspec.convert(readable(msgspec.to_builtins(record)), type=type(record))
    found = decode_line(line)
    assert found.checked
    assert equal(found.record, expected)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_a_line_is_json_for_every_reader_of_json(data: st.DataObject, any_record: st.SearchStrategy[Record]) -> None:
    def refused(word: str) -> float:
        raise AssertionError(word)

    line = encode_line(data.draw(any_record))
    read = json.loads(line, parse_constant=refused)
    said = read.pop("_c")
    body = line[: line.rindex(b',"_c"')] + b"}"
    assert said == f"{zlib.crc32(body):08x}"
    assert next(iter(read)) == "type"


@pytest.mark.parametrize("record", DAMAGED, ids=lambda record: type(record).__name__)
def test_no_flipped_bit_goes_unnoticed(record: Record, equal: Equal) -> None:
    line = encode_line(record)[:-1]
    for bit in range(8 * len(line)):
        flipped = bytearray(line)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = decode_line(bytes(flipped))
        except LineError:
            continue
        assert not found.checked, (bit, bytes(flipped))
        assert equal(found.record, record), (bit, bytes(flipped))


def test_a_line_without_a_checksum_is_accepted_and_reported_as_unchecked() -> None:
    found = decode_line(b'{"type":"step","step":4,"time":1.0,"loss":0.25}\r\n')
    assert found.record == Step(step=4, loss=0.25, time=1.0)
    assert not found.checked


def test_unknown_fields_of_a_newer_version_are_passed_over() -> None:
    found = decode_line(b'{"type":"step","step":4,"time":1.0,"shape":[1,{"a":null}]}')
    assert found.record == Step(step=4, time=1.0)


@pytest.mark.parametrize("spelling", ["NaN", "Infinity", "-Infinity"])
def test_a_spelled_float_is_read_wherever_a_float_stands(spelling: str, equal: Equal) -> None:
    value = float(spelling.lower())
    line = (
        f'{{"type":"step","step":1,"time":"{spelling}","loss":"{spelling}",'
        f'"metrics":{{"NaN":"{spelling}","a":1}},"values":["{spelling}",2]}}'
    )
    expected = Step(step=1, time=value, loss=value, metrics={"NaN": value, "a": 1.0}, values=[value, 2.0])
    assert equal(decode_line(line.encode()).record, expected)


def test_a_spelling_stays_text_where_text_stands() -> None:
    alert = Alert(time=math.nan, title="NaN", text="-Infinity", step=0)
    found = decode_line(encode_line(alert)).record
    assert isinstance(found, Alert)
    assert (found.title, found.text) == ("NaN", "-Infinity")
    columns = Columns(id="NaN", names=["NaN", "Infinity"])
    assert decode_line(encode_line(columns)).record == columns


@pytest.mark.parametrize(
    "fields",
    [
        '"step":"7","time":1.0',
        '"step":"NaN","time":1.0,"loss":"NaN"',
        '"step":true,"time":1.0',
        '"step":7.9,"time":1.0',
        '"step":-1,"time":1.0',
        '"step":1180591620717411303424,"time":1.0',
        '"step":null,"time":1.0',
        '"time":1.0',
        '"step":7,"time":1.0,"loss":true',
        '"step":7,"time":1.0,"loss":"0.5"',
        '"step":7,"time":1.0,"loss":"nan"',
        '"step":7,"time":1.0,"loss":"NaN","metrics":{"a":"inf"}',
        '"step":7,"time":1.0,"loss":[0.5]',
        '"step":7,"time":1.0,"loss":1e999',
        '"step":7,"time":1.0,"loss":' + "9" * 5000,
        '"step":7,"time":1.0,"metrics":{"a":null}',
        '"step":7,"time":1.0,"metrics":[]',
        '"step":7,"time":1.0,"values":["NaN","7"]',
    ],
)
def test_nothing_but_a_number_or_a_spelling_is_a_number(fields: str) -> None:
    assert reason_of(f'{{"type":"step",{fields}}}'.encode()) == "wrong_type"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"{}", "no_type"),
        (b"null", "no_type"),
        (b"[]", "no_type"),
        (b"7", "no_type"),
        (b'{"type":7}', "no_type"),
        (b'{"step":7,"loss":0.5}', "no_type"),
        (b'{"type":"step","step":7,"time":NaN}', "not_json"),
        (b'{"type":"step","step":7,"time":1.0} trailing', "not_json"),
        (b'{"type":"step","step":7,"time":1.0}{"type":"step","step":8,"time":1.0}', "not_json"),
        (b"[" * 200_000, "not_json"),
        (b'{"type":"step","metrics":' + b'{"a":' * 200_000, "not_json"),
        (b'{"type":"alert","time":1.0,"title":"\xff\xfe"}', "not_json"),
        (b'{"type":"step","step":7,"time":1.0,"_c":"00000000"}', "checksum"),
        (b'{"type":"step","step":7,"time":1.0,"_c":"zzzzzzzz"}', "checksum"),
        (b"\0" * 100, "not_json"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else value,
)
def test_hostile_lines_are_refused_for_a_countable_reason(line: bytes, reason: str) -> None:
    assert reason_of(line) == reason


def test_lone_surrogates_of_others_are_refused_or_read_but_never_break_the_encoder() -> None:
    try:
        found = decode_line(b'{"type":"alert","time":1.0,"title":"\\ud800"}').record
    except LineError:
        return
    assert isinstance(found, Alert)
    assert decode_line(encode_line(found)).checked


def test_the_last_of_two_equal_keys_counts_and_the_checksum_key_is_the_last() -> None:
    found = decode_line(b'{"type":"step","step":1,"step":2,"time":1.0}').record
    assert isinstance(found, Step)
    assert found.step == 2
    assert reason_of(b'{"type":"step","step":1,"time":1.0,"_c":"00000000","_c":"00000000"}') == "checksum"


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_bytes_raise_anything_but_a_line_error(line: bytes) -> None:
    with contextlib.suppress(LineError):
        decode_line(line)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["NaN", "step", "7"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "step", "loss", "time", "metrics", "values", "a"]), inner)
        ),
        max_leaves=12,
    )
)
def test_no_json_value_raises_anything_but_a_line_error(value: Any) -> None:
    for document in (value, {"type": "step", "step": 1, "time": 0.5, "loss": value}, {**DEFAULTS, "numbers": value}):
        try:
            found = decode_line(json.dumps(document).encode())
        except LineError:
            continue
        assert not found.checked


DEFAULTS = {
    "type": "verdict",
    "name": "n",
    "verdict": "PASS",
    "message": "m",
    "thresholds": {},
    "policy": "p",
    "time": "Infinity",
}


@pytest.mark.parametrize("closing", [b"}", None], ids=["unchecked", "checked"])
def test_a_line_of_an_unknown_kind_is_kept_byte_for_byte(closing: bytes | None) -> None:
    body = b'{"type":"from_the_future","step":"7","x":[NaN_is_no_json]}'.replace(b"NaN_is_no_json", b'"NaN", 1.50')
    line = body if closing else body[:-1] + b',"_c":"%08x"}' % zlib.crc32(body)
    found = decode_line(line + b"\r\n")
    assert found.record == Unknown(kind="from_the_future", body=line)
    assert found.checked == (closing is None)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), ratio=st.sampled_from([math.nan, math.inf, -0.1, 1.1]))
def test_a_ratio_that_is_none_is_refused(
    data: st.DataObject, ratio: float, records_of_kind: Callable[[type[Record]], st.SearchStrategy[Record]]
) -> None:
    match = data.draw(records_of_kind(ExactMatch))
    assert reason_of(encode_line(msgspec.structs.replace(match, low=ratio))) == "wrong_type"


def test_a_document_has_no_checksum_and_spells_what_json_cannot() -> None:
    body = encode_document(RunComplete(time=math.inf, summary={"a": math.nan, "b": 1.0}, reason="null \ud800"))
    assert json.loads(body) == {
        "type": "run_complete",
        "time": "Infinity",
        "reason": "null ?",
        "summary": {"a": "NaN", "b": 1.0},
    }


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_record_is_accepted_as_it_is(data: st.DataObject, any_record: st.SearchStrategy[Record]) -> None:
    record = data.draw(any_record)
    assert accepted(record) is record


@pytest.mark.parametrize(
    "record",
    [
        Step(step=-1, time=1.0),
        Step(step=2**63, time=1.0),
        Step(step=1, time=1.0, loss=True),
        Alert(time=1.0, title=7),  # type: ignore[arg-type]  # what a careless caller passes
        Alert(time=1.0, title="a", level="loud"),  # type: ignore[arg-type]  # no level of ours
        Banner(run="../x", attempt=1, writer="train", time=1.0),
        Banner(run="r", attempt=0, writer="train", time=1.0),
    ],
    ids=repr,
)
def test_what_a_reader_would_refuse_is_not_accepted(record: Record) -> None:
    assert reason_of(encode_line(record)) == "wrong_type"
    with pytest.raises(msgspec.ValidationError):
        accepted(record)


def test_only_defaults_are_left_out_of_a_line() -> None:
    assert codec.encode_document(Step(step=0, time=0.0)) == b'{"type":"step","step":0,"time":0.0}'
    assert b'"loss":0.0' in codec.encode_document(Step(step=0, loss=0.0, time=0.0))

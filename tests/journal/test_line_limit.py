"""Whatever a record holds, the reader takes every line that is written of it, and what is missing is said."""

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from barograph.errors import LineError
from barograph.journal import Batch, JournalWriter, metrics_of
from barograph.journal.line_limit import KEY_SHOWN, cut, fitting_lines
from barograph.journal.reader import LINE_LIMIT
from barograph.records import (
    KINDS,
    Alert,
    Answer,
    Banner,
    CollectorFailed,
    Columns,
    ConfigUpdate,
    Record,
    RejectedValue,
    RunComplete,
    Step,
    codec,
)

LIMIT = 20_000
Records = Callable[[Path], list[list[Record]]]

texts = st.builds(
    lambda character, count: character * count,
    st.sampled_from(["a", "é", "😀", "\0", '"', "\ud800", "ab "]),
    st.sampled_from([0, 1, 50, 130, 3_000, 30_000]),
)
numbers = st.sampled_from([0.0, -2.2250738585072014e-308, math.nan, -math.inf, 0.1])


def values(wanted: inspect.Type, most: int = 2_000) -> st.SearchStrategy[object]:
    """Values of a field's type, long ones among them; tables and lists have at most about `most` entries."""
    match wanted:
        case inspect.Metadata():
            return values(wanted.type, most)
        case inspect.UnionType():
            return st.one_of([values(kind, most) for kind in wanted.types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.sampled_from([wanted.ge or 0, wanted.le or 1])
        case inspect.FloatType():
            return numbers if wanted.ge is None else st.just(0.5)
        case inspect.StrType():
            return texts if wanted.pattern is None else st.sampled_from(["r", "r" * 128])
        case inspect.LiteralType():
            return st.sampled_from(list(wanted.values))
        case inspect.ListType():
            many = min(most, 5) if isinstance(wanted.item_type, inspect.StructType) else most
            return tables(values(wanted.item_type, many), many).map(lambda table: list(table.values()))
        case inspect.DictType():
            return tables(values(wanted.value_type, most), most)
        case inspect.StructType():
            return struct_of(wanted, most)
    raise TypeError(f"no strategy for {wanted}")


def tables(items: st.SearchStrategy[object], most: int) -> st.SearchStrategy[dict[str, object]]:
    def table(prefix: str, count: int, item: object, odd: dict[str, object]) -> dict[str, object]:
        return {**{f"{prefix}{index}": item for index in range(count)}, **odd}

    return st.builds(
        table, st.sampled_from(["m/", "\1\2"]), st.integers(0, most), items, st.dictionaries(texts, items, max_size=3)
    )


def struct_of(shape: inspect.StructType, most: int = 2_000) -> st.SearchStrategy[object]:
    fields = {field.name: values(field.type, most) for field in shape.fields}
    return st.fixed_dictionaries(fields).map(lambda named: shape.cls(**named))


def record_of(kind: type[Record]) -> st.SearchStrategy[Record]:
    shape = inspect.type_info(kind)
    assert isinstance(shape, inspect.StructType)
    return struct_of(shape).filter(lambda made: isinstance(made, kind))  # type: ignore[return-value]  # it is one


def taken(lines: list[bytes], limit: int = LIMIT) -> list[Record]:
    """What a reader takes; each line is within the limit and readable."""
    records = []
    for line in lines:
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert len(line) - 1 <= limit
        decoded = codec.decode_line(line)
        assert decoded.checked
        assert not isinstance(decoded.record, codec.Unknown)
        records.append(decoded.record)
    return records


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_line_of_any_record_is_one_that_a_reader_takes(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(record_of(kind))
    lines = fitting_lines(record, limit=LIMIT)
    said = taken(lines)
    assert said, "nothing is left out in silence"
    whole = codec.encode_line(record)
    if len(whole) <= LIMIT + 1:
        assert lines == [whole]
    if isinstance(record, Banner):
        assert isinstance(said[0], Banner)


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    loss=st.none() | numbers,
    metrics=st.dictionaries(texts | st.text(max_size=40), numbers, max_size=20),
    count=st.integers(0, 3_000),
)
def test_a_long_step_is_its_loss_and_then_its_metrics_in_order_but_for_names_that_are_too_long(
    loss: float | None, metrics: dict[str, float], count: int
) -> None:
    step = Step(step=7, loss=loss, time=1.0, metrics={**metrics, **{f"layer/{index}": 0.5 for index in range(count)}})
    said = taken(fitting_lines(step, limit=LIMIT))
    rows = [one for one in said if isinstance(one, Step)]
    if len(rows) > 1 and loss is not None:
        assert said[0] == rows[0]
        assert rows[0].metrics == {}
        assert repr(rows[0].loss) == repr(loss)
        assert all(row.loss is None for row in rows[1:])
    assert {(row.step, row.time) for row in rows} <= {(7, 1.0)}
    found = [(name, repr(value)) for row in rows for name, value in row.metrics.items()]
    too_long = {name for name in step.metrics if len(codec.encode_line(Columns(id="", names=[name]))) > LIMIT - 100}
    kept = [(name, repr(value)) for name, value in readable(step).metrics.items()]
    assert [pair for pair in kept if pair[0] in dict(found)] == found
    rejected = [one for one in said if isinstance(one, RejectedValue)]
    assert len(found) + len(rejected) == len(step.metrics) or "\ud800" in "".join(step.metrics)
    assert len(rejected) <= len(too_long)


def readable(step: Step) -> Step:
    """The step as its line would be read, were it not too long."""
    record = codec.decode_line(codec.encode_line(step)).record
    assert isinstance(record, Step)
    return record


def test_a_name_that_no_line_holds_is_said_with_its_beginning_and_its_size() -> None:
    step = Step(step=3, loss=math.nan, time=1.0, metrics={"é" * LIMIT: 1.0, "lr": 0.1})
    loss, rejected, rest = taken(fitting_lines(step, limit=LIMIT))
    assert isinstance(loss, Step)
    assert loss.loss is not None
    assert math.isnan(loss.loss)
    assert rejected == RejectedValue(
        time=1.0,
        key="é" * KEY_SHOWN + "… (cut from 40000 bytes)",
        value_type="number under a name of 40000 bytes",
        step=3,
    )
    assert rest == Step(step=3, time=1.0, metrics={"lr": 0.1})


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (RunComplete(time=1.0, reason="x" * 50_000), "reason"),
        (Alert(time=1.0, title="x" * 50_000), "title"),
        (Alert(time=1.0, title="t", text="x" * 50_000), "text"),
        (CollectorFailed(time=1.0, name="n", error="x" * 50_000), "error"),
    ],
)
def test_a_long_text_is_cut_and_says_how_long_it_was(record: Record, field: str) -> None:
    (said,) = taken(fitting_lines(record, limit=LIMIT))
    text = getattr(said, field)
    assert text == "x" * (LIMIT // 8) + "… (cut from 50000 bytes)"
    assert msgspec.structs.replace(said, **{field: getattr(record, field)}) == record


def test_a_long_config_is_replaced_by_json_that_says_so() -> None:
    config = msgspec.json.encode({"é": "x" * 50_000}).decode()
    for record in (
        Banner(run="r", attempt=1, writer="train", time=1.0, config=config, name="kept"),
        ConfigUpdate(time=1.0, config=config),
    ):
        (said,) = taken(fitting_lines(record, limit=LIMIT))
        assert said == msgspec.structs.replace(record, config='{"(too long)":"50009 bytes"}')


def test_of_a_long_table_the_first_entries_stay_and_the_rest_is_counted() -> None:
    summary = {f"best/{index}": 0.5 for index in range(2_000)}
    failed, complete = taken(fitting_lines(RunComplete(time=1.0, summary=summary), limit=LIMIT))
    assert isinstance(complete, RunComplete)
    assert list(complete.summary.items()) == list(summary.items())[: len(complete.summary)]
    assert len(complete.summary) >= 500
    assert isinstance(failed, CollectorFailed)
    assert f"{2_000 - len(complete.summary)} entries of `summary` of a run_complete record" in failed.error


def test_what_cannot_be_shortened_is_left_out_and_said() -> None:
    (failed,) = taken(fitting_lines(Columns(id="1", names=["x"] * 50_000), limit=LIMIT))
    assert isinstance(failed, CollectorFailed)
    assert "a columns record is left out: a line of 2" in failed.error


@given(text=st.text(), most=st.integers(0, 30))
def test_cutting_keeps_the_beginning_and_leaves_short_texts_alone(text: str, most: int) -> None:
    if len(text) <= most:
        assert cut(text, most) == text
    else:
        assert cut(text, most) == f"{text[:most]}… (cut from {len(text.encode())} bytes)"


def test_all_that_is_too_long_reaches_a_file_that_the_reader_takes(
    run: Path, records_of: Records, read: Callable[[Path], Batch]
) -> None:
    wide = {f"layers/{index}/attention/weight/norm": index / 8 for index in range(30_000)}
    config = msgspec.json.encode({"prompt": "x" * 1_500_000}).decode()
    writer = JournalWriter(run, lambda: Banner(run="r", attempt=1, writer="train", time=1.0, config=config))
    made: list[Record] = [
        *(Step(step=number, loss=math.nan, time=1.0, metrics=wide) for number in range(3)),
        Step(step=3, loss=0.5, time=1.0, metrics={"x" * 1_200_000: 1.0}),
        Answer(
            step=3, time=1.0, checkpoint="c", probe_set="s", probe="p", task="t", level="l", regime="r",
            answer="y" * 1_200_000, golden="z", correct=False, tokens=1, generation_ms=1.0,
        ),
        RunComplete(time=1.0, reason="x" * 1_500_000),
    ]  # fmt: skip
    for record in made:
        writer.append(None, lambda record=record: record)
    assert writer.close()
    (records,) = records_of(run)  # none is refused
    assert isinstance(records[0], Banner)
    assert isinstance(records[-1], RunComplete)
    headers: dict[str, list[str]] = {}
    found: dict[int, dict[str, float]] = {}
    losses = {}
    for record in records:
        if isinstance(record, Columns):
            headers[record.id] = record.names
        elif isinstance(record, Step):
            found.setdefault(record.step, {}).update(metrics_of(record, headers))
            if record.loss is not None:
                losses[record.step] = record.loss
    assert all(found[number] == wide for number in range(3))
    assert all(math.isnan(losses[number]) for number in range(3))
    assert losses[3] == 0.5
    assert len([record for record in records if isinstance(record, RejectedValue)]) == 1
    assert writer.path is not None
    assert max(entry.length for entry in read(writer.path).entries) <= LINE_LIMIT


def test_the_reader_refuses_what_was_written_before_there_was_a_limit(
    tmp_path: Path, read: Callable[[Path], Batch]
) -> None:
    long = Alert(time=1.0, title="x" * 1_200_000)
    (tmp_path / "long").write_bytes(codec.encode_line(long))
    assert [line.reason for line in read(tmp_path / "long").bad] == ["too_long"]
    (tmp_path / "fits").write_bytes(b"".join(fitting_lines(long)))
    assert read(tmp_path / "fits").bad == []
    with pytest.raises(LineError):
        codec.decode_line(b"x")

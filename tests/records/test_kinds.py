"""What holds for every kind of record."""

import re
from typing import get_args

import msgspec
import pytest
from msgspec import inspect

from barograph.records import KINDS, Record

EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_the_tuple_and_the_type_list_the_same_kinds() -> None:
    assert get_args(Record) == KINDS


def test_no_two_kinds_share_a_name_in_the_journal() -> None:
    tags = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(tags)) == len(tags)


@EVERY_KIND
def test_the_name_in_the_journal_follows_from_the_name_in_python(kind: type[msgspec.Struct]) -> None:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    assert kind.__struct_config__.tag in {snake, snake.removesuffix("_update")}


@EVERY_KIND
def test_every_kind_is_a_frozen_fact_with_a_sentence_for_itself_and_each_field(kind: type[msgspec.Struct]) -> None:
    config = kind.__struct_config__
    assert config.frozen
    assert config.omit_defaults
    assert config.tag_field == "type"
    assert kind.__doc__
    shape = inspect.type_info(kind)
    assert isinstance(shape, inspect.StructType)
    for field in shape.fields:
        assert isinstance(field.type, inspect.Metadata), field.name
        said = (field.type.extra_json_schema or {}).get("description", "")
        assert said.endswith("."), field.name


@EVERY_KIND
def test_no_field_can_be_mistaken_for_the_kind_or_the_checksum(kind: type[msgspec.Struct]) -> None:
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert not names & {"type", "_c"}

"""Strategies that follow from the Struct types, so that a new kind or field is tested without being named."""

import functools
import math
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import strategies as st
from msgspec import inspect

from barograph.records import KINDS, Record


def scalars(wanted: inspect.Type) -> st.SearchStrategy[object]:
    """Every number, truth or text of this type, with floats that are no numbers and lone surrogates."""
    match wanted:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            least, most = wanted.ge, wanted.le
            return st.integers(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
        case inspect.FloatType():
            return st.floats() if wanted.ge is None else st.floats(wanted.ge, wanted.le)
        case inspect.StrType():
            return st.text(st.characters(), max_size=20) if wanted.pattern is None else st.from_regex(wanted.pattern)
        case inspect.LiteralType():
            return st.sampled_from(list(wanted.values))
    raise TypeError(f"no strategy for {wanted}")


def values(wanted: inspect.Type) -> st.SearchStrategy[object]:
    """Every value that a field of this type may hold."""
    match wanted:
        case inspect.Metadata():
            return values(wanted.type)
        case inspect.UnionType():
            return st.one_of([values(kind) for kind in wanted.types])
        case inspect.NoneType():
            return st.none()
        case inspect.ListType():
            return st.lists(values(wanted.item_type), max_size=5)
        case inspect.DictType():
            return st.dictionaries(st.text(st.characters(), max_size=8), values(wanted.value_type), max_size=5)
        case inspect.StructType():
            return structs(wanted)
    return scalars(wanted)


def structs(shape: inspect.StructType) -> st.SearchStrategy[object]:
    """Every Struct of one kind, with any of its optional fields left out."""
    needed = {field.name: values(field.type) for field in shape.fields if field.required}
    optional = {field.name: values(field.type) for field in shape.fields if not field.required}
    return st.fixed_dictionaries(needed, optional=optional).map(lambda named: shape.cls(**named))


@functools.cache
def instances(kind: type[Record]) -> st.SearchStrategy[Record]:
    """Every record of one kind."""
    shape = inspect.type_info(kind)
    assert isinstance(shape, inspect.StructType)
    return structs(shape)  # type: ignore[return-value]  # its Struct is the kind


def same(left: object, right: object) -> bool:
    """Equality in which NaN is itself, -0.0 is not 0.0, and 1 is not 1.0."""
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or (left == right and math.copysign(1.0, left) == math.copysign(1.0, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, msgspec.Struct) and type(left) is type(right):
        return same(msgspec.structs.asdict(left), msgspec.structs.asdict(right))
    return type(left) is type(right) and left == right


@pytest.fixture(scope="session")
def any_record() -> st.SearchStrategy[Record]:
    """Every record of every kind."""
    return st.one_of([instances(kind) for kind in KINDS])


@pytest.fixture(scope="session")
def records_of_kind() -> Callable[[type[Record]], st.SearchStrategy[Record]]:
    """Every record of the kind that is asked for."""
    return instances


@pytest.fixture(scope="session")
def equal() -> Callable[[object, object], bool]:
    """Whether two Structs are of one kind and say the same."""

    def equal(left: object, right: object) -> bool:
        return type(left) is type(right) and same(msgspec.to_builtins(left), msgspec.to_builtins(right))

    return equal

"""What is refused is said with its table, its key, what stands there and what may: whatever that is."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from barograph.policy.refusal import LONGEST, Refusal, refusal


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    """A table in a table."""

    often: Annotated[int, Meta(ge=1)]
    share: Annotated[float, Meta(gt=0.0, le=1.0)]


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    """A table."""

    judged_by: Literal["robust", "ratio"]
    enabled: bool
    words: Annotated[str, Meta(min_length=1)]
    below: Annotated[float, Meta(lt=0.5)]
    count: Annotated[int, Meta(gt=0, lt=10)]
    free: float
    life: Inner


class Tiny(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy."""

    name: str
    spikes: Outer
    gains: Inner

    def __post_init__(self) -> None:
        if self.gains.often > 99:
            raise ValueError("`often` is far too often")


INNER: dict[str, object] = {"often": 1, "share": 0.5}
OUTER: dict[str, object] = {
    "judged_by": "ratio",
    "enabled": True,
    "words": "x",
    "below": 0.1,
    "count": 1,
    "free": 1.0,
    "life": INNER,
}
TABLES: dict[str, object] = {"spikes": OUTER, "gains": INNER}


def refused(tables: Mapping[str, object]) -> Refusal | None:
    """Why these tables are no policy; None if they are one."""
    try:
        msgspec.convert({"name": "mine", **tables}, Tiny)
    except msgspec.ValidationError as error:
        return refusal(str(error), tables=tables, policy=Tiny)
    return None


def changed(path: tuple[str, ...], value: object, tables: Mapping[str, object] = TABLES) -> dict[str, object]:
    """`tables` with another value at a place."""
    first, *rest = path
    below = tables.get(first)
    inside = changed(tuple(rest), value, below if isinstance(below, Mapping) else {}) if rest else value
    return {**tables, first: inside}


def without(path: tuple[str, ...], tables: Mapping[str, object] = TABLES) -> dict[str, object]:
    """`tables` without what stands at a place."""
    first, *rest = path
    below = tables[first]
    if rest and isinstance(below, Mapping):
        return {**tables, first: without(tuple(rest), below)}
    return {name: value for name, value in tables.items() if name != first}


def test_what_is_a_policy_is_not_refused() -> None:
    assert refused(TABLES) is None


@pytest.mark.parametrize(
    ("path", "value", "problem", "advice"),
    [
        (("gains", "often"), 0, "`often` in [gains] is 0", "It must be a whole number, 1 or more"),
        (("gains", "often"), "3", '`often` in [gains] is "3"', "It must be a whole number, 1 or more"),
        (("gains", "often"), True, "`often` in [gains] is true", "It must be a whole number, 1 or more"),
        (("gains", "often"), 1.5, "`often` in [gains] is 1.5", "It must be a whole number, 1 or more"),
        (("gains", "share"), 1.5, "`share` in [gains] is 1.5", "It must be a number, above 0 and at most 1"),
        (("gains", "share"), float("nan"), "`share` in [gains] is nan", "It must be a number, above 0 and at most 1"),
        (("spikes", "below"), 0.5, "`below` in [spikes] is 0.5", "It must be a number, below 0.5"),
        (("spikes", "count"), 10, "`count` in [spikes] is 10", "It must be a whole number, above 0 and below 10"),
        (("spikes", "free"), "x", '`free` in [spikes] is "x"', "It must be a number"),
        (("spikes", "enabled"), 1, "`enabled` in [spikes] is 1", "It must be true or false"),
        (("spikes", "words"), "", '`words` in [spikes] is ""', "It must be a text that is not empty"),
        (
            ("spikes", "judged_by"),
            "ration",
            '`judged_by` in [spikes] is "ration"; did you mean "ratio"?',
            'It must be one of "ratio", "robust"',
        ),
        (("spikes", "judged_by"), "q", '`judged_by` in [spikes] is "q"', 'It must be one of "ratio", "robust"'),
        (("spikes", "life", "share"), 2, "`share` in [spikes.life] is 2", "It must be a number, above 0 and at most 1"),
        (("gains",), 5, "[gains] is 5, and must be a table", "Write [gains] above its keys"),
        (("spikes", "life"), "no", '[spikes.life] is "no", and must be a table', "Write [spikes.life] above its keys"),
        (("gain",), INNER, "unknown table [gain]; did you mean [gains]?", "Known tables: [spikes], [gains]; and the"),
        (("zzz",), 1, "unknown key `zzz` outside of any table", "Known tables: [spikes], [gains]; and the key base"),
        (
            ("gains", "oftn"),
            1,
            "unknown key `oftn` in [gains]; did you mean `often`?",
            "Known in [gains]: often, share",
        ),
        (
            ("spikes", "lif"),
            {},
            "unknown table [spikes.lif]; did you mean [spikes.life]?",
            "Known in [spikes]: judged_by, enabled, words, below, count, free, life",
        ),
    ],
)
def test_the_place_the_value_and_what_may_stand_there_are_named(
    path: tuple[str, ...], value: object, problem: str, advice: str
) -> None:
    found = refused(changed(path, value))
    assert found is not None
    assert found.problem == problem
    assert found.advice.startswith(advice)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (("gains",), "missing table [gains]"),
        (("spikes", "life"), "missing table [spikes.life]"),
        (("gains", "often"), "missing key `often` in [gains]"),
        (("spikes", "life", "share"), "missing key `share` in [spikes.life]"),
    ],
)
def test_what_is_missing_is_named_with_a_way_to_have_it(path: tuple[str, ...], problem: str) -> None:
    assert refused(without(path)) == Refusal(problem, 'Say it, or begin the file with base = "default"')


def test_what_a_table_says_of_itself_is_kept_and_what_is_not_understood_is_passed_on() -> None:
    found = refused(changed(("gains", "often"), 100))
    assert found is not None
    assert found.problem.startswith("`often` is far too often")
    assert refusal("something else", tables=TABLES, policy=Tiny) == Refusal(
        "something else", "Known tables: [spikes], [gains]; and the key base"
    )


PLACES = [
    (*table, key) for table in ((), ("spikes",), ("gains",), ("spikes", "life")) for key in ("life", "often", "q")
]
values: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.just({})
)


@given(path=st.sampled_from(PLACES), value=values)
def test_whatever_stands_wherever_it_is_accepted_or_refused_in_one_line_that_names_it(
    path: tuple[str, ...], value: object
) -> None:
    found = refused(changed(path, value))
    if found is not None:
        assert path[-1] in found.problem
        assert found.advice
        assert "$" not in found.problem.partition(" is ")[0]


@given(value=st.text(min_size=1))
def test_a_value_is_shown_and_a_long_one_is_cut(value: str) -> None:
    found = refused(changed(("gains", "often"), value))
    assert found is not None
    shown = found.problem.removeprefix("`often` in [gains] is ")
    quoted = f'"{value}"'
    assert shown == (quoted if len(quoted) <= LONGEST else quoted[: LONGEST - 1] + "…")


@given(key=st.text(min_size=1))
def test_a_key_that_nobody_knows_is_named_whatever_it_is(key: str) -> None:
    assume(key not in INNER)
    found = refused(changed(("gains", key), 1))
    assert found is not None
    assert found.problem.startswith(f"unknown key `{key}` in [gains]")

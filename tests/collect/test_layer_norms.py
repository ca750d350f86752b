"""Norms of parts of a model are one row of what is there."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.layer_activity import LayerName
from barograph.collect.layer_norms import LayerNorms, Vector, together, with_own_total
from barograph.records import Record, Step


class Read:
    """Sums of squares that are known already."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def read(self) -> list[float]:
        return self.values


def part(squares: list[float | None], *, unread: frozenset[int] = frozenset()) -> LayerNorms:
    """The norms of the columns that have a square; the others are another optimizer's."""
    absent = frozenset(at for at, one in enumerate(squares) if one is None)
    known = [one or 0.0 for one in squares]
    vectors: list[Vector] = [Read(known)]  # type: ignore[list-item]  # read like one
    changes: list[Vector] = [Read([*known, *known])]  # type: ignore[list-item]  # as above
    return LayerNorms(
        tuple(LayerName(str(at), "") for at in range(len(squares))),
        "full",
        gradients=vectors,
        changes=changes,
        without=absent,
        unused=absent,
        unread=unread,
    )


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 1e6)), min_size=1, max_size=8))
def test_a_column_that_no_part_has_is_left_out_and_every_other_has_its_norms(columns: list[tuple[bool, float]]) -> None:
    norms = part([square if there else None for there, square in columns])
    values = norms.read()
    kept = [at for at, (there, _) in enumerate(columns) if there]
    assert [one.module for one in values.names] == [str(at) for at in kept]
    for found in (values.gradient, values.weight, values.update):
        assert list(found) == pytest.approx([math.sqrt(columns[at][1]) for at in kept])


def test_the_same_columns_have_the_same_names_object_at_every_collection() -> None:
    names = tuple(LayerName(str(at), "") for at in range(2))
    made = [
        LayerNorms(names, "full", gradients=[], changes=[], without=frozenset(), unused=frozenset({1})).read().names
        for _ in range(2)
    ]
    assert made[0] is made[1]


def test_parts_together_are_whole_only_if_all_could_be_read() -> None:
    halves = [part([9.0, None]), part([None, 16.0])]
    joined = together(halves, whole=True)
    assert joined.total(joined.read()) == pytest.approx(5.0)
    unread = together([halves[0], part([None, 16.0], unread=frozenset({1}))], whole=True)
    assert unread.read().gradient == [3.0, None]
    assert unread.total(unread.read()) is None


def test_the_norm_of_a_model_beside_others_is_in_its_row_under_its_own_name() -> None:
    def make(step: int, at: float, norms: LayerNorms) -> list[Record]:
        assert norms.total(norms.read()) is None, "it is not that of the run"
        return [Step(step=step, time=at, metrics={"layers/critic.0/gradient_norm": 3.0})]

    norms = together([part([9.0, 16.0])], whole=True, model="critic")
    (row,) = with_own_total(make, 7, 1.0, norms)
    assert isinstance(row, Step)
    assert row.metrics["train/critic/gradient_norm"] == pytest.approx(5.0)
    partial = together([part([9.0, 16.0])], whole=False, model="critic")
    (row,) = with_own_total(make, 7, 1.0, partial)
    assert isinstance(row, Step)
    assert "train/critic/gradient_norm" not in row.metrics

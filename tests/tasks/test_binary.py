"""Binary: the two proofs agree everywhere, and the overflow rule."""

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.tasks.binary import LEVELS, UNARY, Operation, by_gates, by_integers, ripple_carry

OPERATIONS: tuple[Operation, ...] = get_args(Operation)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_integers_and_gates_agree_on_every_operand_up_to_five_bits(operation: Operation) -> None:
    for width in range(1, 6):
        for operands in product(range(2**width), repeat=1 if operation in UNARY else 2):
            bits = tuple(f"{operand:0{width}b}" for operand in operands)
            assert by_gates(operation, bits) == f"{by_integers(operation, operands, width):0{width}b}"


@given(st.integers(1, 64), st.data())
def test_the_adder_adds_modulo_two_to_the_width(width: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, 2**width - 1)), data.draw(st.integers(0, 2**width - 1))
    added = ripple_carry(f"{a:0{width}b}", f"{b:0{width}b}", "0")
    assert len(added) == width
    assert int(added, 2) == (a + b) % 2**width


@pytest.mark.parametrize(
    ("operation", "operands", "expected"),
    [
        ("increment", ("111",), "000"),
        ("decrement", ("000",), "111"),
        ("add", ("11", "10"), "01"),
        ("subtract", ("00", "01"), "11"),
        ("shift_left", ("101",), "010"),
        ("shift_right", ("101",), "010"),
    ],
)
def test_results_wrap_and_shifts_drop(operation: Operation, operands: tuple[str, ...], expected: str) -> None:
    assert by_gates(operation, operands) == expected


def test_every_operation_belongs_to_one_level() -> None:
    assert sorted(operation for operations, _ in LEVELS.values() for operation in operations) == sorted(OPERATIONS)

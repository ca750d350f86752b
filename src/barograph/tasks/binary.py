"""Binary: arithmetic on bit strings of a fixed width, proved twice.

The overflow rule: operands and result have the same width w, and results wrap modulo 2^w, as in a register.
`increment(111) = 000`, `decrement(000) = 111`, `subtract(00, 01) = 11`. Shifts drop what leaves the register and
fill with 0.

Every answer is computed with Python integers and again by a ripple-carry adder and gates on the bit string.
"""

from random import Random
from typing import Literal

from barograph.errors import BarographError
from barograph.tasks.problem import Problem, Task, problem

Operation = Literal["increment", "decrement", "add", "subtract", "and", "or", "xor", "not", "shift_left", "shift_right"]

LEVELS: dict[str, tuple[tuple[Operation, ...], range]] = {
    "1": (("increment", "decrement"), range(3, 9)),
    "2": (("add",), range(3, 8)),
    "3": (("subtract",), range(3, 8)),
    "4": (("and", "or", "xor", "not", "shift_left", "shift_right"), range(4, 9)),
}
"""Level -> its operations and widths. Narrower widths are left out: too few problems to hold any out."""

UNARY: frozenset[Operation] = frozenset({"increment", "decrement", "not", "shift_left", "shift_right"})
SYMMETRIC: frozenset[Operation] = frozenset({"add", "and", "or", "xor"})


def by_integers(operation: Operation, operands: tuple[int, ...], width: int) -> int:
    """The result as an integer in [0, 2^width), by the integers' own arithmetic."""
    a, b = operands[0], operands[-1]
    results: dict[Operation, int] = {
        "increment": a + 1,
        "decrement": a - 1,
        "add": a + b,
        "subtract": a - b,
        "and": a & b,
        "or": a | b,
        "xor": a ^ b,
        "not": ~a,
        "shift_left": a << 1,
        "shift_right": a >> 1,
    }
    return results[operation] % (1 << width)


def by_gates(operation: Operation, operands: tuple[str, ...]) -> str:
    """The result as a bit string of the operands' width, by gates and a ripple-carry adder, without integers."""
    a, b = operands[0], operands[-1]
    zero = "0" * len(a)
    if operation == "increment":
        return ripple_carry(a, zero, "1")
    if operation == "decrement":
        return ripple_carry(a, _inverted(zero), "0")
    if operation == "add":
        return ripple_carry(a, b, "0")
    if operation == "subtract":
        return ripple_carry(a, _inverted(b), "1")
    if operation == "not":
        return _inverted(a)
    if operation == "shift_left":
        return a[1:] + "0"
    if operation == "shift_right":
        return "0" + a[:-1]
    ones = {"and": ("11",), "or": ("01", "10", "11"), "xor": ("01", "10")}[operation]
    return "".join("1" if x + y in ones else "0" for x, y in zip(a, b, strict=True))


def ripple_carry(a: str, b: str, carry: str) -> str:
    """a + b + carry on bit strings of one width, the last carry dropped."""
    bits = []
    for x, y in zip(reversed(a), reversed(b), strict=True):
        count = (x + y + carry).count("1")
        bits.append("1" if count in (1, 3) else "0")
        carry = "1" if count >= 2 else "0"
    return "".join(reversed(bits))


def draw_binary(level: str, random: Random) -> Problem:
    """One problem of the level; operations and widths are equally likely, operands uniform."""
    operations, widths = LEVELS[level]
    operation, width = random.choice(operations), random.choice(widths)
    operands = tuple(random.randrange(2**width) for _ in range(1 if operation in UNARY else 2))
    bits = tuple(f"{operand:0{width}b}" for operand in operands)
    answer = f"{by_integers(operation, operands, width):0{width}b}"
    again = by_gates(operation, bits)
    if answer != again:
        raise BarographError(
            f"two proofs of {operation}{bits} disagree: integers say {answer}, gates say {again}",
            advice="One of by_integers and by_gates is wrong; mend it before any training",
        )
    ordered = sorted(bits) if operation in SYMMETRIC else bits
    return problem(
        task="binary",
        level=level,
        prompt=f"{width} bits: {operation}({', '.join(bits)}) = ?",
        answer=answer,
        canonical=f"({operation} {' '.join(ordered)})",
    )


def _inverted(bits: str) -> str:
    return bits.translate({ord("0"): "1", ord("1"): "0"})


BINARY = Task(
    name="binary",
    levels=tuple(LEVELS),
    draw=draw_binary,
    base_rates={"1": 0.05, "2": 0.05, "3": 0.05, "4": 0.05},
)
"""Bit arithmetic: 1 increment and decrement, 2 addition, 3 subtraction, 4 gates and shifts."""

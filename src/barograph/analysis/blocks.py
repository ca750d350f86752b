"""Which transformer block each tensor belongs to, by its name."""

import re
from collections import Counter
from collections.abc import Iterable

from barograph.records import TensorPass

REST = -1
"""Embeddings, final norm, output head: everything outside the blocks."""

BLOCK = re.compile(r"(?P<stack>(?:.*?\.)??(?:layers|h|blocks|block|layer))\.(?P<index>\d{1,6})\.")


def blocks(rows: Iterable[TensorPass]) -> dict[str, int]:
    """Name of every tensor -> its block, or -1.

    A block's number stands after `layers`, `h`, `blocks`, `block` or `layer`, at its first occurrence. A model with
    several stacks (a vision tower beside the language model) has one that counts, the one with the most elements; the
    others are part of the rest.
    """
    stacks: Counter[str] = Counter()
    found: dict[str, tuple[str, int]] = {}
    names = []
    for row in rows:
        names.append(row.tensor)
        match = BLOCK.match(row.tensor)
        if match is not None:
            found[row.tensor] = (match["stack"], int(match["index"]))
            stacks[match["stack"]] += row.elements
    main = max(sorted(stacks), key=lambda stack: stacks[stack], default="")
    return {name: found[name][1] if name in found and found[name][0] == main else REST for name in names}


def kind_of(name: str) -> str:
    """What a tensor is in every block: its name with `*` in place of the block's number."""
    return BLOCK.sub(lambda match: f"{match['stack']}.*.", name, count=1)

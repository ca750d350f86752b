"""What the norms of a layer are called, and which block a module is part of."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from barograph.analysis.blocks import BLOCK

LayerPart = Literal["A", "B", ""]
LayerKind = Literal["lora", "full"]
LayerQuantity = Literal["gradient_norm", "weight_norm", "update_norm"]

_METRIC = re.compile(
    r"(?:.*/)?layers/(?P<module>[^/]+)(?:/(?P<part>[AB]))?/(?P<quantity>(?:gradient|weight|update)_norm)"
)
_DIGITS = re.compile(r"([0-9]{1,18})")

_PARTS: dict[str | None, LayerPart] = {"A": "A", "B": "B", None: ""}
_QUANTITIES: dict[str, LayerQuantity] = {
    "gradient_norm": "gradient_norm",
    "weight_norm": "weight_norm",
    "update_norm": "update_norm",
}


class LayerName(Struct, frozen=True):
    """What one column of norms belongs to."""

    module: str
    """The module's name, such as `model.layers.3.self_attn.q_proj`, or that of a block, such as `model.layers.3`."""
    part: LayerPart
    """Which matrix of an adapter; empty for everything else."""


class LayerMetric(Struct, frozen=True):
    """What a metric of a layer is called after."""

    name: LayerName
    """The column."""
    quantity: LayerQuantity
    """Which of its norms."""


def layer_metric(name: LayerName, quantity: LayerQuantity) -> str:
    """What a column is called in the journal: `layers/<module>[/A|/B]/<quantity>`."""
    part = f"/{name.part}" if name.part else ""
    return f"layers/{name.module}{part}/{quantity}"


def layer_of(metric: str) -> LayerMetric | None:
    """The column that a metric of the journal is called after, if it is one."""
    found = _METRIC.fullmatch(metric)
    if found is None:
        return None
    return LayerMetric(LayerName(found["module"], _PARTS[found["part"]]), _QUANTITIES[found["quantity"]])


def module_blocks(modules: Iterable[str]) -> dict[str, int | None]:
    """Module -> its block: of several stacks of blocks, the one with the most modules counts."""
    found: dict[str, tuple[str, int]] = {}
    stacks: Counter[str] = Counter()
    every = list(modules)
    for module in every:
        match = BLOCK.match(f"{module}.")
        if match is not None:
            found[module] = (match["stack"], int(match["index"]))
            stacks[match["stack"]] += 1
    main = max(sorted(stacks), key=lambda stack: stacks[stack], default="")
    return {module: found[module][1] if module in found and found[module][0] == main else None for module in every}


def natural_order(name: str) -> list[tuple[int, str]]:
    """A key by which numbers in names are ordered as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]

"""Which trainable parameters make one column of layer norms: a matrix of an adapter, or a transformer block.

With adapters there is one module per adapted weight, its matrices A and B apart, whatever PEFT puts into the names of
parameters; without them there is one per transformer block, and one per module outside the blocks. Frozen parameters
are in none.
"""

import re
from collections.abc import Collection, Iterable

import torch
from msgspec import Struct

from barograph.analysis.blocks import BLOCK
from barograph.analysis.layer_activity import LayerKind, LayerName, LayerPart
from barograph.collect.moments import WRAPPERS

_ADAPTER = re.compile(
    r"(?P<module>.+?)\.lora_(?:(?:embedding_)?(?P<part>[AB])|magnitude_vector)"
    r"(?:\.(?P<adapter>(?!(?:weight|bias)$)[^.]+))?(?:\.(?:weight|bias))?"
)
_SAVED = re.compile(r"\.modules_to_save\.[^.]+(?=\.|$)")
_PEFT = re.compile(r"^base_model\.model\.")


class Columns(Struct, frozen=True, kw_only=True):
    """The columns of one model, and which of them each of its trainable parameters belongs to."""

    kind: LayerKind
    """Whether there are adapters."""
    names: tuple[LayerName, ...]
    """The columns."""
    parameters: tuple[torch.Tensor, ...]
    """The trainable parameters."""
    column: tuple[int, ...]
    """Place among `names` of each parameter."""
    frozen: int | None = None
    """Modules that would be columns if one of their parameters were trained; None beside adapters, where they are many
    by intention."""


def columns(model: torch.nn.Module) -> Columns:
    """The columns of `model` as it is now: what trains later, or not any more, is not followed. A parameter without
    elements has none, since no gradient can ever reach it."""
    named = [(name, one) for name, one in model.named_parameters() if one.requires_grad and one.numel()]
    names = layer_names([name for name, _ in named])
    order = {name: at for at, name in enumerate(dict.fromkeys(names))}
    adapted = any(_adapter(name) for name, _ in named)
    all_names = () if adapted else layer_names([name for name, one in model.named_parameters() if one.numel()])
    return Columns(
        kind="lora" if adapted else "full",
        frozen=None if adapted else len(set(all_names) - set(names)),
        names=tuple(order),
        parameters=tuple(one for _, one in named),
        column=tuple(order[name] for name in names),
    )


def only(found: Columns, parameters: Collection[int]) -> Columns:
    """The columns of `found` with only those parameters whose ids are among `parameters`."""
    chosen = [at for at, one in enumerate(found.parameters) if id(one) in parameters]
    return Columns(
        kind=found.kind,
        frozen=found.frozen,
        names=found.names,
        parameters=tuple(found.parameters[at] for at in chosen),
        column=tuple(found.column[at] for at in chosen),
    )


def used(found: Columns) -> Columns:
    """`found` without its columns that have no parameter."""
    places = {place: at for at, place in enumerate(sorted(set(found.column)))}
    return Columns(
        kind=found.kind,
        frozen=found.frozen,
        names=tuple(found.names[place] for place in places),
        parameters=found.parameters,
        column=tuple(places[place] for place in found.column),
    )


def under(found: Columns, model: str) -> Columns:
    """`found` with the name of its model before that of each column: `critic.layers.0`."""
    names = tuple(LayerName(f"{model}.{one.module}", one.part) for one in found.names)
    return Columns(kind=found.kind, frozen=found.frozen, names=names, parameters=found.parameters, column=found.column)


def layer_names(parameters: Iterable[str]) -> list[LayerName]:
    """The column of each trainable parameter, by its name in the model."""
    found = [_PEFT.sub("", WRAPPERS.sub("", name)) for name in parameters]
    adapters = [_adapter(name) for name in found]
    several = len({one["adapter"] for one in adapters if one is not None and one["adapter"]}) > 1
    has_adapters = any(adapters)
    return [
        _of_adapter(match, several=several) if match is not None else LayerName(_whole(name, has_adapters), "")
        for name, match in zip(found, adapters, strict=True)
    ]


def not_available(model: torch.nn.Module) -> str | None:
    """Why the gradients of `model` cannot be read here; None if they can."""
    trained = [one for one in model.parameters() if one.requires_grad]
    if not trained:
        return "No parameter of the model is trained."
    for one in trained:
        if hasattr(one, "ds_id"):
            return "Not available: DeepSpeed keeps the parameters and their gradients in shards of its own."
        if hasattr(one, "to_local") or type(one).__name__ == "FlatParameter":
            return "Not available: FSDP keeps the parameters and their gradients in shards."
        if one.device.type == "meta":
            return "Not available: parameters are on the meta device, where they have no values."
    return None


def _adapter(name: str) -> re.Match[str] | None:
    return _ADAPTER.fullmatch(name)


def _of_adapter(match: re.Match[str], *, several: bool) -> LayerName:
    part: LayerPart = "A" if match["part"] == "A" else "B" if match["part"] == "B" else ""
    adapter = f"[{match['adapter']}]" if several and match["adapter"] else ""
    return LayerName(_safe(_PEFT.sub("", match["module"])) + adapter, part)


def _whole(name: str, has_adapters: bool) -> str:
    """A block's name, or beside adapters, and outside of blocks, that of the module that has the parameter."""
    name = _SAVED.sub("", name)
    block = None if has_adapters else BLOCK.match(name)
    if block is not None:
        return _safe(f"{block['stack']}.{block['index']}")
    return _safe(name.rpartition(".")[0] or name)


def _safe(module: str) -> str:
    return module.replace("/", "_")

"""What `adapter_config.json` of peft says, and which adapters have an effective delta that can be read from it.

The delta of a LoRA is (alpha / r) B A (Hu et al. 2021), with rsLoRA (alpha / sqrt r) B A (Kalajdzievski 2023). Adapters
that change the weights in another way are refused by name: their delta would be wrong.
"""

import math
import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.errors import CheckpointError, UnsupportedFormat

ADAPTER_CONFIG = "adapter_config.json"
CHANGES_THE_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
"""Initialisations that subtract something from the base model, whose delta is not B A."""
LITERAL = re.compile(r"[\w.\\^$-]+")

Rank = Annotated[int, Meta(ge=1, le=1_000_000)]


class AdapterConfig(Struct, frozen=True, kw_only=True):
    """The settings that decide what an adapter adds to its base model."""

    peft_type: str
    r: Rank = 8
    lora_alpha: float = 8.0
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    alpha_pattern: dict[str, float] | None = None
    """Alpha of single modules, by the end of their name."""
    base_model_name_or_path: str | None = None
    init_lora_weights: bool | str | None = True
    layer_replication: list[object] | None = None
    target_parameters: list[object] | None = None

    def scale(self, module: str, *, rank: int) -> float:
        """What B A is multiplied by in one module of the base model; `rank` is that of its factors."""
        alpha = self.lora_alpha
        for pattern, own in (self.alpha_pattern or {}).items():
            plain = pattern.strip("^$").replace("\\.", ".")
            if module == plain or module.endswith(f".{plain}"):
                alpha = own
                break
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


def adapter_config(found: dict[str, object], *, where: Path) -> AdapterConfig:
    """The settings, typed. Raises `UnsupportedFormat` for adapters whose delta is not (alpha / r) B A."""
    try:
        config = msgspec.convert(found, AdapterConfig)
    except msgspec.ValidationError as error:
        raise CheckpointError(
            f"not the settings of an adapter: {error}", where=str(where), advice="Save the adapter again with peft"
        ) from error
    unread = _unread(config)
    if unread:
        raise UnsupportedFormat(
            f"{unread} is not read",
            where=str(where),
            advice="Merge the adapter into its base model (peft: merge_and_unload()), save it, and compare that",
        )
    for pattern in config.alpha_pattern or {}:
        if LITERAL.fullmatch(pattern) is None:
            raise UnsupportedFormat(
                f"alpha_pattern {pattern[:100]!r} is a regular expression, and only names of modules are read",
                where=str(where),
                advice="Merge the adapter into its base model (peft: merge_and_unload()), and compare that",
            )
    return config


def _unread(config: AdapterConfig) -> str:
    """Name of what makes the delta something else than (alpha / r) B A; empty if nothing does."""
    start = config.init_lora_weights
    if config.peft_type.upper() != "LORA":
        return f"an adapter of type {config.peft_type[:40]}"
    if config.use_dora:
        return "a DoRA adapter"
    if config.lora_bias:
        return "a LoRA with biases (lora_bias)"
    if config.layer_replication:
        return "a LoRA with layer replication"
    if config.target_parameters:
        return "a LoRA on parameters (target_parameters)"
    if isinstance(start, str) and start.lower().startswith(CHANGES_THE_BASE):
        return f"a LoRA initialised by {start[:40]}, which changes the base model,"
    return ""

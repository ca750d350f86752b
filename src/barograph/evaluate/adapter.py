"""A LoRA adapter of peft's on its base model, merged: from files on this machine, safetensors and JSON only."""

import importlib.util
import warnings
from pathlib import Path
from typing import Annotated

import msgspec
from huggingface_hub import try_to_load_from_cache
from msgspec import Meta, Struct
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from barograph.errors import CheckpointError, MissingExtra

CONFIG = "adapter_config.json"
"""The file that makes a folder an adapter of peft's."""

WEIGHTS = "adapter_model.safetensors"

ALLOWED = frozenset(
    {"r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "fan_in_fan_out", "bias", "use_rslora"}
    | {"use_dora", "modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"}
)
"""What of a config is used. The rest is about starting a training, or can name modules and files to be loaded."""

MEANINGFUL = frozenset(
    {"megatron_config", "layer_replication", "lora_bias", "target_parameters", "trainable_token_indices"}
    | {"alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config"}
)
"""What would change the model and is not used: an adapter that sets it is refused."""


class AdapterConfig(Struct, frozen=True, kw_only=True):
    """The part of `adapter_config.json` that says what lies under the adapter."""

    peft_type: Annotated[str, Meta(description="Kind of adapter; `LORA` is the one that is known here.")]
    base_model_name_or_path: Annotated[str | None, Meta(description="Folder or hub name of the base model.")] = None
    revision: Annotated[str | None, Meta(description="Revision of the base model on the hub.")] = None


def base_folder(path: Path) -> Path:
    """Folder of the base model of the adapter in folder `path`: a folder, or a hub name's in the local cache.

    Nothing is downloaded. Raises `CheckpointError` when it is not on this machine, or is an adapter itself.
    """
    try:
        config = msgspec.json.decode((path / CONFIG).read_bytes(), type=AdapterConfig)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(
            f"an adapter whose {CONFIG} cannot be read: {error}", where=str(path), advice="Save the adapter again"
        ) from error
    name = config.base_model_name_or_path
    folder = None if name is None else _on_this_machine(name, config.revision)
    if folder is None:
        raise CheckpointError(
            f"an adapter ({CONFIG}) whose base model {name!r} is not on this machine",
            where=str(path),
            advice="Merge the adapter first (peft: merge_and_unload()) and save the merged model and its tokenizer, or"
            " bring the base model here under that name",
        )
    if (folder / CONFIG).is_file():
        raise CheckpointError(
            f"an adapter on {name}, which is an adapter itself",
            where=str(path),
            advice="Merge the lower one first (peft: merge_and_unload())",
        )
    return folder


def merged(base: PreTrainedModel, path: Path) -> PreTrainedModel:
    """The base model with the adapter in folder `path` added to its weights; the base is changed.

    Raises `CheckpointError` when the adapter is no LoRA, uses what is not known here, or is not complete for this base.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingExtra("peft", extra="train", purpose="An adapter checkpoint")
    from peft import LoraConfig, get_peft_model
    from peft.utils import set_peft_model_state_dict

    said: dict[str, object] = msgspec.json.decode((path / CONFIG).read_bytes())
    foreign = sorted(name for name in MEANINGFUL if said.get(name))
    if said["peft_type"] != "LORA" or foreign:
        raise CheckpointError(
            f"an adapter of type {said['peft_type']}{' with ' + ', '.join(foreign) if foreign else ''}",
            where=str(path),
            advice="Only plain LoRA adapters are put on their base here; merge this one and save the merged model",
        )
    if not (path / WEIGHTS).is_file():
        raise CheckpointError(
            f"an adapter without {WEIGHTS}", where=str(path), advice="Save it as safetensors; pickles are never opened"
        )
    try:
        config = LoraConfig(**{name: value for name, value in said.items() if name in ALLOWED})
        with warnings.catch_warnings():
            # peft asks transformers for a name that it has deprecated.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            model = get_peft_model(base, config)
        loading = set_peft_model_state_dict(model, load_file(path / WEIGHTS))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"the adapter cannot be put on its base: {error}",
            where=str(path),
            advice="Check that base_model_name_or_path names the model that it was trained on",
        ) from error
    # Of the whole model everything but the adapter is "missing"; what counts is what an adapter consists of.
    absent = sorted(name for name in loading.missing_keys if "lora_" in name or "modules_to_save" in name)
    odd = [*absent, *sorted(loading.unexpected_keys)]
    if odd:
        raise CheckpointError(
            f"{len(odd)} tensors of the adapter do not fit its base: {odd[0]}",
            where=str(path),
            advice="Check that base_model_name_or_path names the model that it was trained on",
        )
    return model.merge_and_unload()


def _on_this_machine(name: str, revision: str | None) -> Path | None:
    if Path(name).is_dir():
        return Path(name)
    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # no hub name either
        return None
    return Path(found).parent if isinstance(found, str) else None

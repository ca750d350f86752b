"""A checkpoint folder -> greedy answers: loading without network or foreign code, and batched generation."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from barograph.errors import CheckpointError

ADAPTER = "adapter_config.json"
"""The file that makes a folder an adapter of peft's."""


class LoadedCheckpoint(Struct, frozen=True, kw_only=True):
    """A model in evaluation mode and its tokenizer."""

    path: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


class Generated(Struct, frozen=True, kw_only=True):
    """What a model wrote after one prompt."""

    text: Annotated[str, Meta(description="Without special tokens.")]
    prompt_tokens: Annotated[int, Meta(description="Tokens of the prompt, without padding.")]
    tokens: Annotated[int, Meta(description="Tokens generated, without the end token.")]
    finished: Annotated[bool, Meta(description="The model ended by itself; false: the limit cut it off.")]
    generation_ms: Annotated[float, Meta(description="The batch's generation time divided by its prompts.")]


def load_checkpoint(path: Path, *, device: str = "cpu") -> LoadedCheckpoint:
    """Model and tokenizer of a checkpoint folder, in float32.

    Nothing is downloaded, no code of the checkpoint is run and nothing is unpickled: weights come from safetensors
    only. Raises `CheckpointError` when the folder cannot be used that way, when it is an adapter without its base
    model, when a tensor of the model is not in it, and when it has no tokenizer: transformers would look for the base
    model on the hub, make up random weights, and answer with an empty vocabulary.
    """
    if (path / ADAPTER).is_file():
        raise CheckpointError(
            f"an adapter ({ADAPTER}) without its base model",
            where=str(path),
            advice="Merge the adapter first (peft: merge_and_unload()) and save the merged model and its tokenizer",
        )
    if not any(path.glob("*.safetensors")):
        raise CheckpointError(
            "no .safetensors file", where=str(path), advice="Save the model as safetensors; pickles are never opened"
        )
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot be loaded: {error}",
            where=str(path),
            advice="It needs config.json, safetensors weights and the tokenizer; a checkpoint still being written"
            " loads later",
        ) from error
    absent = incomplete(loading["missing_keys"], loading["mismatched_keys"])
    if absent:
        raise CheckpointError(
            f"{len(absent)} tensors of the model are not in it as config.json says: {_some(absent)}",
            where=str(path),
            advice="Save the whole model, with the config.json that it was trained with",
        )
    vocabularies = sorted(set(tokenizer.vocab_files_names.values()))
    if vocabularies and not any((path / name).is_file() for name in vocabularies):
        raise CheckpointError(
            f"no tokenizer: none of {', '.join(vocabularies)}",
            where=str(path),
            advice="Save the tokenizer beside the model: pass it to the Trainer as processing_class",
        )
    if tokenizer.eos_token_id is None:
        raise CheckpointError(
            "its tokenizer has no end token", where=str(path), advice="Set eos_token and save the tokenizer again"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LoadedCheckpoint(path=path, model=model.float().to(device).eval(), tokenizer=tokenizer)


def incomplete(missing: Iterable[str], mismatched: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> list[str]:
    """Names of tensors that loading reports as not in the files, or there with another shape, which is said beside it.

    A tensor that is tied to one that is there, such as the output layer to the embedding, is not reported as missing.
    """
    reshaped = [f"{name} ({list(there)}, not {list(needed)})" for name, there, needed in mismatched]
    return sorted([*missing, *reshaped])


def _some(names: Sequence[str], *, most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def token_limit(loaded: LoadedCheckpoint, targets: Sequence[str], *, slack: int = 4) -> int:
    """Tokens to allow: those of the longest target, its end token, and `slack` to see an answer run on."""
    return max(len(loaded.tokenizer.encode(target)) for target in targets) + 1 + slack


def generate(
    loaded: LoadedCheckpoint, prompts: Sequence[str], *, max_new_tokens: int, batch_size: int = 128
) -> list[Generated]:
    """Greedy answers, in the order of the prompts.

    Prompts of like length share a batch, padded on the left and masked, so that padding changes no answer.
    """
    lengths = [len(loaded.tokenizer.encode(prompt)) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lengths.__getitem__)
    answers: dict[int, Generated] = {}
    for start in range(0, len(by_length), batch_size):
        chosen = by_length[start : start + batch_size]
        batch = _batch(loaded, [prompts[i] for i in chosen], max_new_tokens=max_new_tokens)
        answers.update(zip(chosen, batch, strict=True))
    return [answers[i] for i in range(len(prompts))]


@torch.inference_mode()
def _batch(loaded: LoadedCheckpoint, prompts: list[str], *, max_new_tokens: int) -> list[Generated]:
    tokenizer, model = loaded.tokenizer, loaded.model
    began = time.perf_counter()
    encoded = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt").to(model.device)
    mask = encoded["attention_mask"]
    # Sampling settings of a checkpoint's generation_config.json would only warn beside do_sample=False.
    written = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )[:, mask.shape[1] :].tolist()
    each = (time.perf_counter() - began) * 1000 / len(prompts)
    answers = []
    for row, prompt_tokens in zip(written, mask.sum(dim=1).tolist(), strict=True):
        finished = tokenizer.eos_token_id in row
        content = row[: row.index(tokenizer.eos_token_id)] if finished else row
        answers.append(
            Generated(
                text=tokenizer.decode(content, skip_special_tokens=True),
                prompt_tokens=int(prompt_tokens),
                tokens=len(content),
                finished=finished,
                generation_ms=each,
            )
        )
    return answers

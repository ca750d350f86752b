"""A checkpoint folder -> greedy answers: loading without network or foreign code, and batched generation.

A model whose tokenizer has a chat template is asked in it, as a user asks; every other model reads the bare prompt.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from barograph.errors import CheckpointError
from barograph.evaluate import adapter

LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What transformers raises for a folder that is not as it should be."""


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
    """Model and tokenizer of a checkpoint folder, in float32; an adapter is merged into its base model.

    Nothing is downloaded, no code of the checkpoint is run and nothing is unpickled: weights come from safetensors
    only. Raises `CheckpointError` when the folder cannot be used that way, when it is an adapter whose base model is
    not on this machine, when a tensor of the model is not in it, and when it has no tokenizer: transformers would look
    for the base model on the hub, make up random weights, and answer with an empty vocabulary.
    """
    if (path / adapter.CONFIG).is_file():
        base = adapter.base_folder(path)
        model = adapter.merged(_model(base).float(), path)
        tokenizer = _tokenizer(path if (path / "tokenizer_config.json").is_file() else base)
    else:
        model, tokenizer = _model(path), _tokenizer(path)
    return LoadedCheckpoint(path=path, model=model.float().to(device).eval(), tokenizer=tokenizer)


def _model(path: Path) -> PreTrainedModel:
    """The model in a folder, all of it, with the type of its weights."""
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
    except LOADING_ERRORS as error:
        raise _cannot_load(path, error) from error
    absent = incomplete(loading["missing_keys"], loading["mismatched_keys"])
    if absent:
        raise CheckpointError(
            f"{len(absent)} tensors of the model are not in it as config.json says: {_some(absent)}",
            where=str(path),
            advice="Save the whole model, with the config.json that it was trained with",
        )
    return model


def _tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, with an end token and a padding token."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise _cannot_load(path, error) from error
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
    return tokenizer


def _cannot_load(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"cannot be loaded: {error}",
        where=str(path),
        advice="It needs config.json, safetensors weights and the tokenizer; a checkpoint still being written"
        " loads later",
    )


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
    asked = [prompt_ids(loaded.tokenizer, prompt) for prompt in prompts]
    by_length = sorted(range(len(asked)), key=lambda i: len(asked[i]))
    answers: dict[int, Generated] = {}
    for start in range(0, len(by_length), batch_size):
        chosen = by_length[start : start + batch_size]
        batch = _batch(loaded, [asked[i] for i in chosen], max_new_tokens=max_new_tokens)
        answers.update(zip(chosen, batch, strict=True))
    return [answers[i] for i in range(len(prompts))]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The prompt as tokens; a chat model's is a user's message in its template, up to where the answer begins."""
    if tokenizer.chat_template is None:
        return list(tokenizer.encode(prompt))
    said = [{"role": "user", "content": prompt.strip()}]
    asked = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(asked, add_special_tokens=False))  # the template has written them


@torch.inference_mode()
def _batch(loaded: LoadedCheckpoint, prompts: list[list[int]], *, max_new_tokens: int) -> list[Generated]:
    tokenizer, model = loaded.tokenizer, loaded.model
    began = time.perf_counter()
    width = max(map(len, prompts))
    padding = [width - len(ids) for ids in prompts]
    asked = [[tokenizer.pad_token_id] * left + ids for left, ids in zip(padding, prompts, strict=True)]
    mask = [[0] * left + [1] * (width - left) for left in padding]
    # Sampling settings of a checkpoint's generation_config.json would only warn beside do_sample=False.
    written = model.generate(
        input_ids=torch.tensor(asked, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )[:, width:].tolist()
    each = (time.perf_counter() - began) * 1000 / len(prompts)
    answers = []
    for row, ids in zip(written, prompts, strict=True):
        finished = tokenizer.eos_token_id in row
        content = row[: row.index(tokenizer.eos_token_id)] if finished else row
        answers.append(
            Generated(
                text=tokenizer.decode(content, skip_special_tokens=True),
                prompt_tokens=len(ids),
                tokens=len(content),
                finished=finished,
                generation_ms=each,
            )
        )
    return answers

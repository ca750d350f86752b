"""Who is taught, and how: a model with its tokenizer, and the settings that fit its size."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from barograph.errors import BarographError
from barograph.train.dataset import Batch, Example, Part, collate, collate_for_answers, texts
from barograph.train.small_qwen3 import small_qwen3
from barograph.train.tokenizer import train_tokenizer

TOKENIZER_TEXTS = 1_500


class Lora(Struct, frozen=True, kw_only=True):
    """A low-rank adapter (Hu et al. 2021) on every linear layer but the output layer: W + alpha / r * B A."""

    r: Annotated[int, Meta(ge=1, description="Rank of B A.")] = 8
    alpha: Annotated[int, Meta(ge=1, description="Numerator of the scale.")] = 16
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Share of inputs to A that are dropped.")] = 0.0


class Student(Struct, frozen=True, kw_only=True):
    """A model and how it is taught."""

    model: PreTrainedModel
    """The model, in float32; an adapter and the model under it count as one."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer; where that has a chat template, problems are asked in it."""
    collator: Callable[[Sequence[Example]], Batch]
    """Examples -> batch."""
    batch: int
    """Examples in a batch."""
    block: int
    """Examples in a row that share task, level and regime: two kinds in a batch, little padding."""
    learning_rate: float
    """Peak of the learning rate."""
    warm_up_steps: int
    """Steps until the peak."""


def small_student(mixture: Sequence[Part], *, seed: int) -> Student:
    """The small Qwen3 at random weights, with a tokenizer made for the mixture."""
    tokenizer = train_tokenizer(texts(mixture, seed=seed, count=TOKENIZER_TEXTS))
    return Student(
        model=small_qwen3(tokenizer, seed=seed),
        tokenizer=tokenizer,
        collator=partial(collate, pad=tokenizer.pad_token_id),
        batch=32,
        block=16,
        learning_rate=3e-3,
        warm_up_steps=30,
    )


def pretrained_student(folder: Path, *, lora: Lora | None, seed: int) -> Student:
    """A model that was trained before, from a folder: as it is, or frozen under a new adapter.

    The adapter's A is drawn by the seed, its B is zero: at step 0 the model answers as it did. Raises `BarographError`
    when the folder cannot be loaded.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BarographError(
            f"the model cannot be loaded: {error}",
            where=str(folder),
            advice="If it is in the cache, delete it: it is made again",
        ) from error
    torch.manual_seed(seed)
    return Student(
        model=model if lora is None else _adapted(model, lora),
        tokenizer=tokenizer,
        collator=partial(collate_for_answers, pad=tokenizer.pad_token_id),
        batch=8,
        block=4,
        learning_rate=5e-5 if lora is None else 1e-3,
        warm_up_steps=8,
    )


def _adapted(model: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
    )
    with warnings.catch_warnings():
        # peft asks transformers for a name that it has deprecated; no one who trains can do anything about it.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        return get_peft_model(model, config)

"""Training examples, made when they are asked for: problems of a mixture, under regimes, as token ids.

Example i of a seed is always the same, whoever asks and in whatever order. Nothing is generated or tokenised ahead,
so the first step does not wait for it.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, NotRequired, TypedDict

import torch
from msgspec import Meta, Struct
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from barograph.tasks import TASKS, draw
from barograph.tasks.regimes import Regime, Rendered, render

IGNORED = -100
"""The label of a token that the loss passes over."""


class Part(Struct, frozen=True, kw_only=True):
    """One kind of example in a mixture."""

    task: Annotated[str, Meta(description="Task name.")]
    level: Annotated[str, Meta(description="Level of the task.")]
    regime: Annotated[Regime, Meta(description="Answer format.")]
    weight: Annotated[float, Meta(gt=0, description="Its share, relative to the other parts' weights.")]


class Example(TypedDict):
    """Token ids of prompt and target, and the labels: the target's ids, `IGNORED` on the prompt."""

    input_ids: list[int]
    labels: list[int]


class Batch(TypedDict):
    """Tensors [example, position], padded on the right; with `logits_to_keep`, on the left.

    `logits_to_keep` makes the model compute logits of that many last positions only, and the labels are those of these
    positions.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    logits_to_keep: NotRequired[int]


class TaskDataset(Dataset[Example]):
    """`length` examples of a mixture; blocks of `block` consecutive examples share one part.

    Neighbours of one part have like lengths, so a batch that is a few blocks carries little padding.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        mixture: Sequence[Part],
        *,
        seed: int,
        length: int,
        block: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._mixture = tuple(mixture)
        self._seed = seed
        self._length = length
        self._block = block

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        shown = rendered(self._mixture, seed=self._seed, index=index, block=self._block)
        prompt, target = prompt_ids(self._tokenizer, shown.prompt), self._tokenizer.encode(shown.target)
        target.append(self._tokenizer.eos_token_id)
        return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The prompt as tokens; a chat model's is a user's message in its template, up to where the answer begins."""
    if tokenizer.chat_template is None:
        return list(tokenizer.encode(prompt))
    said = [{"role": "user", "content": prompt.strip()}]
    asked = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(asked, add_special_tokens=False))  # the template has written them


def rendered(mixture: Sequence[Part], *, seed: int, index: int, block: int) -> Rendered:
    """The text of example `index`; its problem is never a held-out one."""
    part = Random(f"part/{seed}/{index // block}").choices(mixture, [part.weight for part in mixture])[0]
    task = next(task for task in TASKS if task.name == part.task)
    problem = draw(task, part.level, seed=f"train/{seed}/{index}", split="train")
    return render(problem, part.regime, seed=f"train/{seed}/{index}")


def texts(mixture: Sequence[Part], *, seed: int, count: int) -> Iterator[str]:
    """`count` examples as text, for the tokenizer."""
    for index in range(count):
        shown = rendered(mixture, seed=seed, index=index, block=1)
        yield shown.prompt + shown.target


def collate(examples: Sequence[Example], *, pad: int) -> Batch:
    """The examples as one batch, padded on the right to the longest."""
    width = max(len(example["input_ids"]) for example in examples)

    def padded(rows: Iterator[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (width - len(row)) for row in rows])

    return {
        "input_ids": padded((e["input_ids"] for e in examples), pad),
        "attention_mask": padded(([1] * len(e["input_ids"]) for e in examples), 0),
        "labels": padded((e["labels"] for e in examples), IGNORED),
    }


def collate_for_answers(examples: Sequence[Example], *, pad: int) -> Batch:
    """The examples as one batch, padded on the left, with logits only where the answers are.

    For a large vocabulary: of SmolLM2's 49,152 logits a position, four fifths of the positions are prompt, which the
    loss passes over; leaving them out saves a third of a step. The loss is the same.
    """
    width = max(len(example["input_ids"]) for example in examples)
    # One more than the longest answer: the position before a token predicts it.
    kept = 1 + max(sum(label != IGNORED for label in example["labels"]) for example in examples)

    def padded(rows: Iterator[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([[filler] * (width - len(row)) + row for row in rows])

    return {
        "input_ids": padded((e["input_ids"] for e in examples), pad),
        "attention_mask": padded(([1] * len(e["input_ids"]) for e in examples), 0),
        "labels": padded((e["labels"] for e in examples), IGNORED)[:, -kept:],
        "logits_to_keep": kept,
    }

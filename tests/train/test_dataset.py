"""Training examples: the same for the same seed, loss on the answer only, blocks of one part, nothing held out."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from barograph.evaluate import generate
from barograph.evaluate.probe_set import SHORT as SHORT_PROBES
from barograph.evaluate.probe_set import STANDARD, probe_set
from barograph.tasks import TASKS
from barograph.tasks.regimes import REGIMES
from barograph.train.dataset import (
    IGNORED,
    Part,
    TaskDataset,
    collate,
    collate_for_answers,
    prompt_ids,
    rendered,
    texts,
)
from barograph.train.mixture import DEMO, SHORT
from barograph.train.student import small_student
from barograph.train.tokenizer import train_tokenizer

STUDENT = small_student(DEMO, seed=0)
BATCH, BLOCK = STUDENT.batch, STUDENT.block
TOKENIZER = train_tokenizer(texts(DEMO, seed=0, count=300))
PAD = TOKENIZER.pad_token_id
INDEX = st.integers(0, 10_000)


def dataset(seed: int) -> TaskDataset:
    return TaskDataset(TOKENIZER, DEMO, seed=seed, length=10_001, block=BLOCK)


@settings(max_examples=30)
@given(st.integers(0, 99), INDEX)
def test_an_example_is_the_same_whoever_asks_and_when(seed: int, index: int) -> None:
    warmed = dataset(seed)
    _ = warmed[0]
    assert warmed[index] == dataset(seed)[index]


@settings(max_examples=30)
@given(INDEX)
def test_the_loss_sees_the_target_and_its_end_and_nothing_of_the_prompt(index: int) -> None:
    shown = rendered(DEMO, seed=3, index=index, block=BLOCK)
    example = dataset(3)[index]
    scored = [label for label in example["labels"] if label != IGNORED]
    assert TOKENIZER.decode(scored) == shown.target + TOKENIZER.eos_token
    assert TOKENIZER.decode(example["input_ids"]) == shown.prompt + shown.target + TOKENIZER.eos_token
    assert example["labels"][-len(scored) :] == scored == example["input_ids"][-len(scored) :]


def test_a_batch_is_padded_on_the_right_and_masked() -> None:
    examples = [dataset(0)[index] for index in (0, BLOCK, 2 * BLOCK, 3 * BLOCK)]
    batch = collate(examples, pad=PAD)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        assert batch["input_ids"][row, :length].tolist() == example["input_ids"]
        assert batch["labels"][row, :length].tolist() == example["labels"]
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (batch["labels"].shape[1] - length)
        assert set(batch["labels"][row, length:].tolist()) <= {IGNORED}
        assert set(batch["input_ids"][row, length:].tolist()) <= {PAD}


def chat_tokenizer() -> PreTrainedTokenizerBase:
    """The small tokenizer, with a template such as chat models have."""
    tokenizer = train_tokenizer(texts(DEMO, seed=0, count=100))
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    return tokenizer


def test_a_chat_model_is_asked_in_its_template_and_the_loss_sees_the_answer_and_its_end_only() -> None:
    tokenizer = chat_tokenizer()
    shown = rendered(SHORT, seed=0, index=0, block=4)
    example = TaskDataset(tokenizer, SHORT, seed=0, length=1, block=4)[0]
    question = shown.prompt.strip()
    assert tokenizer.decode(example["input_ids"]) == (
        f"<|user|>{question}{tokenizer.eos_token}<|assistant|>{shown.target}{tokenizer.eos_token}"
    )
    scored = [label for label in example["labels"] if label != IGNORED]
    assert tokenizer.decode(scored) == shown.target + tokenizer.eos_token


@pytest.mark.parametrize("tokenizer", [TOKENIZER, chat_tokenizer()], ids=["bare", "chat"])
def test_a_model_is_asked_in_the_evaluation_as_it_was_in_the_training(tokenizer: PreTrainedTokenizerBase) -> None:
    for probe in probe_set(SHORT_PROBES, seed=0).probes:
        assert prompt_ids(tokenizer, probe.rendered.prompt) == generate.prompt_ids(tokenizer, probe.rendered.prompt)


def test_logits_at_the_answers_alone_give_the_same_loss_and_gradients() -> None:
    model = small_student(DEMO, seed=0).model
    examples = [dataset(0)[index] for index in (0, BLOCK, 2 * BLOCK, 3 * BLOCK)]
    found = []
    for batch in (collate(examples, pad=PAD), collate_for_answers(examples, pad=PAD)):
        loss = model(**batch).loss
        loss.backward()
        norm = float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())
        model.zero_grad()
        found.append((float(loss.detach()), norm))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert collate_for_answers(examples, pad=PAD)["labels"].shape[1] < collate(examples, pad=PAD)["labels"].shape[1]


def test_a_batch_is_whole_blocks_and_a_block_is_one_part() -> None:
    assert BATCH % BLOCK == 0
    for block in range(20):
        regimes = {rendered(DEMO, seed=0, index=block * BLOCK + i, block=BLOCK).regime for i in range(BLOCK)}
        assert len(regimes) == 1


def test_the_demo_mixes_every_level_and_every_regime() -> None:
    assert {(part.task, part.level) for part in DEMO} == {(task.name, lv) for task in TASKS for lv in task.levels}
    assert {part.regime for part in DEMO} == set(REGIMES)


def test_parts_come_by_their_weights() -> None:
    mixture = (
        Part(task="binary", level="1", regime="regime3", weight=3.0),
        Part(task="binary", level="1", regime="plain_sft", weight=1.0),
    )
    drawn = Counter(rendered(mixture, seed=0, index=index, block=1).regime for index in range(2000))
    assert abs(drawn["regime3"] / 2000 - 0.75) < 0.04


def test_no_probe_of_the_standard_set_is_in_the_training_data() -> None:
    questions = {probe.rendered.prompt.split("\n")[0] for probe in probe_set(STANDARD, seed=0).probes}
    trained = {rendered(DEMO, seed=0, index=index, block=1).prompt.split("\n")[0] for index in range(3000)}
    assert not questions & trained

"""Training examples: the same for the same seed, loss on the answer only, blocks of one part, nothing held out."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.evaluate.probe_set import STANDARD, probe_set
from barograph.tasks import TASKS
from barograph.tasks.regimes import REGIMES
from barograph.train.dataset import IGNORED, Part, TaskDataset, collate, rendered, texts
from barograph.train.mixture import DEMO
from barograph.train.sft import BATCH, BLOCK
from barograph.train.tokenizer import train_tokenizer

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

"""The batch that did it: its examples are named by hash, index and text."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.batches import FEWEST_STEPS, KEPT_STEPS, MOST_EXAMPLES, KeptBatches, batch_record
from barograph.records import codec


def hash_of(ids: list[int]) -> str:
    return hashlib.sha256(np.array(ids, dtype="<i8").tobytes()).hexdigest()[:16]


def decode(ids: object) -> str:
    return " ".join(map(str, ids))  # type: ignore[call-overload]  # a list of ids


@given(st.lists(st.lists(st.integers(0, 2**31), min_size=1, max_size=6), min_size=1, max_size=5), st.integers(0, 4))
def test_an_example_has_the_same_name_whatever_it_is_padded_with(rows: list[list[int]], extra: int) -> None:
    width = max(map(len, rows)) + extra
    ids = torch.tensor([row + [7] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    found = batch_record(3, [{"input_ids": ids, "attention_mask": mask}], None)
    assert found is not None
    assert [(one.hash, one.tokens) for one in found.examples] == [(hash_of(row), len(row)) for row in rows]
    assert (found.step, found.left_out) == (3, 0)


def test_indices_and_texts_are_told_where_they_are_known() -> None:
    long = [5] * 500
    ids = torch.tensor([long, list(range(500))])
    kept = KeptBatches(decode)
    kept.update(4, {"input_ids": ids, "index": torch.tensor([70, 71]), "pixel_values": torch.zeros(2, 9)})
    found = kept.record(4)
    assert found is not None
    assert [one.index for one in found.examples] == [70, 71]
    assert found.examples[0].text == ("5 " * 100)
    assert found.examples[1].text is not None
    assert found.examples[1].text.startswith("0 1 2 3")
    assert codec.decode_line(codec.encode_line(found)).record == found


def test_a_tokenizer_that_raises_costs_the_text_and_nothing_else() -> None:
    def broken(ids: object) -> str:
        raise RuntimeError("no words")

    found = batch_record(1, [{"input_ids": torch.tensor([[1, 2]])}], broken)
    assert found is not None
    assert [(one.hash, one.text) for one in found.examples] == [(hash_of([1, 2]), None)]


def test_of_many_examples_the_first_of_every_micro_batch_are_kept() -> None:
    micro_batches = [{"input_ids": torch.full((10, 3), number)} for number in range(20)]
    found = batch_record(1, micro_batches, None)
    assert found is not None
    assert len(found.examples) == MOST_EXAMPLES
    assert found.left_out == 200 - MOST_EXAMPLES
    assert {one.micro_batch for one in found.examples} == set(range(20))
    assert max(one.row for one in found.examples) == 3
    places = [(one.micro_batch, one.row) for one in found.examples]
    assert places == sorted(places)


def test_the_newest_steps_are_kept_and_older_ones_are_gone() -> None:
    kept = KeptBatches()
    steps = KEPT_STEPS + 40
    for step in range(steps):
        for _ in range(2):
            kept.update(step, {"input_ids": torch.tensor([[step]])})
    gone = kept.record(39)
    assert (gone.step, gone.examples, gone.left_out) == (39, [], 0)
    assert "when the batches of step 40 were the oldest still kept (the newest 512 steps, at most 64 MB" in gone.why
    for step in range(40, steps):
        found = kept.record(step)
        assert found.why == ""
        assert [one.hash for one in found.examples] == [hash_of([step])] * 2
        assert [one.micro_batch for one in found.examples] == [0, 1]


@pytest.mark.parametrize(
    "inputs", [None, [1, 2], {}, {"input_ids": torch.zeros(3)}, {"input_ids": "text"}, {"labels": torch.zeros(2, 2)}]
)
def test_a_batch_without_token_ids_says_why_it_names_no_examples(inputs: object) -> None:
    kept = KeptBatches()
    kept.update(1, inputs)
    found = kept.record(1)
    assert found.examples == []
    assert found.why in {"no batch of this step was seen", "its batches have no input_ids of two dimensions"}
    assert codec.decode_line(codec.encode_line(found)).record == found


def test_batches_are_kept_up_to_their_bytes_and_a_few_whatever_they_weigh() -> None:
    ids, mask = torch.zeros(2, 50, dtype=torch.int64), torch.ones(2, 50, dtype=torch.bool)
    kept = KeptBatches(most_bytes=10 * (800 + 100))
    for step in range(30):
        kept.update(step, {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(2, 50)})
    assert [step for step in range(30) if kept.record(step).examples] == list(range(20, 30))
    small = KeptBatches(most_bytes=1)
    for step in range(30):
        small.update(step, {"input_ids": ids})
    assert [step for step in range(30) if small.record(step).examples] == list(range(30 - FEWEST_STEPS, 30))


def test_lists_and_arrays_are_read_as_tensors_are() -> None:
    found = batch_record(1, [{"input_ids": np.array([[1, 2, 3]]), "id": np.array([9])}], None)
    assert found is not None
    assert [(one.hash, one.index) for one in found.examples] == [(hash_of([1, 2, 3]), 9)]

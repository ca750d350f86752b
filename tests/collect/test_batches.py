"""The batch that did it: its examples are named by hash, index and text."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barograph.collect.batches import KEPT_STEPS, MOST_EXAMPLES, KeptBatches, batch_record
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
    for step in range(40):
        for _ in range(2):
            kept.update(step, {"input_ids": torch.tensor([[step]])})
    assert kept.record(40 - KEPT_STEPS - 1) is None
    for step in range(40 - KEPT_STEPS, 40):
        found = kept.record(step)
        assert found is not None
        assert [one.hash for one in found.examples] == [hash_of([step])] * 2
        assert [one.micro_batch for one in found.examples] == [0, 1]


@pytest.mark.parametrize(
    "inputs", [None, [1, 2], {}, {"input_ids": torch.zeros(3)}, {"input_ids": "text"}, {"labels": torch.zeros(2, 2)}]
)
def test_a_batch_without_token_ids_has_no_record(inputs: object) -> None:
    kept = KeptBatches()
    kept.update(1, inputs)
    assert kept.record(1) is None


def test_lists_and_arrays_are_read_as_tensors_are() -> None:
    found = batch_record(1, [{"input_ids": np.array([[1, 2, 3]]), "id": np.array([9])}], None)
    assert found is not None
    assert [(one.hash, one.index) for one in found.examples] == [(hash_of([1, 2, 3]), 9)]

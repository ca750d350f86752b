"""The tokenizer: spells any text, keeps digits apart, knows the tasks' words, survives a checkpoint folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from barograph.tasks.regimes import STOP_EMOJI, THINKING_EMOJI
from barograph.train.dataset import texts
from barograph.train.mixture import DEMO
from barograph.train.tokenizer import VOCABULARY, train_tokenizer

TOKENIZER = train_tokenizer(texts(DEMO, seed=0, count=800))


def spelled(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    return str(tokenizer.decode(tokenizer.encode(text), skip_special_tokens=False))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_is_spelled_and_read_back(text: str) -> None:
    assert spelled(TOKENIZER, text) == text


@pytest.mark.parametrize("emoji", [*THINKING_EMOJI, *STOP_EMOJI])
def test_every_emoji_is_read_back(emoji: str) -> None:
    assert spelled(TOKENIZER, emoji * 3) == emoji * 3


@given(st.text(alphabet="0123456789", min_size=1))
def test_every_digit_is_one_token(digits: str) -> None:
    assert len(TOKENIZER.encode(digits)) == len(digits)


def test_no_special_token_is_added_to_a_text() -> None:
    assert not {TOKENIZER.pad_token_id, TOKENIZER.eos_token_id} & set(TOKENIZER.encode("All men are mortal."))


def test_the_vocabulary_keeps_to_its_size_and_the_same_texts_give_the_same() -> None:
    assert 700 < len(TOKENIZER) <= VOCABULARY
    assert train_tokenizer(texts(DEMO, seed=0, count=800)).get_vocab() == TOKENIZER.get_vocab()


def test_a_checkpoint_folder_gives_the_same_tokenizer_back(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True, trust_remote_code=False)
    prompt = "Begin with 🤔 two times. 4 bits: increment(0111) = ?\n"
    assert loaded.encode(prompt) == TOKENIZER.encode(prompt)
    assert (loaded.pad_token_id, loaded.eos_token_id) == (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id)

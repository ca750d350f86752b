"""Generation from a checkpoint folder: padding changes nothing, limits are seen, pickles are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from barograph.errors import CheckpointError
from barograph.evaluate.generate import LoadedCheckpoint, generate, load_checkpoint, token_limit

SaveCheckpoint = Callable[..., None]
WORDS = ["<pad>", "<eos>", *"abcdefgh"]
PROMPTS = ["a", "a b c d e f g h", "c d", "h g f", "b b b b b"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: SaveCheckpoint) -> LoadedCheckpoint:
    folder = tmp_path_factory.mktemp("checkpoint-0")
    save_checkpoint(folder)
    return load_checkpoint(folder)


def test_an_answer_does_not_depend_on_the_prompts_it_shares_a_batch_with(loaded: LoadedCheckpoint) -> None:
    together = generate(loaded, PROMPTS, max_new_tokens=6)
    alone = [generate(loaded, [prompt], max_new_tokens=6)[0] for prompt in PROMPTS]
    assert [(a.text, a.tokens, a.prompt_tokens) for a in together] == [
        (a.text, a.tokens, a.prompt_tokens) for a in alone
    ]
    assert len({a.text for a in together}) > 1


def test_every_answer_is_the_argmax_of_a_plain_loop(loaded: LoadedCheckpoint) -> None:
    for prompt, answer in zip(PROMPTS, generate(loaded, PROMPTS, max_new_tokens=6, batch_size=2), strict=True):
        ids = [WORDS.index(letter) for letter in prompt.split()]
        written: list[int] = []
        while len(written) < 6 and 1 not in written:
            with torch.inference_mode():
                logits = loaded.model(input_ids=torch.tensor([ids + written])).logits
            written.append(int(logits[0, -1].argmax()))
        assert answer.finished is (1 in written)
        assert answer.tokens == len(written) - (1 in written)
        assert answer.text.split() == [WORDS[i] for i in written if i > 1]
        assert answer.prompt_tokens == len(ids)
        assert answer.generation_ms > 0


def test_an_answer_that_meets_the_limit_is_not_finished(loaded: LoadedCheckpoint) -> None:
    long = next(p for p in PROMPTS if generate(loaded, [p], max_new_tokens=8)[0].tokens >= 3)
    cut = generate(loaded, [long], max_new_tokens=2)[0]
    assert (cut.tokens, cut.finished) == (2, False)


def test_the_token_limit_holds_the_longest_target(loaded: LoadedCheckpoint) -> None:
    assert token_limit(loaded, ["a", "a b c"], slack=2) == 3 + 1 + 2


def test_pickled_weights_are_refused(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    save_checkpoint(tmp_path, safe=False)
    with pytest.raises(CheckpointError, match=r"no \.safetensors file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_an_incomplete_folder_is_a_checkpoint_error(
    tmp_path: Path, missing: str, save_checkpoint: SaveCheckpoint
) -> None:
    save_checkpoint(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(tmp_path)


def test_torn_weights_are_a_checkpoint_error(tmp_path: Path, save_checkpoint: SaveCheckpoint) -> None:
    save_checkpoint(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(tmp_path)

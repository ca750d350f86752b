"""A real, tiny, random model on disk, for everything that loads checkpoints."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

SaveCheckpoint = Callable[..., None]
WORDS = ["<pad>", "<eos>", *"abcdefgh"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def save_checkpoint() -> SaveCheckpoint:
    """`save_checkpoint(folder, safe=True, tied=False)`: a random model over eight letters, and its tokenizer."""
    return _save


def _save(folder: Path, *, safe: bool = True, tied: bool = False) -> None:
    """A random model of a few thousand parameters over eight letters."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            initializer_range=0.5,
            tie_word_embeddings=tied,
        )
    )
    model.save_pretrained(folder)
    if not safe:
        for weights in folder.glob("*.safetensors"):
            weights.unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    letters = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    letters.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=letters, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)

"""The demo's model: the Qwen3 architecture at a size that two CPU cores train in two minutes."""

import torch
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

WIDTH = 128
"""Hidden size. Weights start with a standard deviation of 1/sqrt(WIDTH): with the usual 0.02, made for models fifty
times wider, attention starts so flat that two minutes do not get it off the ground (increments stay at 1 %)."""

CONTEXT = 256
"""Tokens the model can see; the longest problem of any level has about 110."""


def small_qwen3(tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Qwen3ForCausalLM:
    """An untrained model of about 0.9 million parameters for that tokenizer; the seed decides its weights."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=CONTEXT,
            initializer_range=WIDTH**-0.5,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )

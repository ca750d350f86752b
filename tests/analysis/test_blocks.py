"""A tensor's block stands in its name; of several stacks the largest counts."""

import pytest

from barograph.analysis.blocks import blocks, kind_of
from barograph.records import TensorPass


def row(name: str, elements: int = 1) -> TensorPass:
    return TensorPass(checkpoint="c", time=0.0, tensor=name, state="alone", elements=elements)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.layers.12.self_attn.q_proj.weight", 12),
        ("layers.0.w", 0),
        ("transformer.h.3.attn.weight", 3),
        ("gpt_neox.layers.7.x", 7),
        ("encoder.layer.5.output.dense.weight", 5),
        ("base_model.model.model.layers.4.q_proj.lora_A.weight", 4),
        ("model.layers.3.mlp.experts.9.w1.weight", 3),
        ("model.layers.3.layers.8.w", 3),
        ("model.embed_tokens.weight", -1),
        ("model.norm.weight", -1),
        ("lm_head.weight", -1),
        ("mylayers.3.w", -1),
        ("layers.w", -1),
        ("layers.3", -1),
    ],
)
def test_the_block_is_the_first_number_after_a_word_for_layers(name: str, block: int) -> None:
    assert blocks([row(name)]) == {name: block}


def test_of_several_stacks_the_one_with_most_elements_counts() -> None:
    found = blocks([row("vision.blocks.0.w", 5), row("model.layers.0.w", 9), row("model.layers.1.w", 9)])
    assert found == {"vision.blocks.0.w": -1, "model.layers.0.w": 0, "model.layers.1.w": 1}


def test_a_kind_is_the_name_without_the_block() -> None:
    assert kind_of("model.layers.12.q_norm.weight") == "model.layers.*.q_norm.weight"
    assert kind_of("model.layers.3.mlp.experts.9.w1") == "model.layers.*.mlp.experts.9.w1"
    assert kind_of("lm_head.weight") == "lm_head.weight"

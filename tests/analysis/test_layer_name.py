"""Names of layers: a metric's name gives its column back, and block 2 stands before block 10."""

import pytest

from barograph.analysis.layer_name import (
    LayerMetric,
    LayerName,
    LayerPart,
    LayerQuantity,
    layer_metric,
    layer_of,
    module_blocks,
    natural_order,
)

MODULE = "model.layers.3.self_attn.q_proj"
PARTS: tuple[LayerPart, ...] = ("A", "B", "")
QUANTITIES: tuple[LayerQuantity, ...] = ("gradient_norm", "weight_norm", "update_norm")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_metrics_name_gives_its_column_back(part: LayerPart, quantity: LayerQuantity) -> None:
    wanted = LayerMetric(LayerName(MODULE, part), quantity)
    assert layer_of(layer_metric(wanted.name, quantity)) == wanted
    assert layer_of(f"train/{layer_metric(wanted.name, quantity)}") == wanted


@pytest.mark.parametrize(
    "name", ["loss", "layers/x", "layers/x/C/gradient_norm", "layers//gradient_norm", "layers/x/A"]
)
def test_other_metrics_are_of_no_layer(name: str) -> None:
    assert layer_of(name) is None


def test_numbers_in_names_are_ordered_as_numbers_and_long_ones_break_nothing() -> None:
    names = ["h.10.a", "h.2.b", "h.2.a", "a", "h", "9" * 10_000]
    ordered = sorted(names, key=natural_order)
    assert [name for name in ordered if len(name) < 9] == ["a", "h", "h.2.a", "h.2.b", "h.10.a"]


def test_a_module_outside_the_main_stack_has_no_block() -> None:
    names = ["vision.blocks.0.up", "language.layers.0", "language.layers.12.mlp.up", "lm_head"]
    assert list(module_blocks(names).values()) == [None, 0, 12, None]

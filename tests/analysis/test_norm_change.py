"""A checkpoint's norms are compared with the checkpoint before it, in the order of steps."""

import math
import random

import msgspec

from barograph.analysis.norm_change import norm_change
from barograph.analysis.weight_stability import WeightStability, weight_stability
from barograph.records import TensorPass


def at(step: int | None, *norms: float) -> WeightStability:
    rows = [
        TensorPass(
            checkpoint=f"checkpoint-{step}",
            step=step,
            time=0.0,
            tensor=f"layers.{i}.w",
            state="alone",
            elements=1,
            current_squares=norm**2,
            current_max=norm,
        )
        for i, norm in enumerate(norms)
    ]
    return weight_stability(rows)


def test_the_earlier_one_is_the_nearest_step_below_whatever_the_order() -> None:
    others = [at(step, float(step)) for step in (9, 10, 100, 500, 2)]
    for seed in range(10):
        random.Random(seed).shuffle(others)
        found = norm_change(at(100, 50.0), others)
        assert found is not None
        assert (found.earlier_checkpoint, found.earlier_step) == ("checkpoint-10", 10)
        assert found.layers[0].ratio == 5.0


def test_without_an_earlier_step_there_is_no_change() -> None:
    assert norm_change(at(5, 1.0), []) is None
    assert norm_change(at(5, 1.0), [at(5, 9.0), at(6, 9.0), at(None, 9.0)]) is None
    assert norm_change(at(None, 1.0), [at(5, 9.0)]) is None


def test_a_norm_of_zero_or_no_number_gives_no_ratio() -> None:
    found = norm_change(at(2, 1.0, 1.0, 0.0), [at(1, 0.0, 1.0, 1.0)])
    assert found is not None
    assert [layer.ratio for layer in found.layers[1:]] == [1.0, 0.0]
    assert math.isnan(found.layers[0].ratio)


def test_layers_that_only_one_has_are_left_out() -> None:
    found = norm_change(at(2, 1.0, 2.0), [at(1, 1.0)])
    assert found is not None
    assert [layer.layer_idx for layer in found.layers] == [0]
    assert msgspec.json.encode(found)

"""Norms by layer are those of the tensors, whatever their type, and cost no value of the training."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.layer_activity import LayerName, LayerValues
from barograph.collect import gradients
from barograph.collect.gradients import LayerGradients
from barograph.collect.layer_columns import columns, layer_names, not_available


class Blocks(torch.nn.Module):
    """Two blocks of two matrices, an embedding before and a head behind."""

    def __init__(self, dtype: torch.dtype = torch.float32, width: int = 4) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, width, dtype=dtype)
        self.layers = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(width, width, dtype=dtype), torch.nn.Linear(width, width, dtype=dtype))
            for _ in range(2)
        )
        self.head = torch.nn.Linear(width, 5, bias=False, dtype=dtype)


def with_gradients(model: Blocks, *, scale: float = 1.0, seed: int = 0) -> Blocks:
    generator = torch.Generator().manual_seed(seed)
    for one in model.parameters():
        one.grad = (torch.randn(one.shape, generator=generator) * scale).to(one.dtype)
    return model


def collected(model: torch.nn.Module, *, rate: float = 0.1) -> LayerValues:
    """One collection around a step of plain gradient descent."""
    layers = LayerGradients(columns(model))
    layers.take()
    layers.before_step()
    with torch.no_grad():
        for one in model.parameters():
            if one.grad is not None:
                one.sub_(rate * one.grad)
    return layers.after_step().read()


def norm(*tensors: torch.Tensor | None) -> float:
    return math.sqrt(sum(float(one.detach().double().square().sum()) for one in tensors if one is not None))


def of_block(model: Blocks, index: int) -> list[torch.nn.Parameter]:
    return list(model.layers[index].parameters())


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    st.floats(1e-3, 1e2),
    st.integers(0, 2**31),
)
def test_norms_are_those_of_the_tensors_in_double_precision(dtype: torch.dtype, scale: float, seed: int) -> None:
    model = Blocks(dtype)
    with_gradients(model, scale=scale, seed=seed)
    before = [[one.detach().clone() for one in of_block(model, index)] for index in (0, 1)]
    values = collected(model)
    assert values.kind == "full"
    assert values.names == tuple(LayerName(name, "") for name in ("embed", "layers.0", "layers.1", "head"))
    for index in (0, 1):
        weights = of_block(model, index)
        changes = [after.detach().double() - was.double() for after, was in zip(weights, before[index], strict=True)]
        at = index + 1
        assert values.gradient[at] == pytest.approx(norm(*[one.grad for one in weights]), rel=1e-5)
        assert values.weight[at] == pytest.approx(norm(*before[index]), rel=1e-5)
        assert values.update[at] == pytest.approx(norm(*changes), rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_makes_its_own_layer_none_and_no_other(bad: float) -> None:
    model = Blocks()
    with_gradients(model)
    weight = of_block(model, 1)[0]
    assert weight.grad is not None
    weight.grad[0, 0] = bad
    layers = LayerGradients(columns(model))
    layers.take()
    values = layers.after_step().read()
    assert [one is not None and math.isfinite(one) for one in values.gradient] == [True, True, False, True]
    assert values.weight == values.update == ()


def test_no_gradient_is_none_and_a_gradient_of_zeros_is_zero() -> None:
    model = Blocks()
    with_gradients(model)
    for one in of_block(model, 0):
        one.grad = None
    for one in of_block(model, 1):
        one.grad = torch.zeros_like(one)
    gradient = collected(model).gradient
    assert gradient[1] is None
    assert gradient[2] == 0.0
    assert all(one is not None and one > 0.0 for one in (gradient[0], gradient[3]))


def test_of_a_layer_that_has_some_gradients_those_count() -> None:
    model = Blocks()
    with_gradients(model)
    first, *others = of_block(model, 0)
    first.grad = None
    assert collected(model).gradient[1] == pytest.approx(norm(*[one.grad for one in others]), rel=1e-6)


def test_what_a_loss_scaler_multiplied_is_divided_again() -> None:
    model = Blocks()
    with_gradients(model)
    layers = LayerGradients(columns(model))
    layers.take(torch.tensor(1024.0))
    expected = norm(*[one.grad for one in of_block(model, 0)]) / 1024.0
    assert layers.after_step().read().gradient[1] == pytest.approx(expected, rel=1e-6)


def test_a_model_without_gradients_has_none_anywhere() -> None:
    values = collected(Blocks())
    assert list(values.gradient) == [None] * 4
    assert list(values.update) == [0.0] * 4


def test_frozen_parameters_are_in_no_column() -> None:
    model = Blocks()
    for one in (*model.embed.parameters(), *of_block(model, 0)):
        one.requires_grad_(False)
    assert columns(model).names == (LayerName("layers.1", ""), LayerName("head", ""))
    assert columns(model).frozen == 2, "the embedding and a block"


def test_the_update_of_a_large_tensor_is_estimated_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "WHOLE", 1_000)
    model = torch.nn.Linear(256, 256, bias=False)
    generator = torch.Generator().manual_seed(3)
    model.weight.grad = torch.randn(256, 256, generator=generator)
    before = model.weight.detach().clone()
    values = collected(model)
    change = norm(model.weight.detach() - before)
    assert values.update[0] == pytest.approx(change, rel=0.1)
    assert values.update[0] != pytest.approx(change, rel=1e-6)


def test_a_sample_meets_every_column_of_a_matrix() -> None:
    parameter = torch.zeros(4096, 64)
    sample = gradients._sample(parameter)
    met = torch.arange(parameter.numel())[:: sample.stride] % 64
    assert len(met) == sample.size <= gradients.WHOLE
    assert len(set(met.tolist())) == 64


def test_a_float32_sum_over_many_elements_is_exact_enough() -> None:
    """A float32 sum over so many elements would be off by two percent at 150M of them."""
    model = torch.nn.Linear(2048, 1024, bias=False)
    model.weight.grad = torch.full((1024, 2048), 0.1)
    layers = LayerGradients(columns(model))
    layers.take()
    expected = 0.1 * math.sqrt(1024 * 2048)
    assert layers.after_step().read().gradient[0] == pytest.approx(expected, rel=1e-7)


def test_memory_that_was_put_behind_a_parameter_is_followed() -> None:
    model = Blocks()
    layers = LayerGradients(columns(model))
    for _ in range(2):
        with_gradients(model)
        layers.take()
        layers.before_step()
        model.head.weight.data = model.head.weight.data.clone() + 1.0
        update = layers.after_step().read().update
        assert update[3] == pytest.approx(math.sqrt(model.head.weight.numel()), rel=1e-5)


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        (
            ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"],
            [LayerName("model.layers.0.self_attn.q_proj", "A")],
        ),
        (
            ["model.layers.1.mlp.up_proj.lora_B.weight", "model.embed.lora_embedding_A.default"],
            [LayerName("model.layers.1.mlp.up_proj", "B"), LayerName("model.embed", "A")],
        ),
        (
            ["q.lora_A.one.weight", "q.lora_A.two.weight", "q.lora_magnitude_vector.one.weight"],
            [LayerName("q[one]", "A"), LayerName("q[two]", "A"), LayerName("q[one]", "")],
        ),
        (
            ["q.lora_A.default.weight", "base_model.model.lm_head.modules_to_save.default.weight"],
            [LayerName("q", "A"), LayerName("lm_head", "")],
        ),
        (
            ["module._orig_mod.model.layers.3.mlp.up_proj.weight", "model.norm.weight", "transformer.h.7.ln.bias"],
            [LayerName("model.layers.3", ""), LayerName("model.norm", ""), LayerName("transformer.h.7", "")],
        ),
        (["weight"], [LayerName("weight", "")]),
    ],
)
def test_names_of_parameters_are_resolved(parameters: list[str], names: list[LayerName]) -> None:
    assert layer_names(parameters) == names


def test_what_lies_in_shards_is_not_available_and_says_why() -> None:
    class Sharded(torch.nn.Parameter):
        def to_local(self) -> torch.Tensor:
            return torch.zeros(1)

    model = torch.nn.Linear(2, 2)
    assert not_available(model) is None
    model.weight = Sharded(torch.zeros(2, 2))
    assert not_available(model) == "Not available: FSDP keeps the parameters and their gradients in shards."
    model.weight = torch.nn.Parameter(torch.zeros(2, 2))
    model.weight.ds_id = 3  # type: ignore[attr-defined]  # what DeepSpeed puts there
    assert "DeepSpeed" in str(not_available(model))
    model.requires_grad_(False)
    assert not_available(model) == "No parameter of the model is trained."
    assert "meta device" in str(not_available(torch.nn.Linear(2, 2, device="meta")))


def test_on_a_device_the_same_norms_are_taken_without_asking_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops a step on a GPU: `item`, and all that reads a tensor. Here a processor stands in for the device."""
    model = with_gradients(Blocks())
    for one in of_block(model, 0):
        one.grad = None
    expected = collected(model, rate=0.0)
    layers = LayerGradients(columns(model))
    for batch in layers._batches:
        batch.on_host = False
    asked: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "__float__", "__bool__", "__int__", "cpu", "numpy"):
            patch.setattr(torch.Tensor, name, lambda *_, name=name: asked.append(name))
        layers.take(torch.tensor(1.0))
        layers.before_step()
        norms = layers.after_step()
    assert asked == []
    found = norms.read()
    assert found.gradient == pytest.approx(expected.gradient)
    assert found.weight == pytest.approx(expected.weight)
    assert found.update == expected.update


@pytest.mark.parametrize("twice", [False, True])
def test_the_norm_of_a_sparse_gradient_is_that_of_its_entries_added_up(twice: bool) -> None:
    model = Blocks()
    with_gradients(model)
    expected = collected(model, rate=0.0).gradient
    entries = torch.tensor([[1, 1, 4]]), torch.tensor([[1.0] * 4, [2.0] * 4, [0.5] * 4])
    gradient = torch.sparse_coo_tensor(*entries, size=(5, 4), check_invariants=True)
    model.embed.weight.grad = gradient.coalesce() if not twice else gradient
    layers = LayerGradients(columns(model))
    for _ in range(2):
        layers.take()
        found = layers.after_step().read().gradient
        assert found[0] == pytest.approx(norm(gradient.to_dense()), rel=1e-6)
        assert found[1:] == pytest.approx(expected[1:])
        assert not layers.unread
    assert model.embed.weight.grad.is_coalesced() is not twice, "the gradient itself stays as it is"


def test_a_gradient_that_cannot_be_read_is_none_and_there_is_no_norm_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Blocks()
    with_gradients(model)
    expected = collected(model, rate=0.0).gradient
    entries = torch.tensor([[1]]), torch.ones(1, 4)
    model.embed.weight.grad = torch.sparse_coo_tensor(*entries, size=(5, 4), check_invariants=True)
    monkeypatch.setattr(gradients, "_values", lambda one: None if one.is_sparse else one)
    layers = LayerGradients(columns(model))
    layers.take()
    assert layers.unread
    norms = layers.after_step()
    values = norms.read()
    assert values.gradient == pytest.approx([None, *expected[1:]])
    assert norms.total(values) is None


def test_a_parameter_without_elements_has_no_column() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.register_parameter("nothing", torch.nn.Parameter(torch.empty(0)))
    assert columns(model).names == (LayerName("0", ""),)

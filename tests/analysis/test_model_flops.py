"""FLOPs: six a parameter and token, four with adapters; MFU is a ratio, or a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analysis.model_flops import PEAKS, ModelSize, flops_per_token, peak_flops, utilisation


@given(st.integers(1, 10**12))
def test_a_token_costs_six_flops_a_parameter_and_four_with_adapters(parameters: int) -> None:
    assert flops_per_token(ModelSize(parameters=parameters)) == 6.0 * parameters
    adapted = ModelSize(parameters=parameters, adapter_parameters=0)
    assert flops_per_token(adapted) == 4.0 * parameters
    assert flops_per_token(ModelSize(parameters=parameters, adapter_parameters=10)) == 4.0 * parameters + 60.0


def test_attention_costs_more_the_longer_the_sequence_and_nothing_where_it_is_not_known() -> None:
    size = ModelSize(parameters=7_000_000_000, layers=32, hidden_size=4096)
    assert flops_per_token(size) == 42e9
    assert flops_per_token(size, sequence_length=2048.0) == 42e9 + 12.0 * 32 * 4096 * 2048
    assert flops_per_token(ModelSize(parameters=10, layers=2), sequence_length=5.0) == 60.0


def test_palm_has_the_utilisation_that_its_authors_computed() -> None:
    # Chowdhery et al. 2022, table 3: 540B parameters, 118 layers of 48 heads of 256, sequences of 2,048; 238.3K tokens
    # a second on 6,144 TPU v4 of 275 TFLOPs is an MFU of 46.2 %.
    size = ModelSize(parameters=540_350_000_000, layers=118, hidden_size=48 * 256)
    done = 238.3e3 * flops_per_token(size, sequence_length=2048.0)
    assert done / (6144 * 275e12) == pytest.approx(0.462, abs=0.002)


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835.5e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GeForce RTX 3090", 71e12),
        ("NVIDIA GeForce RTX 3090 Ti", 80e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("Tesla T4", None),
        ("Tesla V100-SXM2-16GB", None),
        ("NVIDIA GeForce GTX 1080", None),
        ("cpu", None),
        ("", None),
    ],
)
def test_a_gpu_is_known_by_its_drivers_name(device: str, peak: float | None) -> None:
    assert peak_flops(device, "bfloat16") == peak


def test_a_card_without_bfloat16_has_a_peak_in_float16() -> None:
    assert peak_flops("Tesla T4", "float16") == 65e12
    assert peak_flops("Tesla T4", "float32") == 8.1e12


def test_every_gpu_of_the_table_is_found_by_its_own_name() -> None:
    for peak in PEAKS:
        assert peak_flops(f"NVIDIA {peak.name}", "float16") == peak.half


def test_utilisation_is_what_is_done_over_what_could_be() -> None:
    size = ModelSize(parameters=1_000_000_000)
    found = utilisation(16_490.0, size=size, device="NVIDIA H200", precision="bfloat16")
    assert found.mfu == pytest.approx(16_490.0 * 6e9 / 989.4e12)
    assert found.why == ""
    both = utilisation(16_490.0, size=size, device="NVIDIA H200", precision="bfloat16", devices=2)
    assert both.mfu == pytest.approx(found.mfu / 2)  # type: ignore[operator]  # it is known


@pytest.mark.parametrize(
    ("rate", "size", "device", "why"),
    [
        (None, ModelSize(parameters=1), "NVIDIA H200", "the throughput in tokens is not known"),
        (float("nan"), ModelSize(parameters=1), "NVIDIA H200", "the throughput in tokens is not known"),
        (1.0, None, "NVIDIA H200", "the number of the model's parameters is not known"),
        (1.0, ModelSize(parameters=1), None, "the device or the precision of the training is not known"),
        (1.0, ModelSize(parameters=1), "cpu", "the peak of 'cpu' in bfloat16 is not known"),
    ],
)
def test_what_is_not_known_is_null_with_its_reason(
    rate: float | None, size: ModelSize | None, device: str | None, why: str
) -> None:
    found = utilisation(rate, size=size, device=device, precision="bfloat16")
    assert (found.mfu, found.why) == (None, why)

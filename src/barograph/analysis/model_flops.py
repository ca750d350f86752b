"""How much of a device's arithmetic a training uses: model FLOPs utilisation (MFU).

    FLOPs a token = 6 N + 12 L h s                       full fine-tuning
                  = 4 N + 6 N_adapter + 12 L h s         LoRA

N: parameters that a token meets, L: blocks, h: hidden size, s: tokens of a sequence. A multiply-add is two FLOPs: 2 N
forward, 2 N for the gradients of activations, 2 N for those of weights, and an adapter leaves the last out but for its
own (Kaplan et al. 2020, section 2.1). The last term is attention's, forward and backward and without the causal half
left out, as in Chowdhery et al. 2022, appendix B; it is 0 where its sizes are not known, so that MFU is then too low by
a few percent, never too high. Work done again by gradient checkpointing does not count: it is no use of the model.

    MFU = tokens a second * FLOPs a token / (devices * peak FLOPs a second)

The peaks are those of the makers' data sheets for dense matrices.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

Precision = Literal["bfloat16", "float16", "float32"]


class ModelSize(Struct, frozen=True, kw_only=True):
    """What of a model decides its arithmetic."""

    parameters: Annotated[int, Meta(ge=1, description="All parameters, adapters left out; looked-up embeddings too.")]
    adapter_parameters: Annotated[
        int | None, Meta(ge=0, description="Trained parameters of adapters; null for full fine-tuning.")
    ] = None
    layers: Annotated[int | None, Meta(ge=1, description="Transformer blocks.")] = None
    hidden_size: Annotated[int | None, Meta(ge=1, description="Width of the residual stream.")] = None


class Utilisation(Struct, frozen=True, kw_only=True):
    """MFU, or why it is not known."""

    mfu: Annotated[float | None, Meta(description="Ratio.")]
    why: Annotated[str, Meta(description="Why it is not known; empty if it is.")]


class Peak(Struct, frozen=True, kw_only=True):
    """FLOPs a second of one kind of GPU, dense; `None` where it cannot compute so."""

    name: str
    """Words of its name, in capitals."""
    brain: float | None
    """In bfloat16."""
    half: float | None
    """In float16."""
    single: float | None
    """In float32, without TF32."""


PEAKS = (
    Peak(name="B200", brain=2250e12, half=2250e12, single=75e12),
    Peak(name="GH200", brain=989.4e12, half=989.4e12, single=66.9e12),
    Peak(name="H200 NVL", brain=835.5e12, half=835.5e12, single=60e12),
    Peak(name="H200", brain=989.4e12, half=989.4e12, single=66.9e12),
    Peak(name="H100 PCIE", brain=756e12, half=756e12, single=51.2e12),
    Peak(name="H100 NVL", brain=835.5e12, half=835.5e12, single=60e12),
    Peak(name="H100", brain=989.4e12, half=989.4e12, single=66.9e12),
    Peak(name="A100", brain=312e12, half=312e12, single=19.5e12),
    Peak(name="L40S", brain=362e12, half=362e12, single=91.6e12),
    Peak(name="L40", brain=181e12, half=181e12, single=90.5e12),
    Peak(name="L4", brain=121e12, half=121e12, single=30.3e12),
    Peak(name="A40", brain=149.7e12, half=149.7e12, single=37.4e12),
    Peak(name="A30", brain=165e12, half=165e12, single=10.3e12),
    Peak(name="A10", brain=125e12, half=125e12, single=31.2e12),
    Peak(name="V100", brain=None, half=125e12, single=15.7e12),
    Peak(name="T4", brain=None, half=65e12, single=8.1e12),
    Peak(name="RTX 6000 ADA", brain=364.2e12, half=364.2e12, single=91.1e12),
    Peak(name="RTX A6000", brain=154.8e12, half=154.8e12, single=38.7e12),
    Peak(name="RTX 5090", brain=209.5e12, half=209.5e12, single=104.8e12),
    Peak(name="RTX 4090", brain=165.2e12, half=165.2e12, single=82.6e12),
    Peak(name="RTX 4080", brain=97.5e12, half=97.5e12, single=48.7e12),
    Peak(name="RTX 3090 TI", brain=80e12, half=80e12, single=40e12),
    Peak(name="RTX 3090", brain=71e12, half=71e12, single=35.6e12),
)
"""GPUs whose data sheets say it; where one name begins another, the longer one stands first."""


def flops_per_token(size: ModelSize, *, sequence_length: float | None = None) -> float:
    """FLOPs of one token, forward and backward; `sequence_length` is the mean number of tokens of a sequence."""
    if size.adapter_parameters is None:
        weights = 6.0 * size.parameters
    else:
        weights = 4.0 * size.parameters + 6.0 * size.adapter_parameters
    if size.layers is None or size.hidden_size is None or sequence_length is None or sequence_length <= 0.0:
        return weights
    return weights + 12.0 * size.layers * size.hidden_size * sequence_length


def peak_flops(device: str, precision: Precision) -> float | None:
    """FLOPs a second of a GPU by the name that its driver gives; None for one that is not known, or not in that
    precision.

    In float32 the number is that of the plain units: whether a run uses TF32 is not seen from outside.
    """
    said = device.upper().replace("GEFORCE ", "").replace("NVIDIA ", "").replace("-", " ")
    words = said.split()
    for peak in PEAKS:
        wanted = peak.name.split()
        if any(words[at : at + len(wanted)] == wanted for at in range(len(words))):
            return peak.half if precision == "float16" else peak.brain if precision == "bfloat16" else peak.single
    return None


def utilisation(
    tokens_per_sec: float | None,
    *,
    size: ModelSize | None,
    device: str | None,
    precision: Precision | None,
    devices: int = 1,
    sequence_length: float | None = None,
) -> Utilisation:
    """MFU of a training at `tokens_per_sec`, all devices together; `device` is the name of one of them."""
    if tokens_per_sec is None or not math.isfinite(tokens_per_sec):
        return Utilisation(mfu=None, why="the throughput in tokens is not known")
    if size is None:
        return Utilisation(mfu=None, why="the number of the model's parameters is not known")
    if device is None or precision is None:
        return Utilisation(mfu=None, why="the device or the precision of the training is not known")
    peak = peak_flops(device, precision)
    if peak is None:
        return Utilisation(mfu=None, why=f"the peak of {device!r} in {precision} is not known")
    done = tokens_per_sec * flops_per_token(size, sequence_length=sequence_length)
    return Utilisation(mfu=done / (max(1, devices) * peak), why="")

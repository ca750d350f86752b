"""What a model is, for the arithmetic that its training takes."""

from collections.abc import Iterable

import torch

from barograph.analysis.model_flops import ModelSize, Precision


def model_size(model: torch.nn.Module) -> ModelSize:
    """What decides the arithmetic of a model: its parameters, adapters apart, and its shape."""
    own = trained = adapters = 0
    for name, one in model.named_parameters():
        if ".lora_" in name:
            adapters += one.numel()
        else:
            own += one.numel()
            trained += one.numel() if one.requires_grad else 0
    config = getattr(model, "config", None)
    layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    return ModelSize(
        parameters=max(1, own),
        adapter_parameters=adapters + trained if adapters else None,
        layers=layers if isinstance(layers, int) and layers > 0 else None,
        hidden_size=hidden if isinstance(hidden, int) and hidden > 0 else None,
    )


def device_name(model: torch.nn.Module) -> str | None:
    """What the GPU that a model lies on is called; None elsewhere."""
    device = next((one.device for one in model.parameters()), None)
    return torch.cuda.get_device_name(device) if device is not None and device.type == "cuda" else None


def precision(model: torch.nn.Module) -> Precision | None:
    """The type that matrices are multiplied in: that of autocast would be known inside the step only."""
    kinds: Iterable[torch.dtype] = (one.dtype for one in model.parameters() if one.dim() == 2)
    names: dict[torch.dtype, Precision] = {
        torch.bfloat16: "bfloat16",
        torch.float16: "float16",
        torch.float32: "float32",
    }
    return names.get(next(iter(kinds), torch.int8))

"""A GGUF file -> a model folder with bfloat16 safetensors and the tokenizer: python -m barograph.train.from_gguf."""

import argparse
import os
from pathlib import Path


def from_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise `gguf` with transformers and write it to `folder`, for `from_pretrained`; no network, no code.

    Rounding to bfloat16 (at most 1 part in 256) is small beside the steps of weights with 4 bits. `save_pretrained`
    refuses a dequantised model, so the tensors are written here; a tied output layer is the embedding, written once.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    local = {"gguf_file": gguf.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, trust_remote_code=False, **local)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, trust_remote_code=False, **local)
    config = model.config
    del config.quantization_config  # it says GGUF, and the weights no longer are
    config.dtype = torch.bfloat16
    # The file's own title would be taken for the place that the model came from.
    vars(config).pop("_model_name_or_path", None)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    weights = {
        name: tensor.to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items() if name not in tied
    }
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m barograph.train.from_gguf", description=__doc__)
    parser.add_argument("gguf", type=Path, help="the file")
    parser.add_argument("folder", type=Path, help="folder to make")
    chosen = parser.parse_args()
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})  # read when transformers is imported
    from_gguf(chosen.gguf, chosen.folder)


if __name__ == "__main__":
    main()

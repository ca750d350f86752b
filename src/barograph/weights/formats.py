"""Formats of weights that are known and not read: each by its name, with what to do instead."""

from pathlib import Path

from msgspec import Struct

from barograph.errors import CheckpointError, UnsupportedFormat

PICKLE = "It is a pickle, which can run any code when it is opened, so it is not. Save it as safetensors: {}"
SAVE_PRETRAINED = "model.save_pretrained(folder) of a current transformers does"


class Format(Struct, frozen=True, kw_only=True):
    """One format that is refused."""

    pattern: str
    """Names that show it, as a glob."""
    name: str
    advice: str


REFUSED = (
    Format(
        pattern="adapter_model.bin",
        name="an adapter saved as a pickle",
        advice=PICKLE.format("save_pretrained of a current peft does"),
    ),
    Format(
        pattern="pytorch_model*.bin", name="PyTorch weights saved as a pickle", advice=PICKLE.format(SAVE_PRETRAINED)
    ),
    Format(
        pattern="*.distcp",
        name="a distributed checkpoint (DCP)",
        advice="Gather it: `accelerate merge-weights FOLDER OUTPUT` writes safetensors",
    ),
    Format(
        pattern="pytorch_model_fsdp_*",
        name="a sharded FSDP checkpoint",
        advice="Gather it: `accelerate merge-weights FOLDER OUTPUT` writes safetensors",
    ),
    Format(
        pattern="*_optim_states.pt",
        name="a DeepSpeed ZeRO checkpoint",
        advice="Gather it: `zero_to_fp32.py FOLDER OUTPUT --safe_serialization` lies beside it",
    ),
    Format(pattern="global_step*", name="a DeepSpeed checkpoint", advice="Gather it with its zero_to_fp32.py"),
    Format(pattern="*.gguf", name="GGUF", advice="Compare the safetensors that it was converted from"),
    Format(pattern="*.pt", name="a PyTorch pickle (.pt)", advice=PICKLE.format(SAVE_PRETRAINED)),
    Format(pattern="*.pth", name="a PyTorch pickle (.pth)", advice=PICKLE.format(SAVE_PRETRAINED)),
    Format(pattern="*.ckpt", name="a PyTorch Lightning pickle (.ckpt)", advice=PICKLE.format(SAVE_PRETRAINED)),
    Format(pattern="*.pkl", name="a pickle", advice=PICKLE.format(SAVE_PRETRAINED)),
    Format(pattern="*.bin", name="a pickle (.bin)", advice=PICKLE.format(SAVE_PRETRAINED)),
    Format(pattern="*.h5", name="TensorFlow weights (.h5)", advice="Load them in PyTorch and save safetensors"),
    Format(pattern="*.msgpack", name="Flax weights (.msgpack)", advice="Load them in PyTorch and save safetensors"),
    Format(pattern="*.onnx", name="ONNX", advice="Compare the model that it was exported from"),
    Format(pattern="*.npz", name="NumPy arrays (.npz)", advice="Save them with safetensors.numpy.save_file"),
)
"""Every one that is known; the first that fits names the error."""

BESIDE = ("optimizer*", "scheduler*", "scaler*", "rng_state*", "training_args.bin")
"""What a trainer saves beside the weights; it says nothing about their format."""


def refuse_file(path: Path) -> None:
    """Raise `UnsupportedFormat` if the file's name shows a format that is not read, else `CheckpointError`."""
    for known in REFUSED:
        if path.match(known.pattern):
            raise UnsupportedFormat(f"{known.name} is not read", where=str(path), advice=known.advice)
    raise CheckpointError(
        "no file of weights", where=str(path), advice="Name a .safetensors file, or the folder of a checkpoint"
    )


def refuse_folder(folder: Path) -> None:
    """Raise the error that fits a folder without safetensors: by format, or that there are no weights."""
    for known in REFUSED:
        found = [file for file in sorted(folder.glob(known.pattern)) if not any(map(file.match, BESIDE))]
        if found:
            raise UnsupportedFormat(f"{known.name} is not read", where=str(found[0]), advice=known.advice)
    raise CheckpointError(
        "no weights in the folder",
        where=str(folder),
        advice="Name the folder that holds model.safetensors or adapter_model.safetensors; a checkpoint that is"
        " still being written has them later",
    )

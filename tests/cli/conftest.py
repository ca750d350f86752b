"""Small checkpoints for the commands that read weights, written byte by byte."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

WriteWeights = Callable[..., Path]


@pytest.fixture(scope="session")
def write_weights() -> WriteWeights:
    """`write_weights(folder, {name: numbers})`: a float32 checkpoint."""
    return _write


def _write(folder: Path, tensors: Mapping[str, object]) -> Path:
    header: dict[str, object] = {}
    body = b""
    for name, values in tensors.items():
        array = np.asarray(values, np.float32)
        size = 4 * math.prod(array.shape)
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(body), len(body) + size]}
        body += array.tobytes()
    text = json.dumps(header).encode()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    return folder

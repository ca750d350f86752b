"""Who is taught: an adapter begins as nothing, trains alone, its checkpoints answer on their base without network."""

import json
import math
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file

from barograph.errors import BarographError
from barograph.evaluate.generate import load_checkpoint
from barograph.train.dataset import Part
from barograph.train.sft import train
from barograph.train.student import Lora, Student, pretrained_student, small_student

INCREMENTS = (Part(task="binary", level="1", regime="plain_sft", weight=1.0),)
IDS = torch.tensor([[65, 66, 67, 68]])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and its tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    student = small_student(INCREMENTS, seed=0)
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return folder


def logits(student: Student) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = student.model.eval()(input_ids=IDS).logits
    return found


def test_an_untrained_adapter_changes_no_answer(base: Path) -> None:
    plain, adapted = (pretrained_student(base, lora=lora, seed=0) for lora in (None, Lora()))
    assert torch.equal(logits(plain), logits(adapted))


def test_without_an_adapter_every_weight_is_trained_and_with_one_only_the_adapter(base: Path) -> None:
    plain, adapted = (pretrained_student(base, lora=lora, seed=0) for lora in (None, Lora()))
    assert all(parameter.requires_grad for parameter in plain.model.parameters())
    trained = [name for name, parameter in adapted.model.named_parameters() if parameter.requires_grad]
    assert len(trained) == 4 * 7 * 2, "A and B of the seven linear layers of each of four blocks"
    assert all("lora_" in name for name in trained)


def test_the_seed_draws_the_adapter(base: Path) -> None:
    def drawn(seed: int) -> torch.Tensor:
        weights = pretrained_student(base, lora=Lora(), seed=seed).model.state_dict()
        return torch.cat([value.flatten() for name, value in weights.items() if "lora_A" in name])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_checkpoints_of_an_adapter_are_adapters_and_answer_on_their_base_without_network(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = pretrained_student(base, lora=Lora(r=4), seed=0)
    train(student, output_dir=tmp_path, mixture=INCREMENTS, seconds=math.inf, max_steps=3, seed=0, checkpoints=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-0", "checkpoint-3"]
    for folder in tmp_path.iterdir():
        config = json.loads((folder / "adapter_config.json").read_text())
        assert (config["r"], config["base_model_name_or_path"]) == (4, str(base))
        assert not list(folder.glob("model*"))
    assert any(value.any() for value in load_file(tmp_path / "checkpoint-3" / "adapter_model.safetensors").values())

    def refuse(*asked: object, **_: object) -> NoReturn:
        raise AssertionError(f"no network in this test: {asked}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded = load_checkpoint(tmp_path / "checkpoint-3")
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(input_ids=IDS).logits, logits(student), rtol=1e-4, atol=1e-4)


def test_a_folder_that_is_no_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BarographError, match=r"the model cannot be loaded: .*delete it: it is made again"):
        pretrained_student(tmp_path, lora=None, seed=0)

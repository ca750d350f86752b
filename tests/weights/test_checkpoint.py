"""Which files a checkpoint consists of, what is refused by name, and that nothing is ever unpickled or led astray."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barograph.errors import CheckpointChanged, CheckpointError, UnsupportedFormat
from barograph.weights import open_checkpoint
from barograph.weights.checkpoint import checkpoint_name, checkpoint_step
from barograph.weights.formats import REFUSED

INDEX = "model.safetensors.index.json"


def names(path: Path) -> list[str]:
    with open_checkpoint(path) as checkpoint:
        return list(checkpoint.tensors)


def refused(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as found, open_checkpoint(path):
        pass
    assert found.value.where
    assert found.value.advice
    return found.value


def ones(make: Any, *given: str) -> dict[str, Any]:
    return {name: make.stored(np.ones((2, 2))) for name in given}


def test_a_file_a_folder_and_shards_hold_the_same_tensors(tmp_path: Path, make: Any) -> None:
    both = ones(make, "a", "layers.0.b")
    make.write(tmp_path / "x.safetensors", both)
    make.write(tmp_path / "single", both)
    make.write(tmp_path / "odd" / "weights.safetensors", both)
    parts = {
        "model-00001-of-00002.safetensors": ones(make, "a"),
        "model-00002-of-00002.safetensors": ones(make, "layers.0.b"),
    }
    make.write_sharded(tmp_path / "sharded", parts)
    for place in ("x.safetensors", "single", "odd", "sharded"):
        assert names(tmp_path / place) == ["a", "layers.0.b"]


def test_names_and_steps_follow_from_the_folder() -> None:
    assert checkpoint_name(Path("/x/checkpoint-400")) == "checkpoint-400"
    assert checkpoint_name(Path("/x/checkpoint-400/model.safetensors")) == "checkpoint-400"
    assert checkpoint_name(Path("/x/other.safetensors")) == "other"
    assert checkpoint_name(Path("/hub/models--Qwen--Qwen3-0.6B/snapshots/abc")) == "Qwen3-0.6B"
    assert checkpoint_step(Path("/x/checkpoint-400")) == 400
    assert checkpoint_step(Path("/x/checkpoint-400/model.safetensors")) == 400
    assert checkpoint_step(Path("/x/deployed")) is None
    assert checkpoint_step(Path("/x/checkpoint-4x")) is None


def test_wrappers_around_a_model_do_not_rename_its_tensors(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "x", ones(make, "module._orig_mod.layers.0.w", "model.layers.1._orig_mod.w", "my_module.w"))
    assert names(tmp_path / "x") == ["layers.0.w", "model.layers.1.w", "my_module.w"]
    make.write(tmp_path / "y", ones(make, "w", "module.w"))
    assert "tensor 'w' is in it twice" in str(refused(tmp_path / "y"))


@pytest.mark.parametrize("config", [{"tie_word_embeddings": True}, {"text_config": {"tie_word_embeddings": True}}])
def test_tied_embeddings_count_once(tmp_path: Path, make: Any, config: dict[str, object]) -> None:
    make.write(tmp_path / "x", ones(make, "model.embed_tokens.weight", "lm_head.weight"), config=config)
    with open_checkpoint(tmp_path / "x") as checkpoint:
        assert list(checkpoint.tensors) == ["model.embed_tokens.weight"]
        assert checkpoint.tied == ("lm_head.weight",)


def test_what_is_not_tied_counts_twice(tmp_path: Path, make: Any) -> None:
    both = ones(make, "model.embed_tokens.weight", "lm_head.weight")
    for number, config in enumerate([None, {}, {"tie_word_embeddings": False}, {"tie_word_embeddings": 1}]):
        make.write(tmp_path / str(number), both, config=config)
        assert len(names(tmp_path / str(number))) == 2
    make.write(tmp_path / "head", ones(make, "lm_head.weight"), config={"tie_word_embeddings": True})
    assert names(tmp_path / "head") == ["lm_head.weight"]


@pytest.mark.parametrize(
    ("mapped", "said"),
    [
        ({"a": "missing.safetensors"}, "shard 'missing.safetensors' is missing"),
        ({"a": "/etc/passwd"}, "names the shard '/etc/passwd'"),
        ({"a": "../x/good.safetensors"}, "names the shard '../x/good.safetensors'"),
        ({"a": "sub/good.safetensors"}, "which is no file of this folder"),
        ({"a": ".."}, "which is no file of this folder"),
        ({"a": ""}, "which is no file of this folder"),
        ({"a": "a\0b"}, "which is no file of this folder"),
        ({"a": 5}, "no weight_map of names"),
        ({}, "no weight_map of names"),
        ([], "no weight_map of names"),
        ({"a": "good.safetensors", "b": "good.safetensors"}, "it lacks tensor 'b'"),
        ({"b": "good.safetensors"}, "tensor 'a'"),
    ],
)
def test_an_index_is_not_believed(tmp_path: Path, make: Any, mapped: object, said: str) -> None:
    folder = tmp_path / "x"
    make.write(folder / "good.safetensors", ones(make, "a"))
    (folder / INDEX).write_text(json.dumps({"weight_map": mapped}))
    assert said in str(refused(folder))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"weight_map": {"a": "x"}, "weight_map": {}}', "NaN", "[" * 100_000])
def test_an_index_that_is_no_proper_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    assert "JSON" in str(refused(tmp_path))


def test_one_tensor_in_two_shards_is_refused(tmp_path: Path, make: Any) -> None:
    folder = make.write_sharded(tmp_path / "x", {"1.safetensors": ones(make, "a"), "2.safetensors": ones(make, "b")})
    make.write(folder / "2.safetensors", ones(make, "a", "b"))
    assert "it has tensor 'a'" in str(refused(folder))


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path: Path, make: Any) -> None:
    outside = make.write(tmp_path / "outside.safetensors", ones(make, "a"))
    for name in ("model.safetensors", "1.safetensors"):
        folder = tmp_path / f"linked-{name}"
        folder.mkdir()
        (folder / name).symlink_to(outside)
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "1.safetensors"}}))
        assert "a link that leads out of the checkpoint" in str(refused(folder))
    inside = make.write(tmp_path / "inside" / "real.safetensors", ones(make, "a")).parent
    (inside / "model.safetensors").symlink_to("real.safetensors")
    assert names(inside) == ["a"]
    (tmp_path / "whole").symlink_to(inside)
    assert names(tmp_path / "whole") == ["a"]


def test_the_links_of_the_hub_s_cache_are_followed(tmp_path: Path, make: Any) -> None:
    model = tmp_path / "models--Qwen--Qwen3-0.6B"
    blob = make.write(model / "blobs" / "1234.safetensors", ones(make, "a")).rename(model / "blobs" / "1234")
    snapshot = model / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(os.path.relpath(blob, snapshot))
    with open_checkpoint(snapshot) as checkpoint:
        assert (checkpoint.name, list(checkpoint.tensors)) == ("Qwen3-0.6B", ["a"])


@pytest.mark.parametrize("known", REFUSED, ids=lambda known: known.pattern)
def test_every_known_format_is_refused_by_name_with_what_to_do(tmp_path: Path, known: Any) -> None:
    name = known.pattern.replace("*", "00001")
    (tmp_path / name).write_bytes(b"anything")
    found = refused(tmp_path)
    assert isinstance(found, UnsupportedFormat)
    assert "is not read" in str(found)
    assert name in str(found)


class Planted:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "adapter_model.bin", "weights.ckpt", "model.safetensors"]
)
def test_a_planted_pickle_never_runs(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(Planted(mark)))
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    refused(folder)
    refused(folder / name)
    assert not mark.exists()
    pickle.loads((folder / name).read_bytes())
    assert mark.exists(), "the pickle would have run"


def test_what_holds_no_weights_says_so(tmp_path: Path) -> None:
    assert "there is no such checkpoint" in str(refused(tmp_path / "nowhere"))
    assert "no weights in the folder" in str(refused(tmp_path))
    (tmp_path / "notes.txt").write_text("x")
    assert "no file of weights" in str(refused(tmp_path / "notes.txt"))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "it has 0 bytes" in str(refused(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    os.mkfifo(tmp_path / "model.safetensors")
    assert "not a regular file" in str(refused(tmp_path))


def test_what_a_trainer_saves_beside_the_weights_is_not_taken_for_them(tmp_path: Path) -> None:
    for name in ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"):
        (tmp_path / name).write_bytes(b"x")
    assert "no weights in the folder" in str(refused(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert "PyTorch weights saved as a pickle" in str(refused(tmp_path))


def test_shards_without_their_index_are_still_being_written(tmp_path: Path, make: Any) -> None:
    for number in (1, 2):
        make.write(tmp_path / f"model-0000{number}-of-00002.safetensors", ones(make, f"w{number}"))
    assert f"2 safetensors files and no {INDEX}" in str(refused(tmp_path))


def test_a_checkpoint_that_is_written_to_is_noticed(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "x", ones(make, "a"))
    with open_checkpoint(tmp_path / "x") as checkpoint:
        checkpoint.must_be_unchanged()
        stamp = checkpoint.stamp
        os.utime(tmp_path / "x" / "model.safetensors", ns=(1, 1))
        with pytest.raises(CheckpointChanged, match="the file changed while it was read"):
            checkpoint.must_be_unchanged()
    with open_checkpoint(tmp_path / "x") as checkpoint:
        assert checkpoint.stamp != stamp


def test_a_huge_or_broken_config_is_refused(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "x", ones(make, "model.embed_tokens.weight", "lm_head.weight"))
    for text in ("{", "[1]", '{"a": 1, "a": 2}'):
        (tmp_path / "x" / "config.json").write_text(text)
        assert "JSON" in str(refused(tmp_path / "x"))

"""A checkpoint on disk: which tensors it has, where their bytes lie, and whether it is an adapter.

One file, a folder with `model.safetensors`, a folder with an index and its shards, or an adapter of peft's. Every file
is opened once, before anything is analysed, so a checkpoint that is deleted meanwhile is read to its end.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from barograph.errors import CheckpointError
from barograph.weights.adapter_config import ADAPTER_CONFIG, AdapterConfig, adapter_config
from barograph.weights.formats import refuse_file, refuse_folder
from barograph.weights.safetensors_header import TensorSlot, tensor_slots
from barograph.weights.strict_json import strict_json
from barograph.weights.weight_file import WeightFile, must_stay_inside, opened

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
CONFIG = "config.json"
MAX_JSON_BYTES = 100_000_000
STEP = re.compile(r"checkpoint[-_](\d{1,18})\Z")
WRAPPERS = re.compile(r"^module\.|(?<![^.])_orig_mod\.")
"""What DistributedDataParallel and torch.compile put into the names of parameters."""

HEAD = "lm_head.weight"
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


class Checkpoint(Struct, frozen=True, kw_only=True):
    """An open checkpoint."""

    name: str
    """What it is called: its folder's name, or the repository's in the hub's cache."""
    path: Path
    step: int | None
    """The number after `checkpoint-`, if it is called so."""
    tensors: dict[str, TensorSlot]
    """By name, in the order of names; tied output weights are left out, because they are the embedding."""
    tied: tuple[str, ...]
    """Names that were left out for that reason."""
    files: tuple[WeightFile, ...]
    adapter: AdapterConfig | None
    """Of an adapter of peft's; None for a whole model."""
    stamp: str
    """Hash of names, sizes and times of change of the files that decide: another stamp, another content."""

    def must_be_unchanged(self) -> None:
        """Raise `CheckpointChanged` if one of its files was written to since it was opened."""
        for file in self.files:
            file.must_be_unchanged()


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """The checkpoint in a folder or file, open until the block ends.

    Raises `UnsupportedFormat` for formats that are not read, and `CheckpointError` for everything that is not a whole
    checkpoint.
    """
    with ExitStack() as stack:
        layout = _layout(path)
        files = [stack.enter_context(opened(place)) for place in layout.files]
        tensors: dict[str, TensorSlot] = {}
        for file in files:
            slots = tensor_slots(file)
            if layout.mapped is not None:
                _must_agree(file.path, held={slot.name for slot in slots}, mapped=layout.mapped)
            for slot in slots:
                name = WRAPPERS.sub("", slot.name)
                if name in tensors:
                    raise CheckpointError(
                        f"tensor {name!r} is in it twice", where=str(file.path), advice="Save the checkpoint again"
                    )
                tensors[name] = msgspec.structs.replace(slot, name=name)
        tied = _tied(path, tensors)
        yield Checkpoint(
            name=checkpoint_name(path),
            path=path.absolute(),
            step=checkpoint_step(path),
            tensors={name: tensors[name] for name in sorted(tensors) if name not in tied},
            tied=tied,
            files=tuple(files),
            adapter=layout.adapter,
            stamp=_stamp([(file.path.name, file.size, file.modified_ns) for file in files], layout),
        )


def stamp_of(path: Path) -> str:
    """The stamp that `open_checkpoint` would give, without opening the weights.

    Raises as `open_checkpoint` does for what can be seen by names alone.
    """
    layout, told = _layout(path), []
    for file in layout.files:
        try:
            now = file.stat()
        except OSError as error:
            raise CheckpointError(f"cannot be read: {error.strerror}", where=str(file)) from error
        told.append((file.name, now.st_size, now.st_mtime_ns))
    return _stamp(told, layout)


def _stamp(files: list[tuple[str, int, int]], layout: "_Layout") -> str:
    told = [*files, *layout.settings]
    return hashlib.sha256(msgspec.json.encode(sorted(told))).hexdigest()[:16]


def checkpoint_name(path: Path) -> str:
    """What a checkpoint is called: its folder, for a file of another name the file, in the hub's cache the model."""
    place = path.absolute()
    if place.suffix == ".safetensors":
        if place.name not in (SINGLE, ADAPTER):
            return place.stem
        place = place.parent
    if place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--"):
        return place.parent.parent.name.rpartition("--")[2]
    return place.name or place.resolve().name or str(place)


def checkpoint_step(path: Path) -> int | None:
    """The step that the folder's name says, as `checkpoint-400`; None if it says none."""
    place = path.absolute()
    found = STEP.search(place.parent.name if place.suffix == ".safetensors" else place.name)
    return int(found[1]) if found else None


class _Layout(Struct, frozen=True, kw_only=True):
    """The files that a checkpoint consists of."""

    files: list[Path]
    mapped: dict[str, str] | None = None
    """Tensor to shard, of a checkpoint in shards."""
    adapter: AdapterConfig | None = None
    settings: list[tuple[str, int, int]] = []
    """Name, size and time of change of the file that says by how much an adapter's factors count."""


def _layout(path: Path) -> _Layout:
    """Where the weights lie: in the file itself, or in which files of the folder."""
    if path.is_file():
        if path.suffix != ".safetensors":
            refuse_file(path)
        return _Layout(files=[path])
    if not path.is_dir():
        raise CheckpointError(
            "there is no such checkpoint", where=str(path), advice="Name a folder of weights, or a .safetensors file"
        )
    mapped, adapter = None, None
    settings: list[tuple[str, int, int]] = []
    if (path / SINGLE).exists():
        names = [SINGLE]
    elif (path / INDEX).exists():
        mapped = _weight_map(path / INDEX)
        names = sorted(set(mapped.values()))
    elif (path / ADAPTER_CONFIG).exists():
        adapter = adapter_config(read_json(path / ADAPTER_CONFIG), where=path / ADAPTER_CONFIG)
        now = (path / ADAPTER_CONFIG).stat()
        settings = [(ADAPTER_CONFIG, now.st_size, now.st_mtime_ns)]
        names = [ADAPTER]
        if not (path / ADAPTER).exists():
            refuse_folder(path)
    else:
        names = [_only_file(path)]
    for name in names:
        must_stay_inside(path / name, path)
    return _Layout(files=[path / name for name in names], mapped=mapped, adapter=adapter, settings=settings)


def _only_file(folder: Path) -> str:
    """The only safetensors file of a folder without any of the usual names."""
    found = sorted(file.name for file in folder.glob("*.safetensors"))
    if not found:
        refuse_folder(folder)
    if len(found) > 1:
        raise CheckpointError(
            f"{len(found)} safetensors files and no {INDEX}: {', '.join(found[:3])}",
            where=str(folder),
            advice="A checkpoint that is still being written has its index later; else name one of the files",
        )
    return found[0]


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor to shard, as the index says; each shard must be a plain name, and must be there."""
    mapped = read_json(index).get("weight_map")
    if not isinstance(mapped, dict) or not mapped or not all(isinstance(name, str) for name in mapped.values()):
        raise CheckpointError("no weight_map of names", where=str(index), advice="Save the checkpoint again")
    for shard in sorted(set(mapped.values())):
        if shard in ("", ".", "..") or Path(shard).name != shard or "\0" in shard or "\\" in shard:
            raise CheckpointError(
                f"it names the shard {shard[:200]!r}, which is no file of this folder",
                where=str(index),
                advice="Shards lie beside their index; a path is not followed",
            )
        if not (index.parent / shard).exists():
            raise CheckpointError(
                f"shard {shard[:200]!r} is missing",
                where=str(index.parent),
                advice="A checkpoint that is still being written has it later; otherwise copy it here",
            )
    return mapped


def _must_agree(shard: Path, *, held: set[str], mapped: dict[str, str]) -> None:
    """Raise unless the shard holds the tensors that the index gives it and no others."""
    wrong = sorted(held ^ {name for name, place in mapped.items() if place == shard.name})
    if wrong:
        word = "has" if wrong[0] in held else "lacks"
        raise CheckpointError(
            f"it {word} tensor {wrong[0][:100]!r}, and {INDEX} says otherwise ({len(wrong)} such)",
            where=str(shard),
            advice="The index and its shards are of different saves; save or copy the checkpoint again",
        )


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file beside the weights. Raises `CheckpointError` if it is none."""
    must_stay_inside(path, path.parent)
    with opened(path) as file:
        if file.size > MAX_JSON_BYTES:
            raise CheckpointError(f"it has {file.size} bytes, more than {MAX_JSON_BYTES}", where=str(path))
        try:
            found = strict_json(file.read(file.size, 0).decode("utf-8"))
        except ValueError as error:
            raise CheckpointError(
                f"no proper JSON: {str(error)[:200]}", where=str(path), advice="Save or copy the checkpoint again"
            ) from error
    if not isinstance(found, dict):
        raise CheckpointError("no JSON object", where=str(path), advice="Save or copy the checkpoint again")
    return found


def _tied(path: Path, tensors: dict[str, TensorSlot]) -> tuple[str, ...]:
    """The output weights, if config.json says that they are the embedding and both were saved."""
    config = path / CONFIG
    if HEAD not in tensors or not path.is_dir() or not config.exists():
        return ()
    found = read_json(config)
    text = found.get("text_config")
    said = [found.get("tie_word_embeddings"), text.get("tie_word_embeddings") if isinstance(text, dict) else None]
    embeddings = [slot for name, slot in tensors.items() if name.endswith(EMBEDDINGS)]
    same = any(slot.shape == tensors[HEAD].shape for slot in embeddings)
    return (HEAD,) if any(one is True for one in said) and same else ()

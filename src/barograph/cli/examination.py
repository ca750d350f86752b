"""What `barograph doctor` finds: what is installed, what this machine tells, and what a training here would measure.

Nothing is created but a probe file that is deleted at once, and nothing is waited for longer than a few seconds: a
driver or a disk that hangs is one of the things that are looked for.
"""

import importlib
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from barograph import __version__
from barograph.analysis.model_flops import peak_flops
from barograph.api.token import read_token
from barograph.collect.hardware import HardwareSampler
from barograph.errors import UsageError
from barograph.index.lock import WATCH, is_held
from barograph.index.place import shared_place
from barograph.journal.layout import run_directories
from barograph.journal.webhook_target import URL, webhook_target
from barograph.records.signals import Gpu, Hardware

PATIENCE_S = 5.0
"""Longest time that a source, or a disk, is waited for."""

BASE = (
    *(("msgspec", "msgspec"), ("numpy", "numpy"), ("psutil", "psutil"), ("nvidia-ml-py", "pynvml")),
    *(("litestar", "litestar"), ("uvicorn", "uvicorn"), ("zstandard", "zstandard"), ("watchfiles", "watchfiles")),
    *(("typer", "typer"), ("rich", "rich")),
)
"""Packages that barograph needs, and the modules that they bring."""

EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("torch", "gradients, weights and updates by layer, token entropy"),
        ("transformers", "the callback of the Hugging Face Trainer"),
        ("accelerate", "the norm of the gradients before clipping"),
        ("peft", "adapters"),
        ("tokenizers", "the text of the batch that did it"),
        ("safetensors", "checkpoints of the reference trainer"),
        ("gguf", "the demo's larger model"),
    ),
    "weights": (("numba", "drift and stability of checkpoints"),),
}
"""Extra -> its packages, each with what it is for."""

BESIDE = (("trl", "its trainers, which the callback fits"),)
"""Packages that users bring, each with what is known of it."""

_Found = TypeVar("_Found")


class Package(Struct, frozen=True, kw_only=True):
    """One package."""

    name: Annotated[str, Meta(description="What it is called where it is installed from.")]
    version: Annotated[str | None, Meta(description="Null if it is not installed.")]
    purpose: Annotated[str, Meta(description="What it is for here.")]
    needed: Annotated[bool, Meta(description="Whether nothing works without it.")]
    extra: Annotated[str, Meta(description="The extra that brings it; empty if it comes with barograph, or never.")]
    install: Annotated[str, Meta(description="The line that installs it; empty if it is there, or not for us to say.")]
    problem: Annotated[str, Meta(description="Why it does not work though it is needed; empty if it does.")] = ""


class Root(Struct, frozen=True, kw_only=True):
    """The folder of the runs."""

    path: Annotated[str, Meta(description="Where it is.")]
    exists: Annotated[bool, Meta(description="Whether it is there; the first run makes it.")]
    writable: Annotated[bool, Meta(description="Whether a run can be recorded there.")]
    runs: Annotated[int | None, Meta(description="Runs in it; null if it did not answer.")]
    disk_free_gb: Annotated[float | None, Meta(description="Free for this user, 1e9 bytes.")]
    disk_total_gb: Annotated[float | None, Meta(description="Size of the disk, 1e9 bytes.")]
    index: Annotated[str, Meta(description="How the index is.")]
    indexed: Annotated[bool, Meta(description="Whether a process indexes it now.")]
    watched: Annotated[bool, Meta(description="Whether a process watches it now.")]


class Measure(Struct, frozen=True, kw_only=True):
    """Something that a training here would measure, or would not."""

    what: Annotated[str, Meta(description="What.")]
    measured: Annotated[bool, Meta(description="Whether.")]
    why: Annotated[str, Meta(description="By what means, or why not and what to do.")]


class Webhook(Struct, frozen=True, kw_only=True):
    """Where alerts are sent."""

    channel: Annotated[str | None, Meta(description="Scheme and host; null if none is set, or none that can be used.")]
    shape: Annotated[str | None, Meta(description="`json` or `slack`.")]
    min_level: Annotated[str | None, Meta(description="Least level that is sent.")]
    why: Annotated[str, Meta(description="Why what is set cannot be used; empty if it can, or if none is set.")] = ""


class Examination(Struct, frozen=True, kw_only=True):
    """The document of `barograph doctor --json`."""

    barograph: Annotated[str, Meta(description="Version.")]
    python: Annotated[str, Meta(description="Version, and where it lies.")]
    healthy: Annotated[bool, Meta(description="Whether all that is needed works.")]
    problems: Annotated[list[str], Meta(description="What is needed and does not work, with what to do.")]
    packages: Annotated[list[Package], Meta(description="What is installed, and what could be.")]
    gpus: Annotated[list[Gpu] | None, Meta(description="GPUs of NVIDIA; null if they cannot be asked.")]
    gpus_why: Annotated[str, Meta(description="Why they cannot; empty if they can.")]
    root: Annotated[Root, Meta(description="The folder of the runs.")]
    measures: Annotated[list[Measure], Meta(description="What a training here would measure.")]
    webhook: Annotated[Webhook, Meta(description="Where alerts are sent.")]
    token: Annotated[bool, Meta(description="Whether there is a token to serve beyond this machine.")]


class Looked(Struct, frozen=True, kw_only=True):
    """What looking at the root found, before a machine's own numbers are added."""

    root: Root
    """The folder."""
    problems: list[str]
    """What is wrong with it."""


def examine(
    root: Path,
    environ: Mapping[str, str],
    *,
    sampler: HardwareSampler | None = None,
    patience_s: float = PATIENCE_S,
) -> Examination:
    """Look at everything; whatever has not answered within `patience_s` seconds is left behind. `sampler` stands in
    for that of this machine."""
    packages = installed()
    problems = [f"{one.name}: {one.problem}" for one in packages if one.problem]
    hardware = _sampled(sampler or HardwareSampler(root, every_s=PATIENCE_S), patience_s)
    looked = _within(lambda: _root(root, hardware), patience_s) or Looked(
        root=_silent_root(root), problems=[f"the disk of {root} has not answered for {patience_s:g} s"]
    )
    problems += looked.problems
    webhook = Webhook(channel=None, shape=None, min_level=None)
    try:
        target = webhook_target(environ)
        if target is not None:
            webhook = Webhook(channel=target.channel, shape=target.shape, min_level=target.min_level)
    except UsageError as error:
        problems.append(str(error))
        webhook = Webhook(channel=None, shape=None, min_level=None, why="its address cannot be used: see below")
    token = False
    try:
        token = looked.root.exists and read_token(root) is not None
    except UsageError as error:
        problems.append(str(error))
    return Examination(
        barograph=__version__,
        python=f"{sys.version.split()[0]} ({sys.executable})",
        healthy=not problems,
        problems=problems,
        packages=packages,
        gpus=hardware.gpus,
        gpus_why=hardware.why.get("gpus", ""),
        root=looked.root,
        measures=measures({one.name: one.version for one in packages}, hardware, webhook),
        webhook=webhook,
        token=token,
    )


def installed() -> list[Package]:
    """Every package that matters here; those that are needed are loaded, to see whether they do."""
    found = []
    for name, module in BASE:
        problem = _load_problem(module)
        install = "pip install --force-reinstall barograph" if problem else ""
        found.append(
            Package(
                name=name,
                version=_version(name),
                purpose="barograph itself",
                needed=True,
                extra="",
                install=install,
                problem=problem,
            )
        )
    for extra, packages in EXTRAS.items():
        for name, purpose in packages:
            version = _version(name)
            line = "" if version else f"pip install 'barograph[{extra}]'"
            found.append(Package(name=name, version=version, purpose=purpose, needed=False, extra=extra, install=line))
    return found + [
        Package(name=name, version=_version(name), purpose=purpose, needed=False, extra="", install="")
        for name, purpose in BESIDE
    ]


def measures(versions: Mapping[str, str | None], hardware: Hardware, webhook: Webhook) -> list[Measure]:
    """What a training with these packages, on this machine, would measure; the rest with its reason."""

    def with_package(what: str, name: str, how: str) -> Measure:
        there = versions.get(name) is not None
        line = next((f"pip install 'barograph[{extra}]'" for extra, of in EXTRAS.items() if name in dict(of)), "")
        return Measure(what=what, measured=there, why=how if there else f"{name} is not installed: {line}")

    sharded = "; not where FSDP or DeepSpeed shard the model"
    names = [gpu.name for gpu in hardware.gpus or [] if gpu.name]
    known = [name for name in names if peak_flops(name, "float16") is not None]
    utilisation = "no GPU" if not names else f"the peak FLOPs of {names[0]} are not known here"
    machine = [name for name in ("cpu_pct", "ram_used_gb", "disk_free_gb") if name in hardware.why]
    gpus = "this machine has none" if hardware.gpus == [] else hardware.why.get("gpus", "")
    return [
        Measure(what="loss, trend, spikes, plateau", measured=True, why="of what is logged, in any loop"),
        with_package("loss of every step, NaN included", "transformers", "the callback of the Trainer"),
        with_package("gradients, weights and updates by layer", "torch", f"callback, or run.watch{sharded}"),
        with_package("adapters, A and B apart", "peft", f"one row each{sharded}"),
        with_package("token entropy and top-1 probability", "transformers", "where a step returns logits"),
        with_package("the examples of a bad batch", "transformers", "callback; with text where there is a tokenizer"),
        Measure(what="throughput and ETA", measured=True, why="callback, or create_throughput_monitor"),
        Measure(
            what="model FLOPs utilisation",
            measured=bool(known),
            why=f"the peak of {known[0]}" if known else utilisation,
        ),
        Measure(
            what="GPU memory, temperature, power",
            measured=bool(hardware.gpus),
            why=f"NVML, {len(names)} of them" if hardware.gpus else gpus,
        ),
        Measure(
            what="processor, memory, disk",
            measured=not machine,
            why="every 10 s" if not machine else f"{machine[0]}: {hardware.why[machine[0]]}",
        ),
        with_package("drift and stability of checkpoints", "numba", "barograph watch"),
        Measure(what="calibration", measured=False, why="only where fixed_eval_ece and fixed_eval_n are logged"),
        Measure(
            what="notifications",
            measured=webhook.channel is not None,
            why=f"to {webhook.channel}" if webhook.channel else webhook.why or f"{URL} is not set",
        ),
    ]


def _root(root: Path, hardware: Hardware) -> Looked:
    problems = []
    exists = root.is_dir()
    trouble = _write_problem(root)
    if trouble:
        problems.append(f"no run can be recorded under {root}: {trouble}. Set BAROGRAPH_DIR to a folder of yours")
    folder = shared_place(root).folder
    return Looked(
        root=Root(
            path=str(root),
            exists=exists,
            writable=not trouble,
            runs=len(run_directories(root)),
            disk_free_gb=hardware.disk_free_gb,
            disk_total_gb=hardware.disk_total_gb,
            index=_index(shared_place(root).database),
            indexed=is_held(folder, name="index.lock"),
            watched=is_held(folder, name=WATCH),
        ),
        problems=problems,
    )


def _silent_root(root: Path) -> Root:
    """A root whose disk does not answer."""
    return Root(
        path=str(root),
        exists=False,
        writable=False,
        runs=None,
        disk_free_gb=None,
        disk_total_gb=None,
        index="it has not answered",
        indexed=False,
        watched=False,
    )


def _write_problem(root: Path) -> str:
    """Why nothing can be written into the root; empty if it can. A root that is not there will be made."""
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    if place != root:
        return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} may not be written"
    try:  # a real write: the permission bits do not know of read-only mounts and full disks
        descriptor, probe = tempfile.mkstemp(prefix=".probe-", dir=root)
        try:
            os.write(descriptor, b"barograph")
        finally:
            os.close(descriptor)
            Path(probe).unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _index(database: Path) -> str:
    if not database.is_file():
        return "none yet; barograph serve makes it"
    try:
        opened = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=1.0)
        try:
            opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            opened.close()
    except sqlite3.Error as error:
        return f"cannot be read ({error}); it is a cache, and barograph serve makes it anew"
    return f"{database.stat().st_size / 1e6:.1f} MB"


def _sampled(sampler: HardwareSampler, patience_s: float) -> Hardware:
    """One answer of every source, or why there is none; a source that hangs is left behind."""
    sampler.start()
    deadline = time.monotonic() + patience_s
    while (found := sampler.newest(None)) and time.monotonic() < deadline:
        if not any("has not answered" in reason for reason in found.why.values()):
            break
        time.sleep(0.02)
    sampler.stop()
    return found


def _within(look: Callable[[], _Found], patience_s: float) -> _Found | None:
    """What `look` returns, or None if it takes too long."""
    found: list[_Found] = []
    thread = threading.Thread(target=lambda: found.append(look()), name="barograph-doctor", daemon=True)
    thread.start()
    thread.join(patience_s)
    return found[0] if found else None


def _version(package: str) -> str | None:
    try:
        version: object = metadata.version(package)
    except (metadata.PackageNotFoundError, KeyError):
        return None
    return version if isinstance(version, str) else "unknown"


def _load_problem(module: str) -> str:
    """Why a module that is needed does not load; empty if it does."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"it does not load: {error}"
    return ""

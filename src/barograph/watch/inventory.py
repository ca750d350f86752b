"""What there is: the checkpoints that a run's journal speaks of, those in folders that the user named, as they are on
disk now."""

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from barograph.errors import CheckpointError
from barograph.index import Snapshot, query
from barograph.index.passes import StoredPass, weights_passes
from barograph.journal.layout import TRAIN
from barograph.records import Banner, Checkpoint, Job, WeightsPass
from barograph.records.quantities import Attempt, Step
from barograph.records.weights import ReferenceOrigin, reference_rank
from barograph.views.weights import counts_more
from barograph.watch.plan import Candidate, First, InForce, Past, Reference
from barograph.weights import local_model, stamp_of
from barograph.weights.adapter_config import ADAPTER_CONFIG
from barograph.weights.checkpoint import STEP, checkpoint_name, checkpoint_step, read_json


class Spoken(Struct, frozen=True, kw_only=True):
    """A checkpoint that a journal speaks of."""

    path: Annotated[str, Meta(description="Its folder.")]
    step: Annotated[Step, Meta(description="Its step.")]
    attempt: Annotated[Attempt, Meta(description="Attempt that saved it.")]


class Seen(Struct, frozen=True, kw_only=True):
    """Where a kind of line was last seen in a journal file; when that is the same, nothing new was said."""

    source: int
    """The file's row."""
    reading: int
    """A random number for each time that it was read anew."""
    kind: str
    """The line's type."""
    count: int
    """How many there are."""


class RunRecords(Struct, frozen=True, kw_only=True):
    """What the journal of a run says of its checkpoints."""

    run: Annotated[str, Meta(description="Its name.")]
    attempt: Annotated[Attempt, Meta(description="The newest one; 1 if none trained.")]
    model: Annotated[str | None, Meta(description="Hub name or folder of the model that training began from.")]
    output_dir: Annotated[str | None, Meta(description="Folder that checkpoints are saved to.")]
    spoken: Annotated[list[Spoken], Meta(description="Its checkpoints, the newest word of each.")]
    past: Annotated[Past, Meta(description="What was done.")]


def seen(snapshot: Snapshot, run: str) -> tuple[Seen, ...]:
    """What the journal of a run has said of checkpoints; the same until it says something new. Raises `UnknownRun`."""
    found = []
    for source in query.sources(snapshot, run):
        for kind in ("checkpoint", "banner"):
            asked = "SELECT count(*) FROM event WHERE source = ? AND kind = ?"
            (count,) = snapshot.connection.execute(asked, (source.id, kind)).fetchone()
            found.append(Seen(source=source.id, reading=source.state.reading, kind=kind, count=count))
    return tuple(found)


def run_records(snapshot: Snapshot, run: str) -> RunRecords:
    """What the index has of a run. Raises `UnknownRun`, `IndexRebuilding` or `IndexDamaged`."""
    sources = query.sources(snapshot, run)
    training = [source for source in sources if source.state.writer == TRAIN]
    spoken: dict[str, Spoken] = {}
    for source in sources:
        for one in query.events(snapshot, run, Checkpoint, among=[source])[::-1]:
            spoken[one.path] = Spoken(path=one.path, step=one.step, attempt=source.state.attempt)
    banners = query.events(snapshot, run, Banner, among=training)
    stored = weights_passes(snapshot, run)
    jobs = query.events(snapshot, run, Job)
    return RunRecords(
        run=run,
        attempt=max((source.state.attempt for source in training), default=1),
        model=next((banner.model_path for banner in banners if banner.model_path), None),
        output_dir=next((banner.output_dir for banner in banners if banner.output_dir), None),
        spoken=list(spoken.values()),
        past=Past(
            failed=frozenset(job.id for job in jobs if job.state == "failed" and not job.again),
            in_force=in_force(stored),
            first=_first(stored),
        ),
    )


def in_force(stored: Iterable[StoredPass]) -> dict[str, InForce]:
    """Folder -> the pass that counts, of passes in the order in which they were written."""
    found: dict[str, WeightsPass] = {}
    for one in stored:
        before = found.get(one.summary.path)
        if before is None or counts_more(one.summary, before):
            found[one.summary.path] = one.summary
    return {
        path: InForce(stamp=summary.stamp, job=summary.job, rank=reference_rank(summary))
        for path, summary in found.items()
    }


def _first(stored: Iterable[StoredPass]) -> First | None:
    """The first checkpoint with which the newest of the others was compared."""
    compared = [one for one in stored if one.summary.reference_origin == "first_checkpoint"]
    if not compared:
        return None
    path = compared[-1].summary.reference_path or ""
    return First(path=path, attempt=max(one.attempt for one in compared if one.summary.reference_path == path))


def in_folder(folder: Path) -> list[Path]:
    """The checkpoints in a folder that the user named: its `checkpoint-N`, and itself if it holds weights."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(one.path) for one in entries if STEP.match(one.name) and one.is_dir()]
    except OSError:
        return []
    own = [folder] if any(folder.glob("*.safetensors")) else []
    return [*own, *found]


def candidates(records: RunRecords, folders: Iterable[Path], *, reference: Path | None) -> list[Candidate]:
    """Every checkpoint of a run as it is on disk. `folders` are those of the user that are this run's."""
    spoken = {one.path: one for one in records.spoken}
    beside = [str(path) for folder in folders for path in in_folder(folder)]
    found = []
    for path in dict.fromkeys((*spoken, *beside)):
        known = spoken.get(path)
        found.append(_candidate(path, records, known, reference=reference))
    return found


def _candidate(path: str, records: RunRecords, known: Spoken | None, *, reference: Path | None) -> Candidate:
    place = Path(path)
    named, why, adapter = None, None, False
    try:
        stamp, readable = _stamp(place)
        if readable:
            named, why, adapter = _named(place, records, reference=reference)
        modified = _modified(place)
    except (OSError, ValueError, RuntimeError):  # a path that cannot be one, or a link that leads to itself
        stamp, readable, modified = "", False, 0.0
    return Candidate(
        run=records.run,
        attempt=known.attempt if known else records.attempt,
        path=path,
        name=checkpoint_name(place),
        step=known.step if known else checkpoint_step(place),
        recorded=known is not None,
        stamp=stamp,
        readable=readable,
        adapter=adapter,
        modified=modified,
        reference=named,
        no_reference=why,
    )


def _stamp(path: Path) -> tuple[str, bool]:
    """A hash that differs when the content may, and whether it looks readable. Empty if nothing is there."""
    if not path.is_absolute():
        return "", False
    try:
        return stamp_of(path), True
    except (CheckpointError, OSError):
        listed = [(name, status.st_size, status.st_mtime_ns) for name, status in _files(path)]
        if not listed and not path.exists():
            return "", False
        return hashlib.sha256(msgspec.json.encode(sorted(listed))).hexdigest()[:16], False


def _modified(path: Path) -> float:
    """When one of its files was last written to, or came; 0 if nothing is there."""
    times = [status.st_mtime for _, status in _files(path)]
    with suppress(OSError):
        times.append(path.stat().st_mtime)
    return max(times, default=0.0)


def _files(path: Path) -> list[tuple[str, os.stat_result]]:
    try:
        with os.scandir(path) as entries:
            found = [(one.name, one.stat(follow_symlinks=False)) for one in entries]
    except OSError:
        return []
    return [(name, status) for name, status in found if stat.S_ISREG(status.st_mode)]


def _named(path: Path, records: RunRecords, *, reference: Path | None) -> tuple[Reference | None, str | None, bool]:
    """The reference that somebody named, why it cannot be used, and whether the checkpoint is an adapter.

    The user comes first, then the adapter's own word, then the run's. A run's model that is not on this machine is
    nobody's fault, and the first checkpoint takes its place; an adapter has nothing else to stand on.
    """
    base, adapter = _base_of(path)
    if reference is not None:
        named, why = _reference(reference, "named")
        return named, why, adapter
    if adapter:
        name = base or records.model
        found = None if name is None else local_model(name)
        if found is None:
            said = "names no base model" if name is None else f"stands on {name:.200}, which is not on this machine"
            return None, f"the adapter {said}; name a --reference", True
        named, why = _reference(found, "adapter" if base else "run")
        return named, why, True
    found = None if records.model is None else local_model(records.model)
    if found is None or found.absolute() == path.absolute():
        return None, None, False
    named, _ = _reference(found, "run")
    return named, None, False


def _base_of(path: Path) -> tuple[str | None, bool]:
    """The base model that an adapter names, and whether it is an adapter at all."""
    if not path.is_dir() or not (path / ADAPTER_CONFIG).exists() or (path / "model.safetensors").exists():
        return None, False
    try:
        base = read_json(path / ADAPTER_CONFIG).get("base_model_name_or_path")
    except CheckpointError:
        return None, True
    return (base if isinstance(base, str) and base else None), True


def _reference(path: Path, origin: ReferenceOrigin) -> tuple[Reference | None, str | None]:
    try:
        stamp = stamp_of(path)
    except (CheckpointError, OSError) as error:
        return None, f"the reference cannot be read: {error}"
    made = Reference(path=str(path.absolute()), name=checkpoint_name(path), origin=origin, stamp=stamp)
    return made, None


def owner(folder: Path, runs: Sequence[RunRecords]) -> str | None:
    """The run that saves its checkpoints in `folder`; None if none does. The newest word wins."""
    real = str(folder.absolute())
    for records in runs:
        inside = any(str(Path(one.path).parent) == real or one.path == real for one in records.spoken)
        if inside or (records.output_dir is not None and str(Path(records.output_dir).absolute()) == real):
            return records.run
    return None

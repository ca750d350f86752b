"""What `barograph check` judges: a target is found, read, and every verdict that applies to it is given."""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, structs

from barograph.analysis.curve_parts import (
    CurvePart,
    curve_of,
    logs_means,
    split_where_it_goes_back,
    writers_apart,
)
from barograph.analysis.layer_drift import layer_drift
from barograph.analysis.loss_curve import LossCurve, loss_curve
from barograph.analysis.weight_stability import weight_stability
from barograph.errors import BarographError, ImportFailed, UsageError
from barograph.journal.layout import ARCHIVE, LOGS, TRAIN, JournalFile, journal_files
from barograph.journal.losses import FileLosses, read_losses
from barograph.journal.reader import BadLine
from barograph.policy import Policy, curve_rule
from barograph.policy.judgement import Judged, Measured, gravest, judged, judgement
from barograph.records import Banner, OptimizerMoments, TensorPass, Verdict, WeightsPass
from barograph.records.quantities import VerdictWord

WATCH = "watch"
UNREAD = "no checkpoint's weights were read: barograph watch"
EXAMPLES = 10
NAMED = 200
"""Rows of a log whose metrics tell what kind of training it is."""


class CheckedTarget(Struct, frozen=True, kw_only=True):
    """All verdicts on one target."""

    target: Annotated[str, Meta(description="As it was named.")]
    kind: Annotated[str, Meta(description="What it was recognised as.")]
    verdict: Annotated[VerdictWord, Meta(description="The gravest of them; SKIP if nothing could be judged.")]
    policy: Annotated[str, Meta(description="Name of the policy.")]
    verdicts: Annotated[list[Judged], Meta(description="Each of them.")]
    notes: Annotated[list[str], Meta(description="What a reader should know, a sentence each.")]


class _Read(Struct, frozen=True, kw_only=True):
    """What a target holds."""

    kind: str
    curve: LossCurve | None
    nothing: str
    saves: tuple[OptimizerMoments, ...] = ()
    rows: tuple[TensorPass, ...] = ()
    no_reference: str | None = None
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def checked(target: str, *, root: Path, policy: Policy) -> CheckedTarget:
    """Every verdict on a target: a path, or the name of a run under `root`.

    What cannot be read, or is not there, is an ERROR that says so.
    """
    now = time.time()
    shown = target.encode("utf-8", "replace").decode()
    try:
        read = _read(_place(target, root=root), policy=policy)
    except (BarographError, OSError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        wrong = _error(said.encode("utf-8", "replace").decode(), policy=policy, now=now)
        return CheckedTarget(
            target=shown, kind="unknown", verdict="ERROR", policy=policy.name, verdicts=[wrong], notes=[]
        )
    found = [*(_error(said, policy=policy, now=now) for said in read.errors), *_verdicts(read, policy=policy, now=now)]
    return CheckedTarget(
        target=shown,
        kind=read.kind,
        verdict=gravest([one.verdict for one in found]),
        policy=policy.name,
        verdicts=found,
        notes=list(read.notes),
    )


def _place(target: str, *, root: Path) -> Path:
    path = Path(target).expanduser()
    if target and (path.exists() or path.is_symlink()):
        return path.absolute()
    named = root / target
    if target and "/" not in target and target not in (".", "..") and (named / LOGS).is_dir():
        return named
    raise UsageError(
        "there is no such run, folder or file",
        where=target[:500],
        advice=f"Name a run under {root}, or the path of a run, a journal, a trainer_state.json, a checkpoint, a log",
    )


def _read(path: Path, *, policy: Policy) -> _Read:
    if path.is_dir() and (path / LOGS).is_dir():
        files = journal_files(path)
        if files or _unopened(path):
            return _of_run(path, files, policy=policy)
        try:
            return _imported(path, policy=policy)
        except ImportFailed:
            return _Read(kind="run", curve=None, nothing=f"no train-*.jsonl files under {path / LOGS}")
    if path.name.endswith(f".jsonl{ARCHIVE}"):
        return _of_file(path.with_name(path.name.removesuffix(ARCHIVE)), policy=policy)
    if path.is_file() and _is_journal(path):
        return _of_file(path, policy=policy)
    return _imported(path, policy=policy)


def _of_file(path: Path, *, policy: Policy) -> _Read:
    """One file of a journal, alone: what a resume wrote into it is told apart, and so are writers that took turns."""
    losses = read_losses(path.parent, path, kinds=(OptimizerMoments, Banner))
    places = writers_apart(losses.steps)
    notes = []
    if len(places) > 1:
        notes.append(f"{len(places)} writers took turns in it; the one with the most points is judged")
        losses = structs.replace(losses, steps=losses.steps[places[0]], losses=losses.losses[places[0]], begins=())
    curve, errors = _curve(list(_parts(losses, attempt=1)), [losses], [path.name], policy=policy)
    return _Read(
        kind="journal file",
        curve=curve,
        nothing="no step of the file has a loss",
        saves=tuple(one for one in losses.records if isinstance(one, OptimizerMoments)),
        notes=tuple(notes),
        errors=errors,
    )


def _is_journal(path: Path) -> bool:
    """Whether the first lines of a file are those of a journal: objects whose `type` is `step` or `banner`."""
    with path.open("rb") as file:
        head = file.read(65_536)
    return any(
        line.lstrip(b"\xef\xbb\xbf").startswith(b"{")
        and b'"type"' in line
        and (b'"step"' in line or b'"banner"' in line)
        for line in head.split(b"\n")[:20]
    )


def _of_run(path: Path, files: Sequence[JournalFile], *, policy: Policy) -> _Read:
    read: list[FileLosses] = []
    names: list[str] = []
    parts: list[CurvePart] = []
    saves: list[OptimizerMoments] = []
    errors: list[str] = []
    for file in files:
        if file.writer == TRAIN:
            try:
                losses = read_losses(path, file.path, kinds=(OptimizerMoments, Banner))
            except (BarographError, OSError) as error:
                errors.append(f"{file.place.name} cannot be read: {' '.join(str(error).split())}")
                continue
            read.append(losses)
            names.append(file.place.name)
            parts.append(CurvePart(attempt=file.attempt, steps=losses.steps, losses=losses.losses))
            saves += [one for one in losses.records if isinstance(one, OptimizerMoments)]
    errors += _unopened(path)
    rows, no_reference = _newest_pass(path, files)
    curve, unreadable = _curve(parts, read, names, policy=policy)
    return _Read(
        kind="run",
        curve=curve,
        nothing="no step of the run has a loss",
        saves=tuple(saves),
        rows=rows,
        no_reference=no_reference,
        errors=(*errors, *unreadable),
    )


def _unopened(path: Path) -> list[str]:
    """A sentence for each journal file of training that is a link, a folder or a pipe."""
    with os.scandir(path / LOGS) as entries:
        names = [entry.name for entry in entries if not entry.is_file(follow_symlinks=False)]
    ours = sorted(name for name in names if name.startswith(f"{TRAIN}-") and ".jsonl" in name)
    return [f"{LOGS}/{name} is no regular file, so it was not read" for name in ours]


def _parts(losses: FileLosses, *, attempt: int) -> Iterator[CurvePart]:
    """The parts of one file: a banner in the middle, or steps that go back, begin another."""
    edges = sorted({0, *losses.begins, len(losses.steps)})
    for begin, end in pairwise(edges):
        if end > begin:
            found = split_where_it_goes_back(losses.steps[begin:end], losses.losses[begin:end], attempt=attempt)
            yield from found
            attempt = found[-1].attempt + 1


def _curve(
    parts: Sequence[CurvePart], read: Sequence[FileLosses], names: Sequence[str], *, policy: Policy
) -> tuple[LossCurve | None, tuple[str, ...]]:
    """The measured curve, None if no step has a loss; and what makes it worth little: files most of which is unread."""
    errors = []
    for name, one in zip(names, read, strict=True):
        first = one.examples[0] if one.examples else None
        if first is not None and 2 * one.bad > one.lines:
            errors.append(f"{one.bad} of {one.lines} lines of {name} cannot be read: {first.detail}")
        elif first is not None and first.offset == 0 and policy.training_drift.judged_by == "v1":
            errors.append(f"first line of {name} is not valid: {first.detail}")
    curve = curve_of(
        parts,
        files=len(read),
        averaged=any(logs_means(banner) for one in read for banner in one.records if isinstance(banner, Banner)),
        metrics=[name for one in read for name in one.metrics],
        torn_lines=sum(one.torn > 0 for one in read),
        bad_lines=sum(one.bad for one in read),
        examples=[_located(name, line) for name, one in zip(names, read, strict=True) for line in one.examples][
            :EXAMPLES
        ],
    )
    measured = loss_curve(curve, rule=curve_rule(policy)) if len(curve.merged_steps) else None
    return measured, tuple(errors)


def _located(name: str, line: BadLine) -> str:
    return f"{name}, byte {line.offset}: {line.detail}"


def _newest_pass(path: Path, files: Sequence[JournalFile]) -> tuple[tuple[TensorPass, ...], str | None]:
    """The rows of the pass over the newest checkpoint that a watcher read, and why it had no reference."""
    best: tuple[tuple[int, int], tuple[TensorPass, ...], str | None] | None = None
    for file in files:
        if file.writer != WATCH:
            continue
        rows: list[TensorPass] = []
        for record in read_losses(path, file.path, kinds=(TensorPass, WeightsPass)).records:
            if isinstance(record, TensorPass):
                rows.append(record)
            elif isinstance(record, WeightsPass):
                order = (file.attempt, -1 if record.step is None else record.step)
                own = tuple(rows[-record.tensors :]) if record.tensors else ()
                if len(own) == record.tensors and (best is None or order >= best[0]):
                    best = (order, own, record.no_reference)
                rows = []
    return (best[1], best[2]) if best else ((), None)


def _imported(path: Path, *, policy: Policy) -> _Read:
    """A log of another tool."""
    from barograph.imports import curve_parts, read_log

    log = read_log(path)
    parts = curve_parts(log)
    curve = curve_of(
        parts,
        files=1,
        averaged=log.averaged,
        metrics=sorted({name for row in log.rows[:NAMED] for name in row.metrics}),
        bad_lines=log.bad,
        examples=[f"{one.file}, {one.place}: {one.reason}" for one in log.examples][:EXAMPLES],
    )
    return _Read(
        kind=log.format,
        curve=loss_curve(curve, rule=curve_rule(policy)) if len(curve.merged_steps) else None,
        nothing="no row of the log has a loss",
        notes=tuple(log.notes),
    )


def _verdicts(read: _Read, *, policy: Policy, now: float) -> list[Judged]:
    rows = read.rows
    measured = Measured(
        curve=read.curve,
        no_curve=read.nothing,
        saves=read.saves,
        drift=layer_drift(rows, pattern_ratio=policy.layer_drift.pattern_ratio) if _compared(rows) else None,
        no_drift=read.no_reference or UNREAD,
        stability=weight_stability(rows)
        if any(row.current_squares is not None and row.elements for row in rows)
        else None,
        no_stability=UNREAD,
    )
    return judgement(measured, policy=policy, now=now)


def _compared(rows: Sequence[TensorPass]) -> bool:
    return any(row.state in ("compared", "adapted") for row in rows)


def _error(said: str, *, policy: Policy, now: float) -> Judged:
    verdict = Verdict(
        name="training_drift", verdict="ERROR", message=said, numbers={}, thresholds={}, policy=policy.name, time=now
    )
    return judged(verdict)

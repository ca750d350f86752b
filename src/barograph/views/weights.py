"""What the passes over a run's checkpoints come to: drift and stability of each, judged by a policy.

The rows of a pass never change, so what follows from them is kept in memory between documents: a list of a hundred
checkpoints would else read and add up thirty thousand lines each time.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from barograph.analysis.layer_drift import LayerDrift, layer_drift
from barograph.analysis.norm_change import norm_change
from barograph.analysis.weight_stability import WeightStability, weight_stability
from barograph.index import Snapshot
from barograph.index.passes import StoredPass, tensor_passes, weights_passes
from barograph.index.query import Source
from barograph.policy import Policy, interpreted, parameter_stability
from barograph.policy.weight_stability import ParameterStability
from barograph.records import WeightsPass
from barograph.records.quantities import Attempt, Step
from barograph.records.weights import reference_rank
from barograph.views.summary import hidden_from

KEPT = 512
"""Checkpoints whose sums are kept; about 30 kB each for a model of 30 layers."""


class Measured(Struct, frozen=True, kw_only=True):
    """One checkpoint whose weights were read, not judged yet."""

    stored: Annotated[StoredPass, Meta(description="Its newest pass.")]
    step: Annotated[Step | None, Meta(description="Its step: the run's word, else that of its name.")]
    superseded: Annotated[bool, Meta(description="Whether a newer attempt went over its step again.")]
    drift: Annotated[LayerDrift | None, Meta(description="None without a reference.")]
    stability: Annotated[WeightStability | None, Meta(description="None if no weights were read.")]


class Judged(Struct, frozen=True, kw_only=True):
    """The two documents of one checkpoint."""

    drift: Annotated[LayerDrift | None, Meta(description="None without a reference.")]
    stability: Annotated[ParameterStability | None, Meta(description="None if no weights were read.")]
    why: Annotated[dict[str, str], Meta(description="Which of the two is None -> reason.")]


def checkpoint_id(path: str) -> str:
    """The id of a checkpoint in the API: 16 hex digits of a hash of its folder."""
    return hashlib.blake2b(path.encode("utf-8", "replace"), digest_size=8).hexdigest()


def measured_checkpoints(
    snapshot: Snapshot, run: str, sources: Sequence[Source], *, steps: dict[str, Step], policy: Policy
) -> list[Measured]:
    """Every checkpoint of the run that was read, by step: the pass over it that counts.

    `steps`: step of a folder as the run itself told it. Raises `UnknownRun` or `IndexDamaged`.
    """
    newest: dict[str, StoredPass] = {}
    for stored in weights_passes(snapshot, run):
        before = newest.get(stored.summary.path)
        if before is None or counts_more(stored.summary, before.summary):
            newest[stored.summary.path] = stored
    hidden = hidden_from(sources)
    found = []
    for stored in newest.values():
        step = steps.get(stored.summary.path, stored.summary.step)
        sums = _sums(snapshot, stored, pattern_ratio=policy.layer_drift.pattern_ratio)
        if sums is not None:
            found.append(
                Measured(
                    stored=stored,
                    step=step,
                    superseded=is_superseded(step, stored.attempt, hidden=hidden),
                    drift=None if sums.drift is None else replace(sums.drift, current_step=step),
                    stability=None if sums.stability is None else replace(sums.stability, step=step),
                )
            )
    return sorted(found, key=lambda one: place(one.step, one.stored.attempt, one.stored.summary.path))


def counts_more(one: WeightsPass, other: WeightsPass) -> bool:
    """Whether a later pass over the same folder counts more: it read another content, or not against a lesser
    reference."""
    return one.time >= other.time and (one.stamp != other.stamp or reference_rank(one) <= reference_rank(other))


def is_superseded(step: Step | None, attempt: Attempt, *, hidden: dict[Attempt, Step]) -> bool:
    """Whether a newer attempt went over the step again; the checkpoint that it began from it did not.

    `hidden` is that of `hidden_from`.
    """
    return step is not None and attempt in hidden and step > hidden[attempt]


def place(step: Step | None, attempt: Attempt, path: str) -> tuple[bool, int, int, str]:
    """Where a checkpoint stands in the order of steps; those without one come last: they are what came of them."""
    return step is None, step or 0, attempt, path


def newest_of(measured: Sequence[Measured]) -> Measured | None:
    """The one with the greatest step that no newer attempt went over again."""
    return next((one for one in reversed(measured) if not one.superseded), None)


def judged(one: Measured, others: Sequence[Measured], *, policy: Policy) -> Judged:
    """The two documents of a checkpoint; `others` are the run's, by step, for what came before it."""
    why: dict[str, str] = {}
    drift, stability = None, None
    if one.drift is not None:
        drift = interpreted(one.drift, policy=policy)
    else:
        why["layer_drift"] = one.stored.summary.no_reference or "it was read without a reference"
    if one.stability is not None:
        before = next((other.stability for other in reversed(others) if _comes_before(other, one)), None)
        change = None if before is None else norm_change(one.stability, [before])
        stability = parameter_stability(one.stability, policy=policy, change=change)
    else:
        why["parameter_stability"] = "the checkpoint holds no floating-point weights"
    return Judged(drift=drift, stability=stability, why=why)


def _comes_before(other: Measured, one: Measured) -> bool:
    """Whether it is of an earlier step, and its norms are of the same: an adapter's factors are no model's weights."""
    if other.superseded or other.stability is None or other.step is None or one.step is None:
        return False
    mine, its = one.stored.summary, other.stored.summary
    same = mine.adapter == its.adapter and (not mine.adapter or (mine.reference is None) == (its.reference is None))
    return same and other.step < one.step


class _Sums(Struct, frozen=True, kw_only=True):
    """What the rows of one pass add up to."""

    drift: LayerDrift | None
    stability: WeightStability | None


class _Kept:
    """The sums of the passes used last; may be used from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sums: OrderedDict[Hashable, _Sums] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> _Sums | None:
        with self._lock:
            if key in self._sums:
                self._sums.move_to_end(key)
            return self._sums.get(key)

    def update(self, key: Hashable, sums: _Sums) -> None:
        with self._lock:
            self._sums[key] = sums
            while len(self._sums) > self._most:
                self._sums.popitem(last=False)


_KEPT = _Kept(KEPT)


def _sums(snapshot: Snapshot, stored: StoredPass, *, pattern_ratio: float) -> _Sums | None:
    """What a pass adds up to; None if its lines are not all there."""
    key = (snapshot.root, stored.path, stored.reading, stored.offset, pattern_ratio)
    known = _KEPT.get(key)
    if known is not None:
        return known
    rows = tensor_passes(snapshot, stored)
    if not rows:
        return None
    drift, stability = None, None
    if any(row.state in ("compared", "adapted") for row in rows):
        drift = layer_drift(rows, pattern_ratio=pattern_ratio)
    if any(row.current_squares is not None and row.elements for row in rows):
        stability = weight_stability(rows)
    sums = _Sums(drift=drift, stability=stability)
    _KEPT.update(key, sums)
    return sums

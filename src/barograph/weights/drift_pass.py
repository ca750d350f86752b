"""A checkpoint and its reference -> one record per tensor: what was compared, and what could not be."""

import time
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from barograph.errors import CheckpointError
from barograph.records import TensorPass, WeightsPass
from barograph.records.weights import TensorState
from barograph.weights.checkpoint import Checkpoint
from barograph.weights.chunks import TensorSums, row_width
from barograph.weights.fused_pass import Pair, Progress, fused_pass
from barograph.weights.safetensors_header import TensorSlot
from barograph.weights.thin_delta import ThinDelta, base_name, is_factor, thin_deltas

CHOOSE_OTHER = "Name the model that this checkpoint was trained from"


class Pass(Struct, frozen=True, kw_only=True):
    """Everything that one reading of a checkpoint says."""

    summary: WeightsPass
    rows: tuple[TensorPass, ...]
    """One per tensor of either side, in the order of names."""


class Match(Struct, frozen=True, kw_only=True):
    """One name, and what of it is on each side."""

    name: str
    state: TensorState
    current: TensorSlot | None = None
    reference: TensorSlot | None = None
    delta: ThinDelta | None = None
    """What an adapter adds to the reference's tensor."""

    @property
    def pair(self) -> Pair | None:
        """What there is to read; None for a tensor that cannot be compared."""
        if self.state in ("compared", "alone") and self.current is not None:
            return Pair(current=self.current, reference=self.reference)
        if self.state == "adapted" and self.reference is not None:
            return Pair(current=self.reference)
        if self.state in ("extra", "reshaped") and self.current is not None:
            return Pair(current=self.current)
        return None


def drift_pass(
    current: Checkpoint,
    *,
    reference: Checkpoint | None = None,
    earlier: Pass | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Pass:
    """Read a checkpoint once, against `reference` or alone.

    `earlier`: a pass of another checkpoint against the same reference. A tensor that was the reference's then is read
    on one side only, and taken for the reference's if its fingerprint is still the same: frozen layers cost half.

    Raises `CheckpointError` if nothing on the two sides matches, and `CheckpointChanged` if a file was written to.
    """
    began, now = time.perf_counter(), time.time()
    matches = matched(current, reference=reference)
    known = _known(earlier, reference=reference)
    told = _Told(progress)
    sums = _summed(matches, known=known, threads=threads, told=told)
    rows = tuple(_row(match, sums.get(match.name), current=current, reference=reference, now=now) for match in matches)
    current.must_be_unchanged()
    if reference is not None:
        reference.must_be_unchanged()
    summary = WeightsPass(
        checkpoint=current.name,
        path=str(current.path),
        reference=None if reference is None else reference.name,
        reference_path=None if reference is None else str(reference.path),
        step=current.step,
        time=now,
        seconds=time.perf_counter() - began,
        tensors=len(rows),
        bytes_read=told.bytes,
        unchanged=sum(_is_known(match, sums.get(match.name), known) for match in matches),
        stamp=current.stamp,
        reference_stamp=None if reference is None else reference.stamp,
        adapter=current.adapter is not None,
    )
    return Pass(summary=summary, rows=rows)


def bytes_to_read(current: Checkpoint, reference: Checkpoint | None) -> int:
    """Bytes that a pass over both will read, for a progress bar."""
    pairs = [match.pair for match in matched(current, reference=reference)]
    return sum(pair.bytes_to_read for pair in pairs if pair is not None)


def matched(current: Checkpoint, *, reference: Checkpoint | None) -> list[Match]:
    """Every tensor of either side, in the order of names. Raises `CheckpointError` if no name is on both."""
    if reference is None:
        found = [Match(name=name, state=_alone(slot), current=slot) for name, slot in current.tensors.items()]
    elif current.adapter is not None and reference.adapter is None:
        found = list(_adapted(current, reference))
    elif reference.adapter is not None:
        raise CheckpointError(
            "the reference is an adapter",
            where=str(reference.path),
            advice="Name its base model as the reference; the adapter's drift is against that",
        )
    else:
        names = sorted({*current.tensors, *reference.tensors})
        found = [_of_both(name, current.tensors.get(name), reference.tensors.get(name)) for name in names]
    if not any(match.state in ("compared", "alone", "adapted") for match in found):
        other = "" if reference is None else f" and {reference.path}"
        raise CheckpointError(
            "not one tensor of weights" if reference is None else "not one tensor is on both sides with the same shape",
            where=f"{current.path}{other}",
            advice=CHOOSE_OTHER if reference is not None else "Name a checkpoint with floating-point weights",
        )
    return found


def _alone(slot: TensorSlot) -> TensorState:
    return "alone" if slot.is_float else "integer"


def _of_both(name: str, current: TensorSlot | None, reference: TensorSlot | None) -> Match:
    """One name on two whole models."""
    if current is None:
        state: TensorState = "missing"
    elif reference is None:
        state = "extra" if current.is_float else "integer"
    elif current.shape != reference.shape or current.is_float != reference.is_float:
        state = "reshaped"
    else:
        state = "compared" if current.is_float else "integer"
    return Match(name=name, state=state, current=current, reference=reference)


def _adapted(current: Checkpoint, reference: Checkpoint) -> Iterator[Match]:
    """An adapter on its base model: factors on the matrices that they change, whole tensors on those they replace."""
    deltas = thin_deltas(current)
    whole = {base_name(name): slot for name, slot in current.tensors.items() if not is_factor(name)}
    for name in sorted({*deltas, *whole, *reference.tensors}):
        base, delta = reference.tensors.get(name), deltas.get(name)
        if delta is not None:
            fitting = _fitting(delta, base)
            state: TensorState = "extra" if base is None else "reshaped" if fitting is None else "adapted"
            yield Match(name=name, state=state, reference=base, delta=fitting or delta)
        elif name in whole:
            yield _of_both(name, whole[name], base)
        else:
            assert base is not None
            yield Match(name=name, state="compared" if base.is_float else "integer", current=base, reference=base)


def _fitting(delta: ThinDelta, base: TensorSlot | None) -> ThinDelta | None:
    """The delta as the base stores the matrix, transposed where it does; None where it does not fit."""
    if base is None or not base.is_float or len(base.shape) < 2:
        return None
    shape = (base.shape[0], row_width(base.shape))
    for one in (delta, delta.transposed):
        if (one.left.shape[0], one.right.shape[1]) == shape:
            return one
    return None


class _Told:
    """The bytes read so far, told on to who draws the bar."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.bytes = 0

    def __call__(self, count: int) -> None:
        self.bytes += count
        if self._progress is not None:
            self._progress(count)


def _known(earlier: Pass | None, *, reference: Checkpoint | None) -> dict[str, TensorPass]:
    """The tensors that were the reference's in an earlier pass against the very same files."""
    if earlier is None or reference is None or earlier.summary.reference_stamp != reference.stamp:
        return {}
    return {row.tensor: row for row in earlier.rows if row.state == "compared" and row.changed == 0 and row.fingerprint}


def _may_be_known(match: Match, known: dict[str, TensorPass]) -> bool:
    row, current = known.get(match.name), match.current
    if row is None or current is None or match.state != "compared":
        return False
    return (row.dtype, row.shape) == (current.dtype, list(current.shape))


def _is_known(match: Match, sums: TensorSums | None, known: dict[str, TensorPass]) -> bool:
    if sums is None or not _may_be_known(match, known):
        return False
    return sums.fingerprint == known[match.name].fingerprint


def _summed(
    matches: Sequence[Match], *, known: dict[str, TensorPass], threads: int | None, told: _Told
) -> dict[str, TensorSums]:
    """The sums of everything there is to read; what may be known is read on one side first."""
    pairs = {match.name: match.pair for match in matches}
    first = {
        match.name: Pair(current=pair.current) if _may_be_known(match, known) else pair
        for match in matches
        if (pair := pairs[match.name]) is not None
    }
    found = dict(zip(first, fused_pass(list(first.values()), threads=threads, progress=told), strict=True))
    again = {
        match.name: pair
        for match in matches
        if (pair := pairs[match.name]) is not None
        and _may_be_known(match, known)
        and not _is_known(match, found[match.name], known)
    }
    if again:
        found.update(zip(again, fused_pass(list(again.values()), threads=threads, progress=told), strict=True))
    return found


def _row(
    match: Match,
    sums: TensorSums | None,
    *,
    current: Checkpoint,
    reference: Checkpoint | None,
    now: float,
) -> TensorPass:
    """The record of one tensor."""
    here, there = match.current, match.reference
    shown = here or there
    shape = (match.delta.left.shape[0], match.delta.right.shape[1]) if shown is None and match.delta else None
    row = TensorPass(
        checkpoint=current.name,
        reference=None if reference is None else reference.name,
        step=current.step,
        time=now,
        tensor=match.name,
        state=match.state,
        dtype=None if here is None else here.dtype,
        shape=None if here is None else list(here.shape),
        reference_dtype=None if there is None else there.dtype,
        reference_shape=None if there is None else list(there.shape),
        elements=shown.elements if shown is not None else shape[0] * shape[1] if shape else 0,
        rows=shown.shape[0] if shown is not None and len(shown.shape) > 1 else None,
    )
    if sums is None:
        return row
    if match.state == "adapted":
        return _with_delta(row, sums, match)
    row = _with_current(row, sums)
    if match.state != "compared":
        return row
    return _with_reference(row, sums)


def _with_current(row: TensorPass, sums: TensorSums) -> TensorPass:
    return msgspec.structs.replace(
        row,
        current_squares=sums.current_squares,
        current_max=sums.current_max,
        current_min=sums.current_min,
        current_nan=sums.current_nan,
        current_infinite=sums.current_infinite,
        current_zeros=sums.current_zeros,
        current_zero_rows=sums.current_zero_rows,
        fingerprint=sums.fingerprint,
    )


def _with_reference(row: TensorPass, sums: TensorSums) -> TensorPass:
    return msgspec.structs.replace(
        row,
        delta_squares=sums.delta_squares,
        reference_squares=sums.reference_squares,
        reference_max=sums.reference_max,
        reference_nan=sums.reference_nan,
        reference_infinite=sums.reference_infinite,
        reference_zeros=sums.reference_zeros,
        reference_zero_rows=sums.reference_zero_rows,
        changed=sums.changed,
    )


def _with_delta(row: TensorPass, sums: TensorSums, match: Match) -> TensorPass:
    """The row of a matrix that an adapter changes: |W + D|^2 = |W|^2 + |D|^2 + 2 <W, D>.

    What would need the sum itself (its extremes, zeros and changed elements) stays unknown.
    """
    assert match.delta is not None
    assert match.reference is not None
    delta = match.delta.squares
    both = sums.current_squares + delta + 2.0 * match.delta.dot(match.reference)
    return msgspec.structs.replace(
        row,
        delta_squares=delta,
        reference_squares=sums.current_squares,
        current_squares=both if both != both else max(0.0, both),
        reference_max=sums.current_max,
        reference_nan=sums.current_nan,
        reference_infinite=sums.current_infinite,
        reference_zeros=sums.current_zeros,
        reference_zero_rows=sums.current_zero_rows,
    )

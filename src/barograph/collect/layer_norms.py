"""The norms of one collection, on their way from the devices where they were summed."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from barograph.analysis.layer_activity import LayerKind, LayerName, LayerValues
from barograph.collect.device_values import DeviceValue, DeviceVector
from barograph.records import Record, Step

if TYPE_CHECKING:
    import torch


class HostNorms(Struct, frozen=True):
    """Norms in host memory, one per tensor, that nobody has read yet."""

    norms: "list[torch.Tensor]"
    """Each of one element."""
    places: list[int]
    """Column of each."""
    behind: int = 0
    """How far behind the columns begin."""
    times: list[float] | None = None
    """What each square is multiplied with; None for 1."""
    divisor: DeviceValue | None = None
    """What each norm is divided by; None for 1."""


class HostSquares:
    """Sums of squares that are made when they are read."""

    def __init__(self, length: int, parts: Sequence[HostNorms]) -> None:
        """`length`: sums that `read` returns."""
        self._length = length
        self._parts = parts

    def read(self) -> list[float]:
        """The sums of the squared norms, by column."""
        sums = [0.0] * self._length
        for part in self._parts:
            divisor = 1.0 if part.divisor is None else part.divisor.read()
            times = part.times or [1.0] * len(part.norms)
            for norm, place, factor in zip(part.norms, part.places, times, strict=True):
                found = norm.item() / divisor if divisor else math.nan
                sums[part.behind + place] += factor * found * found
        return sums


Vector = DeviceVector | HostSquares
"""Numbers that are read later."""


class LayerNorms:
    """Sums of squares of gradients, weights and updates, by column; one vector per device."""

    def __init__(
        self,
        names: tuple[LayerName, ...],
        kind: LayerKind,
        *,
        gradients: Sequence[Vector],
        changes: Sequence[Vector],
        without: frozenset[int],
        scaled: bool = False,
        skipped: Sequence[DeviceValue] = (),
        unused: frozenset[int] = frozenset(),
        unread: frozenset[int] = frozenset(),
        whole: bool = True,
        model: str = "",
        frozen: int | None = None,
    ) -> None:
        """`gradients`: each `[column]`. `changes`: each `[2 * column]`, weights first, then updates; empty if they were
        not taken. `without`: columns in which no gradient was there. `scaled`: whether a loss scaler is at work.
        `skipped`: any of them other than 0 where it made an optimizer leave the step out. `unused`: columns without a
        parameter here, which are left out. `unread`: those in which a gradient is that cannot be read. `whole`:
        whether every parameter that is trained is in a column. `model`: its name, if others are watched beside it.
        `frozen`: modules of which nothing is trained, None if nobody counted them."""
        self._names = names
        self._kind = kind
        self._gradients = gradients
        self._changes = changes
        self._without = without
        self._scaled = scaled
        self._skipped = skipped
        self._unused = unused
        self._unread = unread
        self._whole = whole and not unread
        self._frozen = frozen
        self.model = model
        """Name of the model; empty for the one that the run is about."""

    @property
    def size(self) -> int:
        """Numbers that wait to be read."""
        return 3 * len(self._names)

    def read(self) -> LayerValues:
        """The norms. Raises `NotYet` while a device has not delivered its part."""
        columns = len(self._names)
        names, there = (self._names, range(columns)) if not self._unused else _there(self._names, self._unused)
        squares = _total(self._gradients, columns)
        missing = self._without | self._unread
        gradient = [None if at in missing else math.sqrt(squares[at]) for at in there]
        if not self._changes:
            return LayerValues(names=names, kind=self._kind, gradient=gradient, frozen=self._frozen)
        changes = _total(self._changes, 2 * columns)
        weight = [math.sqrt(changes[at]) for at in there]
        update = [math.sqrt(changes[columns + at]) for at in there]
        return LayerValues(
            names=names, kind=self._kind, gradient=gradient, weight=weight, update=update, frozen=self._frozen
        )

    def overflowed(self, values: LayerValues) -> bool:
        """Whether `values`, as they were read, are of a step that a loss scaler left out: their gradients have
        overflowed, as happens in every training of half precision, and nothing was updated. Raises `NotYet`."""
        if any(one.read() != 0.0 for one in self._skipped):
            return True
        return self._scaled and any(one is not None and not math.isfinite(one) for one in values.gradient)

    def total(self, values: LayerValues) -> float | None:
        """The norm of all gradients of the run's model together; None where some are in no column, or there are none,
        and of a model beside it."""
        return None if self.model else self.whole(values)

    def whole(self, values: LayerValues) -> float | None:
        """The same of whichever model it is."""
        found = [float(one) for one in values.gradient if one is not None]
        return math.sqrt(sum(one * one for one in found)) if self._whole and found else None

    def beside(self, others: "Sequence[LayerNorms]", *, whole: bool, model: str = "") -> "LayerNorms":
        """These and `others`, of other parameters of the same columns, as one, of `model`."""
        all_of_them = [self, *others]
        return LayerNorms(
            self._names,
            self._kind,
            gradients=[vector for one in all_of_them for vector in one._gradients],
            changes=[vector for one in all_of_them for vector in one._changes],
            without=frozenset.intersection(*(one._without for one in all_of_them)),
            scaled=any(one._scaled for one in all_of_them),
            skipped=[value for one in all_of_them for value in one._skipped],
            unused=frozenset.intersection(*(one._unused for one in all_of_them)),
            unread=frozenset.union(*(one._unread for one in all_of_them)),
            whole=whole,
            model=model,
        )


def together(parts: Sequence[LayerNorms], *, whole: bool, model: str = "") -> LayerNorms:
    """The norms of parts of a model, each with the same columns, as one; at least one. `whole`: whether every parameter
    that is trained is in one of them. `model`: its name, if it is one beside others."""
    return parts[0].beside(parts[1:], whole=whole, model=model)


def with_own_total(
    make: Callable[[int, float, LayerNorms], list[Record]], step: int, at: float, norms: LayerNorms
) -> list[Record]:
    """The lines that `make` makes of the norms of a model beside others, and in their row the norm of all its gradients
    as `train/<model>/gradient_norm`. Raises `NotYet`."""
    records = make(step, at, norms)
    total = norms.whole(norms.read())
    if total is None:
        return records
    own = {f"train/{norms.model}/gradient_norm": total}
    return [
        msgspec.structs.replace(one, metrics={**one.metrics, **own}) if isinstance(one, Step) else one
        for one in records
    ]


@functools.lru_cache(maxsize=32)
def _there(names: tuple[LayerName, ...], unused: frozenset[int]) -> tuple[tuple[LayerName, ...], tuple[int, ...]]:
    """The columns that are not among `unused`, the same tuple at every call, and their places."""
    there = tuple(at for at in range(len(names)) if at not in unused)
    return tuple(names[at] for at in there), there


def _total(vectors: Sequence[Vector], length: int) -> list[float]:
    """The sum of the vectors, element by element; a sum of squares is never below 0."""
    read = [vector.read() for vector in vectors]
    if len(read) == 1:
        return read[0]
    return [sum((vector[at] for vector in read), start=0.0) for at in range(length)]

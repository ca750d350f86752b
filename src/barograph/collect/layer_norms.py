"""The norms of one collection, on their way from the devices where they were summed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from barograph.analysis.layer_activity import LayerKind, LayerName, LayerValues
from barograph.collect.device_values import DeviceValue, DeviceVector

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
    ) -> None:
        """`gradients`: each `[column]`. `changes`: each `[2 * column]`, weights first, then updates; empty if they were
        not taken. `without`: columns in which no gradient was there."""
        self._names = names
        self._kind = kind
        self._gradients = gradients
        self._changes = changes
        self._without = without

    def read(self) -> LayerValues:
        """The norms. Raises `NotYet` while a device has not delivered its part."""
        columns = len(self._names)
        squares = _total(self._gradients, columns)
        gradient = [None if at in self._without else math.sqrt(one) for at, one in enumerate(squares)]
        if not self._changes:
            return LayerValues(names=self._names, kind=self._kind, gradient=gradient)
        changes = [math.sqrt(one) for one in _total(self._changes, 2 * columns)]
        weight, update = changes[:columns], changes[columns:]
        return LayerValues(names=self._names, kind=self._kind, gradient=gradient, weight=weight, update=update)


def _total(vectors: Sequence[Vector], length: int) -> list[float]:
    """The sum of the vectors, element by element; a sum of squares is never below 0."""
    read = [vector.read() for vector in vectors]
    if len(read) == 1:
        return read[0]
    return [sum((vector[at] for vector in read), start=0.0) for at in range(length)]

"""Norms of gradients, weights and updates by layer, taken without making the training step wait.

One `torch._foreach_norm` per quantity, device and type of number. On a GPU the squares are summed by column there, in
float64, and only those sums are copied away, without blocking; on a processor the writer's thread sums them. Half types
are summed up in float32, and tensors of more than a million elements on a processor in float64: a float32 sum over 150M
elements is 1.9 % low.

The update is what one optimizer step changed, |W_after - W_before|: exact for tensors of at most 65,536 elements; of a
larger one about so many are compared, at even distances, and the square is scaled up to the whole.
"""

import math
import time

import msgspec
import torch
from msgspec import Struct

from barograph.collect.device_clock import DeviceClock
from barograph.collect.device_values import DeviceValue, device_value, device_vector
from barograph.collect.layer_columns import Columns
from barograph.collect.layer_norms import HostNorms, HostSquares, LayerNorms, Vector

WHOLE = 65_536
"""Elements up to which the update of a tensor is exact."""

MANY = 1_000_000
"""Elements from which on a float32 sum on a processor is not exact enough."""

_HALF = (torch.float16, torch.bfloat16)


class LayerGradients:
    """Owns copies of weights that updates are measured by; one collection is `take`, `before_step`, `after_step`."""

    def __init__(self, found: Columns) -> None:
        self._found = found
        self._unused = frozenset(range(len(found.names))) - frozenset(found.column)
        self._scaled = False
        self._skipped: tuple[DeviceValue, ...] = ()
        self._batches = _batches(found)
        self._gradients: _Squares | None = None
        self._weights: _Squares | None = None
        self._without: frozenset[int] = frozenset()
        self._unread: frozenset[int] = frozenset()
        self._clock = DeviceClock(next((one.device for one in found.parameters if one.device.type == "cuda"), None))
        self.seconds = 0.0
        """What the collection that is under way took in this thread so far."""

    @property
    def taken(self) -> bool:
        """Whether the gradients of this step were taken."""
        return self._gradients is not None

    @property
    def unread(self) -> bool:
        """Whether the newest collection met a gradient that cannot be read without waiting for its device."""
        return bool(self._unread)

    @property
    def on_device_s(self) -> float:
        """What the newest collection took on its device, as far as that is known yet."""
        return self._clock.newest_s

    @torch.no_grad()
    def take(
        self, scale: torch.Tensor | None = None, *, scaled: bool = False, skipped: torch.Tensor | None = None
    ) -> None:
        """The gradients as they are now; divided by `scale`, which a loss scaler has multiplied them with. `scaled`:
        whether there is such a scaler. `skipped`: other than 0 where it has the optimizer leave the step out; it is
        copied now, and not waited for."""
        began = time.perf_counter()
        self._clock.begin(anew=True)
        with_gradient: set[int] = set()
        unread: set[int] = set()
        squares = _Squares(len(self._found.names))
        for batch in self._batches:
            found = [one.grad for one in batch.parameters]
            there = [one for one in found if one is not None]
            if len(there) == len(found):
                with_gradient |= batch.all_places
            else:
                with_gradient |= {at for at, one in zip(batch.places, found, strict=True) if one is not None}
                there = [batch.nothing if one is None else one for one in found]
            norms, beyond = _gradient_norms(there, batch)
            unread |= beyond
            squares.add(norms, batch)
        if scale is not None:
            squares.divide(scale)
        self._scaled = scaled or scale is not None
        self._skipped = () if skipped is None else (device_value(skipped),)
        self._gradients = squares
        self._without = frozenset(range(len(self._found.names))) - with_gradient
        self._unread = frozenset(unread)
        self._clock.end()
        self.seconds = time.perf_counter() - began

    @torch.no_grad()
    def before_step(self) -> None:
        """Remember the weights as they are."""
        began = time.perf_counter()
        self._clock.begin()
        squares = _Squares(2 * len(self._found.names))
        for batch in self._batches:
            squares.add(_norms(batch.parameters, batch), batch)
            torch._foreach_copy_(batch.buffers(), batch.compared())
        self._weights = squares
        self._clock.end()
        self.seconds += time.perf_counter() - began

    @torch.no_grad()
    def after_step(self) -> LayerNorms:
        """The norms of the collection, which is complete with that."""
        began = time.perf_counter()
        self._clock.begin()
        changes = self._weights
        for batch in self._batches if changes is not None else ():
            before = batch.buffers()
            torch._foreach_sub_(before, batch.compared())
            assert changes is not None
            changes.add(_norms(before, batch), batch, behind=len(self._found.names), times=batch.factors)
        norms = LayerNorms(
            self._found.names,
            self._found.kind,
            gradients=[] if self._gradients is None else self._gradients.vectors(),
            changes=[] if changes is None else changes.vectors(),
            without=self._without,
            scaled=self._scaled,
            skipped=self._skipped,
            unused=self._unused,
            unread=self._unread,
            frozen=self._found.frozen,
        )
        self.forget()
        self._clock.end()
        self.seconds += time.perf_counter() - began
        return norms

    def forget(self) -> None:
        """Drop a collection that cannot be completed."""
        self._gradients = self._weights = None
        self._skipped = ()


class _Squares:
    """Sums of squared norms by column: on a device summed there, on the host left to whoever reads them."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._on_devices: dict[torch.device, torch.Tensor] = {}
        self._on_host: list[HostNorms] = []

    def add(
        self, norms: list[torch.Tensor], batch: "_Batch", *, behind: int = 0, times: list[float] | None = None
    ) -> None:
        """Add the squares of `norms`, each `times` its factor, to the columns of their tensors, `behind` so many."""
        if batch.on_host:
            self._on_host.append(HostNorms(norms, batch.places, behind=behind, times=times))
            return
        device = batch.columns.device
        if device not in self._on_devices:
            self._on_devices[device] = torch.zeros(self._length, dtype=batch.total_type, device=device)
        squares = torch.stack(norms).to(batch.total_type).square_()
        if times is not None:
            squares *= batch.factors_there()
        self._on_devices[device][behind:].index_add_(0, batch.columns, squares)

    def divide(self, scale: torch.Tensor) -> None:
        """Divide the norms by `scale`."""
        for device, total in self._on_devices.items():
            total /= scale.to(device=device, dtype=total.dtype, non_blocking=True).square()
        if self._on_host:
            divisor = device_value(scale)
            self._on_host = [msgspec.structs.replace(one, divisor=divisor) for one in self._on_host]

    def vectors(self) -> list[Vector]:
        """What is read later; their sum is the result."""
        found: list[Vector] = [device_vector(one) for one in self._on_devices.values()]
        if self._on_host:
            found.append(HostSquares(self._length, self._on_host))
        return found


class _Batch:
    """Parameters of one device and type, whose norms are taken together."""

    def __init__(self, parameters: list[torch.Tensor], places: list[int]) -> None:
        first = parameters[0]
        self.parameters = parameters
        self.places = places
        self.all_places = frozenset(places)
        self.on_host = first.device.type == "cpu"
        self.total_type = torch.float32 if first.device.type == "mps" else torch.float64
        self.norm_type = _norm_type(first)
        self.sparse = False
        """Whether a gradient was met that is not dense."""
        self.columns = torch.tensor(places, dtype=torch.int64, device=first.device)
        self.nothing = torch.zeros((), dtype=first.dtype, device=first.device)
        samples = [_sample(one) for one in parameters]
        self.factors = [one.numel() / max(1, part.size) for one, part in zip(parameters, samples, strict=True)]
        self._factors_there: torch.Tensor | None = None
        self._samples = samples
        self._views: list[torch.Tensor] = []
        self._addresses: list[int] = []
        self._buffers: list[torch.Tensor] = []

    def compared(self) -> list[torch.Tensor]:
        """What of each parameter is compared before and after a step: itself, or a view of some of its elements."""
        addresses = [one.data_ptr() for one in self.parameters]
        if addresses != self._addresses:  # a framework may put other memory behind a parameter
            self._addresses = addresses
            self._views = [
                one.detach() if sample.stride == 1 else one.detach().reshape(-1)[:: sample.stride]
                for one, sample in zip(self.parameters, self._samples, strict=True)
            ]
        return self._views

    def factors_there(self) -> torch.Tensor:
        """The factors on the batch's device."""
        if self._factors_there is None:
            self._factors_there = torch.tensor(self.factors, dtype=self.total_type, device=self.columns.device)
        return self._factors_there

    def buffers(self) -> list[torch.Tensor]:
        """Memory for a copy of them, allocated at first use."""
        if not self._buffers:
            self._buffers = [torch.empty_like(one, memory_format=torch.contiguous_format) for one in self.compared()]
        return self._buffers


class _Sample(Struct, frozen=True):
    """Every how many-th element of a tensor is compared, and how many those are."""

    stride: int
    size: int


def _sample(parameter: torch.Tensor) -> _Sample:
    """A stride that shares no factor with the width of the rows: else it would meet only some of the columns."""
    count = parameter.numel()
    if count <= WHOLE or not parameter.is_contiguous():
        return _Sample(1, count)
    stride, width = math.ceil(count / WHOLE), parameter.shape[-1]
    while math.gcd(stride, width) > 1:
        stride += 1
    return _Sample(stride, math.ceil(count / stride))


def _batches(found: Columns) -> list[_Batch]:
    grouped: dict[tuple[torch.device, torch.dtype, torch.dtype | None], tuple[list[torch.Tensor], list[int]]] = {}
    for parameter, column in zip(found.parameters, found.column, strict=True):
        key = (parameter.device, parameter.dtype, _norm_type(parameter))
        parameters, places = grouped.setdefault(key, ([], []))
        parameters.append(parameter)
        places.append(column)
    return [_Batch(parameters, places) for parameters, places in grouped.values()]


def _norm_type(parameter: torch.Tensor) -> torch.dtype | None:
    """The type that a norm is summed in; None for the parameter's own."""
    if parameter.device.type == "cpu" and parameter.numel() > MANY:
        return torch.float64
    return torch.float32 if parameter.dtype in _HALF else None


def _norms(tensors: list[torch.Tensor], batch: _Batch) -> list[torch.Tensor]:
    """The norm of each, as tensors of one element that nobody else has."""
    if batch.norm_type is None:
        return list(torch._foreach_norm(tensors))
    return list(torch._foreach_norm(tensors, 2, dtype=batch.norm_type))


def _gradient_norms(gradients: list[torch.Tensor], batch: _Batch) -> tuple[list[torch.Tensor], set[int]]:
    """The norm of each, and the columns of those that cannot be read; such as those of an embedding may be sparse."""
    if not batch.sparse:
        try:
            return _norms(gradients, batch), set()
        except RuntimeError:  # no kernel for it
            if all(one.layout is torch.strided for one in gradients):
                raise
            batch.sparse = True
    values = [_values(one) for one in gradients]
    unread = {place for place, one in zip(batch.places, values, strict=True) if one is None}
    return _norms([batch.nothing if one is None else one for one in values], batch), unread


def _values(gradient: torch.Tensor) -> torch.Tensor | None:
    """The entries of a gradient, each once; None where they are not added up yet, for which a device would be waited
    for."""
    if gradient.layout is torch.strided:
        return gradient
    if gradient.layout is not torch.sparse_coo:
        return None
    if gradient.is_coalesced():
        return gradient.values()
    return gradient.coalesce().values() if gradient.device.type == "cpu" else None

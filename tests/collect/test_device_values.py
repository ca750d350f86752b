"""A tensor's value is copied when it is given and read later, without making anyone wait."""

import math
import sys
import threading
import time
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.collect.device_values import (
    ABSENT,
    CudaValue,
    CudaVector,
    HostValue,
    complete,
    delivered,
    device_value,
    device_vector,
    is_tensor,
)
from barograph.journal import NotYet

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def arrived(read: Callable[[], float]) -> float:
    deadline = time.monotonic() + 10.0
    while True:
        try:
            return read()
        except NotYet:
            assert time.monotonic() < deadline
            time.sleep(0.001)


@settings(deadline=None)
@given(st.floats(width=32))
def test_a_value_reads_as_it_was_when_it_was_given(number: float) -> None:
    tensor = torch.tensor(number)
    value = device_value(tensor)
    tensor.fill_(-1.0)
    for _ in range(2):
        assert value.read() == number or (math.isnan(number) and math.isnan(value.read()))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_one_element_of_any_type_and_shape_is_a_float(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    read = device_value(torch.ones(shape, dtype=dtype)).read()
    assert type(read) is float
    assert read == 1.0


def test_no_graph_is_kept_alive() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    loss = (weight * 2).sum()
    value = device_value(loss)
    assert isinstance(value, HostValue)
    assert not value._tensor.requires_grad
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    assert value.read() == 6.0


def test_a_value_given_in_inference_mode_is_read_outside_of_it() -> None:
    with torch.inference_mode():
        value = device_value(torch.tensor(2.5))
    assert value.read() == 2.5


def test_a_distributed_tensor_gives_its_local_part() -> None:
    class Distributed(torch.Tensor):
        def to_local(self) -> torch.Tensor:
            return torch.tensor(7.0)

    assert device_value(torch.zeros(()).as_subclass(Distributed)).read() == 7.0


@given(st.floats(), st.integers(1, 2**52), st.permutations([0, 2]), st.floats(), st.data())
def test_a_value_counts_as_delivered_exactly_when_both_ends_of_its_memory_are_written(
    value: float, ticket: int, ends: list[int], before: float, data: st.DataObject
) -> None:
    """The device may write the memory from either end: the middle is never the last."""
    host = torch.tensor([ticket - 1.0, before, ticket - 1.0], dtype=torch.float64)
    written = {0: float(ticket), 1: value, 2: float(ticket)}
    order = [ends[0], 1, ends[1]]
    for place in order[: data.draw(st.integers(0, 2))]:
        host[place] = written[place]
        assert delivered(host, float(ticket)) is None
    for place in order:
        host[place] = written[place]
    assert repr(delivered(host, float(ticket))) == repr(value)
    assert delivered(host, ticket + 1.0) is None, "the next value of the slot is not there yet"


def test_memory_that_was_never_written_holds_no_value() -> None:
    assert delivered(torch.zeros(3, dtype=torch.float64), 1.0) is None


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_several_values_read_as_they_were_when_they_were_given(numbers: list[float]) -> None:
    tensor = torch.tensor(numbers)
    vector = device_vector(tensor)
    tensor.fill_(-1.0)
    for _ in range(2):
        assert [repr(one) for one in vector.read()] == [repr(one) for one in numbers]


@given(st.lists(st.floats(), min_size=1, max_size=8), st.data())
def test_several_values_are_complete_when_the_last_has_arrived_in_whatever_order(
    values: list[float], data: st.DataObject
) -> None:
    host = torch.zeros(len(values), dtype=torch.float64)
    host.view(torch.int64).fill_(ABSENT)
    for place in data.draw(st.permutations(range(len(values)))):
        assert not complete(host)
        host[place] = values[place]
    assert complete(host)
    assert [repr(one) for one in host.tolist()] == [repr(one) for one in values]


def test_only_tensors_are_tensors() -> None:
    assert is_tensor(torch.nn.Parameter(torch.zeros(1)))
    assert not is_tensor(1.0)
    assert not is_tensor(torch.Tensor)


def test_nothing_is_a_tensor_where_torch_was_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.zeros(1)
    monkeypatch.delitem(sys.modules, "torch")
    assert not is_tensor(tensor)


@NEEDS_CUDA
def test_cuda_values_arrive_together_and_their_memory_is_used_again() -> None:
    tensor = torch.arange(1200.0, device="cuda")
    for number in range(300):
        vector = device_vector(tensor + number)
        assert isinstance(vector, CudaVector)
        deadline = time.monotonic() + 10.0
        while True:
            try:
                found = vector.read()
            except NotYet:
                assert time.monotonic() < deadline
                continue
            break
        assert found == [number + float(one) for one in range(1200)]


@NEEDS_CUDA
def test_a_cuda_value_arrives_and_its_slot_is_used_again() -> None:
    tensor = torch.tensor(1.5, device="cuda")
    for _ in range(1000):
        value = device_value(tensor)
        assert isinstance(value, CudaValue)
        assert arrived(value.read) == 1.5
        assert value.read() == 1.5


@NEEDS_CUDA
def test_a_cuda_value_is_not_there_before_the_device_is_done() -> None:
    torch.cuda._sleep(200_000_000)  # type: ignore[no-untyped-call]  # torch's
    tensor = torch.ones((), device="cuda")
    value = device_value(tensor)
    tensor.fill_(9.0)
    with pytest.raises(NotYet):
        value.read()
    assert arrived(value.read) == 1.0


@NEEDS_CUDA
def test_slots_made_in_inference_mode_serve_training() -> None:
    with torch.inference_mode():
        held = [device_value(torch.ones((), device="cuda")) for _ in range(600)]
    assert [arrived(value.read) for value in held] == [1.0] * 600
    assert arrived(device_value(torch.tensor(2.0, device="cuda", requires_grad=True)).read) == 2.0


@NEEDS_CUDA
def test_a_default_device_of_the_users_is_not_where_values_are_pinned() -> None:
    with torch.device("cuda"):
        held = [device_value(torch.ones((), device="cuda")) for _ in range(600)]
    assert [arrived(value.read) for value in held] == [1.0] * 600


@NEEDS_CUDA
def test_reading_disturbs_no_capture_of_a_graph_and_a_captured_tensor_has_no_value() -> None:
    tensor = torch.ones((), device="cuda")
    late = device_value(tensor)
    graph, refused, stop = torch.cuda.CUDAGraph(), [], threading.Event()

    def read_all_the_time() -> None:
        while not stop.is_set():
            arrived(late.read)

    reader = threading.Thread(target=read_all_the_time)
    reader.start()
    with torch.cuda.graph(graph):
        tensor.add_(1.0)
        with pytest.raises(RuntimeError, match="a CUDA graph is being captured"):
            refused.append(device_value(tensor))
    stop.set()
    reader.join()
    graph.replay()
    assert refused == []
    assert arrived(device_value(tensor).read) == 2.0
    assert late.read() == 1.0

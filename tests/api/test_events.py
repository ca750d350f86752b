"""The event stream: nothing is lost that a client has room for, what is lost is counted, and nobody is held up."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.api.changes import News, union
from barograph.api.events import LAG, Events, Listener
from barograph.api.rendering import Overloaded
from barograph.api.server import Dashboard
from barograph.index import Change, ScanResult
from barograph.views.documents import EventChange, EventHello, EventReset

Dashboards = Callable[..., Dashboard]


class Event(msgspec.Struct, frozen=True):
    """One event as a browser would take it apart."""

    id: str
    name: str
    text: str

    @property
    def change(self) -> EventChange:
        """Its document; only of a `change`."""
        assert self.name == "change"
        return msgspec.json.decode(self.text, type=EventChange, strict=True)


def events_in(text: str) -> list[Event]:
    """Independent of the sender: the fields of each block, by the rules of the HTML standard."""
    found = []
    last_id = ""
    for block in text.split("\n\n")[:-1]:
        fields = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        last_id = fields.get("id", last_id)
        if "data" in fields:
            found.append(Event(last_id, fields.get("event", "message"), fields["data"]))
    return found


def scan(run: str, *what: str) -> ScanResult:
    return ScanResult(changed=(Change(run=run, what=what or ("points",)),), gone=())


def in_loop(test: Callable[[Events], Awaitable[None]], **settings: float) -> None:
    """Run `test` with events that are told at once."""

    async def run() -> None:
        events = Events(**settings)  # type: ignore[arg-type]  # the two settings are numbers of their own
        async with events.running():
            await test(events)

    asyncio.run(run())


async def tell(events: Events, *found: ScanResult) -> None:
    """Each as a change of its own."""
    for one in found:
        before = events.ring.newest
        events.note(one)
        async with asyncio.timeout(5):
            while events.ring.newest == before:
                await asyncio.sleep(0.001)


async def waiting(listener: Listener) -> list[Event]:
    """What the listener has now."""
    text = b""
    while True:
        try:
            async with asyncio.timeout(0.01):
                text += await listener.next() or b""
        except TimeoutError:
            return events_in(text.decode())


def test_a_lone_change_is_told_at_once_and_a_burst_together() -> None:
    async def test(events: Events) -> None:
        with events.listen(run=None, last_event_id=None) as listener:
            began = time.monotonic()
            events.note(scan("a"))
            first = events_in((await listener.next() or b"").decode())
            assert time.monotonic() - began < 0.04
            for run in ("a", "b", "a"):
                events.note(scan(run, run))
            second = events_in((await listener.next() or b"").decode())
            assert time.monotonic() - began < 0.5
        assert [one.run for one in first[0].change.runs] == ["a"]
        assert {one.run: one.what for one in second[0].change.runs} == {"a": ["a"], "b": ["b"]}

    in_loop(test)


def test_changes_noted_in_a_thread_reach_every_listener_in_order() -> None:
    async def test(events: Events) -> None:
        with (
            events.listen(run=None, last_event_id=None) as one,
            events.listen(run=None, last_event_id=None) as other,
        ):
            thread = threading.Thread(target=lambda: deque(map(events.note, [scan(f"r{i}") for i in range(50)])))
            thread.start()
            seen: list[list[Event]] = [[], []]
            async with asyncio.timeout(5):
                while any("r49" not in {run.run for event in got for run in event.change.runs} for got in seen):
                    for listener, got in zip((one, other), seen, strict=True):
                        got += await waiting(listener)
            thread.join()
            assert seen[0] == seen[1]
            assert {run.run for event in seen[0] for run in event.change.runs} == {f"r{i}" for i in range(50)}

    in_loop(test)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "read"]), max_size=200), st.sampled_from([None, "a", "b", "c"]))
def test_what_a_client_gets_and_what_it_is_told_it_missed_is_everything(
    script: list[str], run: Literal["a", "b", "c"] | None
) -> None:
    async def test(events: Events) -> None:
        with events.listen(run=run, last_event_id=None) as listener:
            got: list[Event] = []
            for word in script:
                if word == "read":
                    got += await waiting(listener)
                else:
                    events.ring.update(as_news(word))
            listener.wake()
            got += await waiting(listener)
            told = [number for number, word in enumerate((w for w in script if w != "read"), 1) if run in (None, word)]
            numbers = [int(event.id.rpartition("-")[2]) for event in got]
            missed, place = 0, 0
            for event, number in zip(got, numbers, strict=True):
                skipped = [one for one in told if place < one < number]
                assert event.change.dropped == len(skipped), "the count is of what lies before"
                assert all(one.run == run for one in event.change.runs) or run is None
                missed, place = missed + len(skipped), number
            assert missed + len(numbers) == len(told)
            if script.count("read") == 0 and run is None:
                assert len(numbers) == min(len(told), LAG), "the newest are the ones that are kept"

    in_loop(test)


def as_news(run: str) -> News:
    return union([scan(run)], timestamp="now")


def test_a_client_that_connects_again_gets_what_it_missed_without_a_gap() -> None:
    async def test(events: Events) -> None:
        await tell(events, *(scan(f"r{i}") for i in range(3)))
        for _ in range(200):
            events.ring.update(as_news("later"))
        for known in range(events.ring.newest + 1):
            with events.listen(run=None, last_event_id=f"{events.epoch}-{known}") as listener:
                assert listener.reset is None
                assert listener.id == f"{events.epoch}-{known}"
                if known % 50 == 0:
                    got = await waiting(listener)
                    numbers = [int(event.id.rpartition("-")[2]) for event in got]
                    assert numbers == list(range(known + 1, events.ring.newest + 1))
                    assert {event.change.dropped for event in got} <= {0}

    in_loop(test)


@pytest.mark.parametrize(
    "said", ["000000000000-1", "x", "-", "{epoch}-", "{epoch}-5", "{epoch}--1", "{epoch}-１", "é-1"]
)
def test_a_place_that_is_not_kept_is_a_reset(said: str) -> None:
    async def test(events: Events) -> None:
        await tell(events, scan("a"))
        with events.listen(run=None, last_event_id=said.replace("{epoch}", events.epoch)) as listener:
            assert listener.reset is not None
            assert listener.reset.endswith(".")
            assert listener.after == 1

    in_loop(test)


def test_what_fell_off_the_ring_is_a_reset() -> None:
    async def test(events: Events) -> None:
        for _ in range(1025):
            events.ring.update(as_news("a"))
        with events.listen(run=None, last_event_id=f"{events.epoch}-1") as listener:
            assert listener.reset is None
        with events.listen(run=None, last_event_id=f"{events.epoch}-0") as listener:
            assert listener.reset == "More has changed since then than is kept."

    in_loop(test)


def test_silence_is_a_comment_that_moves_the_place_on() -> None:
    async def test(events: Events) -> None:
        with events.listen(run="mine", last_event_id=None) as listener:
            await tell(events, scan("other"))
            text = await listener.next()
            assert text == f":\nid: {events.epoch}-1\n\n".encode()
            assert events_in((text or b"").decode()) == [], "a browser takes it for nothing"

    in_loop(test, comment_s=0.02)


def test_more_listeners_than_there_are_places_are_refused_and_a_place_comes_back() -> None:
    async def test(events: Events) -> None:
        with events.listen(run=None, last_event_id=None):
            with pytest.raises(Overloaded), events.listen(run=None, last_event_id=None):
                pass
            assert events.listeners == 1
        with events.listen(run=None, last_event_id=None):
            assert events.listeners == 1

    in_loop(test, most_listeners=1)


def test_the_end_ends_every_listener_and_takes_no_more() -> None:
    async def test(events: Events) -> None:
        with events.listen(run=None, last_event_id=None) as listener:
            await tell(events, scan("a"))
            threading.Thread(target=events.close).start()
            await asyncio.sleep(0.05)
            assert await listener.next() is None
        with pytest.raises(Overloaded), events.listen(run=None, last_event_id=None):
            pass

    in_loop(test)


def test_before_and_after_its_loop_nothing_is_told_and_nothing_fails() -> None:
    events = Events()
    events.note(scan("a"))

    async def run() -> None:
        async with events.running():
            pass

    asyncio.run(run())
    events.note(scan("a"))
    events.close()
    assert events.ring.newest == 0


class Stream:
    """A client of a real server: a connection, its head, and the events that came so far."""

    def __init__(self, port: int, target: str = "/api/events", *, buffer: int | None = None, **headers: str) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        lines = [
            f"GET {target} HTTP/1.1",
            "Host: localhost",
            *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.answer: http.client.HTTPResponse | None = None
        self.text = ""

    def open(self) -> "Stream":
        """Read the head of the answer."""
        self.answer = http.client.HTTPResponse(self.socket)
        self.answer.begin()
        return self

    def until(self, done: Callable[[list[Event]], bool]) -> list[Event]:
        """Read until `done`."""
        assert self.answer is not None
        while not done(found := events_in(self.text)):
            part = self.answer.read1()
            assert part, f"the stream ended: {self.text}"
            self.text += part.decode()
        return found

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
        if self.answer is not None:
            self.answer.close()


@pytest.fixture
def streams() -> Iterator[Callable[..., Stream]]:
    """Opens streams that are closed with the test."""
    opened: list[Stream] = []

    def make(port: int, target: str = "/api/events", *, buffer: int | None = None, **headers: str) -> Stream:
        opened.append(Stream(port, target, buffer=buffer, **headers))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def names(event: Event) -> set[str]:
    return {run.run for run in event.change.runs} if event.name == "change" else set()


def test_over_http_it_greets_tells_and_goes_on_where_it_was(
    root: Path, dashboard: Dashboards, streams: Callable[..., Stream], write_run: Callable[..., Path]
) -> None:
    port = dashboard(root).port
    stream = streams(port).open()
    assert stream.answer is not None
    assert stream.answer.status == 200
    assert stream.answer.headers["content-type"] == "text/event-stream"
    assert stream.answer.headers["cache-control"] == "no-store"
    assert stream.answer.headers["x-accel-buffering"] == "no"
    assert stream.answer.headers["content-encoding"] is None
    assert "default-src 'none'" in stream.answer.headers["content-security-policy"]
    assert stream.answer.headers["x-content-type-options"] == "nosniff"
    (hello,) = stream.until(lambda found: len(found) == 1)
    said = msgspec.json.decode(hello.text, type=EventHello)
    assert (hello.name, said.id) == ("hello", hello.id)
    assert said.index in ("ready", "rebuilding")

    write_run(root, "gamma")
    found = stream.until(lambda found: any("gamma" in names(event) for event in found))
    told = next(event for event in found if "gamma" in names(event))
    assert any({"points", "banner"} <= set(run.what) for run in told.change.runs)

    again = streams(port, Last_Event_ID=hello.id).open()
    replayed = again.until(lambda found: any("gamma" in names(event) for event in found))
    assert replayed[0].name == "hello"
    assert [event for event in replayed if event.name == "change"] == [
        event for event in found if event.name == "change"
    ]

    elsewhere = streams(port, "/api/events?run=delta", Last_Event_ID="other-7").open()
    first, reset = elsewhere.until(lambda found: len(found) == 2)
    assert (first.name, reset.name) == ("hello", "reset")
    assert msgspec.json.decode(reset.text, type=EventReset).reason == "The server was started anew since then."
    write_run(root, "epsilon")
    write_run(root, "delta")
    third = elsewhere.until(lambda found: len(found) == 3)[2]
    assert names(third) == {"delta"}


def test_the_documents_say_what_the_event_told(
    root: Path,
    dashboard: Dashboards,
    streams: Callable[..., Stream],
    write_run: Callable[..., Path],
    ask: Callable[..., tuple[int, bytes]],
) -> None:
    port = dashboard(root).port
    stream = streams(port).open()
    stream.until(lambda found: len(found) == 1)
    for number in range(3):
        write_run(root, f"new{number}")
        stream.until(lambda found, name=f"new{number}": any(name in names(event) for event in found))  # type: ignore[misc]
        assert ask(port, f"/api/runs/new{number}")[0] == 200, "no client asks too early"


def test_head_of_the_stream_has_an_end(
    root: Path, dashboard: Dashboards, ask: Callable[..., tuple[int, bytes]]
) -> None:
    port = dashboard(root).port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(3):
        connection.request("HEAD", "/api/events")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["content-type"] == "text/event-stream"
    connection.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and b"barograph_event_clients 0.0\n" not in ask(port, "/metrics")[1]:
        time.sleep(0.1)
    assert b"barograph_event_clients 0.0\n" in ask(port, "/metrics")[1], "and leaves no listener behind"


def test_the_rules_of_every_route_hold_for_the_stream(
    root: Path, dashboard: Dashboards, ask: Callable[..., tuple[int, bytes]]
) -> None:
    port = dashboard(root).port
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Last-Event-ID": "x" * 129}, 400),
    ):
        answered, body = ask(port, "/api/events", **headers)
        assert answered == status, headers
        assert json.loads(body)["status"] == status
    assert ask(port, "/api/events?run=../x")[0] == 400


def test_streams_take_no_places_from_requests_and_have_a_limit_of_their_own(
    root: Path, dashboard: Dashboards, streams: Callable[..., Stream], ask: Callable[..., tuple[int, bytes]]
) -> None:
    port = dashboard(root).port
    opened = [streams(port) for _ in range(256)]
    for stream in opened:
        stream.open().until(lambda found: len(found) == 1)
    assert ask(port, "/api/runs")[0] == 200, "128 requests at a time are another matter"
    refused = streams(port).open()
    assert refused.answer is not None
    assert refused.answer.status == 503
    assert refused.answer.headers["retry-after"] == "1"
    refused.answer.read()
    opened[0].close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        one = streams(port).open()
        assert one.answer is not None
        if one.answer.status == 200:
            return
        time.sleep(0.02)
    raise AssertionError("no place comes back")


def test_a_client_that_reads_nothing_is_passed_over_and_told_how_much_it_missed(
    root: Path, dashboard: Dashboards, streams: Callable[..., Stream]
) -> None:
    served = dashboard(root)
    events = served.events
    stalled, reading = streams(served.port, buffer=32768), streams(served.port).open()
    reading.until(lambda found: len(found) == 1)
    widest = ScanResult(changed=tuple(Change(run=f"{i:0100}", what=("points",)) for i in range(200)), gone=())
    for number in range(1, 21):
        events.note(widest)
        told = reading.until(lambda found, number=number: sum("0" * 100 in names(event) for event in found) == number)  # type: ignore[misc]
        assert {event.change.dropped for event in told[1:]} == {0}, "one that reads is not held up"
    for _ in range(200):
        events.ring.update(as_news("later"))
    events.note(scan("last"))
    stalled.open()
    found = stalled.until(lambda found: any("last" in names(event) for event in found))
    numbers = [int(event.id.rpartition("-")[2]) for event in found[1:]]
    assert sum(event.change.dropped for event in found[1:]) == events.ring.newest - numbers[0] + 1 - len(numbers) > 100

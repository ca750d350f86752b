"""What is worth telling is told once, whatever the other side does; nobody waits for it, and no secret gets out."""

import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from barograph.journal.webhook import HANGING, QUEUE, Patience, Webhook
from barograph.journal.webhook_target import MIN_LEVEL, URL
from barograph.records import Alert, Notification
from barograph.records.alerts import AlertStateWord
from barograph.records.quantities import AlertLevel

SECRET = "T0pS3cr3t"
QUICK = Patience(answer_s=0.2, try_s=0.5, pauses_s=(0.01, 0.02, 0.03))

Answer = int | str
"""A status, or `hang`, `drip`, `rubbish`, `redirect`, `wait`."""


class Receiver(ThreadingHTTPServer):
    """A real server on loopback that answers as it was told, one answer a request, the last one for ever."""

    daemon_threads = True

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.answers = answers
        self.bodies: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.released = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def end(self) -> None:
        self.released.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Conversation(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Receiver)
        server.paths.append(self.path)
        server.headers.append(dict(self.headers.items()))
        server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        with suppress(OSError):
            self._answer(answer, server)

    def _answer(self, answer: Answer, server: Receiver) -> None:
        if answer == "hang":
            server.released.wait(20.0)
        elif answer == "drip":
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if server.released.wait(0.05):
                    return
        elif answer == "rubbish":
            self.wfile.write(f"{SECRET} what?\r\n\r\n".encode())
        elif answer == "redirect":
            self.send_response(307, SECRET)
            self.send_header("Location", f"{server.origin}/elsewhere")
            self.end_headers()
        elif isinstance(answer, int):
            said = b"no_service" if answer == 404 else f"no such hook: {self.path}".encode()
            self.send_response(answer, SECRET)
            if answer == 429:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    def log_message(self, *_said: object) -> None:
        """Prints nothing."""


MakeReceiver = Callable[..., Receiver]
MakeWebhook = Callable[..., tuple[Webhook, list[Notification]]]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeReceiver]:
    """Makes servers, and ends them."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made: list[Receiver] = []

    def make(*answers: Answer) -> Receiver:
        made.append(Receiver(list(answers) or [200]))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def webhook(receiver: MakeReceiver) -> Iterator[MakeWebhook]:
    """Makes webhooks to an address, with the list of what they tell, and closes them."""
    made: list[Webhook] = []

    def make(url: str, patience: Patience = QUICK, **environ: str) -> tuple[Webhook, list[Notification]]:
        told: list[Notification] = []
        found = Webhook.from_environment({URL: url, **environ}, on_result=told.append, patience=patience)
        assert found is not None
        made.append(found)
        return found, told

    yield make
    for one in made:
        one.close(0.0)


def alert(
    state: AlertStateWord = "firing", *, name: str = "a1", level: AlertLevel = "warning", title: str = "Loss spike"
) -> Alert:
    return Alert(time=1_800_000_000.0, title=title, level=level, state=state, id=name, step=7)


def awaited(enough: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not enough():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def states(server: Receiver) -> list[tuple[object, object]]:
    return [(body["alert"], body["state"]) for body in server.bodies]


def test_an_alert_is_told_when_it_fires_and_when_it_is_over(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver()
    sender, told = webhook(f"{server.origin}/hook")
    for state in ("pending", "firing", "firing", "recovering", "firing", "recovering", "resolved", "resolved"):
        sender.send(alert(state), "sft")
    assert sender.close(10.0)
    assert states(server) == [("a1", "firing"), ("a1", "resolved")]
    assert server.bodies[0]["run"] == "sft"
    assert server.headers[0]["Content-Type"].startswith("application/json")
    assert [(one.alert, one.delivered, one.detail, one.tries) for one in told] == [("a1", True, "200 OK", 1)] * 2
    assert {one.channel for one in told} == {server.origin}


def test_an_alert_that_comes_back_under_its_id_is_not_told_again(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver()
    sender, _ = webhook(server.origin)
    for state in ("firing", "resolved", "firing", "resolved"):
        sender.send(alert(state), "sft")
    sender.send(alert("firing", name="a2"), "sft")
    assert sender.close(10.0)
    assert states(server) == [("a1", "firing"), ("a1", "resolved"), ("a2", "firing")]


def test_nothing_below_the_least_level_is_told_and_what_was_not_told_is_not_over(
    receiver: MakeReceiver, webhook: MakeWebhook
) -> None:
    server = receiver()
    sender, told = webhook(server.origin, **{MIN_LEVEL: "critical"})
    sender.send(alert(level="warning"), "sft")
    sender.send(alert("resolved", level="warning"), "sft")
    sender.send(alert("resolved", name="of-another-process", level="critical"), "sft")
    sender.send(alert(name="a2", level="critical"), "sft")
    assert sender.close(10.0)
    assert states(server) == [("a2", "firing")]
    assert len(told) == 1


def test_an_alert_of_the_users_has_no_id_and_each_is_told(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver()
    sender, _ = webhook(server.origin)
    for _ in range(3):
        sender.send(alert(name=""), "sft")
    assert sender.close(10.0)
    assert len(server.bodies) == 3


def test_one_that_answers_500_is_tried_again(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver(500, 503, 200)
    sender, told = webhook(server.origin)
    sender.send(alert(), "sft")
    awaited(lambda: bool(told))
    assert [(one.delivered, one.tries) for one in told] == [(True, 3)]
    assert len(server.bodies) == 3


def test_one_that_is_asked_too_often_is_left_the_time_that_it_asks_for(
    receiver: MakeReceiver, webhook: MakeWebhook
) -> None:
    server = receiver(429, 200)
    sender, told = webhook(server.origin)
    began = time.monotonic()
    sender.send(alert(), "sft")
    awaited(lambda: bool(told))
    assert time.monotonic() - began >= 1.0
    assert [(one.delivered, one.tries) for one in told] == [(True, 2)]


def test_one_that_never_gets_well_is_given_up(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver(500)
    sender, told = webhook(server.origin)
    sender.send(alert(), "sft")
    sender.send(alert("resolved"), "sft")
    assert sender.close(10.0)
    assert [(one.delivered, one.detail, one.tries) for one in told] == [(False, "500 Internal Server Error", 4)]
    assert states(server) == [("a1", "firing")] * 4


@pytest.mark.parametrize(
    ("answer", "detail"), [(404, "404 Not Found: no_service"), (400, "400 Bad Request"), (401, "401 Unauthorized")]
)
def test_one_that_refuses_is_not_tried_again(
    receiver: MakeReceiver, webhook: MakeWebhook, answer: int, detail: str
) -> None:
    server = receiver(answer)
    sender, told = webhook(f"{server.origin}/{SECRET}")
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    assert [(one.delivered, one.detail, one.tries) for one in told] == [(False, detail, 1)]
    assert len(server.bodies) == 1


def test_a_redirect_is_not_followed(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver("redirect")
    sender, told = webhook(f"{server.origin}/here")
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    assert server.paths == ["/here"]
    assert [one.detail for one in told] == ["307 Temporary Redirect: it sends us elsewhere, which is not followed"]


@pytest.mark.parametrize(
    ("answer", "patience", "detail"),
    [
        ("hang", QUICK, "no answer within 0.2 s"),
        ("drip", Patience(answer_s=5.0, try_s=0.5, pauses_s=QUICK.pauses_s), "no whole answer within 0.5 s"),
    ],
)
def test_one_that_hangs_makes_nobody_wait(
    receiver: MakeReceiver, webhook: MakeWebhook, answer: str, patience: Patience, detail: str
) -> None:
    server = receiver(answer)
    sender, told = webhook(server.origin, patience=patience)
    slowest = 0.0
    for number in range(20):
        began = time.perf_counter()
        sender.send(alert(name=f"a{number}"), "sft")
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.1
    awaited(lambda: bool(told))
    assert (told[0].delivered, told[0].detail, told[0].tries) == (False, detail, 4)
    began = time.monotonic()
    sender.close(0.2)
    assert time.monotonic() - began < 2.0
    assert sorted(one.alert for one in told) == sorted(f"a{number}" for number in range(20))
    assert all(not one.delivered for one in told)
    assert answer == "drip" or told[-1].detail == "it could not be sent within 0.2 s of the run's end"


def test_what_is_under_way_at_the_end_was_tried_once_and_what_waits_was_not(
    receiver: MakeReceiver, webhook: MakeWebhook
) -> None:
    server = receiver("hang")
    sender, told = webhook(server.origin, patience=Patience())
    sender.send(alert(name="a"), "sft")
    sender.send(alert(name="b"), "sft")
    awaited(lambda: bool(server.bodies))
    assert not sender.close(0.1)
    assert [(one.alert, one.tries, one.delivered) for one in told] == [("a", 1, False), ("b", 0, False)]


def test_tries_that_hang_do_not_become_a_crowd(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver("drip")
    sender, told = webhook(server.origin, patience=Patience(answer_s=5.0, try_s=0.05, pauses_s=(0.0,) * 10))
    sender.send(alert(), "sft")
    awaited(lambda: bool(told))
    assert told[0].detail == f"{HANGING} tries before still hang"
    assert len(server.bodies) <= HANGING


def test_an_answer_that_is_not_http_is_told_without_its_words(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver("rubbish")
    sender, told = webhook(server.origin)
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    assert [(one.detail, one.tries) for one in told] == [("no answer in HTTP (BadStatusLine)", 4)]


def test_nobody_there_is_told_as_such(webhook: MakeWebhook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sender, told = webhook(f"http://127.0.0.1:{port}/{SECRET}")
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    assert [(one.detail, one.tries) for one in told] == [("Connection refused", 4)]


def test_a_host_that_does_not_speak_tls_is_told_as_such(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver()
    sender, told = webhook(server.origin.replace("http:", "https:"))
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    assert [one.detail for one in told] == ["the host does not speak TLS as it should"]


def test_user_and_password_go_into_their_header_and_nowhere_else(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver()
    sender, told = webhook(f"http://ann:{SECRET}@{server.origin.removeprefix('http://')}/hook?key=1")
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    assert server.headers[0]["Authorization"] == "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()
    assert server.paths == ["/hook?key=1"]
    assert told[0].channel == server.origin


@pytest.mark.parametrize("answer", [200, 400, 404, 500, "rubbish", "redirect", "hang"])
@pytest.mark.parametrize("address", ["{origin}/{secret}", "{origin}/?key={secret}", "http://u:{secret}@{host}/x"])
def test_no_secret_gets_out(
    receiver: MakeReceiver,
    webhook: MakeWebhook,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    address: str,
    answer: Answer,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = receiver(answer)
    url = address.format(origin=server.origin, host=server.origin.removeprefix("http://"), secret=SECRET)
    sender, told = webhook(url, patience=Patience(answer_s=0.05, try_s=1.0, pauses_s=(0.01,)))
    sender.send(alert(), "sft")
    assert sender.close(10.0)
    output = capfd.readouterr()
    assert told != []
    assert SECRET not in f"{told} {sender!r} {vars(sender)} {caplog.text} {output.out} {output.err}"
    if answer != 200:
        assert f"could not be sent to {server.origin}: {told[-1].detail}" in caplog.text


def test_an_address_that_cannot_be_used_is_said_and_nothing_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    assert Webhook.from_environment({URL: f"hooks.slack.com/{SECRET}"}) is None
    assert "alerts are recorded, and not sent: BAROGRAPH_WEBHOOK_URL cannot be used: it must begin with" in caplog.text
    assert SECRET not in caplog.text
    assert Webhook.from_environment({}) is None


def test_more_alerts_than_can_wait_are_counted_and_not_kept(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver("hang")
    sender, told = webhook(server.origin, patience=Patience(answer_s=10.0))
    for number in range(QUEUE + 50):
        sender.send(alert(name=f"a{number}"), "sft")
    dropped = [one for one in told if one.detail == f"{QUEUE} alerts wait already"]
    assert 49 <= len(dropped) <= 50
    sender.close(0.0)
    assert len({one.alert for one in told}) == len(told) == QUEUE + 50


def test_a_listener_that_raises_does_not_end_the_sending(
    receiver: MakeReceiver, webhook: MakeWebhook, caplog: pytest.LogCaptureFixture
) -> None:
    server = receiver()

    def broken(_found: Notification) -> None:
        raise RuntimeError(SECRET)

    sender = Webhook.from_environment({URL: server.origin}, on_result=broken, patience=QUICK)
    assert sender is not None
    for number in range(3):
        sender.send(alert(name=f"a{number}"), "sft")
    assert sender.close(10.0)
    assert len(server.bodies) == 3
    assert "could not be recorded: RuntimeError" in caplog.text
    assert SECRET not in caplog.text


def test_after_the_end_nothing_is_sent_and_that_is_told(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    server = receiver()
    sender, told = webhook(server.origin)
    assert sender.close(1.0)
    sender.send(alert(), "sft")
    assert server.bodies == []
    assert [(one.delivered, one.detail) for one in told] == [(False, "the run has ended")]


def test_a_webhook_that_was_never_needed_has_no_thread(receiver: MakeReceiver, webhook: MakeWebhook) -> None:
    before = [thread.name for thread in threading.enumerate()].count("barograph-webhook")
    sender, _ = webhook(receiver().origin)
    sender.send(alert("pending"), "sft")
    assert [thread.name for thread in threading.enumerate()].count("barograph-webhook") == before
    assert sender.close(0.0)

"""Sends alerts to where the environment says, from a thread of its own.

Whoever records an alert gives it to `send`, which never waits. Of an alert's life two moments are sent: that it fires,
once, and that it is over, if it arrived before that it fires. What became of each is a `Notification`.

The other side may refuse, hang, answer a byte a minute, or send us elsewhere. A try that is not over in half a minute
is left behind (a resolver of names can hang too, and has no timeout); answers of 5xx, 429 and failures of the network
are tried again after a pause; a redirect is never followed, as it would take the alert, and the password, elsewhere.
What the other side or the system's libraries say may quote the address, so it is told in words of ours.
"""

import logging
import os
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException

import msgspec

from barograph.errors import UsageError
from barograph.journal.webhook_target import WebhookTarget, body, webhook_target
from barograph.records import Alert, Notification

QUEUE = 100
"""Alerts that wait at most; more of them are not sent, and that is recorded."""

REMEMBERED = 10_000
"""Alerts of which it is remembered that they were sent."""

HANGING = 4
"""Tries that were left behind and still hang; with so many, no more are begun."""

LONGEST_WAIT_S = 60.0
"""What a `Retry-After` can ask for at most."""

COMPLAIN_S = 60.0
"""Seconds between two warnings in the log."""

_TRY_AGAIN = frozenset({408, 425, 429})
"""Answers below 500 that ask for another try."""

_WORD = re.compile(r"[a-z_]{3,40}")
"""What Slack answers with, such as `invalid_payload`."""

logger = logging.getLogger("barograph")

OnResult = Callable[[Notification], None]


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a delivery is tried."""

    answer_s: float = 10.0
    """Seconds of silence after which a try has failed."""
    try_s: float = 30.0
    """Seconds after which a try has failed, silent or not."""
    pauses_s: tuple[float, ...] = (2.0, 10.0, 30.0)
    """Seconds before each further try."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How one try ended."""

    detail: str
    """What the other side said, or what happened; nothing of the address."""
    delivered: bool = False
    """Whether it arrived."""
    again: bool = False
    """Whether another try may do better."""
    wait_s: float = 0.0
    """At least so long to wait before it."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing; the answer that asks for it is the last one."""

    def redirect_request(self, *_asked: object) -> None:
        return None


class Webhook:
    """Owns the queue of alerts that are to be sent, and its thread, from the first one until `close`."""

    def __init__(
        self, target: WebhookTarget, *, on_result: OnResult | None = None, patience: Patience | None = None
    ) -> None:
        """`on_result` takes what became of each delivery, mostly in the thread."""
        self.channel = target.channel
        """Scheme and host: what may be told of the address."""
        self._target = target
        self._on_result = on_result
        self._patience = patience or Patience()
        self._told: OrderedDict[str, str] = OrderedDict()
        self._arrived: OrderedDict[str, str] = OrderedDict()
        self._waiting: deque[tuple[Alert, str]] = deque()
        self._in_hand: Alert | None = None
        self._tries = 0  # of the alert in hand
        self._change = threading.Condition()
        self._closing = self._closed = False
        self._hanging: list[threading.Thread] = []
        self._complained_at = -COMPLAIN_S
        self._thread: threading.Thread | None = None

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, on_result: OnResult | None = None, patience: Patience | None = None
    ) -> "Webhook | None":
        """The webhook that the environment names; None if it names none, or one that cannot be used, which the log then
        says. `webhook_target` raises instead."""
        try:
            target = webhook_target(environ)
        except UsageError as error:
            logger.warning("barograph: alerts are recorded, and not sent: %s", error)
            return None
        return None if target is None else cls(target, on_result=on_result, patience=patience)

    def send(self, alert: Alert, run: str) -> None:
        """Have an alert of `run` sent, if its state is news. Returns at once, and never raises. For one thread."""
        if alert.state not in {"firing", "resolved"} or not self._is_news(alert):
            return
        with self._change:
            full, late = len(self._waiting) >= QUEUE, self._closing
            if not full and not late:
                self._waiting.append((alert, run))
                self._change.notify_all()
        if full or late:
            self._tell(alert, Tried(detail="the run has ended" if late else f"{QUEUE} alerts wait already"), tries=0)
        elif self._thread is None:
            thread = threading.Thread(target=self._live, name="barograph-webhook", daemon=True)
            with suppress(RuntimeError):  # no thread to be had: the next alert asks again, and the end tells of it
                thread.start()
                self._thread = thread

    def close(self, within_s: float = 5.0) -> bool:
        """Send what waits, without pauses now, and end; whether all was tried within that time."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, within_s))
        with self._change:
            self._closed = True  # what is in the thread's hands is told here, and not by it
            left = [alert for alert in (self._in_hand, *(alert for alert, _ in self._waiting)) if alert is not None]
            self._waiting.clear()
            begun = 0 if self._in_hand is None else self._tries
        late = Tried(detail=f"it could not be sent within {within_s:g} s of the run's end")
        for number, alert in enumerate(left):
            self._tell(alert, late, tries=begun if number == 0 else 0)
        return not left

    def _is_news(self, alert: Alert) -> bool:
        """Whether this state of an alert is to be sent, and was not before; notes that it is."""
        if not self._target.wants(alert.level):
            return False
        if not alert.id:
            return alert.state == "firing"
        before = self._told.get(alert.id)
        if before == "resolved" or before == alert.state or (before is None and alert.state == "resolved"):
            return False
        _remember(self._told, alert.id, alert.state)
        return True

    def _live(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                alert, run = self._waiting.popleft()
                self._in_hand, self._tries = alert, 0
            try:
                self._deliver(alert, run)
            except Exception as error:  # noqa: BLE001 - the one boundary of this thread; it must outlive anything
                self._tell(alert, Tried(detail=f"it could not be made ({type(error).__name__})"), tries=0)
            self._in_hand = None

    def _deliver(self, alert: Alert, run: str) -> None:
        """Try to send one alert, as often as it takes, and tell what became of it."""
        if alert.state == "resolved" and alert.id not in self._arrived:
            return  # nobody heard of it
        content = body(alert, run=run, shape=self._target.shape)
        self._tries = tries = 1
        tried = self._try(content)
        for pause in self._patience.pauses_s:
            if tried.delivered or not tried.again:
                break
            with self._change:
                self._change.wait_for(lambda: self._closing, timeout=max(pause, tried.wait_s))
            self._tries = tries = tries + 1
            tried = self._try(content)
        with self._change:
            if self._closed:
                return
            self._in_hand = None
        if tried.delivered and alert.id:
            _remember(self._arrived, alert.id, alert.state)
        self._tell(alert, tried, tries=tries)

    def _try(self, content: bytes) -> Tried:
        """One try in a thread that can be left behind."""
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= HANGING:
            return Tried(detail=f"{HANGING} tries before still hang", again=True)
        found: list[Tried] = []

        def post() -> None:
            found.append(_posted(self._target, content, answer_s=self._patience.answer_s))

        thread = threading.Thread(target=post, name="barograph-webhook-try", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, and starts no thread any more
            post()
        else:
            thread.join(self._patience.try_s)
        if found:
            return found[0]
        self._hanging.append(thread)
        return Tried(detail=f"no whole answer within {self._patience.try_s:g} s", again=True)

    def _tell(self, alert: Alert, tried: Tried, *, tries: int) -> None:
        now = time.monotonic()
        if not tried.delivered and now - self._complained_at >= COMPLAIN_S:
            self._complained_at = now
            logger.warning(
                "barograph: an alert is recorded, and could not be sent to %s: %s", self.channel, tried.detail
            )
        if self._on_result is None:
            return
        found = Notification(
            time=time.time(),
            alert=alert.id,
            channel=self.channel,
            delivered=tried.delivered,
            detail=tried.detail,
            tries=tries,
        )
        try:
            self._on_result(found)
        except Exception as error:  # noqa: BLE001 - `send` is called from a training, and must not raise
            logger.warning("barograph: that an alert was sent could not be recorded: %s", type(error).__name__)


def _posted(target: WebhookTarget, content: bytes, *, answer_s: float) -> Tried:
    """Send `content` once."""
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "barograph"}
    if target.authorization is not None:
        headers["Authorization"] = target.authorization
    try:
        request = urllib.request.Request(target.url, data=content, headers=headers, method="POST")  # noqa: S310 - only http and https come so far
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=answer_s) as answer:
            return Tried(detail=_status(answer.status), delivered=True)
    except urllib.error.HTTPError as refused:
        with refused:
            return _refusal(refused, target)
    except Exception as error:  # noqa: BLE001 - the end of this thread: a traceback would print the address
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return _failure(reason, answer_s=answer_s)


def _refusal(answer: urllib.error.HTTPError, target: WebhookTarget) -> Tried:
    """An answer that is no success."""
    if 300 <= answer.code < 400:
        return Tried(detail=f"{_status(answer.code)}: it sends us elsewhere, which is not followed")
    said = ""
    with suppress(OSError, HTTPException, ValueError):
        said = answer.read(100).decode("ascii", "replace").strip()
    # Whatever else it says could be the address or the password, which it knows.
    harmless = _WORD.fullmatch(said) and said not in target.url.lower() and target.authorization is None
    word = f": {said}" if harmless else ""
    wait = answer.headers.get("Retry-After", "")
    return Tried(
        detail=_status(answer.code) + word,
        again=answer.code >= 500 or answer.code in _TRY_AGAIN,
        wait_s=min(float(wait), LONGEST_WAIT_S) if wait.isdecimal() and wait.isascii() else 0.0,
    )


def _failure(reason: object, *, answer_s: float) -> Tried:
    """What kept an answer from coming."""
    if isinstance(reason, TimeoutError):
        return Tried(detail=f"no answer within {answer_s:g} s", again=True)
    if isinstance(reason, socket.gaierror):
        return Tried(detail="the name of the host cannot be resolved", again=True)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Tried(detail="the certificate of the host cannot be verified")
    if isinstance(reason, ssl.SSLError):
        return Tried(detail="the host does not speak TLS as it should")
    if isinstance(reason, OSError) and reason.errno is not None:
        return Tried(detail=os.strerror(reason.errno), again=True)
    return Tried(
        detail=f"no answer in HTTP ({type(reason).__name__})", again=isinstance(reason, OSError | HTTPException)
    )


def _status(code: int) -> str:
    """A status in the standard's words; what the other side calls it is its own affair."""
    with suppress(ValueError):
        return f"{code} {HTTPStatus(code).phrase}"
    return str(code)


def _remember(known: OrderedDict[str, str], key: str, word: str) -> None:
    """Note a word, the oldest going first where there are too many."""
    known[key] = word
    known.move_to_end(key)
    if len(known) > REMEMBERED:
        known.popitem(last=False)

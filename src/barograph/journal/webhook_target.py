"""Where alerts are sent, as the environment says it, and in which shape.

    BAROGRAPH_WEBHOOK_URL         http or https; a user and a password before the host become basic authentication
    BAROGRAPH_WEBHOOK_FORMAT      json or slack; by default what the host takes
    BAROGRAPH_WEBHOOK_MIN_LEVEL   info, warning (default) or critical

The address of a webhook is its password: whoever knows it can write there. So it is never printed, neither whole nor in
part: of all that is said, only scheme, host and port come from it. A sentence about an address that is wrong quotes
nothing of it, since nobody knows which part of it is the host.
"""

import base64
import time
from collections.abc import Mapping
from typing import Literal, cast, get_args
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from barograph.errors import UsageError
from barograph.records import Alert
from barograph.records.quantities import AlertLevel

URL = "BAROGRAPH_WEBHOOK_URL"
FORMAT = "BAROGRAPH_WEBHOOK_FORMAT"
MIN_LEVEL = "BAROGRAPH_WEBHOOK_MIN_LEVEL"

Shape = Literal["json", "slack"]

LEVELS: tuple[AlertLevel, ...] = ("info", "warning", "critical")
"""From the least on."""

_SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
_SIGNS: dict[AlertLevel, str] = {
    "info": ":information_source:",
    "warning": ":warning:",
    "critical": ":rotating_light:",
}
_LONGEST = 2_000
"""Most characters of one text of an alert that are sent; Slack takes 3,000 in a block."""


class WebhookTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts are sent. It does not print its secrets."""

    channel: str
    """Scheme, host and port: all that may be told."""
    url: str
    """The address, without user and password."""
    authorization: str | None
    """Value of that header, from the user and password of the address."""
    shape: Shape
    """How the body looks."""
    min_level: AlertLevel
    """Alerts below it are not sent."""

    def __repr__(self) -> str:
        return f"WebhookTarget({self.channel!r}, the rest is hidden)"

    def wants(self, level: AlertLevel) -> bool:
        """Whether alerts of that level are sent."""
        return LEVELS.index(level) >= LEVELS.index(self.min_level)


def webhook_target(environ: Mapping[str, str]) -> WebhookTarget | None:
    """What the environment says; None where it names no address.

    Raises `UsageError` for an address or a word that cannot be used; it tells nothing of their values.
    """
    address = environ.get(URL, "").strip()
    if not address:
        return None
    parts, problem = _split(address)
    if parts is None:
        raise UsageError(
            f"{URL} cannot be used: {problem}",
            advice="Its value is not shown, as it is a secret. It looks like https://hooks.example.com/services/...",
        )
    host = parts.hostname or ""
    default: Shape = "slack" if host in _SLACK_HOSTS else "json"
    shape = _choice(environ, FORMAT, get_args(Shape), default=default)
    min_level = _choice(environ, MIN_LEVEL, LEVELS, default="warning")
    named = parts.netloc.rpartition("@")[2]
    return WebhookTarget(
        channel=f"{parts.scheme}://{named.lower()}",
        url=parts._replace(netloc=named, path=parts.path or "/", fragment="").geturl(),
        authorization=_basic(parts),
        shape=cast(Shape, shape),  # one of the choices, as are the levels
        min_level=cast(AlertLevel, min_level),
    )


def body(alert: Alert, *, run: str, shape: Shape) -> bytes:
    """The JSON that is sent for an alert of `run`, as it stands now."""
    if shape == "slack":
        return msgspec.json.encode(_slack(alert, run))
    return msgspec.json.encode(
        {
            "run": run,
            "title": _cut(alert.title),
            "text": _cut(alert.text),
            "level": alert.level,
            "state": alert.state,
            "step": alert.step,
            "first_step": alert.first_step,
            "count": alert.count,
            "recommendation": _cut(alert.recommendation),
            "condition": alert.condition,
            "category": alert.category,
            "subjects": [_cut(subject) for subject in alert.subjects],
            "alert": alert.id,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(alert.time)),
        }
    )


def _slack(alert: Alert, run: str) -> dict[str, object]:
    """A message of Slack: `text` is what a notification shows, the blocks are what the channel shows."""
    resolved = alert.state == "resolved"
    sign = ":white_check_mark:" if resolved else _SIGNS[alert.level]
    at = "" if alert.step is None else f", step {alert.step:,}"
    head = f"{'Resolved: ' if resolved else ''}{alert.title}"
    parts = [f"{sign} *{_escaped(head)}*", _escaped(alert.text)]
    if alert.recommendation and not resolved:
        parts.append(f"*What to do:* {_escaped(alert.recommendation)}")
    blocks: list[object] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in parts if part.strip()
    ]
    said = f"{_escaped(run)} · {alert.level}{at}"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": said}]})
    return {"text": f"{_escaped(run)}: {_escaped(head)}", "blocks": blocks}


def _split(address: str) -> tuple[SplitResult | None, str]:
    """The parts of an address, or why it is none. What the parser says of it is not passed on: it quotes it."""
    if not all("!" <= letter <= "~" for letter in address):
        return None, "it holds a space, or a letter that an address cannot hold"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None, "its host or its port is not one"
    if parts.scheme not in {"http", "https"}:
        return None, "it must begin with https:// or http://"
    if not parts.hostname or "\\" in address or port == 0:
        return None, "it names no host that can be asked"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or parts.netloc.count("@") > 1:
        return None, "an @ that does not stand right before the host must be written %40, and a / in a password %2F"
    return parts, ""


def _basic(parts: SplitResult) -> str | None:
    if parts.username is None and parts.password is None:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...], *, default: str) -> str:
    word = environ.get(name, "").strip().lower() or default
    if word not in choices:  # the word may be the address, where someone took one variable for the other
        raise UsageError(f"{name} has a value that is not known", advice=f"Use one of {', '.join(choices)}")
    return word


def _cut(text: str) -> str:
    """Text that fits, and that UTF-8 can hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _escaped(text: str) -> str:
    """Text in which Slack sees no link and no mention of everyone."""
    return _cut(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

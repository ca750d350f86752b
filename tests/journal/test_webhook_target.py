"""An address is taken apart without ever being told, and an alert becomes what the other side can read."""

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.errors import UsageError
from barograph.journal.webhook_target import FORMAT, MIN_LEVEL, URL, body, webhook_target
from barograph.records import Alert

SECRET = "T0pS3cr3t"
SLACK = f"https://hooks.slack.com/services/T000/B000/{SECRET}"

ALERT = Alert(
    time=1_800_000_000.25,
    title="Loss is NaN",
    text="loss NaN at step 1,200",
    level="critical",
    step=1200,
    first_step=1200,
    id="a1",
    condition="non_finite_loss",
    category="loss",
    recommendation="Stop.",
)


def refusal(environ: dict[str, str]) -> UsageError:
    with pytest.raises(UsageError) as raised:
        webhook_target(environ)
    return raised.value


def test_without_an_address_there_is_no_target() -> None:
    assert webhook_target({}) is None
    assert webhook_target({URL: "  \n"}) is None


def test_an_address_is_taken_apart() -> None:
    target = webhook_target({URL: f"https://ann:{SECRET}%21@Alerts.Example.org:8443/hook?key={SECRET}\n"})
    assert target is not None
    assert target.channel == "https://alerts.example.org:8443"
    assert target.url == f"https://Alerts.Example.org:8443/hook?key={SECRET}"
    assert target.authorization == "Basic " + base64.b64encode(f"ann:{SECRET}!".encode()).decode()
    assert (target.shape, target.min_level) == ("json", "warning")


@pytest.mark.parametrize(
    ("address", "said", "shape"),
    [
        (SLACK, None, "slack"),
        (SLACK, "json", "json"),
        ("https://hooks.slack.com.example.org/x", None, "json"),
        ("http://[::1]:8065/hooks/x", "Slack", "slack"),
    ],
)
def test_the_shape_is_that_of_the_host_unless_said_otherwise(address: str, said: str | None, shape: str) -> None:
    target = webhook_target({URL: address} | ({FORMAT: said} if said else {}))
    assert target is not None
    assert target.shape == shape


def test_a_level_is_wanted_from_the_least_one_on() -> None:
    wanted = {}
    for least in ("info", "warning", "critical"):
        target = webhook_target({URL: SLACK, MIN_LEVEL: least})
        assert target is not None
        wanted[least] = [target.wants("info"), target.wants("warning"), target.wants("critical")]
    assert wanted == {"info": [True, True, True], "warning": [False, True, True], "critical": [False, False, True]}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"hooks.slack.com/services/{SECRET}", "it must begin with https:// or http://"),
        (f"https:hooks.slack.com/services/{SECRET}", "it names no host that can be asked"),
        (f"https:///{SECRET}", "it names no host that can be asked"),
        (f"https://:443/{SECRET}", "it names no host that can be asked"),
        (f"https://host:0/{SECRET}", "it names no host that can be asked"),
        (f"https://host\\{SECRET}", "it names no host that can be asked"),
        (f"ftp://ann:{SECRET}@host/x", "it must begin with https:// or http://"),
        (f"file:///etc/{SECRET}", "it must begin with https:// or http://"),
        (f"https://host:{SECRET}/x", "its host or its port is not one"),
        (f"https://[::1/{SECRET}", "its host or its port is not one"),
        (f"https://host:99999/{SECRET}", "its host or its port is not one"),
        (f"https://host/{SECRET} x", "it holds a space, or a letter that an address cannot hold"),
        (f"https://host/{SECRET}é", "it holds a space, or a letter that an address cannot hold"),
        (f"https://host/\x00{SECRET}", "it holds a space, or a letter that an address cannot hold"),
        (f"https://ann:12/{SECRET}@host/x", "an @ that does not stand right before the host must be written %40"),
        (f"https://ann:{SECRET}@x@host/x", "an @ that does not stand right before the host must be written %40"),
        (f"https://ann#{SECRET}@host/x", "an @ that does not stand right before the host must be written %40"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_a_sentence_that_tells_nothing_of_it(
    address: str, said: str
) -> None:
    error = refusal({URL: address})
    assert f"{URL} cannot be used: {said}" in str(error)
    assert SECRET not in f"{error!r} {error}"
    assert error.__context__ is None


@pytest.mark.parametrize("name", [FORMAT, MIN_LEVEL])
def test_a_word_that_is_not_known_is_not_told_as_it_may_be_the_address(name: str) -> None:
    error = refusal({URL: "https://host/x", name: SLACK})
    assert name in str(error)
    assert "Use one of" in str(error)
    assert SECRET not in f"{error!r} {error}"


@given(
    st.lists(
        st.sampled_from([SECRET, "https:", "http:", "//", "/", "?", "#", "@", ":", "[", "]", "%", "\\", " ", "a", "9"]),
        max_size=12,
    )
)
def test_no_address_whatever_is_told_beyond_its_host(pieces: list[str]) -> None:
    address = "".join(pieces)
    target, error = None, None
    try:
        target = webhook_target({URL: address})
    except UsageError as raised:
        error = raised
    if error is not None:
        assert SECRET.lower() not in f"{error!r} {error}".lower()
        assert error.__context__ is None
    if target is not None:
        host = re.split(r"[/?#]", address.strip().split("//", 1)[1])[0].rpartition("@")[2]
        assert target.channel in {f"https://{host.lower()}", f"http://{host.lower()}"}
        assert str(target) == repr(target) == f"WebhookTarget({target.channel!r}, the rest is hidden)"


def test_the_body_in_json_has_every_part_of_the_alert() -> None:
    assert json.loads(body(ALERT, run="sft", shape="json")) == {
        "run": "sft",
        "title": "Loss is NaN",
        "text": "loss NaN at step 1,200",
        "level": "critical",
        "state": "firing",
        "step": 1200,
        "first_step": 1200,
        "count": 1,
        "recommendation": "Stop.",
        "condition": "non_finite_loss",
        "category": "loss",
        "subjects": [],
        "alert": "a1",
        "time": "2027-01-15T08:00:00+00:00",
    }


def test_a_message_of_slack_can_mention_nobody() -> None:
    hostile = Alert(time=0.0, title="<!channel> & <https://x|y>", text="<@U1>", recommendation="<!here>", step=12_000)
    message = json.loads(body(hostile, run="sft", shape="slack"))
    assert message["text"] == "sft: &lt;!channel&gt; &amp; &lt;https://x|y&gt;"
    said = json.dumps(message)
    assert "<" not in said
    assert "step 12,000" in said
    assert "*What to do:* &lt;!here&gt;" in said
    assert all(part["type"] in {"section", "context"} for part in message["blocks"])


def test_a_message_of_slack_says_that_it_is_over() -> None:
    over = Alert(time=0.0, title="Loss is NaN", state="resolved", id="a1", recommendation="Stop.")
    message = json.loads(body(over, run="sft", shape="slack"))
    assert message["text"] == "sft: Resolved: Loss is NaN"
    assert "Stop." not in json.dumps(message)
    assert len(message["blocks"]) == 2


@given(st.text(st.characters(), max_size=5_000), st.sampled_from(["json", "slack"]))
def test_any_text_makes_a_body_that_is_json_and_fits(text: str, shape: str) -> None:
    alert = Alert(time=0.0, title=text, text=text + "\ud800", recommendation=text, subjects=[text])
    found = body(alert, run="sft", shape="slack" if shape == "slack" else "json")
    json.loads(found)
    if shape == "slack":
        assert all(len(block.get("text", {}).get("text", "")) <= 12_000 for block in json.loads(found)["blocks"])

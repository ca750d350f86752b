"""The banner's facts about machine and software; secrets are hidden wherever a config can hold them."""

import argparse
import dataclasses
import json
import math
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.collect import environment

CANARY = "canary7f3a91c5e2d84b60"


def plain(config: dict[Any, object]) -> Any:
    return json.loads(environment.config_text(config))


@pytest.mark.parametrize(
    "key",
    [
        *("token", "hf_token", "HF_TOKEN", "push_to_hub_token", "hub_token", "access_token"),
        *("api_key", "API-KEY", "apikey", "wandb_api_key", "private_key", "aws_access_key", "encryption_key"),
        *("secret", "client_secret", "aws_secret_access_key", "password", "PASSWD", "passphrase", "db_password"),
        *("credentials", "Authorization", "bearer", "session_cookie", b"api_key", b"hub_token"),
        *("wandb_key", "COMET_KEY", "openai-key", "pwd", "db_pwd", "ssh_key", "github_pat"),
    ],
)
def test_a_key_that_names_a_secret_hides_its_value(key: Any) -> None:
    assert list(plain({key: CANARY}).values()) == ["(hidden)"]
    assert CANARY not in environment.config_text({"deeper": [{"x": ({key: {"inner": CANARY}},)}]})
    assert list(plain({key: None}).values()) == [None], "that there is none is no secret"


@pytest.mark.parametrize(
    "key",
    [
        *("eos_token", "pad_token", "bos_token", "unk_token", "mask_token", "sep_token", "cls_token", "image_token"),
        *("sort_key", "label_key", "cpwd_count", "pattern", "num_key_value_heads"),
        *("tokenizer", "max_tokens", "token_count", "num_tokens", "eos_token_id", "lr", "monkey", "keyboard"),
    ],
)
def test_a_key_that_only_sounds_like_it_keeps_its_value(key: str) -> None:
    assert plain({key: "value"}) == {key: "value"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://user:{CANARY}@example.org/repo", "https://(hidden)@example.org/repo"),
        (f"use hf_{CANARY} here", "use (hidden) here"),
        (f"sk-{CANARY}", "(hidden)"),
        (f"ghp_{CANARY} xoxb-{CANARY} github_pat_{CANARY}", "(hidden) (hidden) (hidden)"),
        ("https://example.org/a:b@c", "https://example.org/a:b@c"),
        (f"https://:{CANARY}@example.org", "https://(hidden)@example.org"),
        (f"glpat-{CANARY}", "(hidden)"),
        ("AKIAIOSFODNN7EXAMPLE is it", "(hidden) is it"),
        (f"GET /x?token={CANARY}&y=1", "GET /x?token=(hidden)&y=1"),
        (f"sent Bearer {CANARY} with it", "sent Bearer (hidden) with it"),
        ("hf_short", "hf_short"),
        ("task-based", "task-based"),
    ],
)
def test_a_text_that_holds_a_secret_is_shown_without_it(text: str, shown: str) -> None:
    assert plain({"note": text}) == {"note": shown}
    assert set(plain({text: 1})) == {shown}
    assert plain({"list": [text]}) == {"list": [shown]}


def test_a_secret_in_an_argument_list_or_in_bytes_is_hidden() -> None:
    words = ["train.py", "--hub-token", CANARY, "--lr", "1", f"--api_key={CANARY}", "-password", CANARY, "--seed", "2"]
    shown = plain({"argv": words, "tuple": tuple(words), "bytes": f"hf_{CANARY}".encode(), "flag": ["--token", "--lr"]})
    expected = ["train.py", "--hub-token", "(hidden)", "--lr", "1", "--api_key=(hidden)", "-password", "(hidden)"]
    assert shown["argv"] == shown["tuple"] == [*expected, "--seed", "2"]
    assert shown["bytes"] == "(hidden)"
    assert shown["flag"] == ["--token", "--lr"]


def test_what_cannot_be_read_says_so_and_costs_no_other() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise LookupError

        __repr__ = __str__

    class Broken(dict[str, object]):
        def items(self) -> Any:
            raise LookupError

    class Pretender:
        @property  # type: ignore[misc]  # a class that lies about itself is what is tested
        def __class__(self) -> Any:
            raise LookupError

    shown = plain({"text": Hostile(), "map": Broken(a=1), "class": Pretender(), Hostile(): 1, "list": [Hostile()]})
    assert shown.pop("class") is not None
    assert shown == {"text": "(unreadable)", "map": "(unreadable)", "(unreadable)": 1, "list": ["(unreadable)"]}


def test_arguments_of_every_usual_shape_are_looked_into() -> None:
    @dataclasses.dataclass(slots=True)
    class Slots:
        token: str = CANARY
        lr: float = 0.5

    @dataclasses.dataclass
    class Plain:
        inner: Slots
        password: str = CANARY

    config = {"a": Plain(Slots()), "b": argparse.Namespace(api_key=CANARY, seed=1), "c": Slots}
    shown = plain(config)
    assert shown["a"] == {"inner": {"token": "(hidden)", "lr": 0.5}, "password": "(hidden)"}
    assert shown["b"] == {"api_key": "(hidden)", "seed": 1}
    assert "Slots" in shown["c"]


def test_what_lies_too_deep_is_not_shown_at_all() -> None:
    deep: dict[str, object] = {"token": CANARY, "list": [CANARY]}
    for _ in range(20):
        deep = {"inner": deep}
    text = environment.config_text(deep)
    assert CANARY not in text
    assert "(too deep)" in text
    loop: dict[str, object] = {}
    loop["self"] = loop
    assert "(too deep)" in environment.config_text(loop)


def test_what_json_cannot_hold_becomes_text() -> None:
    class Color(Enum):
        RED = 1

    shown = plain(
        {
            "nan": math.nan,
            "inf": -math.inf,
            "big": 2**70,
            "small": -(2**63),
            "path": Path("a/b"),
            "enum": Color.RED,
            "set": {1},
            "none": None,
            "bool": True,
            "surrogate": "a\ud800",
            7: "number",
            "long": "x" * 50_000,
        }
    )
    assert shown == {
        "nan": "nan",
        "inf": "-inf",
        "big": str(2**70),
        "small": str(-(2**63)),
        "path": "a/b",
        "enum": "Color.RED",
        "set": [1],
        "none": None,
        "bool": True,
        "surrogate": "a?",
        "7": "number",
        "long": "x" * 10_000,
    }


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text() | st.integers() | st.none(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_any_config_becomes_json(config: dict[Any, object]) -> None:
    assert isinstance(plain(config), dict)


def test_versions_are_those_that_are_installed() -> None:
    found = environment.versions()
    assert found["python"] == sys.version.split()[0]
    assert "numpy" in found
    assert all(isinstance(version, str) and version for version in found.values())
    assert set(found) <= {"python", *environment.PACKAGES}


def test_the_command_has_no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", f"--token={CANARY}"])
    assert environment.command() == "train.py"
    monkeypatch.setattr(sys, "argv", [""])
    assert environment.command() == "interactive"
    monkeypatch.setattr(sys, "argv", [])
    assert environment.command() == "interactive"


def test_the_device_is_not_known_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert environment.device() is None

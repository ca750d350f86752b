"""Series and exports over HTTP: several at a time, only what is new, and all of it as a file."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from litestar.testing import TestClient

from barograph.api.edge import Edge

Client = TestClient[Edge]
OPENERS = Callable[..., Client]
SERIES = "/api/series?run=alpha"


def test_several_series_come_in_one_answer(client: Client) -> None:
    answer = client.get(f"{SERIES}&name=loss&name=train/accuracy&name=not/yet&times=true&smoothing=0.9").json()
    assert [(one["name"], one["points"]) for one in answer["series"]] == [
        ("loss", 200),
        ("train/accuracy", 200),
        ("not/yet", 0),
    ]
    assert all(len(one["time"]) == len(one["step"]) == len(one["smoothed"]) for one in answer["series"])
    assert answer["attempts"][0]["attempt"] == 1


def test_with_its_cursor_a_page_gets_only_what_is_new(
    open_client: OPENERS, root: Path, write_run: Callable[..., Path]
) -> None:
    client = open_client(root)
    held = client.get(f"{SERIES}&name=loss").json()["series"][0]
    idle = client.get(f"{SERIES}&name=loss&cursor={held['cursor']}")
    assert len(idle.content) <= 1_000
    (same,) = idle.json()["series"]
    assert (same["partial"], same["step"]) == (True, [200])
    write_run(root, "alpha", steps=210)
    deadline = time.monotonic() + 10
    new = same
    while new["points"] != 210 and time.monotonic() < deadline:
        time.sleep(0.05)
        (new,) = client.get(f"{SERIES}&name=loss&cursor={held['cursor']}").json()["series"]
    assert new["points"] == 210


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("name=loss&smoothing=0.5", "0, 0.6, 0.9, 0.97, 0.99, 0.999"),
        ("name=loss&since=nan", "not finite"),
        ("name=loss&until=inf", "not finite"),
        ("name=loss&attempt=0", "`attempt`"),
        ("buckets=4000" + "&name=loss" * 17, "at most 64000 buckets in all"),
        ("name=loss&times=perhaps", "`times`"),
        ("name=loss&first=9&last=3", "`first` is after `last`"),
        ("&".join(f"name=n{place}" for place in range(65)), "`name`"),
        ("name=" + "x" * 513, "`name`"),
        ("name=loss&cursor=" + "1" * 101, "`cursor`"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_why(client: Client, query: str, said: str) -> None:
    answer = client.get(f"{SERIES}&{query}")
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_window_of_time_can_be_asked_for(client: Client) -> None:
    times = client.get(f"{SERIES}&name=loss&times=true").json()["series"][0]["time"]
    (part,) = client.get(f"{SERIES}&name=loss&since={times[49] - 0.002}&until={times[59] + 0.002}").json()["series"]
    assert (part["first"][0], part["step"][-1]) == (50, 60)


def test_an_export_is_a_download_of_every_point(client: Client) -> None:
    answer = client.get("/api/export?run=alpha&name=loss")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="alpha.csv"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [int(row["step"]) for row in rows] == list(range(1, 201))
    assert rows[6]["value"] == "NaN"
    lines = client.get("/api/export?run=alpha&format=jsonl").text.splitlines()
    assert {json.loads(line)["series"] for line in lines} == {"loss", "train/accuracy"}
    assert len(lines) == 400


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "`run` is missing"),
        ("?run=nobody", 404, "nobody"),
        ("?run=alpha&name=nothing", 404, "nothing"),
        ("?run=alpha&format=xlsx", 400, "`format`"),
        ("?run=../../etc", 400, "`run`"),
    ],
)
def test_an_export_that_cannot_be_made_is_told_why(client: Client, query: str, status: int, said: str) -> None:
    answer = client.get(f"/api/export{query}")
    assert answer.status_code == status
    assert said in answer.json()["error"]

"""The documents over HTTP: what a client gets, keeps, and is told when it asks wrongly."""

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from barograph.api.app import create_app
from barograph.api.edge import Edge
from barograph.index import Indexer
from barograph.views.documents import Healthz, LiveStatus, Problem, RunDetail, Runs, SeriesSet
from barograph.views.verdict_documents import Verdicts
from barograph.views.weight_documents import Checkpoints, Unified

Client = TestClient[Edge]
OPENERS = Callable[..., Client]

DOCUMENTS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("/api/runs", Runs),
    ("/api/runs/alpha", RunDetail),
    ("/api/series?run=alpha&name=loss", SeriesSet),
    ("/api/status/live", LiveStatus),
    ("/api/status/live?run=beta", LiveStatus),
    ("/api/checkpoints?run=alpha", Checkpoints),
    ("/api/unified", Unified),
    ("/api/verdicts?run=alpha", Verdicts),
    ("/healthz", Healthz),
)


@pytest.mark.parametrize(("url", "document"), DOCUMENTS)
def test_a_document_has_exactly_its_fields_in_their_order(
    client: Client, url: str, document: type[msgspec.Struct]
) -> None:
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == [field.encode_name for field in msgspec.structs.fields(document)]


@pytest.mark.parametrize("url", [url for url, _ in DOCUMENTS])
def test_a_client_that_has_the_document_gets_304_and_no_body(client: Client, url: str) -> None:
    first = client.get(url)
    again = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["cache-control"] == "private, no-cache"
    if "heartbeat_age_s" not in first.json():
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == first.headers["etag"]
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(("coding", "unpack"), [("gzip", gzip.decompress), ("zstd", zstandard.decompress)])
def test_a_large_document_is_compressed_under_a_tag_of_its_own(
    client: Client, coding: str, unpack: Callable[[bytes], bytes]
) -> None:
    url = "/api/series?run=alpha&name=loss"
    plain = client.get(url, headers={"Accept-Encoding": "identity"})
    with client.stream("GET", url, headers={"Accept-Encoding": coding}) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == coding
    assert "content-encoding" not in plain.headers
    assert unpack(raw) == plain.content
    tag = packed.headers["etag"]
    assert client.get(url, headers={"Accept-Encoding": coding, "If-None-Match": tag}).status_code == 304
    assert client.get(url, headers={"Accept-Encoding": "identity", "If-None-Match": tag}).status_code == 200
    assert int(packed.headers["content-length"]) == len(raw) < len(plain.content)
    assert packed.headers["etag"] != plain.headers["etag"]
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"


def test_a_nan_travels_to_the_client(client: Client) -> None:
    series = client.get("/api/series?run=alpha&name=loss").json()["series"][0]
    assert series["non_finite_count"] == 1
    assert series["non_finite"][0] == {"step": 7, "value": "NaN", "after": pytest.approx(2.0 / 6)}


def test_the_window_and_the_buckets_are_what_was_asked(client: Client) -> None:
    answer = client.get("/api/series?run=alpha&name=loss&first=11&last=110&buckets=10&smoothing=0.6").json()
    (series,) = answer["series"]
    assert series["points"] == 100
    assert 0 < len(series["step"]) <= 10
    assert series["first"][0] == 11
    assert series["step"][-1] == 110
    assert answer["smoothing"] == 0.6


def test_new_lines_of_a_run_appear(open_client: OPENERS, root: Path, write_run: Callable[..., Path]) -> None:
    client = open_client(root)
    before = client.get("/api/runs/alpha")
    write_run(root, "alpha", attempt=2, steps=300)
    write_run(root, "gamma")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        names = {row["run"] for row in client.get("/api/runs").json()["runs"]}
        detail = client.get("/api/runs/alpha", headers={"If-None-Match": before.headers["etag"]})
        if names == {"alpha", "beta", "gamma"} and detail.status_code == 200:
            break
        time.sleep(0.05)
    assert detail.json()["summary"]["attempt"] == 2
    assert names == {"alpha", "beta", "gamma"}


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("/api/runs/nobody", 404, "nobody"),
        ("/api/runs/.hidden", 400, "`run`"),
        ("/api/series", 400, "is missing"),
        ("/api/series?run=alpha", 400, "`name` is missing"),
        ("/api/series?run=alpha&name=", 400, "`name`"),
        ("/api/series?run=alpha&name=nothing", 404, "nothing"),
        ("/api/series?run=nobody&name=loss", 404, "nobody"),
        ("/api/series?run=alpha&name=loss&buckets=0", 400, "`buckets`: expected `int` >= 1"),
        ("/api/series?run=alpha&name=loss&buckets=4001", 400, "`buckets`: expected `int` <= 4000"),
        ("/api/series?run=alpha&name=loss&buckets=ten", 400, "`buckets`"),
        ("/api/series?run=alpha&name=loss&smoothing=1", 400, "`smoothing`"),
        ("/api/series?run=alpha&name=loss&smoothing=nan", 400, "`smoothing`"),
        ("/api/series?run=alpha&name=loss&first=-1", 400, "`first`"),
        ("/api/series?run=alpha&name=loss&last=9007199254740992", 400, "`last`"),
        ("/api/series?run=alpha&name=loss&first=5&last=4", 400, "`first` is after `last`"),
        ("/api/status/live?run=nobody", 404, "nobody"),
        ("/api/nothing", 404, "/api/openapi.json"),
        ("/assets/nothing.js", 404, "no file of that name"),
    ],
)
def test_a_wrong_question_gets_one_sentence_and_the_right_status(
    client: Client, url: str, status: int, said: str
) -> None:
    answer = client.get(url)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    problem = msgspec.json.decode(answer.content, type=Problem)
    assert problem.status == status
    assert said in problem.error
    assert problem.error.endswith(".")
    assert "\n" not in problem.error


def test_what_is_not_indexed_yet_is_no_404(root: Path) -> None:
    with (
        Indexer(root) as indexer,
        TestClient(create_app(root), base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as client,
    ):
        for url in ("/api/runs/alpha", "/api/series?run=alpha&name=loss", "/api/status/live?run=alpha"):
            answer = client.get(url)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            said = "The index is being built, and run 'alpha' is not in it yet. Ask again in a moment."
            assert answer.json() == {"error": said, "status": 503}
        indexer.scan()
        assert client.get("/api/runs/alpha").status_code == 200
        gone = client.get("/api/runs/nobody")
        assert (gone.status_code, gone.json()["error"].split(". ")[0]) == (404, "There is no run 'nobody'")


def test_a_method_that_a_route_has_not_is_named(client: Client) -> None:
    answer = client.post("/api/runs")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert "GET" in answer.json()["error"]


def test_a_root_that_does_not_exist_yet_is_empty_until_it_does(
    tmp_path: Path, open_client: OPENERS, write_run: Callable[..., Path]
) -> None:
    root = tmp_path / "later"
    client = open_client(root, runs=0)
    document = client.get("/api/runs").json()
    assert document["runs"] == []
    assert document["root"] == "later"
    assert client.get("/api/status/live").json()["status"] == "idle"
    assert not root.exists(), "serving makes no folder"
    write_run(root, "first")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not client.get("/api/runs").json()["runs"]:
        time.sleep(0.05)
    assert [row["run"] for row in client.get("/api/runs").json()["runs"]] == ["first"]


def test_a_damaged_index_is_no_500(open_client: OPENERS, root: Path) -> None:
    client = open_client(root)
    for file in (root / ".barograph").glob("index.sqlite*"):
        file.write_bytes(b"\x00garbage" * 4096)
    statuses = {client.get(url).status_code for url, _ in DOCUMENTS}
    assert statuses <= {200, 304, 404, 503}


def test_the_pages_come_from_the_table_only(client: Client) -> None:
    assert client.get("/").status_code == 200
    script = client.get("/assets/index-12345678.js")
    assert script.status_code == 200
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert client.get("/assets/index-12345678.js", headers={"If-None-Match": script.headers["etag"]}).status_code == 304
    for path in ("/assets/", "/assets", "/index.html", "/assets/index.html", "/assets/assets/index-12345678.js"):
        assert client.get(path).status_code == 404, path


def test_prometheus_reads_the_runs(client: Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {
        (sample.name, sample.labels.get("run", "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name != "barograph_run_state"
    }
    assert found["barograph_run_step", "alpha"] == 200
    assert found["barograph_run_loss", "beta"] == pytest.approx(0.01)
    assert found["barograph_runs", ""] == 2
    assert found["barograph_event_clients", ""] == 0

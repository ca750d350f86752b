"""A root with two runs in it, as a trainer would have left them, and the application over it."""

import contextlib
import http.client
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient

from barograph.api.app import create_app
from barograph.api.bodies import make_body
from barograph.api.connections import Limits
from barograph.api.edge import Edge
from barograph.api.pages import Site, plain_page
from barograph.api.security import Access
from barograph.api.server import Dashboard
from barograph.records import Banner, Heartbeat, Record, RunComplete, Step, codec

STEPS = 200
HERE = "http://127.0.0.1:8080"

Client = TestClient[Edge]


def write_run(root: Path, run: str, *, attempt: int = 1, steps: int = STEPS, complete: bool = True) -> Path:
    """One attempt of a run: a falling loss with a NaN at step 7."""
    now = time.time()
    records: list[Record] = [Banner(run=run, attempt=attempt, writer="train", time=now, model_name="tiny")]
    for step in range(1, steps + 1):
        loss = math.nan if step == 7 else 2.0 / step
        records.append(Step(step=step, loss=loss, time=now + step * 0.01, metrics={"train/accuracy": step / steps}))
    records.append(Heartbeat(time=now + steps * 0.01, step=steps))
    if complete:
        records.append(RunComplete(time=now + steps * 0.01, step=steps, exit_code=0))
    logs = root / run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"train-{attempt:06d}-20260101T000000.jsonl"
    path.write_bytes(b"".join(codec.encode_line(record) for record in records))
    return path


def wait_until_indexed(client: Client, *, runs: int) -> None:
    """Until the follower has brought the runs into the index."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        document = client.get("/api/runs").json()
        if document["index"] == "ready" and len(document["runs"]) >= runs:
            return
        time.sleep(0.05)
    raise AssertionError(f"not indexed within 10 s: {document}")


def built_site() -> Site:
    """A web UI of one page, one hashed and one plain asset, as the build would leave it."""
    script = make_body(b"console.log(1);" * 200, media_type="text/javascript", cache_control="immutable")
    return Site(home=plain_page("UI", "<div id=app></div>"), home_status=200, assets={"index-12345678.js": script})


@contextlib.contextmanager
def serving(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A server as a process of its own, listening: the process, its first line and its port."""
    command = [sys.executable, "-W", "error", "-m", "barograph", "serve", "--base-dir", str(root), "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r":(\d+)/", line)
        assert found, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        wait_until_it_answers(int(found[1]))
        yield process, line, int(found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_it_answers(port: int) -> None:
    """Until a server on this machine answers `/healthz`."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if ask(port, "/healthz")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


def ask(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    """One GET on a connection of its own: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture(name="serving", scope="session")
def serving_fixture() -> Callable[..., contextlib.AbstractContextManager[tuple[subprocess.Popen[str], str, int]]]:
    """Serves a root in a process of its own, until the context ends."""
    return serving


@pytest.fixture(name="ask", scope="session")
def ask_fixture() -> Callable[..., tuple[int, bytes]]:
    """Asks a server on this machine."""
    return ask


@pytest.fixture
def dashboard() -> Iterator[Callable[..., Dashboard]]:
    """Serves roots on loopback, each in a thread of this process, until the test ends."""
    served: list[tuple[Dashboard, threading.Thread]] = []

    def serve(root: Path, *, limits: Limits | None = None) -> Dashboard:
        made = Dashboard(root, port=0, limits=limits)
        served.append((made, threading.Thread(target=made.run)))
        served[-1][1].start()
        wait_until_it_answers(made.port)
        return made

    yield serve
    for made, thread in served:
        made.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(name="write_run", scope="session")
def write_run_fixture() -> Callable[..., Path]:
    """Writes one attempt of a run into a root."""
    return write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root of two runs."""
    folder = tmp_path / "runs"
    write_run(folder, "alpha")
    write_run(folder, "beta", complete=False)
    return folder


@pytest.fixture
def open_client() -> Iterator[Callable[..., Client]]:
    """Makes clients of an application over a root; their lifespan ends with the test."""
    opened: list[Client] = []

    def make(root: Path, *, access: Access | None = None, runs: int = 2) -> Client:
        client: Client = TestClient(
            create_app(root, access=access, site=built_site()), base_url=HERE, raise_server_exceptions=False
        )
        opened.append(client.__enter__())
        if access is None or access.token is None:
            wait_until_indexed(client, runs=runs)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an application over a root that nobody changes, both runs indexed."""
    folder = tmp_path_factory.mktemp("shared") / "runs"
    write_run(folder, "alpha")
    write_run(folder, "beta", complete=False)
    with TestClient(create_app(folder, site=built_site()), base_url=HERE, raise_server_exceptions=False) as opened:
        wait_until_indexed(opened, runs=2)
        yield opened

"""A root with two runs in it, as a trainer would have left them, and the application over it."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient

from barograph.api.app import create_app
from barograph.api.bodies import make_body
from barograph.api.edge import Edge
from barograph.api.pages import Site, plain_page
from barograph.api.security import Access
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

"""A real Chromium, a real server, and real run folders that the tests write line by line."""

import importlib.util
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, sync_playwright

from barograph.records import Banner, Heartbeat, Record, Step, codec

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("BAROGRAPH_")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever drives Chromium is a browser test."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


class Run:
    """Owns the training journal of one run: what is appended here is what a writer would have appended."""

    def __init__(
        self,
        root: Path,
        run: str,
        *,
        attempt: int = 1,
        writer: str = "train",
        begun: float | None = None,
        **banner: object,
    ) -> None:
        self.begun = time.time() if begun is None else begun
        logs = root / run / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.path = logs / f"{writer}-{attempt:06d}-20260101T0000{attempt:02d}.jsonl"
        said = {"model_name": "tiny-llama", "host": "forge", "device": "cpu", "total_steps": 400, **banner}
        self.append(Banner(run=run, attempt=attempt, writer=writer, time=self.begun, **said))  # type: ignore[arg-type]

    def append(self, *records: Record) -> None:
        """More lines, in one write as the writer makes it."""
        lines = b"".join(codec.encode_line(record) for record in records)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, lines)
        finally:
            os.close(descriptor)

    def train(self, first: int, last: int, *, losses: dict[int, float] | None = None) -> None:
        """Steps `first` to `last` of a falling loss, some of them replaced, and a heartbeat."""
        now = time.time()
        steps = [
            Step(
                step=step,
                loss=(losses or {}).get(step, falling(step)),
                time=now,
                metrics={"learning_rate": 2e-4 * (1 - step / 1000), "grad_norm": 1 + math.sin(step) ** 2},
            )
            for step in range(first, last + 1)
        ]
        self.append(*steps, Heartbeat(time=now, step=last))


def falling(step: int) -> float:
    """A loss that falls, with a little ripple."""
    return 0.6 + 2.4 * math.exp(-step / 60) + 0.05 * math.sin(step * 1.7)


class Server:
    """Owns one `barograph serve` over a root, and its port across restarts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "barograph", "serve", "--base-dir", str(self.root), "--port", str(self.port)]
        self._process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(self.url + "healthz", timeout=5):
                    return
            except OSError:
                assert self._process.poll() is None, "barograph serve ended at once"
                assert time.monotonic() < deadline, "barograph serve does not answer"
                time.sleep(0.05)

    def kill(self) -> None:
        """Gone at once, as by a power cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Watched:
    """One page, and everything about it that should not happen: `complaints` must be empty at the end of a test."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.away_is_expected = False
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
        )

    def open(self, query: str = "") -> Page:
        """Go to the page."""
        self.page.goto(self.url + query)
        return self.page

    def _console(self, message: ConsoleMessage) -> None:
        refused = "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not (refused and self.away_is_expected):
            self.complaints.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        self.asked.append(request.url)
        if not request.url.startswith(self.url):
            self.complaints.append(f"request: {request.url}")


BeginRun = Callable[..., Run]
Serve = Callable[..., Server]
Watch = Callable[..., Watched]


@pytest.fixture(scope="session")
def built_page() -> None:
    """The page in the package is the one that `ui/` holds."""
    hatch_build = _module("barograph_hatch_build", ROOT / "hatch_build.py")
    static = hatch_build.static_folder(ROOT)
    stamp = static / hatch_build.STAMP
    if not stamp.is_file() or stamp.read_text() != hatch_build.fingerprint(ROOT / "ui"):
        pytest.fail(
            "The built web page is missing or older than ui/: run `pip install -e .` (without BAROGRAPH_UI=skip)."
        )


@pytest.fixture(scope="module")
def chromium(built_page: None) -> Iterator[Browser]:
    """Chromium from `$CHROMIUM` or the path; without one the browser tests fail, they are never skipped.

    One per module: while it is there, Playwright's event loop runs in this thread, and tests of other rooms that come
    after it in the same process could not run theirs.
    """
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(
            f"No Chromium: none of {', '.join(CHROMIUM_NAMES)} is on the path. Install one, or set CHROMIUM=PATH; "
            "to leave these tests out on purpose: pytest -m 'not browser'."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which judges accessibility."""
    found = importlib.util.find_spec("axe_playwright_python")
    places = [Path(place) / "axe.min.js" for place in (found.submodule_search_locations or [])] if found else []
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        pytest.fail("axe-core is not installed: pip install 'barograph[test]'.")
    return source.read_text(encoding="utf-8")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty root."""
    root = tmp_path / "runs"
    root.mkdir()
    return root


@pytest.fixture
def begin_run(runs: Path) -> BeginRun:
    """Begins an attempt of a run in the root; further arguments go into its banner."""

    def begin(
        run: str, *, attempt: int = 1, writer: str = "train", begun: float | None = None, **banner: object
    ) -> Run:
        return Run(runs, run, attempt=attempt, writer=writer, begun=begun, **banner)

    return begin


@pytest.fixture
def serve(runs: Path) -> Iterator[Serve]:
    """Starts a server over the root, or over another."""
    started: list[Server] = []

    def start(root: Path = runs) -> Server:
        started.append(Server(root))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def watch(chromium: Browser) -> Iterator[Watch]:
    """Opens pages in fresh profiles; after the test none of them may have complained."""
    opened: list[tuple[BrowserContext, Watched]] = []

    def show(url: str, *, width: int = 1440, height: int = 1000, dark: bool = False, touch: bool = False) -> Watched:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            reduced_motion="reduce",
        )
        context.set_default_timeout(10_000)
        watched = Watched(context, url)
        opened.append((context, watched))
        return watched

    yield show
    for context, _ in opened:
        context.close()
    assert [complaint for _, watched in opened for complaint in watched.complaints] == []


def _module(name: str, path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

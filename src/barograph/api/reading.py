"""Documents as finished bodies: rendered when something changed, in a thread of their own, and kept until then."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from barograph import views
from barograph.api.bodies import Body, BodyCache, document_body
from barograph.index import Follower, Index, IndexDamaged, ScanResult
from barograph.policy import load
from barograph.views.documents import Healthz, Runs

_KEPT_BYTES = 64 * 1024 * 1024
_PRESENT_S = 1.0
"""Seconds that a document of the present is kept without news: silence makes a run crashed, and ages grow."""
_PAST_S = 60.0
"""The same for a document that speaks of points only."""
_LOOK_FOR_ROOT_S = 0.5
_CLOSE_S = 0.5


class Reading:
    """Owns the follower of one root while `following` is open, and the thread that renders documents.

    One thread renders, so that a question asked by many at once is answered once, and hits are answered without it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._index = Index(root)
        self._policy = load()
        self._follower: Follower | None = None
        self._renderer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="barograph-render")
        self._bodies = BodyCache(most_bytes=_KEPT_BYTES)
        self._news = 0
        self._news_of: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keep up with the root; until it exists, wait for it (nothing is created)."""
        stopping = asyncio.Event()
        waiting = asyncio.create_task(self._follow_once_there(stopping))
        try:
            yield
        finally:
            stopping.set()
            await waiting
            self._renderer.shutdown(wait=False, cancel_futures=True)
            if self._follower is not None:
                # A first scan of a large root may take longer than anyone waits for Ctrl-C. What it has not yet
                # committed is read again next time.
                closing = threading.Thread(target=self._follower.close, name="barograph-close", daemon=True)
                closing.start()
                closing.join(_CLOSE_S)

    async def runs(self) -> Body:
        """All runs."""
        return await self._body(("runs",), self._runs, state=self._news, seconds=_PRESENT_S)

    async def run_detail(self, run: str) -> Body:
        """One run. Raises `UnknownRun`."""
        return await self._body(
            ("run", run),
            lambda: views.run_detail(self._index, run, policy=self._policy),
            state=self._state_of(run),
            seconds=_PRESENT_S,
        )

    async def series(
        self, run: str, name: str, *, first: int, last: int | None, buckets: int, smoothing: float
    ) -> Body:
        """One series of a run. Raises `UnknownRun` or `UnknownSeries`."""
        return await self._body(
            ("series", run, name, first, last, buckets, smoothing),
            lambda: views.series(self._index, run, name, first=first, last=last, buckets=buckets, smoothing=smoothing),
            state=self._state_of(run),
            seconds=_PAST_S,
        )

    async def live_status(self, run: str | None) -> Body:
        """What a run does now; None is the one that moved last. Raises `UnknownRun`."""
        return await self._body(
            ("live", run),
            lambda: views.live_status(self._index, run, policy=self._policy),
            state=self._news,
            seconds=_PRESENT_S,
        )

    async def health(self) -> Body:
        """Whether the index is complete, and who indexes."""
        return await self._body(("health",), self._health, state=self._news, seconds=_PRESENT_S)

    async def _body(
        self, question: Hashable, make: Callable[[], msgspec.Struct], *, state: Hashable, seconds: float
    ) -> Body:
        standing = self._bodies.get(question, state=state, now=time.monotonic(), seconds=seconds)
        if standing is not None:
            return standing

        def render() -> Body:
            # Whoever was ahead in the queue may have asked the same.
            made = self._bodies.get(question, state=state, now=time.monotonic(), seconds=seconds)
            if made is None:
                made = document_body(make())
                self._bodies.update(question, made, state=state, now=time.monotonic())
            return made

        return await asyncio.get_running_loop().run_in_executor(self._renderer, render)

    def _runs(self) -> Runs:
        document = views.runs(self._index, policy=self._policy)
        # A root that is not there has no index, and nothing of it is missing.
        return document if self._root.is_dir() else msgspec.structs.replace(document, index="ready")

    def _health(self) -> Healthz:
        indexing = self._follower is not None and self._follower.indexing
        ready = not self._root.is_dir()
        with contextlib.suppress(IndexDamaged), self._index.snapshot() as snapshot:
            ready = ready or snapshot.ready
        return Healthz(status="ok", index="ready" if ready else "rebuilding", indexing=indexing)

    def _state_of(self, run: str) -> int:
        """A number that differs whenever anything of the run may have changed."""
        return self._news_of.get(run, 0)

    def _note(self, news: ScanResult) -> None:
        """Called in the follower's thread, the only one that writes these numbers."""
        changed = self._news + 1
        self._news_of = {**self._news_of, **dict.fromkeys((*news.changed, *news.gone), changed)}
        self._news = changed

    async def _follow_once_there(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if self._root.is_dir():
                self._follower = await asyncio.to_thread(Follower, self._root, on_change=self._note)
                self._index = self._follower.index
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _LOOK_FOR_ROOT_S)

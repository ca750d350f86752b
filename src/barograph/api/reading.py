"""Documents as finished bodies: rendered when something changed, in threads of their own, and kept until then.

Four threads make them, so that no flood of one kind holds up another: what says that the server and the newest run
live; what goes over all runs, and takes a second where there are thousands; what is about one run; and points, whose
questions are endless. Only the last two can be flooded, since the others know but one question each.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from pathlib import Path

import msgspec

from barograph import views
from barograph.api.acknowledging import Acknowledging
from barograph.api.bodies import REVALIDATE, Body, BodyCache, document_body, json_body, make_body, null_body
from barograph.api.events import Events
from barograph.api.rendering import Renderer
from barograph.index import Follower, Index, IndexDamaged, ScanResult
from barograph.policy import Policy, load
from barograph.views.documents import Healthz, IndexState, Runs
from barograph.views.export import Format, Selection
from barograph.views.metrics import MEDIA_TYPE, Family, Sample, exposition, metrics
from barograph.views.monitor_documents import Acknowledged, Quantity
from barograph.views.series import Asked
from barograph.views.unified import WeightsDocument

_KEPT_BYTES = 16 * 1024 * 1024
_WAITING = 64
"""Different questions of one kind that may wait; beyond, a client is asked to come back."""
_PRESENT_S = 1.0
"""Seconds that a document of the present is kept without news: silence makes a run crashed, and ages grow."""
_PAST_S = 60.0
"""The same for a document that speaks of points only."""
_JUDGED_S = 5.0
"""The same for verdicts, whose making reads every point of a run."""
_LOOK_FOR_ROOT_S = 0.5
_CLOSE_S = 0.5


class Reading:
    """Owns the follower of one root while `following` is open, and the threads that render documents.

    A question asked by many at once is answered once, and what stands in the cache is answered without a thread.
    """

    def __init__(self, root: Path, *, events: Events, policy: Policy | None = None) -> None:
        """`events` are told what changes, once the documents say it; `policy` judges, by default ours."""
        self._root = root
        self._index = Index(root)
        self._policy = policy or load()
        self._follower: Follower | None = None
        self._events = events
        self._of_now = Renderer(name="now", most_waiting=_WAITING)
        self._of_all = Renderer(name="all", most_waiting=_WAITING)
        self._of_runs = Renderer(name="runs", most_waiting=_WAITING)
        self._of_points = Renderer(name="points", most_waiting=_WAITING)
        self._acknowledging = Acknowledging(root)
        self._bodies = BodyCache(most_bytes=_KEPT_BYTES)
        self._news = 0
        self._news_of: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keep up with the root; until it exists, wait for it (nothing is created)."""
        stopping = asyncio.Event()
        waiting = asyncio.create_task(self._follow_once_there(stopping))
        try:
            async with self._events.running():
                yield
        finally:
            stopping.set()
            await waiting
            for renderer in (self._of_now, self._of_all, self._of_runs, self._of_points):
                renderer.close()
            self._acknowledging.close()
            if self._follower is not None:
                # A first scan of a large root may take longer than anyone waits for Ctrl-C. What it has not yet
                # committed is read again next time.
                closing = threading.Thread(target=self._follower.close, name="barograph-close", daemon=True)
                closing.start()
                closing.join(_CLOSE_S)

    async def runs(self) -> Body:
        """All runs."""
        return await self._body(("runs",), self._runs, state=self._news, seconds=_PRESENT_S, renderer=self._of_all)

    async def run_detail(self, run: str) -> Body:
        """One run. Raises `UnknownRun`."""
        return await self._body(
            ("run", run),
            lambda: views.run_detail(self._index, run, policy=self._policy),
            state=self._state_of(run),
            seconds=_PRESENT_S,
            renderer=self._of_runs,
        )

    async def series(self, run: str, names: tuple[str, ...], cursors: tuple[str, ...], asked: Asked) -> Body:
        """Series of a run. Raises `UnknownRun` or `UnknownSeries`."""
        return await self._body(
            ("series", run, names, cursors, asked),
            lambda: document_body(views.series_set(self._index, run, names, asked=asked, cursors=cursors), finite=True),
            state=self._state_of(run),
            seconds=_PAST_S,
            renderer=self._of_points,
        )

    async def export(self, run: str, selection: Selection, form: Format) -> Iterator[bytes]:
        """Points of a run as text, to be made in a thread piece by piece. Raises `UnknownRun` or `UnknownSeries`."""
        return await asyncio.to_thread(views.export, self._index, run, selection, form=form)

    async def live_status(self, run: str | None) -> Body:
        """What a run does now; None is the one that moved last. Raises `UnknownRun`."""
        return await self._body(
            ("live", run),
            lambda: views.live_status(self._index, run, policy=self._policy),
            state=self._news,
            seconds=_PRESENT_S,
            renderer=self._of_now if run is None else self._of_runs,
        )

    async def checkpoints(self, run: str | None) -> Body:
        """The checkpoints of a run; None is the one that moved last. Raises `UnknownRun`."""
        return await self._of_run(
            ("checkpoints",), run, lambda: views.checkpoints(self._index, run, policy=self._policy)
        )

    async def checkpoint_detail(self, run: str, checkpoint: str) -> Body:
        """The weights of one checkpoint. Raises `UnknownRun` or `UnknownCheckpoint`."""
        return await self._of_run(
            ("checkpoint", checkpoint),
            run,
            lambda: null_body(views.checkpoint_detail(self._index, run, checkpoint, policy=self._policy)),
        )

    async def checkpoint_tensors(self, run: str, checkpoint: str, layer: int) -> Body:
        """The tensors of one layer. Raises `UnknownRun` or `UnknownCheckpoint`."""
        return await self._of_run(
            ("tensors", checkpoint, layer),
            run,
            lambda: views.checkpoint_tensors(self._index, run, checkpoint, layer=layer, policy=self._policy),
        )

    async def unified(self, run: str | None) -> Body:
        """All analyses of a run; None is the one that moved last. Raises `UnknownRun`."""
        return await self._of_run(
            ("unified",), run, lambda: null_body(views.unified(self._index, run, policy=self._policy))
        )

    async def verdicts(self, run: str) -> Body:
        """Every verdict on a run; made of all its points, so not more often than every few seconds."""
        return await self._body(
            ("verdicts", run),
            lambda: views.verdicts(self._index, run, policy=self._policy),
            state=run in self._news_of,
            seconds=_JUDGED_S,
            renderer=self._of_points,
        )

    async def alerts(self, run: str | None) -> Body:
        """The alerts of a run; None is the one that moved last. Raises `UnknownRun`."""
        return await self._of_run(("alerts",), run, lambda: views.alerts(self._index, run, policy=self._policy))

    async def acknowledge(self, run: str, alert: str, *, note: str) -> Acknowledged:
        """Write down that somebody has seen an alert. Raises `UnknownRun`, `UnknownAlert` or `WriteError`."""
        return await asyncio.to_thread(self._acknowledging.acknowledge, self._index, run, alert, note=note)

    async def layers(self, run: str | None, quantity: Quantity, columns: int) -> Body:
        """What the gradients of each layer say; made of many series, so not more often than every few seconds."""
        return await self._body(
            ("layers", run, quantity, columns),
            lambda: views.layers(self._index, run, policy=self._policy, quantity=quantity, columns=columns),
            state=None if run is None else run in self._news_of,
            seconds=_JUDGED_S,
            renderer=self._of_points,
        )

    async def signals(self, run: str | None) -> Body:
        """What a training derived of itself. Raises `UnknownRun`."""
        return await self._of_run(("signals",), run, lambda: views.signals(self._index, run))

    async def system_status(self, run: str | None) -> Body:
        """The machines of a run; None is the one that moved last. Raises `UnknownRun`."""
        return await self._of_run(("system",), run, lambda: views.system_status(self._index, run, policy=self._policy))

    async def throughput_samples(self, run: str | None, limit: int) -> Body:
        """How fast the newest steps were. Raises `UnknownRun`."""
        return await self._of_run(
            ("throughput", limit), run, lambda: views.throughput_samples(self._index, run, limit=limit)
        )

    async def training_status(self, run: str | None) -> Body:
        """What a run says of itself, for other programs. Raises `UnknownRun` or `NoDocument`."""
        return await self._of_run(
            ("status", "training_status"),
            run,
            lambda: json_body(views.training_status(self._index, run, policy=self._policy)),
        )

    async def weights_document(self, run: str | None, name: WeightsDocument) -> Body:
        """A document of `status/`. Raises `UnknownRun` or `NoDocument`."""
        return await self._of_run(
            ("status", name),
            run,
            lambda: json_body(views.weights_document(self._index, run, name, policy=self._policy)),
        )

    async def health(self) -> Body:
        """Whether the index is complete, and who indexes."""
        return await self._body(("health",), self._health, state=self._news, seconds=_PRESENT_S, renderer=self._of_now)

    async def metrics(self) -> Body:
        """What Prometheus reads."""
        return await self._body(
            ("metrics",), self._metrics, state=self._news, seconds=_PRESENT_S, renderer=self._of_all
        )

    async def index_state(self) -> IndexState:
        """Whether the index is complete."""
        return msgspec.json.decode((await self.health()).content, type=Healthz).index

    async def _of_run(
        self, what: tuple[Hashable, ...], run: str | None, make: Callable[[], msgspec.Struct | Body]
    ) -> Body:
        """A document about one run and the present."""
        return await self._body(
            (*what, run),
            make,
            state=self._news if run is None else self._state_of(run),
            seconds=_PRESENT_S,
            renderer=self._of_runs,
        )

    async def _body(
        self,
        question: Hashable,
        make: Callable[[], msgspec.Struct | Body],
        *,
        state: Hashable,
        seconds: float,
        renderer: Renderer,
    ) -> Body:
        standing = self._bodies.get(question, state=state, now=time.monotonic(), seconds=seconds)
        if standing is not None:
            return standing

        def render() -> Body:
            document = make()
            made = document if isinstance(document, Body) else document_body(document)
            self._bodies.update(question, made, state=state, now=time.monotonic())
            return made

        return await renderer.render((question, state), render)

    def _runs(self) -> Runs:
        document = views.runs(self._index, policy=self._policy)
        # A root that is not there has no index, and nothing of it is missing.
        return document if self._root.is_dir() else msgspec.structs.replace(document, index="ready", progress=None)

    def _health(self) -> Healthz:
        indexing = self._follower is not None and self._follower.indexing
        ready = not self._root.is_dir()
        with contextlib.suppress(IndexDamaged), self._index.snapshot() as snapshot:
            ready = ready or snapshot.ready
        return Healthz(status="ok", index="ready" if ready else "rebuilding", indexing=indexing)

    def _metrics(self) -> Body:
        clients = Family(
            name="barograph_event_clients",
            said="Clients that listen to /api/events.",
            samples=[Sample(self._events.listeners)],
        )
        text = exposition([clients, *metrics(self._index, policy=self._policy)])
        return make_body(text, media_type=MEDIA_TYPE, cache_control=REVALIDATE)

    def _state_of(self, run: str) -> int:
        """A number that differs whenever anything of the run may have changed."""
        return self._news_of.get(run, 0)

    def _note(self, news: ScanResult) -> None:
        """Called in the follower's thread, the only one that writes these numbers."""
        changed = self._news + 1
        self._news_of = {**self._news_of, **dict.fromkeys((*news.runs, *news.gone), changed)}
        self._news = changed
        self._events.note(news)

    async def _follow_once_there(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            if self._root.is_dir():
                self._follower = await asyncio.to_thread(Follower, self._root, on_change=self._note)
                self._index = self._follower.index
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _LOOK_FOR_ROOT_S)

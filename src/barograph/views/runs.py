"""The document of `GET /api/runs`: every run under the root."""

import time

from barograph.index import Index, query
from barograph.policy import Policy, load
from barograph.views.documents import Runs
from barograph.views.summary import last_moved, run_row
from barograph.views.times import document_time


def runs(index: Index, *, policy: Policy | None = None, now: float | None = None) -> Runs:
    """All runs, the one that moved last first. `now` is the time of the document; the default policy is ours."""
    now = time.time() if now is None else now
    crashed_after_s = (policy or load()).run_state.crashed_after_s
    with index.snapshot() as snapshot:
        found = query.sources_by_run(snapshot)
        order = sorted(found, key=lambda run: last_moved(found[run]), reverse=True)
        rows = [
            run_row(run, found[run], query.notices(snapshot, run), now=now, crashed_after_s=crashed_after_s)
            for run in order
        ]
        return Runs(
            runs=rows,
            root=snapshot.root.name,
            notices=query.root_notices(snapshot),
            index="ready" if snapshot.ready else "rebuilding",
            progress=None if snapshot.ready else query.progress(snapshot),
            timestamp=document_time(now),
        )

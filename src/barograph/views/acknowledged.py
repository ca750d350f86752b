"""One alert by its id, and the answer to somebody who has seen it."""

import time

from barograph.errors import IndexRebuilding, UnknownAlert
from barograph.index import Index, query
from barograph.policy import load
from barograph.records import Acknowledgement
from barograph.views.alerts import alert_rows
from barograph.views.monitor_documents import Acknowledged, AlertRow
from barograph.views.times import document_time


def alert_of(index: Index, run: str, alert: str) -> AlertRow:
    """The alert as it stands now. Raises `UnknownRun`, `UnknownAlert` or `IndexRebuilding`."""
    with index.snapshot() as snapshot:
        sources = query.sources(snapshot, run)
        crashed_after_s = load().run_state.crashed_after_s
        rows = alert_rows(snapshot, run, sources, now=time.time(), crashed_after_s=crashed_after_s)
        for row in rows:
            if row.id == alert:
                return row
        if not snapshot.ready:
            raise IndexRebuilding("The index is being built, and this alert is not in it yet", advice="Ask again")
    raise UnknownAlert(
        f"Run {run!r} has no alert of that id", advice="GET /api/alerts lists those that there are, with their ids"
    )


def acknowledged(run: str, record: Acknowledgement) -> Acknowledged:
    """The answer once it is written down."""
    return Acknowledged(run=run, alert=record.alert, acknowledged=document_time(record.time), note=record.note)
